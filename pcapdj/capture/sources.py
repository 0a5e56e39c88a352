"""Where a walk gets its bytes from: a window of the capture at an offset that only grows.

The bytes of a window stay as they are, whatever is asked for next. Never mmap: a file that shrinks would then
end the process.
"""

import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Protocol

from pcapdj.capture.ahead import made_ahead
from pcapdj.capture.unpacking import LARGE_STEP_BYTES, STEP_BYTES, Unpacker, codec_for
from pcapdj.runtime.errors import CaptureError

# Measured best between 256 KiB and 4 MiB for header walks; bounds the memory of every kind of reading.
WINDOW_BYTES = 1 << 20
# Read at once of a compressed file; also how exact its progress is.
PACKED_BYTES = 1 << 18
_CHUNKS_AHEAD = 4


@dataclass(frozen=True, slots=True)
class Window:
    """Bytes of the (uncompressed) capture.

    Args:
        data: at least WINDOW_BYTES, or all there is from the offset on.
        room_bytes: how far records may reach: to the end of the file if that is known, else of `data`.
        is_last: `data` reaches the end.
        source_end: how far into the file on disk reading is, in bytes.
    """

    data: bytes
    room_bytes: int
    is_last: bool
    source_end: int


class Source(Protocol):
    """A capture's bytes."""

    def window(self, offset: int) -> Window:
        """Return the bytes from `offset` on; it grows from call to call, or starts again."""

    @property
    def fault(self) -> str | None:
        """Why there is nothing beyond the last window though there should be; None if that is the end."""

    def close(self) -> None:
        """Stop using the file."""


class FileSource:
    """An uncompressed file of the size it had when it was opened; its position is never moved."""

    def __init__(self, fd: int, size_bytes: int) -> None:
        self._fd = fd
        self._size_bytes = size_bytes
        self.fault: str | None = None

    def window(self, offset: int) -> Window:
        """Return up to WINDOW_BYTES from `offset` on; fewer than expected mean that the file shrank."""
        rest_bytes = max(self._size_bytes - offset, 0)
        data = read_at(self._fd, min(WINDOW_BYTES, rest_bytes), offset)
        if len(data) < min(WINDOW_BYTES, rest_bytes):
            self.fault = (
                f"became shorter while it was read: {offset + len(data)} of {self._size_bytes} bytes are left"
            )
            rest_bytes = len(data)
        return Window(data, rest_bytes, len(data) == rest_bytes, offset + len(data))

    def close(self) -> None:
        """Do nothing: the file is used only while a window is asked for."""


def read_at(fd: int, length_bytes: int, offset: int) -> bytes:
    """Return a file's bytes without moving its position.

    Raises:
        CaptureError: the disk or the network file system reports an error.
    """
    try:
        return os.pread(fd, length_bytes, offset)
    except OSError as exc:
        raise CaptureError(f"cannot be read: {exc.strerror}", offset=offset) from exc


class UnpackedSource:
    """What a compressed file holds, unpacked as far as it is asked for; only a window of it is kept.

    Behind the first window a thread unpacks a little ahead: the libraries let other threads run meanwhile.
    """

    def __init__(self, fd: int, compression: str) -> None:
        self._fd = fd
        self._codec = codec_for(compression)
        self._chunks: Generator[_Chunk, None, None] | None = None
        self._restart()

    def _restart(self) -> None:
        self.close()
        self._chunks = self._unpacked_chunks()
        self._is_ahead = False
        self._fault: str | None = None
        self._start = 0  # offset of `_kept` in the unpacked capture
        self._kept = b""
        self._source_end = 0
        self._ended = False

    @property
    def fault(self) -> str | None:
        """Why unpacking stopped early."""
        return self._fault if self._ended else None

    def close(self) -> None:
        """Stop unpacking; the thread has let the file go when this returns."""
        if self._chunks is not None:
            self._chunks.close()

    def window(self, offset: int) -> Window:
        """Return the bytes from `offset` on; an earlier offset unpacks from the start again."""
        if offset < self._start:
            self._restart()
        if offset and not self._is_ahead and self._chunks is not None:
            self._chunks, self._is_ahead = made_ahead(self._chunks, _CHUNKS_AHEAD), True
        parts = [self._drop_to(offset)]
        have_bytes = len(parts[0])
        while have_bytes < WINDOW_BYTES and (chunk := self._next_chunk()):
            parts.append(chunk)
            have_bytes += len(chunk)
        self._kept = b"".join(parts)
        return Window(self._kept, len(self._kept), self._ended, self._source_end)

    def _drop_to(self, offset: int) -> bytes:
        """Forget everything before `offset`; return what is left of the bytes unpacked so far."""
        kept = self._kept
        while offset >= self._start + len(kept) and not self._ended and offset > self._start:
            self._start += len(kept)
            kept = self._next_chunk()
        kept = kept[max(offset - self._start, 0) :]
        self._start = offset
        return kept

    def _next_chunk(self) -> bytes:
        """Return the next unpacked bytes; nothing at the end."""
        chunk = next(self._chunks, None) if self._chunks is not None else None
        if chunk is None:
            self._ended = True
            return b""
        self._source_end = chunk.source_end
        return chunk.data

    def _unpacked_chunks(self) -> Generator["_Chunk", None, None]:
        """Yield all that the file holds; where it is damaged, once more from the start, in smaller steps."""
        given_bytes = 0
        for step_bytes in (LARGE_STEP_BYTES, STEP_BYTES):
            unpacker, at = Unpacker(self._codec, step_bytes), 0
            for chunk in self._unpacked(unpacker):
                new = chunk.data[max(given_bytes - at, 0) :]
                at += len(chunk.data)
                if new:
                    yield _Chunk(new, chunk.source_end)
            given_bytes = max(given_bytes, at)
            self._fault = unpacker.fault
            if not unpacker.is_damaged:
                return

    def _unpacked(self, unpacker: Unpacker) -> Iterator["_Chunk"]:
        source_end = 0
        while unpacker.fault is None and (packed := read_at(self._fd, PACKED_BYTES, source_end)):
            source_end += len(packed)
            for data in unpacker.feed(packed):
                yield _Chunk(data, source_end)
        unpacker.end()


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Unpacked bytes, and how far into the file reading was for them."""

    data: bytes
    source_end: int
