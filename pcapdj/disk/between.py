"""When the command of --between runs, and what follows from how it ended. Rules only.

    no file is requested   it does not run
    a file is requested    it runs once before the file is authorized, also while the disks hold
    it exited 0            the file is authorized if the gate is open; else it runs again after a minute
    any other end          the gate holds, and it runs again after a pause that doubles up to a minute

While the disks hold it may make room. An operator's `gate hold` keeps it from starting, and with `gate open`
files are authorized without it. Of several requested files the first one whose output fits is next.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from pcapdj.disk.gate import Measurement, State
from pcapdj.disk.reserve import ReserveNumbers
from pcapdj.runtime.safe_text import printable, quoted, to_text

AGAIN_S: Final = 60.0
_FIRST_PAUSE_S: Final = 1.0


class RunState(StrEnum):
    """What the command does, or how its last run ended."""

    IDLE = "idle"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class BetweenRuns:
    """The runs of the command so far.

    Args:
        state: of the last run.
        name: of the file that it ran for.
        since_s: since when it has that state, in seconds since the epoch.
        due_s: when it runs again for the same file, on a clock that never steps.
        last_exit: how the last run ended: `exited 23`; empty: none has.
        last_line: of the output of the last run that failed.
        failures: runs in a row that failed; while there are any, the gate holds.
    """

    state: RunState = RunState.IDLE
    name: bytes = b""
    since_s: float = 0.0
    due_s: float = 0.0
    last_exit: str = ""
    last_line: str = ""
    failures: int = 0

    def due(self, names: Sequence[bytes], now_s: float) -> bytes | None:
        """Return the file for which the command runs now; None: it does not.

        Args:
            names: of the requested files, those that fit first.
            now_s: of a clock that never steps.
        """
        if self.state is RunState.RUNNING or not names:
            return None
        is_same = self.state is not RunState.IDLE and names[0] == self.name
        return None if is_same and now_s < self.due_s else names[0]

    def begun(self, name: bytes, time_s: float) -> "BetweenRuns":
        """Return this after a start at a time in seconds since the epoch."""
        return replace(self, state=RunState.RUNNING, name=name, since_s=time_s)

    def ended(self, last_exit: str, last_line: str, now_s: float, time_s: float) -> "BetweenRuns":
        """Return this after an end.

        Args:
            last_exit: how it ended; empty: in order.
            last_line: of its output.
            now_s: of a clock that never steps.
            time_s: the same in seconds since the epoch.
        """
        if not last_exit:
            return BetweenRuns(RunState.SUCCEEDED, self.name, time_s, now_s + AGAIN_S, "exited 0")
        pause_s = min(AGAIN_S, _FIRST_PAUSE_S * 2 ** min(self.failures, 10))
        return BetweenRuns(
            RunState.FAILED, self.name, time_s, now_s + pause_s, last_exit, last_line, self.failures + 1
        )

    def after_look(self, requested: Sequence[bytes]) -> "BetweenRuns":
        """Return this if its file is still requested, or it runs; else without its file and failures."""
        if self.state is RunState.RUNNING or self.name in requested:
            return self
        return replace(self, state=RunState.IDLE, name=b"", due_s=0.0, failures=0, last_line="")

    def allows(self, name: bytes) -> bool:
        """Report whether the file may be authorized as far as the command is concerned."""
        return self.state is RunState.SUCCEEDED and self.name == name

    def failure_sentence(self) -> str:
        """Return why the gate holds; empty: the command did not fail."""
        if not self.failures:
            return ""
        line = f" ({self.last_line})" if self.last_line else ""
        name = quoted(to_text(self.name).rpartition("/")[2])
        return (
            f"The command of --between {self.last_exit}{line} before {name}. It runs again, at least once a"
            " minute; 'pcapdj gate open' authorizes without it."
        )

    def as_fields(self, now_s: float) -> Mapping[str, object]:
        """Return it as PCAPDJ_GATE has it, in JSON; again_in_s: after which time it runs again."""
        again_in_s = round(max(0.0, self.due_s - now_s), 1) if self.state is RunState.FAILED else None
        return {
            "state": self.state.value,
            "name": to_text(self.name),
            "since_s": round(self.since_s, 3),
            "last_exit": self.last_exit,
            "last_line": self.last_line,
            "again_in_s": again_in_s,
        }


def run_variables(
    numbers: ReserveNumbers, disks: Sequence[Measurement], state: State, lane: str, stream: str
) -> dict[str, str]:
    """Return the variables with which a run gets its file and the disks; unknown ones are empty.

    Name and stream come from Redis: a NUL byte, which no variable can have, is left out.

    Args:
        numbers: of the file.
        disks: space of the watched ones; one that cannot be measured has 0 bytes free.
        state: of the gate.
        lane: of the controller; empty: the default one.
        stream: that is open; empty: none.
    """
    lines = [
        f"{each.free or 0} {each.thresholds.minimum} {each.total} {printable(each.path)}" for each in disks
    ]
    input_bytes, needs_bytes = numbers.file.input_bytes, numbers.needs_bytes
    values = {
        "PCAPDJ_FILE": to_text(numbers.file.name),
        "PCAPDJ_FILE_BYTES": "" if input_bytes is None else str(input_bytes),
        "PCAPDJ_NEEDS_BYTES": "" if needs_bytes is None else str(needs_bytes),
        "PCAPDJ_DISKS": "\n".join(lines),
        "PCAPDJ_GATE_STATE": state.word,
        "PCAPDJ_LANE": lane,
        "PCAPDJ_STREAM": stream,
    }
    return {name: text.replace("\0", "") for name, text in values.items()}
