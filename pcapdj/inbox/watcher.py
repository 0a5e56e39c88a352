"""A watched folder: which of its files are complete and not yet handled.

Three ways lead to `due`: an event said that the file is complete; a rescan (at first, every minute, after
lost events) or an event found it and it then stayed as it was for ten seconds; it was due and postponed. The
folder may be missing, vanish and come back, as a mounted one does. What was handled is remembered by name,
size and modification time, so that a rescan of a full folder costs one stat a file; memory is bounded by what
lies there.
"""

import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from pcapdj.inbox.inotify import Arrivals, Arrived
from pcapdj.inbox.listing import files_below, is_hidden
from pcapdj.inbox.settle import Batch, FileState, Sighting, is_settled, joined, seen

RESCAN_S = 60.0


class Listen(Protocol):
    """Begins to listen to a folder, such as `Arrivals` does."""

    def __call__(self, folder: bytes, /, *, recursive: bool) -> Arrivals:
        """Return the arrivals from now on."""


class Inbox:
    """One watched folder.

    Args:
        folder: its absolute path.
        recursive: folders within it belong to it.
        listen: how to hear of arrivals; raises OSError where that is not to be had.
        clock: seconds since 1970, to tell the age of files at the first look.
    """

    def __init__(
        self,
        folder: bytes,
        *,
        recursive: bool,
        listen: Listen = Arrivals,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = folder
        self.problem = (
            ""  # why not everything is seen now: the rest of a sentence that begins with the folder
        )
        self._recursive = recursive
        self._listen_to = listen
        self._clock = clock
        self._place: tuple[int, int] | None = None  # device and inode of the folder that is watched
        self._arrivals: Arrivals | None = None
        self._rescan_at_s = 0.0
        self._is_first_look = True
        self._arrived: set[bytes] = set()
        self._batch: Batch | None = None
        self._waiting: dict[bytes, Sighting] = {}
        self._handled: dict[bytes, FileState] = {}

    @property
    def descriptors(self) -> list[int]:
        """What to poll on for arrivals; nothing while a batch is coming in, which `ends_s` ends."""
        return [self._arrivals.fileno()] if self._arrivals and not self._batch else []

    @property
    def batch_ends_s(self) -> float | None:
        """When the batch that is coming in is over; None without one."""
        return self._batch.ends_s if self._batch else None

    def refresh(self, now_s: float) -> None:
        """Look whether the folder is there, hear what arrived in it, and rescan it if that is due."""
        place = _place_of(self.folder)
        if place != self._place or (self._arrivals and not self._arrivals.is_listening):
            self._leave()
            self._place = place
        if place is None:
            self.problem = "is missing or no folder"
            return
        if self._arrivals:
            self._note(self._arrivals.take(), now_s)
        if now_s >= self._rescan_at_s:
            self._listen()  # before the look, so that nothing falls between the two
            self._rescan(now_s)

    def due(self, now_s: float) -> dict[bytes, FileState]:
        """Return the names that may be taken, as they look now.

        What becomes of each is told by `handled` or `postpone`.
        """
        settled = [name for name, sighting in self._waiting.items() if is_settled(sighting, now_s)]
        found = {name: state for name in settled if (state := self._unchanged(name, now_s))}
        if self._batch and now_s >= self._batch.ends_s:
            found |= {name: state for name in self._arrived if (state := _state_of(name))}
            self._arrived, self._batch = set(), None
        for name, state in found.items():
            self._waiting.pop(name, None)
            if not state.size_bytes:  # closed without content: its turn comes with that
                self.handled(name, state)
        return {name: state for name, state in found.items() if state.size_bytes}

    def handled(self, name: bytes, state: FileState) -> None:
        """Leave the file alone until it looks different."""
        self._handled[name] = state

    def postpone(self, name: bytes, state: FileState, now_s: float) -> None:
        """Give the file again when it has stayed like that for the settling time from now on."""
        self._waiting[name] = Sighting(state, now_s)

    def close(self) -> None:
        """Stop watching."""
        self._leave()

    def _unchanged(self, name: bytes, now_s: float) -> FileState | None:
        """Return how a waiting file looks if that is as it did before, else None: it waits on, or is gone."""
        state, before = _state_of(name), self._waiting.pop(name)
        if state is None or state == before.state:
            return state
        self._waiting[name] = seen(before, state, now_s)
        return None

    def _leave(self) -> None:
        if self._arrivals:
            self._arrivals.close()
        self._arrivals, self._batch = None, None
        self._arrived.clear()
        self._rescan_at_s, self._is_first_look = 0.0, True

    def _listen(self) -> None:
        self.problem = ""
        try:
            self._arrivals = self._arrivals or self._listen_to(self.folder, recursive=self._recursive)
        except OSError as exc:
            self.problem = f"is looked at once a minute only, since inotify is not to be had ({exc.strerror})"

    def _note(self, arrived: Arrived, now_s: float) -> None:
        complete = {name for name in arrived.complete if not self._is_hidden(name)}
        if complete:
            self._arrived |= complete
            self._batch = joined(self._batch, now_s)
        for name in arrived.begun - complete:
            if not self._is_hidden(name) and (state := _state_of(name)):
                self._wait_for(name, state, now_s)
        if arrived.is_overflown:
            self._rescan_at_s = now_s

    def _rescan(self, now_s: float) -> None:
        present = set()
        for name in files_below(self.folder, recursive=self._recursive, unreadable=self._blame):
            if state := _state_of(name):
                present.add(name)
                self._wait_for(name, state, now_s)
        for known in (self._handled, self._waiting):
            for name in known.keys() - present:
                with suppress(KeyError):
                    del known[name]
        self._rescan_at_s, self._is_first_look = now_s + RESCAN_S, False

    def _wait_for(self, name: bytes, state: FileState, now_s: float) -> None:
        if self._handled.get(name) == state or name in self._arrived:
            return
        credit_s = self._clock() - state.mtime_ns / 1e9 if self._is_first_look else 0.0
        self._waiting[name] = seen(self._waiting.get(name), state, now_s, credit_s=credit_s)

    def _blame(self, error: OSError) -> None:
        self.problem = f"cannot be read whole ({error.strerror})"

    def _is_hidden(self, name: bytes) -> bool:
        inner = name.removeprefix(self.folder).split(b"/")
        return any(is_hidden(part) for part in inner)


def _place_of(folder: bytes) -> tuple[int, int] | None:
    try:
        found = os.stat(folder)  # noqa: PTH116 - bytes
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISDIR(found.st_mode) else None


def _state_of(name: bytes) -> FileState | None:
    """Return how the file looks now; None if it is gone or cannot be seen."""
    try:
        found = os.stat(name)  # noqa: PTH116 - bytes
    except OSError:
        return None
    return FileState(found.st_size, found.st_mtime_ns)
