"""Which of the removable files the lanes of a Redis still want.

Several lanes may feed the same folder, each into its own analyzer. A file stays

    while its name, or another name of the same file, is queued or current in any lane,
    while its name is among the failed files of any lane,
    until each other lane that works on its folder has fed it whole, too.

A lane works on a folder if its importer watches it, or a folder above it; if it has queued or current files
in it; or if one of the files that may go has been fed in that lane. A lane that has not begun with a folder
cannot be seen: feed it, or start its importer, before files may go.

Folders and files are compared by their inodes, since two lanes may know them by different paths. A file
system that may hang is asked only if it has files that may go, then by whatever path a name leads there.
"""

import os
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from typing import Final, NamedTuple

from pcapdj.reclaim.selection import Candidate, FedRecord
from pcapdj.runtime.mounts import KeptWays
from pcapdj.store.client import Store
from pcapdj.store.lanes import LaneKeys, failed_names, fed_values, wanted_names, watched_folders

FileId = tuple[int, int]  # device and inode
_MOST_FOLDERS: Final = 10_000  # whose ids are kept

WANTED: Final = "queued again, or being fed"
FAILED: Final = "among the failed files"


class LaneInterest(NamedTuple):
    """Which of some files the lanes of a Redis still want.

    Args:
        reasons: of the files that stay, by name.
        records: by lane, the name and record under which it has fed a file, for its claim.
    """

    reasons: dict[bytes, str]
    records: dict[str, dict[bytes, tuple[bytes, bytes]]]


def interest_of(store: Store, lanes: Sequence[LaneKeys], files: Sequence[Candidate]) -> LaneInterest:
    """Return which of these files the lanes still want.

    Args:
        store: the lane that has processed the files.
        lanes: all lanes of its Redis, this one as well.
        files: that may go, as far as this lane is concerned.

    Raises:
        As `Store.call`.
    """
    with closing(_Index(files)) as index:
        return _interest_of(store, lanes, files, index)


def _interest_of(
    store: Store, lanes: Sequence[LaneKeys], files: Sequence[Candidate], index: "_Index"
) -> LaneInterest:
    reasons = dict[bytes, str]()
    records = dict[str, dict[bytes, tuple[bytes, bytes]]]()
    for lane in lanes:
        is_own = lane.name == store.keys.lane
        where = "" if is_own else f" in lane {lane.name!r}"
        worked = set[bytes]()
        for name in wanted_names(store, lane):
            worked |= index.folder_worked_on(name)
            if wanted := index.file_of(name):
                reasons.setdefault(wanted, f"{WANTED}{where}")
        names = [file.name for file in files]
        reasons |= dict.fromkeys(failed_names(store, lane, names), f"{FAILED}{where}") | reasons
        if is_own:
            continue
        fed = fed_values(store, lane, names)
        worked |= {os.path.dirname(name) for name in fed}  # noqa: PTH120 - bytes
        worked |= index.folders_below(watched_folders(store, lane))
        spellings = index.spellings(worked)
        fed |= fed_values(store, lane, [name for each in spellings.values() for name in each])
        records[lane.name] = {}
        for name, theirs in spellings.items():
            file = index.by_name[name]
            whole = next((each for each in theirs if _is_same(file, fed.get(each))), None)
            if whole is None:
                reasons.setdefault(
                    name, f"not fed whole yet in lane {lane.name!r}, which works on their folder"
                )
            else:
                records[lane.name][name] = (whole, fed[whole])
    return LaneInterest(reasons, records)


def _is_same(file: Candidate, value: bytes | None) -> bool:
    """Report whether another lane's record is about this file, fed whole."""
    record = FedRecord.from_value(value)
    return record is not None and record.identity[1:] == file.present.identity[1:]


class _Index:
    """Files by name, by inode, and by the inode of their folder."""

    def __init__(self, files: Sequence[Candidate]) -> None:
        self.by_name = {file.name: file for file in files}
        self._by_file = {file.present.identity[:2]: file.name for file in files}
        self._by_folder = defaultdict[FileId, list[bytes]](list)
        self._ids: dict[bytes, FileId | None] = {}
        self._ways = KeptWays({file.present.identity.dev for file in files})
        for name in self.by_name:
            if folder_id := self._id_of(os.path.dirname(name)):  # noqa: PTH120 - bytes
                self._by_folder[folder_id].append(name)

    def folder_worked_on(self, name: bytes) -> set[bytes]:
        """Return the folder of a queued name, if files are in it."""
        folder = os.path.dirname(name)  # noqa: PTH120 - bytes
        return {folder} if self._id_of(folder) in self._by_folder else set()

    def file_of(self, name: bytes) -> bytes | None:
        """Return the name of the file that a queued name leads to."""
        if name in self.by_name:
            return name
        if self._id_of(os.path.dirname(name)) is None:  # noqa: PTH120 - bytes
            return None
        try:
            # a link may lead to another disk than its folder's
            found = self._ways.status_in_folder(name) or self._ways.status(name)
        except (OSError, ValueError):
            return None
        return self._by_file.get((found.st_dev, found.st_ino)) if found else None

    def folders_below(self, watched: Sequence[bytes]) -> set[bytes]:
        """Return the folders of files that are one of these or below one, by the path through it."""
        ids = {found: path for path in watched if (found := self._id_of(path))}
        below = set[bytes]()
        for names in self._by_folder.values():
            folder = above = os.path.dirname(names[0])  # noqa: PTH120 - bytes
            while ids:
                if path := ids.get(self._id_of(above) or (0, 0)):
                    below.add(path.rstrip(b"/") + folder[len(above.rstrip(b"/")) :])
                if above in (b"/", b""):
                    break
                above = os.path.dirname(above)  # noqa: PTH120 - bytes
        return below

    def spellings(self, folders: set[bytes]) -> dict[bytes, list[bytes]]:
        """Return the files in these folders, each with the names that the folders' paths give it."""
        found = defaultdict[bytes, list[bytes]](list)
        for folder in folders:
            for name in self._by_folder.get(self._id_of(folder) or (0, 0), ()):
                base = os.path.basename(name)  # noqa: PTH119 - bytes
                found[name].append(os.path.join(folder, base))  # noqa: PTH118 - bytes
        return found

    def _id_of(self, folder: bytes) -> FileId | None:
        """Return a folder's device and inode; None: it is not there, or on another disk that may hang."""
        if folder not in self._ids:
            if len(self._ids) >= _MOST_FOLDERS:
                self._ids.clear()
            self._ids[folder] = self._looked_up(folder)
        return self._ids[folder]

    def _looked_up(self, folder: bytes) -> FileId | None:
        try:
            found = self._ways.status(folder)
        except (OSError, ValueError):
            return None
        return (found.st_dev, found.st_ino) if found else None

    def close(self) -> None:
        """Close the folders."""
        self._ways.close()
