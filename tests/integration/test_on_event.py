"""`--on-event`: a command for each event that matters, which never delays a role."""

import json
import os
import secrets
import select
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import psutil
import pytest
from support.cases import some_long
from support.roles_rig import Trio
from support.waiting import scaled, wait_until

from pcapdj.commands import gate
from pcapdj.runtime.command import exit_code_of
from pcapdj.runtime.errors import ConfigError, ExitCode
from pcapdj.store import event_command
from pcapdj.store.client import Store
from pcapdj.store.event_command import CURSOR, HANDLED, EventCommand
from pcapdj.store.event_command import event_command as words_of
from pcapdj.store.events import Event, read_events, record_event

# Appends its environment to the file that is its argument.
WRITING: Final = """#!{python} -IS
import json, os, sys
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
os.write(file, json.dumps(dict(os.environ)).encode() + b"\\n")
"""
PASSWORD: Final = secrets.token_hex(8)  # the name of a folder may be any word
Program = Callable[[str], str]


@pytest.fixture
def program(short_path: Path) -> Program:
    """Return a maker of programs from their text: it returns the path."""

    def make(text: str) -> str:
        path = short_path / "command"
        path.write_text(text.replace("{python}", sys.executable))
        path.chmod(0o700)
        return str(path)

    return make


@contextmanager
def running(words: list[str], store: Store, *, reads_others: bool = False) -> Iterator[EventCommand]:
    """Start the process of a command; it has ended when the block has."""
    reading, writing = os.pipe()  # the process has the writing end until it ends
    with closing(EventCommand(words, store, reads_others=reads_others)) as command:
        os.close(writing)
        yield command
    assert select.select([reading], [], [], scaled(10))[0], "the process has not ended"
    os.close(reading)


def written(path: Path) -> list[dict[str, str]]:
    """Return the environment of each command that has run."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def event(kind: str = "gate", number: int = 0, **fields: str) -> Event:
    """Return an event of a role."""
    return Event(kind, f"Sentence {number}.", "controller", 1_795_694_400.0, fields)


def test_controller_and_launcher_run_the_command_once_for_each_event(
    trio: Trio, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate's, the analyzer's, and what the dispatcher records; without a secret in the environment."""
    out = trio.folder / "events"
    trio.environment |= {"PCAPDJ_ON_EVENT": f"{program(WRITING)} {out}", "REDISCLI_AUTH": PASSWORD}
    monkeypatch.setenv("PCAPDJ_REDIS_URL", trio.environment["PCAPDJ_REDIS_URL"])
    trio.start("controller")
    trio.start("consumer", "--", "/does/not/exist", "{pipe}")
    wait_until(lambda: len(written(out)) == 2, "the gate's first state and the missing analyzer")
    record_event(trio.store, "storage_gone", "It is gone.", role="dispatcher", fields={"name": "/in/\udcff"})
    wait_until(lambda: len(written(out)) == 3, "what the dispatcher recorded")
    assert exit_code_of(gate.app, "pcapdj gate", ["hold"]) == ExitCode.OK
    wait_until(lambda: len(written(out)) == 4, "the gate to hold")

    found = written(out)

    kinds = [each["PCAPDJ_EVENT_KIND"] for each in found]
    assert sorted(kinds[:2]) == ["analyzer_failing", "gate"]
    assert kinds[2:] == ["storage_gone", "gate"]
    assert found[2]["PCAPDJ_EVENT_NAME"] == "/in/\udcff"
    assert json.loads(found[3]["PCAPDJ_EVENT_FIELDS"])["event"] == "gate_hold"
    assert found[3]["PCAPDJ_EVENT_ROLE"] == "controller"
    assert PASSWORD not in json.dumps(found)
    assert not [name for name in found[0] if name.startswith("PCAPDJ_") and "_EVENT_" not in name]
    recorded = {each.kind: each.fields for each in read_events(trio.store)}
    assert HANDLED in recorded["analyzer_failing"]
    assert HANDLED not in recorded["storage_gone"]


@pytest.mark.long
def test_an_event_during_a_restart_of_the_controller_is_not_missed(
    store: Store, program: Program, short_path: Path
) -> None:
    """The next process goes on behind the last event that the one before has read."""
    out = short_path / "events"
    words = [program(WRITING), str(out)]
    with running(words, store, reads_others=True):
        record_event(store, "poison", "First.", role="dispatcher")
        wait_until(lambda: len(written(out)) == 1, "the first event")
    record_event(store, "poison", "Second.", role="dispatcher")
    with running(words, store, reads_others=True):
        wait_until(lambda: len(written(out)) == 2, "the second event")

    assert [each["PCAPDJ_EVENT_SENTENCE"] for each in written(out)] == ["First.", "Second."]


