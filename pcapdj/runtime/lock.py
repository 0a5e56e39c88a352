"""One process per role: an flock on a lock file, which the kernel releases however the holder dies."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from pcapdj.runtime.errors import AlreadyRunning, CannotCreate
from pcapdj.runtime.names import quoted


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
