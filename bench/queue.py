"""Measures a lane with many queued names: importing more of them, the status, and Redis's slowest script."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from bench.service import redis_in, scratch
from pcapdj.store.client import COMMAND_TIMEOUT_S, Store
from pcapdj.store.enqueue import enqueue_new
from pcapdj.store.keys import Keys
from pcapdj.store.queue_check import QueueCheck
from pcapdj.store.snapshot import read_snapshot

QUEUED_NAMES: Final = 1_000_000
NEW_NAMES: Final = 3000
_BATCH: Final = 10_000
_LINE: Final = f'{{"identity":[1,2,3,4],"first_bytes":65536,"digest":"{"a" * 32}","mount":"/","boot":""}}'


class _Version:
    size_bytes = mtime_ns = 1


@dataclass(frozen=True, slots=True)
class LongQueue:
    """What was measured with a million queued names.

    Args:
        import_s: of queueing 3000 more.
        status_s: of reading the lane's snapshot.
        comparison_s: of comparing the queue with its lines.
        slowest_ms: the longest time of a command in Redis, meanwhile.
    """

    import_s: float
    status_s: float
    comparison_s: float
    slowest_ms: float


def measure_long_queue() -> LongQueue:
    """Fill a queue and measure."""
    with scratch() as folder, redis_in(folder) as url:
        store = Store(url, Keys(), timeout_s=COMMAND_TIMEOUT_S)
        _fill(store)
        client: Any = store.redis
        client.config_set("slowlog-log-slower-than", 1000)
        client.slowlog_reset()
        new = {b"/new/%d" % number: _Version() for number in range(NEW_NAMES)}
        check = QueueCheck(store)
        import_s = _time_s(lambda: enqueue_new(store, new, lines=dict.fromkeys(new, _LINE)))
        status_s = _time_s(lambda: read_snapshot(store, time.time()))
        comparison_s = _time_s(lambda: _compare(check))
        slowest_us = max((each["duration"] for each in client.slowlog_get(1000)), default=0)
        store.close()
        return LongQueue(import_s, status_s, comparison_s, slowest_us / 1000)


def _fill(store: Store) -> None:
    """Queue the names as ENQUEUE would, but many in one call."""
    for start in range(0, QUEUED_NAMES, _BATCH):
        names = [b"/captures/sensor/%07d.pcap" % number for number in range(start, start + _BATCH)]
        lines = {name: f"{start + place + 1} {_LINE}" for place, name in enumerate(names)}
        with store.redis.pipeline(transaction=False) as batch:
            batch.rpush(store.keys.in_queue, *names)
            batch.hset(store.keys.queued, mapping=dict[Any, Any](lines))
            batch.execute()
    store.redis.hset(store.keys.queued, "", f"{QUEUED_NAMES} {QUEUED_NAMES} 0")


def _compare(check: QueueCheck) -> None:
    while check.step(0.0):
        pass


def _time_s(work: Callable[[], object]) -> float:
    begun_s = time.perf_counter()
    work()
    return time.perf_counter() - begun_s
