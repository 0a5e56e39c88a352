"""Whether the file of a journal's entry is still what was fed, and where it is if it is not there any more.

Size and time of the last write decide, as they do for the importer; device and inode only tell a file that
has grown from another one: a disk that is mounted again may number them anew.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

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


READABLE: Final = (FedFileState.SAME, FedFileState.GROWN, FedFileState.MOVED, FedFileState.COMPRESSED)
_HOW: Final = {"moved": FedFileState.MOVED, "compressed": FedFileState.COMPRESSED}  # in PCAPDJ_RECLAIMED


@dataclass(frozen=True, slots=True)
class Presence:
    """What became of a file that was fed.

    Args:
        state: in one word.
        path: where its bytes are; empty: nowhere that is known.
    """

    state: FedFileState
    path: bytes = b""

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
        }[self.state]


class Presences:
    """Looks at files that were fed; each name once.

    Args:
        store: the lane, for what pcapdj itself moved or removed; None: a run, which moves nothing.
    """

    def __init__(self, store: Store | None) -> None:
        self._store = store
        self._found: dict[tuple[bytes, int | None, int | None], Presence] = {}

    def of(self, file: FedFile) -> Presence:
        """Return what became of the file."""
        key = (file.name, file.size_bytes, file.mtime_ns)
        if key not in self._found:
            self._found[key] = self._look(file)
        return self._found[key]

    def _look(self, file: FedFile) -> Presence:
        found = _state_at(file.name, file)
        if found is FedFileState.SAME or found is FedFileState.GROWN:
            return Presence(found, file.name)
        record = self._record_of(file)
        if not record:
            return Presence(found)
        state, path = _HOW.get(str(record.get("how")), FedFileState.REMOVED), str(record.get("to") or "")
        if state is not FedFileState.REMOVED and not _is_file(to_name(path)):
            return Presence(FedFileState.MISSING)
        return Presence(state, to_name(path))

    def _record_of(self, file: FedFile) -> Mapping[str, Any]:
        """Return what pcapdj recorded when it made room; empty: nothing about this version of the file."""
        record = reclaimed(self._store, file.name) if self._store else None
        if record is None or (record.get("size_bytes"), record.get("mtime_ns")) != (
            file.size_bytes,
            file.mtime_ns,
        ):
            return {}
        return record


def _state_at(path: bytes, file: FedFile) -> FedFileState:
    now = _status_of(path)
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


def _is_file(path: bytes) -> bool:
    found = _status_of(path)
    return found is not None and stat.S_ISREG(found.st_mode)


def _status_of(path: bytes) -> os.stat_result | None:
    """Return the status; None: the file is not there, or no file can have this name (NUL)."""
    try:
        return os.stat(path)  # noqa: PTH116 - bytes
    except (OSError, ValueError):
        return None
