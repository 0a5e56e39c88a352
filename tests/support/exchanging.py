"""A neighbour who exchanges two names all the time, such as a folder and a link to another file system.

Whoever looks at one of them by a path sees now this one and now that one, also between two parts of the path.
"""

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_RENAME_EXCHANGE: Final = 2
_HERE: Final = -100  # AT_FDCWD


@contextmanager
def exchanging(one: Path, other: Path) -> Iterator[None]:
    """Exchange the two in a process of its own until the block ends."""
    neighbour = subprocess.Popen([sys.executable, __file__, one, other])
    try:
        yield
        assert neighbour.poll() is None, "the file system cannot exchange two names"
    finally:
        neighbour.kill()
        neighbour.wait()


def _exchange(one: bytes, other: bytes) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    while not libc.renameat2(_HERE, one, _HERE, other, _RENAME_EXCHANGE):
        pass
    raise SystemExit(os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    _exchange(os.fsencode(sys.argv[1]), os.fsencode(sys.argv[2]))
