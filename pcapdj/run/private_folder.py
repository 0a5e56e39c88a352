"""The temporary folder of one run's private service; the next run removes what a killed one left behind.

A run holds the lock file in its folder, and so do the processes that it forks: after a kill they wait for
the analyzer to complete its output. If the lock is free, all of them are gone, and the next run removes the
folder. Only folders of this user that contain this lock file are removed: `pcapdj init` writes none.
"""

import os
import secrets
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from pcapdj.runtime.errors import AlreadyRunning, CannotCreate
from pcapdj.runtime.leftover_processes import end_leftover_processes
from pcapdj.runtime.lock import Lock
from pcapdj.runtime.trust import check_folder, check_way

_PREFIX: Final = "pcapdj-"
_RANDOM: Final = "12345678"  # as many characters as mkdtemp adds
_LOCK: Final = "run.lock"
_REMEDY: Final = "set TMPDIR to a folder of your own"
_DYING_LIMIT_S: Final = 10.0  # then the folder is left to the next run
_POLL_S: Final = 0.02
_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def private_folder_name() -> Path:
    """Return a path such as the next private folder gets, to check what fits into it.

    Raises:
        CannotCreate: no folder for temporary files can be written to, or all users can replace files in it.
    """
    return _temporary_folder() / f"{_PREFIX}{_RANDOM}"


@contextmanager
def private_folder() -> Iterator[Path]:
    """Yield a new folder, 0700, among the temporary files; remove it at the end, and abandoned ones before.

    Raises:
        CannotCreate: the folder cannot be created.
    """
    parent = _temporary_folder()
    _remove_abandoned(parent)
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    except OSError as exc:
        raise CannotCreate(f"A temporary folder cannot be created: {exc.strerror}.") from exc
    try:
        lock = Lock(folder / f".{_LOCK}", "run")
        (folder / f".{_LOCK}").rename(folder / _LOCK)  # under this name it is never seen without its holder
    except BaseException:
        _remove_tree(folder)
        raise
    try:
        yield folder
    finally:
        lock.close()
        until_s = time.monotonic() + _DYING_LIMIT_S
        # roles whose service was killed still write into it
        while not _remove_unless_used(folder) and time.monotonic() < until_s:
            time.sleep(_POLL_S)


def _temporary_folder() -> Path:
    """Return it without links: the roles, which work in the private folder, see it so."""
    try:
        folder = Path(os.path.realpath(tempfile.gettempdir()))
    except OSError as exc:
        raise CannotCreate(
            "No folder for temporary files can be written to.", hint="Set TMPDIR to one that can."
        ) from exc
    check_way(folder, _REMEDY)
    check_folder(folder, remedy=_REMEDY)
    return folder


def _remove_abandoned(parent: Path) -> None:
    with suppress(OSError):
        for folder in parent.glob(f"{_PREFIX}*"):
            if _is_ours(folder.lstat()) and (folder / _LOCK).is_file():
                _remove_unless_used(folder, is_abandoned=True)


def _is_ours(found: os.stat_result) -> bool:
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def _remove_unless_used(folder: Path, *, is_abandoned: bool = False) -> bool:
    """Remove the folder, and what the analyzer of a killed run left; False while a process holds its lock."""
    try:
        lock = Lock(folder / _LOCK, "run")
    except AlreadyRunning:
        return False
    except CannotCreate:  # a lock that cannot be opened is not one of ours
        return True
    if is_abandoned:
        end_leftover_processes(folder)
    _remove_tree(folder)
    lock.close()
    return True


def _remove_tree(top: Path) -> None:
    """Remove a folder as far as possible.

    A folder inside is emptied by moving the folders in it to the top: the analyzer may have made thousands,
    one inside the other, which end a program that recurses, and make paths that are too long.
    """
    try:
        opened = os.open(top, _FOLDER_FLAGS)
    except OSError:
        return
    with suppress(OSError):  # also where no more files can be opened: the next run removes the rest
        try:
            while sum(_remove_entry(opened, name) for name in os.listdir(opened)):  # noqa: PTH208 - by descriptor
                pass
        finally:
            os.close(opened)
        top.rmdir()


def _remove_entry(top: int, name: str) -> bool:
    """Remove a file or link; move what is in a folder to the top, and remove it; report if that worked."""
    try:
        if not stat.S_ISDIR(os.stat(name, dir_fd=top, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=top)
            return True
        folder = os.open(name, _FOLDER_FLAGS, dir_fd=top)
        try:
            for inner in os.listdir(folder):  # noqa: PTH208 - by descriptor
                os.rename(inner, secrets.token_hex(16), src_dir_fd=folder, dst_dir_fd=top)
        finally:
            os.close(folder)
        os.rmdir(name, dir_fd=top)
    except OSError:
        return False
    return True
