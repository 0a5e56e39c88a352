"""The snapshot of a lane, which `status --json` prints: every documented field, and its type."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
from support.rows import each_row

from pcapdj.store.client import Store
from pcapdj.store.failures import Failure, all_failures, newest_failures
from pcapdj.store.snapshot import queued_below, read_snapshot

KEYS_DOC: Final = Path(__file__).parents[2] / "docs" / "redis-keys.md"
NOW_S: Final = 1_700_000_010.0

CURRENT: Final = {
    "name": "/in/1.pcap",
    "state": "feeding",
    "attempt": 2,
    "deaths": 1,
    "stream": "5ca1ab1e",
    "size_bytes": 3_000_000_000,
    "mtime_ns": 1_700_000_000_123_456_789,
    "dev": 64_769,
    "ino": 123_456,
    "begin": {"packets": 3},
    "first_packet": 1,
    "input_bytes": 3_000_000_000,
    "compression": "gz",
}
STATS: Final = {
    "pid": 4711,
    "pipe": "/run/pipe",
    "started_s": 1_699_999_000.25,
    "heartbeat_s": 1_700_000_009.5,
    "state": "Feeding fifo buffer",
    "waiting_for": "",
    "suspended_by": "gate",
    "suspensions": 3,
    "files": 7,
    "failed": 2,
    "packets": 12_345,
    "cap_lengths": 9_876_543,
    "lengths": 9_999_999,
    "name": "/in/1.pcap",
    "done_bytes": 1000,
    "total_bytes": 3_000_000_000,
    "stream": "5ca1ab1e",
    "stream_bytes": 5_000_000_000,
    "stalled_s": 61,
    "at_fault": "",
    "jumps": 1,
    "last_jump": "begins 12 s before the end of the previous file",
    "known": 2,
    "read_bytes": 7_000_000_000,
    "left_out": 2,
    "wrapped_times": 3,
    "steps_back": 4,
    "largest_step_back_ns": 5_000_000_000,
    "beyond_snaplen": 6,
    "after_2038_stream": "5ca1ab1e",
    "last_anomaly": "2 packets skipped",
    "last_anomaly_name": "/in/0.pcap",
    "last_jump_name": "/in/0.pcap",
    "storage": "/mnt",
    "storage_since_s": 1_700_000_001.5,
    "storage_queued": 7,
    "restored": 1,
    "lost_names": 2,
    "lost_s": 1_700_000_003.0,
    "queue": "PCAPDJ_IN_QUEUE",
    "place": "sensor 0b5e 2a:17",
    "output_bytes": 11,
}
GATE: Final = {
    "state": "hold",
    "reason": "'/out' has 1.0 GiB free",
    "path": "/out",
    "free_bytes": 1 << 30,
    "needed_bytes": 2 << 30,
    "since_s": 1_700_000_000.5,
    "heartbeat_s": 1_700_000_004.0,
    "refused": "",
    "lost": "",
    "live": {"min-free": "5%"},
    "limits": {"min-free": "5%"},
    "options": {"min-free": "10%"},
    "sources": {"min-free": "default"},
    "short": {"/out": "hold"},
    "disks": [{"name": "/out", "free": 1 << 30}],
    "file_systems": {"/out": {"device": 5}},
    "accepted": "",
    "event_id": "5-0",
    "cause": "reserve",
    "output_bytes": 12,
    "reserve": {"factor": 0.5},
    "reclaim": {"how": "remove"},
    "between": {"state": "idle"},
    "fill_rates": {"largest": {"bytes": 7}, "fed_s": 1.5},
    "full": [{"path": "/out", "device": 5, "time_s": 1.5, "state": "had 0 bytes free"}],
}
CONSUMER: Final = {
    "state": "reading",
    "stream": "5ca1ab1e",
    "pid": 4713,
    "launcher_pid": 4712,
    "command": "suricata",
    "logdir": "/out/latest",
    "restarts": 1,
    "starts": 3,
    "crashes": 2,
    "last_stream": "0ddba11",
    "last_exit": "exited 0",
    "last_verdict": "ended",
    "last_exits": "0ddba11 exited 0",
    "reason": "",
    "since_s": 1_700_000_001.0,
    "paused_s": 1_700_000_002.0,
    "suspect": "",
    "heartbeat_s": 1_700_000_010.0,
}

IMPORTER: Final = {
    "state": "watching",
    "pid": 4711,
    "heartbeat_s": 1_700_000_010.0,
    "folders": ["/in"],
    "waiting": 3,
    "written": 2,
    "skipped": {"hidden": 1, "empty": 3},
    "known": 5,
    "lost_names": 4,
    "overlaps": ["'/in/a' and '/in/b' overlap by 59 s"],
    "problem": "",
    "last_event": "3 queued, the last one '/in/c'",
    "last_event_s": 1_700_000_009.5,
}
OF_IMPORTER: Final = ("folders", "skipped", "overlaps")
OF_GATE: Final = ("live", "limits", "short", "disks", "file_systems", "fill_rates", "full")


def write(store: Store, key: str, fields: dict[str, Any]) -> None:
    """Write a hash as the roles do: every value as text, structures as JSON."""
    texts = {
        name: json.dumps(each) if isinstance(each, dict | list) else str(each)
        for name, each in fields.items()
    }
    store.redis.hset(key, mapping=dict[Any, Any](texts))


def documented(key: str) -> set[str]:
    """Return the fields of a hash in docs/redis-keys.md."""
    (row,) = [line for line in KEYS_DOC.read_text().splitlines() if line.startswith(f"| `{key}` | ")][1:]
    cell = row.split(" | ", 1)[1].rstrip(" |")
    while cell != (shorter := re.sub(r" ?\([^()]*\)", "", cell)):
        cell = shorter
    return set(cell.split(", "))


@each_row(
    ("key", "fields"),
    [
        ("PCAPDJ_CURRENT:<id>", {*CURRENT, "token", "queued"}),
        ("PCAPDJ_STATS:<id>", {*STATS, "finished", "forgotten"}),
        ("PCAPDJ_GATE", {*GATE}),
        ("PCAPDJ_CONSUMER", {*CONSUMER}),
        ("PCAPDJ_IMPORTER", {*IMPORTER}),
    ],
)
def test_this_test_has_every_documented_field(key: str, fields: set[str]) -> None:
    """A new field is written into the documentation and into the snapshot below."""
    assert fields == documented(key)


def test_the_snapshot_has_every_field_with_its_type(store: Store) -> None:
    """Counts and sizes are integers, times are floats, JSON is decoded; the token is left out."""
    keys = store.keys
    store.redis.sadd(keys.dispatchers, "d1", "d2")
    write(store, keys.current("d1"), {**CURRENT, "token": "secret"})
    write(store, keys.stats("d1"), STATS)
    write(store, keys.stats("d2"), {**STATS, "heartbeat_s": 1_699_999_999.0})
    write(store, keys.gate, GATE)
    write(store, keys.consumer, CONSUMER)
    write(store, keys.importer, IMPORTER)
    store.redis.rpush(keys.in_queue, "/in/2.pcap", "/in/3.pcap", "/in/4.pcap")
    store.redis.rpush(keys.processed, "/in/0.pcap", "/in/00.pcap")
    store.redis.rpush(keys.failed, "{}")
    store.redis.sadd(keys.suspend, "operator", "gate")
    write(store, keys.control, {"gate": "hold", "min-free": "5%"})
    write(store, keys.suspect, {"5ca1ab1e": "its disk was full"})
    store.redis.set(keys.state, "DONE")
    store.redis.set(keys.finish, "empty")

    snapshot = read_snapshot(store, NOW_S)

    expected = {
        "lane": keys.lane,
        "queued": 3,
        "current": [{"dispatcher": "d1", **CURRENT}],
        "processed": 2,
        "failed": 1,
        "gate": {**GATE, "heartbeat_age_s": 6.0, "stale": True},
        "dispatchers": [
            {"id": "d1", **STATS, "heartbeat_age_s": 0.5, "stale": False},
            {"id": "d2", **STATS, "heartbeat_s": 1_699_999_999.0, "heartbeat_age_s": 11.0, "stale": True},
        ],
        "consumer": {**CONSUMER, "heartbeat_age_s": 0.0, "stale": False},
        "importer": {**IMPORTER, "heartbeat_age_s": 0.0, "stale": False},
        "suspended": ["gate", "operator"],
        "suspects": {"5ca1ab1e": "its disk was full"},
        "control": {"gate": "hold", "min-free": "5%"},
        "state": "DONE",
        "finish": "empty",
        "redis_problem": "",
    }
    assert snapshot == expected
    assert types_of(snapshot) == types_of(expected)


def types_of(value: Any) -> Any:
    """Return the structure with each value replaced by its type; 1 equals 1.0, their types differ."""
    if isinstance(value, dict):
        return {name: types_of(each) for name, each in value.items()}
    return [types_of(each) for each in value] if isinstance(value, list) else type(value)


def test_the_snapshot_of_an_empty_lane_has_every_key(store: Store) -> None:
    """Programs that read it need no case for a lane in which nothing has run yet."""
    assert read_snapshot(store, NOW_S) == {
        "lane": store.keys.lane,
        "queued": 0,
        "current": [],
        "processed": 0,
        "failed": 0,
        "gate": None,
        "dispatchers": [],
        "consumer": None,
        "importer": None,
        "suspended": [],
        "suspects": {},
        "control": {},
        "state": "",
        "finish": "",
        "redis_problem": "",
    }


@pytest.mark.parametrize("text", ["", "x", "[", "7", "null", "[" * 100_000, '"\\ud800"'])
def test_json_that_another_program_wrote_is_empty(store: Store, text: str) -> None:
    """What is of another type, or no JSON, or too deep."""
    write(store, store.keys.importer, {**IMPORTER, **dict.fromkeys(OF_IMPORTER, text)})
    write(store, store.keys.gate, {**GATE, **dict.fromkeys(OF_GATE, text)})

    snapshot = read_snapshot(store, NOW_S)

    assert [snapshot["importer"][name] for name in OF_IMPORTER] == [[], {}, []]
    assert [snapshot["gate"][name] for name in OF_GATE] == [{}, {}, {}, [], {}, {}, []]


@pytest.mark.parametrize("text", ["{}", "[]"])
def test_json_of_another_form_is_empty(store: Store, text: str) -> None:
    """A list where an object belongs, and an object in place of a list."""
    write(store, store.keys.importer, {**IMPORTER, **dict.fromkeys(OF_IMPORTER, text)})

    importer = read_snapshot(store, NOW_S)["importer"]

    assert [importer[name] for name in OF_IMPORTER] == [[], {}, []]


@pytest.mark.parametrize(
    ("field", "text"),
    [("pid", ""), ("files", "many"), ("files", "1.5"), ("heartbeat_s", "nan"), ("started_s", "inf")],
)
def test_a_value_that_is_not_a_number_stays_text(store: Store, field: str, text: str) -> None:
    """Half written or written by another program: it is shown as it is, and is valid JSON."""
    store.redis.sadd(store.keys.dispatchers, "d1")
    write(store, store.keys.stats("d1"), {**STATS, field: text})

    (dispatcher,) = read_snapshot(store, NOW_S)["dispatchers"]

    assert dispatcher[field] == text
    assert dispatcher["stale"] is (field == "heartbeat_s")
    assert (dispatcher["heartbeat_age_s"] is None) is (field == "heartbeat_s")


@pytest.mark.parametrize(("age_s", "stale"), [(5.0, False), (5.1, True)])
def test_a_heartbeat_is_stale_after_five_seconds(store: Store, age_s: float, stale: bool) -> None:  # noqa: FBT001 - a case
    """Roles write one each second."""
    write(store, store.keys.gate, {**GATE, "heartbeat_s": NOW_S - age_s})

    gate = read_snapshot(store, NOW_S)["gate"]

    assert (gate["heartbeat_age_s"], gate["stale"]) == (age_s, stale)


def test_a_heartbeat_from_the_future_is_not_stale(store: Store) -> None:
    """Another machine's clock may be ahead; the age is never negative."""
    write(store, store.keys.gate, {**GATE, "heartbeat_s": NOW_S + 60})

    assert read_snapshot(store, NOW_S)["gate"]["heartbeat_age_s"] == 0.0


