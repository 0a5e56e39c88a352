"""The launcher step by step, with real analyzers and a clock that the test sets: what takes minutes."""

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from support.launcher_rig import is_running
from support.logs import logged
from support.waiting import scaled, wait_until

from pcapdj.analyzer.gate_watch import GateWatch
from pcapdj.analyzer.launch import AnalyzerStarter
from pcapdj.analyzer.presets import own_command
from pcapdj.analyzer.server import LauncherServer
from pcapdj.analyzer.session import Timeouts
from pcapdj.analyzer.status import LauncherStatus, StatusPublisher
from pcapdj.consumer_launcher import ConsumerLauncher
from pcapdj.launcher_protocol import LauncherRequest, RequestType, encode_request, send_message
from pcapdj.runtime.fifo import Fifo
from pcapdj.runtime.full_disks import DiskAtEnd, encode_disks_at_end
from pcapdj.runtime.signals import handled
from pcapdj.store.client import Store
from pcapdj.store.grants import SUSPENDER

READ = "import sys, time; f = open(sys.argv[1], 'rb', 0); f.read()"
NEVER_OPEN = "import time; time.sleep(600)"
DISK = DiskAtEnd("/out", 1, 1000.0, "had 0 bytes free")
CHANGES: dict[str, Callable[[Store], object]] = {
    "suspension": lambda store: store.redis.sadd(store.keys.suspend, SUSPENDER),
    "full disk": lambda store: store.redis.hset(store.keys.gate, "full", encode_disks_at_end([DISK])),
}
Make = Callable[..., ConsumerLauncher]


@pytest.fixture
def make_open(short_path: Path, store: Store) -> Iterator[Make]:
    """Return a maker of the launcher of a command; the test closes it."""
    with handled((signal.SIGCHLD, signal.SIGHUP)) as signals, ExitStack() as stack:

        def launcher(*command: str) -> ConsumerLauncher:
            publisher = StatusPublisher(store.another(), short_path / "kept")
            stack.callback(publisher.close)
            starter = AnalyzerStarter(
                own_command(command), Fifo(short_path / "p"), short_path / "out", Timeouts(120.0)
            )
            status = LauncherStatus(publisher, str(starter.command), starter.log_root)
            gate = GateWatch(store.another())
            stack.callback(gate.close)
            return ConsumerLauncher(starter, LauncherServer(short_path / "s"), status, signals, gate)

        yield launcher


@pytest.fixture
def make(make_open: Make) -> Iterator[Make]:
    """Return a maker of the launcher of a command; two stop signals end it afterwards."""
    with ExitStack() as stack:

        def launcher(*command: str) -> ConsumerLauncher:
            made = make_open(*command)
            stack.callback(made.close)
            stack.callback(wait_until, lambda: made.step(2000), "the analyzer to exit")
            return made

        yield launcher
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def client() -> Iterator[socket.socket]:
    """Return a dispatcher's socket, not connected."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        yield client


def request_stream(launcher: ConsumerLauncher, client: socket.socket, folder: Path) -> None:
    """Connect at the time 1000, and request a stream; the launcher tries to start it."""
    client.connect(str(folder / "s"))
    send_message(client, encode_request(LauncherRequest(RequestType.OPEN)))
    for _ in range(2):  # it accepts the client, and reads the request
        launcher.step(1000)


def state(store: Store) -> str:
    """Return the launcher's state as Redis has it."""
    return (store.redis.hget(store.keys.consumer, "state") or b"").decode()  # type: ignore[union-attr]  # sync


def is_readable(gate: GateWatch) -> bool:
    """Report whether what the launcher polls ends its wait."""
    return bool(select.select([gate], [], [], 0)[0])


def python(code: str) -> tuple[str, ...]:
    """Return a command line of Python code whose first argument is the pipe."""
    return sys.executable, "-c", code, "{pipe}"


def test_an_analyzer_that_does_not_open_the_pipe_is_logged_after_a_minute_and_each_minute(
    make: Make, client: socket.socket, short_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Suricata with many rules takes that long; a command that never reads the pipe takes for ever."""
    launcher = make(*python(NEVER_OPEN))
    request_stream(launcher, client, short_path)
    for now_s in (1059, 1060, 1119, 1120):
        launcher.step(now_s)

    log = logged(capsys, "waiting_for_analyzer", 2)
    assert [line.split("waited_s=")[1] for line in log.splitlines() if "waited_s" in line] == [
        "60: It runs and has not opened the pipe.",
        "120: It runs and has not opened the pipe.",
    ]


def test_a_stop_waits_five_seconds_for_the_dispatcher_to_leave(
    make: Make, client: socket.socket, short_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It looks every quarter of a second; one that hangs must not hold up the analyzer's output."""
    launcher = make(*python(READ))
    request_stream(launcher, client, short_path)
    client.settimeout(0.01)

    def is_open() -> bool:
        launcher.step(1000)
        try:
            return b"stream" in client.recv(1 << 16)
        except TimeoutError:
            return False

    wait_until(is_open, "the stream")
    os.kill(os.getpid(), signal.SIGTERM)
    for now_s in (1001, 1005):
        assert not launcher.step(now_s)
    assert "dispatcher_stays" not in logged(capsys, "stopping")

    launcher.step(1006)

    assert f"pid={os.getpid()}" in logged(capsys, "dispatcher_stays")
    wait_until(lambda: launcher.step(1006), "the analyzer to exit")


def test_a_launcher_that_is_closed_waits_for_its_analyzer_no_longer_than_it_takes(
    make_open: Make, client: socket.socket, short_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is killed; what it has left running ends with it. No socket and no pipe stay."""
    launcher = make_open(*python(NEVER_OPEN))
    request_stream(launcher, client, short_path)
    analyzer = int(logged(capsys, "analyzer_started").split("pid=")[1].split()[0])
    begun_s = time.monotonic()

    launcher.close()

    assert time.monotonic() - begun_s < scaled(0.9)
    assert not is_running(analyzer)
    assert [path.name for path in short_path.iterdir()] == ["out"]


def test_a_missing_program_is_looked_for_every_minute(
    make: Make, client: socket.socket, store: Store, short_path: Path
) -> None:
    """The dispatcher has left; `status` shows when the program is there."""
    program = short_path / "late"
    launcher = make(str(program), "{pipe}")
    request_stream(launcher, client, short_path)
    wait_until(lambda: state(store) == "failing", "the state")
    client.close()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)

    launcher.step(1059)
    launcher.step(1059)
    wait_until(lambda: store.redis.hget(store.keys.consumer, "heartbeat_s"), "the state")
    assert state(store) == "failing"

    launcher.step(1060)
    launcher.step(1060)
    wait_until(lambda: state(store) == "idle", "the state")


@pytest.mark.parametrize("change", CHANGES)
def test_a_launcher_without_a_stream_waits_again_after_a_change_of_the_gate(
    store: Store, change: str
) -> None:
    """What it polls is readable until the change is seen: else it took a whole core until the next stream."""
    with closing(GateWatch(store.another())) as gate:
        CHANGES[change](store)
        wait_until(lambda: is_readable(gate), "the change")

        gate.apply(None, 1000, is_stopping=False)

        assert not is_readable(gate)
