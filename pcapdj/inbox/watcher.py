"""A watched folder: which of its files are complete and not yet handled.

`take_complete` returns a file in one of four cases:

- an event reported it complete;
- an event or a scan (the first one, every minute, after lost events) found it, and it then stayed the same
  for ten seconds;
- the first scan found it on a local disk, and no process has it open for writing;
- it was returned before, and postponed.

The folder may be missing, vanish and come back, as a mounted one does.
Handled files are remembered by name, size and modification time, so a rescan of a full folder costs one
stat(2) for each file; memory is bounded by what the folder has.

An unmounted folder is not an empty one: while its file system is away, or a part of it cannot be read,
nothing is forgotten.
"""

import errno
import os
import stat
import time
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from typing import NamedTuple

from pcapdj.capture.files import is_closed
from pcapdj.capture.roots import root_of
from pcapdj.inbox.folder import MOST_LEVELS, Folder, Statuses, is_hidden, list_folder
from pcapdj.inbox.inotify import FolderEvents, FolderListener
from pcapdj.inbox.settle import (
    BATCH_LIMIT_S,
    SETTLED_S,
    ArrivalBatch,
    FileState,
    WaitingFile,
    extend_batch,
    is_settled,
    updated,
)
from pcapdj.inbox.skipped import Skipped, SkipReason
from pcapdj.runtime.errors import CaptureError
from pcapdj.runtime.mount_list import present_mounts
from pcapdj.runtime.mounts import mount_of
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.signals import Waits, between

RESCAN_S = 60.0
_GONE = {errno.ENOENT, errno.ENOTDIR}


class InboxCounts(NamedTuple):
    """How many files of an inbox are not queued yet, or never will be.

    Args:
        waiting: they arrived, and are about to be queued.
        written: a process has them open for writing, or they changed a moment ago.
        skipped: by the label of the reason.
    """

    waiting: int
    written: int
    skipped: dict[str, int]


