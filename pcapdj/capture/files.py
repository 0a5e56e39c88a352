"""Opens a capture file safely and identifies it by inode, size and time; does not read it.

Names come from a queue that other programs fill. A name may be a device, a pipe without a writer, a link out
of the capture folder, or a file that its sensor still writes. Each of these becomes one `CaptureError`.
Opening never blocks, and only regular files are read.
Source: open(2), fcntl(2) "Leases".
"""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable
from typing import NamedTuple

from pcapdj.runtime.errors import CaptureError, NotACapture
from pcapdj.runtime.safe_text import NAME_LIMIT_BYTES

# A file without a write for this long is complete; the importer has the same rule.
SETTLED_S = 10.0

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_FOLDER_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC

_KINDS = {
    stat.S_IFDIR: "is a directory",
    stat.S_IFCHR: "is a device",
    stat.S_IFBLK: "is a device",
    stat.S_IFIFO: "is a named pipe",
    stat.S_IFSOCK: "is a socket",
    stat.S_IFLNK: "is a symbolic link",
}
_NOWHERE = {errno.ENOENT, errno.ELOOP, errno.ENOTDIR}  # such as a link that leads nowhere
_REASONS = {
    errno.ENOENT: "does not exist",
    errno.EACCES: "cannot be read by this user: permission denied",
    errno.EPERM: "cannot be read by this user: permission denied",
    errno.ELOOP: "is or follows a symbolic link that is not followed, or a loop of links",
    errno.ENAMETOOLONG: "has a name that is too long for the file system",
    errno.ENOTDIR: "does not exist: a part of its path is not a folder",
    errno.ENXIO: "is a socket or a device",
}


class StillWritten(CaptureError):
    """Another process may still write to this file.

    Args:
        settles_in_s: None if a writer has it open. Else this is unknown (file of another user, file system
            without leases), and the file is complete after so many seconds without a change.
    """

    def __init__(self, settles_in_s: float | None = None) -> None:
        super().__init__("is still being written")
        self.settles_in_s = settles_in_s


class Identity(NamedTuple):
    """Which file it is, and the size and time that it had when it was opened."""

    dev: int
    ino: int
    size_bytes: int
    mtime_ns: int


