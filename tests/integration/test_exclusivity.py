"""One dispatcher per pipe and per id, one launcher per pipe, however they were started and died."""

import os
import signal
from pathlib import Path

import pytest
from support.roles_rig import Trio
from support.waiting import wait_until

from pcapdj.runtime.errors import ExitCode


@pytest.fixture
def trio(trio: Trio, short_path: Path) -> Trio:
    """Return roles that do not run yet; their private locks stay in the test's folder."""
    trio.environment["XDG_RUNTIME_DIR"] = str(short_path)
    return trio


def second(trio: Trio, role: str, *options: str) -> int:
    """Start a role once more and return how it ended."""
    first = trio.processes[role]
    trio.start(role, *options)
    try:
        return trio.processes[role].wait()
    finally:
        trio.processes[role] = first


def test_a_second_dispatcher_of_a_pipe_names_the_first(trio: Trio) -> None:
    """It ends with 75 and the first one's pid; the first goes on."""
    trio.start("dispatcher")
    trio.wait_logged("dispatcher", "started")

    assert second(trio, "dispatcher") == ExitCode.BUSY

    assert f"(pid {trio.processes['dispatcher'].pid})" in trio.logged("dispatcher")
    assert trio.alive() == ["dispatcher"]


def test_two_dispatchers_of_one_id_exclude_each_other(trio: Trio) -> None:
    """Different pipes, one id, one lane: each would work on the other's file."""
    trio.start("dispatcher", "--id", "north")
    trio.wait_logged("dispatcher", "started")

    assert second(trio, "dispatcher", "--id", "north", "-b", str(trio.run / "other")) == ExitCode.BUSY

    assert "dispatcher of this id (pid" in trio.logged("dispatcher")


@pytest.mark.parametrize("options", [("--id", "south"), ("--id", "north", "--lane", "other")])
def test_another_id_or_lane_is_another_dispatcher(trio: Trio, options: tuple[str, ...]) -> None:
    """They run side by side."""
    trio.start("dispatcher", "--id", "north")
    trio.wait_logged("dispatcher", "started")
    first = trio.processes["dispatcher"]

    trio.start("dispatcher", *options, "-b", str(trio.run / "other"))
    trio.wait_logged("dispatcher", "started", times=2)

    assert first.poll() is None
    first.kill()
    first.wait()


def test_a_dead_dispatchers_locks_are_free(trio: Trio) -> None:
    """The kernel releases them; no file has to be removed."""
    trio.start("dispatcher", "--id", "north")
    trio.wait_logged("dispatcher", "started")
    trio.kill("dispatcher")

    trio.start("dispatcher", "--id", "north")

    trio.wait_logged("dispatcher", "started", times=2)
    assert trio.alive() == ["dispatcher"]


def test_locks_and_sockets_are_private(trio: Trio) -> None:
    """Nothing that a role makes for itself can be opened by another user."""
    before = os.umask(0)
    try:
        trio.queue(trio.capture("1.pcap", 1, 10))
        trio.start("consumer")
        trio.start("dispatcher", "--id", "north")
        trio.start("controller")
        trio.await_processed(1)
    finally:
        os.umask(before)

    made = [*trio.run.iterdir(), *(trio.folder / "pcapdj").iterdir(), trio.folder / "pcapdj"]
    assert len(made) >= 6
    assert [path.name for path in made if path.lstat().st_mode & 0o077] == []


def test_a_stopped_dispatcher_keeps_its_place(trio: Trio) -> None:
    """SIGSTOP is no death: a second one is turned away, and after SIGCONT the first goes on."""
    trio.start("dispatcher")
    trio.wait_logged("dispatcher", "started")
    trio.processes["dispatcher"].send_signal(signal.SIGSTOP)

    assert second(trio, "dispatcher") == ExitCode.BUSY

    trio.processes["dispatcher"].send_signal(signal.SIGCONT)
    trio.start("consumer")
    trio.start("controller")
    trio.queue(trio.capture("1.pcap", 1, 10))
    trio.await_processed(1)
    wait_until(lambda: len(trio.alive()) == 3, "all three to run")
