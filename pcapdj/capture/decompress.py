"""Decompresses gzip, bzip2, xz and zstd step by step; files may be long, cut off, joined or hostile.

The file objects of the libraries drop a whole buffer where a file is cut off, and use as much memory as its
header requests. So their incremental decompressors are used; all four have the same three attributes and one
method. Imported only for compressed captures, because the libraries take time to load.

Rules:
- members follow one another (`cat a.gz b.gz`, pigz, pzstd); zeros between and after them are padding.
- a file that is cut off gives all that it holds; a damaged one all but the last step before the damage.
- a file that decompresses to more than MAX_RATIO times its size, or to more than MAX_BYTES, is refused as a
  decompression bomb.
- a file that needs more than MAX_MEMORY_BYTES to decompress is refused.
- padding, members and data without a packet are limited by the file's budget (`capture.budget`).
"""

import bz2
import lzma
import re
import sys
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pcapdj.capture.budget import Budget
from pcapdj.capture.files import OpenFile
from pcapdj.capture.prefetch import prefetched
from pcapdj.capture.reader import WINDOW_BYTES, FileBytes, Window
from pcapdj.runtime.errors import CaptureError, CutOff

if TYPE_CHECKING:
    from pcapdj.runtime.signals import Waits

# Bytes per step: many for speed; few where a file is damaged, to get all data up to the damage.
LARGE_STEP_BYTES, STEP_BYTES = 1 << 20, 1 << 14
# zstd and `xz -9` use up to 128 MiB without a special option.
MAX_MEMORY_BYTES = 128 << 20
_ZSTD_WINDOW_LOG = 27
# Repetitive captures reach 200:1 with zstd; the limit of deflate itself is 1032:1, of the others far more.
MAX_RATIO = 1000
RATIO_FREE_BYTES = 64 << 20  # below it any ratio is allowed: a short file of equal packets is harmless
MAX_BYTES = 1 << 40
# A member gets these first: with all input, a row of short members would be copied once for each of them.
_FIRST_BYTES = 1 << 12
_MEMBERS_AT_ONCE = 1000  # without data, before the reader looks for stop signals
_CUT_OFF = "compressed data is cut off"
_PADDING = re.compile(rb"\0*")


