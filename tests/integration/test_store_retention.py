"""How long Redis keeps what is known of fed files, on a real Redis and real folders."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from support.fuse import FuseMount
from support.retention import retention_of

from pcapdj.commands.check import redis_lines
from pcapdj.store.client import Store
from pcapdj.store.job_queue import JobQueue, JournalLimits, QueueEntry, Result
from pcapdj.store.retention import DAY_S, Retention

OLD_S = time.time() - 31 * DAY_S


def run(retention: Retention, now_s: float = 0.0) -> int:
    """Step until nothing is left to do; return how many steps it took."""
    steps = 0
    while retention.step(now_s):
        steps += 1
    return steps


def record(folder: Path, time_s: float | None = None, **fields: object) -> str:
    """Return an entry of FED about a file of the folder."""
    known = {"dev": folder.stat().st_dev, "mtime_ns": 5, "size_bytes": 1, **fields}
    return json.dumps(known if time_s is None else {**known, "time_s": time_s})


def test_the_record_of_a_file_that_is_gone_is_removed_after_thirty_days(store: Store, tmp_path: Path) -> None:
    """Not before, and not while the file is there or its folder may be on storage that is away."""
    (tmp_path / "here").write_text("x")
    (tmp_path / "dangling").symlink_to("nowhere")
    gone = os.fsencode(tmp_path)
    fed: dict[bytes, str] = {
        gone + b"/gone \xff": record(tmp_path, OLD_S),
        gone + b"/of an older version": record(tmp_path),
        gone + b"/lately": record(tmp_path, OLD_S + 2 * DAY_S),
        gone + b"/here": record(tmp_path, OLD_S),
        gone + b"/dangling": record(tmp_path, OLD_S),
        gone + b"/of another file system": record(tmp_path, OLD_S, dev=1),
        gone + b"/removed folder/x": record(tmp_path, OLD_S),
        gone + b"/not valid": "[",
        b"\0": record(tmp_path, OLD_S),
    }
    store.redis.hset(store.keys.fed, mapping=dict[Any, Any](fed))

    run(retention_of(store))

    assert set(store.redis.hkeys(store.keys.fed)) == set(list(fed)[2:])


def test_with_roots_only_files_below_them_are_looked_at(store: Store, tmp_path: Path) -> None:
    """No link is followed there; what else stands in Redis stays."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "link").symlink_to(outside)
    names = [root / "gone", root / "link" / "gone", outside / "gone"]
    store.redis.hset(store.keys.fed, mapping={str(name): record(tmp_path, OLD_S) for name in names})

    run(retention_of(store, roots=[root]))

    assert set(store.redis.hkeys(store.keys.fed)) == {*map(os.fsencode, names[1:])}


def test_records_of_files_on_a_file_system_that_may_hang_are_removed_too(
    store: Store, mount: FuseMount, tmp_path: Path
) -> None:
    """Once it answers; until then all others are."""
    (mount.source / "there").touch()
    fed = {str(mount.folder / name): record(mount.folder, OLD_S) for name in ("there", "gone")}
    fed[str(tmp_path / "gone")] = record(tmp_path, OLD_S)
    store.redis.hset(store.keys.fed, mapping=dict[Any, Any](fed))
    mount.hang(everything=True)
    retention = retention_of(store)

    run(retention)
    assert mount.has_hung
    assert store.redis.hlen(store.keys.fed) == 2
    mount.go_on()
    run(retention, DAY_S)

    assert store.redis.hkeys(store.keys.fed) == [os.fsencode(mount.folder / "there")]


def test_a_suspect_stream_is_forgotten_when_two_walks_find_no_file_of_it(
    store: Store, tmp_path: Path
) -> None:
    """While FED has a file of it, it keeps that from being removed; so it does while one is in flight."""
    keys, gone = store.keys, os.fsencode(tmp_path / "gone")
    here = {"/in/1": {"stream": "fed"}, "/in/2": {"stream": "x", "earlier_streams": ["earlier"]}}
    store.redis.hset(keys.fed, mapping={name: json.dumps(fields) for name, fields in here.items()})
    store.redis.hset(keys.fed, gone, record(tmp_path, OLD_S, stream="of a file that is gone"))
    store.redis.sadd(keys.dispatchers, "main")
    store.redis.hset(keys.current("main"), mapping={"name": "/in/3", "begin": '{"streams": ["in flight"]}'})
    store.redis.hset(keys.consumer, "stream", "open")
    streams = ("fed", "earlier", "in flight", "open", "of a file that is gone", "unused")
    store.redis.hset(keys.suspect, mapping=dict.fromkeys(streams, "The disk was full."))
    retention = retention_of(store)

    found = []
    for day in range(3):
        run(retention, day * DAY_S)
        found.append(len(store.redis.hkeys(keys.suspect)))

    assert found == [6, 5, 4]
    assert set(store.redis.hkeys(keys.suspect)) == {b"fed", b"earlier", b"in flight", b"open"}


