"""Sends one capture's records into the stream, so that after a crash the next dispatcher goes on mid-record.

Before a byte of a source enters the pipe, the launcher has the source's descriptor; the kernel moves its
position with every splice. So the stored descriptors always show what is in the stream:

    file    the capture itself, spliced span by span: everything before its position is in the stream; at 0
            where all of it is converted
    batch   converted records in a memfd, one at a time: the note has the piece's number
    header  the 24 bytes of the stream's beginning, in a memfd

The next dispatcher sends the same pieces again; what is in the stream already is skipped by those positions.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from pcapdj.capture.reader import Piece
from pcapdj.feed.analyzer_link import Note
from pcapdj.feed.pipe import Pipe, SourceEnded
from pcapdj.runtime.errors import CaptureError, ReaderGone


class SourceStore(Protocol):
    """Keeps the descriptors when this process dies: the stream's launcher, if there is one."""

    def put(self, key: str, fd: int, note: Note) -> None:
        """Store a duplicate of the descriptor, in place of an earlier one of that key."""


class BatchSender:
    """Sends one capture into the pipe.

    Args:
        pipe: the stream's write end.
        store: gets each source before its first byte is sent.
        source: the capture's descriptor; its position moves as bytes enter the pipe.
        note: what the next dispatcher needs of the file.
        delivered_batch: the number of the last piece that an earlier dispatcher stored as a batch; -1: none.
        is_kept: the store has this source already, and its position shows what is in the stream.
        is_padded: the earlier dispatcher had found the file truncated and completed the record already.
    """

    def __init__(  # noqa: PLR0913 - a value for each thing that survives a crash
        self,
        pipe: Pipe,
        store: SourceStore,
        source: int,
        note: Note,
        *,
        delivered_batch: int = -1,
        is_kept: bool = False,
        is_padded: bool = False,
    ) -> None:
        self._pipe: Final = pipe
        self._store: Final = store
        self._source: Final = source
        self._note: Final = note
        self._delivered_batch = delivered_batch
        self._is_kept = is_kept
        self._is_padded = is_padded
        self._end_offset: int | None = None  # of the spans sent

    def send(self, number: int, piece: Piece) -> None:
        """Send what the stream does not have of the piece yet.

        Args:
            number: the piece's place in its capture, from 0.
            piece: the same ones in the same order after every restart.

        Raises:
            CaptureError: the file was truncated under us; the current record was completed with zeros.
            ReaderGone, LauncherGone, Stopped: as `Pipe.splice` and `SourceStore.put`.
        """
        if piece.data is not None:
            self._send_batch(number, piece.data)
        elif piece.offset is not None:
            self._send_span(number, piece, piece.offset)

    def complete_record(self, piece: Piece) -> bool:
        """Finish the record in which the source's position stands, if it is one of this piece's.

        Returns:
            Whether the position is not behind this piece: the stream is whole now.

        Raises:
            As `Pipe.splice`.
        """
        if piece.offset is None:
            return False
        delivered = os.lseek(self._source, 0, os.SEEK_CUR) - piece.offset
        self._end_offset = piece.offset + piece.length_bytes
        if delivered >= piece.length_bytes:
            return False
        # Twice if the record is cut in its header: only the whole header gives the record's length.
        while delivered > 0 and (missing_bytes := piece.missing_to_record_end(delivered)):
            self._pipe.splice(self._source, missing_bytes)
            delivered += missing_bytes
        return True

    def complete_torn(self, first_offset: int, missing: Callable[[int, int], int | None]) -> None:
        """Complete with zeros a record that an earlier dispatcher began and whose end the file has lost.

        Args:
            first_offset: where the file's first record is.
            missing: how many bytes complete the record, given a record's offset and the bytes sent from
                there on; None if the file has lost the record's header, too.

        Raises:
            ReaderGone: the record's length is lost; better no stream than an invented packet.
            As `Pipe.splice`.
        """
        if not self._is_kept or self._is_padded:
            return
        start = first_offset if self._end_offset is None else self._end_offset
        sent = os.lseek(self._source, 0, os.SEEK_CUR) - start
        if sent <= 0:
            return
        missing_bytes = missing(start, sent)
        if missing_bytes is None:
            raise ReaderGone("The file lost the beginning of the record in the pipe; the stream is given up.")
        self._pad(self._delivered_batch + 1, missing_bytes)

    def truncation(self) -> CaptureError | None:
        """Return the error if the file ended before its records did."""
        return CaptureError("was truncated while it was read") if self._is_padded else None

    def lost_bytes(self) -> int:
        """Return how much of what was spliced the file does not have any more.

        The pipe holds the file's pages, not copies: what was unread when the file shrank became zeros.
        """
        return max(0, os.lseek(self._source, 0, os.SEEK_CUR) - os.fstat(self._source).st_size)

    def _send_batch(self, number: int, data: bytes | bytearray | memoryview) -> None:
        if number <= self._delivered_batch:
            return
        self._keep_source()
        with memory_file(data) as batch:
            self._store.put("batch", batch, {**self._note, "number": number})
            self._pipe.splice(batch, len(data))

    def _send_span(self, number: int, piece: Piece, offset: int) -> None:
        end = offset + piece.length_bytes
        start = self._position(offset)
        if start >= end:
            self._end_offset = end
            return
        if self._is_padded:
            raise CaptureError("was truncated while it was read", offset=start)
        try:
            self._pipe.splice(self._source, end - start)
        except SourceEnded as exc:
            delivered = os.lseek(self._source, 0, os.SEEK_CUR) - offset
            self._pad(number, piece.missing_to_record_end(delivered))
            raise CaptureError("was truncated while it was read", offset=offset + delivered) from exc
        self._end_offset = end

    def _position(self, offset: int) -> int:
        self._keep_source()
        position = os.lseek(self._source, 0, os.SEEK_CUR)
        return position if position > offset else os.lseek(self._source, offset, os.SEEK_SET)

    def _keep_source(self) -> None:
        """Store the file, also one to convert: the next dispatcher needs it, even if its name is gone."""
        if not self._is_kept:
            os.lseek(self._source, 0, os.SEEK_SET)
            self._store.put("file", self._source, self._note)
            self._is_kept = True

    def _pad(self, number: int, missing_bytes: int) -> None:
        """Complete a record with zeros; their note keeps the next dispatcher from sending more."""
        self._is_padded = True
        with memory_file(bytes(missing_bytes)) as zeros:
            self._store.put("batch", zeros, {**self._note, "number": number, "padding": True})
            self._pipe.splice(zeros, missing_bytes)


def finish_stored(pipe: Pipe, fd: int) -> bool:
    """Send what a dead process left of a header or batch; report whether anything was left.

    Raises:
        As `Pipe.splice`.
    """
    left = os.fstat(fd).st_size - os.lseek(fd, 0, os.SEEK_CUR)
    pipe.splice(fd, left)
    return left > 0


@contextmanager
def memory_file(data: bytes | bytearray | memoryview) -> Iterator[int]:
    """Yield the descriptor of a memfd that holds the data, positioned at its start."""
    with os.fdopen(os.memfd_create("pcapdj", os.MFD_CLOEXEC), "r+b", buffering=0) as file:
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) :]
        file.seek(0)
        yield file.fileno()
