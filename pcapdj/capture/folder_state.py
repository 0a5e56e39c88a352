"""Looks at the place of a file that cannot be opened, or is gone; what that means is decided elsewhere.

Calls about a file system that hangs do not return. So where that may happen, `reading_process` makes them.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from itertools import islice
from typing import Final

from pcapdj.capture.files import open_folder_below
from pcapdj.capture.storage import FolderState
from pcapdj.runtime.errors import CaptureError
from pcapdj.runtime.mount_list import boot_id, present_mounts
from pcapdj.runtime.mounts import followed

_MOST_FILES: Final = 5  # of the folder that are read to see whether its disk works
_MOST_ENTRIES: Final = 1000  # that are looked at to find these
_READ_BYTES: Final = 4096
_ROOT: Final = b"/"
_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC
_PLACE_FLAGS: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_FILE_FLAGS: Final = _FLAGS | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW


def folder_state(name: bytes, mount: bytes, root: bytes | None, *, may_hang: bool = False) -> FolderState:
    """Return what is found where a file should be.

    Args:
        name: the file's path.
        mount: the recorded mount point of its file system; empty: none is recorded.
        root: if given, the folder counts as gone where a link leads to it below this one.
        may_hang: this process may hang in a call about a file system. Else the folder counts as gone where
            its path leads to one that may hang.
    """
    mount_type = present_mounts().get(mount, b"rootfs" if mount == _ROOT else b"")
    has_folder = has_readable_files = False
    with suppress(OSError, CaptureError):
        folder, base = _opened_folder(name, root, may_hang=may_hang)
        has_folder = True
        try:
            has_readable_files = _has_readable_files(folder, base)
        finally:
            os.close(folder)
    device = _device_of(mount) if mount_type else None  # another path is asked for nothing
    return FolderState(mount_type, device, boot_id(), has_folder, has_readable_files)


def removed_files(files: Mapping[bytes, tuple[int, bytes | None]], *, may_hang: bool = False) -> set[bytes]:
    """Return the names of the files that are gone from their folder, which is there.

    Args:
        files: for each name the device that its folder has to be on, and the root as above.
        may_hang: as above.
    """
    return {
        name for name, (device, root) in files.items() if _is_removed(name, device, root, may_hang=may_hang)
    }


def _is_removed(name: bytes, device: int, root: bytes | None, *, may_hang: bool) -> bool:
    with suppress(OSError, ValueError, CaptureError):
        folder, base = _opened_folder(name, root, may_hang=may_hang)
        try:
            os.lstat(base, dir_fd=folder)
        except FileNotFoundError:
            return os.fstat(folder).st_dev == device
        finally:
            os.close(folder)
    return False


def _opened_folder(name: bytes, root: bytes | None, *, may_hang: bool) -> tuple[int, bytes]:
    if root is not None:
        return open_folder_below(root, name)
    folder, base = os.path.split(name)
    if may_hang:
        return os.open(folder or b".", _PLACE_FLAGS), base
    with followed(folder) as (_, way):
        return os.open(b".", _PLACE_FLAGS, dir_fd=way.descriptor), base


def _device_of(mount: bytes) -> int | None:
    """Return st_dev of a mount point, unless its path leads to another file system that may hang."""
    try:
        with followed(mount, entered=[mount]) as (_, way):
            found = way.status()
    except (OSError, ValueError):
        return None
    return found.st_dev if found else None


def _has_readable_files(folder: int, base: bytes) -> bool:
    """Report whether another file of the folder can be read, or it has no other.

    Raises:
        OSError: the folder cannot be listed.
    """
    listed = os.open(".", _FLAGS | os.O_DIRECTORY, dir_fd=folder)
    try:
        with os.scandir(listed) as entries:
            others = [
                each.name
                for each in islice(entries, _MOST_ENTRIES)
                if os.fsencode(each.name) != base and each.is_file(follow_symlinks=False)
            ]
        return not others or any(_is_readable(listed, each) for each in others[:_MOST_FILES])
    finally:
        os.close(listed)


def _is_readable(folder: int, name: str) -> bool:
    """Report whether the file gives its first bytes."""
    try:
        fd = os.open(name, _FILE_FLAGS, dir_fd=folder)
        try:
            os.pread(fd, _READ_BYTES, 0)
        finally:
            os.close(fd)
    except OSError:
        return False
    return True
