"""The gate at work: measures, lays live limits over the options, and keeps the gate's memory."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from pcapdj.disk.gate import Decision, Gate, Measurement
from pcapdj.disk.limits import Limits
from pcapdj.disk.live import LiveLimits
from pcapdj.disk.measurements import Measured, check_order, readings


class Measures(Protocol):
    """Whatever measures the watched paths; `room.Room` does."""

    def measure(self) -> Measured:
        """Return one round of measurements."""
        ...


class DiskMonitor:
    """Decides on fresh measurements; measures once at its making.

    Args:
        room: what measures.
        limits: the options and what is laid over them.
        clock: never steps; in seconds.

    Raises:
        ConfigError: the limits are out of order on a filesystem that is there.
    """

    def __init__(
        self, room: Measures, limits: LiveLimits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._room = room
        self._live = limits
        self._clock = clock
        self.gate = Gate()
        self.measure()
        check_order(self.measured, limits.in_force)

    def measure(self) -> None:
        """Measure now; the room sees to it that this never takes long."""
        self.measured = self._room.measure()
        self._measured_s = self._clock()

    def age_s(self) -> float:
        """Return how old the last measurement is."""
        return self._clock() - self._measured_s

    @property
    def limits(self) -> Limits:
        """The limits in force."""
        return self._live.in_force

    @property
    def refused(self) -> str:
        """Why live fields were refused; empty if none were."""
        return self._live.refused

    @property
    def verdict(self) -> Mapping[str, str]:
        """What is published of the live fields."""
        return self._live.verdict

    def lay(self, fields: Mapping[str, str]) -> bool:
        """Lay the live fields over the options; report whether they differ from those seen before."""
        return self._live.lay(fields, lambda limits: check_order(self.measured, limits))

    def readings(self) -> Sequence[Measurement]:
        """Return what the last measurement means under the limits in force."""
        return readings(self.measured, self.limits)

    def decide(self) -> Decision:
        """Move the gate by the last measurement and return what it says."""
        found, override = self.readings(), self._live.override
        self.gate = self.gate.after(found, self._measured_s, self.limits.resume_after_s, override)
        return self.gate.decision(found, override)
