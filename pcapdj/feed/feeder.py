"""Feeds capture files into the stream, and finishes what a dead dispatcher had begun.

It connects the records of a file (`capture`) with the way to the analyzer (`streams`, `batches`). A
`FilePass` yields each piece that is in the pipe; the job updates queue and statistics.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any, Final

from pcapdj.capture.capture import change_since, content_change
from pcapdj.capture.opening import Capture, Identity, Piece, capture_of
from pcapdj.capture.pcap import Bytes, Place, StreamFormat, Totals
from pcapdj.capture.reading_process import FileOpener
from pcapdj.capture.storage import is_gone
from pcapdj.capture.stream_options import StreamOptions, linktype_mismatch, with_rewriting
from pcapdj.capture.walk import record_end
from pcapdj.feed.analyzer_link import Note
from pcapdj.feed.note import BatchNote
from pcapdj.feed.progress import FileProgress, ResumeNote, packets_before
from pcapdj.feed.reading_mark import ReadingMark
from pcapdj.feed.start_point import StartPoint, start_point_behind
from pcapdj.feed.storage import CaptureStorage
from pcapdj.feed.streams import Stream, Streams
from pcapdj.runtime import failpoints
from pcapdj.runtime.errors import CaptureError, CutOff, Stopped
from pcapdj.runtime.log import EventLog
from pcapdj.runtime.safe_text import to_name

events = EventLog("dispatcher")


class FilePass:
    """One pass of a capture file through the open stream.

    Args:
        capture: open.
        pieces: those of the capture that are not in the stream yet.
        note: stored with the file's descriptor.
        delivered: totals of what is in the stream already.
        first_ts_ns: the first packet's time, in nanoseconds since 1970.
    """

    def __init__(  # noqa: PLR0913 - what a pass consists of
        self,
        streams: Streams,
        stream: Stream,
        capture: Capture,
        pieces: Iterator[Piece],
        note: Note,
        delivered: Totals,
        first_ts_ns: int | None,
    ) -> None:
        self.stream: Final = stream
        self.start_bytes: Final[int] = note["stream_start"]
        self.previous: Final[Note] = note["before"]
        self.first_packet: Final = packets_before(note["before"]) + 1
        self.first_ts_ns: Final = first_ts_ns
        self.damage: CaptureError | None = None  # everything good before it was delivered
        self.stopped_at: BatchNote | None = None  # after `Stopped`: all up to its end was read
        self._sending: Bytes = b""  # the records of the noted batch
        self._identity = capture.identity
        self._totals = delivered
        self._streams = streams
        self._capture = capture
        self._pieces = pieces
        self._note = note

    @property
    def digest(self) -> str:
        """The digest of the file's beginning when the pass began."""
        return str(self._note["digest"])

    @property
    def stream_format(self) -> StreamFormat:
        """The format of the stream, with what is rewritten of this file."""
        return _format_of(self.stream)._replace(rewrites=self._note["rewrites"])

    def start_behind(self, start: StartPoint) -> StartPoint | None:
        """Return where the file goes on after a stop that left whole records; None: there was none.

        Args:
            start: where the pass began.
        """
        if self.stopped_at is None:
            return None
        identity, digest = self._capture.identity, self.digest
        of_pass = start._replace(stream_format=self.stream_format, identity=identity, digest=digest)
        return start_point_behind(of_pass, self.stopped_at, self.stream.id, self.first_packet)

    def send(self) -> Iterator[Piece]:
        """Send what is good, yield each piece that is in the pipe, and wait until all of it is read.

        Afterwards `damage` has the outcome, or `stopped_at`.

        Raises:
            ReaderGone, LauncherGone: the stream is lost; the file has to be fed again into the next.
            Stopped: a stop signal arrived.
        """
        self._store_file()
        try:
            yield from self._send_pieces()
            failpoints.reach("file.end")
            self.stream.pipe.drain()
        except Stopped:
            self._stop()
            raise
        failpoints.reach("drain.after")

    def _store_file(self) -> None:
        """Store the open file: its name may be gone when the next dispatcher needs it."""
        self._identity = self._capture.identity
        self._note = {**self._note, "identity": list(self._identity)}
        self.stream.put("file", self._capture.fd, self._note)

    def _send_pieces(self) -> Iterator[Piece]:
        try:
            for piece in self._pieces:
                self._send_piece(piece)
                yield piece
                failpoints.reach("splice.between")
        except CaptureError as exc:
            self.damage = exc

    def _send_piece(self, piece: Piece) -> None:
        if self._capture.identity is not self._identity:  # its storage was away, and it was opened again
            self._store_file()
        stream, before = self.stream, self._totals
        self._totals += piece.totals
        note = BatchNote(
            number=0,
            token=self._note["token"],
            batch=0,
            length_bytes=len(piece.data),
            stream_position=stream.sent_bytes,
            after=piece.after,
            totals_before=before,
            totals=self._totals,
        )
        self._sending = piece.data
        stream.batches.send(stream.pipe, piece.data, note)
        stream.add(len(piece.data))

    def _stop(self) -> None:
        """Without a launcher, leave whole records, and a place where the next stream continues.

        First the record, then the pipe, then the rest of the batch, which fits into an empty pipe.

        Raises:
            Stopped: the analyzer does not read on in time: the file has to be fed again.
        """
        pipe, batches = self.stream.pipe, self.stream.batches
        last = batches.last
        if not self._streams.grant_grace() or last is None or last.token != self._note["token"]:
            return
        if last.stream_position == self.stream.sent_bytes:  # not all of it is in the pipe
            batches.finish(pipe, record_end(self._sending, batches.sent_bytes(last)))
        pipe.drain()
        if last.length_bytes - batches.sent_bytes(last) <= pipe.size_bytes:
            batches.finish(pipe)
            pipe.drain()
            self.stopped_at = last


