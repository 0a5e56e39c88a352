"""Feeds capture files into the stream, and finishes what a dead dispatcher had begun.

It joins what a file's records are (`capture`) with how bytes reach the analyzer (`streams`, `batches`). What
a pass means for queue and statistics is the job's: a `FilePass` yields each piece that is in the pipe.
"""

import os
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, Final

from pcapdj.capture.opening import Capture, Piece, open_capture
from pcapdj.capture.pcap import StreamFormat
from pcapdj.capture.stream_options import StreamOptions, linktype_mismatch, with_rewriting
from pcapdj.feed.analyzer_link import Note, ResumableStream
from pcapdj.feed.batches import BatchSender
from pcapdj.feed.interrupts import Interrupts
from pcapdj.feed.progress import ResumeNote
from pcapdj.feed.streams import Stream, Streams
from pcapdj.runtime import failpoints
from pcapdj.runtime.errors import CaptureError, ReaderGone, Stopped
from pcapdj.runtime.log import EventLog

_FIRST_RECORD: Final = 24  # offset of the first record of a file that is spliced

events = EventLog("dispatcher")


class FilePass:
    """One pass of a capture file through the open stream.

    Args:
        capture: open; its descriptor's position is used.
        pieces: those of the capture, numbered from 0.
        note: stored with the file's descriptor.
    """

    def __init__(  # noqa: PLR0913 - what a pass consists of
        self,
        streams: Streams,
        stream: Stream,
        capture: Capture,
        sender: BatchSender,
        pieces: Iterator[tuple[int, Piece]],
        note: Note,
    ) -> None:
        self.stream: Final = stream
        self.start_bytes: Final[int] = note["stream_start"]
        self.previous: Final[Note] = note["before"]
        self.damage: CaptureError | None = None  # everything good before it was delivered
        self.has_spoiled_stream = False  # the file lost bytes that were in the pipe, unread
        self._first = next(pieces)
        self._streams = streams
        self._capture = capture
        self._sender = sender
        self._pieces = chain([self._first], pieces)

    @property
    def first_ts_ns(self) -> int | None:
        """The first packet's time, in nanoseconds since 1970."""
        return self._first[1].totals.first_ts_ns

    def send(self) -> Iterator[Piece]:
        """Send what is good, yield each piece that is in the pipe, and wait until all of it is read.

        Afterwards `damage` and `has_spoiled_stream` have the outcome.

        Raises:
            ReaderGone, LauncherGone: the stream is lost; the file has to be fed again into the next.
            Stopped: a stop signal arrived.
        """
        self.stream.sent_bytes = self.start_bytes
        try:
            for number, piece in self._pieces:
                self._send_piece(number, piece)
                self.stream.sent_bytes += piece.length_bytes
                yield piece
                failpoints.reach("splice.between")
        except CaptureError as exc:
            self.damage = exc
        self._finish()
        self.damage = self.damage or self._sender.truncation() or self._capture.change_since_opened()

    def _finish(self) -> None:
        pipe = self.stream.pipe
        self._sender.complete_torn(_FIRST_RECORD, self._capture.missing_to_record_end)
        is_unread = bool(self._streams.unfinished or pipe.unread_bytes())
        self.has_spoiled_stream = self._sender.lost_bytes() > 0 and is_unread
        failpoints.reach("file.end")
        pipe.drain()
        failpoints.reach("drain.after")

    def _send_piece(self, number: int, piece: Piece) -> None:
        try:
            self._sender.send(number, piece)
        except Stopped:
            if self._streams.grant_grace():
                self._sender.complete_record(piece)
            raise


