"""A password from the URL or a file appears in no log, traceback or command line, and not in the analyzer."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from support.cases import some_long
from support.forkserver import clean_environment, run
from support.redis_server import PrivateRedis
from support.roles_rig import Trio, trio_in
from support.waiting import wait_until

from pcapdj.runtime.errors import ExitCode

CANARY: Final = "c4nary/in@a:cage"
IN_URL: Final = "c4nary%2Fin%40a%3Acage"
TRACES: Final = (CANARY.encode(), IN_URL.encode(), b"c4nary", b"4cage")
Rigs = tuple[PrivateRedis, Trio]


@pytest.fixture
def rigs(short_path: Path) -> Iterator[Rigs]:
    """Return a Redis with a password, and roles that have not been started."""
    with trio_in(short_path) as (server, trio):
        trio.store.redis.ping()
        server.client.config_set("requirepass", CANARY)
        trio.environment["PCAPDJ_REDIS_URL"] = f"unix://:{IN_URL}@{server.socket}"
        yield server, trio


def descendants(trio: Trio) -> list[int]:
    """Return the pids of the roles and of the processes that they started."""
    pids = [process.pid for process in trio.processes.values()]
    for pid in pids:
        children = Path(f"/proc/{pid}/task/{pid}/children")
        pids += [int(child) for child in children.read_text().split()] if children.exists() else []
    return pids


def traces_in(content: bytes) -> list[bytes]:
    """Return the parts of the password that the content has."""
    return [trace for trace in TRACES if trace in content]


def test_the_password_is_in_no_log_command_line_or_file(rigs: Rigs) -> None:
    """After work, a refusal, an outage and a stop; only Redis and the roles' own environment have it."""
    server, trio = rigs
    trio.queue(trio.capture("1.pcap", 1, 10))
    for role in ("consumer", "dispatcher", "controller", "importer"):
        trio.start(role)
    trio.await_processed(1)
    server.client.config_set("requirepass", "another")
    server.client.client_kill_filter(_type="normal", skipme=True)
    trio.wait_logged("dispatcher", "redis_denied")
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in descendants(trio)]
    server.kill()
    for role in ("importer", "controller", "dispatcher", "consumer"):
        trio.kill(role, signal.SIGTERM)

    written = [path.read_bytes() for path in trio.folder.rglob("*") if path.is_file()]
    assert len(lines) >= 5
    assert [content for content in lines + written if traces_in(content)] == []


@pytest.mark.parametrize("as_file", some_long([False, True], quick=(True,)), ids=["in the URL", "in a file"])
def test_the_analyzer_does_not_get_the_password(rigs: Rigs, *, as_file: bool) -> None:
    """Its environment has no PCAPDJ_ variable but its mark, and it inherits no descriptor of the launcher."""
    server, trio = rigs
    trio.brake.touch()
    if as_file:
        (trio.run / "password").write_text(CANARY + "\n")
        trio.environment["PCAPDJ_REDIS_URL"] = server.url
        trio.environment["PCAPDJ_REDIS_PASSWORD_FILE"] = str(trio.run / "password")
    trio.queue(trio.capture("1.pcap", 1, 4000))
    trio.start_all()
    trio.await_copied(30_000)

    (analyzer,) = [pid for pid in descendants(trio) if b"copying.py" in command(pid) and not is_role(pid)]

    assert traces_in(Path(f"/proc/{analyzer}/environ").read_bytes()) == []
    variables = Path(f"/proc/{analyzer}/environ").read_bytes().split(b"\0")
    mark = b"PCAPDJ_ANALYZER_OF=" + os.fsencode(trio.pipe)
    assert [each for each in variables if b"PCAPDJ_" in each] == [mark]
    opened = {os.path.realpath(path) for path in Path(f"/proc/{analyzer}/fd").iterdir()}
    folder = trio.out / "latest"
    expected = {
        os.devnull,
        str(trio.pipe),
        str(folder.resolve() / "copy"),
        str(folder.resolve() / "analyzer.log"),
    }
    assert opened <= expected


def test_a_crash_shows_no_password(rigs: Rigs) -> None:
    """An error in pcapdj itself ends in a traceback, which shows no value."""
    _, trio = rigs
    trio.queue(trio.capture("1.pcap", 1, 10))

    trio.start("consumer")
    trio.start("dispatcher", environment={"PCAPDJ_FAULT": "take.after:1:raise"})

    wait_until(lambda: trio.alive() == ["consumer"], "the dispatcher to crash")
    assert "Traceback" in trio.logged("dispatcher")
    assert traces_in(trio.log_of("dispatcher").read_bytes()) == []


