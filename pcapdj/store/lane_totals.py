"""What a lane has fed in all, and how large its queue is, at a cost that does not grow with either.

The sums are those of FINISH (PCAPDJ_COUNTS). The size of the queue is that of its first thousand files, and
an estimate by their mean beyond: to look at a million names would take seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pcapdj.runtime.numbers import whole_number
from pcapdj.runtime.safe_text import to_text
from pcapdj.store.bounded import read_hash
from pcapdj.store.client import Store

_MOST_NAMES: Final = 1000


@dataclass(frozen=True, slots=True)
class QueueSize:
    """The queue.

    Args:
        files: how many.
        size_bytes: of all of them; None: unknown, since no name at its head has a size.
        is_estimated: it has more files than were looked at, or names without a size.
        oldest_s: when the file at its head was written last, in seconds since the epoch; None: unknown.
    """

    files: int
    size_bytes: int | None
    is_estimated: bool = False
    oldest_s: float | None = None


def queue_size(store: Store) -> QueueSize:
    """Return the size of the queue.

    Raises:
        As `Store.call`; so does the next one.
    """
    keys = store.keys
    files = store.call(lambda client: client.llen(keys.in_queue))
    counted, sum_bytes, oldest_ns = store.run("queue_size", [keys.in_queue, keys.queued], [str(_MOST_NAMES)])
    if not counted:
        return QueueSize(files, 0 if not files else None)
    size_bytes = int(sum_bytes) * max(files, counted) // counted
    oldest = whole_number(oldest_ns)
    return QueueSize(files, size_bytes, files > counted, None if oldest is None else oldest / 1e9)


def read_counts(store: Store) -> Mapping[str, int]:
    """Return the sums over all finished files; what is no number is left out."""
    found = read_hash(store, store.keys.counts)
    numbers = ((to_text(name), whole_number(value)) for name, value in found.items())
    return {name: number for name, number in numbers if number is not None}
