"""Removes one capture, or moves it elsewhere, or compresses it. The same steps for all three.

    1 look      open it, bound to its inode; nothing has changed since it was planned, no process writes it
    2 prove     its checksum is that of what was fed. Where it is copied: so is the copy's, read back
    3 write     PCAPDJ_RECLAIMING has what is about to be done
    4 claim     in every lane: it is not wanted, and from here on no importer can queue it
    5 name      the copy, if there is one, gets its name beside its hidden one
    6 hide      the capture gets a hidden name, and under that is looked at again
    7 confirm   in every lane again: other programs push names without asking
    8 unlink    and the folder is written to the disk; the copy loses its hidden name
    9 release, write what became of it

Up to 7 everything can be undone, and is if a step fails. A process that dies leaves what step 3 wrote, for
`reclaim.recovery`. Steps 4 to 8 take milliseconds: in between, a dispatcher that takes a name which another
program has just pushed would find no file.
"""

import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from pcapdj.reclaim.bound_file import BoundFile
from pcapdj.reclaim.copying import COMPRESSED, Copy, copy_for
from pcapdj.reclaim.folder import Withheld
from pcapdj.reclaim.planning import Plan
from pcapdj.reclaim.proof import check_is_fed, is_compressed
from pcapdj.reclaim.selection import Candidate, Selected, known_record, record_of, with_claim
from pcapdj.runtime import failpoints
from pcapdj.runtime.errors import Stopped
from pcapdj.runtime.log import EventLog
from pcapdj.runtime.safe_text import quoted, to_name, to_text
from pcapdj.runtime.signals import Waits
from pcapdj.store import reclaims
from pcapdj.store.client import Store
from pcapdj.store.reclaims import Claim, Refused

events = EventLog("reclaim")
_HOW: Final = {"delete": "removed", "move": "moved", "compress": "compressed"}


@dataclass(frozen=True, slots=True)
class Removed:
    """What became of a capture.

    Args:
        file: which one.
        how: removed, moved or compressed.
        to: the path of its copy; empty: there is none.
        freed_bytes: on its disk.
    """

    file: Candidate
    how: str
    to: str
    freed_bytes: int

    @property
    def freed_inodes(self) -> int:
        """How many inodes of its disk it has freed; a compressed copy takes one."""
        return 0 if self.how == "compressed" else 1


