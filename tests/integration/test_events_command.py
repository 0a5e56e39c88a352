"""`pcapdj events`: the events of all roles and commands, and the history of one file."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.forkserver import PIPE, clean_environment, run, start
from support.roles_rig import Trio
from support.waiting import wait_until

from pcapdj.commands import events
from pcapdj.runtime.command import exit_code_of
from pcapdj.runtime.errors import ExitCode
from pcapdj.store.client import Store
from pcapdj.store.events import Event, add_event, record_event

Printed = Callable[..., list[str]]


@pytest.fixture
def printed(store: Store, capsys: pytest.CaptureFixture[str]) -> Printed:
    """Return a runner of the command in the test's lane: the lines that it prints."""

    def lines_of(*arguments: str) -> list[str]:
        lane = ["--redis-url", store.url, "--lane", store.keys.lane]
        assert exit_code_of(events.app, "pcapdj events", [*lane, *arguments]) == ExitCode.OK
        return capsys.readouterr().out.splitlines()

    return lines_of


def as_objects(lines: list[str]) -> list[dict[str, Any]]:
    """Return lines of JSON as objects."""
    return [json.loads(line) for line in lines]


def recorded(store: Store) -> set[bytes]:
    """Return the kinds of the events that were recorded so far."""
    entries: Any = store.redis.xrange(store.keys.events)
    return {fields[b"kind"] for _, fields in entries}


def test_the_roles_tell_one_story_and_a_file_its_life(trio: Trio) -> None:
    """Two files, one of them torn: who started, what the gate decided, what was fed, and the failure."""
    whole, torn = trio.capture("1.pcap", 1, 10), trio.capture("2.pcap", 2, 10)
    os.truncate(torn, torn.stat().st_size - 100)
    trio.start_all()
    trio.queue(whole, torn)
    trio.wait_logged("dispatcher", "file_failed")
    trio.kill("controller", signal.SIGTERM)
    wait_until(lambda: b"stream_opened" in recorded(trio.store), "the thread that records the log")
    environment = clean_environment(PCAPDJ_REDIS_URL=trio.environment["PCAPDJ_REDIS_URL"])

    story = as_objects(run("pcapdj", "events", "--json", env=environment).stdout.splitlines())
    history = run("pcapdj", "events", "--file", os.path.relpath(torn), env=environment).stdout.splitlines()

    found = [(each["role"], each["kind"]) for each in story]
    assert {role for role, kind in found if kind == "started"} == {"consumer", "dispatcher"}
    assert {("controller", "gate"), ("consumer", "analyzer_started")} <= set(found)
    by_dispatcher = ["authorized", "stream_opened", "file_processed", "authorized", "file_failed"]
    assert [kind for role, kind in found if role == "dispatcher"][1:] == by_dispatcher
    assert history[0] == f"File: '{torn}'"
    assert history[1].startswith("Now:  failed: ")
    assert history[2].startswith("Fed:  failed at 20")
    assert "authorized" in history[3]
    assert "(9 packets delivered) name=" in history[4]
    assert len(history) == 5


def test_without_a_time_the_last_day_is_shown(store: Store, printed: Printed) -> None:
    """`--since` goes back further; a kind chooses."""
    now_s = time.time()
    old_id = f"{int((now_s - 90_000) * 1000)}-0"
    store.redis.xadd(store.keys.events, {"kind": "old", "time_s": now_s - 90_000}, id=old_id)
    record_event(store, "new", "", role="x")

    assert [line.split()[-1] for line in printed()] == ["new"]
    assert [line.split()[-1] for line in printed("--since", "2d")] == ["old", "new"]
    assert [line.split()[-1] for line in printed("--since", "2d", "--kind", "old")] == ["old"]


def test_a_kind_is_that_of_the_event_or_the_name_that_its_role_logged(store: Store, printed: Printed) -> None:
    """An event has in `event` what the log calls it, where that is another word; both choose it."""
    store.redis.xadd(
        store.keys.events, {"kind": "failing", "event": "analyzer_failing", "time_s": time.time()}
    )
    record_event(store, "other", "", role="x")

    for kind in ("failing", "analyzer_failing"):
        assert len(printed("--kind", kind)) == 1
    assert printed("--kind", "nothing") == []


