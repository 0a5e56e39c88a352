"""Finishes or undoes what a process left that died while it removed captures.

Redis has what was begun (PCAPDJ_RECLAIMING), the folder what was done. `NAME` is the capture, `hidden` its
second name.

    Redis has    the folder has     then
    copying      NAME               what there is of the copy under its hidden name is removed
    begun        hidden             it gets its name again, or has it already, too; the copy is removed
    begun        NAME               the copy is removed
    removing     hidden             as above
    removing     neither            it was unlinked: what became of it is written, the copy has one name only
    any          hidden, and NAME   another file has the name by now. `removing`: the hidden one is unlinked,
                 is another file    since it was about to be; else it stays, and that is reported

A copy in a folder that another user can change by now (`reclaim.target`) is left as it is, and reported by
each round until the folder is mended. The capture is put back all the same.

What Redis has may be written by any program. So a hidden capture is unlinked only if it is what PCAPDJ_FED
has as fed whole: by inode, size, time, and the checksum of all its bytes, as in every round. And a copy that
has its name already is removed only beside the capture, and only while the copy's hidden name leads to the
same file (`reclaim.copying`): what was moved or compressed for good, and what others have copied, stays.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from typing import Any, Final, NamedTuple

from pcapdj.capture.compressing import SUFFIX
from pcapdj.capture.files import OpenFile, has_writer, open_in
from pcapdj.reclaim.bound_file import put_back
from pcapdj.reclaim.copying import complete, discard, inode_at
from pcapdj.reclaim.folder import (
    PREFIX,
    Withheld,
    folder_of,
    hidden_copy,
    hidden_moved,
    lock_folder,
    status_of,
)
from pcapdj.reclaim.proof import check_is_fed
from pcapdj.reclaim.selection import FedRecord, Present, Selected, without_claim
from pcapdj.reclaim.target import Missing, target_of
from pcapdj.runtime.errors import CannotCreate, CaptureError
from pcapdj.runtime.log import EventLog
from pcapdj.runtime.numbers import counted
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.signals import Waits, between
from pcapdj.store import reclaims
from pcapdj.store.bounded import read_hash
from pcapdj.store.client import Store

MOST_NOTES: Final = 10  # that screens show

events = EventLog("reclaim")
_AWAY: Final = "its folder is not there, or lies outside of the roots"


def recover(store: Store, selected: Selected, stops: Waits) -> list[str]:
    """Finish or undo what is left of earlier processes; return a sentence for each file that needs a person.

    Of more than `MOST_NOTES` the number is the last sentence: Redis may have millions, of any program.

    Paths come from the options only.

    Args:
        store: the lane.
        selected: the roots, and the target of `move`.
        stops: a stop signal ends it, and the reading of a file; that one is not unlinked then.

    Raises:
        Stopped: a stop signal arrived.
        As `Store.call`.
    """
    sentences, more = list[str](), 0
    for name, fields in between(reclaims.unfinished(store), stops):
        if not (sentence := _recovered(store, name, fields, selected, stops)):
            continue
        if len(sentences) < MOST_NOTES:
            sentences.append(sentence)
        else:
            more += 1
    return [*sentences, *([f"The same of {counted(more, 'more file')}."] if more else [])]


def _recovered(store: Store, name: bytes, fields: Mapping[str, Any], selected: Selected, stops: Waits) -> str:
    """Finish or undo the removal of one file; return what a person should know, if there is something."""
    try:
        folder, base = folder_of(name, selected.roots)
    except (FileNotFoundError, Withheld):
        return f"{quoted(name)} was being removed, and cannot be looked at: {_AWAY}."
    lock = -1
    try:
        lock = lock_folder(folder)
        if not reclaims.is_unfinished(store, name, fields):  # the process that has it lives, and has gone on
            return ""
        return _recover_one(store, Unfinished(name, fields, folder, base), selected, stops)
    except Withheld as exc:
        return f"{quoted(name)} was being removed, and is {exc}."
    except OSError as exc:
        return f"{quoted(name)} was being removed, and cannot be looked at: {exc.strerror}."
    except CannotCreate as exc:
        reclaims.release(store, reclaims.claims_of(fields))
        return f"What is left of the copy of {quoted(name)} cannot be looked at. {exc}"
    finally:
        os.close(folder)
        if lock >= 0:
            os.close(lock)


class Unfinished(NamedTuple):
    """A removal that was begun.

    Args:
        name: of the capture.
        fields: what Redis has.
        folder: its folder, open.
        base: its name there.
    """

    name: bytes
    fields: Mapping[str, Any]
    folder: int
    base: bytes


def _recover_one(store: Store, unfinished: Unfinished, selected: Selected, stops: Waits) -> str:
    name, fields, folder, base = unfinished
    is_removing = fields.get("state") == "removing"
    inode = _inode_of(fields.get("identity"))
    hidden, there = inode_at(folder, PREFIX + base), inode_at(folder, base)
    outcome: Mapping[str, Any] | None = None
    if hidden is not None and (reason := put_back(folder, base)):
        if not is_removing or hidden != inode or not _is_fed(store, unfinished, stops):
            reclaims.release(store, reclaims.claims_of(fields))
            sentence = f"{quoted(PREFIX + base)} is the capture {quoted(name)}: {reason}."
            events.error("reclaim_kept_hidden", sentence, name=name)
            return sentence
        os.unlink(PREFIX + base, dir_fd=folder)
        outcome = _outcome_of(fields)
    elif hidden is None and is_removing and there != inode:
        outcome = _outcome_of(fields)
    elif inode in (hidden, there) or fields.get("state") == "copying":
        _end_copy(unfinished, selected, _discard_beside(_status_at(folder, base)))
    _end_copy(unfinished, selected, complete)
    reclaims.release(store, reclaims.claims_of(fields))
    reclaims.end(store, name, outcome)
    events.info("reclaim_recovered", name=name, is_removed=outcome is not None)
    return ""


def _is_fed(store: Store, unfinished: Unfinished, stops: Waits) -> bool:
    """Report whether the hidden file is what FED has as fed whole, and does not change meanwhile."""
    name, hidden = unfinished.name, PREFIX + unfinished.base
    fed = FedRecord.from_value(without_claim(read_hash(store, store.keys.fed, [name]).get(name)))
    if fed is None:
        return False
    try:
        with closing(OpenFile(open_in(unfinished.folder, hidden))) as file:
            present = Present.of(file.status())
            if present.identity[1:] != fed.identity[1:] or has_writer(file.descriptor):
                return False
            check_is_fed(file, fed, stops)
            return Present.of(status_of(unfinished.folder, hidden)) == present == Present.of(file.status())
    except (CaptureError, Withheld):
        return False


def _outcome_of(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    outcome = fields.get("outcome")
    return outcome if isinstance(outcome, dict) else {"how": "removed"}


def _end_copy(unfinished: Unfinished, selected: Selected, end: Callable[[int, bytes, bytes], None]) -> None:
    """Call this with the folder, the hidden name and the name that the copy has, or would have."""
    compressed = unfinished.base + SUFFIX
    end(unfinished.folder, hidden_copy(compressed), compressed)
    if selected.how == "move":
        with suppress(Missing):
            folder, base, _ = target_of(unfinished.name, selected, makes_folders=False)
            try:
                end(folder, hidden_moved(base, unfinished.name, unfinished.folder), base)
            finally:
                os.close(folder)


def _discard_beside(capture: os.stat_result | None) -> Callable[[int, bytes, bytes], None]:
    """Return what removes a copy; under its own name only if its times are those of the capture."""

    def end(folder: int, hidden: bytes, name: bytes) -> None:
        found = _status_at(folder, hidden)
        is_whole = found is not None and capture is not None and found.st_mtime_ns == capture.st_mtime_ns
        discard(folder, hidden, name, found.st_ino if found is not None and is_whole else None)

    return end


def _status_at(folder: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _inode_of(identity: object) -> int | None:
    return identity[1] if isinstance(identity, list) and len(identity) > 1 else None