class OpenFile:
    """A capture file that is open for reading.

    Attributes:
        descriptor: of the file; -1 after `close`.
        is_local: a call about it never hangs.
        mount: where its file system is mounted; empty: that was not looked up.
    """

    is_local = True
    descriptor = -1

    def __init__(self, descriptor: int, mount: bytes = b"") -> None:
        self.descriptor = descriptor
        self.mount = mount

    def read(self, length_bytes: int, offset: int) -> bytes:
        """Return bytes of the file, as pread(2).

        Raises:
            OSError: the read failed.
        """
        return os.pread(self.descriptor, length_bytes, offset)

    def status(self) -> os.stat_result:
        """Return the file's present status, as fstat(2).

        Raises:
            OSError: its storage is gone.
        """
        return os.fstat(self.descriptor)

    def identity(self) -> Identity:
        """Return the file's present identity.

        Raises:
            CaptureError: its storage is gone.
        """
        try:
            found = self.status()
        except OSError as exc:
            raise CaptureError(f"cannot be read: {exc.strerror}", error_number=exc.errno or 0) from exc
        return Identity(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)

    def close(self) -> None:
        """Close it; a second call does nothing."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def open_file(name: bytes, *, root: bytes | None, refuse_written: bool) -> int:
    """Open a regular file for reading and return its descriptor, which the caller closes.

    Args:
        name: absolute or relative path.
        root: if given, the file must lie below this folder and no link is followed on the way.
        refuse_written: refuse a file that may still grow.

    Raises:
        StillWritten: as `refuse_if_written`.
        CaptureError: as `open_regular`.
    """
    fd = open_regular(name, root=root)
    try:
        if refuse_written:
            refuse_if_written(fd)
    except CaptureError:
        os.close(fd)
        raise
    return fd


def open_regular(name: bytes, *, root: bytes | None = None) -> int:
    """Open a regular file for reading and return its descriptor, which the caller closes.

    Symbolic links are followed unless `root` is given. Then the file must lie below that folder, and no part
    of the path below the folder may be a link.

    Raises:
        CaptureError: the reason, without the name.
    """
    refuse_name(name)
    try:
        fd = _open_checked(name) if root is None else _open_below(root, name)
    except OSError as exc:
        raise refusal_of(exc) from exc
    return fd


def refusal_of(exc: OSError) -> CaptureError:
    """Return the error about a file that cannot be opened."""
    error = NotACapture if exc.errno in _NOWHERE else CaptureError
    return error(_reason(exc), error_number=exc.errno or 0)


def refuse_name(name: bytes) -> None:
    """Raise CaptureError if no file can have this name."""
    if not name:
        raise CaptureError("has an empty name")
    if b"\0" in name:
        raise CaptureError("has a NUL byte in its name")
    if len(name) > NAME_LIMIT_BYTES:
        raise CaptureError(f"has a name of {len(name)} bytes, more than {NAME_LIMIT_BYTES}")


def _reason(exc: OSError) -> str:
    return _REASONS.get(exc.errno or 0, f"cannot be opened: {exc.strerror}")


def _open_checked(name: bytes, *, folder_fd: int | None = None, follow: bool = True) -> int:
    """Open `name` after a stat(2): opening a device may have an effect."""
    _refuse_special(os.stat(name, dir_fd=folder_fd, follow_symlinks=follow))
    fd = os.open(name, _FLAGS if follow else _FLAGS | os.O_NOFOLLOW, dir_fd=folder_fd)
    try:
        _refuse_special(os.fstat(fd))
    except CaptureError:
        os.close(fd)
        raise
    return fd


def _refuse_special(found: os.stat_result) -> None:
    kind = stat.S_IFMT(found.st_mode)
    if kind != stat.S_IFREG:
        raise NotACapture(_KINDS.get(kind, "is not a regular file"))


def _open_below(root: bytes, name: bytes) -> int:
    folder_fd, last = open_folder_below(root, name)
    try:
        return open_in(folder_fd, last)
    finally:
        os.close(folder_fd)


def open_folder_below(root: bytes, name: bytes) -> tuple[int, bytes]:
    """Open the folder of a file, component by component: no link on the way can lead outside of the root.

    Returns:
        A descriptor (O_PATH), which the caller closes, and the file's name in that folder.

    Raises:
        CaptureError: by its name the file does not lie below the root, or no file can have that name.
        OSError: a part of the path is no folder, or is a link.
    """
    refuse_name(name)
    *folders, last = _parts_below(root, name)
    folder_fd = _opened_root(root)
    try:
        for part in folders:
            inner_fd = _open_folder_in(folder_fd, part)
            os.close(folder_fd)
            folder_fd = inner_fd
    except BaseException:
        os.close(folder_fd)
        raise
    return folder_fd, last


def _open_folder_in(folder_fd: int, name: bytes) -> int:
    try:
        return os.open(name, _FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=folder_fd)
    except NotADirectoryError as exc:
        if stat.S_ISLNK(os.stat(name, dir_fd=folder_fd, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from exc
        raise


def _opened_root(root: bytes) -> int:
    """Return a descriptor (O_PATH) of a root; whoever can replace a part of its path may not choose another.

    Raises:
        OSError: it cannot be opened, or a link of another user is on the way.
    """
    from pathlib import Path

    from pcapdj.runtime.whole_file import open_way

    return open_way(Path(os.fsdecode(root)))


def open_in(folder_fd: int, name: bytes) -> int:
    """Open a regular file of an open folder for reading; a link is not followed.

    Raises:
        CaptureError: it is not a regular file.
        OSError: it cannot be opened.
    """
    return _open_checked(name, folder_fd=folder_fd, follow=False)


def _parts_below(root: bytes, name: bytes) -> list[bytes]:
    prefix = root.rstrip(b"/") + b"/"
    parts = [part for part in name[len(prefix) :].split(b"/") if part not in {b"", b"."}]
    if not name.startswith(prefix) or b".." in parts or not parts:
        raise CaptureError(f"is outside of {os.fsdecode(root)!r}")
    return parts


def refuse_if_written(fd: int, *, clock: Callable[[], float] = time.time) -> None:
    """Raise if another process may still write to this file.

    A file without a write for `SETTLED_S` is complete. Else a read lease decides: the kernel refuses it while
    a writer has the file open.

    Raises:
        StillWritten: with the seconds to wait where leases are not available.
        CaptureError: its storage is gone.
    """
    age_s = clock() - OpenFile(fd).identity().mtime_ns / 1e9
    if age_s >= SETTLED_S:
        return
    try:
        _probe_lease(fd)
    except BlockingIOError as exc:
        raise StillWritten from exc
    except OSError as exc:
        # With a modification time in the future the file never settles: wait the whole time at each call.
        raise StillWritten(min(SETTLED_S, SETTLED_S - age_s)) from exc


def has_writer(fd: int) -> bool:
    """Report whether another process has the file open for writing, as far as the kernel shows that.

    It does not for a file of another user, or on a file system without leases.
    """
    try:
        _probe_lease(fd)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def is_closed(name: bytes, device: int, *, root: bytes | None = None) -> bool:
    """Report whether it is certain that no process writes to a file; then its time need not be checked.

    Args:
        name: of the file.
        device: of a local file system, on which this kernel sees every writer.
        root: as `open_regular`.
    """
    try:
        fd = open_regular(name, root=root)
    except CaptureError:
        return False
    try:
        _probe_lease(fd)
        return os.fstat(fd).st_dev == device
    except OSError:  # it has a writer, or is another user's, or there are no leases
        return False
    finally:
        os.close(fd)


def _probe_lease(fd: int) -> None:
    """Take a read lease and give it back.

    A writer that opens the file in between breaks the lease with a signal: SIGURG instead of SIGIO, because
    SIGIO would end the process.
    """
    from signal import SIGURG  # `pcapdj cat` starts without it

    fcntl.fcntl(fd, fcntl.F_SETSIG, SIGURG)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
