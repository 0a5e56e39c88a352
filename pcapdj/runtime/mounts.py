"""Which file system a path is on, and whether it may hang: a call about a file may never return.

Not even SIGKILL ends a process in such a call. It may happen where another machine or another process
answers: NFS, CIFS, FUSE and the like. This module makes no such call: it follows a path from the root, part
by part, while the file systems are local, and looks it up in the list of mounts. statfs(2) would hang with
the file system. Source: proc_pid_mountinfo(5).
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Final, NamedTuple

# All others may hang, also those that are not invented yet. The kernel itself answers for the last ones.
_LOCAL_TYPES: Final = frozenset(
    b"bcachefs btrfs cramfs devpts devtmpfs erofs exfat ext2 ext3 ext4 f2fs hfs hfsplus iso9660 jfs minix"
    b" msdos nilfs2 ntfs3 overlay proc ramfs reiserfs rootfs squashfs sysfs tmpfs udf ufs vfat xfs zfs"
    b" binfmt_misc bpf cgroup cgroup2 configfs debugfs efivarfs fusectl hugetlbfs mqueue nsfs pstore"
    b" rpc_pipefs securityfs selinuxfs tracefs".split()
)
# The owner of a file is the one that a mount option names, or who made the disk: it says nothing here.
_WITHOUT_OWNERS: Final = frozenset(
    b"cifs exfat fuseblk hfs hfsplus iso9660 msdos ntfs ntfs3 smb3 udf vfat".split()
)
_FUSE: Final = b"fuse"
_MOUNTER: Final = re.compile(rb"(?:^|,)user_id=(\d{1,20})")
_UNLISTED: Final = b"tmpfs"  # no mount point: as the folder around it, which was looked at before
_ROOT: Final = 0
_MOST_LINKS: Final = 40  # as the kernel
_CURRENT: Final = b"/proc/self/cwd"  # also of a folder that was removed, which getcwd(3) has no name for
_MOUNTINFO: Final = "/proc/self/mountinfo"
_BOOT_ID: Final = "/proc/sys/kernel/random/boot_id"
_ESCAPED: Final = re.compile(rb"\\([0-7]{3})")


class MountPoint(NamedTuple):
    """Where a file system is mounted.

    Args:
        place: the mount point.
        may_hang: calls about its files may never return.
    """

    place: bytes
    may_hang: bool


def mount_that_may_hang(path: bytes) -> bytes | None:
    """Return the mount point of the file system of a path, if calls about it may hang; else None."""
    mount = mount_of(path)
    return mount.place if mount.may_hang else None


def has_owners(path: bytes) -> bool:
    """Report whether the owner of a file means something on the file system of a path."""
    mounts = present_mounts()
    return mounts.get(mount_of(path, mounts).place, _UNLISTED) not in _WITHOUT_OWNERS


def true_owner(found: os.stat_result) -> int:
    """Return the owner of a file; on a FUSE file system of another user, who is not root, that user.

    There a program of that user says who owns a file, and may say root.

    Args:
        found: its status.
    """
    if os.major(found.st_dev):  # on a disk
        return found.st_uid
    number = b"%d:%d" % (os.major(found.st_dev), os.minor(found.st_dev))
    with suppress(OSError):
        for line in _read(_MOUNTINFO).split(b"\n"):
            fields, _, behind = line.partition(b" - ")
            if not behind.startswith(_FUSE) or number not in fields.split(b" ")[2:3]:
                continue
            mounter = _MOUNTER.search(behind.split(b" ")[2])  # before it stands a name, which that user chose
            if mounter and (uid := int(mounter[1])) not in (_ROOT, os.geteuid()):
                return uid
    return found.st_uid


def any_mount_may_hang() -> bool:
    """Report whether calls about some path may hang: Redis, a link or a variable may have any path."""
    return not _LOCAL_TYPES.issuperset(present_mounts().values())


def any_may_hang(paths: Iterable[bytes]) -> bool:
    """Report whether a call about one of these paths may hang; mounts and folders are looked at once."""
    mounts = present_mounts()
    mount_names = set(map(os.path.basename, mounts))
    folders = dict[bytes, bool]()
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in folders:
            folders[folder] = mount_of(folder, mounts).may_hang
        if folders[folder]:
            return True
        leads_elsewhere = name in {b"", b"..", *mount_names} or os.path.islink(path)  # noqa: PTH114 - bytes
        if leads_elsewhere and mount_of(path, mounts).may_hang:
            return True
    return False


def reading_may_hang(paths: Sequence[bytes]) -> bool:
    """Report whether to read these files and folders may hang.

    A link or a mount point inside a folder may lead to any file system, now or later: so a folder always may.
    """
    return any_mount_may_hang() or any(map(os.path.isdir, paths))


def mount_of(path: bytes, mounts: Mapping[bytes, bytes] | None = None) -> MountPoint:
    """Return the file system that a path leads to, without a call about one that may hang.

    Where the path leads to nothing, or into a file system that may hang, it is followed no further.

    Args:
        path: absolute or relative.
        mounts: `present_mounts`, for who asks about many paths; None: they are read.
    """
    mounts = present_mounts() if mounts is None else mounts
    place, links = b"/", 0
    parts = os.path.join(_CURRENT, path).split(b"/")  # noqa: PTH118 - bytes
    while parts:
        part = parts.pop(0)
        if part == b"..":
            place = os.path.dirname(place)  # noqa: PTH120 - bytes
        elif part not in {b"", b"."}:
            place = os.path.join(place, part)  # noqa: PTH118 - bytes
        if mounts.get(place, _UNLISTED) not in _LOCAL_TYPES:
            return MountPoint(place, may_hang=True)
        try:
            target = os.readlink(place)  # noqa: PTH115 - bytes
        except (OSError, ValueError):  # it is no link, or the name has a NUL byte
            continue
        links += 1
        if links > _MOST_LINKS:
            break
        place = b"/" if target.startswith(b"/") else os.path.dirname(place)  # noqa: PTH120 - bytes
        parts[:0] = target.split(b"/")
    while place != b"/" and place not in mounts:
        place = os.path.dirname(place)  # noqa: PTH120 - bytes
    return MountPoint(place, may_hang=False)


def present_mounts() -> Mapping[bytes, bytes]:
    """Return the type of the file system at each mount point; empty: the list cannot be read."""
    try:
        return mounted_types(_read(_MOUNTINFO))
    except OSError:
        return {}


def mounted_source(place: bytes) -> bytes:
    """Return what is mounted at a mount point, such as `/dev/sdb1` or `server:/export`; empty: unknown."""
    try:
        return _described(_read(_MOUNTINFO)).get(place, (b"", b""))[1]
    except OSError:
        return b""


@cache
def boot_id() -> str:
    """Return the id of this boot of the machine, since device numbers hold for one; empty: unknown."""
    try:
        return _read(_BOOT_ID).decode("ascii").strip()
    except OSError:
        return ""


def mounted_types(mountinfo: bytes) -> Mapping[bytes, bytes]:
    """Return the type of the file system at each mount point; of several at one, the one on top."""
    return {place: kind for place, (kind, _) in _described(mountinfo).items()}


def _described(mountinfo: bytes) -> Mapping[bytes, tuple[bytes, bytes]]:
    """Return type and source of the file system at each mount point."""
    found = {}
    for line in filter(None, mountinfo.split(b"\n")):  # not splitlines: a name may have a carriage return
        fields, _, behind = line.partition(b" - ")
        kind, source, *_ = [*behind.split(b" "), b"", b""]
        found[_unescaped(fields.split(b" ")[4])] = (kind, _unescaped(source))
    return found


def _unescaped(text: bytes) -> bytes:
    return _ESCAPED.sub(lambda octal: bytes([int(octal[1], 8)]), text)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - `pcapdj cat` starts without pathlib
        return file.read()
