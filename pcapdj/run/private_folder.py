"""The temporary folder of one run's private service; the next run removes what a killed one left behind.

A run holds the lock file in its folder. If the lock is free, the run was killed: the next run removes the
folder, unless its supervisord still runs and waits for the analyzer to complete its output. Only folders of
this user that contain this lock file are removed: `pcapdj init` writes none.
"""

import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from pcapdj.runtime.errors import AlreadyRunning, CannotCreate
from pcapdj.runtime.process import Lock

SUPERVISORD_SOCKET: Final = Path("var/run/supervisor.sock")
_PREFIX: Final = "pcapdj-"
_LOCK: Final = "run.lock"


@contextmanager
def private_folder() -> Iterator[Path]:
    """Yield a new folder, 0700, among the temporary files; remove it at the end, and abandoned ones before.

    Raises:
        CannotCreate: the folder cannot be created.
    """
    _remove_abandoned(Path(tempfile.gettempdir()))
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    except OSError as exc:
        raise CannotCreate(f"A temporary folder cannot be created: {exc.strerror}.") from exc
    try:
        lock = Lock(folder / f".{_LOCK}", "run")
        (folder / f".{_LOCK}").rename(folder / _LOCK)  # under this name it is never seen without its holder
        try:
            yield folder
        finally:
            lock.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(parent: Path) -> None:
    with suppress(OSError):
        for folder in parent.glob(f"{_PREFIX}*"):
            if _is_ours(folder.lstat()) and (folder / _LOCK).is_file():
                _remove_unless_used(folder)


def _is_ours(found: os.stat_result) -> bool:
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def _remove_unless_used(folder: Path) -> None:
    with suppress(AlreadyRunning, CannotCreate):
        lock = Lock(folder / _LOCK, "run")
        if not _answers(folder / SUPERVISORD_SOCKET):
            shutil.rmtree(folder, ignore_errors=True)
        lock.close()


def _answers(path: Path) -> bool:
    """Report whether a process listens on the unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            client.connect(os.fspath(path))
        except OSError:
            return False
    return True