def test_followed_events_are_printed_once_each(store: Store) -> None:
    """What is recorded meanwhile comes within a second; Ctrl-C ends it."""
    record_event(store, "first", "", role="x")
    words = ["events", "--follow", "--redis-url", store.url, "--lane", store.keys.lane]
    with start("pcapdj", *words, env=clean_environment(), stdout=PIPE) as process:
        assert b"first" in process.stdout.readline()
        add_event(store, Event("second", "", "x", time.time()))
        store.redis.xadd(store.keys.journal, {"name": "/in/1", "verdict": "processed"})
        lines = process.stdout.readline() + process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0

    assert lines.count(b"second") == 1
    assert lines.count(b"file_processed") == 1


def test_a_wrong_time_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """With what to write instead."""
    assert exit_code_of(events.app, "pcapdj events", ["--since", "yesterday"]) == ExitCode.USAGE
    assert "2026-11-26T17:40:00Z" in capsys.readouterr().err


def test_where_a_file_is(store: Store, printed: Printed) -> None:
    """Queued twice, and not fed; or fed: another program wrote no stream, and a time that is none."""
    store.redis.hset(store.keys.queued, "/in/1", "1 \n2 ")
    for name, time_s in (("/in/3", '"soon"'), ("/in/4", "-1"), ("/in/5", "60")):
        store.redis.hset(store.keys.fed, name, f'{{"result": "processed", "time_s": {time_s}}}')

    assert printed("--file", "/in/1") == ["File: '/in/1'", "Now:  queued 2 times"]
    assert printed("--file", "/in/2")[1] == "Now:  neither queued, current nor failed"
    assert printed("--file", "/in/3")[2] == printed("--file", "/in/4")[2] == "Fed:  processed, stream ''"
    assert printed("--file", "/in/5")[2] == "Fed:  processed at 1970-01-01T00:01:00Z, stream ''"


def test_a_file_is_named_by_the_last_part_of_its_name(
    store: Store, printed: Printed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for all commands: in flight, queued or fed; of a file that is nowhere but here, its path."""
    (tmp_path / "new.pcap").touch()
    monkeypatch.chdir(tmp_path)
    store.redis.sadd(store.keys.dispatchers, "main")
    store.redis.hset(store.keys.current("main"), mapping={"name": "/in/1.pcap", "state": "asked"})
    store.redis.rpush(store.keys.in_queue, "/in/2.pcap")
    store.redis.xadd(store.keys.journal, {"name": "/in/3.pcap", "verdict": "processed"})

    found = [printed("--file", f"{word}.pcap")[0] for word in ("1", "2", "3", "new")]

    assert found == [*(f"File: '/in/{n}.pcap'" for n in (1, 2, 3)), f"File: '{tmp_path}/new.pcap'"]


@pytest.mark.parametrize(
    ("word", "error"),
    [
        ("4.pcap", "Not in the queue or the journal: '4.pcap'."),
        ("1", "'1' is not unique in the queue or the journal. Name one of '/a/1', '/b/1'."),
    ],
)
def test_the_last_part_of_no_name_or_of_several_is_refused(
    store: Store, capsys: pytest.CaptureFixture[str], word: str, error: str
) -> None:
    """With the names that it may be."""
    store.redis.rpush(store.keys.in_queue, "/a/1", "/b/1")

    code = exit_code_of(
        events.app, "pcapdj events", ["--redis-url", store.url, "--lane", store.keys.lane, "--file", word]
    )

    assert (code, capsys.readouterr().err) == (ExitCode.ERROR, f"pcapdj events: {error}\n")


@pytest.mark.long
def test_a_long_story_begins_at_once(store: Store, printed: Printed) -> None:
    """It is read page by page, also where most entries are about other files."""
    batch = store.redis.pipeline()
    for number in range(3000):
        batch.xadd(store.keys.journal, {"name": f"/in/{number}", "verdict": "processed"})
    batch.execute()

    assert len(printed()) == 3000
    assert len(printed("--file", "/in/2999")) == 3
