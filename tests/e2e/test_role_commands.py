"""Each role as supervisord.conf starts it, in an interpreter of its own: control signals do not end it."""

import json
import shlex
import signal
import subprocess
import sys
from configparser import RawConfigParser
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from support.forkserver import ROOT
from support.service_rig import environment
from support.waiting import LIMIT_S, is_met, scaled, wait_until

from pcapdj.store.client import Store

# starts commands, prints their pids, and stays
PARENT = """
import json, subprocess, sys
started = [subprocess.Popen(command) for command in json.loads(sys.argv[1])]
print(json.dumps([each.pid for each in started]), flush=True)
sys.stdin.read()
"""
FIRST_EVENT = {
    "consumer": "started",
    "dispatcher": "started",
    "controller": "gate_",
    "importer": "importer_starts",
}


def command_of(program: str) -> list[str]:
    """Return the command line in the shipped supervisord.conf."""
    conf = RawConfigParser(inline_comment_prefixes=(";",))
    conf.read(ROOT / "supervisord.conf")
    return shlex.split(conf[f"program:{program}"]["command"])


def ignores(pid: int, number: int) -> bool:
    """Report whether the process ignores the signal, or handles it."""
    status = Path(f"/proc/{pid}/status").read_text()
    masks = [int(status.split(name)[1].split()[0], 16) for name in ("SigIgn:", "SigCgt:")]
    return bool((masks[0] | masks[1]) >> (number - 1) & 1)


def service_folder(folder: Path) -> Path:
    """Make the folders of a service, and return this one."""
    for part in ("inbox", "out", "var/run"):
        (folder / part).mkdir(parents=True)
    (folder / "var/run").chmod(0o700)
    return folder


@pytest.mark.parametrize("program", FIRST_EVENT)
def test_control_signals_during_the_start_end_no_role(program: str, short_path: Path, store: Store) -> None:
    """Not while it imports its modules, nor in the moment when it takes over; SIGTERM ends it with 0."""
    service_folder(short_path)
    env = environment(
        PCAPDJ_REDIS_URL=store.url, PCAPDJ_LANE=store.keys.lane, PCAPDJ_CONSUMER_COMMAND="cat {pipe}"
    )
    log = short_path / "log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command_of(program), cwd=short_path, env=env, stdout=output, stderr=output
        ) as process,
    ):
        try:
            wait_until(lambda: ignores(process.pid, signal.SIGUSR2), "env to ignore the signals")

            def has_begun() -> bool:
                process.send_signal(signal.SIGUSR1)
                process.send_signal(signal.SIGUSR2)
                return FIRST_EVENT[program] in log.read_text() or process.poll() is not None

            assert is_met(has_begun)
            assert process.poll() is None, log.read_text()
            process.terminate()
            assert process.wait() == 0
        finally:
            process.kill()


def test_roles_end_when_supervisord_is_killed(short_path: Path, store: Store) -> None:
    """Else the next supervisord would start them twice."""
    env = environment(
        SUPERVISOR_ENABLED="1",
        PCAPDJ_REDIS_URL=store.url,
        PCAPDJ_LANE=store.keys.lane,
        PCAPDJ_CONSUMER_COMMAND="cat {pipe}",
    )
    commands = json.dumps([command_of(program) for program in FIRST_EVENT])
    log = service_folder(short_path) / "log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-c", PARENT, commands],
            cwd=short_path, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output,
        ) as parent,
    ):  # fmt: skip
        roles = [psutil.Process(pid) for pid in json.loads(parent.stdout.readline())]  # type: ignore[union-attr]  # a pipe
        try:
            wait_until(
                lambda: all(
                    f" {program} {event}" in log.read_text() for program, event in FIRST_EVENT.items()
                ),
                "all roles to begin",
            )
            parent.kill()
            _, running = psutil.wait_procs(roles, scaled(LIMIT_S))
        finally:
            for role in roles:
                with suppress(psutil.NoSuchProcess):
                    role.kill()

    assert running == []
