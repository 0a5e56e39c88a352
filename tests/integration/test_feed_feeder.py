"""How a capture file gets into a stream, with a real pipe and a link that records: `pcapdj.feed.feeder`."""

import fcntl
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.captures import Record, file_header
from support.descriptors import open_descriptors
from support.dispatcher_rig import packets, records, stream_of, written
from support.logs import logged
from support.stream_link import ReadingInterrupts, RecordingLink, storage_of

from pcapdj.capture.opening import Capture, capture_of
from pcapdj.capture.pcap import BEGINNING, Place, StreamFormat, Totals
from pcapdj.capture.reading_process import FileOpener
from pcapdj.capture.stream_options import OnLinktype, StreamOptions
from pcapdj.feed.feeder import Feeder, FilePass
from pcapdj.feed.launcher_client import Entry
from pcapdj.feed.progress import FileProgress, ResumeNote
from pcapdj.feed.reading_mark import ReadingMark
from pcapdj.feed.start_point import FIRST_PACKET, StartPoint
from pcapdj.feed.streams import Streams
from pcapdj.runtime.errors import CaptureError, Stopped
from pcapdj.runtime.fifo import unread_bytes
from pcapdj.runtime.signals import Signals
from pcapdj.store.client import Store
from pcapdj.store.keys import Keys

FIRST, SECOND = packets(100, 20), packets(200, 10)
PAGE_BYTES = 4096  # of memory, and of the smallest pipe


class FeederRig:
    """A feeder, its streams, and an analyzer that reads all.

    Args:
        on_linktype: as the option.
        interrupts: of the dispatcher; None: the analyzer reads at each wait.
    """

    def __init__(
        self,
        link: RecordingLink,
        signals: Signals,
        on_linktype: OnLinktype = "fail",
        interrupts: ReadingInterrupts | None = None,
    ) -> None:
        self.link = link
        self.interrupts = interrupts or ReadingInterrupts(link, signals)
        self.streams = Streams(link, self.interrupts)
        self.opener = FileOpener(self.interrupts)
        self.feeder = self.new_feeder(on_linktype)

    def new_feeder(self, on_linktype: OnLinktype = "fail") -> Feeder:
        """Return a feeder of the streams."""
        store = Store("unix:///nowhere", Keys())
        storage = storage_of(store, self.opener, self.interrupts)
        options = StreamOptions("first", on_linktype)
        return Feeder(self.streams, options, self.opener, ReadingMark(), storage)

    def open(self, name: bytes) -> Capture:
        """Open a capture file."""
        return capture_of(name, self.opener.open(name, root=None, refuse_written=False), self.interrupts)

    def begin(self, token: str, capture: Capture, start: StartPoint = FIRST_PACKET) -> FilePass:
        """Begin a pass of a file that has packets."""
        begun = self.feeder.begin(ResumeNote(token, capture.name), capture, start)
        assert begun is not None
        return begun

    def feed(self, token: str, name: bytes) -> FilePass:
        """Feed a file, as far as it is good."""
        with self.open(name) as capture:
            begun = self.begin(token, capture)
            for _ in begun.send():
                self.link.read()
            self.link.read()
            return begun


@pytest.fixture
def rig(link: RecordingLink, signals: Signals) -> Iterator[FeederRig]:
    """Return a feeder of that link."""
    rig = FeederRig(link, signals)
    yield rig
    rig.streams.lose()


def test_a_file_is_stored_with_its_note_and_sent_whole(rig: FeederRig, tmp_path: Path) -> None:
    """Its descriptor before its first byte: its name may be gone when the next dispatcher needs it."""
    name = written(tmp_path, "1.pcap", stream_of(FIRST))
    status = os.stat(name)  # noqa: PTH116 - bytes

    begun = rig.feed("t", name)

    assert bytes(rig.link.got) == stream_of(FIRST)
    [(_, stream, _, _, note)] = [call for call in rig.link.calls if call[:3:2] == ("put", "file")]
    digest = note.pop("digest")
    assert (stream, len(digest), digest) == ("5ca1ab1e", 64, begun.digest)
    assert sorted(note.pop("identity")) == sorted(
        [status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino]
    )
    assert note == {
        "token": "t",
        "name": os.fsdecode(name),
        "stream_start": 24,
        "before": {},
        "rewrites": False,
        "earlier_streams": [],
        "earlier_parts": [],
        "earlier_packets": 0,
        "begin_bytes": 0,
    }
    assert (begun.start_bytes, begun.previous, begun.damage, begun.stopped_at) == (24, {}, None, None)
    assert begun.first_ts_ns == FIRST[0].seconds * 10**9 + FIRST[0].fraction * 1000
    assert begun.stream_format == StreamFormat(1, nanosecond=False)
    assert begun.stream.sent_bytes == len(stream_of(FIRST))


