"""How a stream comes and goes, with a real pipe and a link that records: `pcapdj.feed.streams`."""

import os
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

import pytest
from support.captures import file_header
from support.descriptors import open_descriptors
from support.logs import logged
from support.stream_link import ReadingInterrupts, RecordingLink
from support.waiting import scaled

from pcapdj.capture.pcap import BEGINNING, Totals
from pcapdj.feed.analyzer_link import ResumableStream
from pcapdj.feed.batches import memory_file
from pcapdj.feed.interrupts import Interrupts
from pcapdj.feed.launcher_client import Entry
from pcapdj.feed.note import BatchNote, encode_note
from pcapdj.feed.output_space import OutputSpace
from pcapdj.feed.progress import ResumeNote
from pcapdj.feed.streams import STOP_GRACE_S, Streams
from pcapdj.launcher_protocol import BATCH_KEYS, NOTE_KEY
from pcapdj.runtime.errors import LauncherGone, Stopped
from pcapdj.runtime.fifo import unread_bytes
from pcapdj.runtime.signals import Signals

HEADER = file_header()
FORMAT = {"linktype": 1, "nanosecond": False}
OF_FILE: Final[dict[str, Any]] = {
    **ResumeNote("t", b"b").note(24, {"name": "a", "last_ts_ns": -5, "packets": 3}),
    "identity": [1, 2, 3, 4],
    "digest": "",
    "rewrites": True,
    "earlier_streams": ["s"],
    "earlier_parts": [[1, 2]],
    "begin_bytes": 0,
    "earlier_packets": 2,
}
RECORDS = bytes(range(100))
SENT = Totals(3, 60, 60, 5, 7)


@pytest.fixture
def interrupts(link: RecordingLink, signals: Signals) -> ReadingInterrupts:
    """Return interrupts; the link's analyzer reads at each of their checks."""
    return ReadingInterrupts(link, signals)


@pytest.fixture
def streams(link: RecordingLink, interrupts: ReadingInterrupts) -> Iterator[Streams]:
    """Return streams of that link."""
    streams = Streams(link, interrupts)
    yield streams
    streams.lose()


def put_keys(link: RecordingLink) -> list[str]:
    """Return under which keys something was stored, in order."""
    return [call[2] for call in link.calls if call[0] == "put"]


def test_all_descriptors_are_stored_before_the_header_is_sent(
    link: RecordingLink, streams: Streams, capsys: pytest.CaptureFixture[str]
) -> None:
    """The header last: a stream without one is opened again; its note is the stream's format."""
    stream = streams.ensure(HEADER, FORMAT)
    link.read()

    assert put_keys(link) == [*BATCH_KEYS, NOTE_KEY, "header"]
    assert link.calls[-1] == ("put", "5ca1ab1e", "header", 0, FORMAT)
    assert all(call[4] == {} for call in link.calls[:-1])
    assert bytes(link.got) == HEADER
    assert (stream.id, stream.sent_bytes, stream.format, stream.previous) == ("5ca1ab1e", 24, FORMAT, {})
    assert streams.ensure(b"another", {}) is stream
    assert streams.is_open("5ca1ab1e")
    assert not streams.is_open("another")
    stream.add(100)
    assert stream.sent_bytes == 124
    opened = " dispatcher stream_opened stream=5ca1ab1e linktype=1 nanosecond=False\n"
    assert opened in logged(capsys, "stream_opened")


def test_a_stream_whose_analyzer_died_before_the_next_record_is_opened_again(
    link: RecordingLink, streams: Streams
) -> None:
    """While the file was authorized: its records are not at fault."""
    first = streams.ensure(HEADER, FORMAT)
    link.leave()

    second = streams.ensure(HEADER, FORMAT)

    assert streams.open is second is not first
    assert ("end", "5ca1ab1e") in link.calls


@pytest.mark.parametrize("pauses", [True, False])
def test_an_analyzer_that_needs_it_gets_a_pause_after_the_header(
    link: RecordingLink, streams: Streams, interrupts: ReadingInterrupts, *, pauses: bool
) -> None:
    """0.3 s, once it has read it. For others each stream would begin later."""
    link.pauses_after_header = pauses

    streams.ensure(HEADER, FORMAT)

    assert (bytes(link.got) == HEADER) == pauses
    assert interrupts.slept_s == ([0.3] if pauses else [])


