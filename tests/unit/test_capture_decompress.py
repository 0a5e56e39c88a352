"""Decompression of files that are complete, joined, cut off, damaged or hostile."""

import bz2
import gzip
import lzma
import os
import sys
import zlib
from collections.abc import Callable, Iterable

import pytest

from pcapdj.capture import decompress
from pcapdj.capture.decompress import Codec, Decompressor, codec_for

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstd.compress,
}
CONTENT = os.urandom(100_000) + b"compressible " * 10_000
NAMES = pytest.mark.parametrize("name", sorted(COMPRESS))


def decompressed(name: str, pieces: Iterable[bytes]) -> tuple[bytes, str | None]:
    """Return the decompressed bytes of these chunks of a file, and the fault."""
    decompressor = Decompressor(codec_for(name))
    chunks = [chunk for piece in pieces for chunk in decompressor.feed(piece)]
    decompressor.end()
    assert all(0 < len(chunk) <= decompress.STEP_BYTES for chunk in chunks)
    return b"".join(chunks), decompressor.fault


@NAMES
@pytest.mark.parametrize("size", [1000, 65_536, 1_000_000])
def test_chunks_do_not_change_the_result(name: str, size: int) -> None:
    """Whole, byte by byte, or in between."""
    compressed = COMPRESS[name](CONTENT)

    assert decompressed(name, [compressed[i : i + size] for i in range(0, len(compressed), size)]) == (
        CONTENT,
        None,
    )


@NAMES
def test_joined_files_are_decompressed_as_one(name: str) -> None:
    """Also with an empty one among them, and with zeros as padding between and after them."""
    compressed = COMPRESS[name](b"first"), COMPRESS[name](b""), COMPRESS[name](b"second")

    assert decompressed(name, [b"".join(compressed)]) == (b"firstsecond", None)
    assert decompressed(name, [compressed[0], bytes(64), compressed[2], bytes(512)]) == (b"firstsecond", None)


@NAMES
def test_a_file_that_is_cut_off_gives_all_that_it_holds(name: str) -> None:
    """All data before the cut, then the reason."""
    data, fault = decompressed(name, [COMPRESS[name](CONTENT)[:-1]])

    assert fault == "compressed data is cut off"
    assert data == CONTENT[: len(data)]
    if name != "bzip2":  # its blocks are of 900 kB: nothing comes of one before its end
        assert len(data) > 90_000


@NAMES
def test_garbage_after_a_file_is_a_fault(name: str) -> None:
    """All data before it is delivered."""
    data, fault = decompressed(name, [COMPRESS[name](CONTENT) + b"garbage that is not compressed data"])

    assert data == CONTENT
    assert fault is not None
    assert fault.startswith("compressed data is damaged")


@NAMES
def test_a_damaged_file_ends_within_its_size(name: str) -> None:
    """A byte changed anywhere: no crash, no hang, no flood.

    A bzip2 block holds 900 kB, in which runs may become 52 times as long.
    """
    compressed = COMPRESS[name](CONTENT)
    for position in range(0, len(compressed), len(compressed) // 20):
        damaged = bytearray(compressed)
        damaged[position] ^= 0x55

        data, _fault = decompressed(name, [bytes(damaged)])

        assert len(data) <= 52 * 900_000


def test_a_checksum_that_does_not_match_is_a_fault() -> None:
    """Here that of gzip, at the end of the file."""
    compressed = gzip.compress(CONTENT)

    data, fault = decompressed("gzip", [compressed[:-8] + bytes([compressed[-8] ^ 1]) + compressed[-7:]])

    assert fault is not None
    assert CONTENT.startswith(data)
    assert len(data) >= len(CONTENT) - decompress.STEP_BYTES


def test_a_magic_without_valid_data_is_a_fault() -> None:
    """Here that of gzip."""
    data, fault = decompressed("gzip", [b"\x1f\x8b" + os.urandom(4) + bytes(100)])

    assert data == b""
    assert fault is not None


def test_a_decompression_bomb_is_stopped_by_its_ratio() -> None:
    """Zeros compress 1000 times and more with all but gzip."""
    compressed = zstd.compress(bytes(200 << 20))

    data, fault = decompressed("zstd", [compressed])

    assert fault is not None
    assert "bomb" in fault
    assert len(data) <= decompress.RATIO_FREE_BYTES + decompress.STEP_BYTES


def test_a_file_that_needs_too_much_memory_is_refused() -> None:
    """By its header, before any memory is allocated."""
    compressor = zstd.ZstdCompressor(options={int(zstd.CompressionParameter.window_log): 28})
    compressed = compressor.compress(CONTENT) + compressor.flush()

    data, fault = decompressed("zstd", [compressed])

    assert data == b""
    assert fault is not None


def test_machines_without_isal_read_gzip_with_zlib() -> None:
    """More slowly, with the same result."""
    decompressor = Decompressor(Codec(decompress.ZlibDecompressor, (zlib.error,)))
    compressed = gzip.compress(CONTENT) + gzip.compress(b"more")

    pieces = [compressed[i : i + 777] for i in range(0, len(compressed), 777)]

    assert b"".join(chunk for piece in pieces for chunk in decompressor.feed(piece)) == CONTENT + b"more"
    assert decompressor.fault is None
