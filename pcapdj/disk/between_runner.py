"""Starts the command of --between when it is due, and logs its output and how it ended."""

import time
from collections.abc import Mapping, Sequence
from typing import Final

from pcapdj.disk.between import BetweenRuns, RunState
from pcapdj.disk.between_process import MOST_LINES, BetweenProcess
from pcapdj.runtime.leftover_processes import end_leftover_commands
from pcapdj.runtime.log import EventLog
from pcapdj.runtime.numbers import counted
from pcapdj.runtime.safe_text import printable_sentence
from pcapdj.runtime.signals import Signals

_MOST_SHOWN: Final = 20

events = EventLog("controller")


def end_commands_of_killed(signals: Signals) -> None:
    """Kill and log what the command has left running where the process that runs it was killed.

    Raises:
        Stopped: a stop signal arrived.
    """
    if left := end_leftover_commands(signals):
        shown = ", ".join(map(str, left[:_MOST_SHOWN]))
        sentence = "A controller was killed, and its command of --between left processes: they are killed."
        events.warning("between_left_processes", sentence, processes=len(left), first=shown)


class BetweenRunner:
    """The command, and how its runs ended.

    Args:
        process: runs it.
    """

    def __init__(self, process: BetweenProcess) -> None:
        self._process = process
        self._began_s = 0.0
        self.runs = BetweenRuns()

    def fileno(self) -> int:
        """Return the descriptor that is readable when a run has printed something or ended."""
        return self._process.fileno()

    @property
    def has_message(self) -> bool:
        """Report whether a run has printed something or ended."""
        return self._process.has_message

    def look(self, requested: Sequence[bytes]) -> None:
        """Log what a run has printed and how it ended.

        Args:
            requested: names of the files that wait for their authorization.

        Raises:
            PcapdjError: the process that runs the command is gone.
        """
        for message in self._process.read():
            if "line" in message:
                events.info("between_output", printable_sentence(message["line"]))
            else:
                self._end(message)
        self.runs = self.runs.after_look(requested)

    def start(self, name: bytes, variables: Mapping[str, str]) -> None:
        """Start the command for this file; none runs."""
        events.info("between_started", name=name)
        self._began_s = time.monotonic()
        self.runs = self.runs.begun(name, time.time())
        self._process.start(variables)

    def close(self) -> None:
        """End a command that runs, with all that it started."""
        self._process.close()

    def _end(self, message: Mapping[str, object]) -> None:
        last_line = printable_sentence(str(message.get("last_line", "")))
        now_s = time.monotonic()
        self.runs = self.runs.ended(str(message["exit"]), last_line, now_s, time.time())
        name, seconds = self.runs.name, now_s - self._began_s
        lines = message.get("lines", 0)
        if isinstance(lines, int) and lines > MOST_LINES:
            more = counted(lines - MOST_LINES, "more line is", "more lines are")
            events.info("between_output", f"{more} not logged.")
        left = message.get("left")
        if isinstance(left, list) and left:
            sentence = f"The command of --between left these running, which are killed: {', '.join(left)}."
            events.warning("between_left_processes", sentence, name=name)
        if self.runs.state is RunState.FAILED:
            events.warning("between_failed", self.runs.failure_sentence(), name=name, seconds=seconds)
        else:
            events.info("between_ended", name=name, seconds=seconds)
