"""What `--check` prints and what the log says at start: every limit in bytes, for every mount. Rules only.

What the log says of the gate: transitions, live values, and at start each limit in bytes.
"""

from collections.abc import Iterator, Mapping

from pcapdj.disk.gate import Decision, Measurement, State
from pcapdj.disk.limits import Limits, Thresholds
from pcapdj.disk.measurements import FailedMeasurement, Measured, Mount, Sample, mounts
from pcapdj.disk.monitor import DiskMonitor
from pcapdj.runtime.errors import ConfigError
from pcapdj.runtime.log import EventLog
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.units import human_size


def report(measured: Measured, limits: Limits, decision: Decision) -> list[str]:
    """Return the lines of `--check`: mounts, limits, decision."""
    lines = [line for mount in mounts(measured) for line in _of_mount(mount, limits)]
    lines += [
        f"{quoted(watch.path)}: {failure.reason}, which counts as full"
        for watch, failure in measured.paths
        if isinstance(failure, FailedMeasurement)
    ]
    lines += _of_memory(measured, limits)
    return [*lines, f"gate: {decision.state.word}: {decision.reason}"]


def limit_fields(reading: Measurement, limits: Limits) -> dict[str, object]:
    """Return a reading's limits as fields of a log line."""
    unit, band = reading.unit, reading.band
    return {
        "path": reading.path or reading.label,
        f"free_{unit}": reading.free,
        f"hold_below_{unit}": band.minimum,
        f"open_from_{unit}": band.resume,
        f"suspend_below_{unit}": band.suspend,
        "resume_after_s": limits.resume_after_s,
    }


def _of_mount(mount: Mount, limits: Limits) -> Iterator[str]:
    sample = mount.sample
    yield ", ".join(quoted(watch.path) for watch in mount.watches)
    yield f"  free             {_bytes(sample.free_bytes)} of {_bytes(sample.total_bytes)}, {_share(sample)}"
    try:
        yield from _of_band(mount.band(limits), limits)
    except ConfigError as exc:
        yield f"  {exc}"
    inodes = limits.inode_band(sample.total_inodes)
    if inodes.minimum:
        yield f"  free inodes      {sample.free_inodes} of {sample.total_inodes}"
        yield f"  hold below       {inodes.minimum} inodes, open from {inodes.resume}"


def _of_band(band: Thresholds, limits: Limits) -> Iterator[str]:
    yield f"  hold below       {_bytes(band.minimum)}"
    yield f"  open again from  {_bytes(band.resume)}, after {limits.resume_after_s:g} s"
    yield f"  suspend below    {_bytes(band.suspend) if band.suspend else 'never'}"


def _of_memory(measured: Measured, limits: Limits) -> Iterator[str]:
    memory, band = measured.memory, limits.memory_band(measured.memory.total_bytes)
    if band.minimum:
        yield f"memory: {_bytes(memory.available_bytes)} available, hold below {_bytes(band.minimum)}"


def _share(sample: Sample) -> str:
    return f"{100 * sample.free_bytes / sample.total_bytes:.1f} %"


def _bytes(size_bytes: int) -> str:
    return f"{human_size(size_bytes)} ({size_bytes} bytes)"


def tell_transition(events: EventLog, decision: Decision, fields: Mapping[str, object]) -> None:
    """Say that the gate changed, with the number and the threshold."""
    say = events.info if decision.state is State.OPEN else events.warning
    numbers: dict[str, object] = {name: fields[name] for name in ("path", "free_bytes", "needed_bytes")}
    say(f"gate_{decision.state.word}", decision.reason, **numbers)


def tell_live(events: EventLog, guard: DiskMonitor, control: Mapping[str, str]) -> None:
    """Say which live values came into force, or why they are refused."""
    if guard.refused:
        events.warning("live_value_refused", guard.refused)
    else:
        events.info("live_values_in_force", ", ".join(f"{name}={text}" for name, text in control.items()))
    tell_limits(events, guard)


def tell_limits(events: EventLog, guard: DiskMonitor) -> None:
    """Say what each limit means in bytes, and which can never be met."""
    found = guard.readings()
    for reading in found:
        if reading.failure:
            events.warning("cannot_measure", f"{reading.what} {reading.failure}.", path=reading.path)
        else:
            events.info("limits", "", **limit_fields(reading, guard.limits))
    for reading in (each for each in found if each.is_out_of_reach):
        numbers = {f"open_from_{reading.unit}": reading.band.resume, f"total_{reading.unit}": reading.total}
        events.warning(
            "limit_out_of_reach",
            "There is less than these limits ask for: once closed, the gate never opens by itself.",
            path=reading.path or reading.label,
            **numbers,
        )
