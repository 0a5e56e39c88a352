"""PCAPDJ_COUNTS and PCAPDJ_OUTPUT: what FINISH adds of each file, once, and across restarts of all roles."""

import json
from typing import Any, Final

import pytest

from pcapdj.disk.output_ratio import GROUP_BYTES, MOST_GROUPS, FileGroup, OutputRatios
from pcapdj.store.client import Store
from pcapdj.store.grants import Grants
from pcapdj.store.job_queue import JobQueue, QueueEntry, Result

MIB: Final = GROUP_BYTES
WHOLE: Final[dict[str, Any]] = {"attempt": 1, "size_bytes": MIB}


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


def finish_with_output(store: Store, output_bytes: int, compression: str = "", **journal: Any) -> None:
    """Finish a file while which the log folder's disk filled by so much."""
    store.redis.hincrby(store.keys.gate, "output_bytes", output_bytes)
    store.redis.rpush(store.keys.in_queue, "/in/1")
    jobs = JobQueue(store, "main")
    entry = jobs.take()
    assert isinstance(entry, QueueEntry)
    store.redis.hset(store.keys.current("main"), "compression", compression)
    verdict: Any = journal.pop("verdict", "processed")
    assert jobs.finish(entry, Result(b"{}" if verdict == "failed" else entry.name, verdict, journal=journal))


def learned(store: Store) -> OutputRatios:
    """Return what the controller learns."""
    return OutputRatios.parse(*Grants(store).output_groups())


@pytest.fixture
def fed(store: Store) -> Store:
    """Return a lane whose dispatcher has finished a file before: of its first one no output is known."""
    finish_with_output(store, 0, **WHOLE)
    assert not store.redis.exists(store.keys.output)
    return store


def test_small_files_in_a_row_are_put_together(fed: Store) -> None:
    """A group is full with 1 MiB; the next file begins another one. Compressed files have their own."""
    for output_bytes in (1, 2, 4, 8, 16):
        finish_with_output(fed, output_bytes, attempt=1, size_bytes=MIB // 2)
        finish_with_output(fed, 3, "zstd", attempt=1, size_bytes=MIB * 2)

    assert learned(fed).plain == (FileGroup(MIB, 3, 2), FileGroup(MIB, 12, 2))
    assert learned(fed).compressed == (FileGroup(MIB * 2, 3, 1),) * 5
    assert Grants(fed).output_groups()[0].endswith(b" 524288/16/1")


@pytest.mark.parametrize(
    "fields",
    [
        {"verdict": "failed"},
        {"attempt": 2},
        {"known_as": "/in/0"},
        {"begin_bytes": 500},
        {"earlier_streams": '["a"]'},
        {"size_bytes": 0},
        {"size_bytes": ""},
    ],
    ids=str,
)
def test_nothing_is_learned_from_a_file_that_was_not_fed_whole_and_at_once(
    fed: Store, fields: dict[str, Any]
) -> None:
    """Its output is that of something else, or unknown."""
    finish_with_output(fed, 1000, **(WHOLE | fields))

    assert not fed.redis.exists(fed.keys.output)


def test_the_last_groups_stay_whatever_another_program_wrote(fed: Store) -> None:
    """The field has some hundred bytes after a thousand files; a huge one is replaced."""
    fed.redis.hset(fed.keys.output, mapping={"plain": b"5/5/5 " * 100_000, "compressed": "x 9/y/9 inf/1/1"})
    for output_bytes in range(MOST_GROUPS + 5):
        finish_with_output(fed, output_bytes, **WHOLE)
    finish_with_output(fed, 7, "gzip", **WHOLE)

    groups = learned(fed).plain
    assert len(groups) == MOST_GROUPS + 1
    assert groups[-1] == FileGroup(MIB, MOST_GROUPS + 4, 1)
    assert learned(fed).compressed == (FileGroup(MIB, 7, 1),)
