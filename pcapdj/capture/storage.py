"""Whether the file or its storage is at fault when a capture cannot be opened or read. Pure.

    storage gone      an unmounted disk, a dead file system, another one in its place   wait without limit
    folder gone       its file system is still there                                    wait for some time
    bad block         EIO on opening, other files of the folder can be read             a few tries
    file at fault     it is missing from a folder that is there; nothing is recorded    none

Which file system a file was on is recorded when it is queued (`identity.QueuedFile`), or opened.
"""

import errno
from enum import Enum, auto
from typing import Final, NamedTuple

# The storage is gone, whatever else is there: a dead FUSE process, NFS, CIFS, a removed disk.
_GONE: Final = {
    *(errno.ENOTCONN, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENOMEDIUM, errno.ENOLINK),
    *(errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET, errno.ESHUTDOWN, errno.ETIMEDOUT),
    *(errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.EREMOTEIO),
}
_MISSING: Final = {errno.ENOENT, errno.ENOTDIR}
# Their files have other device numbers than the folders that they are in.
_DEVICES_DIFFER: Final = {b"overlay", b"btrfs", b"bcachefs", b"aufs"}


class FileMount(NamedTuple):
    """Which file system a file was on.

    Args:
        mount: its mount point; empty: unknown.
        device: st_dev of the file.
        boot: the id of the machine's boot then.
    """

    mount: bytes
    device: int
    boot: str


class FolderState(NamedTuple):
    """What is found where a file should be.

    Args:
        mount_type: of the file system at the recorded mount point; empty: none is mounted there.
        mount_device: st_dev of that mount point; None: it does not answer.
        boot: the id of the machine's boot.
        has_folder: the file's folder is there.
        has_readable_files: another file of the folder can be read, or it has no other.
    """

    mount_type: bytes
    mount_device: int | None
    boot: str
    has_folder: bool
    has_readable_files: bool


class StorageFault(Enum):
    """Whose fault it is that a file cannot be opened."""

    STORAGE_GONE = auto()
    FOLDER_GONE = auto()
    BAD_BLOCK = auto()
    FILE = auto()


def is_gone(error_number: int) -> bool:
    """Report whether this error of a read means by itself that the storage is gone."""
    return error_number in _GONE


def storage_fault_of(error_number: int, recorded: FileMount | None, found: FolderState) -> StorageFault:
    """Return whose fault a failed opening is.

    Args:
        error_number: of the call that failed.
        recorded: where the file was; None: nothing is recorded of it.
        found: what is there now.
    """
    if is_gone(error_number) or (recorded and not is_mounted(recorded, found)):
        return StorageFault.STORAGE_GONE
    if error_number == errno.EIO:
        return StorageFault.BAD_BLOCK if found.has_readable_files else StorageFault.STORAGE_GONE
    if error_number in _MISSING and recorded and not found.has_folder:
        return StorageFault.FOLDER_GONE
    return StorageFault.FILE


def is_mounted(recorded: FileMount, found: FolderState) -> bool:
    """Report whether the recorded file system is at its mount point, as far as that can be seen.

    After a restart of the machine device numbers show nothing.
    """
    if not recorded.mount:
        return True
    if not found.mount_type or found.mount_device is None:
        return False
    is_comparable = recorded.boot == found.boot and found.mount_type not in _DEVICES_DIFFER
    return not is_comparable or recorded.device == found.mount_device