def test_a_stream_whose_analyzer_died_is_lost_and_the_next_is_waited_for(
    link: RecordingLink, streams: Streams, capsys: pytest.CaptureFixture[str]
) -> None:
    """Between two files no file is at fault; all descriptors are closed."""
    before = open_descriptors() - {link.write_end}
    streams.ensure(HEADER, FORMAT)
    streams.wait_for_peer()
    assert ("wait",) not in link.calls
    link.leave()

    streams.wait_for_peer()

    assert streams.open is None
    assert link.calls[-2:] == [("end", "5ca1ab1e"), ("wait",)]
    assert open_descriptors() <= before
    why = "The analyzer closed the pipe. The stream ended between two files."
    assert f" dispatcher stream_lost stream=5ca1ab1e: {why}\n" in logged(capsys, "stream_lost")


class FullDisk(OutputSpace):
    """An output disk on which there is never room; the analyzer dies while that is waited for."""

    def __init__(self, link: RecordingLink) -> None:
        self._link = link

    def shortage(self) -> str:
        """Return why the stream cannot end."""
        return "The disk is full."

    def wait(self, shortage: str) -> None:
        """Let the analyzer die."""
        assert shortage == "The disk is full."
        self._link.leave()


def test_a_stream_whose_analyzer_died_does_not_wait_for_room(
    link: RecordingLink, interrupts: ReadingInterrupts
) -> None:
    """Nothing writes its results any more; the stream is lost."""
    streams = Streams(link, interrupts, FullDisk(link))
    streams.ensure(HEADER, FORMAT)

    streams.end()

    assert streams.open is None
    assert ("remember",) not in link.calls


def test_an_ended_stream_has_its_readers_remembered(
    link: RecordingLink, streams: Streams, capsys: pytest.CaptureFixture[str]
) -> None:
    """By hand they have the same pipe open as those of the next stream."""
    streams.end()
    assert link.calls == []
    streams.ensure(HEADER, FORMAT)

    streams.end()

    assert link.calls[-2:] == [("remember",), ("end", "5ca1ab1e")]
    assert streams.open is None
    assert "stream_ended stream=5ca1ab1e stream_bytes=24" in logged(capsys, "stream_ended")


def test_what_the_next_file_needs_is_stored_with_the_header(link: RecordingLink, streams: Streams) -> None:
    """A launcher that is gone meanwhile is noticed by the next file."""
    streams.remember({"name": "nothing is open"})
    stream = streams.ensure(HEADER, FORMAT)
    link.read()

    streams.remember({"name": "a"})

    assert stream.previous == {"name": "a"}
    assert link.calls[-1] == ("put", "5ca1ab1e", "header", 24, FORMAT | {"before": {"name": "a"}})
    link.takes_entries = False
    streams.remember({"name": "b"})
    assert stream.previous == {"name": "b"}


def test_a_file_with_its_result_is_removed_from_the_link(link: RecordingLink, streams: Streams) -> None:
    """Nothing is removed where nothing is open."""
    streams.release()
    assert link.calls == []
    streams.ensure(HEADER, FORMAT)

    streams.release()

    assert link.calls[-1] == ("drop", "5ca1ab1e", "file")


def test_a_stream_whose_launcher_ends_during_a_wait_is_closed_there_and_not_used_again(
    link: RecordingLink, streams: Streams, interrupts: ReadingInterrupts
) -> None:
    """The launcher sends what is noted: nothing may be noted behind it. Nothing counts as read either."""
    stream = streams.ensure(HEADER, FORMAT)
    link.read()
    interrupts.watch(streams)
    link.has_launcher = False

    interrupts.wait(0)

    assert link.write_end not in open_descriptors()
    assert os.read(link.reader, 1) == b""
    note = BatchNote(0, "t", 0, len(RECORDS), 24, BEGINNING, Totals(), SENT)
    uses: list[Callable[[], object]] = [
        stream.pipe.drain,
        lambda: stream.pipe.splice(stream.header, 0),
        lambda: stream.batches.send(stream.pipe, RECORDS, note),
        streams.check_alive,
    ]
    for use in uses:
        with pytest.raises(LauncherGone):
            use()
    assert [unread_bytes(stream.batches.descriptors[key]) for key in BATCH_KEYS] == [0, 0]
    assert stream.batches.last is None
    streams.wait_for_peer()
    assert streams.open is None


@pytest.mark.long
@pytest.mark.parametrize("outlives", [True, False])
def test_a_stop_is_postponed_only_where_no_other_process_goes_on(
    link: RecordingLink, signals: Signals, *, outlives: bool
) -> None:
    """By hand half a second is left for the rest of a record."""
    link.outlives_dispatcher = outlives
    interrupts = ReadingInterrupts(link, signals)
    streams = Streams(link, interrupts)
    os.kill(os.getpid(), 15)
    with pytest.raises(Stopped):
        interrupts.check()

    started_s = time.monotonic()
    assert streams.grant_grace() is (not outlives)
    assert is_stopped(interrupts) == outlives
    while not is_stopped(interrupts):
        pass
    if not outlives:
        assert STOP_GRACE_S <= time.monotonic() - started_s < scaled(1.4)
    os.close(link.write_end)