class Feeder:
    """Begins the passes of capture files, one after another."""

    def __init__(
        self,
        streams: Streams,
        options: StreamOptions,
        opener: FileOpener,
        mark: ReadingMark,
        storage: CaptureStorage,
    ) -> None:
        self._mark = mark
        self._storage = storage
        self._streams = streams
        self._options = options
        self._opener = opener

    def unfinished_capture(self) -> Capture | None:
        """Return the capture that was being fed, from its stored descriptor: its name may be gone by now.

        If the descriptor's storage is gone, the file is opened by its name. A file that has grown or was
        touched is read up to its former end, as it would have been without a death in between; the pass ends
        with that change.

        Raises:
            CaptureError: it became shorter since it was opened first, or as `open_capture`.
        """
        left = self._streams.unfinished
        if left is None:
            return None
        name, before = to_name(left.note["name"]), Identity(*left.note["identity"])
        try:
            file = self._opener.open_again(left.fd, name)
            change = change_since(before, file)
            if change and not isinstance(change, CutOff):
                file.close()
                raise change
            return capture_of(name, file, self._opener.waits, has_checksums=True, identity=before)
        except CaptureError as exc:
            if not is_gone(exc.error_number):
                raise
        return self._opened_again(name, before, str(left.note["digest"]))

    def delivered(self, token: str, start: StartPoint) -> FileProgress:
        """Return how far an earlier dispatcher came with this entry's file; at least to the start point."""
        left, unfinished = self._streams.delivered(token), self._streams.unfinished
        earlier = FileProgress(
            start.totals,
            earlier_packets=start.totals.packets,
            earlier_parts=start.parts,
            left_out=start.place.skipped,
        )
        if left is None or unfinished is None:
            return earlier
        return replace(
            earlier,
            totals=left.totals,
            has_begun=True,
            start_bytes=unfinished.note["stream_start"],
            end_bytes=left.stream_end,
            first_packet=packets_before(unfinished.note["before"]) + 1,
            left_out=left.after.skipped,
        )

    def prepare_stream(self, token: str, capture: Capture) -> None:
        """End a stream of another link type, if this file begins the next one. Call it before `announce`.

        A file that is in the stream already stays there: its format was decided when it began.
        """
        if self._streams.open is None or capture.native is None or not capture.has_packets:
            return
        if self._streams.unfinished_token() == token:
            return
        stream = _format_of(self._streams.open)
        if self._options.needs_new_stream(capture.native, stream):
            why = linktype_mismatch(capture.native.linktype, stream.linktype)
            events.info("linktype_changes", f"The next file {why}.", name=capture.name)
            self._streams.end()

    def begin(self, file: ResumeNote, capture: Capture, start: StartPoint) -> FilePass | None:
        """Begin a pass; a stream is opened with the first record in hand. None: the file has no packet there.

        Args:
            file: the entry.
            capture: its file.
            start: where the pass begins, unless an earlier dispatcher came further in the open stream.

        Raises:
            CaptureError: the file is damaged before its first record.
            ReaderGone, LauncherGone: the stream is lost; the file has to be fed again into the next.
            Stopped: a stop signal arrived.
        """
        if capture.native is None:
            return None
        stream_format = self._format_for(capture.native, file.token, start)
        left = self._streams.delivered(file.token)
        place = left.after if left else start.place
        capture.digest()  # read while it can be
        pieces = self._mark.marked(self._pieces(capture, stream_format, place))
        totals = left.totals if left else start.totals
        first_ts_ns = totals.first_ts_ns
        if not left:
            first = next(pieces, None)
            if first is None:
                return None
            first_ts_ns, pieces = first.totals.first_ts_ns, chain([first], pieces)
        fields = {"linktype": stream_format.linktype, "nanosecond": stream_format.nanosecond}
        stream = self._streams.ensure(stream_format.header(), fields)
        note = self._note_of(file, capture, stream, start, rewrites=stream_format.rewrites)
        return FilePass(self._streams, stream, capture, pieces, note, totals, first_ts_ns)

    def _pieces(self, capture: Capture, stream: StreamFormat, place: Place) -> Iterator[Piece]:
        """Yield the pieces from a place on; when the storage was away, go on at the record where it was."""
        while True:
            try:
                for piece in capture.pieces(stream, place):
                    self._storage.refuse_skipped()
                    place = piece.after
                    yield piece
            except CaptureError as exc:
                if not is_gone(exc.error_number):
                    raise
                self._wait_for(capture, exc)
            else:
                return

    def _wait_for(self, capture: Capture, error: CaptureError) -> None:
        """Wait until the capture can be opened again, and replace it.

        Raises:
            CaptureError: it cannot, or changed meanwhile.
            ReaderGone, LauncherGone: the stream is lost.
            Stopped: a stop signal arrived.
        """
        while True:
            self._streams.check_alive()
            self._storage.wait(error)
            try:
                found = self._opened_again(capture.name, capture.identity, capture.digest())
            except CaptureError as exc:
                error = exc
            else:
                break
        capture.replace_by(found)
        self._storage.end(capture)

    def _opened_again(self, name: bytes, before: Identity, digest: str) -> Capture:
        """Open a file by its name whose storage was away.

        Raises:
            CaptureError: it has another size, time or beginning; or as `open_capture`.
        """
        found = capture_of(
            name, self._storage.open(refuse_written=False), self._opener.waits, has_checksums=True
        )
        if change := content_change(before, digest, found):
            found.close()
            raise change
        return found

    def remember(self, file: ResumeNote, progress: FileProgress) -> None:
        """Store what the next file needs of this one; without a packet the previous one stays.

        Raises:
            Stopped: a stop signal arrived.
        """
        if progress.has_begun and progress.totals.last_ts_ns is not None:
            self._streams.remember(file.as_previous(progress.totals.last_ts_ns, progress.stream_packets))

    def _format_for(self, native: StreamFormat, token: str, start: StartPoint) -> StreamFormat:
        """Return the open stream's format, or the next one's; it decides which pieces the file gives."""
        if self._streams.open is None:
            return start.stream_format or self._options.format_of_first(native)
        chosen = start.stream_format.rewrites if start.stream_format else self._options.rewrites
        rewrites = self._stored_note(token).get("rewrites", chosen)
        return with_rewriting(_format_of(self._streams.open), rewrites=rewrites)

    def _stored_note(self, token: str) -> Mapping[str, Any]:
        """Return what an earlier dispatcher stored with this entry's file; empty: it had not begun."""
        left = self._streams.unfinished
        return left.note if left and self._streams.unfinished_token() == token else {}

    def _note_of(
        self, file: ResumeNote, capture: Capture, stream: Stream, start: StartPoint, *, rewrites: bool
    ) -> Mapping[str, Any]:
        """Return the file's note: as an earlier dispatcher stored it, else a new one."""
        if note := self._stored_note(file.token):
            return note
        of_file = {"identity": list(capture.identity), "digest": capture.digest(), "rewrites": rewrites}
        earlier = {"earlier_streams": list(start.streams), "begin_bytes": start.begin_bytes}
        earlier |= {"earlier_parts": list(start.parts), "earlier_packets": start.totals.packets}
        return file.note(stream.sent_bytes, stream.previous, **of_file, **earlier)


def _format_of(stream: Stream) -> StreamFormat:
    return StreamFormat(stream.format["linktype"], stream.format["nanosecond"])