class Feeder:
    """Begins the passes of capture files, one after another."""

    def __init__(self, streams: Streams, options: StreamOptions, interrupts: Interrupts) -> None:
        self._streams = streams
        self._options = options
        self._interrupts = interrupts

    def unfinished_capture(self) -> Capture | None:
        """Return the capture that was being fed, from its stored descriptor: its name may be gone by now.

        Raises:
            CaptureError: as `open_capture`.
        """
        left = self._streams.unfinished
        if left is None or left.file is None:
            return None
        name = b"/proc/self/fd/%d" % left.file.fd
        return open_capture(name, refuse_written=False, stops=self._interrupts)

    def abandon_unfinished(self) -> None:
        """Complete the record of a file that Redis does not have any more, and forget the file.

        Raises:
            Stopped: a stop signal arrived.
        """
        has_spoiled_stream = False
        try:
            if capture := self.unfinished_capture():
                with capture:
                    self._complete_one_record(capture)
        except CaptureError as exc:
            events.warning("unfinished_file_unreadable", f"{exc}")
            has_spoiled_stream = self.has_half_record()
        except ReaderGone:
            self._streams.lose()
        self.settle(has_spoiled_stream=has_spoiled_stream)

    def has_half_record(self) -> bool:
        """Report whether an earlier dispatcher may have sent half a record that cannot be completed."""
        left = self._streams.unfinished
        return bool(left and left.file and os.lseek(left.file.fd, 0, os.SEEK_CUR))

    def settle(self, *, has_spoiled_stream: bool) -> None:
        """Forget the file in flight; a stream that it has spoiled ends with it."""
        if not has_spoiled_stream:
            self._streams.release()
            return
        events.warning(
            "stream_given_up",
            "The file lost bytes that were in the pipe, unread: its analyzer would go on with garbage.",
            stream=self._streams.open.id if self._streams.open else None,
        )
        self._streams.end()

    def prepare_stream(self, token: str, capture: Capture) -> None:
        """End a stream of another link type, if this file begins the next one. Call it before `announce`.

        A file that is in the stream already stays there: its format was decided when it began.
        """
        if self._streams.open is None or capture.native is None or not capture.has_packets:
            return
        if self._unfinished_of(token):
            return
        stream = _format_of(self._streams.open)
        if self._options.needs_new_stream(capture.native, stream):
            why = linktype_mismatch(capture.native.linktype, stream.linktype)
            events.info("linktype_changes", f"The next file {why}.", name=capture.name)
            self._streams.end()

    def begin(self, file: ResumeNote, capture: Capture) -> FilePass | None:
        """Begin a pass; a stream is opened with the first record in hand. None: the file has no packet.

        Raises:
            CaptureError: the file is damaged before its first record.
            ReaderGone, LauncherGone: the stream is lost; the file has to be fed again into the next.
            Stopped: a stop signal arrived.
        """
        if capture.native is None:
            return None
        stream_format = self._format_for(capture.native, file.token)
        pieces = enumerate(capture.pieces(stream_format))
        first = next(pieces, None)
        if first is None:
            if self._unfinished_of(file.token):
                raise CaptureError("was truncated while it was read")
            return None
        fields = {"linktype": stream_format.linktype, "nanosecond": stream_format.nanosecond}
        stream = self._streams.ensure(stream_format.header(), fields)
        note = self._note_of(file, stream, rewrites=stream_format.rewrites)
        sender = self._sender(stream, capture, note)
        return FilePass(self._streams, stream, capture, sender, chain([first], pieces), note)

    def remember(self, file: ResumeNote, last_ts_ns: int | None) -> None:
        """Store what the next file needs of this one; without a packet the previous one stays.

        Raises:
            Stopped: a stop signal arrived.
        """
        if stream := self._streams.open:
            self._streams.remember(stream.previous if last_ts_ns is None else file.as_previous(last_ts_ns))

    def _format_for(self, native: StreamFormat, token: str) -> StreamFormat:
        """Return the open stream's format, or the next one's; it decides which pieces the file gives."""
        if self._streams.open is None:
            return self._options.format_of_first(native)
        left = self._unfinished_of(token)
        rewrites = left.last.note.get("rewrites", False) if left and left.last else self._options.rewrites
        return with_rewriting(_format_of(self._streams.open), rewrites=rewrites)

    def _unfinished_of(self, token: str) -> ResumableStream | None:
        """Return what an earlier dispatcher sent of this entry into the stream; None: nothing."""
        return self._streams.unfinished if self._streams.unfinished_token() == token else None

    def _note_of(self, file: ResumeNote, stream: Stream, *, rewrites: bool) -> Mapping[str, Any]:
        """Return the file's note: as an earlier dispatcher stored it, else a new one."""
        left = self._unfinished_of(file.token)
        if left and left.last:
            note = left.last.note
            return file.note(note["stream_start"], note.get("before", {}), rewrites=rewrites)
        return file.note(stream.sent_bytes, stream.previous, rewrites=rewrites)

    def _sender(self, stream: Stream, capture: Capture, note: Note) -> BatchSender:
        left = self._unfinished_of(note["token"])
        batch = left.batch if left else None
        return BatchSender(
            stream.pipe,
            stream,
            left.file.fd if left and left.file else capture.fd,
            note,
            delivered_batch=batch.note["number"] if batch else -1,
            is_kept=bool(left and left.file),
            is_padded=bool(batch and batch.note.get("padding")),
        )

    def _complete_one_record(self, capture: Capture) -> None:
        stream, left = self._streams.open, self._streams.unfinished
        if stream is None or left is None or left.file is None or not self.has_half_record():
            return
        sender = BatchSender(stream.pipe, stream, left.file.fd, left.file.note, is_kept=True)
        for piece in capture.pieces(_format_of(stream)):
            if sender.complete_record(piece):
                return
        sender.complete_torn(_FIRST_RECORD, capture.missing_to_record_end)


def _format_of(stream: Stream) -> StreamFormat:
    return StreamFormat(stream.format["linktype"], stream.format["nanosecond"])
