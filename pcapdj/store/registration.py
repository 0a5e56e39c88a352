"""The dispatchers of a lane: how each stays registered, and the only one of its id; how scripts see its file.

A dispatcher is registered for as long as it lives. Redis may lose its keys: by a restart without persistence,
an eviction, a replica that became the master, a DEL. With each heartbeat the dispatcher writes them again:
else an importer would queue the file that is fed, and its result would be written nowhere.

All keys of a script have to be known before it runs. So a caller that needs the CURRENT hashes of all reads
their ids first, and the script checks that they are still those: if a dispatcher came or went in between, the
caller does both again.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from pcapdj.runtime.errors import AlreadyRunning, StoreFailed
from pcapdj.runtime.safe_text import NAME_LIMIT_BYTES, quoted, to_text
from pcapdj.runtime.signals import Waits
from pcapdj.store.bounded import read_hash, read_set
from pcapdj.store.client import Reply, Store
from pcapdj.store.keys import Keys
from pcapdj.store.queue_comparison import QueueCounts, lost_names

_MOST_IDS: Final = 1000
_MISSING: Final = 1  # RESTORE's answer: the file was missing
_COUNTS: Final = 3  # of QUEUED: lines, highest number, surplus
_DIGITS: Final = 16
_LOOKS: Final = 14  # at a heartbeat that may come no more: three would have come
_LAST_BEATS: Final = 2  # one may come when it has just been stopped
_LOOK_S: Final = 0.25
_CALLS: Final = 20  # dispatchers come and go a few times a day


class Registration:
    """What Redis has to have of a living dispatcher: its id, and the file that it has taken.

    For the main thread, which takes files, and the reporter's, which calls `keep`.

    Args:
        keys: of the lane.
        dispatcher_id: whose they are.
    """

    def __init__(self, keys: Keys, dispatcher_id: str) -> None:
        self.restored = 0  # how often something was missing
        self.lost_names = 0  # how many names the queue had that Redis has lost
        self.lock: Final = threading.RLock()  # held while the file is finished: no restore meanwhile
        self._keys: Final = keys
        self._id: Final = dispatcher_id
        self._is_registered = False
        self._taken: dict[str, bytes] = {}
        self._counts = QueueCounts(0, 0)

    def register(self, store: Store) -> None:
        """Add the id to the lane's dispatchers."""
        with self.lock:
            store.call(lambda client: client.sadd(self._keys.dispatchers, self._id))
            self._is_registered = True

    def unregister(self, store: Store) -> None:
        """Remove the id for good: nothing is taken."""
        with self.lock:
            self._is_registered = False
            store.call(lambda client: client.srem(self._keys.dispatchers, self._id))

    def has_taken(self, token: str) -> bool:
        """Report whether the taken file has this token."""
        return self._taken.get("token") == token.encode("utf-8", "surrogateescape")

    def take(self, fields: Mapping[str, bytes]) -> None:
        """Remember the file that was taken; without fields: no file is taken."""
        self._taken = dict(fields)

    def mark(self, fields: Mapping[str, bytes]) -> None:
        """Remember what its CURRENT has from now on."""
        if self._taken:
            self._taken = {**self._taken, **fields}

    def keep(self, store: Store) -> None:
        """Write what is missing, unless the main thread is finishing the file.

        Raises:
            As `Store.call`.
        """
        if self.lock.acquire(blocking=False):
            try:
                self.restore(store)
            finally:
                self.lock.release()

    def restore(self, store: Store) -> int:
        """Write what is missing, if the dispatcher is registered.

        Returns:
            1 if the file was missing, 2 if it was finished before, else 0.

        Raises:
            As `Store.call`.
        """
        if not self._is_registered:
            return 0
        keys, taken = self._keys, self._taken
        places = [keys.dispatchers, keys.current(self._id), keys.stats(self._id), keys.in_queue, keys.queued]
        pairs = [part for name, value in taken.items() for part in (name, value)]
        with self.lock:
            was_missing, answer, length, counts = store.run(
                "restore", places, [self._id, taken.get("token", b""), *pairs]
            )
            self.restored += bool(was_missing) or answer == _MISSING
            before, self._counts = self._counts, counts_of(counts)
            self.lost_names += lost_names(before, self._counts, length)
        return int(answer)