class Remover:
    """Removes the files of a plan, one by one.

    Args:
        store: the lane.
        plan: which files, and what the other lanes want.
        selected: what is done with them.
        stops: a stop signal ends reading and copying; what was not begun to be unlinked stays.
    """

    def __init__(self, store: Store, plan: Plan, selected: Selected, stops: Waits) -> None:
        self._store = store
        self._plan = plan
        self._selected = selected
        self._stops = stops

    def remove(self, file: Candidate) -> Removed:
        """Remove a file, as far as it still is what was planned.

        Raises:
            Withheld: it stays, for this reason.
            Stopped: a stop signal arrived; it stays.
            As `Store.call`: it stays, or the next process writes down what became of it.
        """
        with closing(BoundFile(file, self._selected.roots)) as bound:
            if self._selected.how == "compress" and is_compressed(bound.file, self._stops):
                raise Withheld(COMPRESSED)
            if copy := copy_for(file, bound, self._selected):
                with closing(copy):
                    self._write(file, bound, copy)
                    removed = self._replace(file, bound, copy)
            else:
                check_is_fed(bound.file, file.fed, self._stops)
                removed = self._replace(file, bound, None)
        freed_bytes, to = removed.freed_bytes, removed.to or None
        events.info("reclaimed", name=file.name, how=removed.how, to=to, freed_bytes=freed_bytes)
        return removed

    def _write(self, file: Candidate, bound: BoundFile, copy: Copy) -> None:
        """Write the copy; what is left of one that fails is removed."""
        reclaims.begin(self._store, file.name, {"state": "copying", "copy": copy.as_fields()})
        try:
            with closing(copy.write(bound.file, self._stops)) as written:
                check_is_fed(written, file.fed, self._stops)
        except (Withheld, Stopped):
            copy.discard()
            reclaims.end(self._store, file.name, None)
            raise
        failpoints.reach("reclaim.copied")

    def _replace(self, file: Candidate, bound: BoundFile, copy: Copy | None) -> Removed:
        to, taken_bytes = (copy.to, copy.taken_bytes) if copy else ("", 0)
        removed = Removed(file, _HOW[self._selected.how], to, file.present.disk_bytes - taken_bytes)
        outcome = record_of(removed.how, file, removed.freed_bytes, to, time.time())
        claims, given = self._claims(file, reclaims.new_token()), list[Claim]()
        fields: dict[str, Any] = {
            "state": "begun",
            "identity": list(file.present.identity),
            "copy": copy.as_fields() if copy else None,
            "claims": [list(each) for each in claims.values()],
            "outcome": outcome,
        }
        reclaims.begin(self._store, file.name, fields)
        failpoints.reach("reclaim.begun")
        try:
            reclaims.claim_each(self._store, self._plan.lanes, claims, given)
            failpoints.reach("reclaim.claimed")
            self._hide(file, bound, copy)
            reclaims.begin(self._store, file.name, {**fields, "state": "removing"})
            reclaims.confirm(self._store, given)  # as late as can be
            failpoints.reach("reclaim.confirmed")
            _unlink(bound, copy)
        except (Withheld, Refused) as exc:
            self._undo(file, bound, copy, given)
            raise Withheld(str(exc)) from exc
        except BaseException:
            bound.put_back()  # Redis does not answer, or an error of ours: the next process does the rest
            raise
        failpoints.reach("reclaim.unlinked")
        if copy:
            copy.complete()
        reclaims.release(self._store, given)
        failpoints.reach("reclaim.released")
        reclaims.end(self._store, file.name, outcome)
        failpoints.reach("reclaim.ended")
        return removed

    def _hide(self, file: Candidate, bound: BoundFile, copy: Copy | None) -> None:
        """Give the copy its name, then the capture its hidden one."""
        bound.check_unchanged()
        if copy:
            self._name(file, copy)
        bound.hide()
        failpoints.reach("reclaim.hidden")

    def _name(self, file: Candidate, copy: Copy) -> None:
        """Give the copy its name; a compressed one is known from the first instant, and not fed again."""
        if self._selected.how == "compress":
            record = known_record(file, copy.status().identity)
            reclaims.write_fed(self._store, to_name(copy.to), record)
        copy.give_name()
        failpoints.reach("reclaim.named")

    def _undo(self, file: Candidate, bound: BoundFile, copy: Copy | None, given: list[Claim]) -> None:
        """Put the file back. Where its name is taken by now, it stays hidden, and Redis keeps that."""
        reason = bound.put_back()
        reclaims.release(self._store, given)
        if reason:
            sentence = f"It is kept as {quoted(bound.hidden)}: {reason}."
            events.error("reclaim_kept_hidden", sentence, name=file.name)
            return
        if copy:
            copy.discard()
        reclaims.end(self._store, file.name, None)

    def _claims(self, file: Candidate, token: str) -> Mapping[str, Claim]:
        """Return the claim for each lane, by the lane's name."""
        claims = dict[str, Claim]()
        for lane in self._plan.lanes:
            records = self._plan.interest.records.get(lane.name, {})
            of_own = (file.name, file.fed.value) if lane.name == self._store.keys.lane else (file.name, b"")
            name, before = records.get(file.name, of_own)
            during = with_claim(before, token) if before else b""
            parts = (to_text(each) for each in (name, before, during))
            claims[lane.name] = Claim(lane.name, "", *parts)
        return claims


def _unlink(bound: BoundFile, copy: Copy | None) -> None:
    """Remove the capture, if the copy that replaces it has its name."""
    if copy:
        copy.check_named()
    bound.unlink()
