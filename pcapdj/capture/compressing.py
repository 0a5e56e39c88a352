"""Compresses a capture file with zstd, step by step; what comes out is what `decompress` reads.

The frame has the length and a checksum of the content. Level 3 is zstd's default: a core compresses some
300 MB of packets per second with it.
"""

import sys
from collections.abc import Iterator
from typing import Final

from pcapdj.capture.files import OpenFile
from pcapdj.runtime.signals import Waits

SUFFIX: Final = b".zst"
_LEVEL: Final = 3
READ_BYTES: Final = 1 << 20


def parts_of(file: OpenFile, size_bytes: int, stops: Waits) -> Iterator[bytes]:
    """Yield the bytes of a file, in parts.

    Args:
        file: open.
        size_bytes: of the file: what it grows meanwhile is left out.
        stops: a stop signal ends reading.

    Raises:
        OSError: it cannot be read, or is shorter.
        Stopped: a stop signal arrived.
    """
    place = 0
    while place < size_bytes:
        stops.wait(0)
        part = file.read(min(READ_BYTES, size_bytes - place), place)
        if not part:
            raise OSError(0, f"it ends at byte {place}")
        place += len(part)
        yield part


def compressed_parts_of(file: OpenFile, size_bytes: int, stops: Waits) -> Iterator[bytes]:
    """Yield the bytes of a file, compressed; arguments and errors as `parts_of`."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    parameters = zstd.CompressionParameter
    options = {int(parameters.compression_level): _LEVEL, int(parameters.checksum_flag): 1}
    compressor = zstd.ZstdCompressor(options=options)
    compressor.set_pledged_input_size(size_bytes)
    for part in parts_of(file, size_bytes, stops):
        yield compressor.compress(part)
    yield compressor.flush(zstd.ZstdCompressor.FLUSH_FRAME)