def test_a_capture_is_forgotten_after_a_year(store: Store) -> None:
    """With all that begin like it: the newest of them counts."""
    now_s = time.time()
    lines = {age: json.dumps({"time_s": now_s - age * DAY_S}) for age in (1, 364, 366, 800)}
    captures = {
        "40:new": lines[1],
        "40:mixed": f"{lines[800]}\n{lines[364]}",
        "40:old": f"{lines[800]}\n{lines[366]}",
        "40:invalid": "x",
    }
    store.redis.hset(store.keys.captures, mapping=dict[Any, Any](captures))

    run(retention_of(store))

    assert set(store.redis.hkeys(store.keys.captures)) == {b"40:new", b"40:mixed"}


def test_nothing_is_removed_where_the_limits_are_off(store: Store, tmp_path: Path) -> None:
    """0 days: for ever."""
    store.redis.hset(store.keys.fed, os.fsencode(tmp_path / "gone"), record(tmp_path, OLD_S))
    store.redis.hset(store.keys.captures, "40:old", "{}")

    assert run(retention_of(store, 0, 0)) == 0

    assert store.redis.hlen(store.keys.fed) == store.redis.hlen(store.keys.captures) == 1


def test_it_works_once_a_day_in_steps(store: Store, tmp_path: Path) -> None:
    """So that no call takes long."""
    names = {str(tmp_path / f"{number}"): record(tmp_path, OLD_S) for number in range(1200)}
    store.redis.hset(store.keys.fed, mapping=dict[Any, Any](names))
    retention = retention_of(store)

    assert run(retention) > 5
    assert not store.redis.exists(store.keys.fed)
    store.redis.hset(store.keys.fed, mapping=dict[Any, Any](names))
    assert run(retention, DAY_S - 1) == 0
    assert run(retention, DAY_S) > 5


def test_a_record_that_was_written_meanwhile_is_kept(store: Store) -> None:
    """The file came back and was fed between the look and the removal."""
    store.redis.hset(store.keys.fed, "/in/1", "new")

    assert store.run("forget_fields", [store.keys.fed], ["/in/1", "old", "/in/2", "old"]) == 0
    assert store.run("forget_fields", [store.keys.fed], ["/in/1", "new"]) == 1


@pytest.mark.parametrize(
    ("limits", "kept"),
    [(JournalLimits(10_000, 400), 301), (JournalLimits(100, 400), 101), (JournalLimits(10_000, 3), 101)],
)
def test_the_journal_is_kept_by_number_and_by_age(store: Store, limits: JournalLimits, kept: int) -> None:
    """Redis removes whole blocks of a hundred entries: a few more than wanted stay."""
    now_ms = int(time.time() * 1000)
    for number in range(300):
        days = 5 if number < 200 else 1
        time_ms = now_ms - days * 86_400_000 + number
        store.redis.xadd(store.keys.journal, {"name": "x"}, id=f"{time_ms}-0")
    store.redis.rpush(store.keys.in_queue, "/in/1")
    jobs = JobQueue(store, "d", journal=limits)
    entry = jobs.take()
    assert isinstance(entry, QueueEntry)

    jobs.finish(entry, Result(entry.name, "processed"))

    assert kept <= store.redis.xlen(store.keys.journal) <= kept + 101


def test_check_shows_the_memory_of_the_journal(store: Store) -> None:
    """So that its limits can be chosen."""
    store.redis.xadd(store.keys.journal, {"name": "x"})
    store.redis.xadd(store.keys.journal, {"name": "y"})

    texts = [line.text for line in redis_lines(store.url, None, store.keys.lane)]

    (line,) = [text for text in texts if "journal" in text]
    assert line.startswith("the journal has 2 entries in ")
    assert line.endswith(" of its memory")
