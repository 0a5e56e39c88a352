"""A dispatcher's link to a real launcher: what it stores there, and what the next dispatcher gets."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.descriptors import open_descriptors
from support.launcher_rig import COPY, ActingWaits, Rig, rig_in
from support.pipes import NoWaits
from support.waiting import wait_until

from pcapdj.feed.analyzer_link import LauncherLink
from pcapdj.launcher_protocol import NOTE_KEY
from pcapdj.runtime.errors import CannotCreate, LauncherGone, ReaderGone
from pcapdj.runtime.signals import Signals, Waits

Make = Callable[[Waits], LauncherLink]


@pytest.fixture
def rig(short_path: Path) -> Iterator[Rig]:
    """Return a rig whose launcher does not run yet."""
    with rig_in(short_path) as rig:
        yield rig


@pytest.fixture
def make(rig: Rig) -> Iterator[Make]:
    """Return a maker of links whose connections are closed afterwards."""
    made: list[LauncherLink] = []

    def link(waits: Waits) -> LauncherLink:
        made.append(LauncherLink(rig.socket, waits))
        return made[-1]

    yield link
    for each in made:
        each._launcher.close()  # noqa: SLF001 - a link ends with its process


def memory_file(content: bytes = b"x") -> int:
    """Return the descriptor of a memory file."""
    descriptor = os.memfd_create("test")
    os.write(descriptor, content)
    return descriptor


def test_the_launcher_is_waited_for_and_shown(rig: Rig, make: Make, signals: Signals) -> None:
    """Whoever looks at `status` sees where it should be."""
    waits = NoWaits()

    def start() -> None:
        if len(waits.shown) == 3:
            rig.start(sys.executable, "-c", COPY, "{pipe}")

    link = make(ActingWaits(waits, start))
    link.wait_for_peer()

    assert set(waits.shown) == {f"Waiting for the launcher at '{rig.socket}'."}
    assert len(waits.shown) >= 3
    assert link.is_alive()
    assert not signals.stop_requested


def test_a_stream_is_opened_and_known_until_it_ends(rig: Rig, make: Make, signals: Signals) -> None:
    """By its id; the write end is the caller's, and nothing else stays open."""
    rig.start(sys.executable, "-c", COPY, "{pipe}")
    link = make(signals)
    link.wait_for_peer()
    before = open_descriptors()

    stream, write_end = link.open()

    assert open_descriptors() - before == {write_end}
    assert link.outlives_dispatcher
    assert link.has(stream)
    assert not link.has("another")
    os.close(write_end)
    link.end(stream)
    wait_until(lambda: not link.has(stream), "the end of the stream")
    assert not open_descriptors() - before


def test_the_next_dispatcher_gets_what_was_stored_and_not_dropped(
    rig: Rig, make: Make, signals: Signals
) -> None:
    """With its notes, and each descriptor at the same position."""
    rig.start(sys.executable, "-c", COPY, "{pipe}")
    link = make(signals)
    stream, write_end = link.open()
    header, file = memory_file(b"12345"), memory_file()
    link.put(stream, "header", header, {"linktype": 1})
    link.put(stream, "file", file, {"token": "t"})

    left = link.resumable_stream()

    assert left is not None
    assert (left.id, left.header.note, left.file and left.file.note) == (
        stream,
        {"linktype": 1},
        {"token": "t"},
    )
    assert os.lseek(left.header.fd, 0, os.SEEK_CUR) == 5
    assert left.batches == {}
    link.drop(stream, "file")
    again = link.resumable_stream()
    assert again is not None
    assert again.file is None
    for each in (left, again):
        for descriptor in (each.write_end, each.header.fd, *([each.file.fd] if each.file else [])):
            os.close(descriptor)
    for descriptor in (write_end, header, file):
        os.close(descriptor)


def test_a_stream_without_a_header_is_opened_again(rig: Rig, make: Make, signals: Signals) -> None:
    """Its dispatcher died before the header was stored, which is stored last; no descriptor is left."""
    rig.start(sys.executable, "-c", COPY, "{pipe}")
    link = make(signals)
    assert link.resumable_stream() is None
    stream, write_end = link.open()
    note = memory_file()
    link.put(stream, NOTE_KEY, note, {})
    before = open_descriptors()

    assert link.resumable_stream() is None
    opened, again = link.open()

    assert opened == stream
    assert open_descriptors() - before == {again}
    for descriptor in (write_end, again, note):
        os.close(descriptor)


def test_a_stream_that_is_over_takes_nothing_more(rig: Rig, make: Make, signals: Signals) -> None:
    """To drop what is gone, or to end it, is no error; to store something is."""
    process = rig.start(sys.executable, "-c", COPY, "{pipe}")
    link = make(signals)
    stream, write_end = link.open()
    os.close(write_end)
    link.end(stream)
    file = memory_file()

    with pytest.raises(ReaderGone):
        link.put(stream, "file", file, {})
    link.drop(stream, "file")
    process.kill()
    wait_until(lambda: not link.is_alive(), "the end of the launcher")
    link.drop(stream, "file")
    link.end(stream)

    with pytest.raises(LauncherGone):
        link.has(stream)
    os.close(file)


def test_a_launcher_that_dies_while_a_stream_is_opened_is_waited_for(
    rig: Rig, make: Make, signals: Signals
) -> None:
    """The next one opens it."""
    first = rig.start(sys.executable, "-c", "import time; time.sleep(600)", "{pipe}")

    def replace() -> None:
        if first.poll() is None and "analyzer_started" in rig.logged():
            first.kill()
            first.wait()
            rig.start(sys.executable, "-c", COPY, "{pipe}")

    _, write_end = make(ActingWaits(signals, replace)).open()

    os.close(write_end)
    assert rig.logged().count("analyzer_started") == 2


def test_a_path_that_is_too_long_for_a_socket_is_refused(signals: Signals) -> None:
    """Before anything is waited for."""
    with pytest.raises(CannotCreate, match="107"):
        LauncherLink(Path("/x" * 60), signals)
