"""What a folder has: files that may be captures, and names that are skipped without a look into them.

Hidden names are skipped: rotation tools hide a file while they write it. Links to files are followed, links
to folders are not (they may form a circle).
"""

import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from pcapdj.capture.files import open_folder_below
from pcapdj.inbox.skipped import SkipReason
from pcapdj.runtime.errors import CaptureError
from pcapdj.runtime.signals import Waits, between
from pcapdj.runtime.whole_file import open_way

MOST_LEVELS: Final = 200  # of folders inside folders: who needs more of them has none of captures
_MOST_OPEN: Final = 200  # folders at once
_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_PLACE_FLAGS: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


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


def list_folder(
    folder: bytes, *, recursive: bool, roots: Sequence[bytes] = (), stops: Waits | None = None
) -> Folder:
    """Return what a folder has.

    A folder that is too deep is an error, and what is below it is not listed. Folders are looked into one
    after another, not inside one another: a program that recurses ends in a tree of a thousand folders.

    Args:
        folder: its path.
        recursive: include folders inside it that are not hidden, down to `MOST_LEVELS`.
        roots: as `open_to_look`; with them no link is followed, and nothing is learned of where it leads.
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
            for name, entry in _entries_of(path, roots, stops):
                if is_hidden(name):
                    found.skipped[name] = SkipReason.HIDDEN
                elif (reason := _skip_reason(entry, name, roots)) is SkipReason.FOLDER and recursive:
                    waiting.append((name, level + 1))
                elif reason:
                    found.skipped[name] = reason
                else:
                    found.names.append(name)
        except OSError as exc:
            found.errors.append(OSError(exc.errno, exc.strerror, path))
    return found


def open_to_look(path: bytes, roots: Sequence[bytes], flags: int = _FLAGS) -> int:
    """Open a folder to see what it has, and return its descriptor, which the caller closes.

    Args:
        path: of the folder, absolute.
        roots: none: any folder, wherever links lead. Else it is one of them, or below one, and no link is
            followed below it; or above one, and no link of another user is followed on the way.
        flags: of open(2).

    Raises:
        OSError: it cannot be opened, such a link is there, or it lies outside of the roots.
    """
    if not roots:
        return os.open(path, flags)
    if is_outside(path, roots):
        raise OSError(errno.EACCES, f"it is outside of {', '.join(map(os.fsdecode, roots))}", path)
    around = [root for root in roots if path.startswith(_with_slash(root))]
    try:
        if not around or path in roots:
            above, name = open_way(Path(os.fsdecode(path))), b"."
        else:
            above, name = open_folder_below(max(around, key=len), path)
    except CaptureError as exc:
        raise OSError(errno.EACCES, str(exc), path) from exc
    try:
        return os.open(name, flags | os.O_NOFOLLOW, dir_fd=above)
    finally:
        os.close(above)


class Statuses:
    """Looks at files by their names; with roots their folders are kept open, so `close` it.

    Who owns a folder can exchange it for a link at any moment: the kernel gets no path of several parts.

    Args:
        roots: none: links are followed. Else as `open_to_look`, and what is outside counts as not there.
    """

    def __init__(self, roots: Sequence[bytes]) -> None:
        self._roots = roots
        self._folders: dict[bytes, int] = {}

    def of(self, name: bytes) -> os.stat_result:
        """Return the status of a file.

        Raises:
            OSError: it is not there.
        """
        if not self._roots:
            return os.stat(name)  # noqa: PTH116 - bytes
        folder, base = os.path.split(name)
        if folder not in self._folders:
            if len(self._folders) >= _MOST_OPEN:
                self.close()
            self._folders[folder] = open_to_look(folder, self._roots, _PLACE_FLAGS)
        return os.stat(base, dir_fd=self._folders[folder], follow_symlinks=False)

    def of_folder(self, path: bytes) -> os.stat_result:
        """Return the status of a folder; errors as `open_to_look`."""
        opened = open_to_look(path, self._roots, _PLACE_FLAGS)
        try:
            return os.fstat(opened)
        finally:
            os.close(opened)

    def close(self) -> None:
        """Close the folders; it can be used again."""
        while self._folders:
            os.close(self._folders.popitem()[1])


def _entries_of(
    path: bytes, roots: Sequence[bytes], stops: Waits | None
) -> Iterator[tuple[bytes, "os.DirEntry[str]"]]:
    """Yield path and entry of what a folder has; errors as `open_to_look`."""
    opened = open_to_look(path, roots)
    try:
        with os.scandir(opened) as entries:
            for entry in between(entries, stops):
                yield os.path.join(path, os.fsencode(entry.name)), entry  # noqa: PTH118 - bytes
    finally:
        os.close(opened)


def is_outside(path: bytes, roots: Sequence[bytes]) -> bool:
    """Report whether a folder is, by its path, neither above one of the roots, nor one, nor below one."""
    own = _with_slash(path)
    return bool(roots) and not any(
        own.startswith(_with_slash(root)) or _with_slash(root).startswith(own) for root in roots
    )


def _with_slash(path: bytes) -> bytes:
    return path.rstrip(b"/") + b"/"


def _skip_reason(entry: "os.DirEntry[str]", path: bytes, roots: Sequence[bytes]) -> SkipReason | None:
    """Return why an entry of a folder is no file that may be a capture; None: it is one."""
    try:
        if roots and entry.is_symlink():
            return SkipReason.LINK
        if entry.is_file():
            return None
        if entry.is_dir():
            kind = SkipReason.FOLDER_LINK if entry.is_symlink() else SkipReason.FOLDER
            return SkipReason.OUTSIDE if is_outside(path, roots) else kind
        is_gone = entry.is_symlink() and not _leads_to_something(entry)
    except OSError as exc:  # any other error: opening it shows why
        return SkipReason.LINK_TO_NOTHING if exc.errno == errno.ELOOP else None
    return SkipReason.LINK_TO_NOTHING if is_gone else SkipReason.SPECIAL


def _leads_to_something(entry: "os.DirEntry[str]") -> bool:
    try:
        entry.stat()
    except OSError:
        return False
    return True


def is_hidden(name: bytes) -> bool:
    """Report whether the last part of a path begins with a dot."""
    return os.path.basename(name).startswith(b".")  # noqa: PTH119 - bytes
