"""What a dispatcher holds and shows over time: no descriptor stays open, no old wait stays on the screen."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, cast

import pytest
from support.captures import ETHERNET, RAW_IP, Record, classic
from support.descriptors import open_descriptors
from support.dispatcher_rig import (
    Dispatchers,
    authorize,
    dispatchers_in,
    is_full,
    journal,
    listed,
    packets,
    queue,
    queue_authorized,
    stopped,
    stream_of,
    written,
)
from support.forkserver import Process
from support.launcher_rig import COPY, rig_in
from support.waiting import scaled, wait_until

from pcapdj.store.client import Store

HEADER_BYTES: Final = 24
BIG: Final = stream_of(packets(1, 4000, 1000))  # 4 MB: more than a pipe holds


@pytest.fixture
def rig(tmp_path: Path, store: Store) -> Iterator[Dispatchers]:
    """Return dispatchers of one pipe."""
    with dispatchers_in(tmp_path, store) as rig:
        yield rig


def wait_for_count(process: Process, count: int) -> None:
    """Wait until the process has so many descriptors open."""
    wait_until(
        lambda: len(open_descriptors(process.pid)) == count,
        f"{count} descriptors instead of {len(open_descriptors(process.pid))}",
        5,
    )


@pytest.mark.long
def test_a_hundred_refused_captures_leave_no_descriptor_open(rig: Dispatchers, tmp_path: Path) -> None:
    """Of each kind that is opened before it is refused."""
    contents = (b"", b"<html>" * 99, stream_of([])[:23], classic([Record()])[:30], b"\x1f\x8b garbage")
    names = [
        written(tmp_path, f"{number}.pcap", contents[number % len(contents)])
        for number in range(20 * len(contents))
    ]
    failed = rig.store.keys.failed
    authorize(rig.store, *names)
    dispatcher = rig.start("--follow")
    reader = rig.reader()
    queue(rig.store, *names[:5])
    wait_until(lambda: len(listed(rig.store, failed)) == 5, "the first files to fail")
    before = len(open_descriptors(dispatcher.pid))

    queue(rig.store, *names[5:])

    wait_until(lambda: len(listed(rig.store, failed)) == len(names), "all files to fail")
    wait_for_count(dispatcher, before)
    reader.close()


def test_streams_leave_no_descriptor_open(short_path: Path, store: Store) -> None:
    """Each file has another link type than the previous one; all that a stream needs is closed with it."""
    kinds = (ETHERNET, RAW_IP) * 2
    contents = {f"{n}.pcap": classic([Record(n)], linktype=kind) for n, kind in enumerate(kinds)}
    processed = store.keys.processed
    with dispatchers_in(short_path, store) as rig, rig_in(short_path) as launchers:
        launchers.start_python(COPY)
        rig.pipe = launchers.pipe
        options = ("--launcher", str(launchers.socket), "--follow", "--on-linktype", "new-stream")
        dispatcher = rig.start(*options)
        names = queue_authorized(rig, dict(list(contents.items())[:1]))
        wait_until(lambda: listed(store, processed) == names, "the first file")
        rig.wait_for(" file_finished ")
        before = len(open_descriptors(dispatcher.pid))

        names += queue_authorized(rig, dict(list(contents.items())[1:]))

        wait_until(lambda: listed(store, processed) == names, "all files")
        assert rig.logged().count(" stream_opened ") == len(kinds)
        wait_for_count(dispatcher, before)


def test_what_was_waited_for_is_not_shown_while_a_file_is_fed(rig: Dispatchers) -> None:
    """First it waits for an analyzer, and shows that; then it feeds, and shows nothing."""
    queue_authorized(rig, {"big.pcap": BIG})
    rig.start()
    stats = rig.store.keys.stats(str(rig.pipe))

    def shown() -> list[bytes]:
        return cast("list[bytes]", rig.store.redis.hmget(stats, "state", "waiting_for"))

    sentence = os.fsencode(f"Waiting for an analyzer to read '{rig.pipe}'.")
    wait_until(lambda: shown()[1] == sentence, "the wait for an analyzer to be shown")
    reader = rig.reader()
    reader.read(HEADER_BYTES)

    wait_until(lambda: is_full(rig.pipe), "the pipe to be full")
    wait_until(lambda: shown() == [b"Feeding fifo buffer", b""], "the feeding to be shown")
    reader.close()


def test_the_journal_has_the_times_of_the_first_and_the_last_packet(rig: Dispatchers) -> None:
    """In nanoseconds since 1970; a file without packets has none."""
    times = ((5, 100), (7, 200), (9, 300))
    capture = classic([Record(seconds, micros) for seconds, micros in times])
    queue_authorized(rig, {"1.pcap": capture, "2.pcap": classic([])})
    dispatcher = rig.start()

    rig.reader().read_to_end()

    assert dispatcher.wait() == 0
    assert [(entry["first_ts_ns"], entry["last_ts_ns"]) for entry in journal(rig.store)] == [
        (b"5000100000", b"9000300000"),
        (b"", b""),
    ]


def test_a_stop_signal_ends_a_full_pipe_within_a_second(rig: Dispatchers) -> None:
    """As promised; the shortest of three times counts, since a busy machine is not what is measured."""
    times_s = []
    [name] = queue_authorized(rig, {"big.pcap": BIG})
    for number in range(1, 4):
        authorize(rig.store, name)  # each dispatcher asks for the file again
        dispatcher = rig.start("--follow")
        rig.wait_for("Waiting for an analyzer", times=number)
        reader = rig.reader()
        reader.read(HEADER_BYTES)
        wait_until(lambda: is_full(rig.pipe), "the pipe to be full")
        code, elapsed_s = stopped(dispatcher)
        assert code == 0
        times_s.append(elapsed_s)
        reader.close()

    assert min(times_s) <= scaled(1.0)
