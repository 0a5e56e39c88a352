"""Lists which files of a lane may be removed now: from PROCESSED, records, files, and other lanes.

Nothing is changed here. Hours may pass until a file is removed, so each is checked again when its turn comes
(`reclaim.removal`).
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from pcapdj.reclaim.folder import UNREADABLE, Withheld, look
from pcapdj.reclaim.lanes import LaneInterest, interest_of
from pcapdj.reclaim.selection import (
    NEWEST,
    NOT_SHORT,
    NOT_WHOLE,
    Candidate,
    FedRecord,
    KeepRules,
    Needs,
    Newest,
    Present,
    Selected,
)
from pcapdj.runtime.mounts import KeptWays
from pcapdj.runtime.safe_text import to_name
from pcapdj.store.bounded import read_list
from pcapdj.store.client import Store
from pcapdj.store.lanes import LaneKeys, fed_values, lanes_of, open_streams, suspect_streams
from pcapdj.store.reclaims import copies

_PAGE: Final = 1000
_MOST_FILES: Final = 20_000  # the oldest ones, of which one round chooses


@dataclass(frozen=True, slots=True)
class Plan:
    """Which files may go, and why the others stay.

    Args:
        files: that may go, the oldest first.
        withheld: how many stay, by reason.
        gone: how many processed files are not there any more.
        devices: of the disks that have processed files.
        lanes: of the Redis.
        interest: what they want.
    """

    files: Sequence[Candidate]
    withheld: Counter[str]
    gone: int
    devices: frozenset[int]
    lanes: Sequence[LaneKeys]
    interest: LaneInterest


@dataclass(slots=True)
class _Found:
    """The files looked at so far."""

    newest: Newest
    suspects: set[str]
    checked_streams: set[str] = field(default_factory=set)
    withheld: Counter[str] = field(default_factory=Counter)
    gone: int = 0
    devices: set[int] = field(default_factory=set)


Follow = Callable[[Iterator[list[bytes]]], Iterator[list[bytes]]]


def plan(store: Store, selected: Selected, needs: Needs, now_s: float, follow: Follow = iter) -> Plan:
    """Look at all processed files of a lane.

    Args:
        store: the lane.
        selected: what the options choose.
        needs: of the disks; files on other disks stay.
        now_s: seconds since the epoch.
        follow: yields the parts of PROCESSED that it is given, and sees how far the look at them is.

    Raises:
        As `Store.call`.
    """
    lanes = lanes_of(store)
    streams = open_streams(store, lanes[0])
    suspects = set[str]()
    rules = KeepRules(selected.keep_last, selected.keep_within_s, streams, suspects)
    found = _Found(Newest(rules), suspects)
    seen = _candidates(store, lanes[0], selected.roots, found, follow(_pages(store)))
    may_go = _allowed(seen, rules, needs, found, now_s)
    files = heapq.nsmallest(_MOST_FILES, may_go, key=lambda each: each.age_key)
    newest = found.newest.names
    found.withheld[NEWEST] += sum(each.name in newest for each in files)
    files = [each for each in files if each.name not in newest]
    interest = interest_of(store, lanes, files)
    found.withheld.update(interest.reasons.values())
    files = [each for each in files if each.name not in interest.reasons]
    return Plan(files, +found.withheld, found.gone, frozenset(found.devices), lanes, interest)


def _allowed(
    seen: Iterable[Candidate], rules: KeepRules, needs: Needs, found: _Found, now_s: float
) -> Iterator[Candidate]:
    """Yield the candidates that may go, unless they are among the newest, or a lane wants them."""
    for file in seen:
        reason = rules.reason_to_stay(file, now_s)
        if not reason and not needs.has(file.present.identity.dev):
            reason = NOT_SHORT
        if reason:
            found.withheld[reason] += 1
        else:
            yield file


def _candidates(
    store: Store, lane: LaneKeys, roots: tuple[bytes, ...], found: _Found, pages: Iterable[list[bytes]]
) -> Iterator[Candidate]:
    """Yield the processed files that are there and were fed whole; each name once."""
    seen = set[bytes]()
    for names in pages:
        store.check_stop()
        with closing(KeptWays()) as ways:
            there = _there(names, seen, roots, found, ways)
        seen |= there.keys()
        found.devices |= {present.identity.dev for present in there.values()}
        values = fed_values(store, lane, there)
        records = {name: fed for name in there if (fed := FedRecord.from_value(values.get(name)))}
        found.withheld[NOT_WHOLE] += len(there) - len(records)
        streams = {stream for fed in records.values() for stream in fed.streams} - found.checked_streams
        found.suspects |= suspect_streams(store, lane, streams)
        found.checked_streams |= streams
        for name, fed in records.items():
            found.newest.add(name, fed)
            yield Candidate(name, fed, there[name])


def _pages(store: Store) -> Iterator[list[bytes]]:
    """Yield the processed names in parts, then those of the compressed copies that replaced some."""
    yield from read_list(store, store.keys.processed)
    others = map(to_name, copies(store))
    while names := list(islice(others, _PAGE)):
        yield names


def _there(
    names: Sequence[bytes], seen: set[bytes], roots: tuple[bytes, ...], found: _Found, ways: KeptWays
) -> Mapping[bytes, Present]:
    """Return the files that are there and could be removed, by name."""
    there = dict[bytes, Present]()
    for name in dict.fromkeys(names):
        if name in seen:
            continue
        try:
            ways.status_in_folder(name)  # most are gone: that costs less than the way from the root
            there[name] = look(name, roots)
        except (FileNotFoundError, NotADirectoryError):
            found.gone += 1
        except (OSError, ValueError):
            found.withheld[UNREADABLE] += 1
        except Withheld as exc:
            found.withheld[str(exc)] += 1
    return there
