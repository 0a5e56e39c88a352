"""The named pipe: ours, private, and a new one for every stream.

What a dead reader left unread stays in a pipe as long as anybody holds it open, and would reach the next
analyzer in the middle of a record (measured). So each stream gets a new inode. What stands at the path and is
not our pipe is never removed and never written to.
"""

import errno
import fcntl
import os
import stat
import struct
import termios
from contextlib import suppress
from pathlib import Path

from pcapdj.runtime.errors import CannotCreate
from pcapdj.runtime.filenames import quoted
from pcapdj.runtime.places import private_folder

_MODE = 0o600


class Fifo:
    """The pipe's path, and the pipe that we made there.

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
            raise CannotCreate(f"The pipe {quoted(str(self.path))} cannot be made: {exc.strerror}.") from exc
        self._identity = (found.st_dev, found.st_ino)

    def open_write_end(self) -> int | None:
        """Return the write end, non-blocking, once somebody reads; None before.

        It is O_WRONLY: with O_RDWR the reader's death would never show.

        Raises:
            CannotCreate: something else stands at the path now.
        """
        try:
            descriptor = os.open(
                self.path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
            )
        except OSError as exc:
            if exc.errno == errno.ENXIO:  # fifo(7): nobody has it open for reading
                return None
            raise CannotCreate(f"The pipe {quoted(str(self.path))} is gone: {exc.strerror}.") from exc
        if not self._is_ours(os.fstat(descriptor)):
            os.close(descriptor)
            raise CannotCreate(f"The pipe {quoted(str(self.path))} was replaced while the analyzer started.")
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
            found = self.path.lstat()
        except FileNotFoundError:
            return
        except OSError as exc:
            raise CannotCreate(f"The pipe {quoted(str(self.path))} cannot be made: {exc.strerror}.") from exc
        if not stat.S_ISFIFO(found.st_mode):
            raise CannotCreate(
                f"{quoted(str(self.path))} is there already and is no pipe.",
                hint="Move it away, or use another path for the pipe.",
            )
        if found.st_uid != os.geteuid():
            raise CannotCreate(f"The pipe {quoted(str(self.path))} belongs to another user ({found.st_uid}).")


def unread_bytes(fd: int) -> int:
    """Return how much is in a pipe (FIONREAD works on either end, and on spliced pages)."""
    answer = fcntl.ioctl(fd, termios.FIONREAD, struct.pack("i", 0))
    return int(struct.unpack("i", answer)[0])
