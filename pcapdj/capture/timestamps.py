"""How the packets' time goes on from one file to the next: steps, and those that are jumps. Rules only.

A step is the time of a file's first packet less that of the last packet before it, both in file order.
Back is always a jump: files out of order, or a clock that was set. Forward is one above a limit: a file may
be missing. Analyzers take their time from the packets: after a jump they end flows early, or keep them.
"""

from dataclasses import dataclass

from pcapdj.runtime.units import human_duration


@dataclass(frozen=True, slots=True)
class Jump:
    """A step that a person should hear of.

    Args:
        step_ns: below 0: back.
    """

    step_ns: int

    @property
    def words(self) -> str:
        """What a table says behind the file's name."""
        return f"begins {self._span} {self._side} the end of the file before"

    @property
    def sentence(self) -> str:
        """What the log says, with what may be the reason."""
        guess = "are the files in order?" if self.step_ns < 0 else "is a file missing?"
        return f"Its first packet is {self._span} {self._side} the last one of the file before: {guess}"

    @property
    def _span(self) -> str:
        return human_duration(abs(self.step_ns))

    @property
    def _side(self) -> str:
        return "before" if self.step_ns < 0 else "after"


def step_ns(last_ts_ns: int | None, first_ts_ns: int | None) -> int | None:
    """Return the step between two files; None where one of them is not there, or holds no packet.

    Args:
        last_ts_ns: of the file before, nanoseconds since 1970.
        first_ts_ns: of this file.
    """
    return None if last_ts_ns is None or first_ts_ns is None else first_ts_ns - last_ts_ns


def jump_of(step_ns: int | None, max_gap_ns: int) -> Jump | None:
    """Return the jump that a step is; None if it is none.

    Args:
        step_ns: None: there is no file before.
        max_gap_ns: a step forward may be so long; 0: as long as it likes.
    """
    if step_ns is None:
        return None
    is_gap = 0 < max_gap_ns < step_ns
    return Jump(step_ns) if step_ns < 0 or is_gap else None