def test_the_batchs_note_has_what_a_successor_needs(rig: FeederRig, tmp_path: Path) -> None:
    """Which entry, where in the stream and in the file, and what of the file is in the stream."""
    name = written(tmp_path, "1.pcap", stream_of(FIRST))

    begun = rig.feed("t", name)

    note = begun.stream.batches.last
    assert note is not None
    assert (note.token, note.stream_position, note.length_bytes) == ("t", 24, len(records(FIRST)))
    assert (note.totals_before, note.totals.packets) == (Totals(), 20)
    assert note.after.offset == len(stream_of(FIRST))


def test_the_next_file_knows_the_one_before_and_goes_behind_it(rig: FeederRig, tmp_path: Path) -> None:
    """By the time of its last packet; a file without packets leaves what was known."""
    first = written(tmp_path, "1.pcap", stream_of(FIRST))
    second = written(tmp_path, "2.pcap", stream_of(SECOND))
    rig.feed("t", first)
    fed = FileProgress(Totals(20, last_ts_ns=7), has_begun=True, first_packet=1)
    rig.feeder.remember(ResumeNote("t", first), fed)
    rig.feeder.remember(ResumeNote("e", b"/empty"), FileProgress())
    rig.feeder.remember(ResumeNote("e", b"/in an earlier stream"), FileProgress(Totals(9, last_ts_ns=9)))

    begun = rig.feed("u", second)

    assert begun.previous == {"name": os.fsdecode(first), "last_ts_ns": 7, "packets": 20}
    assert begun.first_packet == 21
    assert begun.start_bytes == len(stream_of(FIRST))
    assert bytes(rig.link.got) == stream_of(FIRST, SECOND)


@pytest.mark.parametrize("content", [file_header(), b"", stream_of(FIRST)])
def test_a_file_without_a_packet_opens_no_stream(rig: FeederRig, tmp_path: Path, content: bytes) -> None:
    """Only its first record decides what the stream is; none is left behind the place, either."""
    start = StartPoint(place=Place(len(content))) if len(content) > len(file_header()) else FIRST_PACKET
    name = written(tmp_path, "1.pcap", content)
    try:
        with rig.open(name) as capture:
            assert rig.feeder.begin(ResumeNote("t", name), capture, start) is None
    except CaptureError:
        assert not content

    assert rig.streams.open is None
    assert rig.link.calls == []


def test_what_is_good_before_a_damage_is_sent(rig: FeederRig, tmp_path: Path) -> None:
    """The pass has the damage; the stream stays whole."""
    begun = rig.feed("t", written(tmp_path, "1.pcap", stream_of(FIRST)[:-5]))

    assert bytes(rig.link.got) == stream_of(FIRST[:-1])
    assert begun.damage is not None


@pytest.mark.parametrize(
    ("on_linktype", "token", "ends"),
    [("new-stream", "u", True), ("new-stream", "t", False), ("fail", "u", False)],
)
def test_a_file_of_another_link_type_begins_the_next_stream_if_that_is_wanted(
    link: RecordingLink,
    signals: Signals,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    *,
    on_linktype: OnLinktype,
    token: str,
    ends: bool,
) -> None:
    """A file that is in the stream already stays there; one of the same type stays in any case."""
    rig = FeederRig(link, signals, on_linktype)
    same = written(tmp_path, "1.pcap", stream_of(FIRST))
    other = written(tmp_path, "2.pcap", file_header(linktype=113) + records([Record(data=b"x" * 20)]))
    empty = written(tmp_path, "3.pcap", file_header(linktype=113))
    rig.feed("t", same)
    if token == "t":  # noqa: S105 - of a queue entry
        rig.streams.unfinished = Entry("file", {"token": "t"}, os.open(same, os.O_RDONLY))

    for name in (same, empty):
        with rig.open(name) as capture:
            rig.feeder.prepare_stream(token, capture)
    assert rig.streams.open is not None
    with rig.open(other) as capture:
        rig.feeder.prepare_stream(token, capture)

    assert (rig.streams.open is None) == ends
    if ends:
        log = logged(capsys, "linktype_changes")
        assert f" dispatcher linktype_changes name={os.fsdecode(other)}: The next file is " in log
    rig.streams.lose()


