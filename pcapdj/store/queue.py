"""The queue as an operator sees it: its names in order with their sizes, found, removed, moved to an end.

A queue may have a million names. It is read in pages, and names are chosen page by page; each call to Redis
costs some milliseconds, however long the queue is. The list is the truth: sizes are those of the files that
were queued, as the hash beside the queue has them, so no file is looked at.
"""

import json
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from pcapdj.runtime.foreign_json import decode_object
from pcapdj.store.bounded import read_page
from pcapdj.store.client import Store
from pcapdj.store.enqueue import fed_files, last_lines
from pcapdj.store.queue_check import compare_now

PAGE: Final = 1000  # names that are looked at in one call
_EDITED: Final = 100  # in one call: some ten milliseconds of Redis's time, deep in a queue of a million
_IDENTITY: Final = ("dev", "ino", "size_bytes", "mtime_ns")  # in a line of QUEUED
_STREAMS: Final = ("stream", "earlier_streams")


class Edit(StrEnum):
    """What happens to queued names."""

    REMOVE = "remove"
    FIRST = "first"
    LAST = "last"


@dataclass(frozen=True, slots=True)
class QueuedName:
    """One occurrence of a name in the queue.

    Args:
        name: as it stands there.
        place: from 0, where it was when the queue was read; -1: unknown.
        identity: size_bytes, mtime_ns, dev and ino of the file that was queued; empty: another program
            pushed the name, or it is fed whole again.
    """

    name: bytes
    place: int
    identity: dict[str, int]

    @property
    def size_bytes(self) -> int | None:
        """The file's size when it was queued; None: unknown."""
        return self.identity.get("size_bytes")


def queue_length(store: Store) -> int:
    """Return how many names the queue has.

    Raises:
        As `Store.call`; so do all functions here.
    """
    return int(store.call(lambda client: client.llen(store.keys.in_queue)))


def read_queue(store: Store, first: int = 0, most: int | None = None) -> Iterator[list[QueuedName]]:
    """Yield queued names in order, page by page.

    Args:
        store: the lane.
        first: place of the first one.
        most: names; None: all.
    """
    place, end = first, None if most is None else first + most
    while wanted := PAGE if end is None else min(PAGE, end - place):
        names = read_page(store, store.keys.in_queue, place, wanted)
        if not names:
            return
        yield _with_identities(store, names, place)
        place += len(names)


def name_pages(store: Store) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the queue's names page by page, each with the place of its first name."""
    place = 0
    while names := read_page(store, store.keys.in_queue, place, PAGE):
        yield place, names
        place += len(names)


def queued_occurrences(store: Store, names: Sequence[bytes]) -> list[QueuedName]:
    """Return those of these names that are queued; where they stand is unknown."""
    lines = last_lines(store, names)
    return [QueuedName(name, -1, _identity(lines[name].text)) for name in names if name in lines]


def with_identities(store: Store, names: Sequence[bytes], places: Sequence[int]) -> list[QueuedName]:
    """Return occurrences at these places."""
    lines = last_lines(store, dict.fromkeys(names))
    texts = [lines[name].text if name in lines else "" for name in names]
    return [
        QueuedName(name, place, _identity(text))
        for name, place, text in zip(names, places, texts, strict=True)
    ]


def edit_queue(store: Store, edit: Edit, names: Iterable[QueuedName], *, in_journal: bool = True) -> int:
    """Remove occurrences from the queue, or move them to its beginning or end, in their order.

    A removed file is noted in FED, so that an importer does not queue it again; another version of it is.

    Args:
        store: the lane.
        edit: what happens.
        names: those that are gone meanwhile are left out.
        in_journal: each removed file gets an entry there.

    Returns:
        How many there were.
    """
    wanted, done = list(names), 0
    starts = range(0, len(wanted), _EDITED)
    for start in reversed(starts) if edit is Edit.FIRST else starts:
        chunk = wanted[start : start + _EDITED]
        moved = [
            each
            if each.place < 0
            else replace(each, place=each.place + (done if edit is Edit.FIRST else -done))
            for each in chunk
        ]
        done += _edited(store, edit, moved, in_journal=in_journal)
    return done


def _edited(store: Store, edit: Edit, chunk: Sequence[QueuedName], *, in_journal: bool) -> int:
    keys = store.keys
    places = [keys.in_queue, keys.queued, keys.fed, keys.journal, keys.channel]
    before = fed_files(store, [each.name for each in chunk]) if edit is Edit.REMOVE else {}
    items = [part for each in chunk for part in _item(each, before.get(each.name, {}), in_journal=in_journal)]
    while not (answers := store.run("edit_queue", places, [edit.value, _mark(), *items])):
        compare_now(store)
    return sum(answers)


def _item(each: QueuedName, before: Mapping[str, Any], *, in_journal: bool) -> list[bytes | str]:
    """Return what the script gets of an occurrence; `before` is what FED has of its name."""
    streams = {name: before[name] for name in _STREAMS if name in before}
    fields: dict[str, Any] = {
        **streams,
        **each.identity,
        "result": "removed",
        "time_s": round(time.time(), 3),
    }
    fed = json.dumps(fields) if each.identity else ""
    size = "" if each.size_bytes is None else str(each.size_bytes)
    return [each.name, str(each.place), fed, str(int(in_journal)), size]


def _mark() -> bytes:
    return b"\0removed " + secrets.token_bytes(16)  # a name has no NUL


def _with_identities(store: Store, names: Sequence[bytes], place: int) -> list[QueuedName]:
    return with_identities(store, names, range(place, place + len(names)))


def _identity(text: str) -> dict[str, int]:
    """Return which file a line of QUEUED is about; empty: it does not have that."""
    try:
        found = decode_object(text).get("identity")
    except ValueError:
        return {}
    if not isinstance(found, list) or len(found) != len(_IDENTITY):
        return {}
    if not all(type(value) is int for value in found):
        return {}
    return dict(zip(_IDENTITY, found, strict=True))
