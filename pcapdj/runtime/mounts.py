"""Which file systems may hang: a call about a file on them may never return, not even after SIGKILL.

That is so where another machine or another process answers: NFS, CIFS, FUSE and the like. The answer is found
without such a call: a path is followed from the root, part by part, as far as the file systems are local, and
looked up in the list of mounts. statfs(2) would hang with the file system that it asks about.
Source: proc_pid_mountinfo(5).
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

# All others may hang, also those that are not invented yet.
_LOCAL_TYPES: Final = frozenset(
    b"bcachefs btrfs cramfs devtmpfs erofs exfat ext2 ext3 ext4 f2fs hfs hfsplus iso9660 jfs minix msdos"
    b" nilfs2 ntfs3 overlay proc ramfs reiserfs rootfs squashfs sysfs tmpfs udf ufs vfat xfs zfs".split()
)
_UNLISTED: Final = b"tmpfs"  # no mount point: as the folder around it, which was looked at before
_MOST_LINKS: Final = 40  # as the kernel
_MOUNTINFO: Final = Path("/proc/self/mountinfo")
_ESCAPED: Final = re.compile(rb"\\([0-7]{3})")


def mount_that_may_hang(path: bytes) -> bytes | None:
    """Return the mount point of the file system that a path leads to, if calls about it may hang; else None.

    A path that leads to nothing is on no such file system, as far as it leads.
    """
    try:
        mounts = mounted_types(_MOUNTINFO.read_bytes())
    except OSError:
        return None
    place, links = b"/", 0
    parts = os.path.join(os.getcwdb(), path).split(b"/")  # noqa: PTH109, PTH118 - bytes
    while parts:
        part = parts.pop(0)
        if part == b"..":
            place = os.path.dirname(place)  # noqa: PTH120 - bytes
        elif part not in {b"", b"."}:
            place = os.path.join(place, part)  # noqa: PTH118 - bytes
        if mounts.get(place, _UNLISTED) not in _LOCAL_TYPES:
            return place
        try:
            target = os.readlink(place)  # noqa: PTH115 - bytes
        except (OSError, ValueError):  # it is no link, or the name has a NUL byte
            continue
        links += 1
        if links > _MOST_LINKS:
            return None
        place = b"/" if target.startswith(b"/") else os.path.dirname(place)  # noqa: PTH120 - bytes
        parts[:0] = target.split(b"/")
    return None


def mounted_types(mountinfo: bytes) -> Mapping[bytes, bytes]:
    """Return the type of the file system at each mount point; of several at one, the one on top."""
    found = {}
    for line in filter(None, mountinfo.split(b"\n")):  # not splitlines: a name may have a carriage return
        fields, _, behind = line.partition(b" - ")
        place = _ESCAPED.sub(lambda octal: bytes([int(octal[1], 8)]), fields.split(b" ")[4])
        found[place] = behind.split(b" ")[0]
    return found
