"""Measures the disks and applies the limits in force to what it measured."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from pcapdj.disk.gate import Decision, Gate, Measurement
from pcapdj.disk.limits import Limits
from pcapdj.disk.live_limits import LiveLimits
from pcapdj.disk.measurements import Samples, check_order, measurements_of


class Meter(Protocol):
    """Measures the watched paths, as `meters.DiskMeter` does."""

    def measure(self) -> Samples:
        """Return one round of samples."""
        ...


class DiskMonitor:
    """The last measurement, and the limits in force. The first measurement is taken at once.

    Args:
        meter: takes the samples.
        limits: the options and the live limits.
        clock: never steps; in seconds.

    Raises:
        ConfigError: the limits are out of order on a filesystem that is there.
    """

    def __init__(self, meter: Meter, limits: LiveLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._meter = meter
        self._live = limits
        self._clock = clock
        self.measure()
        check_order(self.samples, limits.in_force)

    def measure(self) -> None:
        """Measure now; the meter never takes long."""
        self.samples = self._meter.measure()
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
        """Why the live fields are refused; empty if they are not."""
        return self._live.refused

    @property
    def limit_fields(self) -> Mapping[str, str]:
        """The fields of PCAPDJ_GATE about the limits."""
        return self._live.gate_fields

    def apply(self, control: Mapping[str, str]) -> bool:
        """Apply the live fields of PCAPDJ_CONTROL; report whether they differ from those before."""
        return self._live.apply(control, self.samples)

    def measurements(self) -> Sequence[Measurement]:
        """Return the last measurement of each resource with the limits in force."""
        return measurements_of(self.samples, self.limits)

    def next_gate(self, gate: Gate) -> Gate:
        """Return the gate after the last measurement."""
        override = self._live.override
        return gate.after(self.measurements(), self._measured_s, self.limits.resume_after_s, override)

    def decision(self, gate: Gate) -> Decision:
        """Return what a gate decides that `next_gate` returned."""
        return gate.decision(self.measurements(), self._live.override)
