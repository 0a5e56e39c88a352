"""The operator's commands against a real Redis: what they write, what they print, how they end."""

import itertools
import json
import os
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from support.waiting import scaled

from pcapdj.commands import failed, finish, forget, gate, limits, requeue, resume, skip, status, suspend
from pcapdj.disk.limits import DEFAULTS
from pcapdj.runtime.command import exit_code_of
from pcapdj.runtime.errors import ExitCode, PcapdjError
from pcapdj.runtime.safe_text import quoted, to_text
from pcapdj.store import operate
from pcapdj.store.client import Store
from pcapdj.store.events import read_events
from pcapdj.store.job_queue import Answer, JobQueue, QueueEntry, Result
from pcapdj.store.keys import IN_QUEUE
from pcapdj.store.queue import queue_length
from pcapdj.store.queue_check import compare_now

HOSTILE = b"/in/\x1b[2J; $(id)\n'\xff -x"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(store: Store, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a runner of a command in the test's lane: exit code, stdout, stderr."""

    def run_command(app: typer.Typer, *arguments: str) -> tuple[int, str, str]:
        options = ["--redis-url", store.url, "--lane", store.keys.lane]
        code = exit_code_of(app, "pcapdj test", [*options, *arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run_command


def take(store: Store, name: bytes) -> tuple[JobQueue, QueueEntry]:
    """Queue a file and let a dispatcher take it."""
    store.redis.rpush(store.keys.in_queue, name)
    store.redis.sadd(store.keys.dispatchers, "main")
    jobs = JobQueue(store, "main")
    taken = jobs.take()
    assert isinstance(taken, QueueEntry)
    return jobs, taken


def processed(store: Store, name: bytes, stream: str = "") -> None:
    """Let a file be processed."""
    jobs, _ = take(store, name)
    jobs.mark(stream=stream)
    again = jobs.take()
    assert isinstance(again, QueueEntry)
    assert jobs.finish(again, Result(name, "processed"))


def failed_file(store: Store, name: bytes, reason: str = "it is damaged") -> None:
    """Let a file fail."""
    jobs, taken = take(store, name)
    entry = {"name": to_text(name), "reason": reason, "packets": 7, "attempt": 1, "offset": 123}
    assert jobs.finish(taken, Result(json.dumps(entry).encode(), "failed"))


def queued(store: Store) -> list[Any]:
    """Return the queue."""
    return list(store.redis.lrange(store.keys.in_queue, 0, -1))


def status_fields(run: Run) -> dict[str, Any]:
    """Return what `status --json` prints."""
    code, out, _ = run(status.app, "--json")
    assert code == ExitCode.OK
    return dict(json.loads(out))


def test_status_has_exactly_the_promised_keys(run: Run) -> None:
    """Programs may rely on the keys, of an empty lane too."""
    assert set(status_fields(run)) == {
        *("lane", "queued", "current", "processed", "failed", "gate", "dispatchers", "consumer", "suspended"),
        *("importer", "control", "state", "suspects", "redis_problem", "finish"),
    }


def test_status_counts_and_names_what_is_current(run: Run, store: Store) -> None:
    """Lengths of the lists, and the file that a dispatcher has taken."""
    processed(store, b"/in/1.pcap")
    failed_file(store, b"/in/2.pcap")
    take(store, HOSTILE)
    store.redis.rpush(store.keys.in_queue, "/in/4.pcap")

    found = status_fields(run)

    assert (found["queued"], found["processed"], found["failed"]) == (1, 1, 1)
    (current,) = found["current"]
    assert current["name"].encode("utf-8", "surrogateescape") == HOSTILE
    assert (current["state"], current["attempt"]) == ("asked", 1)
    assert "token" not in current


def waiting_for_storage(store: Store, name: bytes, storage: str, heartbeat_s: float) -> str:
    """Let a dispatcher take a file and wait for its storage; return the token."""
    _, taken = take(store, name)
    fields = {"storage": storage, "heartbeat_s": heartbeat_s}
    store.redis.hset(store.keys.stats("main"), mapping=dict[Any, Any](fields))
    return taken.token


@pytest.mark.parametrize(
    ("names", "state", "reason"),
    [
        ([], "asked", "before its first packet"),
        ([], "authorized", "behind its first records: they are sent once an analyzer reads"),
        ([to_text(HOSTILE)], "feeding", "behind the records that are being sent"),
    ],
    ids=["any", "without an analyzer", "by name"],
)
def test_skip_requests_it_for_the_entry_that_is_taken(
    run: Run, store: Store, names: list[str], state: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its token, so that no other file is skipped if that one is finished meanwhile."""
    monkeypatch.setattr(skip, "_EFFECT_S", 0)
    token = waiting_for_storage(store, HOSTILE, "", time.time())
    store.redis.hset(store.keys.current("main"), "state", state)

    code, out, err = run(skip.app, *names)

    assert (code, err) == (0, "")
    assert out == f"{quoted(HOSTILE)} will be skipped {reason}.\n"
    assert store.redis.hgetall(store.keys.skip) == {b"main": token.encode()}


def test_skip_shows_who_suspends_feeding_without_an_effect_on_the_terminal(
    run: Run, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any program that reaches Redis may have written it; what goes on later is not waited for."""
    monkeypatch.setattr(skip, "_EFFECT_S", scaled(30))
    began_s = time.monotonic()
    waiting_for_storage(store, b"/in/1.pcap", "", time.time())
    store.redis.hset(store.keys.stats("main"), "suspended_by", "gate\x1b[2J\nSkipped.")
    store.redis.hset(store.keys.current("main"), "state", "feeding")

    assert r"gate\x1b[2J\nSkipped." in run(skip.app)[1]
    assert time.monotonic() - began_s < scaled(15)


@pytest.mark.parametrize(
    ("age_s", "name", "sentence"),
    [
        (60, "", "No dispatcher has a file."),
        (0, "/in/2.pcap", "No dispatcher has '/in/2.pcap'. Remove a queued file with `pcapdj queue remove`."),
    ],
    ids=["a dead dispatcher", "another file"],
)
def test_skip_is_refused_where_no_dispatcher_has_the_file(
    run: Run, store: Store, age_s: float, name: str, sentence: str
) -> None:
    """In one sentence; nothing is requested."""
    waiting_for_storage(store, b"/in/1.pcap", "/mnt/a", time.time() - age_s)

    assert run(skip.app, *filter(None, [name])) == (1, "", f"pcapdj test: {sentence}\n")
    assert not store.redis.exists(store.keys.skip)


def test_skip_chooses_the_file_whose_storage_is_away_or_the_only_one() -> None:
    """Among several that are fed it needs a name, or a last part that only one has."""
    one, two, away = (
        skip.TakenFile(str(number), name, b"t", "feeding", is_away, "")
        for number, (name, is_away) in enumerate([(b"/a/1", False), (b"/b/1", False), (b"/c/2", True)])
    )

    assert skip.chosen([one, two, away], None) == [away]
    assert skip.chosen([one], None) == [one]
    assert skip.chosen([one, two, away], b"2") == [away]
    assert skip.chosen([one, two], b"/b/1") == [two]
    for name in (None, b"1"):
        with pytest.raises(PcapdjError, match="Name one of '/a/1', '/b/1'"):
            skip.chosen([one, two], name)


def test_status_marks_an_old_heartbeat_stale(run: Run, store: Store) -> None:
    """A dispatcher that was killed long ago is listed as stale."""
    store.redis.sadd(store.keys.dispatchers, "old")
    store.redis.hset(store.keys.stats("old"), mapping={"heartbeat_s": "1000.5", "files": "3"})

    (dispatcher,) = status_fields(run)["dispatchers"]

    assert dispatcher["stale"] is True
    assert dispatcher["files"] == 3


def test_status_survives_partial_and_foreign_values(run: Run, store: Store) -> None:
    """Half a hash, invalid numbers and entries of other programs are shown, and end nothing."""
    store.redis.sadd(store.keys.dispatchers, b"\xff\n")
    store.redis.hset(store.keys.current("x"), "attempt", "2")
    store.redis.hset(store.keys.gate, mapping={"state": "open", "free_bytes": "lots", "heartbeat_s": "nan"})
    store.redis.hset(store.keys.consumer, "restarts", "")
    store.redis.rpush(store.keys.failed, b"no json \xff", b"[]", b'{"name": 5}', b"null")

    code, out, err = run(status.app)

    assert (code, err) == (ExitCode.OK, "")
    assert "Failed last" in out
    assert status_fields(run)["gate"]["stale"] is True


def test_status_names_a_key_of_another_type(run: Run, store: Store) -> None:
    """The error is one sentence, without a traceback."""
    store.redis.set(store.keys.in_queue, "not a list")

    code, _, err = run(status.app)

    assert code == ExitCode.ERROR
    assert err.count("\n") == 1


def test_status_shows_the_last_three_failures(run: Run, store: Store) -> None:
    """All of them are shown by `failed`."""
    for number in range(5):
        failed_file(store, b"/in/%d.pcap" % number, f"reason {number}")

    lines = [line.strip() for line in run(status.app)[1].splitlines()[-3:]]

    assert [line.removeprefix("Failed last").strip() for line in lines] == [
        f"'/in/{number}.pcap': reason {number}" for number in (2, 3, 4)
    ]
    assert lines[0].startswith("Failed last")


def test_suspend_and_resume_touch_only_the_operators_member(run: Run, store: Store) -> None:
    """Resume shows who else still suspends."""
    store.redis.sadd(store.keys.suspend, "gate", "usr1:main")

    assert run(suspend.app)[0] == ExitCode.OK
    assert b"operator" in store.redis.smembers(store.keys.suspend)
    code, out, _ = run(resume.app)

    assert code == ExitCode.OK
    assert "Still suspended by gate, SIGUSR1 to the dispatcher main." in out
    assert store.redis.smembers(store.keys.suspend) == {b"gate", b"usr1:main"}


def test_resume_names_who_ends_the_other_suspensions(run: Run, store: Store) -> None:
    """The whole output, as after `suspend` on a full disk."""
    suspended = "Suspended by the operator, also through restarts; 'pcapdj resume' ends that.\n"
    assert run(suspend.app) == (ExitCode.OK, suspended, "")
    store.redis.sadd(store.keys.suspend, "gate", "usr1:main")

    resumed = (
        "The operator's suspension has ended.\nStill suspended by gate, SIGUSR1 to the dispatcher main."
        " The gate resumes when the disk has room, or after 'pcapdj gate open'."
        " SIGUSR1 to the same dispatcher ends its suspension.\n"
    )
    assert run(resume.app) == (ExitCode.OK, resumed, "")


def test_resume_without_a_suspension_reports_that(run: Run) -> None:
    """It does not claim to have ended one."""
    assert run(resume.app)[:2] == (ExitCode.OK, "The operator had not suspended feeding.\n")


@pytest.mark.parametrize(
    ("arguments", "value", "when"),
    [
        ([], b"empty", "as soon as no file is queued or current"),
        (["--now"], b"now", "after the current file"),
    ],
)
def test_finish_writes_when_the_stream_ends(
    run: Run, store: Store, arguments: list[str], value: bytes, when: str
) -> None:
    """The dispatcher finds it, now or when it starts."""
    code, out, _ = run(finish.app, *arguments)

    assert (code, out) == (ExitCode.OK, f"The stream ends {when}; files that come later begin a new one.\n")
    assert store.redis.get(store.keys.finish) == value


@pytest.mark.parametrize(
    ("consumer", "queued_names", "arguments", "is_written"),
    [
        ({"state": "idle", "stream": ""}, 0, [], False),
        ({"state": "idle", "stream": ""}, 1, ["--now"], False),
        ({"state": "idle", "stream": ""}, 1, [], True),
        ({"state": "reading", "stream": "s1"}, 0, [], True),
        ({"state": "starting"}, 0, ["--now"], True),
        ({"state": "idle", "stream": "", "heartbeat_s": 1}, 0, [], True),
    ],
    ids=str,
)
def test_finish_promises_no_end_where_no_stream_is_open(
    run: Run,
    store: Store,
    consumer: dict[str, Any],
    queued_names: int,
    arguments: list[str],
    is_written: bool,  # noqa: FBT001 - a parameter
) -> None:
    """Unless files will open one, or the launcher is silent."""
    fields: dict[Any, Any] = {"heartbeat_s": time.time(), **consumer}
    store.redis.hset(store.keys.consumer, mapping=fields)
    if queued_names:
        store.redis.rpush(store.keys.in_queue, "/in/1")

    code, out, _ = run(finish.app, *arguments)

    assert (code, store.redis.exists(store.keys.finish)) == (ExitCode.OK, is_written)
    assert (out == "No stream is open: there is nothing to end.\n") != is_written


def test_accepting_the_disks_is_written_anew_each_time(run: Run, store: Store) -> None:
    """And leaves the override alone."""
    accepted = []
    for _ in range(2):
        result = "The watched paths are accepted on the file systems where they are now.\n"
        assert run(gate.app, "accept") == (ExitCode.OK, result, "")
        accepted.append(store.redis.hget(store.keys.control, "accept"))

    assert accepted[0] != accepted[1]
    assert not store.redis.hexists(store.keys.control, "gate")


@pytest.mark.parametrize(
    ("word", "result"),
    [
        ("open", "The gate is open, even if the disks are full; 'pcapdj gate auto' ends that."),
        (
            "hold",
            "The gate holds: the current file goes on, no other file starts. 'pcapdj gate auto' ends that.",
        ),
        ("auto", "The gate follows the disks."),
    ],
)
def test_the_gates_override_is_written_and_shown(run: Run, store: Store, word: str, result: str) -> None:
    """`gate WORD` sets it; `gate` shows it."""
    assert run(gate.app, word) == (ExitCode.OK, f"{result}\n", "")

    assert store.redis.hget(store.keys.control, "gate") == word.encode()
    assert run(gate.app) == (ExitCode.OK, f"{result}\n", "")


def test_the_override_is_auto_until_it_is_set(run: Run, store: Store) -> None:
    """No field is the same as `auto`; a word that another program wrote there is shown as refused."""
    assert run(gate.app) == (ExitCode.OK, "The gate follows the disks.\n", "")

    store.redis.hset(store.keys.control, "gate", "shut\x1b")
    refused = "The controller refuses the gate setting $'shut\\x1b'; 'pcapdj gate auto' ends that.\n"
    assert run(gate.app) == (ExitCode.OK, refused, "")


def test_an_unknown_override_is_refused_with_the_known_ones(run: Run, store: Store) -> None:
    """`close` is a word that many would try; nothing is written."""
    code, out, err = run(gate.app, "close")

    assert (code, out) == (ExitCode.USAGE, "")
    assert (
        err
        == "pcapdj test: Unknown gate setting 'close'. Write open, hold (which closes it), auto or accept.\n"
    )
    assert not store.redis.exists(store.keys.control)


def test_limits_are_set_shown_and_unset(run: Run, store: Store) -> None:
    """A limit is in PCAPDJ_CONTROL as typed, beside the override."""
    run(gate.app, "hold")

    code, out, err = run(limits.app, "set", "min-free=8%", "resume-after=5s")
    assert code == ExitCode.OK
    unknown = "unknown: no controller is running"
    assert out.splitlines() == [
        "Gate  no controller has reported yet",
        "",
        "min-free              8%                live",
        f"resume-free           {unknown}",
        "resume-after          5s                live",
        f"suspend-free          {unknown}",
        f"min-free-inodes       {unknown}",
        f"min-available-memory  {unknown}",
        f"reserve               {unknown}",
    ]
    assert err == "No controller is running; the next one applies this if it fits its options.\n"
    assert store.redis.hget(store.keys.control, "min-free") == b"8%"

    assert run(limits.app, "unset", "min-free", "resume-after")[0] == ExitCode.OK
    assert store.redis.hgetall(store.keys.control) == {b"gate": b"hold"}


@pytest.mark.parametrize(
    "words",
    [
        ["min-free=8parsecs"],
        ["min-free=98%"],
        ["min-free=8%", "resume-free=7%"],
        ["gate=open"],
        ["min-free"],
        ["min-free="],
        [],
    ],
)
def test_invalid_limits_are_refused_before_they_are_written(run: Run, store: Store, words: list[str]) -> None:
    """One line, exit 2, and the lane as it was."""
    code, out, err = run(limits.app, "set", *words)

    assert (code, out) == (ExitCode.USAGE, "")
    assert err.count("\n") == 1
    assert not store.redis.exists(store.keys.control)


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        (["min-free=8%"], "Unknown action 'min-free=8%'. Write show, set NAME=VALUE or unset NAME."),
        (["set", "min-free"], "'min-free' has no value. Write NAME=VALUE, as min-free=8%."),
        (["set", "minfree=8%"], f"Unknown limit 'minfree'. Known limits: {', '.join(DEFAULTS)}."),
        (["unset", "minfree"], f"Unknown limit 'minfree'. Known limits: {', '.join(DEFAULTS)}, force."),
        (["unset"], f"No limit is named. Known limits: {', '.join(DEFAULTS)}, force."),
        (
            ["set", "min-free=98%"],
            (
                "min-free: '98%' would keep 98 % of the disk *free*, not used."
                " To fill it up to 98 % write 2%; to keep that much free add --force."
            ),
        ),
        (
            ["set", "min-free=50%"],
            (
                "min-free: '50%' would keep 50 % of the disk *free*, not used."
                " Add --force if half of the disk is to stay free."
            ),
        ),
    ],
)
def test_a_refusal_shows_what_to_write_instead(run: Run, arguments: list[str], refusal: str) -> None:
    """The thing, the number, and what to do next."""
    assert run(limits.app, *arguments) == (ExitCode.USAGE, "", f"pcapdj test: {refusal}\n")


def test_a_new_limit_is_checked_against_the_live_ones(run: Run) -> None:
    """The order is suspend < min < resume, whichever of them was set before."""
    run(limits.app, "set", "resume-free=20%")

    code, _, err = run(limits.app, "set", "min-free=25%")

    assert code == ExitCode.USAGE
    assert "must be below resume-free" in err


def test_force_allows_a_large_min_free(run: Run, store: Store) -> None:
    """It is written for the controller; changes of other limits leave it."""
    code, out, _ = run(limits.app, "set", "min-free=60%", "--force")
    assert code == ExitCode.OK
    assert out.splitlines()[-1].split() == ["force", "yes"]

    assert run(limits.app, "set", "resume-free=80%")[0] == ExitCode.OK

    assert store.redis.hgetall(store.keys.control) == {
        b"min-free": b"60%", b"force": b"yes", b"resume-free": b"80%"
    }  # fmt: skip


def test_a_large_min_free_that_another_program_wrote_needs_a_force(run: Run, store: Store) -> None:
    """Also for a change of another limit: the controller refuses both."""
    store.redis.hset(store.keys.control, "min-free", "60%")

    code, _, err = run(limits.app, "set", "resume-free=80%")

    assert code == ExitCode.USAGE
    assert "min-free" in err
    assert run(limits.app, "set", "resume-free=80%", "--force")[0] == ExitCode.OK


@pytest.mark.parametrize("words", [["set", "min-free=8%"], ["unset", "min-free"]])
def test_the_force_goes_with_its_min_free(run: Run, store: Store, words: list[str]) -> None:
    """A later mistake is a mistake again."""
    run(limits.app, "set", "min-free=60%", "--force")

    assert run(limits.app, *words)[0] == ExitCode.OK

    assert not store.redis.hexists(store.keys.control, "force")
    assert run(limits.app, "set", "min-free=98%")[0] == ExitCode.USAGE


def test_every_change_is_notified(run: Run, store: Store) -> None:
    """Roles see a change at once, not a second later."""
    processed(store, b"/in/1.pcap")
    failed_file(store, b"/in/2.pcap")
    with store.redis.pubsub() as channel:  # type: ignore[no-untyped-call]  # redis-py
        channel.subscribe(store.keys.channel)
        channel.get_message(timeout=5)
        for app, words in (
            (suspend.app, []), (resume.app, []), (finish.app, []), (finish.app, ["--now"]),
            (gate.app, ["hold"]), (gate.app, ["auto"]),
            (limits.app, ["set", "min-free=8%"]), (limits.app, ["unset", "min-free"]),
            (requeue.app, ["/in/1.pcap"]), (failed.app, ["--retry"]),
        ):  # fmt: skip
            run(app, *words)
            assert channel.get_message(ignore_subscribe_messages=True, timeout=5), (app, words)


def test_failed_lists_the_reason_and_how_much_was_delivered(run: Run, store: Store) -> None:
    """One printable line per file; an entry of another program may name none."""
    failed_file(store, HOSTILE, "it is\x1b damaged")
    store.redis.rpush(store.keys.failed, b"no json")

    code, out, _ = run(failed.app)

    name = r"/in/\x1b[2J; $(id)\x0a\'\xff -x"
    details = "(at byte 123, packets delivered: 7, attempt 1)"
    assert code == ExitCode.OK
    assert out == f"$'{name}': it is\\x1b damaged {details}\n?: not a valid entry: no json\n"


def test_failed_as_json_gives_the_name_back(run: Run, store: Store) -> None:
    """Each line is an object whose name decodes to the file's bytes."""
    failed_file(store, HOSTILE)

    (entry,) = [json.loads(each) for each in run(failed.app, "--json")[1].splitlines()]

    assert entry["name"].encode("utf-8", "surrogateescape") == HOSTILE


def test_failed_retry_queues_all_again(run: Run, store: Store) -> None:
    """They move from FAILED to the queue's end, each once."""
    failed_file(store, b"/in/1.pcap")
    failed_file(store, HOSTILE)

    code, out, _ = run(failed.app, "--retry")

    assert (code, out) == (ExitCode.OK, "2 of 2 queued again.\n")
    assert queued(store) == [b"/in/1.pcap", HOSTILE]
    assert store.redis.llen(store.keys.failed) == 0


def test_failed_retry_of_a_name_leaves_the_others(run: Run, store: Store) -> None:
    """Only what is named moves."""
    failed_file(store, b"/in/1.pcap")
    failed_file(store, b"/in/2.pcap")

    assert run(failed.app, "--retry", "/in/2.pcap")[0] == ExitCode.OK

    assert queued(store) == [b"/in/2.pcap"]
    assert store.redis.llen(store.keys.failed) == 1


@pytest.mark.long
@pytest.mark.parametrize(
    "words",
    [("--json",), ("--retry",), ("--retry", "/in/0.pcap")],
)
def test_failed_keeps_no_long_list_in_memory(run: Run, store: Store, words: tuple[str, ...]) -> None:
    """It is read in parts of four MiB."""
    for number in range(30):
        entry = {"name": f"/in/{number}.pcap", "reason": "x" * 900_000}
        store.redis.rpush(store.keys.failed, json.dumps(entry))
    tracemalloc.start()
    code, _, err = run(failed.app, *words)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert code == ExitCode.OK, err
    assert peak_bytes < 20 << 20


def test_a_long_list_of_failed_files_is_queued_again_in_its_order(run: Run, store: Store) -> None:
    """Also with entries in between that have no name, and stay."""
    named = [json.dumps({"name": f"/in/{number}"}) for number in range(2500)]
    entries = [(entry, f"no json {number}") if number % 2 else (entry,) for number, entry in enumerate(named)]
    store.redis.rpush(store.keys.failed, *itertools.chain.from_iterable(entries))

    code, out, _ = run(failed.app, "--retry")

    assert (code, out) == (ExitCode.ERROR, "2,500 of 3,750 queued again.\n")
    assert store.redis.lrange(store.keys.in_queue, 0, -1) == [b"/in/%d" % number for number in range(2500)]
    assert store.redis.llen(store.keys.failed) == 1250


def test_failed_of_an_unknown_name_is_an_error(run: Run) -> None:
    """A typing error has an answer."""
    code, _, err = run(failed.app, "/in/none.pcap")

    assert code == ExitCode.ERROR
    assert err == "pcapdj test: Not among the failed files: '/in/none.pcap'.\n"


def test_retry_reports_entries_that_it_cannot_read(run: Run, store: Store) -> None:
    """An entry of another program stays where it is, and the command does not claim success."""
    store.redis.rpush(store.keys.failed, b"no json")

    code, out, err = run(failed.app, "--retry")

    assert code == ExitCode.ERROR
    assert out == "0 of 1 queued again.\n"
    assert err == "pcapdj test: 1 failed file could not be queued again.\n"
    assert store.redis.llen(store.keys.failed) == 1


def test_failed_forget_removes_entries_about_lost_captures(run: Run, store: Store) -> None:
    """The others are kept; a file without such an entry is an error, and so is --forget with --retry."""
    failed_file(store, b"/in/1.pcap")
    store.redis.rpush(store.keys.failed, json.dumps({"name": "/in/1.pcap", "reason": "gone", "lost": True}))

    refused = run(failed.app, "--forget", "/in/2.pcap")
    assert refused[0] == ExitCode.ERROR
    assert "No failed entry of '/in/2.pcap' is about a lost capture." in refused[2]
    assert run(failed.app, "--forget", "--retry")[0] == ExitCode.USAGE
    assert run(failed.app, "--forget", "/in/1.pcap")[:2] == (
        ExitCode.OK,
        "1 entry about lost captures removed.\n",
    )
    assert "it is damaged" in run(failed.app)[1]
    assert store.redis.llen(store.keys.failed) == 1


def test_requeue_takes_from_processed_and_from_failed(run: Run, store: Store) -> None:
    """Each name leaves its list for the queue's end."""
    processed(store, HOSTILE)
    failed_file(store, b"/in/2.pcap")

    code, out, _ = run(requeue.app, "/in/2.pcap", HOSTILE.decode("utf-8", "surrogateescape"))

    assert (code, out) == (ExitCode.OK, "2 of 2 queued again.\n")
    assert queued(store) == [b"/in/2.pcap", HOSTILE]
    assert store.redis.llen(store.keys.processed) == store.redis.llen(store.keys.failed) == 0


@pytest.mark.parametrize("app", [requeue.app, failed.app])
def test_a_file_may_be_named_as_seen_from_its_folder(
    run: Run, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, app: typer.Typer
) -> None:
    """The importer queues absolute names; other programs queue what they like, and that counts first."""
    monkeypatch.chdir(tmp_path)
    for name in (b"1.pcap", os.fsencode(tmp_path / "1.pcap"), os.fsencode(tmp_path / "2.pcap")):
        failed_file(store, name)
    retry = ["--retry"] if app is failed.app else []

    assert run(app, "2.pcap", *retry)[:2] == (ExitCode.OK, "1 of 1 queued again.\n")
    assert queued(store) == [os.fsencode(tmp_path / "2.pcap")]
    assert run(app, "1.pcap", *retry)[0] == ExitCode.OK
    assert queued(store)[1] == b"1.pcap"


def test_requeue_of_an_unknown_name_moves_the_known_ones(run: Run, store: Store) -> None:
    """The unknown ones are named; exit 1."""
    processed(store, b"/in/1.pcap")

    code, out, err = run(requeue.app, "/in/none.pcap", "/in/1.pcap")

    assert code == ExitCode.ERROR
    assert out == "1 of 2 queued again.\n"
    assert err == "pcapdj test: Not among the processed or failed files: '/in/none.pcap'.\n"
    assert queued(store) == [b"/in/1.pcap"]


def test_requeue_of_a_file_that_made_room_names_where_it_went(run: Run, store: Store, tmp_path: Path) -> None:
    """It would fail: it is not queued. One whose name has a file again is."""
    there = os.fsencode(tmp_path / "there.pcap")
    (tmp_path / "there.pcap").touch()
    for name, record in (
        (b"/in/1.pcap", {"how": "moved", "to": "/old/1 a.pcap"}),
        (b"/in/2.pcap", {"how": "compressed", "to": "/in/2.pcap.zst"}),
        (b"/in/3.pcap", {"how": "removed"}),
        (there, {"how": "removed"}),
    ):
        processed(store, name, "s1")
        store.redis.hset(store.keys.reclaimed, name, json.dumps(record))
    store.redis.hset(store.keys.suspect, "s1", "The disk was full.")
    command = f"pcapdj import --lane {store.keys.lane} --again"
    sentences = [
        f"'/in/1.pcap' was moved to '/old/1 a.pcap' to make room: {command} '/old/1 a.pcap'",
        f"'/in/2.pcap' was compressed to '/in/2.pcap.zst' to make room: {command} /in/2.pcap.zst",
        "'/in/3.pcap' was removed to make room.",
    ]

    code, out, err = run(requeue.app, "--stream", "s1")

    assert (code, out) == (ExitCode.ERROR, "1 of 4 queued again.\n")
    assert err == f"pcapdj test: {' '.join(sentences)}\n"
    assert queued(store) == [there]
    assert not store.redis.exists(store.keys.suspect)
    assert run(requeue.app, "3.pcap") == (
        ExitCode.ERROR,
        "0 of 1 queued again.\n",
        f"pcapdj test: {sentences[2]}\n",
    )


def test_requeue_of_a_stream_takes_its_files_in_order(run: Run, store: Store) -> None:
    """When an analyzer died, what it was fed is fed again, and nothing else."""
    for name, stream in ((b"/in/1", "s1"), (b"/in/2", "s2"), (HOSTILE, "s2"), (b"/in/4", "s3")):
        processed(store, name, stream)

    code, out, _ = run(requeue.app, "--stream", "s2")

    assert (code, out) == (ExitCode.OK, "2 of 2 queued again.\n")
    assert queued(store) == [b"/in/2", HOSTILE]


def test_requeue_of_a_stream_passes_over_entries_that_are_not_valid(run: Run, store: Store) -> None:
    """Other programs may write there, also what no decoder of JSON is made for."""
    for name in (b"/in/1", b"/in/2", b"/in/3"):
        processed(store, name, "s1")
    store.redis.hset(store.keys.fed, "/in/1", "[" * 3000 + "]" * 3000)
    store.redis.hset(store.keys.fed, "/in/2", '{"stream": "s1", "earlier_streams": 1}')

    code, _, _ = run(requeue.app, "--stream", "s1")

    assert (code, queued(store)) == (ExitCode.OK, [b"/in/3"])


def test_requeue_needs_names_or_a_stream(run: Run) -> None:
    """Neither and both are refused."""
    refused = (
        ExitCode.USAGE,
        "",
        "pcapdj test: Name either files, a stream with --stream, or a time range with --since, --until.\n",
    )

    assert run(requeue.app) == refused
    assert run(requeue.app, "/in/1", "--stream", "s") == refused


def test_requeue_of_a_stream_without_files_is_an_error(run: Run, store: Store) -> None:
    """A typing error has an answer, and nothing is queued."""
    processed(store, b"/in/1.pcap", "s1")

    code, out, err = run(requeue.app, "--stream", "s2")

    assert (code, out) == (ExitCode.ERROR, "")
    assert err == "pcapdj test: No processed file was last fed into stream 's2'.\n"
    assert queued(store) == []


def test_a_dispatcher_that_is_out_of_service_is_forgotten_with_all_that_waits_for_it(
    store: Store, run: Run
) -> None:
    """Its suspension and its end of a stream, too; other dispatchers keep theirs."""
    keys, redis = store.keys, store.redis
    redis.sadd(keys.dispatchers, "/run/old", "/run/other")
    redis.hset(keys.stats("/run/old"), mapping={"heartbeat_s": "1600000000.000"})
    redis.sadd(keys.suspend, "usr1:/run/old", "usr1:/run/other")
    redis.sadd(keys.finished, "/run/old")
    redis.hset(keys.skip, "/run/old", "token")

    assert run(forget.app, "old") == (0, "The dispatcher '/run/old' is forgotten.\n", "")

    assert redis.smembers(keys.dispatchers) == {b"/run/other"}
    assert redis.smembers(keys.suspend) == {b"usr1:/run/other"}
    assert not redis.exists(keys.stats("/run/old"), keys.finished, keys.skip)
    assert run(forget.app, "old")[0] == ExitCode.ERROR


def test_a_dispatcher_that_reports_is_not_forgotten(store: Store, run: Run) -> None:
    """It would register again, and its file would be fed twice."""
    store.redis.sadd(store.keys.dispatchers, "main")
    store.redis.hset(store.keys.stats("main"), mapping={"heartbeat_s": f"{time.time():.3f}"})

    code, _, error = run(forget.app, "main", "--requeue")

    assert (code, "reported less than five seconds ago. Stop it first." in error) == (ExitCode.ERROR, True)
    assert operate.forget_dispatcher(store, "main", IN_QUEUE, "", requeue=True) == [b"alive"]
    assert store.redis.smembers(store.keys.dispatchers) == {b"main"}


def test_a_forgotten_dispatcher_that_was_only_stopped_does_not_take_its_file_again(
    store: Store, run: Run
) -> None:
    """The next one feeds it. One that is fed already gets its result: its packets are in a stream."""
    keys = store.keys
    for state, is_its_own in (("asked", False), ("feeding", True)):
        jobs, taken = take(store, b"/in/%s" % state.encode())
        jobs.register()
        jobs.mark(state=state)
        assert run(forget.app, "main", "--requeue")[0] == ExitCode.OK

        jobs.registration.keep(store)

        assert store.redis.hexists(keys.current("main"), "token") is is_its_own
        answers = {True: Answer.GRANTED, False: Answer.NOT_OURS}
        assert jobs.authorize(taken)[0] is answers[is_its_own]
        assert jobs.finish(taken, Result(taken.name, "processed")) is is_its_own
        assert jobs.take() is not None, "the dispatcher goes on with what is queued"
        store.redis.delete(keys.current("main"), keys.in_queue, keys.queued)


def test_the_file_of_a_forgotten_dispatcher_goes_back_to_the_head_of_the_queue(
    store: Store, run: Run
) -> None:
    """On demand only: the next dispatcher of that pipe would go on inside the file."""
    keys = store.keys
    _, taken = take(store, HOSTILE)
    store.redis.rpush(keys.in_queue, b"/in/other", HOSTILE)
    compare_now(store)
    store.redis.rpush(keys.next, HOSTILE)
    store.redis.set(keys.auth, HOSTILE)

    code, _, error = run(forget.app, "main")
    assert (code, "has taken" in error, "--requeue" in error) == (ExitCode.ERROR, True, True)
    assert store.redis.hget(keys.current("main"), "name") == taken.name

    assert run(forget.app, "main", "--requeue")[0] == ExitCode.OK
    assert store.redis.lrange(keys.in_queue, 0, -1) == [HOSTILE, b"/in/other", HOSTILE]
    assert not store.redis.exists(keys.current("main"), keys.dispatchers, keys.next, keys.auth)
    assert queue_length(store) == 3
    lines: Any = store.redis.hget(keys.queued, HOSTILE)
    assert len(lines.split(b"\n")) == 2


def recorded(store: Store) -> list[tuple[str, str, str, dict[str, str]]]:
    """Return what each event of the lane has, without its time."""
    return [(each.kind, each.role, each.sentence, dict(each.fields)) for each in read_events(store)]


def test_what_an_operator_gives_up_is_an_event(
    run: Run, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the file that it is about, so that its history has it."""
    monkeypatch.setattr(skip, "_EFFECT_S", 0)
    waiting_for_storage(store, b"/in/1.pcap", "", time.time())
    run(skip.app)
    store.redis.hdel(store.keys.stats("main"), "heartbeat_s")
    run(forget.app, "main", "--requeue")
    store.redis.sadd(store.keys.dispatchers, "other")
    run(forget.app, "other")

    file = {"name": "/in/1.pcap"}
    assert recorded(store) == [
        ("skipped", "skip", "'/in/1.pcap' will be skipped before its first packet.", file),
        (
            *("dispatcher_forgotten", "forget"),
            (
                "The dispatcher 'main' is forgotten. '/in/1.pcap' is at the head of the queue and is fed"
                " from its first packet."
            ),
            file,
        ),
        ("dispatcher_forgotten", "forget", "The dispatcher 'other' is forgotten.", {}),
    ]


def test_an_unknown_dispatcher_is_refused_with_ten_that_are_registered(run: Run, store: Store) -> None:
    """By their short names; without any it is written that there is none."""
    refusal = "pcapdj test: No dispatcher 'x' is registered in this lane. Registered: "
    assert run(forget.app, "x") == (ExitCode.ERROR, "", f"{refusal}none.\n")

    store.redis.sadd(store.keys.dispatchers, *(f"/run/{number:02}" for number in range(12)))
    _, _, error = run(forget.app, "x")

    shown = error.removeprefix(refusal).removesuffix(".\n").split(", ")
    assert len(shown) == 10
    assert set(shown) <= {f"'{number:02}'" for number in range(12)}
