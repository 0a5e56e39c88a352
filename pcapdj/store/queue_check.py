"""Compares the queue with the hash beside it, part by part; if they differ, the list is right.

Our scripts change both at once. Other programs change only the list: they push names, and remove some with
LREM, LTRIM or DEL. A pushed name gets an empty line. A name that is not in the list any more loses its lines,
which is logged: it may be queued again. `queue_comparison` has the rules.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from pcapdj.runtime.log import EventLog
from pcapdj.runtime.safe_text import quoted
from pcapdj.store.bounded import Track
from pcapdj.store.client import Store
from pcapdj.store.queue_comparison import PART_NAMES, QueueCounts, QueueWalk, lost_names, vanished
from pcapdj.store.stepwise import StepwiseWork

_EVERY_S: Final = 60.0
_PAUSE: Final = 9  # times as long as the comparison took, if that is longer: it takes a tenth of the time
_SCAN_NAMES: Final = 200  # in one call; they come with their lines inside Redis
_BUDGET_BYTES: Final = 4 << 20  # of the names of one answer
_FIRST_NAMES: Final = 3  # that a log line has

_events: Final = EventLog("queue")


class QueuePart(NamedTuple):
    """A part of the queue, after its names got lines.

    Args:
        length: of the queue.
        lines: in the hash.
        last_seq: the highest number of a line.
        surplus: how many more names than lines there were after the last comparison.
        new: names of the part that had no line.
        names: of the part, from its end on.
    """

    length: int
    lines: int
    last_seq: int
    surplus: int
    new: int
    names: list[bytes]

    @property
    def counts(self) -> QueueCounts:
        """What shows a loss of the queue."""
        return QueueCounts(self.lines, self.last_seq)

    @property
    def change(self) -> int:
        """How many more names without a line there are than after the last comparison; negative: fewer."""
        return self.length - self.lines - self.surplus


class QueueCheck:
    """Compares again and again, one call of Redis at a time: at once after a change, else once a minute.

    Args:
        store: the lane.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._work_now = StepwiseWork()
        self._begin_s = self._next_s = 0.0
        self._seen: QueuePart | None = None
        self._lost_names = 0

    def take_lost_names(self) -> int:
        """Return how many names the queue had that Redis has lost since the last call."""
        lost, self._lost_names = self._lost_names, 0
        return lost

    def step(self, now_s: float) -> bool:
        """Do the next slice of a comparison, if one is due; report whether it has more to do.

        Args:
            now_s: monotonic.

        Raises:
            As `Store.call`.
        """
        if not self._work_now.has_begun:
            seen, self._seen = self._seen, _index(self._store, 0, 0)
            if seen and (lost := lost_names(seen.counts, self._seen.counts, self._seen.length)):
                self._lost_names += lost
                sentence = (
                    "Redis has lost the queue: it may have restarted without its data."
                    " If it still has PCAPDJ_FED, the inbox is queued again; else import it again."
                )
                _events.error("queue_lost", sentence, names=lost)
            if now_s < self._next_s and not self._seen.change:
                return False
            self._work_now.begin(_compare(self._store))
            self._begin_s = now_s
        has_more = self._work_now.step()
        if not has_more:
            self._next_s = now_s + max(_EVERY_S, _PAUSE * (now_s - self._begin_s))
        return has_more


def compare_now(store: Store, track: Track = lambda _: None) -> None:
    """Bring the lines up to date after other programs have changed the queue.

    Names that were pushed stand at the ends, mostly: the head is looked at first, and then all from the tail
    on, until all have a line.

    Args:
        store: the lane.
        track: is called with how many names were looked at, after each call of Redis.

    Raises:
        Stopped: a stop signal arrived; the next call begins again.
        As `Store.call`.
    """
    part, place = _index(store, 0, PART_NAMES - 1), 0
    while part.change > 0 and place < part.length:
        part = _index(store, -(place + PART_NAMES), -(place + 1))
        place += max(1, len(part.names))
        track(len(part.names))
        store.check_stop()
    if part.change < 0:
        for _ in _compare(store):
            track(PART_NAMES)
            store.check_stop()
    else:
        store.run("end_check", [store.keys.in_queue, store.keys.queued], [])


def _compare(store: Store) -> Iterator[None]:
    """Compare once; each step is one call."""
    first = _index(store, -1, -1)
    walk = QueueWalk(first.length)
    while not walk.is_over:
        part = _index(store, *walk.part)
        walk.add(part.names, part.length)
        yield
    removed, cursor = [], b"0"
    while walk.is_complete:
        cursor, *parts = store.run("scan_lines", [store.keys.queued], [cursor, str(_SCAN_NAMES)])
        lines = zip(parts[::2], map(int, parts[1::2]), strict=True)
        yield
        if gone := vanished(walk, lines, first.last_seq):
            arguments = [part for name, seq in gone for part in (name, str(seq))]
            removed += store.run("forget_lines", [store.keys.queued], arguments)
            yield
        if cursor == b"0":
            break
    store.run("end_check", [store.keys.in_queue, store.keys.queued], [])
    if removed:
        names = ", ".join(map(quoted, removed[:_FIRST_NAMES]))
        sentence = f"Names have vanished from the queue, and may be queued again: {names}"
        _events.warning(
            "names_vanished", sentence + (" .." if removed[_FIRST_NAMES:] else "."), names=len(removed)
        )


def _index(store: Store, start: int, stop: int) -> QueuePart:
    places = [store.keys.in_queue, store.keys.queued]
    return QueuePart(*store.run("index_names", places, [str(start), str(stop), str(_BUDGET_BYTES)]))