def is_stopped(interrupts: Interrupts) -> bool:
    """Report whether a check raises now."""
    try:
        interrupts.check()
    except Stopped:
        return True
    return False


def left_by(link: RecordingLink, signals: Signals, sent_bytes: int, token: str) -> ResumableStream:
    """Return the stream of a dispatcher that died when so much was sent; with a token, in mid-batch."""
    interrupts = ReadingInterrupts(link, signals)
    streams = Streams(link, interrupts)
    stream = streams.ensure(HEADER, FORMAT)
    if token:
        note = BatchNote(0, token, 0, len(RECORDS), 24, BEGINNING, Totals(), SENT)
        stream.batches.send(stream.pipe, RECORDS, note)
    link.read()
    link.calls.clear()
    link.got.clear()
    if token:
        os.write(stream.batches.descriptors[BATCH_KEYS[0]], RECORDS[sent_bytes:])
    else:
        os.lseek(stream.header, sent_bytes, os.SEEK_SET)
    header = Entry("header", {**FORMAT, "before": {"name": "a"}}, stream.header)
    file = Entry("file", dict(OF_FILE), memory_file("file", 1, interrupts)) if token else None
    return ResumableStream("5ca1ab1e", link.write_end, header, stream.batches.descriptors, file)


def test_a_header_that_was_sent_in_part_is_completed_and_waited_for(
    link: RecordingLink, streams: Streams, interrupts: ReadingInterrupts, signals: Signals
) -> None:
    """Its analyzer has the same need for a pause."""
    link.left = left_by(link, signals, 10, "")
    link.pauses_after_header = True

    streams.resume()

    assert bytes(link.got) == HEADER[10:]
    assert interrupts.slept_s == [0.3]
    assert streams.open is not None
    assert (streams.open.sent_bytes, streams.open.previous) == (24, {"name": "a"})
    assert streams.unfinished_token() == ""
    assert not streams.has_packets_of("t")
    assert streams.delivered("t") is None
    assert streams.delivered("") is None


@pytest.mark.parametrize("token", ["t", "u"])
def test_a_batch_that_was_sent_in_part_is_completed_at_once(
    link: RecordingLink, streams: Streams, interrupts: ReadingInterrupts, signals: Signals,
    capsys: pytest.CaptureFixture[str], token: str,
) -> None:  # fmt: skip
    """It is of the stored file if it has the same token; a file of which nothing was sent has another one."""
    link.left = left_by(link, signals, 30, token)
    link.pauses_after_header = True

    streams.resume()
    link.read()

    assert bytes(link.got) == RECORDS[30:]
    assert interrupts.slept_s == []
    assert streams.open is not None
    assert streams.open.sent_bytes == 124
    assert streams.unfinished_token() == "t"
    delivered = streams.delivered("t")
    assert (delivered and delivered.totals) == {"t": SENT}.get(token)
    assert streams.delivered("u") is None
    assert streams.has_packets_of(token)
    assert not streams.has_packets_of("v")

    assert " dispatcher stream_resumed stream=5ca1ab1e name=b\n" in logged(capsys, "stream_resumed")

    before = open_descriptors()
    streams.release()

    assert len(before - open_descriptors()) == 1
    assert streams.unfinished is None
    assert streams.unfinished_token() == ""


def test_a_stream_whose_analyzer_is_gone_is_not_resumed(
    link: RecordingLink, streams: Streams, signals: Signals
) -> None:
    """The stored file is fed again into the next one; nothing of it stays open."""
    link.left = left_by(link, signals, 30, "t")
    link.leave()
    before = open_descriptors()

    streams.resume()

    assert streams.open is None
    assert streams.unfinished is None
    assert link.calls == [("end", "5ca1ab1e")]
    assert len(before - open_descriptors()) == len((*BATCH_KEYS, NOTE_KEY, "header", "file", "the write end"))


def without(left: ResumableStream, key: str) -> ResumableStream:
    """Return it without one of its batches, or the note about them; that is closed."""
    os.close(left.batches[key])
    return replace(left, batches={name: fd for name, fd in left.batches.items() if name != key})


def with_batch(left: ResumableStream, key: str, descriptor: int) -> ResumableStream:
    """Return it with another descriptor there; the one before is closed."""
    os.close(left.batches[key])
    return replace(left, batches={**left.batches, key: descriptor})


def with_header(left: ResumableStream, descriptor: int) -> ResumableStream:
    """Return it with another header; the one before is closed."""
    os.close(left.header.fd)
    return replace(left, header=replace(left.header, fd=descriptor))


