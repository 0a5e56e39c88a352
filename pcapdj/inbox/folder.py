"""What a folder has: files that may be captures, and names that are skipped without a look into them.

Hidden names are skipped: rotation tools hide a file while they write it. Links to files are followed, links
to folders are not (they may form a circle).
"""

import errno
import os
from typing import Final, NamedTuple

from pcapdj.inbox.skipped import SkipReason
from pcapdj.runtime.signals import Waits, between

MOST_LEVELS: Final = 200  # of folders inside folders: who needs more of them has none of captures


class Folder(NamedTuple):
    """What a folder has.

    Args:
        names: the paths of its files, unsorted.
        skipped: what it has beside them, and why that is skipped.
        errors: folders that could not be read.
    """

    names: list[bytes]
    skipped: dict[bytes, SkipReason]
    errors: list[OSError]


def list_folder(folder: bytes, *, recursive: bool, stops: Waits | None = None) -> Folder:
    """Return what a folder has.

    A folder that is too deep is an error, and what is below it is not listed. Folders are looked into one
    after another, not inside one another: a program that recurses ends in a tree of a thousand folders.

    Args:
        folder: its path.
        recursive: include folders inside it that are not hidden, down to `MOST_LEVELS`.
        stops: a stop signal ends it.

    Raises:
        Stopped: `stops` saw a stop signal.
    """
    found = Folder([], {}, [])
    waiting = [(folder, 0)]
    while waiting:
        path, level = waiting.pop()
        if level > MOST_LEVELS:
            too_deep = f"it is more than {MOST_LEVELS} levels deep"
            found.errors.append(OSError(errno.ENAMETOOLONG, too_deep, path))
            continue
        try:
            with os.scandir(path) as entries:
                for entry in between(entries, stops):
                    if entry.name.startswith(b"."):
                        found.skipped[entry.path] = SkipReason.HIDDEN
                    elif (reason := _skip_reason(entry)) is SkipReason.FOLDER and recursive:
                        waiting.append((entry.path, level + 1))
                    elif reason:
                        found.skipped[entry.path] = reason
                    else:
                        found.names.append(entry.path)
        except OSError as exc:
            found.errors.append(exc)
    return found


def _skip_reason(entry: "os.DirEntry[bytes]") -> SkipReason | None:
    """Return why an entry of a folder is no file that may be a capture; None: it is one."""
    try:
        if entry.is_file():
            return None
        if entry.is_dir():
            return SkipReason.FOLDER_LINK if entry.is_symlink() else SkipReason.FOLDER
        is_gone = entry.is_symlink() and not os.path.exists(entry.path)  # noqa: PTH110 - bytes
    except OSError as exc:  # any other error: opening it shows why
        return SkipReason.LINK_TO_NOTHING if exc.errno == errno.ELOOP else None
    return SkipReason.LINK_TO_NOTHING if is_gone else SkipReason.SPECIAL


def is_hidden(name: bytes) -> bool:
    """Report whether the last part of a path begins with a dot."""
    return os.path.basename(name).startswith(b".")  # noqa: PTH119 - bytes
