"""Unpacks gzip, bzip2, xz and zstd bit by bit, for archives that may be long, cut off, joined or hostile.

The libraries' file objects give up a whole buffer when an archive is cut off, and take as much memory as its
header asks for. So their incremental decompressors are used: all four have the same three words.

Rules:
- members follow one another (`cat a.gz b.gz`, pigz, pzstd); zeros between and behind them are padding.
- a cut-off archive gives all that it holds; a damaged one all but the last step before the damage.
- an archive that unpacks to more than MAX_RATIO times its size, or to more than MAX_BYTES, is a bomb.
- one that asks for more than MAX_MEMORY_BYTES to unpack is refused.

The bytes of a compressed capture, unpacked while they are read; imported only where there is one.
"""

import bz2
import lzma
import sys
import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Protocol

from pcapdj.capture.prefetch import prefetched
from pcapdj.capture.sources import WINDOW_BYTES, Window, read_at

# What is unpacked at once: much, for speed; little, for what a damaged archive holds up to the damage.
LARGE_STEP_BYTES, STEP_BYTES = 1 << 18, 1 << 14
# 128 MiB is what zstd and `xz -9` themselves take without being asked for more.
MAX_MEMORY_BYTES = 128 << 20
_ZSTD_WINDOW_LOG = 27
# Repetitive captures reach 200:1 with zstd; deflate's own limit is 1032:1, that of the others far beyond.
MAX_RATIO = 1000
RATIO_FREE_BYTES = 64 << 20  # a short file of equal packets is no danger
MAX_BYTES = 1 << 40


class Decompressor(Protocol):
    """One member's decompressor, as in `bz2`, `lzma`, `zstd` and `isal`."""

    @property
    def eof(self) -> bool:
        """The member has ended."""

    @property
    def needs_input(self) -> bool:
        """Nothing more comes without more input."""

    @property
    def unused_data(self) -> bytes:
        """Input behind the member's end."""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Take all of `data`, give at most `max_length` bytes."""


class PlainGzip:
    """zlib's own decompressor in the words of the others, for machines without isal."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        """Report whether the member has ended."""
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        """Return the input behind the member's end."""
        return self._inner.unused_data

    @property
    def needs_input(self) -> bool:
        """Report whether nothing more comes without more input."""
        return not self._inner.unconsumed_tail and not self.eof

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Take all of `data`, give at most `max_length` bytes."""
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


@dataclass(frozen=True, slots=True)
class Codec:
    """How members of one compression are opened, and what it raises when they are damaged."""

    start: Callable[[], Decompressor]
    errors: tuple[type[Exception], ...]


def codec_for(name: str) -> Codec:
    """Return the codec of a compression by its name in `formats`; its library loads only now."""
    return {"gzip": _gzip, "bzip2": _bzip2, "xz": _xz, "zstd": _zstd}[name]()


def _gzip() -> Codec:
    try:
        from isal import igzip_lib
    except ImportError:
        return Codec(PlainGzip, (zlib.error,))
    errors: tuple[type[Exception], ...] = (igzip_lib.error, ValueError)  # type: ignore[assignment]  # a class, whatever its stub says
    return Codec(lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP), errors)


def _bzip2() -> Codec:
    return Codec(bz2.BZ2Decompressor, (OSError, ValueError))


def _xz() -> Codec:
    return Codec(lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_MEMORY_BYTES), (lzma.LZMAError,))


def _zstd() -> Codec:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    options = {int(zstd.DecompressionParameter.window_log_max): _ZSTD_WINDOW_LOG}
    return Codec(lambda: zstd.ZstdDecompressor(options=options), (zstd.ZstdError,))


class Unpacker:
    """Unpacks one archive from the pieces of it that it is given.

    Args:
        codec: of the archive.
        step_bytes: what is unpacked at once, and lost where the archive is damaged.

    Attributes:
        fault: why there is no more, though there should be; None as long as all is well.
        is_damaged: that is damage, and smaller steps may give more.
    """

    def __init__(self, codec: Codec, step_bytes: int = STEP_BYTES) -> None:
        self.fault: str | None = None
        self.is_damaged = False
        self._codec = codec
        self._step_bytes = step_bytes
        self._member: Decompressor | None = None
        self._members = self._taken_bytes = self._given_bytes = 0

    def feed(self, packed: bytes) -> Iterator[bytes]:
        """Yield what these next bytes of the archive unpack to, at most a step at a time."""
        self._taken_bytes += len(packed)
        while self.fault is None:
            if self._member is None:
                packed = packed.lstrip(b"\0") if self._members else packed
                if not packed:
                    return
                self._member = self._codec.start()
            data = self._step(self._member, packed)
            packed = self._leftover(self._member)
            if data:
                yield data
            elif not packed and (self._member is None or self._member.needs_input):
                return

    def end(self) -> None:
        """Say that the archive has no more bytes: in the middle of a member that is a fault."""
        if self._member is not None and self.fault is None:
            self.fault = "compressed data is cut off"

    def _step(self, member: Decompressor, packed: bytes) -> bytes:
        """Return some unpacked bytes, or none with `fault` set."""
        try:
            data = member.decompress(packed, self._step_bytes)
        except self._codec.errors as exc:
            started = (
                "compressed data is damaged" if self._given_bytes else "compressed data cannot be unpacked"
            )
            self.fault = f"{started}: {exc}"
            self.is_damaged = self._step_bytes > STEP_BYTES
            return b""
        except MemoryError as exc:
            self.fault = f"compressed data cannot be unpacked: {exc}"
            return b""
        self._given_bytes += len(data)
        if self._given_bytes > MAX_BYTES or (
            self._given_bytes > RATIO_FREE_BYTES and self._given_bytes > MAX_RATIO * self._taken_bytes
        ):
            self.fault = (
                f"unpacks to more than {MAX_RATIO} times its size or {MAX_BYTES} bytes: taken for a bomb"
            )
        return data

    def _leftover(self, member: Decompressor) -> bytes:
        """Return the input behind a member that has ended, and make room for the next."""
        if not member.eof:
            return b""
        self._member = None
        self._members += 1
        return member.unused_data


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
            self._chunks, self._is_ahead = prefetched(self._chunks, _CHUNKS_AHEAD), True
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
