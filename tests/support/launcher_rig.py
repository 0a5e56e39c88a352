"""A real launcher as a process, a client beside it, and small analyzers that behave or do not."""

import os
import re
import select
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pcapdj.feed.launcher_client import LauncherClient, OpenStream
from pcapdj.runtime.signals import HasFileno, Waits
from support import forkserver
from support.forkserver import Process, clean_environment
from support.waiting import wait_until

COPY = "import sys, shutil; shutil.copyfileobj(open(sys.argv[1], 'rb', 0), open('copy', 'wb', 0), 65536)"


def is_listening(path: Path) -> bool:
    """Report whether a unix socket accepts connections; it is there before. Source: proc_net_unix(5)."""
    lines = Path("/proc/net/unix").read_text(encoding="utf-8", errors="replace").splitlines()
    return any(line.endswith(f" {path}") and line.split()[3] == "00010000" for line in lines)


class Rig:
    """A launcher in a folder of its own; `start` runs it, `stop_all` leaves no process behind.

    Args:
        folder: short enough for a unix socket.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "run" / "launcher.sock"
        self.pipe = folder / "run" / "stream.pcap"
        self.logs = folder / "out"
        self.stderr = folder / "stderr"
        self.processes: list[Process] = []
        self.clients: list[LauncherClient] = []

    def start(
        self,
        *command: str,
        options: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
        wait: bool = True,
        is_real: bool = False,
    ) -> Process:
        """Run the launcher with a command, or with a preset among the options; wait until it listens."""
        place = ["--socket", str(self.socket), "-b", str(self.pipe), "--logdir", str(self.logs)]
        more = ["--", *command] if command else []
        url = {"PCAPDJ_REDIS_URL": f"unix://{self.folder}/no-redis"}
        with self.stderr.open("ab") as stderr:
            process = forkserver.start(
                "pcapdj.consumer_launcher",
                *(*place, *options, *more),
                env=clean_environment(**(url | dict(environment or {}))),
                stderr=stderr,
                is_real=is_real,
            )
        self.processes.append(process)
        if wait:
            wait_until(
                lambda: is_listening(self.socket) or process.poll() is not None, "the launcher to listen"
            )
        return process

    def start_python(
        self, code: str, *, options: tuple[str, ...] = (), environment: Mapping[str, str] | None = None
    ) -> Process:
        """Run the launcher with Python code as its analyzer; argv[1] is the pipe, argv[2] the log folder."""
        return self.start(
            *(sys.executable, "-ISc", code, "{pipe}", "{logdir}"), options=options, environment=environment
        )

    def logged(self) -> str:
        """Return what all launchers have logged so far."""
        return self.stderr.read_text()

    def latest(self) -> Path:
        """Return the log folder of the latest stream."""
        return (self.logs / "latest").resolve()

    def analyzer_pid(self) -> int:
        """Return the pid of the latest analyzer, as the log has it, which is written by a thread."""
        wait_until(lambda: re.search(r"analyzer_started .*pid=\d+ .*\n", self.logged()), "a start in the log")
        return int(self.logged().rsplit("analyzer_started", 1)[1].split("pid=")[1].split()[0])

    def stop_all(self) -> None:
        """Close the clients and kill what still runs; the analyzers die with their launchers."""
        for client in self.clients:
            client.close()
        for process in self.processes:
            process.kill()


@contextmanager
def rig_in(folder: Path) -> Iterator[Rig]:
    """Return a rig that is cleaned up afterwards."""
    rig = Rig(folder)
    try:
        yield rig
    finally:
        rig.stop_all()


class ActingWaits:
    """Waits during which something happens.

    Args:
        waits: how it waits.
        action: done before each wait.
    """

    def __init__(self, waits: Waits, action: Callable[[], object]) -> None:
        self._waits = waits
        self._action = action

    def wait(
        self, timeout_s: float, *readable: HasFileno | int, stops: int = 1, waiting_for: str = ""
    ) -> None:
        """Let it happen, and wait."""
        self._action()
        self._waits.wait(timeout_s, *readable, stops=stops, waiting_for=waiting_for)


def connected(rig: Rig, waits: Waits) -> LauncherClient:
    """Return a client that is connected; the rig closes it."""
    launcher = LauncherClient(rig.socket, waits)
    rig.clients.append(launcher)
    wait_until(launcher.connect, "the launcher to take the connection")
    return launcher


def is_running(pid: int) -> bool:
    """Report whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def feed(launcher: LauncherClient, opened: OpenStream, path: Path) -> None:
    """Splice a whole file into the stream, kept meanwhile as the dispatcher keeps it."""
    source = os.open(path, os.O_RDONLY)
    try:
        launcher.put(opened.stream, "file", source, {"name": str(path)})
        splice_all(source, opened.write_end)
    finally:
        os.close(source)


def feed_stream(rig: Rig, waits: Waits, path: Path) -> OpenStream:
    """Open a stream, feed it a whole file, end it, and wait until its analyzer has ended; return it."""
    launcher = connected(rig, waits)
    opened = launcher.open()
    feed(launcher, opened, path)
    os.close(opened.write_end)
    launcher.end(opened.stream)
    wait_until(lambda: "stream_ended" in rig.logged(), "the stream to end")
    return opened


def splice_all(source: int, write_end: int) -> None:
    """Splice until the source ends; fail if the pipe stays full."""
    poller = select.poll()
    poller.register(write_end, select.POLLOUT)
    while poller.poll(20_000):
        if os.splice(source, write_end, 1 << 20, flags=os.SPLICE_F_NONBLOCK) == 0:
            return
    raise TimeoutError("the pipe stayed full")


def stop(process: Process, number: int = signal.SIGTERM) -> int:
    """Signal the launcher and return its exit code."""
    process.send_signal(number)
    return process.wait()
