"""Trees of folders that are too deep for programs that recurse, and for paths."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def deep_tree(
    root: Path,
    levels: int,
    *,
    name: bytes = b"d",
    every: int = 0,
    content: bytes = b"",
    is_removed: bool = False,
) -> Iterator[None]:
    """Make folders inside folders for the block.

    Args:
        root: the uppermost one; it is made.
        levels: how many are in it, one inside the other.
        name: of each.
        every: in each folder whose level is a multiple of this is a file `x`; 0: there is none.
        content: of the files.
        is_removed: the block removes it.
    """
    root.mkdir()
    folder = os.open(root, os.O_RDONLY)
    for level in range(1, levels + 1):
        os.mkdir(name, dir_fd=folder)
        inner = os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
        if every and level % every == 0:
            file = os.open(b"x", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=folder)
            os.write(file, content)
            os.close(file)
    os.close(folder)
    try:
        yield
    finally:  # shutil.rmtree recurses
        if not is_removed:
            subprocess.run(["rm", "-r", root], check=True)
