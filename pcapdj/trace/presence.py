"""Whether the file of a journal's entry is still the fed one, and where it is now if pcapdj moved it.

Size and time of the last write decide, as they do for the importer. Device and inode only distinguish a grown
file from another file, because a disk that is mounted again may get other numbers.

Any program that writes to Redis may have written the names. So if there are roots, only files below them are
looked at, and no link is followed on the way.
"""

import errno
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from pcapdj.capture.files import open_folder_below
from pcapdj.capture.roots import absolute_roots, root_of
from pcapdj.disk.reclaim_rule import NONE, parse_reclaim
from pcapdj.runtime.errors import CaptureError
from pcapdj.runtime.safe_text import quoted, to_name
from pcapdj.store.client import Store
from pcapdj.store.journal import FedFile
from pcapdj.store.reclaims import reclaimed


class FedFileState(StrEnum):
    """What is at the name of a file that was fed."""

    SAME = "same"
    GROWN = "grown"
    OTHER = "other"
    MOVED = "moved"
    COMPRESSED = "compressed"
    REMOVED = "removed"
    MISSING = "missing"
    OUTSIDE = "outside"


READABLE: Final = (FedFileState.SAME, FedFileState.GROWN, FedFileState.MOVED, FedFileState.COMPRESSED)
_MOST_KEPT: Final = 10_000
_MOST_KEPT_BYTES: Final = 4 << 20  # of names; one of a journal may have 8 KiB
_HOW: Final = {"moved": FedFileState.MOVED, "compressed": FedFileState.COMPRESSED}  # in PCAPDJ_RECLAIMED


@dataclass(frozen=True, slots=True)
class Presence:
    """What became of a file that was fed.

    Args:
        state: in one word.
        path: where its bytes are; empty: nowhere that is known.
        root: the folder below which it has to be opened; None: there are no roots.
    """

    state: FedFileState
    path: bytes = b""
    root: bytes | None = None

    @property
    def sentence(self) -> str:
        """Return it for people."""
        return {
            FedFileState.SAME: "the file is the one that was fed",
            FedFileState.GROWN: "the file has grown since it was fed",
            FedFileState.OTHER: "another file has this name now, or it was changed since it was fed",
            FedFileState.MOVED: f"pcapdj moved the file to {quoted(self.path)}",
            FedFileState.COMPRESSED: f"pcapdj compressed the file: {quoted(self.path)}",
            FedFileState.REMOVED: "pcapdj removed the file to make room",
            FedFileState.MISSING: "the file is not there any more",
            FedFileState.OUTSIDE: "the file is outside of the roots, or behind a link, and is not read",
        }[self.state]


def reading_roots(roots: Sequence[Path] | None) -> tuple[bytes, ...]:
    """Return the folders below which fed captures are looked at: the roots, and where they are moved to.

    Raises:
        ConfigError: PCAPDJ_RECLAIM is not valid.
    """
    if not roots:
        return ()
    target = parse_reclaim(os.environ.get("PCAPDJ_RECLAIM", NONE)).target
    return absolute_roots([*roots, *([Path(target)] if target else [])])


class Presences:
    """Looks at files that were fed; each name once, among some thousand.

    Args:
        store: the lane, for what pcapdj itself moved or removed; None: a run, which moves nothing.
        roots: the folders below which files are looked at; none: anywhere.
    """

    def __init__(self, store: Store | None, roots: Sequence[bytes] = ()) -> None:
        self._store = store
        self._roots = roots
        self._found: dict[tuple[bytes, int | None, int | None], Presence] = {}
        self._found_bytes = 0

    def of(self, file: FedFile) -> Presence:
        """Return what became of the file."""
        key = (file.name, file.size_bytes, file.mtime_ns)
        if key not in self._found:
            if len(self._found) >= _MOST_KEPT or self._found_bytes > _MOST_KEPT_BYTES:
                self._found.clear()
                self._found_bytes = 0
            self._found[key] = self._look(file)
            self._found_bytes += len(file.name) + len(self._found[key].path)
        return self._found[key]

    def _look(self, file: FedFile) -> Presence:
        found = self._state_at(file.name, file)
        if found is FedFileState.SAME or found is FedFileState.GROWN:
            return self._there(found, file.name)
        record = self._record_of(file)
        if not record:
            return Presence(found)
        state, path = _HOW.get(str(record.get("how")), FedFileState.REMOVED), str(record.get("to") or "")
        if state is FedFileState.REMOVED:
            return Presence(state, to_name(path))
        try:
            now = _status_of(to_name(path), self._roots)
        except CaptureError:
            return Presence(FedFileState.OUTSIDE)
        is_file = now is not None and stat.S_ISREG(now.st_mode)
        return self._there(state, to_name(path)) if is_file else Presence(FedFileState.MISSING)

    def _there(self, state: FedFileState, path: bytes) -> Presence:
        return Presence(state, path, root_of(path, self._roots))

    def _state_at(self, path: bytes, file: FedFile) -> FedFileState:
        try:
            now = _status_of(path, self._roots)
        except CaptureError:
            return FedFileState.OUTSIDE
        return _state_of(now, file)

    def _record_of(self, file: FedFile) -> Mapping[str, Any]:
        """Return what pcapdj recorded when it made room; empty: nothing about this version of the file."""
        record = reclaimed(self._store, file.name) if self._store else None
        if record is None or (record.get("size_bytes"), record.get("mtime_ns")) != (
            file.size_bytes,
            file.mtime_ns,
        ):
            return {}
        return record


def _state_of(now: os.stat_result | None, file: FedFile) -> FedFileState:
    if now is None:
        return FedFileState.MISSING
    if not stat.S_ISREG(now.st_mode):
        return FedFileState.OTHER
    if (now.st_size, now.st_mtime_ns) == (file.size_bytes, file.mtime_ns):
        return FedFileState.SAME
    has_grown = file.size_bytes is not None and now.st_size > file.size_bytes
    return (
        FedFileState.GROWN
        if has_grown and (now.st_dev, now.st_ino) == (file.dev, file.ino)
        else FedFileState.OTHER
    )


def _status_of(path: bytes, roots: Sequence[bytes]) -> os.stat_result | None:
    """Return the status; None: the file is not there, or no file can have this name (NUL).

    Raises:
        CaptureError: it lies outside of the roots, or behind a link.
    """
    try:
        root = root_of(path, roots)
        if root is None:
            return os.stat(path)  # noqa: PTH116 - bytes
        folder, base = open_folder_below(root, path)
        try:
            found = os.stat(base, dir_fd=folder, follow_symlinks=False)
        finally:
            os.close(folder)
    except (OSError, ValueError) as exc:
        if roots and isinstance(exc, OSError) and exc.errno in (errno.ELOOP, errno.ENOTDIR):
            raise CaptureError("is behind a link") from exc
        return None
    if stat.S_ISLNK(found.st_mode):
        raise CaptureError("is a link")
    return found
