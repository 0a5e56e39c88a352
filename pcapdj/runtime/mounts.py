"""Which file system a path is on, and whether it may hang: a call about a file may never return.

This module makes no such call: it follows a path from the root, part by part, while the file systems are
local, and looks it up in the list of mounts. statfs(2) would hang with the file system.

Who owns a folder on the way can exchange it for a link at any moment. So each part is opened below the
descriptor of the part before, no link is left to the kernel to follow, and before anything is looked up in a
folder, the kernel has said on which mount its descriptor is. O_PATH asks no file system about its own root.
A link of procfs, as /proc/PID/cwd, leads to a file of another process, which may be on a mount of that one
alone: it counts as one that may hang.

Before Linux 5.14 a role that does not run as root cannot see a descriptor's mount, and goes by the list of
mounts alone.
Source: proc_pid_mountinfo(5), proc_pid_fdinfo(5) "mnt_id", open(2) "O_PATH".
"""

import errno
import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from pcapdj.runtime.errors import Unavailable
from pcapdj.runtime.mount_list import LOCAL_TYPES, Mounts, present_mounts

# The owner of a file is the one that a mount option names, or who made the disk: it says nothing here.
_WITHOUT_OWNERS: Final = frozenset(
    b"cifs exfat fuseblk hfs hfsplus iso9660 msdos ntfs ntfs3 smb3 udf vfat".split()
)
_ROOT: Final = 0
_PROCFS: Final = b"proc"
_UNLISTED: Final = b"tmpfs"  # no mount point: as the folder around it, which was looked at before
_MOST_LINKS: Final = 40  # as the kernel
_DESCRIPTORS: Final = "/proc/self/fd"
_CURRENT: Final = b"/proc/self/cwd"  # also of a folder that was removed, which getcwd(3) has no name for
_PART_FLAGS: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_MOUNT_ID: Final = re.compile(rb"^mnt_id:\s*(\d+)$", re.MULTILINE)
_NO_LINK: Final = (errno.EINVAL, errno.ENOENT)  # readlinkat(2) of something else
_FDINFO_BYTES: Final = 4096
_MOST_OPEN: Final = 200  # folders at once


class MountPoint(NamedTuple):
    """Where a file system is mounted.

    Args:
        place: the mount point.
        may_hang: calls about its files may never return.
    """

    place: bytes
    may_hang: bool


def check_proc() -> None:
    """Check that /proc is there: without it no path is known to be safe, and no open file is opened again.

    Raises:
        Unavailable: it is not.
    """
    if not os.path.isdir(_DESCRIPTORS):  # noqa: PTH112 - `pcapdj cat` starts without pathlib
        raise Unavailable("/proc is not mounted: pcapdj needs it.", hint="Mount it: mount -t proc proc /proc")


def mount_that_may_hang(path: bytes) -> bytes | None:
    """Return the mount point of the file system of a path, if calls about it may hang; else None."""
    mount = mount_of(path)
    return mount.place if mount.may_hang else None


def has_owners(path: bytes) -> bool:
    """Report whether the owner of a file means something on the file system of a path."""
    mounts = present_mounts()
    return mounts.get(mount_of(path, mounts).place, _UNLISTED) not in _WITHOUT_OWNERS


def any_may_hang(paths: Iterable[bytes]) -> bool:
    """Report whether a call about one of these paths may hang; mounts and folders are looked at once."""
    mounts = present_mounts()
    mount_names = {b"", b"..", *map(os.path.basename, mounts)}
    folders = defaultdict[bytes, list[bytes]](list)
    for path in paths:
        folder, name = os.path.split(path)
        folders[folder].append(name)
    return any(_one_may_hang(folder, names, mount_names, mounts) for folder, names in folders.items())


def _one_may_hang(folder: bytes, names: Iterable[bytes], mount_names: set[bytes], mounts: Mounts) -> bool:
    with followed(folder, mounts) as (mount, way):
        return mount.may_hang or any(
            (name in mount_names or way.leads_elsewhere(name))
            and mount_of(os.path.join(folder, name), mounts).may_hang  # noqa: PTH118 - bytes
            for name in names
        )