def claim_id(store: Store, dispatcher_id: str, place: str, waits: Waits) -> None:
    """Make this the dispatcher of an id, unless one works elsewhere: both would work on one CURRENT.

    Locks show that on one machine. From another machine or container only the heartbeat comes, once a second.
    It counts by its changes, since clocks differ. Of two that find the place of a dead one, one claims it.

    Args:
        store: the lane.
        dispatcher_id: the id.
        place: of this dispatcher's lock, behind the name of its machine and a blank. Redis has that of the
            last dispatcher of this id; where it is the same, the lock has decided.
        waits: the wait of three seconds, if it is another place.

    Raises:
        AlreadyRunning: there is one; the message has its machine.
        Stopped: a stop signal arrived.
        As `Store.call`.
    """
    key, own = store.keys.stats(dispatcher_id), place.encode()
    while (there := _place_in(store, key)) != own:
        if there and _has_heartbeat(store, key, there, waits):
            raise AlreadyRunning(
                f"Another dispatcher of the id {quoted(dispatcher_id)} works on the machine"
                f" {quoted(to_text(there).partition(' ')[0])}.",
                hint="Give each dispatcher of a lane its own --id.",
            )
        is_claimed = store.run("replace_field", [key], ["place", there, own])  # else another one was faster
        if not is_claimed and _place_in(store, key) == there:  # or another program wrote more than is read
            store.call(lambda client: client.hdel(key, "place"))


def _place_in(store: Store, key: str) -> bytes:
    return read_hash(store, key, ["place"]).get(b"place", b"")


def _has_heartbeat(store: Store, key: str, place: bytes, waits: Waits) -> bool:
    """Watch the dispatcher of a place, for so many looks: while Redis is away, time passes without one."""
    beats = set[bytes]()
    for _ in range(_LOOKS):
        found = read_hash(store, key, ["place", "heartbeat_s"])
        if found.get(b"place", b"") != place:
            break
        beats.add(found.get(b"heartbeat_s", b""))
        if len(beats) > _LAST_BEATS:
            return True
        waits.wait(_LOOK_S)
    return False


def counts_of(text: bytes) -> QueueCounts:
    """Return the counts in the field of QUEUED with the empty name."""
    words = text.split()
    is_valid = len(words) == _COUNTS and all(each.isdigit() and len(each) < _DIGITS for each in words[:2])
    return QueueCounts(int(words[0]), int(words[1])) if is_valid else QueueCounts(0, 0)


def registered(store: Store) -> list[str]:
    """Return the ids of the dispatchers, at most 1000.

    Raises:
        As `Store.call`.
    """
    return _registered(store)[0]


def run_with_currents(
    store: Store,
    script: str,
    keys: Sequence[str],
    arguments: Sequence[bytes | str],
    read: Callable[[Reply], Reply] = lambda answer: answer,
) -> Reply:
    """Run a script that gets the CURRENT hashes of all dispatchers as its last keys (`current_names.lua`).

    Args:
        store: the lane.
        script: its name.
        keys: before these hashes.
        arguments: behind the dispatchers' ids.
        read: as of `Store.run`; gets None where dispatchers have come or gone.

    Raises:
        StoreFailed: dispatchers came and went at every call.
        As `Store.call`.
    """
    for _ in range(_CALLS):
        ids, count = _registered(store)
        places = [*keys, *map(store.keys.current, ids)]
        answer = store.run(script, places, [str(count), *ids, *arguments], read)
        if answer is not None:
            return answer
    raise StoreFailed(f"The dispatchers in {store.keys.dispatchers} changed during each of {_CALLS} calls.")


def _registered(store: Store) -> tuple[list[str], int]:
    """Return the ids, and how many there are; -1: more than are read."""
    members = read_set(store, store.keys.dispatchers, most=_MOST_IDS)
    ids = [to_text(each) for each in members if len(each) <= NAME_LIMIT_BYTES]
    return ids, len(members) if len(members) < _MOST_IDS else -1