def leave_half(rig: FeederRig, name: bytes) -> int:
    """Leave the stream as a dispatcher that died behind FIRST of the file; return where it ends."""
    with rig.open(name) as capture:
        next(rig.begin("t", capture).send())
    rig.link.read()
    rig.link.got.clear()
    [(*_, note)] = [call for call in rig.link.calls if call[:3:2] == ("put", "file")]
    rig.streams.unfinished = Entry("file", note, os.open(name, os.O_RDONLY))
    stream, end = rig.streams.open, len(stream_of(FIRST))
    assert stream is not None
    last = stream.batches.last
    assert last is not None
    stream.batches.last = last._replace(
        length_bytes=end - 24, after=Place(end), totals=Totals(20, 1200, 1200, 5, 7)
    )
    stream.sent_bytes = end
    return end


def test_a_successor_goes_on_with_the_stored_file_behind_the_noted_batch(
    rig: FeederRig, tmp_path: Path
) -> None:
    """Though its name is gone; only with the entry that has the stored token."""
    name = written(tmp_path, "1.pcap", stream_of(FIRST + SECOND))
    end = leave_half(rig, name)
    os.unlink(name)  # noqa: PTH108 - bytes

    assert rig.feeder.delivered("u", FIRST_PACKET) == FileProgress()
    assert rig.feeder.delivered("t", FIRST_PACKET) == FileProgress(
        Totals(20, 1200, 1200, 5, 7), has_begun=True, start_bytes=24, end_bytes=end, first_packet=1
    )
    resumed = rig.feeder.unfinished_capture()
    assert resumed is not None
    with resumed as capture:
        assert capture.name == name
        begun = rig.begin("t", capture)
        for _ in begun.send():
            rig.link.read()
    rig.link.read()

    assert bytes(rig.link.got) == records(SECOND)
    assert (begun.first_ts_ns, begun.start_bytes) == (5, 24)
    assert begun.stream.batches.last is not None
    assert begun.stream.batches.last.totals.packets == 30


def test_a_stored_file_that_became_shorter_is_refused(rig: FeederRig, tmp_path: Path) -> None:
    """It cannot be read to its former end; nothing stays open of it."""
    assert rig.feeder.unfinished_capture() is None
    name = written(tmp_path, "1.pcap", stream_of(FIRST, SECOND))
    with rig.open(name) as capture:
        identity = list(capture.identity)
    written(tmp_path, "1.pcap", stream_of(FIRST))
    note = {"token": "t", "name": os.fsdecode(name), "identity": identity}
    rig.streams.unfinished = Entry("file", note, os.open(name, os.O_RDONLY))
    before = open_descriptors()

    with pytest.raises(CaptureError, match="changed while it was read"):
        rig.feeder.unfinished_capture()

    assert not open_descriptors() - before


class StoppingInterrupts(ReadingInterrupts):
    """Interrupts whose n-th check from `count` on is after a stop signal."""

    left: int | None = None

    def check(self) -> bool:
        """Count, and stop."""
        if self.left is not None:
            self.left -= 1
            if not self.left:
                os.kill(os.getpid(), signal.SIGTERM)
        return super().check()


