"""Writes a file whole or not at all: a reader, and who comes after a crash, finds the old one or the new one.

    1 write    under a hidden name beside it, which no other program takes for the file
    2 sync     so that the name never comes back without its content after a power loss
    3 rename   replaces the old file in one step
    4 sync     the folder: the rename itself

What was written is removed where a step fails: half a file takes room from the analyzer on a full disk.
Source: rename(2), fsync(2).
"""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

# NONBLOCK: a named pipe under the hidden name is an error, and nothing to wait for.
_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def write_whole(
    path: Path,
    content: bytes,
    *,
    mode: int = 0o666,
    is_synced: bool = True,
    before_rename: Callable[[], object] = lambda: None,
) -> None:
    """Write the file; one that is there is replaced.

    Args:
        path: of the file; its folder is there.
        content: all of it.
        mode: of the new file, less the umask.
        is_synced: after a power loss it is there; without it only after the death of processes.
        before_rename: called when the content is on the disk and the name is not.

    Raises:
        OSError: it cannot be written; the old file is as it was.
    """
    hidden = path.with_name(f".{path.name}")
    try:
        with os.fdopen(os.open(hidden, _FLAGS, mode), "wb") as file:
            file.write(content)
            file.flush()
            if is_synced:
                os.fsync(file.fileno())
        before_rename()
        hidden.replace(path)
        if is_synced:
            _sync_folder(path.parent)
    except OSError:
        with suppress(OSError):
            hidden.unlink()
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
