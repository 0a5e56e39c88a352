"""Everything that stands before an analyzer's first byte: its program, a new pipe, a new log folder."""

import os
import secrets
import sys
import time
from importlib.resources import files
from pathlib import Path

from pcapdj.analyzer.presets import EXTRACT, LOGDIR, PIPE, PYTHON, Command, substituted
from pcapdj.analyzer.process import Analyzer, environment_for, find_program
from pcapdj.analyzer.session import AnalyzerSession, Timeouts
from pcapdj.runtime import failpoints
from pcapdj.runtime.fifo import Fifo
from pcapdj.runtime.places import new_log_folder

_PACKAGE_ROOT = Path(__file__).resolve().parents[2]


class AnalyzerStarter:
    """Starts the same command for every stream.

    Args:
        command: the analyzer.
        fifo: where the pipe is.
        log_root: the folder of all log folders, absolute.
        timeouts: when patience with an analyzer ends.
    """

    def __init__(self, command: Command, fifo: Fifo, log_root: Path, timeouts: Timeouts) -> None:
        self.command = command
        self.fifo = fifo
        self.log_root = log_root
        self.timeouts = timeouts

    def program(self) -> str:
        """Return the analyzer's path.

        Raises:
            Unavailable: it is not installed.
        """
        return find_program(self._argv({})[0])

    def start(self, now_s: float) -> AnalyzerSession:
        """Start an analyzer on a new pipe.

        Args:
            now_s: monotonic.

        Raises:
            Unavailable: it cannot be started.
            CannotCreate: the pipe or the log folder cannot be made.
        """
        program = self.program()  # looked up first: no log folder for an analyzer that is not there
        self.fifo.renew()
        failpoints.reach("launcher.fifo")
        stream = secrets.token_hex(4)
        folder = new_log_folder(self.log_root, stream, time.time())
        argv = [program, *self._argv({PIPE: str(self.fifo.path), LOGDIR: str(folder)})[1:]]
        analyzer = Analyzer(argv, folder, self._environment())
        failpoints.reach("launcher.spawn")
        return AnalyzerSession(
            stream, self.fifo, analyzer, timeouts=self.timeouts, folder=folder, now_s=now_s
        )

    def _argv(self, places: dict[str, str]) -> list[str]:
        ours = {PYTHON: sys.executable, EXTRACT: str(files("pcapdj.analyzer") / "suricata-extract.yaml")}
        return substituted(self.command.argv, places | ours)

    def _environment(self) -> dict[str, str]:
        environment = environment_for(os.environ)
        if self.command.is_ours:  # it starts in its log folder, where a checkout's package is not found
            path = environment.get("PYTHONPATH")
            environment["PYTHONPATH"] = f"{_PACKAGE_ROOT}{os.pathsep}{path}" if path else str(_PACKAGE_ROOT)
        return environment
