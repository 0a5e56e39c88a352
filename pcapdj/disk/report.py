"""What `--check` prints and what the log says at start: every limit in bytes, for every mount. Rules only."""

from collections.abc import Iterator

from pcapdj.disk.gate import Decision, Reading
from pcapdj.disk.limits import Band, Limits
from pcapdj.disk.readings import Failure, Measured, Mount, Sample, mounts
from pcapdj.runtime.amounts import human_size
from pcapdj.runtime.errors import ConfigError
from pcapdj.runtime.names import quoted


def report(measured: Measured, limits: Limits, decision: Decision) -> list[str]:
    """Return the lines of `--check`: mounts, limits, decision."""
    lines = [line for mount in mounts(measured) for line in _of_mount(mount, limits)]
    lines += [
        f"{quoted(watch.path)}: {failure.reason}, which counts as full"
        for watch, failure in measured.paths
        if isinstance(failure, Failure)
    ]
    lines += _of_memory(measured, limits)
    return [*lines, f"gate: {decision.state.word}: {decision.reason}"]


def limit_fields(reading: Reading, limits: Limits) -> dict[str, object]:
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


def _of_band(band: Band, limits: Limits) -> Iterator[str]:
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
