"""The folder that captures are moved to, and the folders in it: each is checked right where it is opened.

A capture that was moved is the only one. So no other user may be able to remove or replace it there: in the
folder itself, in one above, or in one inside that somebody has made before. Each is open before it is looked
at, and the copy is written into the open one: what takes its place by then gets nothing. Where captures are
compressed, the copy is in the folder of the capture, with whose users nothing changes.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from pcapdj.capture.roots import root_of
from pcapdj.reclaim.selection import Selected
from pcapdj.runtime.errors import CannotCreate
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.trust import calling_user, check_open_folder, check_way, present_at
from pcapdj.runtime.whole_file import open_folder

_FOLDER_MODE: Final = 0o755
_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


class Missing(CannotCreate):
    """A folder is not there."""


def open_target(target: str) -> int:
    """Open the folder that captures are moved to, for reading.

    Args:
        target: its path, absolute.

    Raises:
        Missing: it is not there.
        CannotCreate: it cannot be opened, or another user can replace it, or files in it.
    """
    path = Path(target)
    try:
        check_way(path, caller=calling_user(), is_there=True)
        return _checked(path, open_folder(path))
    except OSError as exc:
        raise _unusable(path, exc) from exc


def target_of(name: bytes, selected: Selected, *, makes_folders: bool = True) -> tuple[int, bytes, bytes]:
    """Return the folder that a capture is moved to, opened, its name there, and its path.

    Raises:
        Missing: the folder is not there, and is not to be made.
        CannotCreate: it cannot be made or opened, or another user can replace it, or files in it.
    """
    root = root_of(name, selected.roots) or b""
    *folders, base = [part for part in name[len(root) :].split(b"/") if part]
    folder, path = open_target(selected.target), Path(selected.target)
    try:
        for part in folders:
            path /= os.fsdecode(part)
            if makes_folders:
                with suppress(FileExistsError):
                    os.mkdir(part, _FOLDER_MODE, dir_fd=folder)
            inner = _checked(path, os.open(part, _FOLDER_FLAGS, dir_fd=folder))
            os.close(folder)
            folder = inner
    except OSError as exc:
        os.close(folder)
        raise _unusable(path, exc) from exc
    except BaseException:
        os.close(folder)
        raise
    return folder, base, os.fsencode(path / os.fsdecode(base))


def _checked(path: Path, opened: int) -> int:
    """Return an open folder; close and refuse it if others can change it."""
    try:
        check_open_folder(path, opened, caller=calling_user())
    except BaseException:
        os.close(opened)
        raise
    return opened


def _unusable(path: Path, error: OSError) -> CannotCreate:
    kind = Missing if isinstance(error, FileNotFoundError) else CannotCreate
    return kind(f"The folder {quoted(str(path))} cannot be used: {error.strerror}{present_at(path)}.")
