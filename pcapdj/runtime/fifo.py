"""Named pipes: made private, checked before use, opened for writing only while a process reads.

What stands at the path and is not a pipe of this user is never removed and never written to. The write end is
O_WRONLY: with O_RDWR the death of the reader would never show. It is non-blocking, since a blocking open or
splice does not return on a stop signal (PEP 475).

The launcher's pipe (`Fifo`) gets a new inode for each stream. What a dead reader left unread stays in a pipe
while any process holds it open, and would reach the next analyzer in the middle of a record (measured).
"""

import errno
import fcntl
import os
import select
import stat
import struct
import termios
from contextlib import suppress
from pathlib import Path

from pcapdj.runtime.errors import CannotCreate
from pcapdj.runtime.places import private_folder
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.trust import described, owner_of, present_at

_MODE = 0o600
_GROUP_MODE = 0o640


def make(path: Path) -> None:
    """Make a named pipe that only this user can open.

    Raises:
        FileExistsError: something is at the path.
        CannotCreate: it cannot be made.
    """
    try:
        os.mkfifo(path, _MODE)
    except FileExistsError:
        raise
    except OSError as exc:
        raise _cannot_make(path, exc) from exc


def check(path: Path, found: os.stat_result) -> None:
    """Refuse what is not a named pipe of this user.

    Args:
        path: for the message.
        found: what is at the path, or what was opened there.

    Raises:
        CannotCreate: it is something else, or another user's.
    """
    if not stat.S_ISFIFO(found.st_mode):
        raise CannotCreate(
            f"{quoted(str(path))} is not a named pipe: there is {described(found)}.",
            hint="Nothing was written to it. Move it away, or use another path for the pipe.",
        )
    if found.st_uid != os.geteuid():
        raise CannotCreate(
            f"The pipe {quoted(str(path))} belongs to another user, {owner_of(found.st_uid)}.",
            hint="Use another path for the pipe.",
        )


def check_writers(path: Path, found: os.stat_result) -> None:
    """Refuse a pipe into which any user can write: packets of another user could come between ours.

    Raises:
        CannotCreate: it is writable for all users.
    """
    if found.st_mode & stat.S_IWOTH:
        raise CannotCreate(
            f"All users can write to the pipe {quoted(str(path))}.", hint="Remove that permission: chmod 600."
        )


def open_if_read(path: Path) -> int | None:
    """Return a non-blocking write end; None while no process has the pipe open for reading.

    Raises:
        CannotCreate: it cannot be opened.
    """
    try:
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as exc:
        if exc.errno == errno.ENXIO:  # fifo(7): no reader
            return None
        raise CannotCreate(f"The pipe {quoted(str(path))} cannot be opened: {exc.strerror}.") from exc


def unread_bytes(fd: int) -> int:
    """Return how much is in a pipe (FIONREAD works on either end, and on spliced pages)."""
    answer = fcntl.ioctl(fd, termios.FIONREAD, struct.pack("i", 0))
    return int(struct.unpack("i", answer)[0])


def is_reader_gone(write_end: int) -> bool:
    """Report whether no process has the pipe open for reading any more."""
    poller = select.poll()
    poller.register(write_end, 0)  # POLLERR is always reported
    return bool(poller.poll(0))


class Fifo:
    """The launcher's pipe: a path, and the inode that was made there for the open stream.

    Args:
        path: absolute.

    Raises:
        CannotCreate: its folder is not ours, or something else stands at the path.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._identity: tuple[int, int] | None = None
        private_folder(path.parent)
        self._check_place()

    def renew(self) -> None:
        """Put a new pipe at the path, in place of an older one of ours.

        Raises:
            CannotCreate: as above.
        """
        self._check_place()
        fresh = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            fresh.unlink(missing_ok=True)
            os.mkfifo(fresh, _MODE)
            found = fresh.lstat()
            fresh.rename(self.path)  # the number of a removed inode may come again at once; this one differs
        except OSError as exc:
            is_in_the_way = exc.filename2 is None and os.path.lexists(fresh)  # two names: of rename(2)
            raise _cannot_make(fresh if is_in_the_way else self.path, exc) from exc
        self._identity = (found.st_dev, found.st_ino)

    def open_write_end(self) -> int | None:
        """Return the write end once the analyzer reads; None before.

        Raises:
            CannotCreate: something else stands at the path now.
        """
        descriptor = open_if_read(self.path)
        if descriptor is not None and not self._is_ours(os.fstat(descriptor)):
            os.close(descriptor)
            raise CannotCreate(f"The pipe {quoted(str(self.path))} was replaced while the analyzer started.")
        return descriptor

    def open_for_group(self, gid: int) -> int:
        """Let a group read the pipe; return a descriptor that is no end of it, for a path in /proc/self/fd.

        Raises:
            CannotCreate: something else stands at the path now, or its mode cannot be changed.
        """
        try:
            descriptor = os.open(self.path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
            if not self._is_ours(os.fstat(descriptor)):
                os.close(descriptor)
                raise FileNotFoundError(errno.ENOENT, "it was replaced")
            os.chown(f"/proc/self/fd/{descriptor}", -1, gid)
            os.chmod(f"/proc/self/fd/{descriptor}", _GROUP_MODE)  # noqa: PTH101 - of a descriptor
        except OSError as exc:
            raise _cannot_make(self.path, exc) from exc
        return descriptor

    def remove(self) -> None:
        """Remove our pipe from the path, if it still stands there."""
        with suppress(OSError):
            if self._is_ours(self.path.lstat()):
                self.path.unlink()

    def _is_ours(self, found: os.stat_result) -> bool:
        return stat.S_ISFIFO(found.st_mode) and (found.st_dev, found.st_ino) == self._identity

    def _check_place(self) -> None:
        try:
            check(self.path, self.path.lstat())
        except FileNotFoundError:
            return
        except OSError as exc:
            raise _cannot_make(self.path, exc) from exc


def _cannot_make(path: Path, error: OSError) -> CannotCreate:
    return CannotCreate(f"The pipe {quoted(str(path))} cannot be made: {error.strerror}{present_at(path)}.")
