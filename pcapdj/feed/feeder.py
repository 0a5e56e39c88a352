"""Brings captures into the stream, and finishes what a dead predecessor had begun.

Joins the rooms `capture` (what a file's records are) and `stream` (how bytes reach the analyzer). It knows
nothing of Redis: what a pass means for the queue is the dispatcher's business.
"""

import os
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Final

from pcapdj.capture.opening import Capture, Piece, open_capture
from pcapdj.capture.pcap import StreamFormat
from pcapdj.capture.stream_options import StreamOptions, linktype_mismatch, with_rewriting
from pcapdj.capture.timestamps import find_jump, gap_ns
from pcapdj.feed.analyzer_link import KeptStream
from pcapdj.feed.batches import BatchSender, Note
from pcapdj.feed.progress import FileProgress, ResumeNote
from pcapdj.feed.streams import Stream, Streams
from pcapdj.runtime import failpoints
from pcapdj.runtime.errors import CaptureError, ReaderGone, Stopped
from pcapdj.runtime.log import EventLog

_FIRST_RECORD: Final = 24  # offset of the first record of a file that is spliced

events = EventLog("dispatcher")


class Feeder:
    """Feeds captures into one stream after another.

    Args:
        streams: the stream that is open, and how to open one.
        wish: how streams shall be.
        max_gap_ns: a longer pause between two files is reported; 0: none is.
    """

    def __init__(self, streams: Streams, wish: StreamOptions, max_gap_ns: int) -> None:
        self.streams: Final = streams
        self.delivered = FileProgress()
        self.has_spoiled = False  # what is in the pipe is not what was put into it
        self._wish = wish
        self._max_gap_ns = max_gap_ns

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

    def make_way(self, token: str, capture: Capture) -> None:
        """End a stream of another link type, if this file shall begin the next one; before it is asked for.

        A file that is in the stream already stays there: what is done with it was decided when it began.

        Args:
            token: of the taking.
            capture: open.
        """
        if self.streams.open is None or capture.native is None or self._left_of(token):
            return
        stream = _format_of(self.streams.open)
        if self._wish.needs_new_stream(capture.native, stream):
            why = linktype_mismatch(capture.native.linktype, stream.linktype)
            events.info("linktype_changes", f"The next file {why}.", name=capture.name)
            self.streams.end()

    def feed(self, passage: ResumeNote, capture: Capture, begin: Callable[[str], None]) -> None:
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
        self.delivered, self.has_spoiled = FileProgress(), False
        if capture.native is None:
            return
        wanted = self._format_for(capture.native, passage)
        pieces = enumerate(capture.pieces(wanted))
        first = next(pieces, None)
        if first is None:
            if self.streams.left_token() == passage.token:
                raise CaptureError("was truncated while it was read")
            return
        stream_format = {"linktype": wanted.linktype, "nanosecond": wanted.nanosecond}
        stream = self.streams.ensure(wanted.header(), stream_format)
        note = self._note_of(stream, passage, rewrites=wanted.rewrites)
        feed = self._feed_of(stream, capture, note)
        self._compare(passage, note["before"], first[1])
        begin(stream.id)
        self.delivered.has_begun = True
        damage = self._send_all(stream, feed, capture, chain([first], pieces))
        self._remember(stream, passage)
        if damage:
            raise damage

    def _format_for(self, native: StreamFormat, passage: ResumeNote) -> StreamFormat:
        """Return the open stream's format, or the next one's; it decides which pieces the file gives."""
        if self.streams.open is None:
            return self._wish.format_of_first(native)
        left = self._left_of(passage.token)
        rewrites = left.last.note.get("rewrites", False) if left and left.last else self._wish.rewrites
        return with_rewriting(_format_of(self.streams.open), rewrites=rewrites)

    def _left_of(self, token: str) -> KeptStream | None:
        """Return what a predecessor left of this taking in the stream; None: nothing."""
        return self.streams.left if self.streams.left_token() == token else None

    def _note_of(self, stream: Stream, passage: ResumeNote, *, rewrites: bool) -> Note:
        """Return the file's note: as a predecessor left it, else a new one."""
        left = self._left_of(passage.token)
        if left and left.last:
            start_bytes, before = left.last.note["stream_start"], left.last.note.get("before", {})
            return passage.note(start_bytes, before, rewrites=rewrites)
        return passage.note(stream.sent_bytes, stream.before, rewrites=rewrites)

    def _compare(self, passage: ResumeNote, before: Note, first: Piece) -> None:
        """Take note of how the packets' time goes on from the file before; say it if it jumps."""
        step = gap_ns(before.get("last_ts_ns"), first.totals.first_ts_ns)
        jump = find_jump(step, self._max_gap_ns)
        self.delivered.step_ns, self.delivered.jump = step, jump
        if jump:
            events.warning(
                "timestamps_jump", jump.message, name=passage.name, before=before["name"], step_ns=step
            )

    def _remember(self, stream: Stream, passage: ResumeNote) -> None:
        last_ts_ns = self.delivered.totals.last_ts_ns
        self.streams.remember(stream.before if last_ts_ns is None else passage.as_before(last_ts_ns))

    def _feed_of(self, stream: Stream, capture: Capture, note: Note) -> BatchSender:
        left = self._left_of(note["token"])
        self.delivered.start_bytes = self.delivered.end_bytes = note["stream_start"]
        keeper, batch = self.streams.link.keeper(stream.id), left.batch if left else None
        return BatchSender(
            stream.pipe,
            keeper,
            left.file.fd if left and left.file else capture.fd,
            note,
            delivered_batch=batch.note["number"] if batch else -1,
            is_kept=bool(left and left.file),
            is_padded=bool(batch and batch.note.get("padding")),
        )

    def _send_all(
        self, stream: Stream, feed: BatchSender, capture: Capture, pieces: Iterator[tuple[int, Piece]]
    ) -> CaptureError | None:
        """Send what is good and wait until it is read; return the file's damage."""
        damage: CaptureError | None = None
        try:
            for number, piece in pieces:
                self._send(feed, number, piece)
                self._count(stream, piece)
                failpoints.reach("splice.between")
        except CaptureError as exc:
            damage = exc
        feed.complete_torn(_FIRST_RECORD, capture.missing_to_record_end)
        self.has_spoiled = feed.lost_bytes() > 0 and bool(self.streams.left or stream.pipe.unread_bytes())
        failpoints.reach("file.end")
        stream.pipe.drain()
        failpoints.reach("drain.after")
        return damage or feed.truncation() or _change_of(capture)

    def _send(self, feed: BatchSender, number: int, piece: Piece) -> None:
        try:
            feed.send(number, piece)
        except Stopped:
            if not self.streams.link.outlives_dispatcher:
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
        keeper = self.streams.link.keeper(stream.id)
        feed = BatchSender(stream.pipe, keeper, left.file.fd, left.file.note, is_kept=True)
        for piece in capture.pieces(_format_of(stream)):
            if feed.complete_record(piece):
                return
        feed.complete_torn(_FIRST_RECORD, capture.missing_to_record_end)


def _format_of(stream: Stream) -> StreamFormat:
    return StreamFormat(stream.format["linktype"], stream.format["nanosecond"])


def _change_of(capture: Capture) -> CaptureError | None:
    reason = capture.change_since_opened()
    return CaptureError(reason) if reason else None