class Inbox:
    """One watched folder.

    Args:
        folder: its absolute path.
        recursive: include folders inside it.
        stops: a stop signal ends a look into the folder, with `Stopped`.
        roots: nothing outside of them is listed, watched or opened, and no link below them is followed.
    """

    def __init__(
        self, folder: bytes, *, recursive: bool, stops: Waits | None = None, roots: Sequence[bytes] = ()
    ) -> None:
        self.folder = folder
        self.problem = ""  # why arrivals may be missed: the rest of a sentence that begins with the folder
        self.skipped = Skipped()
        self._recursive = recursive
        self._stops = stops
        self._roots = roots
        self._statuses = Statuses(roots)
        self._mount = b""  # where its file system is mounted
        self._may_hang = True  # another machine may have it, and write to it
        self._inode: tuple[int, int] | None = None  # device and inode of the folder that is watched
        self._listener: FolderListener | None = None
        self._rescan_at_s = 0.0
        self._is_first_look = True
        self._arrived: set[bytes] = set()
        self._batch: ArrivalBatch | None = None
        self._waiting: dict[bytes, WaitingFile] = {}
        self._handled: dict[bytes, FileState] = {}

    @property
    def descriptors(self) -> list[int]:
        """What to poll for arrivals; empty while a batch arrives: its end is at `batch_ends_s`."""
        return [self._listener.fileno()] if self._listener and not self._batch else []

    @property
    def batch_ends_s(self) -> float | None:
        """When the batch that arrives now ends; None without one."""
        return self._batch.ends_s if self._batch else None

    def refresh(self, now_s: float) -> None:
        """Check that the folder exists, read its events, and rescan it if that is due.

        Raises:
            Stopped: a stop signal arrived; so does `take_complete`.
        """
        with closing(self._statuses):  # between two looks no descriptor keeps a disk from being unmounted
            self._refresh(now_s)

    def _refresh(self, now_s: float) -> None:
        inode = self._present_inode()
        if inode != self._inode or (self._listener and not self._listener.is_listening):
            self.close()
            self._inode = inode
        if inode is None:
            return
        if self._listener:
            self._read_events(self._listener.take_events(), now_s)
        if now_s >= self._rescan_at_s:
            self._listen()  # before the rescan, so that no file arrives unseen between the two
            self._rescan(now_s)

    def take_complete(self, now_s: float) -> dict[bytes, FileState]:
        """Return the complete files with their states; then call `mark_handled` or `postpone` for each."""
        if self._inode is None:
            return {}
        with closing(self._statuses):
            return self._taken(now_s)

    def _taken(self, now_s: float) -> dict[bytes, FileState]:
        settled = [name for name, waiting in self._waiting.items() if is_settled(waiting, now_s)]
        if self._rescan_at_s == now_s + RESCAN_S:  # it has just looked at each
            found = {name: self._waiting.pop(name).state for name in settled}
        else:
            unchanged = ((name, self._take_unchanged(name, now_s)) for name in between(settled, self._stops))
            found = {name: state for name, state in unchanged if state}
        if self._batch and now_s >= self._batch.ends_s:
            found |= self._take_batch(self._batch, now_s)
        for name, state in found.items():
            self._waiting.pop(name, None)
            if not state.size_bytes:  # closed without content; it is given once it has some
                self.mark_handled(name, state, SkipReason.EMPTY)
        return {name: state for name, state in found.items() if state.size_bytes}

    def mark_handled(self, name: bytes, state: FileState, skipped: SkipReason | None = None) -> None:
        """Do not give the file again while it has this state.

        Args:
            name: of the file.
            state: that it has.
            skipped: why it is not queued, if it is not.
        """
        self._handled[name] = state
        if skipped:
            self.skipped.add(name, skipped)
        else:
            self.skipped.remove(name)

    def postpone(self, name: bytes, state: FileState, now_s: float, *, is_written: bool = False) -> None:
        """Give the file again when it has kept this state for the settling time from now on."""
        self._waiting[name] = WaitingFile(state, now_s, is_written=is_written)

    def counts(self) -> InboxCounts:
        """Return how many files are not queued."""
        written = sum(1 for waiting in self._waiting.values() if waiting.is_written)
        waiting = len(self._arrived | self._waiting.keys()) - written
        return InboxCounts(waiting, written, self.skipped.counts())

    def forget_handled(self) -> None:
        """Give all files again, as if they were seen for the first time."""
        self._handled.clear()
        self._rescan_at_s, self._is_first_look = 0.0, True

    def close(self) -> None:
        """Stop listening, and forget what arrived."""
        if self._listener:
            self._listener.close()
        self._listener, self._batch = None, None
        self._arrived.clear()
        self._rescan_at_s, self._is_first_look = 0.0, True

    def _take_batch(self, batch: ArrivalBatch, now_s: float) -> dict[bytes, FileState]:
        """Return what arrived; nothing yet, if the folder has files that no event has reported so far.

        On a busy machine events come late: what was moved in together would become two batches, in a wrong
        order.
        """
        if now_s < batch.first_s + BATCH_LIMIT_S and self._has_unreported_files():
            self._batch = extend_batch(batch, now_s)
            return {}
        arrived = between(self._arrived, self._stops)
        found = {name: state for name in arrived if (state := self._state_of(name))}
        self._arrived, self._batch = set(), None
        return found

    def _has_unreported_files(self) -> bool:
        names = self._list().names
        unreported = set(names).difference(self._arrived, self._waiting, self._handled)
        return any(
            (state := self._state_of(name)) and state.size_bytes for name in between(unreported, self._stops)
        )

    def _take_unchanged(self, name: bytes, now_s: float) -> FileState | None:
        """Remove a waiting file; return its state unless it changed (then it waits again) or is gone."""
        state, before = self._state_of(name), self._waiting.pop(name)
        if state is None or state == before.state:
            return state
        self._waiting[name] = updated(before, state, now_s)
        return None

    def _listen(self) -> None:
        self.problem = ""
        try:
            if self._listener is None:
                self._listener = FolderListener(
                    self.folder,
                    recursive=self._recursive,
                    most_levels=MOST_LEVELS,
                    roots=self._roots,
                    stops=self._stops,
                )
        except OSError as exc:
            self.problem = f"is scanned once a minute only, because inotify is not available: {exc.strerror}"

    def _read_events(self, events: FolderEvents, now_s: float) -> None:
        complete = {name for name in events.complete if not self._is_hidden(name)}
        if complete:
            self._arrived |= complete
            self._batch = extend_batch(self._batch, now_s)
        for name in between(events.created - complete, self._stops):
            if not self._is_hidden(name) and (state := self._state_of(name)):
                self._wait_for(name, state, now_s)
        if events.are_incomplete:
            self._rescan_at_s = now_s

    def _state_of(self, name: bytes) -> FileState | None:
        return _state_of(name, self._statuses)

    def _list(self) -> Folder:
        return list_folder(self.folder, recursive=self._recursive, roots=self._roots, stops=self._stops)

    def _rescan(self, now_s: float) -> None:
        found = self._list()
        if found.errors:
            self.problem = f"cannot be read completely: {found.errors[-1].strerror}"
        present = set[bytes]()
        for name in between(found.names, self._stops):
            if (state := self._state_of(name)) and state.size_bytes:
                present.add(name)
                self._wait_for(name, state, now_s)
            elif state:
                found.skipped[name] = SkipReason.EMPTY
        self.skipped.update(found.skipped, present)
        unread = tuple(os.path.join(os.fsencode(each.filename), b"") for each in found.errors)  # noqa: PTH118 - bytes
        for remembered in (self._handled, self._waiting):
            for name in remembered.keys() - present:
                if not name.startswith(unread):
                    del remembered[name]
        self._rescan_at_s, self._is_first_look = now_s + RESCAN_S, False

    def _present_inode(self) -> tuple[int, int] | None:
        """Return device and inode of the folder; None: it is not there, which is a problem."""
        try:
            found = self._statuses.of_folder(self.folder)
        except OSError as exc:
            is_gone = exc.errno in _GONE
            self.problem = (
                "is missing, or is not a folder" if is_gone else f"cannot be looked into: {exc.strerror}"
            )
            return None
        inode = (found.st_dev, found.st_ino)
        return None if self._is_unmounted(inode) else inode

    def _is_unmounted(self, inode: tuple[int, int]) -> bool:
        """Report whether the folder of this device and inode is only that on which the inbox is mounted."""
        if self._inode and self._inode[0] == inode[0]:
            return False
        mounts = present_mounts()
        mount, self._may_hang = mount_of(self.folder, mounts)
        is_above = self._mount != mount and self._mount.startswith(os.path.join(mount, b""))  # noqa: PTH118 - bytes
        if is_above and mount_of(self._mount, mounts).place != self._mount:  # else a link was changed
            self.problem = (
                f"is not mounted: nothing is mounted at {quoted(self._mount)} any more."
                " If that is intended, restart the importer"
            )
            return True
        self._mount = mount
        return False

    def _wait_for(self, name: bytes, state: FileState, now_s: float) -> None:
        if self._handled.get(name) == state or name in self._arrived:
            return
        age_s = self._age_s(name, state) if self._is_first_look else 0.0
        self._waiting[name] = updated(self._waiting.get(name), state, now_s, age_s=age_s)

    def _age_s(self, name: bytes, state: FileState) -> float:
        """Return how long ago a file changed that was there before the first look.

        One that has just been closed need not wait: an importer that was killed may have seen it arrive, and
        what arrives from now on is not to be queued before it.
        """
        age_s = time.time() - state.mtime_ns / 1e9
        if age_s < SETTLED_S and self._inode and not self._may_hang:
            with suppress(CaptureError):  # it lies outside of the roots: it is not opened
                if is_closed(name, self._inode[0], root=root_of(name, self._roots)):
                    return SETTLED_S
        return age_s

    def _is_hidden(self, name: bytes) -> bool:
        return any(is_hidden(part) for part in name.removeprefix(self.folder).split(b"/"))


def states_of(names: Iterable[bytes], roots: Sequence[bytes] = ()) -> dict[bytes, FileState]:
    """Return the states of the files that can be seen; with roots no link is followed."""
    with closing(Statuses(roots)) as statuses:
        return {name: state for name in names if (state := _state_of(name, statuses))}


def _state_of(name: bytes, statuses: Statuses) -> FileState | None:
    """Return the file's state; None if it is gone or cannot be seen."""
    try:
        found = statuses.of(name)
    except OSError:
        return None
    return None if stat.S_ISLNK(found.st_mode) else FileState(found.st_size, found.st_mtime_ns)
