"""Files with a hole at their end: it costs no disk, only the time to read it."""

import os
from pathlib import Path
from typing import Final

from support.workers import worker_of

HOLE_BYTES: Final = 8 << 40
EMPTY_ZSTD_BLOCKS: Final = b"\x28\xb5\x2f\xfd\x00\x58"  # the head of a frame: each three zeros are a block


def with_hole(path: Path, content: bytes, size_bytes: int = HOLE_BYTES) -> Path:
    """Write a file with this content and a hole up to the size, or as long as the file system allows."""
    path.write_bytes(content)
    while True:
        try:
            os.truncate(path, size_bytes)
        except OSError:
            size_bytes //= 2
            assert size_bytes > 1 << 35, "this file system has no long files"
        else:
            break
    os.utime(path, (1_600_000_000, 1_600_000_000))
    return path


def bytes_read(pid: int) -> int:
    """Return how many bytes a process, or the child that works for it, has read so far."""
    lines = Path(f"/proc/{worker_of(pid)}/io").read_text().splitlines()
    fields = dict(line.split(": ") for line in lines)
    return int(fields["rchar"])