def mount_of(path: bytes, mounts: Mounts | None = None) -> MountPoint:
    """Return the file system that a path leads to, without a call about one that may hang.

    Where the path leads to nothing, or into a file system that may hang, it is followed no further.

    Args:
        path: absolute or relative.
        mounts: `present_mounts`, for who asks about many paths; None: they are read.
    """
    with followed(path, mounts) as (mount, _):
        return mount


@contextmanager
def followed(
    path: bytes, mounts: Mounts | None = None, entered: Collection[bytes] = ()
) -> Iterator[tuple[MountPoint, "Way"]]:
    """Yield the file system of a path as `mount_of`, and the way to what it leads to.

    Args:
        path: absolute or relative.
        mounts: as `mount_of`.
        entered: mount points of file systems that are asked, though they may hang.
    """
    way = Way(present_mounts() if mounts is None else mounts, entered)
    try:
        yield way.follow(path), way
    finally:
        way.close()


class Way:
    """Follows a path by descriptors.

    Args:
        mounts: that are known; one that was mounted since is looked up.
        entered: as `followed`.

    Attributes:
        descriptor: of where it has come to (O_PATH), which may be asked for its status; -1: it leads to
            nothing, or into a file system that may hang.
        error_number: why it leads to nothing; 0: it does not.
        has_foreign_link: it has followed a link of another user, which may lead elsewhere the next time.
    """

    def __init__(self, mounts: Mounts, entered: Collection[bytes] = ()) -> None:
        self._mounts = mounts
        self._entered = entered
        self.has_foreign_link = False
        self.descriptor = _opened_root()
        self.error_number = 0 if self.descriptor >= 0 else errno.EMFILE

    def follow(self, path: bytes) -> MountPoint:
        """Go along a path, and return where it leads."""
        place, links = b"/", 0
        parts = os.path.join(_CURRENT, path).split(b"/")  # noqa: PTH118 - bytes
        try:
            while parts:
                part = parts.pop(0)
                if part == b"..":
                    place = os.path.dirname(place)  # noqa: PTH120 - bytes
                elif part not in {b"", b"."}:
                    place = os.path.join(place, part)  # noqa: PTH118 - bytes
                self._check(place, self._mounts.get(place, _UNLISTED))
                if not (target := self._stepped(part, place)):
                    continue
                links += 1
                if links > _MOST_LINKS:
                    self._end(errno.ELOOP)
                    break
                place = self._begin_again() if target.startswith(b"/") else os.path.dirname(place)  # noqa: PTH120 - bytes
                parts[:0] = target.split(b"/")
        except _MayHang as exc:
            self.close()
            return MountPoint(exc.place, may_hang=True)
        while place != b"/" and place not in self._mounts:
            place = os.path.dirname(place)  # noqa: PTH120 - bytes
        return MountPoint(place, self._mounts.get(place, _UNLISTED) not in LOCAL_TYPES)

    def _is_of_another_process(self, link: bytes) -> bool:
        """Report whether a link is one of procfs, whose text is a path in the mounts of another process."""
        for place, kind in self._mounts.items():
            if kind == _PROCFS and link.startswith(b"%b/" % place):
                return not link.startswith(b"%b/%d/" % (place, os.getpid()))
        return False

    def leads_elsewhere(self, name: bytes) -> bool:
        """Report whether a name in the folder that was come to is a link, or may hang."""
        try:
            inner, target = self._opened(name)
        except _MayHang:
            return True
        except (OSError, ValueError):
            return False
        os.close(inner)
        return bool(target)

    def status(self, name: bytes = b"") -> os.stat_result | None:
        """Return the status of where it has come to, or of a name in that folder.

        Returns:
            None: it is a link, or on a file system that may hang.

        Raises:
            OSError, ValueError: it is not there.
        """
        if self.error_number:
            raise OSError(self.error_number, os.strerror(self.error_number))
        if self.descriptor < 0 or not name:
            return None if self.descriptor < 0 else os.fstat(self.descriptor)
        try:
            inner, target = self._opened(name)
        except _MayHang:
            return None
        try:
            return None if target else os.fstat(inner)
        finally:
            os.close(inner)

    def close(self) -> None:
        """Close the descriptor; a second call does nothing."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def _end(self, error_number: int) -> None:
        self.close()
        self.error_number = error_number

    def _begin_again(self) -> bytes:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = _opened_root()
        return b"/"

    def _stepped(self, part: bytes, place: bytes) -> bytes:
        """Step to the next part, or return where that leads as a link; a way that has ended stays so."""
        if part in {b"", b"."} or self.descriptor < 0:
            return b""
        try:
            inner, target = self._opened(part)
        except (OSError, ValueError) as exc:  # it is not there, or the name has a NUL byte
            self._end(getattr(exc, "errno", errno.EINVAL))
            return b""
        if target and os.fstat(inner).st_uid not in (_ROOT, os.geteuid()):
            self.has_foreign_link = True
        os.close(inner if target else self.descriptor)
        self.descriptor = self.descriptor if target else inner
        if target.startswith(b"/") and self._is_of_another_process(place):
            raise _MayHang(place)
        return target

    def _opened(self, part: bytes) -> tuple[int, bytes]:
        """Return a part of the folder, open (O_PATH), and where it leads as a link; empty: it is none."""
        inner = os.open(part, _PART_FLAGS, dir_fd=self.descriptor)
        try:
            mount, kind = self._mount_of(inner)
            self._check(mount, kind)
            return inner, _target_of(inner, mount)
        except BaseException:
            os.close(inner)
            raise

    def _mount_of(self, descriptor: int) -> tuple[bytes, bytes]:
        """Return mount point and type of the file system of a descriptor."""
        number = _mount_id_of(descriptor)
        if known := self._mounts.by_id.get(number):
            return known
        # In a chroot the root is on no mount of the list, and on old kernels this user cannot see the number.
        if not number or not self._mounts.by_id or number == _root_id():
            return b"/", _UNLISTED
        return present_mounts().by_id.get(number, (b"/", b""))

    def _check(self, place: bytes, kind: bytes) -> None:
        if kind not in LOCAL_TYPES and place not in self._entered:
            raise _MayHang(place)


class KeptWays:
    """The ways to the folders of many names, each followed once; some are kept open, so `close` it.

    Args:
        devices: file systems that are asked, though they may hang, by st_dev.
    """

    def __init__(self, devices: Collection[int] = ()) -> None:
        self._mounts = present_mounts()
        self._entered = self._mounts.of_devices(devices)
        self._ways: dict[bytes, Way] = {}

    def status(self, path: bytes) -> os.stat_result | None:
        """Return the status of what a path leads to.

        Returns:
            None: it leads to a file system that may hang.

        Raises:
            OSError, ValueError: it leads to nothing.
        """
        with followed(path, self._mounts, self._entered) as (_, way):
            return way.status()

    def status_in_folder(self, name: bytes) -> os.stat_result | None:
        """Return the status of a name, if it is no link; else as above."""
        folder, base = os.path.split(name)
        if folder not in self._ways:
            if len(self._ways) >= _MOST_OPEN:
                self.close()
            way = self._ways[folder] = Way(self._mounts, self._entered)
            way.follow(folder)
        return self._ways[folder].status(base)

    def close(self) -> None:
        """Close all."""
        while self._ways:
            self._ways.popitem()[1].close()


class _MayHang(Exception):
    def __init__(self, place: bytes) -> None:
        self.place = place


def _target_of(link: int, mount: bytes) -> bytes:
    """Return where a link leads; empty: it is none.

    A link of procfs may have a longer text than the kernel returns (ENAMETOOLONG), or one that only its user
    may see: where that leads is not known.
    """
    try:
        return os.readlink(b"", dir_fd=link)
    except OSError as exc:
        if exc.errno in _NO_LINK:
            return b""
        raise _MayHang(mount) from exc


def _opened_root() -> int:
    """Return a descriptor (O_PATH) of the root; -1: none is left, then no other one can be opened either."""
    try:
        return os.open(b"/", _PART_FLAGS)
    except OSError:
        return -1


def _root_id() -> bytes:
    root = os.open(b"/", _PART_FLAGS)
    try:
        return _mount_id_of(root)
    finally:
        os.close(root)


def _mount_id_of(descriptor: int) -> bytes:
    """Return the number of the mount that a descriptor is on; empty: the kernel does not say."""
    try:
        info = os.open(b"/proc/self/fdinfo/%d" % descriptor, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        found = _MOUNT_ID.search(os.read(info, _FDINFO_BYTES))
    finally:
        os.close(info)
    return found[1] if found else b""