def test_a_command_that_hangs_is_killed_with_its_group_and_recorded(
    store: Store, program: Program, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The role goes on meanwhile, and so do the next events."""
    monkeypatch.setattr(event_command, "LIMIT_S", 0.5)
    pids = short_path / "pids"
    hanging = f"#!/bin/sh\nsleep 1000 &\necho $! >>{pids}\necho why >&2\nwait\n"
    with running([program(hanging)], store) as command:
        began_s = time.monotonic()
        command.offer(event())
        command.offer(event())
        assert time.monotonic() - began_s < scaled(0.2)
        wait_until(lambda: len(list(read_events(store))) == 2, "two failures")

    failures = list(read_events(store))
    assert [each.kind for each in failures] == ["on_event_failed"] * 2
    assert failures[0].sentence == "The command of --on-event was killed after 0 s: why."
    wait_until(lambda: not any(map(is_alive, pids.read_text().split())), "what the command started to end")


def is_alive(pid: str) -> bool:
    """Report whether a process runs; one that nobody reaps has ended all the same."""
    return psutil.pid_exists(int(pid)) and psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE


def test_a_full_disk_for_temporary_files_keeps_no_command_from_running(
    store: Store, program: Program, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk that is full may be the event; the process ended, and no role noticed it."""
    monkeypatch.setattr(tempfile, "tempdir", "/proc/1/no-room")
    out = short_path / "events"

    with running([program(WRITING), str(out)], store) as command:
        command.offer(event(number=1))
        command.offer(event(number=2))
        wait_until(lambda: len(written(out)) == 2, "both commands")


def test_a_command_that_fails_is_recorded_with_its_last_words(store: Store, program: Program) -> None:
    """An operator sees in `pcapdj events` why no message came."""
    with running([program("#!/bin/sh\necho first\necho 'no \x1b[2J route' >&2\nexit 3\n")], store) as command:
        command.offer(event())
        wait_until(lambda: list(read_events(store)), "the failure")

    (failure,) = read_events(store)
    assert failure.sentence == r"The command of --on-event exited 3: no \x1b[2J route."
    assert failure.fields["of"] == "gate"


@pytest.mark.long
def test_a_flood_of_events_is_bounded_and_delays_nobody(
    store: Store, program: Program, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest ones are dropped, and the next command gets their number; the newest comes."""
    monkeypatch.setattr(event_command, "_AT_ONCE", 3)
    monkeypatch.setattr(event_command, "_PAUSE_S", 0.05)
    monkeypatch.setattr(event_command, "_MOST_WAITING", 2)
    out = short_path / "events"
    with running([program(WRITING), str(out)], store) as command:
        began_s = time.monotonic()
        for number in range(5000):
            command.offer(event(number=number))
        command.offer(event("file_failed"))  # of a kind that is not for the command
        assert time.monotonic() - began_s < scaled(2)
        wait_until(lambda: skipped_and_run(out) > 100, "some commands")
        time.sleep(0.2)
        command.offer(event(number=5000))
        wait_until(lambda: written(out)[-1]["PCAPDJ_EVENT_SENTENCE"] == "Sentence 5000.", "the last event")

    assert len(written(out)) < 500
    assert skipped_and_run(out) == 5001


def skipped_and_run(out: Path) -> int:
    """Return how many events the commands were about, and how many they were told to be skipped."""
    return sum(1 + int(each["PCAPDJ_EVENT_SKIPPED"]) for each in written(out))


@pytest.mark.parametrize(
    "cursor",
    some_long(
        [b"x", b"1-1 x", b"9999999999999-0", b"%d-x", b"-5-1", b"\xff", b"%d", b"1" * 99],
        quick=(b"x", b"9999999999999-0", b"\xff"),
    ),
)
def test_what_other_programs_write_as_the_last_event_hides_no_event(
    store: Store, program: Program, short_path: Path, cursor: bytes
) -> None:
    """A place that no process has reached is not used: the command runs for what is recorded from now on."""
    now_ms = int(time.time() * 1000)
    store.redis.hset(store.keys.gate, CURSOR, cursor.replace(b"%d", str(now_ms).encode()))
    out = short_path / "out"

    with running([program(WRITING), str(out)], store, reads_others=True):
        record_event(store, "storage_gone", "Gone.", role="dispatcher")

        wait_until(lambda: written(out), "the command")


@pytest.mark.parametrize("of_role", [True, False], ids=["of the role", "of another program"])
def test_an_event_of_any_size_runs_the_command(
    store: Store, program: Program, short_path: Path, *, of_role: bool
) -> None:
    """It gets the first fields, and no variable that is too long for a process."""
    long = "\N{PILE OF POO}" * 16_000
    fields = {"name": "/in/1.pcap", **{f"f{number}": long for number in range(30)}}
    out = short_path / "out"

    with running([program(WRITING), str(out)], store, reads_others=True) as command:
        if of_role:
            command.offer(Event("gate", long, "controller", 1_795_694_400.0, fields))
        else:
            entry: Any = {"kind": "gate", "sentence": long, "role": long, "level": long, **fields}
            store.redis.xadd(store.keys.events, entry)
        wait_until(lambda: written(out), "the command")

    [found] = written(out)
    assert found["PCAPDJ_EVENT_NAME"] == "/in/1.pcap"
    assert found["PCAPDJ_EVENT_SENTENCE"].startswith(long[:1000])
    assert json.loads(found["PCAPDJ_EVENT_FIELDS"])["name"] == "/in/1.pcap"
    assert all(len(os.fsencode(text)) < 1 << 16 for name, text in found.items() if "_EVENT_" in name)


def test_the_process_ends_with_its_role(store: Store, program: Program, short_path: Path) -> None:
    """What waits then is done within five seconds; here nothing waits."""
    with running([program(WRITING), str(short_path / "events")], store):
        pass


@pytest.mark.parametrize(("text", "words"), [("", []), ("sh -c 'echo 1'", ["sh", "-c", "echo 1"])])
def test_a_command_is_split_into_words(text: str, words: list[str]) -> None:
    """No shell sees it; the program is found at the start."""
    found: Any = words_of(text)

    assert [Path(each).name for each in found[:1]] + found[1:] == words


@pytest.mark.parametrize("text", ["/does/not/exist now", "echo 'open"])
def test_a_command_that_cannot_work_is_refused_at_the_start(text: str) -> None:
    """Not at the first event, at night."""
    with pytest.raises(ConfigError, match="--on-event"):
        words_of(text)
