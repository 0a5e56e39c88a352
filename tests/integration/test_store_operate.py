"""What an operator's calls read and change in a lane. On a real Redis."""

import json
from typing import Any

import pytest

from pcapdj.store import operate
from pcapdj.store.client import Store


def finish_with(store: Store, *reasons: str) -> None:
    """Add journal entries of files that ended for these reasons."""
    for reason in reasons:
        store.redis.xadd(store.keys.journal, {"name": "/in/1.pcap", "reason": reason})


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        ([], 0),
        ([""], 0),
        (["poison: three deaths"], 1),
        (["poison", "", "poison", "poison"], 2),
        (["poison", "poison", "is cut off"], 0),
        (["poison"] * 12, 10),
    ],
)
def test_failures_in_a_row_are_counted_from_the_newest(
    store: Store, reasons: list[str], expected: int
) -> None:
    """Another result between them ends the row; at most ten entries are read."""
    finish_with(store, *reasons)

    assert operate.poison_in_a_row(store, "poison") == expected


def found_in(store: Store, stream: str) -> list[bytes]:
    """Return the files of a stream."""
    return [name for names in operate.processed_in(store, stream) for name in names]


def test_the_processed_files_of_a_stream_are_found_in_their_order(store: Store) -> None:
    """More names than one HMGET takes; files without a readable entry in FED are not found.

    A file that an orderly stop divided belongs to both streams.
    """
    names = [b"/in/%d.pcap" % number for number in range(2500)]
    entries: dict[Any, Any] = {
        name: json.dumps({"stream": "even" if number % 2 == 0 else "odd"})
        for number, name in enumerate(names)
    }
    entries[names[2]], entries[names[4]] = "not JSON", json.dumps({"stream": 5})
    entries[names[10]] = json.dumps({"stream": "even", "earlier_streams": ["none", "odd"]})
    del entries[names[6]]
    store.redis.rpush(store.keys.processed, *names)
    store.redis.hset(store.keys.fed, mapping=entries)

    assert found_in(store, "even") == [names[0], *names[8::2]]
    assert found_in(store, "odd") == [*names[1:10:2], names[10], *names[11::2]]
    assert found_in(store, "none") == [names[10]]
    assert found_in(store, "other") == []


@pytest.mark.parametrize("has_begin", [True, False])
def test_the_journal_has_the_files_of_a_stream_if_it_has_its_begin(store: Store, *, has_begin: bool) -> None:
    """Else an earlier file may be missing there: all processed files are looked at."""
    names = [b"/in/%d.pcap" % number for number in range(3000)]
    store.redis.rpush(store.keys.processed, *names)
    streams = {name: "old" if number < 2990 else "new" for number, name in enumerate(names)}
    streams[names[2995]] = "later"  # it was fed again since
    fed: dict[Any, Any] = {name: json.dumps({"stream": stream}) for name, stream in streams.items()}
    store.redis.hset(store.keys.fed, mapping=fed)
    for number in range(2990 if has_begin else 2991, 3000):
        fields: dict[Any, Any] = {"name": names[number], "verdict": "processed", "stream": "new"}
        fields |= {"first_packet": (number - 2990) * 10 + 1, "packets": 10}
        store.redis.xadd(store.keys.journal, fields)
    failed: dict[Any, Any] = {"name": "/in/bad.pcap", "verdict": "failed", "stream": "new"}
    store.redis.xadd(store.keys.journal, failed)
    looked_at: list[int] = []

    found = [name for names in operate.processed_in(store, "new", looked_at.append) for name in names]

    assert found == [*names[2990:2995], *names[2996:]]
    assert sum(looked_at) == (11 if has_begin else 3000)


def test_files_that_were_fed_one_after_the_other_are_queued_by_one_search(store: Store) -> None:
    """A hundred in each call of Redis; what stands elsewhere, twice or nowhere is found as well."""
    names = [b"/in/%d.pcap" % number for number in range(1000)]
    store.redis.rpush(store.keys.processed, *names, names[420])
    redis: Any = store.redis
    redis.config_resetstat()

    moved = operate.requeue_all(store, names[400:650])

    calls = {name[8:]: each["calls"] for name, each in redis.info("commandstats").items()}
    assert (moved, calls["lpos"], calls["lrem"]) == (250, 3, 3)
    assert store.redis.lrange(store.keys.in_queue, 0, -1) == names[400:650]
    assert store.redis.lrange(store.keys.processed, 0, -1) == [*names[:400], *names[650:], names[420]]

    others = [names[999], b"/in/none.pcap", names[420], names[3], names[3], names[0]]
    assert operate.requeue_all(store, others) == 4
    assert store.redis.lrange(store.keys.in_queue, 250, -1) == [names[999], names[420], names[3], names[0]]
    assert store.redis.lrange(store.keys.processed, 0, -1) == [*names[1:3], *names[4:400], *names[650:999]]
    assert redis.hget(store.keys.queued, names[420]).count(b"\n") == 1


def test_a_change_of_limits_writes_and_removes_at_once(store: Store) -> None:
    """The values stay as typed; the others are untouched."""
    operate.change_control(store, {"min-free": "9%", "suspend-free": "1G"})
    operate.change_control(store, {"min-free": "10%"}, removed=["suspend-free"])

    assert operate.read_control(store) == {"min-free": "10%"}


def test_resume_removes_only_the_operators_member(store: Store) -> None:
    """It returns whether the operator had suspended, and who else still does."""
    store.redis.sadd(store.keys.suspend, "usr1:d1", "gate")
    operate.suspend(store)
    assert operate.is_suspended(store)

    assert operate.resume(store) == (True, ["gate", "usr1:d1"])
    assert operate.resume(store) == (False, ["gate", "usr1:d1"])
    assert not operate.is_suspended(store)


def test_an_order_to_end_the_stream_makes_no_one_wait_for_what_is_removed(store: Store) -> None:
    """UNLINK takes the members of a set out of Redis in the background; DEL of a million takes 0.4 s."""
    store.redis.sadd(store.keys.finished, *(f"/run/{number}" for number in range(2000)))
    redis: Any = store.redis
    redis.config_resetstat()

    operate.finish(store, "now")

    called = {name[8:] for name in redis.info("commandstats")}
    assert "unlink" in called
    assert "del" not in called
    assert not redis.exists(store.keys.finished)