def read_only(descriptor: int) -> int:
    """Return the same file or pipe, open for reading."""
    return os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_NONBLOCK)


def noted(left: ResumableStream, **changed: Any) -> ResumableStream:
    """Write a valid record into the note, with some fields that no dispatcher writes."""
    note = BatchNote(4, "t", 0, len(RECORDS), 24, BEGINNING, Totals(), SENT)._replace(**changed)
    os.pwrite(left.batches[NOTE_KEY], *encode_note(note))
    return left


def with_kinds(left: ResumableStream) -> ResumableStream:
    """Write a record that says it has more kinds than fit into it."""
    record, place = encode_note(BatchNote(4, "t", 0, 5, 24, BEGINNING, Totals(), SENT))
    content = record[4:6] + b"\xff\xff" + record[8:]
    os.pwrite(left.batches[NOTE_KEY], zlib.crc32(content).to_bytes(4, "little") + content, place)
    return left


def about_file(left: ResumableStream, **changed: Any) -> ResumableStream:
    """Return it with another note about the file; None removes a field."""
    assert left.file is not None
    note = {name: value for name, value in (left.file.note | changed).items() if value is not None}
    return replace(left, file=replace(left.file, note=note))


def about_stream(left: ResumableStream, note: dict[str, Any]) -> ResumableStream:
    """Return it with another note about the stream."""
    return replace(left, header=replace(left.header, note=note))


Change = Callable[[ResumableStream], ResumableStream]
FOREIGN: Final[dict[str, Change]] = {
    "no batch": lambda left: without(left, BATCH_KEYS[1]),
    "no note about the batches": lambda left: without(left, NOTE_KEY),
    "a batch that nothing can be written into": lambda left: with_batch(
        left, BATCH_KEYS[1], read_only(left.batches[BATCH_KEYS[1]])
    ),
    "a file as batch": lambda left: with_batch(left, BATCH_KEYS[0], os.memfd_create("batch")),
    "a note that nothing can be written into": lambda left: with_batch(
        left, NOTE_KEY, read_only(left.batches[NOTE_KEY])
    ),
    "a short note": lambda left: with_batch(left, NOTE_KEY, os.memfd_create("note")),
    "a third batch": lambda left: noted(left, batch=2),
    "a batch with too many bytes": lambda left: noted(left, length_bytes=10),
    "more kinds than there are": with_kinds,
    "an empty header": lambda left: with_header(left, os.memfd_create("header")),
    "no format": lambda left: about_stream(left, {}),
    "a format with text": lambda left: about_stream(left, {"linktype": "1", "nanosecond": False}),
    "a format with a list before": lambda left: about_stream(left, {**FORMAT, "before": []}),
    "a file before with a time in words": lambda left: about_stream(
        left, {**FORMAT, "before": {"last_ts_ns": "now"}}
    ),
    "no name": lambda left: about_file(left, name=None),
    "a name that is a number": lambda left: about_file(left, name=5),
    "no identity": lambda left: about_file(left, identity=None),
    "a short identity": lambda left: about_file(left, identity=[1]),
    "an identity in words": lambda left: about_file(left, identity=[1, 2, 3, "4"]),
    "a number that no file has": lambda left: about_file(left, stream_start=10**90),
    "a truth as number": lambda left: about_file(left, stream_start=True),
    "earlier parts that are no pairs": lambda left: about_file(left, earlier_parts=[[1]]),
    "earlier streams that are no names": lambda left: about_file(left, earlier_streams=[1]),
    "packets before in words": lambda left: about_file(left, before={"packets": "many"}),
}


@pytest.mark.parametrize("change", FOREIGN)
def test_what_no_dispatcher_stored_is_not_resumed(
    link: RecordingLink, streams: Streams, signals: Signals, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    """Another program of the same user stored it with the launcher: the stream ends, with all closed."""
    left = link.left = FOREIGN[change](left_by(link, signals, 30, "t"))
    assert left.file is not None
    stored = {left.write_end, left.header.fd, left.file.fd, *left.batches.values()}

    streams.resume()

    assert streams.open is None
    assert streams.unfinished is None
    assert link.calls == [("end", "5ca1ab1e")]
    assert not stored & open_descriptors()
    warned = logged(capsys, "stream_lost")
    assert " WARNING dispatcher stream_lost stream=5ca1ab1e: It cannot be resumed: " in warned
    assert "Traceback" not in warned


def test_without_a_stream_there_is_nothing_to_resume_and_nothing_stalls(
    link: RecordingLink, streams: Streams
) -> None:
    """A first start."""
    streams.resume()

    assert streams.open is None
    assert streams.stalled_s() == 0
    os.close(link.write_end)
