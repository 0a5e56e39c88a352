"""PCAPDJ_COUNTS: what FINISH adds of each file, once, and across restarts of all roles."""

import json
from typing import Any

from pcapdj.store.client import Store
from pcapdj.store.job_queue import JobQueue, QueueEntry, Result


def finish(store: Store, verdict: Any, **journal: Any) -> bool:
    """Let a dispatcher take a file and finish it; report whether that is counted once only."""
    store.redis.rpush(store.keys.in_queue, "/in/1")
    jobs = JobQueue(store, "main")
    entry = jobs.take()
    assert isinstance(entry, QueueEntry)
    result = Result(entry.name if verdict == "processed" else b'{"name":"/in/1"}', verdict, journal=journal)
    assert jobs.finish(entry, result)
    counts = counted(store)
    return not jobs.finish(entry, result) and counted(store) == counts


def counted(store: Store) -> dict[str, int]:
    """Return the sums."""
    found: Any = store.redis.hgetall(store.keys.counts)
    return {name.decode(): int(value) for name, value in found.items()}


def test_each_file_is_added_once(store: Store) -> None:
    """By verdict and kind, with its packets and bytes; a repeated call adds nothing."""
    whole = {
        "packets": 7,
        "cap_lengths": 700,
        "lengths": 900,
        "jump": "begins 12 s before",
        "left_out": json.dumps({"9": 3, "other": 2}),
    }

    assert finish(store, "processed", **whole)
    assert finish(store, "failed", packets=2, reason="skipped by the operator")
    assert finish(store, "failed", reason="file ends inside a record")
    assert finish(store, "processed", packets=0, known_as="/in/0")

    assert counted(store) == {
        "processed": 1, "failed": 2, "known": 1, "failed:skipped": 1, "failed:damaged": 1, "packets": 9,
        "captured_bytes": 700, "wire_bytes": 900, "jumps": 1, "left_out": 5,
    }  # fmt: skip


def test_sums_are_exact_and_survive_other_programs(store: Store) -> None:
    """Petabytes have no exponent; what is no number begins again."""
    store.redis.hset(store.keys.counts, mapping={"captured_bytes": str(1 << 52), "packets": "many"})

    finish(store, "processed", packets=1, cap_lengths=1)

    assert counted(store)["captured_bytes"] == (1 << 52) + 1
    assert counted(store)["packets"] == 1
