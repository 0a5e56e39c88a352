"""The story of a lane, or of one file: its events and the journal's entries, in the order of their times.

Both are streams in Redis, and they are read together, page by page: nothing is kept in memory.
"""

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pcapdj.runtime.foreign_json import decode_object
from pcapdj.runtime.numbers import counted, whole_number
from pcapdj.runtime.safe_text import to_text
from pcapdj.runtime.units import human_size
from pcapdj.store.bounded import StreamEntry, Track, read_hash, read_stream
from pcapdj.store.client import Store
from pcapdj.store.events import Event, read_events
from pcapdj.store.journal import journal_length
from pcapdj.store.snapshot import read_snapshot


@dataclass(frozen=True, slots=True)
class FileNow:
    """Where a file's name is, and what is known of the file that was fed under it.

    Args:
        queued: how often it is in the queue.
        current: the dispatcher that has taken it; empty: none.
        failed: why it is in FAILED; empty: it is not.
        fed: of FED: result, stream, time_s; empty: it was not fed, or Redis has forgotten it.
    """

    queued: int
    current: str
    failed: str
    fed: Mapping[str, Any]


NOWHERE: Final = FileNow(0, "", "", {})


class History:
    """Reads the story; each call yields what came since the one before.

    Args:
        store: the lane.
        since_s: seconds since the epoch; 0: all that Redis has.
        name: only of this file.
    """

    def __init__(self, store: Store, since_s: float = 0.0, name: bytes | None = None) -> None:
        self._store = store
        self._name = name
        self._first_event = self._first_entry = f"{int(since_s * 1000)}-0"

    def read(self, track: Track = lambda _: None) -> Iterator[Event]:
        """Yield what happened, in the order in which Redis got it.

        Args:
            track: is called with how many entries were looked at, after each call of Redis.

        Raises:
            As `Store.call`.
        """
        yield from heapq.merge(self._events(track), self._files(track), key=_order)

    def length(self) -> int:
        """Return how many entries there are, of all times.

        Raises:
            As `Store.call`.
        """
        events = self._store.call(lambda client: client.xlen(self._store.keys.events))
        return int(events) + journal_length(self._store)

    def _events(self, track: Track) -> Iterator[Event]:
        for event in read_events(self._store, self._first_event, self._name, track):
            self._first_event = f"({event.id}"
            yield event

    def _files(self, track: Track) -> Iterator[Event]:
        only = None if self._name is None else ("name", self._name)
        key = self._store.keys.journal
        for entry in read_stream(self._store, key, self._first_entry, only=only, track=track):
            self._first_entry = f"({entry.id}"
            yield event_of_journal(entry)


def event_of_journal(entry: StreamEntry) -> Event:
    """Return the event that a file was fed or failed."""
    fields = {to_text(name): to_text(value) for name, value in entry.fields.items() if value}
    verdict = fields.get("verdict", "")
    failed = {} if verdict == "processed" else {"level": "WARNING"}
    return Event(
        kind=f"file_{verdict}",
        sentence=_file_sentence(fields),
        role="dispatcher",
        time_s=entry.time_s,
        fields=failed | {name: value for name, value in fields.items() if name not in ("verdict", "reason")},
        id=entry.id,
    )


def file_now(store: Store, name: bytes) -> FileNow:
    """Return where a file is.

    Raises:
        As `Store.call`.
    """
    keys = store.keys
    queued = read_hash(store, keys.queued, [name]).get(name, b"")
    failed = _object(read_hash(store, keys.failed_names, [name]).get(name))
    fed = _object(read_hash(store, keys.fed, [name]).get(name))
    return FileNow(
        queued.count(b"\n") + bool(queued), _taker(store, name), str(failed.get("reason", "")), fed
    )


def _taker(store: Store, name: bytes) -> str:
    for each in read_snapshot(store, 0.0)["current"]:
        if each.get("name") == to_text(name):
            return str(each["dispatcher"])
    return ""


def _object(text: bytes | None) -> dict[str, Any]:
    try:
        return decode_object(text)
    except ValueError:
        return {}


def _file_sentence(fields: Mapping[str, str]) -> str:
    """Return what became of a file, as its entry in the journal has it."""
    if fields.get("known_as"):
        return f"Not fed again: it is the capture that was fed as {fields['known_as']}."
    packets, size = (whole_number(fields.get(name, "")) for name in ("packets", "size_bytes"))
    count = "" if packets is None else counted(packets, "packet")
    if fields.get("verdict") != "processed":
        return fields.get("reason", "") + (f" ({count} delivered)" if count else "")
    size_text = "" if size is None else f", {human_size(size)}"
    return f"Fed: {count or 'packets unknown'}{size_text}."


def _order(event: Event) -> tuple[int, ...]:
    return tuple(whole_number(part) or 0 for part in event.id.split("-"))
