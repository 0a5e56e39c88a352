"""Measures the disks and applies the limits in force to what it measured."""

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from pcapdj.disk.fill_rate import FillRates
from pcapdj.disk.gate import Decision, Gate, Measurement
from pcapdj.disk.limits import Limits
from pcapdj.disk.live_limits import LiveLimits
from pcapdj.disk.measurements import Sample, check_order, measurements_of, output_disk
from pcapdj.disk.meters import DiskMeter
from pcapdj.disk.output_ratio import OutputGrowth, OutputRatios
from pcapdj.disk.reserve import Reserve
from pcapdj.disk.same_disk import SameDisks, same_disks_of
from pcapdj.runtime.full_disks import DiskAtEnd


class DiskMonitor:
    """The last measurement, and the limits in force. The first measurement is taken at once.

    Args:
        meter: takes the samples.
        limits: the options and the live limits.

    Attributes:
        is_filling: a disk was being written to between the last two measurements.
        full: by watched path, when each disk was last at its end.
        is_newly_full: one came there between the last two measurements.

    Raises:
        ConfigError: the limits are out of order on a filesystem that is there.
    """

    def __init__(self, meter: DiskMeter, limits: LiveLimits) -> None:
        self._meter = meter
        self.live: Final = limits
        self.rates = FillRates()
        self.disks = SameDisks({})
        self.growth = OutputGrowth()
        self._devices: dict[str, int] = {}
        self.full: dict[str, DiskAtEnd] = {}
        self._full_now: frozenset[str] = frozenset()
        self.measure()
        check_order(self.samples, limits.in_force)

    def measure(self, *, is_busy: bool = False) -> None:
        """Measure now; the meter never takes long.

        Args:
            is_busy: a file is fed.
        """
        self._measured = self._meter.measure()
        self.samples, self.disks = self.disks.judge(self._measured)
        self._measured_s = time.monotonic()
        self._note_full_disks(time.time())
        measurements = self.measurements()
        before = self.rates.without(self._exchanged(measurements))
        self.rates = before.after(measurements, self._measured_s, is_busy=is_busy)
        self.is_filling = self.rates.is_filling(before)
        if isinstance(output := self._measured.output, Sample):
            self.growth = self.growth.after(output.device, output.free_bytes, is_counted=is_busy)

    def _exchanged(self, measurements: Sequence[Measurement]) -> Collection[str]:
        """Return the labels of the resources that are on another device than at the last measurement."""
        before = self._devices
        self._devices = {
            watch.path: sample.device for watch, sample in self.samples.paths if isinstance(sample, Sample)
        }
        changed = {path for path, device in self._devices.items() if before.get(path, device) != device}
        return {each.label for each in measurements if each.path in changed}

    def _note_full_disks(self, now_s: float) -> None:
        full = {
            watch.path: DiskAtEnd(watch.path, sample.device, now_s, state)
            for watch, sample in self.samples.paths
            if isinstance(sample, Sample) and (state := sample.state_at_end)
        }
        self.is_newly_full = bool(full.keys() - self._full_now)
        self.full |= full
        self._full_now = frozenset(full)

    def restore(self, fields: Mapping[str, str]) -> None:
        """Continue from the fields of PCAPDJ_GATE; they also count as the last measurement."""
        self.rates = self.rates.with_learned(fields.get("fill_rates", ""))
        self.growth = self.growth.with_published(fields.get("output_bytes", ""))
        self.samples, self.disks = same_disks_of(fields).judge(self._measured)

    def accept(self, accepted: str) -> bool:
        """Take the file systems as they are if the operator accepts them anew; report whether that is so."""
        before, self.disks = self.disks, self.disks.accepting(accepted)
        return before is not self.disks

    def look_due_in_s(self) -> float:
        """Return in how many seconds the disks have to be measured again while a file is fed."""
        return self.rates.next_look_s(self.measurements()) - self.age_s()

    def age_s(self) -> float:
        """Return how old the last measurement is."""
        return time.monotonic() - self._measured_s

    @property
    def limits(self) -> Limits:
        """The limits in force."""
        return self.live.in_force

    def apply(self, control: Mapping[str, str]) -> bool:
        """Apply the live fields of PCAPDJ_CONTROL; report whether they differ from those before."""
        return self.live.apply(control, self.samples)

    def measurements(self) -> Sequence[Measurement]:
        """Return the last measurement of each resource with the limits in force."""
        return measurements_of(self.samples, self.limits)

    def reserve(self, ratios: OutputRatios) -> Reserve:
        """Return what is reserved for the next file, after the last measurement.

        Args:
            ratios: what was learned of the lane's output.
        """
        disk = output_disk(self.samples, self.limits, self._meter.logdir)
        return Reserve(self.limits.reserve, ratios, disk)

    def next_gate(self, gate: Gate) -> Gate:
        """Return the gate after the last measurement."""
        override = self.live.override
        return gate.after(self.measurements(), self._measured_s, self.limits.resume_after_s, override)

    def decision(self, gate: Gate) -> Decision:
        """Return what a gate decides that `next_gate` returned."""
        return gate.decision(self.measurements(), self.live.override)
