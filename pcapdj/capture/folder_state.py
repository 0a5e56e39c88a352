"""Looks at the place of a file that cannot be opened; what that means is decided in `storage`.

Calls about a file system that hangs do not return. So where that may happen, `reading_process` makes them.
"""

import os
from itertools import islice
from typing import Final

from pcapdj.capture.storage import FolderState
from pcapdj.runtime.mounts import boot_id, present_mounts

_MOST_FILES: Final = 5  # of the folder that are read to see whether its disk works
_MOST_ENTRIES: Final = 1000  # that are looked at to find these
_READ_BYTES: Final = 4096
_ROOT: Final = b"/"


def folder_state(name: bytes, mount: bytes) -> FolderState:
    """Return what is found where a file should be.

    Args:
        name: the file's path.
        mount: the recorded mount point of its file system; empty: none is recorded.
    """
    folder, base = os.path.split(os.path.join(os.getcwdb(), name))  # noqa: PTH109, PTH118 - bytes
    mount_type = present_mounts().get(mount, b"rootfs" if mount == _ROOT else b"")
    return FolderState(
        mount_type,
        _device_of(mount),
        boot_id(),
        has_folder=os.path.isdir(folder),  # noqa: PTH112 - bytes
        has_readable_files=_has_readable_files(folder, base),
    )


def _device_of(mount: bytes) -> int | None:
    try:
        return os.stat(mount).st_dev  # noqa: PTH116 - bytes
    except OSError:
        return None


def _has_readable_files(folder: bytes, base: bytes) -> bool:
    """Report whether another file of the folder can be read, or it has no other."""
    try:
        with os.scandir(folder) as entries:
            others = [
                each.path
                for each in islice(entries, _MOST_ENTRIES)
                if each.name != base and each.is_file(follow_symlinks=False)
            ]
    except OSError:
        return False
    return not others or any(map(_is_readable, others[:_MOST_FILES]))


def _is_readable(path: bytes) -> bool:
    """Report whether the file gives its first bytes."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | os.O_NOFOLLOW)
        try:
            os.pread(fd, _READ_BYTES, 0)
        finally:
            os.close(fd)
    except OSError:
        return False
    return True
