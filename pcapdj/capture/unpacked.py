"""The bytes of a compressed capture, unpacked while they are read; imported only where there is one."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass

from pcapdj.capture.ahead import made_ahead
from pcapdj.capture.sources import WINDOW_BYTES, Window, read_at
from pcapdj.capture.unpacking import LARGE_STEP_BYTES, STEP_BYTES, Unpacker, codec_for

# Read at once of a compressed file; also how exact its progress is.
PACKED_BYTES = 1 << 18
_CHUNKS_AHEAD = 4


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
