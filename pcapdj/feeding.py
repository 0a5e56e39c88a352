"""Brings captures into the stream, and finishes what a dead predecessor had begun.

Joins the rooms `capture` (what a file's records are) and `stream` (how bytes reach the analyzer). It knows
nothing of Redis: what a pass means for the queue is the dispatcher's business.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from pcapdj.capture.opening import Capture, Piece, open_capture
from pcapdj.capture.pcap import StreamFormat
from pcapdj.capture.totals import Totals
from pcapdj.console.statistics import Statistics
from pcapdj.runtime import fault
from pcapdj.runtime.errors import CaptureError, ReaderGone, Stopped
from pcapdj.runtime.log import EventLog
from pcapdj.stream.feed import Feed
from pcapdj.stream.streams import Stream, Streams

_FIRST_RECORD: Final = 24  # offset of the first record of a file that is spliced

events = EventLog("dispatcher")


@dataclass(frozen=True, slots=True)
class Passage:
    """Which file goes through the pipe, as a successor has to know it.

    Args:
        token: of the taking.
        name: as it stood in the queue.
    """

    token: str
    name: bytes


@dataclass(slots=True)
class Delivered:
    """What of a file is in the stream so far.

    Args:
        totals: of its records.
        start_bytes, end_bytes: where in the stream they are.
        source_bytes: how far into the file reading is.
        has_begun: the analyzer may have seen a byte of it.
    """

    totals: Totals = field(default_factory=Totals)
    has_begun: bool = False
    start_bytes: int = 0
    end_bytes: int = 0
    source_bytes: int = 0

    def journal(self) -> dict[str, int | str]:
        """Return the numbers that the journal keeps of a pass."""
        totals = self.totals
        return {
            "packets": totals.packets,
            "cap_lengths": totals.cap_lengths_bytes,
            "lengths": totals.lengths_bytes,
            "first_ts_ns": "" if totals.first_ts_ns is None else totals.first_ts_ns,
            "last_ts_ns": "" if totals.last_ts_ns is None else totals.last_ts_ns,
            "stream_start": self.start_bytes,
            "stream_end": self.end_bytes,
        }

    def counted_in(self, statistics: Statistics) -> Statistics:
        """Return the statistics with this file's records so far."""
        totals = self.totals
        counted = statistics.counted(totals.packets, totals.cap_lengths_bytes, totals.lengths_bytes)
        counted.done_bytes = self.source_bytes
        counted.stream_bytes = self.end_bytes or statistics.stream_bytes
        return counted


