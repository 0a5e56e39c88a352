"""The shipped supervisord.conf under a real supervisord, and an analyzer that copies its stream."""

import os
import shutil
import signal
import sys
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final
from xmlrpc.client import ServerProxy

import psutil
from supervisor.xmlrpc import SupervisorTransport

from pcapdj.runtime.errors import StoreUnavailable
from pcapdj.store.client import Store
from pcapdj.store.keys import Keys
from pcapdj.store.redis_url import SOCKET_IN_LAYOUT
from pcapdj.store.snapshot import read_snapshot
from support import forkserver
from support.forkserver import DEVNULL, Process, clean_environment
from support.waiting import scaled, wait_until

CHECKOUT: Final = Path(__file__).parent.parent.parent
PROGRAMS: Final = Path(sys.executable).parent

# Copies the stream into LOGDIR/copy; with a file `brake` beside the logs it reads a little and waits.
COPYING: Final = """
import os, sys, time
pipe, logdir = sys.argv[1:]
brake = os.path.join(os.path.dirname(logdir), "brake")
with open(pipe, "rb", 0) as stream, open(os.path.join(logdir, "copy"), "wb", 0) as copy:
    while data := stream.read(4096 if os.path.exists(brake) else 1 << 20):
        copy.write(data)
        while os.path.exists(brake) and copy.tell() > 100_000:
            time.sleep(0.01)
"""


def environment(**variables: str) -> dict[str, str]:
    """Return a clean environment with this interpreter first along PATH."""
    return clean_environment(PATH=f"{PROGRAMS}:{os.environ['PATH']}") | variables


def programs_in(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what supervisord reports of its programs, by name; nothing while it does not answer."""
    transport = SupervisorTransport(serverurl=f"unix://{folder}/var/run/supervisor.sock")
    with ServerProxy("http://127.0.0.1", transport=transport) as proxy:
        try:
            found: Any = proxy.supervisor.getAllProcessInfo()
        except (OSError, HTTPException):
            return {}
    return {program["name"]: program for program in found}


def processes_about(folder: Path) -> list[str]:
    """Return the command lines of living processes that were started for this folder, or work in it."""
    found = []
    for process in psutil.process_iter():
        try:
            command = " ".join(process.cmdline())
            places = (command, process.cwd(), process.environ().get("RIG", ""))
            if any(str(folder) in place for place in places):
                found.append(command)
        except psutil.Error:  # gone meanwhile, or not ours to see
            continue
    return found


class Service:
    """A checkout's layout in a folder of its own; `stop` ends it.

    Args:
        folder: short enough for unix sockets.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "out"
        self.store = Store(f"unix://{folder / SOCKET_IN_LAYOUT}", Keys(), timeout_s=scaled(2))
        self._supervisord: Process | None = None
        shutil.copy(CHECKOUT / "supervisord.conf", folder)
        for part in ("inbox", "out", "var/run", "var/log"):
            (folder / part).mkdir(parents=True)

    @property
    def analyzer(self) -> str:
        """The command line of the analyzer that copies its stream."""
        analyzer = self.folder / "copying.py"
        analyzer.write_text(COPYING)
        return f"{sys.executable} {analyzer} {{pipe}} {{logdir}}"

    def start(self, *, is_real: bool = False, has_analyzer: bool = True, **settings: str) -> None:
        """Start supervisord; wait until all five programs run, Redis answers and a dispatcher is registered.

        Args:
            is_real: as users do; else supervisord and its programs are forks.
            has_analyzer: the environment has the analyzer that copies its stream; else the folder chooses it.
            settings: environment variables.
        """
        self.begin(is_real=is_real, has_analyzer=has_analyzer, **settings)
        wait_until(lambda: self._running() == 5, "five programs to run")
        wait_until(self.is_ready, "a dispatcher to register")

    def begin(self, *, is_real: bool = False, has_analyzer: bool = True, **settings: str) -> None:
        """Start supervisord, as above, and wait for nothing."""
        command = {"PCAPDJ_CONSUMER_COMMAND": self.analyzer} if has_analyzer else {}
        variables = environment(RIG=str(self.folder), **command, **settings)
        self._supervisord = forkserver.start(
            "supervisor.supervisord",
            *("-n", "-c", "supervisord.conf"),
            cwd=self.folder,
            env=variables,
            stdout=DEVNULL,
            is_real=is_real,
            forks=not is_real,
        )

    def control(self, *arguments: str) -> str:
        """Run supervisorctl and return what it prints."""
        words = ("-c", "supervisord.conf", *arguments)
        return str(forkserver.run("supervisor.supervisorctl", *words, cwd=self.folder).stdout)

    def pcapdj(self, *arguments: str) -> str:
        """Run a command of ours in the folder and return what it prints; it has to succeed."""
        done = forkserver.run("pcapdj", *arguments, cwd=self.folder, env=environment())
        done.check_returncode()
        return str(done.stdout)

    def pid_of(self, program: str) -> int:
        """Return the pid of a program; 0 while it does not run."""
        return int(programs_in(self.folder).get(program, {"pid": 0})["pid"])

    def snapshot(self) -> Mapping[str, Any]:
        """Return what `status` shows."""
        return read_snapshot(self.store, 0)

    def await_processed(self, count: int) -> None:
        """Wait until so many files are in PROCESSED."""
        wait_until(lambda: self.snapshot()["processed"] == count, f"{count} files to be processed")

    def log_of(self, program: str) -> str:
        """Return a program's log."""
        return (self.folder / "var/log" / f"{program}.log").read_text()

    def end_stream(self) -> bytes:
        """End the stream and return what its analyzer copied."""
        self.pcapdj("finish")
        wait_until(lambda: (self.snapshot()["consumer"] or {}).get("state") == "idle", "the analyzer to end")
        return (self.out / "latest" / "copy").read_bytes()

    def signal(self, number: int) -> None:
        """Send supervisord itself a signal; after SIGKILL wait for its end."""
        if self._supervisord:
            self._supervisord.send_signal(number)
            if number == signal.SIGKILL:
                self._supervisord.wait()

    def is_ready(self) -> bool:
        """Report whether Redis answers and a dispatcher is registered."""
        try:
            return bool(self.snapshot()["dispatchers"])
        except StoreUnavailable:
            return False

    def _running(self) -> int:
        programs = programs_in(self.folder).values()
        return sum(program["statename"] == "RUNNING" for program in programs)

    def stop(self) -> None:
        """Stop supervisord, as an operator does, and wait for it."""
        if self._supervisord and self._supervisord.poll() is None:
            self._supervisord.send_signal(signal.SIGTERM)
            self._supervisord.wait(120)
        self.store.close()
