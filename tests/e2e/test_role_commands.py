"""Each role as supervisord.conf starts it, in an interpreter of its own: control signals do not end it."""

import shlex
import signal
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest
from support.forkserver import ROOT
from support.service_rig import environment
from support.waiting import is_met, wait_until

from pcapdj.store.client import Store

FIRST_EVENT = {
    "consumer": "started",
    "dispatcher": "started",
    "controller": "gate_",
    "importer": "importer_starts",
}


def command_of(program: str) -> list[str]:
    """Return the command line in the shipped supervisord.conf."""
    conf = RawConfigParser(inline_comment_prefixes=(";", "#"))
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


@pytest.mark.long
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
