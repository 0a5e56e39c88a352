"""The file systems that are mounted, and which of them may hang: calls about their files may never return.

Not even SIGKILL ends a process in such a call. It may happen where another machine or another process
answers: NFS, CIFS, FUSE and the like. Source: proc_pid_mountinfo(5).
"""

import os
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from functools import cache, lru_cache
from typing import Final, NamedTuple

# All others may hang, also those that are not invented yet. The kernel itself answers for the last ones.
LOCAL_TYPES: Final = frozenset(
    b"bcachefs btrfs cramfs devpts devtmpfs erofs exfat ext2 ext3 ext4 f2fs hfs hfsplus iso9660 jfs minix"
    b" msdos nilfs2 ntfs3 overlay proc ramfs reiserfs rootfs squashfs sysfs tmpfs udf ufs vfat xfs zfs"
    b" binfmt_misc bpf cgroup cgroup2 configfs debugfs efivarfs fusectl hugetlbfs mqueue nsfs pstore"
    b" rpc_pipefs securityfs selinuxfs tracefs".split()
)
_FUSE: Final = b"fuse"
_MOUNTER: Final = re.compile(rb"(?:^|,)user_id=(\d{1,20})")
_ROOT: Final = 0
_MOUNTINFO: Final = "/proc/self/mountinfo"
_MACHINE_ID: Final = "/etc/machine-id"
_ID_BYTES: Final = 64
_BOOT_ID: Final = "/proc/sys/kernel/random/boot_id"
_ESCAPED: Final = re.compile(rb"\\([0-7]{3})")


class Mounts(dict[bytes, bytes]):
    """The type of the file system at each mount point; of several at one, the one on top.

    Attributes:
        by_id: mount point and type, also of those that are covered.
    """

    def __init__(self, lines: Sequence["_Line"] = ()) -> None:
        super().__init__((line.place, line.kind) for line in lines)
        self.by_id: Final = {line.number: (line.place, line.kind) for line in lines}
        self._devices: Final = {line.place: line.device for line in lines}

    def of_devices(self, devices: Collection[int]) -> set[bytes]:
        """Return the mount points of file systems: one may be mounted at several.

        Args:
            devices: st_dev of their files. Only some local ones have files with other numbers.
        """
        wanted = {b"%d:%d" % (os.major(device), os.minor(device)) for device in devices}
        return {place for place, device in self._devices.items() if device in wanted}


class _Line(NamedTuple):
    """What the list of mounts has of a file system: the number of its mount, its device, and where it is."""

    number: bytes
    device: bytes
    place: bytes
    kind: bytes
    source: bytes


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


def present_mounts() -> Mounts:
    """Return the type of the file system at each mount point; empty: the list cannot be read."""
    try:
        return mounted_types(_read(_MOUNTINFO))
    except OSError:
        return Mounts()


def mounted_source(place: bytes) -> bytes:
    """Return what is mounted at a mount point, such as `/dev/sdb1` or `server:/export`; empty: unknown."""
    try:
        sources = {line.place: line.source for line in _described(_read(_MOUNTINFO))}
    except OSError:
        return b""
    return sources.get(place, b"")


@cache
def boot_id() -> str:
    """Return the id of this boot of the machine, since device numbers hold for one; empty: unknown."""
    try:
        return _read(_BOOT_ID).decode("ascii").strip()
    except OSError:
        return ""


@cache
def machine_id() -> bytes:
    """Return what machine-id(5) has; empty: there is none, as in most containers."""
    try:
        return _read(_MACHINE_ID)[:_ID_BYTES]
    except OSError:
        return b""


@lru_cache(maxsize=1)
def mounted_types(mountinfo: bytes) -> Mounts:
    """Return the type of the file system at each mount point."""
    return Mounts([*_described(mountinfo)])


def _described(mountinfo: bytes) -> Iterator[_Line]:
    for line in filter(None, mountinfo.split(b"\n")):  # not splitlines: a name may have a carriage return
        fields, _, behind = line.partition(b" - ")
        number, _, device, _, place, *_ = fields.split(b" ")
        kind, source, *_ = [*behind.split(b" "), b"", b""]
        yield _Line(number, device, _unescaped(place), kind, _unescaped(source))


def _unescaped(text: bytes) -> bytes:
    return _ESCAPED.sub(lambda octal: bytes([int(octal[1], 8)]), text)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - `pcapdj cat` starts without pathlib
        return file.read()
