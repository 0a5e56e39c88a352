"""Reads the lines of a file that an analyzer wrote, and that it may have replaced by anything.

A link could lead to another file of this user, an open of a named pipe would wait for ever, and a line
without an end would fill the memory.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

MOST_LINE_BYTES: Final = 1 << 20


def foreign_lines(path: Path) -> Iterator[str]:
    """Yield the lines; longer ones than 1 MiB are left out, and a file that is no regular file has none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return
    with os.fdopen(descriptor, "rb") as file:
        while line := file.readline(MOST_LINE_BYTES):
            if line.endswith(b"\n") or len(line) < MOST_LINE_BYTES:
                yield line.decode("utf-8", "replace")
                continue
            while line and not line.endswith(b"\n"):
                line = file.readline(MOST_LINE_BYTES)