def command(pid: int) -> bytes:
    """Return a process's command line."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def is_role(pid: int) -> bool:
    """Report whether the process is a role."""
    return b"pcapdj." in command(pid)


COMMANDS: Final = {
    "status": [],
    "check": [],
    "limits": [],
    "gate": [],
    "suspend": [],
    "resume": [],
    "finish": [],
    "failed": [],
    "requeue": ["x"],
    "reclaim": ["--dry-run", "--root", "/x"],
    "import": ["/x"],
    "dispatch": ["-b", "pipe"],
    "control": [],
    "consume": [],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_takes_a_password_from_its_command_line(command: str, tmp_path: Path) -> None:
    """Every user can read it there while the command runs; it is refused with the two other ways."""
    words = [command, *COMMANDS[command], "--redis-url", f"unix://:{IN_URL}@/run/redis.sock"]

    done = run("pcapdj", *words, cwd=tmp_path, env=clean_environment())

    assert done.returncode == ExitCode.USAGE
    assert "PCAPDJ_REDIS_PASSWORD_FILE" in done.stderr
    assert traces_in((done.stdout + done.stderr).encode()) == []


@pytest.mark.parametrize(
    "words",
    [
        ["dispatch", "-b", "pipe", "-s", f":{IN_URL}@127.0.0.1"],
        ["status", f"redis://:{IN_URL}@127.0.0.1"],
        ["status", "--redis-ulr", f"redis://:{IN_URL}@127.0.0.1"],
        [f"redis://:{IN_URL}@127.0.0.1"],
        ["status", "--redis-password-file", "c4nary"],
    ],
    ids=["host", "argument", "misspelled", "subcommand", "file"],
)
def test_a_password_in_a_wrong_place_of_a_command_line_is_not_shown(words: list[str], tmp_path: Path) -> None:
    """The refusal goes into the logs of a service: it shows no part of it."""
    done = run("pcapdj", *words, cwd=tmp_path, env=clean_environment())

    assert done.returncode == ExitCode.USAGE
    assert traces_in((done.stdout + done.stderr).encode()) == []


def test_check_notes_where_a_password_can_be_read(tmp_path: Path) -> None:
    """In the environment that supervisord keeps, and in a file that is open to others; neither shows it."""
    file = tmp_path / "password"
    file.write_text(f"{CANARY}\n")
    file.chmod(0o640)
    variables = {"PCAPDJ_REDIS_URL": f"redis://:{IN_URL}@127.0.0.1:1", "PATH": "/nowhere", "COLUMNS": "300"}

    open_file = run(
        "pcapdj", "check", "--redis-password-file", file, cwd=tmp_path, env=clean_environment(**variables)
    )
    file.chmod(0o600)
    variables["PCAPDJ_REDIS_URL"] = "redis://127.0.0.1:1"
    private = run(
        "pcapdj", "check", "--redis-password-file", file, cwd=tmp_path, env=clean_environment(**variables)
    )

    assert "note: the password is in the environment" in open_file.stdout
    assert f"note: other users can read '{file}'" in open_file.stdout
    labels = [line.split()[0] for line in open_file.stdout.splitlines() if "password" in line]
    assert labels == ["Password", "Password"]
    assert "Password" not in private.stdout
    assert traces_in((open_file.stdout + open_file.stderr).encode()) == []


def test_a_program_that_check_asks_for_its_version_gets_no_password(tmp_path: Path) -> None:
    """Nor do the analyzers; what is on PATH need not be what it is called."""
    program = tmp_path / "tcpdump"
    program.write_text(f"#!/bin/sh\n/usr/bin/env > {tmp_path}/environment\n")
    program.chmod(0o755)
    variables = {"PCAPDJ_REDIS_URL": f"redis://:{IN_URL}@127.0.0.1:1", "REDISCLI_AUTH": CANARY}

    run("pcapdj", "check", cwd=tmp_path, env=clean_environment(PATH=str(tmp_path), **variables))

    assert traces_in((tmp_path / "environment").read_bytes()) == []
    assert b"PATH=" in (tmp_path / "environment").read_bytes()