@pytest.mark.parametrize("at_check", [1, 2, 3, 6])
@pytest.mark.parametrize("outlives", [True, False])
def test_a_stop_by_hand_completes_the_batch_and_notes_its_end(
    link: RecordingLink, signals: Signals, tmp_path: Path, *, outlives: bool, at_check: int
) -> None:
    """If the analyzer reads on within half a second; the stream of a launcher is left as it is."""
    link.outlives_dispatcher = outlives
    interrupts = StoppingInterrupts(link, signals)
    rig = FeederRig(link, signals, interrupts=interrupts)
    many = packets(100, 300)
    with rig.open(written(tmp_path, "1.pcap", stream_of(many))) as capture:
        begun = rig.begin("t", capture)
        link.read()
        fcntl.fcntl(link.write_end, fcntl.F_SETPIPE_SZ, 4096)
        interrupts.left = at_check
        with pytest.raises(Stopped):
            list(begun.send())

    if outlives:
        assert begun.stopped_at is None
        assert len(link.got) < len(stream_of(many))
    else:
        assert begun.stopped_at is not None
        assert begun.stopped_at is begun.stream.batches.last
        assert bytes(link.got) == stream_of(many)
    rig.streams.lose()


class PageReader(RecordingLink):
    """A link whose analyzer reads a page at a time.

    Attributes:
        pages: how many it still reads; None: it reads all.
    """

    pages: int | None = None

    def read(self) -> None:
        """Read a page."""
        if self.pages is None:
            super().read()
        elif self.pages and unread_bytes(self.reader):
            self.pages -= 1
            self.got += os.read(self.reader, PAGE_BYTES)


def test_a_stop_by_hand_completes_the_record_for_an_analyzer_that_reads_no_more_than_that(
    signals: Signals, tmp_path: Path
) -> None:
    """Its stream ends with a whole record; the file is fed again into the next one."""
    link = PageReader()
    link.outlives_dispatcher = False
    interrupts = StoppingInterrupts(link, signals)
    rig = FeederRig(link, signals, interrupts=interrupts)
    many = packets(100, 300)
    with rig.open(written(tmp_path, "1.pcap", stream_of(many))) as capture:
        begun = rig.begin("t", capture)
        link.read()
        fcntl.fcntl(link.write_end, fcntl.F_SETPIPE_SZ, 4 * PAGE_BYTES)
        interrupts.left, link.pages = 2, 2
        with pytest.raises(Stopped):
            list(begun.send())

    assert begun.stopped_at is None
    assert link.pages == 0
    link.pages = None
    link.read()
    assert len(link.got) > 24 + 4 * PAGE_BYTES
    assert bytes(link.got) == stream_of(many[: (len(link.got) - 24) // len(records(many[:1]))])
    rig.streams.lose()
    os.close(link.reader)


def test_a_file_is_done_once_its_last_byte_is_read(rig: FeederRig, tmp_path: Path) -> None:
    """What is in the pipe when an analyzer dies is lost."""
    with rig.open(written(tmp_path, "1.pcap", stream_of(FIRST))) as capture:
        for _ in rig.begin("t", capture).send():
            assert len(rig.link.got) < len(stream_of(FIRST))

    assert bytes(rig.link.got) == stream_of(FIRST)


def test_a_pass_behind_an_earlier_stream_keeps_its_format_and_names_it(
    link: RecordingLink, signals: Signals, tmp_path: Path
) -> None:
    """A format that is chosen anew could leave out other packets."""
    rig = FeederRig(link, signals, "ethernet")
    name = written(tmp_path, "1.pcap", stream_of(FIRST))
    place, totals = Place(24 + len(records(FIRST[:5])), skipped={113: 2}), Totals(5, 300, 300, 5, 7)
    start = StartPoint(place, totals, StreamFormat(1, nanosecond=True), None, "", ("cafe0123",))

    progress = rig.feeder.delivered("t", start)
    with rig.open(name) as capture:
        begun = rig.begin("t", capture, start)
        for _ in begun.send():
            link.read()
    link.read()

    assert (progress.totals, progress.has_begun, progress.left_out) == (totals, False, {113: 2})
    assert link.got[:4] == 0xA1B23C4D.to_bytes(4, "little")
    assert len(link.got) == 24 + len(records(FIRST[5:]))
    [(*_, note)] = [call for call in link.calls if call[:3:2] == ("put", "file")]
    assert (note["earlier_streams"], note["rewrites"]) == (["cafe0123"], False)
    assert begun.stream.batches.last is not None
    assert begun.stream.batches.last.totals.packets == 20
    assert BEGINNING.offset < begun.stream.batches.last.after.offset
    rig.streams.lose()
