"""No process outlives the one that is responsible for it.

supervisord's children live on after its `kill -9`, and a restarted one starts a second copy (measured on
4.3.0); an analyzer would live on after the launcher's. The kernel's parent-death signal ends them, see
prctl(2) PR_SET_PDEATHSIG. It fires when the parent *thread* ends: spawn from the main thread.

One process per role: an flock on a lock file, which the kernel releases however the holder dies.
"""

import ctypes
import fcntl
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pcapdj.runtime.errors import AlreadyRunning, CannotCreate
from pcapdj.runtime.safe_text import quoted

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)  # loaded before any fork: the child of a fork should load nothing


def die_with_parent(number: int = signal.SIGTERM) -> None:
    """Ask the kernel to send this process the signal when its parent dies; it survives exec."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def die_with_supervisord() -> None:
    """Tie this process to supervisord, if that started it; by hand nothing is tied.

    A parent that died before the call is noticed by its pid: the orphan then ends at once.
    """
    if not os.environ.get("SUPERVISOR_ENABLED"):
        return
    parent = os.getppid()
    die_with_parent()
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def tied_to_this_process(number: int = signal.SIGKILL) -> Callable[[], None]:
    """Return a `preexec_fn` for Popen that ties the child to this process."""
    parent = os.getpid()

    def tie() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return tie


class Lock:
    """A lock file held by this process until `close` or its death; it names the holder's pid.

    Args:
        path: the lock file; made if missing, never removed (or two processes could hold two inodes).
        role: how the holder is named to a second process.

    Raises:
        AlreadyRunning: another process holds it; the message names its pid.
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
