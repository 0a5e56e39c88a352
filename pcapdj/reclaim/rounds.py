"""One round: recover what an earlier process left, find removable files, and remove as many as needed.

How much has to become free is measured once, at the beginning, and the size of each removed file is
subtracted. It would be wrong to measure again after each file: a file system may free blocks later, or never
if a snapshot or another process still has the file. Then one round would remove all captures.
"""

import os
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pcapdj.reclaim.folder import FolderLocked, Withheld
from pcapdj.reclaim.planning import Follow, Plan, plan
from pcapdj.reclaim.recovery import MOST_NOTES, recover
from pcapdj.reclaim.removal import Removed, Remover
from pcapdj.reclaim.selection import Candidate, Need, Needs, Selected, oldest_for, previewed
from pcapdj.runtime.log import EventLog
from pcapdj.runtime.signals import Waits
from pcapdj.store.client import Store
from pcapdj.store.reclaims import forget_old

events = EventLog("reclaim")
_MOST_REFUSALS: Final = 1000  # files of a user in a round that turn out to be others than planned
TOO_MANY: Final = "behind too many of their owner that turned out to be others than planned"


class Disk(NamedTuple):
    """A watched disk that is to get room.

    Args:
        path: a path on it.
        device: its number.
        free_bytes, free_inodes: how much is to be free.
    """

    path: str
    device: int
    free_bytes: int
    free_inodes: int

    def need(self) -> Need:
        """Return how much has to become free.

        Raises:
            OSError: it cannot be measured.
        """
        found = os.statvfs(self.path)
        return Need(self.free_bytes - found.f_bavail * found.f_frsize, self.free_inodes - found.f_favail)


@dataclass(slots=True)
class Round:
    """What a round found and did.

    Args:
        plan: which files may go, and why the others stay.
        needs: what is missing on each disk now.
        chosen: the files that would go.
        removed: what became of those that went.
        refused: how many turned out not to be what was planned, by reason.
        notes: sentences about files that need a person.
    """

    plan: Plan
    needs: Needs
    chosen: Sequence[Candidate] = ()
    removed: list[Removed] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    @property
    def withheld(self) -> Counter[str]:
        """How many processed files stay, by reason."""
        return self.plan.withheld + self.refused

    @property
    def freed_bytes(self) -> int:
        """What the removed files took on their disks."""
        return sum(each.freed_bytes for each in self.removed)


def previewed_round(store: Store, selected: Selected, disks: Sequence[Disk], follow: Follow = iter) -> Round:
    """Return what a round would do; change nothing.

    Args:
        store: the lane.
        selected: what the options choose.
        disks: that are to get room.
        follow: as that of `plan`.

    Raises:
        As `Store.call`.
    """
    needs = needs_of(disks)
    planned = plan(store, selected, needs, time.time(), follow)
    return Round(planned, needs, chosen=previewed(planned.files, needs.left))


def run_round(
    store: Store, selected: Selected, disks: Sequence[Disk], stops: Waits, follow: Follow = iter
) -> Round:
    """Recover what an earlier process left, then remove files until each disk has room.

    Args:
        store: the lane.
        selected: what the options choose.
        disks: that are to get room.
        stops: a stop signal ends the round behind the file that is being unlinked.
        follow: as that of `plan`.

    Raises:
        Stopped: a stop signal arrived.
        As `Store.call`.
    """
    notes = recover(store, selected, stops)
    forget_old(store, time.time())
    needs = needs_of(disks)
    planned = plan(store, selected, needs, time.time(), follow)
    result = Round(planned, needs, notes=notes)
    remover = Remover(store, planned, selected, stops)
    locked, refusals = dict[bytes, str](), Counter[int]()
    for file in oldest_for(planned.files, needs):
        stops.wait(0)
        folder = os.path.dirname(file.name)  # noqa: PTH120 - bytes
        is_over = refusals[file.present.owner] >= _MOST_REFUSALS
        if is_over or folder in locked:  # those of others are not concerned
            result.refused[TOO_MANY if is_over else locked[folder]] += 1
            continue
        try:
            removed = remover.remove(file)
        except Withheld as exc:
            result.refused[exc.message] += 1
            events.info("reclaim_withheld", name=file.name, reason=exc.message)
            if isinstance(exc, FolderLocked):
                locked[folder] = exc.message
            else:
                refusals[file.present.owner] += 1
            if exc.hint and exc.hint not in result.notes and len(result.notes) < 2 * MOST_NOTES:
                result.notes.append(exc.hint)
                events.warning("reclaim_refused_folder", exc.hint, name=file.name)
            continue
        result.removed.append(removed)
        needs.subtract(file.present.identity.dev, removed.freed_bytes, removed.freed_inodes)
    return result


def needs_of(disks: Sequence[Disk]) -> Needs:
    """Return what has to become free; a disk that cannot be measured needs nothing."""
    needs = Needs()
    for disk in disks:
        with suppress(OSError):
            needs.left[disk.device] = disk.need()
    return needs
