"""The files that could not be fed whole: what FAILED has about them, and how they leave it.

FAILED is a list, for people and foreign programs; FAILED_NAMES finds an entry by its name. An entry about a
*lost* capture, whose file has been overwritten, is in the list only: nothing can be fed again. The list may
be longer than what fits into memory, and is read in pages. To remove an entry, Redis compares all from one
end of the list up to it. So commands that remove many begin at the head.
"""

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pcapdj.runtime.errors import PcapdjError
from pcapdj.runtime.foreign_json import decode_object
from pcapdj.runtime.safe_text import quoted, to_name, to_text
from pcapdj.store.bounded import ENTRY_LIMIT_BYTES, Track, read_entries, read_hash, read_list, read_page
from pcapdj.store.client import Store
from pcapdj.store.keys import AGAIN

REASON_LIMIT_CHARS: Final = 4000  # ours have some hundred at most
_CHUNK: Final = 100  # entries in one call
_LATER: Final = -5  # the script has done enough for one call
_RECLAIMING: Final = -6  # the file is being removed, which takes milliseconds


@dataclass(frozen=True, slots=True)
class Failure:
    """One entry of PCAPDJ_FAILED.

    Args:
        entry: the bytes in the list.
        name: the file's; None if the entry cannot be read.
        reason: a sentence.
        fields: all of the entry; empty if it cannot be read.
    """

    entry: bytes
    name: bytes | None
    reason: str
    fields: dict[str, Any]

    @property
    def is_lost(self) -> bool:
        """Report whether it is about a capture that is not there any more."""
        return self.fields.get("lost") is True


def newest_failures(store: Store, most: int) -> list[Failure]:
    """Return the newest failed files, at most `most`, oldest first.

    Raises:
        As `Store.call`; so do all functions here.
    """
    return [_failure(entry) for entry in read_entries(store, store.keys.failed, -most, -1)]


def failures_length(store: Store) -> int:
    """Return how many entries FAILED has."""
    return int(store.call(lambda client: client.llen(store.keys.failed)))


def all_failures(store: Store, track: Track = lambda _: None) -> Iterator[Failure]:
    """Yield the failed files, oldest first; after each call of Redis `track` is called with how many."""
    for entries in read_list(store, store.keys.failed):
        yield from map(_failure, entries)
        track(len(entries))


def failures_of(store: Store, names: Sequence[bytes]) -> list[Failure]:
    """Return the entries of these files, those about lost captures aside."""
    found = read_hash(store, store.keys.failed_names, names, longest_bytes=ENTRY_LIMIT_BYTES) if names else {}
    return [_failure(found[name]) for name in dict.fromkeys(names) if name in found]


def requeue_failures(store: Store, failures: Iterable[Failure]) -> int:
    """Move failed files to the queue's end, in this order; return how many were moved.

    Entries that are gone, have no name, or are about a lost capture, are not.
    """
    return sum(
        requeue_entries(store, store.keys.failed, [_pair(each) for each in failures if _is_there(each)])
    )


def requeue_all_failures(store: Store, track: Track = lambda _: None) -> tuple[int, int]:
    """Move all failed files to the queue's end, in the order in which they failed.

    What fails meanwhile is left there; so are entries about lost captures.

    Args:
        store: the lane.
        track: is called with how many entries were looked at, again and again.

    Returns:
        How many were moved, and how many should have been.
    """
    moved = chosen = place = 0
    left = failures_length(store)
    while left > 0 and (entries := read_page(store, store.keys.failed, place, min(left, _CHUNK))):
        left -= len(entries)
        track(len(entries))
        wanted = [each for each in map(_failure, entries) if not each.is_lost]
        gone = requeue_failures(store, wanted)
        moved, chosen, place = moved + gone, chosen + len(wanted), place + len(entries) - gone
    return moved, chosen


def forget_lost(store: Store, names: Sequence[bytes] | None, track: Track = lambda _: None) -> int:
    """Remove the entries about lost captures; return how many there were.

    Args:
        store: the lane.
        names: of these files; None: all.
        track: as of `requeue_all_failures`.
    """
    removed = place = 0
    left = failures_length(store)
    while left > 0 and (entries := read_page(store, store.keys.failed, place, left)):
        left -= len(entries)
        track(len(entries))
        lost = [each for each in map(_failure, entries) if each.is_lost and (not names or each.name in names)]
        gone = sum(store.run("forget_entry", [store.keys.failed], [each.entry]) for each in lost)
        removed, place = removed + gone, place + len(entries) - gone
    return removed


def requeue_entries(store: Store, source: str, pairs: Sequence[tuple[bytes, bytes]]) -> list[bool]:
    """Move entries of PROCESSED or FAILED to the queue's end; report for each whether it was there.

    Args:
        store: the lane.
        source: the list's key.
        pairs: entry and name of each file.

    Raises:
        PcapdjError: a file is being removed, to make room.
    """
    keys, moved = store.keys, list[bool]()
    places = [source, keys.in_queue, keys.queued, keys.failed, keys.failed_names, keys.fed, keys.channel]
    while rest := pairs[len(moved) : len(moved) + _CHUNK]:
        answers = store.run("requeue", places, [AGAIN, _mark(), *(part for pair in rest for part in pair)])
        done = answers.index(_LATER) if _LATER in answers else len(answers)
        if _RECLAIMING in answers:
            name = rest[answers.index(_RECLAIMING)][1]
            raise PcapdjError(f"{quoted(name)} is being removed, to make room.", hint="Try it again.")
        moved += [answer == 1 for answer in answers[:done]]
    return moved


def index_failures(store: Store) -> Iterator[int]:
    """Note the entries of a version that had no FAILED_NAMES, once; each step is one short call.

    Yields:
        How many entries it has looked at.
    """
    if store.call(lambda client: client.hexists(store.keys.failed_names, "")):
        return
    keys, place = store.keys, 0
    places = [keys.failed, keys.failed_names, keys.queued, keys.fed]
    left = failures_length(store)
    while left > 0 and (entries := read_page(store, keys.failed, place, min(left, _CHUNK))):
        pairs = [_pair(each) for each in map(_failure, entries) if _is_there(each)]
        removed = store.run("index_failures", places, ["0", *(part for pair in pairs for part in pair)])
        left, place = left - len(entries), place + len(entries) - removed
        yield len(entries)
    store.run("index_failures", places, ["1"])


def _is_there(failure: Failure) -> bool:
    return failure.name is not None and not failure.is_lost


def _mark() -> bytes:
    return b"\0queued " + secrets.token_bytes(16)  # neither a name nor JSON has a NUL


def _pair(failure: Failure) -> tuple[bytes, bytes]:
    return failure.entry, failure.name or b""


def _failure(entry: bytes) -> Failure:
    try:
        fields = decode_object(entry)
        fields["reason"] = str(fields.get("reason", ""))[:REASON_LIMIT_CHARS]
        return Failure(entry, to_name(fields["name"]), fields["reason"], fields)
    except (ValueError, TypeError, KeyError):
        return Failure(entry, None, f"not a valid entry: {to_text(entry)[:200]}", {})
