"""A process ends with its parent, and a role runs only once.

After `kill -9` of supervisord its children go on running, and a new supervisord starts a second copy of each
(measured on 4.3.0); an analyzer would go on after `kill -9` of the launcher. So they ask the kernel for a
signal when the parent dies, see prctl(2) PR_SET_PDEATHSIG. It comes when the parent *thread* ends: start
processes from the main thread.

A role holds an flock on a lock file. The kernel releases it however the process ends.
"""

import ctypes
import fcntl
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from pcapdj.runtime.errors import AlreadyRunning, CannotCreate
from pcapdj.runtime.safe_text import quoted

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_libc = ctypes.CDLL(None, use_errno=True)  # loaded before any fork: the child of a fork should load nothing


def die_with_parent(number: int = signal.SIGTERM) -> None:
    """Ask the kernel to send this process the signal when its parent dies; it survives exec."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def die_with_supervisord() -> None:
    """End this process when supervisord dies, if supervisord started it.

    If supervisord died before the call, the parent's pid has changed: this process then ends at once.
    """
    if not os.environ.get("SUPERVISOR_ENABLED"):
        return
    parent = os.getppid()
    die_with_parent()
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def die_with(parent: int, number: int) -> None:
    """In a new child: ask for the signal when this parent dies; if it has died already, end at once."""
    die_with_parent(number)
    if os.getppid() != parent:
        os._exit(1)


def death_signal_for_child(number: int = signal.SIGKILL) -> Callable[[], None]:
    """Return a `preexec_fn` for Popen: the child gets the signal when this process dies."""
    return partial(die_with, os.getpid(), number)


def set_title(title: str) -> None:
    """Show this text in `ps`, instead of the command line of the process that this one was forked from.

    It takes at most the room of that command line; see proc_pid_stat(5), arg_start and arg_end.
    """
    text = os.fsencode(title)
    _libc.prctl(_PR_SET_NAME, text, 0, 0, 0)
    with suppress(OSError, ValueError, IndexError):  # without /proc it keeps the old one
        fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
        start, end = int(fields[45]), int(fields[46])
        if 0 < start < end:
            ctypes.memmove(start, text[: end - start - 1].ljust(end - start, b"\0"), end - start)


class Lock:
    """A lock file that this process holds until `close` or its death; it contains the holder's pid.

    Args:
        path: the lock file; made if missing, never removed (or two processes could hold two inodes).
        role: the role's name in the message to a second process.

    Raises:
        AlreadyRunning: another process holds it; the message has its pid.
        CannotCreate: the file cannot be made.
    """

    def __init__(self, path: Path, role: str) -> None:
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as exc:
            raise CannotCreate(f"The lock file {quoted(str(path))} cannot be made: {exc.strerror}.") from exc
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            holder = self._holder()
            os.close(self._fd)
            raise AlreadyRunning(
                f"Another {role} (pid {holder}) holds {quoted(str(path))}.",
                hint="Stop it first, or use another id.",
            ) from exc
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        """Release the lock."""
        with suppress(OSError):
            os.close(self._fd)

    def _holder(self) -> str:
        return os.pread(self._fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
