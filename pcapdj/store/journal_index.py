"""The index of the journal: what each part of it has in common, so that a search skips parts without a match.

A journal may have a million entries. To find those of one stream, verdict or time Redis would have to look at
all of them, a few hundred in each call. A part is `PART_ENTRIES` entries in a row; the index has its streams,
its verdicts, and the earliest and latest time of its packets. Entries are only added behind all others. So a
part, once noted, never changes, and it does not matter which program wrote it: dispatchers of any version,
the commands, a script. What no part covers (the newest entries; all, before a dispatcher has run) is read.
The index may be removed at any time: it is made again.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from pcapdj.runtime.errors import PcapdjError
from pcapdj.runtime.numbers import signed_number, whole_number
from pcapdj.runtime.safe_text import to_text
from pcapdj.store.bounded import StreamEntry, read_stream
from pcapdj.store.client import Store

PART_ENTRIES: Final = 400  # one call of Redis reads them in some milliseconds
_ANY: Final = "*"
_SPARE_NS: Final = 2000  # Redis's scripts have 53 bits for a time

EntryId = tuple[int, int]  # milliseconds since the epoch, and a number
BEGINNING: Final[EntryId] = (0, 0)


@dataclass(frozen=True, slots=True)
class IndexedPart:
    """A part of the journal, as the index has it.

    Args:
        after: id of the entry before its first one, when that was written.
        last: id of its last entry.
        entries: how many it had.
        streams, verdicts: that its entries have; None: they may have any.
        earliest_ns, latest_ns: the times that its packets may have; None: it has no packets.
        has_times: whether the two are valid.
    """

    after: EntryId
    last: EntryId
    entries: int
    streams: frozenset[str] | None
    verdicts: frozenset[str] | None
    earliest_ns: int | None
    latest_ns: int | None
    has_times: bool = True

    def may_have(
        self, stream: str = "", verdict: str = "", since_ns: int | None = None, until_ns: int | None = None
    ) -> bool:
        """Report whether an entry of it may fit; empty and None: no condition."""
        if stream and self.streams is not None and stream not in self.streams:
            return False
        if verdict and self.verdicts is not None and verdict not in self.verdicts:
            return False
        if not self.has_times or (since_ns is None and until_ns is None):
            return True
        if self.earliest_ns is None or self.latest_ns is None:
            return False
        return (since_ns is None or self.latest_ns + _SPARE_NS >= since_ns) and (
            until_ns is None or self.earliest_ns - _SPARE_NS <= until_ns
        )


class JournalIndexer:
    """Notes parts of the journal, a short call of Redis each; for a role that finishes files.

    Args:
        store: the lane; tried once.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._new_entries = PART_ENTRIES  # since it last found all parts noted; at first it is unknown

    def add_entry(self) -> None:
        """Count an entry that was written."""
        self._new_entries += 1

    def step(self) -> None:
        """Note the next part, if there may be one. It never fails: without an index searches take longer."""
        if self._new_entries < PART_ENTRIES:
            return
        has_more = False
        with suppress(PcapdjError):
            has_more = index_part(self._store)
        if not has_more:
            self._new_entries = 0


def index_part(store: Store) -> bool:
    """Note the next part of the journal; report whether there was one.

    Raises:
        As `Store.call`; so do all functions here.
    """
    keys = [store.keys.journal, store.keys.journal_index]
    return bool(store.run("index_journal", keys, [str(PART_ENTRIES)]))


def read_index(store: Store, first: str = "-", *, is_newest_first: bool = False) -> Iterator[IndexedPart]:
    """Yield the parts in their order or back, from an id on; what is not valid is left out.

    None are yielded where the journal has no last entry of the newest part: it may have been removed, and
    have begun again at an earlier time.
    """
    key = store.keys.journal_index
    newest = next(read_stream(store, key, "+", is_newest_first=True, most=1), None)
    if newest is None or not _has_entry(store, newest.id):
        return
    for entry in read_stream(store, key, first, is_newest_first=is_newest_first):
        if part := _part_of(entry):
            yield part


def id_text(entry_id: EntryId) -> str:
    """Return an id as Redis has it."""
    return f"{entry_id[0]}-{entry_id[1]}"


def _has_entry(store: Store, entry_id: str) -> bool:
    found = next(read_stream(store, store.keys.journal, entry_id, most=1), None)
    return found is not None and found.id == entry_id


def _part_of(entry: StreamEntry) -> IndexedPart | None:
    fields = {to_text(name): to_text(value) for name, value in entry.fields.items()}
    after, last = _id_of(fields.get("after", "")), _id_of(entry.id)
    if not BEGINNING <= after < last:
        return None
    times: list[Any] = [fields.get(name) for name in ("earliest_ns", "latest_ns")]
    earliest_ns, latest_ns = (signed_number(text or "") for text in times)
    return IndexedPart(
        after,
        last,
        whole_number(fields.get("entries", "")) or 0,
        _words(fields.get("streams")),
        _words(fields.get("verdicts")),
        earliest_ns,
        latest_ns,
        has_times=times == ["", ""] or None not in (earliest_ns, latest_ns),
    )


def _words(text: str | None) -> frozenset[str] | None:
    words = frozenset([_ANY] if text is None else text.split())
    return None if _ANY in words else words


def _id_of(text: str) -> EntryId:
    """Return an id as two numbers; an invalid one is lower than all others."""
    parts = [whole_number(part) for part in text.split("-")]
    match parts:
        case [int(milliseconds), int(number)]:
            return milliseconds, number
    return -1, 0
