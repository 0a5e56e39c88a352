"""The events of a lane: one stream that all roles and commands write, and that `pcapdj events` reads.

An event is what an operator would want to have seen: the gate's transitions, how analyzers start and end,
storage that goes away, what Redis has lost, what a person did. What becomes of each file is in the journal.

A role does not call this module for what it logs: `store.event_recorder` records from the log. A command, or
a place that logs nothing, calls `record_event`.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from pcapdj.runtime.errors import PcapdjError
from pcapdj.runtime.safe_text import to_text
from pcapdj.store.bounded import StreamEntry, Track, read_stream
from pcapdj.store.client import Store

MOST_EVENTS: Final = 50_000  # about 15 MB in Redis
DAYS: Final = 14
_DAY_MS: Final = 86_400_000
_MOST_FIELDS: Final = 20
_VALUE_LIMIT_CHARS: Final = 4095  # a name's
_SENTENCE_LIMIT_CHARS: Final = 2000
_OWN: Final = ("time_s", "kind", "role", "sentence")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in the lane.

    Args:
        kind: one word, by which programs choose: `gate`, `analyzer_failing`, `storage_gone`, or the name of
            the log's line.
        sentence: for people; may be empty.
        role: the role or command that it happened in.
        time_s: seconds since the epoch, when it happened.
        fields: more about it, by name; `name` is a file.
        id: of the entry in Redis; empty before it is there.
    """

    kind: str
    sentence: str
    role: str
    time_s: float
    fields: Mapping[str, str] = field(default_factory=dict)
    id: str = ""


def record_event(
    store: Store, kind: str, sentence: str, *, role: str, fields: Mapping[str, str] | None = None
) -> None:
    """Record an event that is not logged, as of now. One try, within the store's time-out; it never fails.

    Args:
        store: the lane.
        kind: as in `Event`, as are sentence, role and fields.
        sentence: for people.
        role: the role or command.
        fields: more about it.
    """
    with suppress(PcapdjError):
        add_event(store, Event(kind, sentence, role, time.time(), fields or {}))


def add_event(store: Store, event: Event) -> None:
    """Add an event; remove the oldest ones beyond `MOST_EVENTS` or `DAYS`. A retrying store tries once, too.

    Raises:
        As `Store.call`.
    """
    key, oldest_ms = store.keys.events, max(0, int(time.time() * 1000) - DAYS * _DAY_MS)
    with store.redis.pipeline(transaction=False) as batch:
        batch.xadd(key, _entry_of(event), maxlen=MOST_EVENTS, approximate=True)
        batch.xtrim(key, minid=oldest_ms, approximate=True)
        Store.call(store, lambda _: batch.execute())


def read_events(
    store: Store, first: str = "-", name: bytes | None = None, track: Track = lambda _: None
) -> Iterator[Event]:
    """Yield the events from one on, the oldest first.

    Args:
        store: the lane.
        first: as in `bounded.read_stream`.
        name: only those about this file.
        track: as in `bounded.read_stream`.

    Raises:
        As `Store.call`.
    """
    only = None if name is None else ("name", name)
    yield from map(event_of, read_stream(store, store.keys.events, first, only=only, track=track))


def event_of(entry: StreamEntry) -> Event:
    """Return the event of an entry, whatever another program wrote there."""
    fields = {to_text(name): to_text(value) for name, value in entry.fields.items()}
    try:
        time_s = float(fields.get("time_s", ""))
    except ValueError:
        time_s = entry.time_s
    return Event(
        kind=fields.get("kind", ""),
        sentence=fields.get("sentence", ""),
        role=fields.get("role", ""),
        time_s=time_s if 0 <= time_s < 1e11 else entry.time_s,  # noqa: PLR2004 - the year 5138
        fields={name: value for name, value in fields.items() if name not in _OWN},
        id=entry.id,
    )


def _entry_of(event: Event) -> dict[Any, Any]:
    own = (f"{event.time_s:.3f}", event.kind, event.role, event.sentence[:_SENTENCE_LIMIT_CHARS])
    others = [(name, value) for name, value in event.fields.items() if name not in _OWN and value != ""]
    fields = dict(zip(_OWN, own, strict=True)) | {
        name: str(value)[:_VALUE_LIMIT_CHARS] for name, value in others[:_MOST_FIELDS]
    }
    return {_encoded(name): _encoded(value) for name, value in fields.items()}


def _encoded(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a surrogate pair, which no name has
        return text.encode("utf-8", "backslashreplace")
