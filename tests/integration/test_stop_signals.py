"""SIGTERM in every state, Redis hung included: within a second by the clock on the wall, and without a loss.

The deadline here is longer, since a loaded machine is no fault of ours; without care these waits never end.
"""

import signal
from collections.abc import Iterator
from pathlib import Path
from subprocess import DEVNULL, PIPE

import pytest
from support import forkserver
from support.cases import some_long
from support.holes import EMPTY_ZSTD_BLOCKS, bytes_read, with_hole
from support.redis_server import PrivateRedis
from support.roles_rig import Trio, places, places_in, trio_in
from support.waiting import wait_until

DEADLINE_S = 4.0
STATES = ["idle", "asking", "pipe full", "suspended"]


@pytest.fixture
def rigs(short_path: Path) -> Iterator[tuple[PrivateRedis, Trio]]:
    """Return a Redis to be stopped, and roles that do not run yet."""
    with trio_in(short_path) as rigs:
        yield rigs


def bring_to(trio: Trio, state: str) -> None:
    """Start the roles and wait until the dispatcher is in this state."""
    trio.brake.touch()
    trio.start("consumer")
    trio.start("dispatcher")
    if state != "asking":
        trio.start("controller")
        trio.wait_logged("controller", "gate_open")
    if state != "idle":
        trio.queue(trio.capture("1.pcap", 1, 4000))
    if state == "idle":
        trio.wait_logged("dispatcher", "Waiting for files")
    if state == "asking":
        trio.wait_logged("dispatcher", "waiting_for_authorization")
    if state in ("pipe full", "suspended"):
        trio.await_copied(30_000)
    if state == "suspended":
        trio.store.redis.sadd(trio.store.keys.suspend, "operator")
        trio.wait_logged("dispatcher", "suspended")


def stopped(trio: Trio, role: str) -> int:
    """Stop a role as supervisord does; return its exit code, in time."""
    trio.processes[role].send_signal(signal.SIGTERM)
    return trio.processes[role].wait(DEADLINE_S)


@pytest.mark.parametrize("hung", some_long([False, True], quick=(True,)), ids=["Redis well", "Redis hung"])
@pytest.mark.parametrize("state", some_long(STATES, quick=("pipe full", "suspended")))
def test_a_dispatcher_stops_in_every_state(
    rigs: tuple[PrivateRedis, Trio], state: str, *, hung: bool
) -> None:
    """It ends with 0 in time; a file in flight stays current."""
    server, trio = rigs
    bring_to(trio, state)
    if hung:
        server.signal(signal.SIGSTOP)

    assert stopped(trio, "dispatcher") == 0

    server.signal(signal.SIGCONT)
    assert len(trio.snapshot()["current"]) == (state != "idle")
    assert "Traceback" not in trio.logged("dispatcher")


@pytest.mark.parametrize("role", ["controller", "importer"])
def test_the_others_stop_while_redis_hangs(rigs: tuple[PrivateRedis, Trio], role: str) -> None:
    """With something to do that they cannot do."""
    server, trio = rigs
    trio.start(role)
    trio.wait_logged(role, "gate_open" if role == "controller" else "inbox_watched")
    server.signal(signal.SIGSTOP)
    trio.capture("1.pcap", 1)
    trio.wait_logged(role, "waiting_for_redis")

    assert stopped(trio, role) == 0


def test_a_launcher_stops_while_redis_hangs(rigs: tuple[PrivateRedis, Trio]) -> None:
    """When the dispatcher has left too, its analyzer sees the end of the stream and flushes."""
    server, trio = rigs
    trio.queue(trio.capture("1.pcap", 1, 100))
    trio.start_all()
    trio.await_processed(1)
    server.signal(signal.SIGSTOP)

    assert [stopped(trio, role) for role in ("dispatcher", "consumer")] == [0, 0]

    assert [places_in(stream) for stream in trio.streams()] == [places(1, 100)]


@pytest.mark.long
def test_a_file_stopped_anywhere_is_finished_by_the_next_dispatcher(rigs: tuple[PrivateRedis, Trio]) -> None:
    """Stop and start in mid-file, again and again: the stream has every packet once, and no second grant."""
    _, trio = rigs
    trio.brake.touch()
    trio.queue(trio.capture("1.pcap", 1, 4000))
    trio.start_all()
    for round_ in range(1, 6):
        trio.await_copied(30_000)
        assert stopped(trio, "dispatcher") == 0
        trio.start("dispatcher")
        trio.wait_logged("dispatcher", "stream_resumed", times=round_)
    trio.brake.unlink()

    trio.await_processed(1)
    assert [places_in(stream) for stream in trio.streams()] == [places(1, 4000)]
    assert trio.logged("controller").count("file_authorized") == 1


def test_a_second_signal_does_not_wait_for_the_flush(rigs: tuple[PrivateRedis, Trio]) -> None:
    """The launcher's first signal lets the analyzer end; the second one kills it."""
    _, trio = rigs
    bring_to(trio, "pipe full")
    process = trio.processes["consumer"]
    process.send_signal(signal.SIGTERM)
    trio.wait_logged("consumer", "stopping")

    assert stopped(trio, "consumer") == 0

    assert "a second stop signal came" in trio.logged("consumer")


@pytest.mark.parametrize("role", ["dispatcher", "importer"])
def test_a_file_that_gives_no_packet_does_not_delay_the_end(
    rigs: tuple[PrivateRedis, Trio], role: str
) -> None:
    """Here a frame of empty blocks: it is stopped before the file is given up."""
    _, trio = rigs
    capture = with_hole(trio.captures / "1.pcap.zst", EMPTY_ZSTD_BLOCKS)
    trio.start("consumer")
    if role == "dispatcher":
        trio.queue(capture)
    trio.start(role)
    trio.wait_logged(role, "next_file" if role == "dispatcher" else "inbox_watched")
    wait_until(lambda: bytes_read(trio.working_pid(role)) > 4 << 20, "some of it to be read")

    assert stopped(trio, role) == 0
    log = trio.logged(role)
    assert not {"Traceback", "file_failed", "not_imported"} & set(log.split())


@pytest.mark.parametrize("number", some_long([signal.SIGTERM, signal.SIGKILL], quick=(signal.SIGTERM,)))
def test_a_check_that_is_stopped_ends_the_programs_that_it_asks(
    number: signal.Signals, tmp_path: Path
) -> None:
    """One of them may hang, as a program on a dead file system; the rest is shown before it."""
    program, pid = tmp_path / "suricata", tmp_path / "pid"
    program.write_text(f"#!/bin/sh\necho $$ >{pid}\nexec /bin/sleep 600\n")
    program.chmod(0o755)
    env = forkserver.clean_environment(PATH=f"{tmp_path}:/usr/bin:/bin")

    with forkserver.start("pcapdj", "check", env=env, cwd=tmp_path, stdout=PIPE, stderr=DEVNULL) as command:
        wait_until(lambda: pid.exists() and pid.read_text(), "the program to start")
        command.send_signal(number)
        shown, _ = command.communicate()
        assert command.wait() == -number
    assert [line.split()[0] for line in shown.decode().splitlines()] == ["What", "Redis", "Embedded"]

    wait_until(lambda: not Path(f"/proc/{pid.read_text().strip()}/exe").exists(), "the end of the program")
