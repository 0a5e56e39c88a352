"""The lanes of a Redis: which there are, and what each of them still wants to feed.

A lane is a prefix of keys, and its keys are what shows it. So all keys of the server's database are walked,
in slices (SCAN). Keys that no role of ours can use are no lane's.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple, cast

from pcapdj.runtime.errors import ConfigError, StoreFailed
from pcapdj.runtime.foreign_json import decode_json
from pcapdj.runtime.safe_text import to_name, to_text
from pcapdj.store.bounded import read_hash, read_hashes, read_list, read_set
from pcapdj.store.client import Store
from pcapdj.store.keys import IN_QUEUE, Keys

_OURS: Final = re.compile(rb"(?:\{([^{}]*)\}:)?PCAPDJ_([A-Z_]+)(?::(.*))?", re.DOTALL)
_PATTERN: Final = "*PCAPDJ_*"
_COUNT: Final = 1000  # keys in one call, about
_MOST_LANES = _MOST_DISPATCHERS = 1000
_CHUNK: Final = 200  # fields in one call: their values fit into one answer
_LONGEST_BYTES: Final = 16 << 10  # of a value, and of a key that a role of ours may use


class LaneKeys(NamedTuple):
    """A lane, and which of its keys have a part of their own in their name.

    Args:
        name: empty for the default lane.
        queues: the names of its queues, as `-q` has them.
        dispatchers: whose CURRENT there is, or that are registered.
    """

    name: str
    queues: tuple[str, ...]
    dispatchers: tuple[str, ...]

    def keys(self, queue: str = IN_QUEUE) -> Keys:
        """Return the keys of the lane with one of its queues."""
        return Keys(self.name, queue)


def lanes_of(store: Store) -> list[LaneKeys]:
    """Return the lanes of the server's database; the store's own is the first one.

    Raises:
        StoreFailed: there are more than a thousand.
        As `Store.call`.
    """
    queues, currents = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
    queues[store.keys.lane].add(store.keys.in_queue_name)
    for key in _our_keys(store):
        lane, kind, rest = key
        queues[lane].add(IN_QUEUE)
        if kind == "QUEUED" and rest:
            queues[lane].add(rest)
        elif kind in ("CURRENT", "STATS") and rest:
            currents[lane].add(rest)
        if len(queues) > _MOST_LANES:
            raise StoreFailed(f"This Redis has more than {_MOST_LANES} lanes.")
    lanes = []
    for lane in sorted(queues, key=lambda each: (each != store.keys.lane, each)):
        of_lane = store.in_lane(Keys(lane))
        members = read_set(of_lane, of_lane.keys.dispatchers, most=_MOST_DISPATCHERS)
        ids = currents[lane] | set(map(to_text, members))
        for name in _values_of(of_lane, map(of_lane.keys.stats, ids), "queue"):
            queues[lane].add(to_text(name))
        lanes.append(LaneKeys(lane, tuple(sorted(queues[lane])), tuple(sorted(ids))))
    return lanes


def wanted_names(store: Store, lane: LaneKeys) -> Iterator[bytes]:
    """Yield the names that are queued or current in a lane; of each page those of a folder together.

    Raises:
        As `Store.call`.
    """
    of_lane = store.in_lane(lane.keys())
    yield from _values_of(of_lane, map(of_lane.keys.current, lane.dispatchers), "name")
    for queue in lane.queues:
        of_queue = store.in_lane(lane.keys(queue))
        for names in read_list(of_queue, of_queue.keys.in_queue):
            yield from sorted(names)
            store.check_stop()


def watched_folders(store: Store, lane: LaneKeys) -> list[bytes]:
    """Return the folders that the lane's importer watches, or watched before it was stopped.

    Raises:
        As `Store.call`.
    """
    of_lane = store.in_lane(lane.keys())
    fields = read_hash(of_lane, of_lane.keys.importer, ["folders"])
    try:
        found = decode_json(fields.get(b"folders", b"[]"))
    except ValueError:
        return []
    return [to_name(each) for each in found if isinstance(each, str)] if isinstance(found, list) else []


def fed_values(store: Store, lane: LaneKeys, names: Iterable[bytes]) -> dict[bytes, bytes]:
    """Return what a lane's FED has of these names, as Redis has it.

    Raises:
        As `Store.call`.
    """
    of_lane = store.in_lane(lane.keys())
    return _fields(of_lane, of_lane.keys.fed, list(names))


def failed_names(store: Store, lane: LaneKeys, names: Iterable[bytes]) -> set[bytes]:
    """Return those of these names that have failed in a lane.

    Raises:
        As `Store.call`.
    """
    of_lane = store.in_lane(lane.keys())
    return set(_fields(of_lane, of_lane.keys.failed_names, list(names)))


def open_streams(store: Store, lane: LaneKeys) -> set[str]:
    """Return the streams that analyzers of a lane may read now.

    Raises:
        As `Store.call`.
    """
    of_lane = store.in_lane(lane.keys())
    keys = of_lane.keys
    hashes = [keys.consumer, *map(keys.stats, lane.dispatchers), *map(keys.current, lane.dispatchers)]
    return {to_text(stream) for stream in _values_of(of_lane, hashes, "stream") if stream}


def suspect_streams(store: Store, lane: LaneKeys, streams: Iterable[str]) -> set[str]:
    """Return those of these streams that may have lost output.

    Raises:
        As `Store.call`.
    """
    of_lane = store.in_lane(lane.keys())
    found = _fields(of_lane, of_lane.keys.suspect, list(map(to_name, streams)))
    return set(map(to_text, found))


def _our_keys(store: Store) -> Iterator[tuple[str, str, str]]:
    """Yield lane, kind and rest of each key that is one of ours by its name."""
    cursor: Any = 0
    while True:
        cursor, keys = store.call(
            lambda client, cursor=cursor: client.scan(cursor, match=_PATTERN, count=_COUNT)  # type: ignore[misc]
        )
        for key in cast("list[bytes]", keys):
            if len(key) <= _LONGEST_BYTES and (found := _OURS.fullmatch(key)):
                lane, kind, rest = (to_text(each or b"") for each in found.groups())
                try:
                    Keys(lane)
                except ConfigError:
                    continue
                yield lane, kind, rest
        store.check_stop()
        if cursor == 0:
            return


def _values_of(store: Store, hashes: Iterable[str], field: str) -> Iterator[bytes]:
    """Yield the field's value of each of these hashes that has it."""
    for fields in read_hashes(store, [*hashes], [field], longest_bytes=_LONGEST_BYTES):
        yield from fields.values()
        store.check_stop()


def _fields(store: Store, key: str, names: list[bytes]) -> dict[bytes, bytes]:
    found = dict[bytes, bytes]()
    for part in _parts(names):
        found |= read_hash(store, key, part, longest_bytes=_LONGEST_BYTES)
        store.check_stop()
    return found


def _parts(items: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]