class MemberDecompressor(Protocol):
    """The decompressor of one member, as in `bz2`, `lzma`, `zstd` and `isal`."""

    @property
    def eof(self) -> bool:
        """Whether the member has ended."""

    @property
    def needs_input(self) -> bool:
        """Whether it needs more input to give more output."""

    @property
    def unused_data(self) -> bytes:
        """The input after the member's end."""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Accept all of `data`; return at most `max_length` bytes."""


class ZlibDecompressor:
    """zlib's decompressor with the interface of the others, for machines without isal."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        """Whether the member has ended."""
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        """The input after the member's end."""
        return self._inner.unused_data

    @property
    def needs_input(self) -> bool:
        """Whether it needs more input to give more output."""
        return not self._inner.unconsumed_tail and not self.eof

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Accept all of `data`; return at most `max_length` bytes."""
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


@dataclass(frozen=True, slots=True)
class Codec:
    """How to start a member of one compression, and which errors its library raises for damaged data."""

    start: Callable[[], MemberDecompressor]
    errors: tuple[type[Exception], ...]


def codec_for(name: str) -> Codec:
    """Return the codec of a compression by its name in `formats`; imports its library."""
    return {"gzip": _gzip, "bzip2": _bzip2, "xz": _xz, "zstd": _zstd}[name]()


def _gzip() -> Codec:
    try:
        from isal import igzip_lib
    except ImportError:
        return Codec(ZlibDecompressor, (zlib.error,))
    errors: tuple[type[Exception], ...] = (igzip_lib.error, ValueError)  # type: ignore[assignment]  # a class; its stub is wrong
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


class Decompressor:
    """Decompresses one file, given to it in chunks.

    Args:
        codec: of the file.
        step_bytes: bytes per step; where the file is damaged, the last step is lost.

    Attributes:
        fault: why the data ends too early; None without a fault.
        is_damaged: the fault is damaged data, and smaller steps may give more of it.
        members: how many have begun.
    """

    def __init__(self, codec: Codec, step_bytes: int = STEP_BYTES) -> None:
        self.fault: str | None = None
        self.is_damaged = False
        self._codec = codec
        self._step_bytes = step_bytes
        self._member: MemberDecompressor | None = None
        self.members = self._taken_bytes = self._given_bytes = 0

    def feed(self, compressed: bytes) -> Iterator[bytes]:
        """Decompress the next bytes of the file; yield at most `step_bytes` at a time, or none in between."""
        self._taken_bytes += len(compressed)
        position = 0
        while self.fault is None:
            part = b""
            if self._member is None:
                if self.members and (padding := _PADDING.match(compressed, position)):
                    position = padding.end()
                if position == len(compressed):
                    return
                part = compressed[position : position + _FIRST_BYTES]
                self._member = self._codec.start()
                self.members += 1
            elif self._member.needs_input:
                if position == len(compressed):
                    return
                part = compressed[position:]
            data = self._step(self._member, part)
            position += len(part) - self._leftover_bytes(self._member)
            if data or self.members % _MEMBERS_AT_ONCE == 0:
                yield data

    def end(self) -> None:
        """End the file: inside a member that is a fault."""
        if self._member is not None and self.fault is None:
            self.fault = _CUT_OFF

    def _step(self, member: MemberDecompressor, compressed: bytes) -> bytes:
        """Return some decompressed bytes, or none with `fault` set."""
        try:
            data = member.decompress(compressed, self._step_bytes)
        except self._codec.errors as exc:
            what = "is damaged" if self._given_bytes else "cannot be decompressed"
            self.fault = f"compressed data {what}: {exc}"
            self.is_damaged = self._step_bytes > STEP_BYTES
            return b""
        except MemoryError as exc:
            self.fault = f"compressed data cannot be decompressed: {exc}"
            return b""
        self._given_bytes += len(data)
        if self._given_bytes > MAX_BYTES or (
            self._given_bytes > RATIO_FREE_BYTES and self._given_bytes > MAX_RATIO * self._taken_bytes
        ):
            self.fault = (
                f"decompresses to more than {MAX_RATIO} times its size or {MAX_BYTES} bytes:"
                " refused as a decompression bomb"
            )
        return data

    def _leftover_bytes(self, member: MemberDecompressor) -> int:
        if not member.eof:
            return 0
        self._member = None
        return len(member.unused_data)


# Bytes of the compressed file per read; the progress shown is as exact as that.
READ_BYTES = 1 << 18
_PREFETCHED_CHUNKS = 4


class _Chunk(NamedTuple):
    """Decompressed bytes, and what was done for them since the chunk before."""

    data: bytes
    source_end: int  # how many bytes of the file were read so far
    read_bytes: int = 0
    members: int = 0


class DecompressedSource:
    """The contents of a compressed file, decompressed as far as they are read; keeps about one window.

    After the first window a thread decompresses a little in advance: the libraries let other threads run. Not
    where a read may hang: the thread would have to be waited for.
    """

    def __init__(
        self, file: OpenFile, size_bytes: int, compression: str, stops: "Waits | None" = None
    ) -> None:
        self._open_file = file
        self._stops = stops
        self._size_bytes = size_bytes
        self._codec = codec_for(compression)
        self.budget = Budget()
        self._restart()

    def _restart(self) -> None:
        self._file = FileBytes(self._open_file, self._size_bytes)
        self._chunks = self._all_chunks()
        self._is_prefetched = False
        self._fault: str | None = None
        self._overspent: str | None = None  # why the file is given up
        self._kept: deque[bytes] = deque()
        self._start = self._end = 0  # of what is kept, in the decompressed capture
        self._source_end = 0
        self._is_finished = False
        self.budget.restart()

    def read_error_at(self, offset: int | None) -> CaptureError | None:
        """Return why the decompressed data ends too early."""
        if not self._is_finished and self._overspent is None:
            return None
        if self._overspent is None and self._file.fault is not None:
            return self._file.fault
        reason = self._overspent or self._fault
        error = CutOff if reason == _CUT_OFF else CaptureError
        return error(reason, offset=offset) if reason else None

    def close(self) -> None:
        """Stop decompressing; the thread does not use the file any more when this returns."""
        self._chunks.close()

    def window(self, offset: int, size_bytes: int = WINDOW_BYTES) -> Window:
        """Return the bytes from `offset` on; an earlier offset starts decompression again.

        They are fewer where the budget is spent: if they have a packet, it is renewed, and more can be read.
        """
        if self._overspent:
            self._overspent = self.budget.spend()
        if offset < self._start:
            self.close()
            self._restart()
        if offset and not self._is_prefetched and self._open_file.is_local:
            self._chunks, self._is_prefetched = prefetched(self._chunks, _PREFETCHED_CHUNKS), True
        while self._end < offset + size_bytes and self._keep_next():
            while self._kept and self._start + len(self._kept[0]) <= offset:
                self._start += len(self._kept.popleft())
        data = b"".join(self._parts(offset, offset + size_bytes))
        is_last = self._is_finished and offset + len(data) >= self._end and self.read_error_at(None) is None
        return Window(data, is_last, self._source_end)

    def skipped_bytes(self, offset: int, size_bytes: int) -> bytes:
        """Return up to `size_bytes` from `offset` on; they have to be decompressed in any case."""
        return self.window(offset, size_bytes).data

    def _parts(self, start: int, end: int) -> Iterator[memoryview]:
        position = self._start
        for chunk in self._kept:
            yield memoryview(chunk)[max(start - position, 0) : max(end - position, 0)]
            position += len(chunk)

    def _keep_next(self) -> bool:
        """Keep the next bytes; False at the end, and where the budget is spent."""
        if self._is_finished or self._overspent:
            return False
        for chunk in self._chunks:
            self._source_end = chunk.source_end
            if self._stops:
                self._stops.wait(0)
            self._overspent = self._spend(chunk)
            if chunk.data:
                self._kept.append(chunk.data)
                self._end += len(chunk.data)
            if chunk.data or self._overspent:
                return not self._overspent
        self._is_finished = True
        return False

    def _spend(self, chunk: _Chunk) -> str | None:
        """Count a chunk in the budget; return why the file is given up, if it is."""
        if chunk.data and self._end < self.budget.known_bytes:
            self.budget.restart()
            self.budget.renew()
            return None
        decompressed_bytes = len(chunk.data)
        return self.budget.spend_chunk(
            read_bytes=chunk.read_bytes, decompressed_bytes=decompressed_bytes, members=chunk.members
        )

    def _all_chunks(self) -> Generator[_Chunk, None, None]:
        """Yield all that the file holds; if it is damaged, start again with smaller steps."""
        given_bytes = 0
        for is_again, step_bytes in enumerate((LARGE_STEP_BYTES, STEP_BYTES)):
            decompressor, at = Decompressor(self._codec, step_bytes), 0
            for chunk in self._decompress(decompressor):
                new = chunk.data[max(given_bytes - at, 0) :]
                at += len(chunk.data)
                # the second time only what is new counts
                yield _Chunk(new, chunk.source_end) if is_again else chunk
            given_bytes = max(given_bytes, at)
            self._fault = decompressor.fault
            if not decompressor.is_damaged:
                return

    def _decompress(self, decompressor: Decompressor) -> Iterator[_Chunk]:
        source_end = members = 0
        while decompressor.fault is None and (compressed := self._file.read(source_end, READ_BYTES)):
            source_end += len(compressed)
            # padding has no data, and the reader looks for stop signals at each chunk
            yield _Chunk(b"", source_end, len(compressed))
            for data in decompressor.feed(compressed):
                yield _Chunk(data, source_end, members=decompressor.members - members)
                members = decompressor.members
            if members != decompressor.members:
                yield _Chunk(b"", source_end, members=decompressor.members - members)
                members = decompressor.members
        decompressor.end()
