"""Renames a file inside an open folder, without ever replacing another one.

rename(2) replaces what has the new name. renameat2(2) with RENAME_NOREPLACE does not; where a file system
or C library does not have that, link(2) and unlink(2) do the same in two steps. After a crash between them
the file has both names, and the next rename in either direction does the second step.
Source: rename(2), link(2).
"""

import ctypes
import errno
import os
from typing import Final

_NOREPLACE: Final = 1
_UNKNOWN: Final = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP}
_libc: Final = ctypes.CDLL(None, use_errno=True)
_renameat2: Final = getattr(_libc, "renameat2", None)  # musl has none


def rename_new(folder: int, old: bytes, new: bytes) -> None:
    """Give a file of this folder a new name; one that has both loses the old one.

    Args:
        folder: descriptor of the folder.
        old: its name in it.
        new: the other one.

    Raises:
        FileExistsError: another file has the new name.
        OSError: it cannot be renamed.
    """
    number = _renamed(folder, old, new)
    if not number:
        return
    try:
        if number not in _UNKNOWN:
            raise OSError(number, os.strerror(number), old)
        os.link(old, new, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        if not _is_one_file(folder, old, new):
            raise
    os.unlink(old, dir_fd=folder)


def _is_one_file(folder: int, old: bytes, new: bytes) -> bool:
    first, second = (os.stat(name, dir_fd=folder, follow_symlinks=False) for name in (old, new))
    return os.path.samestat(first, second)


def _renamed(folder: int, old: bytes, new: bytes) -> int:
    """Return the error number of the call; 0: it is done."""
    if _renameat2 is None:
        return errno.ENOSYS
    return ctypes.get_errno() if _renameat2(folder, old, folder, new, _NOREPLACE) else 0


def sync_folder(folder: int) -> None:
    """Write an open folder's names to its disk.

    Args:
        folder: a descriptor, also one of O_PATH.

    Raises:
        OSError: that failed.
    """
    opened = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
