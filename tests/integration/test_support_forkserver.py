"""What the tests start by a fork is what users start by an interpreter."""

import json
import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
from support import forkserver
from support.forkserver import PIPE, ROOT, clean_environment, run, start
from support.waiting import wait_until


def test_a_fork_has_what_a_new_interpreter_has(tmp_path: Path) -> None:
    """Arguments, environment, folder, umask, signals, descriptors, streams, exit code."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    env = clean_environment(PYTHONPATH=paths, TMPDIR=str(tmp_path), ODD="\udcff\n=")
    before = os.umask(0o031)
    try:
        forked, real = (
            run("support.process_state", "3", b"\xff", env=env, cwd=tmp_path, is_real=is_real)
            for is_real in (False, True)
        )
    finally:
        os.umask(before)

    assert json.loads(forked.stdout) == json.loads(real.stdout)
    assert (forked.returncode, forked.stderr) == (real.returncode, real.stderr) == (3, "reported")


def test_a_fork_ends_as_it_was_killed() -> None:
    """Minus the signal, as subprocess has it; a signal to one that has ended reaches no other process."""
    with start("pcapdj", "status", "--watch", stdout=PIPE, stderr=PIPE) as process:
        assert process.poll() is None
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: process.is_stopped, "it to be stopped")

        process.kill()
        process.kill()

    assert process.returncode == -signal.SIGKILL


def test_a_fork_that_still_runs_is_waited_for_until_the_limit() -> None:
    """The limit is that of the caller."""
    with start("pcapdj", "status", "--watch", stdout=PIPE, stderr=PIPE) as process:
        process.send_signal(signal.SIGSTOP)  # it could end by itself: no Redis runs there
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        process.kill()


def test_forks_die_with_their_server() -> None:
    """So that killed tests leave nothing behind."""
    server = forkserver.ForkServer(forkserver.address())
    null = os.open(os.devnull, os.O_RDWR)
    request = forkserver.Request("pcapdj", ["status", "--watch"], clean_environment(), "/", 0o022)
    pid, _ = server.fork(request, (null, null, null))
    os.close(null)
    assert psutil.pid_exists(pid)

    server.close()

    wait_until(lambda: not psutil.pid_exists(pid), "the child to be gone")