class Feeding:
    """Feeds captures into one stream after another.

    Args:
        streams: the stream that is open, and how to open one.
        precision: `us` or `ns` forces the streams' time resolution; `first`: as the first file has it.
    """

    def __init__(self, streams: Streams, precision: str = "first") -> None:
        self.streams: Final = streams
        self.delivered = Delivered()
        self.has_spoiled = False  # what is in the pipe is not what was put into it
        self._precision = precision

    def left_capture(self) -> Capture | None:
        """Return the capture that was being fed, from its kept descriptor: its name may be gone by now.

        Raises:
            CaptureError: as `open_capture`.
        """
        left = self.streams.left
        if left is None or left.file is None:
            return None
        return open_capture(b"/proc/self/fd/%d" % left.file.fd, refuse_written=False)

    def abandon_left(self) -> None:
        """Complete the record of a file that Redis does not know any more, and forget the file.

        Raises:
            Stopped: a stop signal arrived.
        """
        try:
            if capture := self.left_capture():
                with capture:
                    self._complete_one_record(capture)
        except CaptureError as exc:
            events.warning("left_file_unreadable", f"{exc}")
            self.spoil_left()
        except ReaderGone:
            self.streams.lose()
        self.settle()

    def spoil_left(self) -> None:
        """Take note that nobody can tell any more how the record in the pipe goes on, if one was begun."""
        left = self.streams.left
        self.has_spoiled |= bool(left and left.file and os.lseek(left.file.fd, 0, os.SEEK_CUR))

    def settle(self) -> None:
        """Let the file in flight be forgotten; a stream that it has spoiled ends with it."""
        if self.has_spoiled:
            events.warning(
                "stream_given_up",
                "The file lost bytes that were in the pipe, unread: its analyzer would go on with garbage.",
                stream=self.streams.open.id if self.streams.open else None,
            )
            self.has_spoiled = False
            self.streams.end()
        else:
            self.streams.release()

    def feed(self, passage: Passage, capture: Capture, begin: Callable[[str], None]) -> None:
        """Bring the capture's good records into the stream and wait until the pipe is drained.

        Opens a stream with the first record in hand; `delivered` tells how far it came, however it ends.

        Args:
            passage: which file it is.
            capture: open; its descriptor's position is used.
            begin: called with the stream's id before the first byte.

        Raises:
            CaptureError: the file is damaged; everything good before that was delivered.
            ReaderGone, LauncherGone: the stream is lost; the file has to be fed again into the next.
            Stopped: a stop signal arrived.
        """
        self.delivered, self.has_spoiled = Delivered(), False
        if capture.native is None:
            return
        wanted = self._format_for(capture.native)
        pieces = enumerate(capture.pieces(wanted))
        first = next(pieces, None)
        if first is None:
            if self.streams.left_token() == passage.token:
                raise CaptureError("was truncated while it was read")
            return
        note = {"linktype": wanted.linktype, "nanosecond": wanted.nanosecond}
        stream = self.streams.ensure(wanted.header(), note)
        feed = self._feed_of(stream, capture, passage)
        begin(stream.id)
        self.delivered.has_begun = True
        self._send_all(stream, feed, capture, chain([first], pieces))

    def _format_for(self, native: StreamFormat) -> StreamFormat:
        if self.streams.open:
            return _format_of(self.streams.open)
        nanosecond = native.nanosecond if self._precision == "first" else self._precision == "ns"
        return StreamFormat(native.linktype, nanosecond)

    def _feed_of(self, stream: Stream, capture: Capture, passage: Passage) -> Feed:
        left = self.streams.left if self.streams.left_token() == passage.token else None
        start_bytes = left.last.note["stream_start"] if left and left.last else stream.sent_bytes
        self.delivered.start_bytes = self.delivered.end_bytes = start_bytes
        note = {"token": passage.token, "name": os.fsdecode(passage.name), "stream_start": start_bytes}
        keeper, batch = self.streams.outlet.keeper(stream.id), left.batch if left else None
        return Feed(
            stream.pipe,
            keeper,
            left.file.fd if left and left.file else capture.fd,
            note,
            delivered_batch=batch.note["number"] if batch else -1,
            is_kept=bool(left and left.file),
            is_padded=bool(batch and batch.note.get("padding")),
        )

    def _send_all(
        self, stream: Stream, feed: Feed, capture: Capture, pieces: Iterator[tuple[int, Piece]]
    ) -> None:
        damage: CaptureError | None = None
        try:
            for number, piece in pieces:
                self._send(feed, number, piece)
                self._count(stream, piece)
                fault.reach("splice.between")
        except CaptureError as exc:
            damage = exc
        feed.complete_torn(_FIRST_RECORD, capture.missing_to_record_end)
        self.has_spoiled = feed.lost_bytes() > 0 and bool(self.streams.left or stream.pipe.unread_bytes())
        fault.reach("file.end")
        stream.pipe.drain()
        fault.reach("drain.after")
        if damage := damage or feed.truncation() or _change_of(capture):
            raise damage

    def _send(self, feed: Feed, number: int, piece: Piece) -> None:
        try:
            feed.send(number, piece)
        except Stopped:
            if not self.streams.outlet.survives_us:
                self.streams.grant_grace()
                feed.complete_record(piece)
            raise

    def _count(self, stream: Stream, piece: Piece) -> None:
        self.delivered.totals += piece.totals
        self.delivered.end_bytes += piece.length_bytes
        self.delivered.source_bytes = piece.source_end
        stream.sent_bytes = self.delivered.end_bytes

    def _complete_one_record(self, capture: Capture) -> None:
        stream, left = self.streams.open, self.streams.left
        if stream is None or left is None or left.file is None or not os.lseek(left.file.fd, 0, os.SEEK_CUR):
            return
        keeper = self.streams.outlet.keeper(stream.id)
        feed = Feed(stream.pipe, keeper, left.file.fd, left.file.note, is_kept=True)
        for piece in capture.pieces(_format_of(stream)):
            if feed.complete_record(piece):
                return
        feed.complete_torn(_FIRST_RECORD, capture.missing_to_record_end)


def _format_of(stream: Stream) -> StreamFormat:
    return StreamFormat(stream.format["linktype"], stream.format["nanosecond"])


def _change_of(capture: Capture) -> CaptureError | None:
    reason = capture.unchanged()
    return CaptureError(reason) if reason else None