def test_failures_are_read_whole(store: Store) -> None:
    """Name and reason of each entry, and all its fields; an entry that is not valid is shown as it is."""
    entry = {"name": "/in/\udcff", "reason": "is cut off", "offset": 7, "packets": 5, "attempt": 1}
    raw = json.dumps(entry).encode()
    store.redis.rpush(store.keys.failed, b"not JSON \xff", raw)

    invalid, valid = all_failures(store)

    assert invalid == Failure(b"not JSON \xff", None, "not a valid entry: not JSON \udcff", {})
    assert valid == Failure(raw, b"/in/\xff", "is cut off", entry)
    assert newest_failures(store, 1) == [valid]


def test_queued_names_below_a_folder_are_counted_among_the_first_ten_thousand(store: Store) -> None:
    """What the queue has behind them costs nothing, and is not counted."""
    names = [f"/mnt/{'a' if number % 2 else 'ab'}/{number}.pcap" for number in range(10_000)]
    store.redis.rpush(store.keys.in_queue, *names)

    assert queued_below(store, b"/mnt/a") == queued_below(store, b"/mnt/a/") == (5000, True)
    assert queued_below(store, b"/") == (10_000, True)

    store.redis.rpush(store.keys.in_queue, "/mnt/a/last.pcap")
    assert queued_below(store, b"/mnt/a") == (5000, False)
