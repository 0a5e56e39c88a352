"""The gate for people: the lines of `control --check`, and what the controller logs of disks and limits.

Every number stands beside its threshold, and every size is exact: a log is read when the disk is full.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pcapdj.disk.gate import Decision, State, exact_amount
from pcapdj.disk.limits import Limits
from pcapdj.disk.measurements import Mount, Samples, mounts
from pcapdj.runtime.errors import ConfigError
from pcapdj.runtime.log import EventLog
from pcapdj.runtime.safe_text import quoted

if TYPE_CHECKING:
    from pcapdj.disk.monitor import DiskMonitor


def check_lines(samples: Samples, limits: Limits, decision: Decision) -> list[str]:
    """Return the lines of `--check`: mounts, limits in bytes, failures, decision."""
    lines = [line for mount in mounts(samples) for line in _mount_lines(mount, limits)]
    lines += [
        f"{quoted(watch.path)}: {each.reason}, which counts as full" for watch, each in samples.failures
    ]
    memory, thresholds = samples.memory, limits.memory_thresholds(samples.memory.total_bytes)
    if thresholds.minimum:
        free, minimum = exact_amount(memory.available_bytes), exact_amount(thresholds.minimum)
        lines.append(f"memory: {free} available, hold below {minimum}")
    return [*lines, f"gate: {decision.state.word}: {decision.reason}"]


def log_transition(events: EventLog, decision: Decision, outlook: str = "") -> None:
    """Log the gate's new state, with the number and the threshold in their unit.

    Args:
        events: the log of the controller.
        decision: the new one.
        outlook: which limit the disk reaches when, in words; empty: none.
    """
    log = events.info if decision.state is State.OPEN else events.warning
    disk, numbers = decision.measurement, dict[str, object]()
    if disk:
        numbers = {"path": disk.path or disk.label}
    if disk and disk.free is not None:
        numbers |= {f"free_{disk.unit}": disk.free, f"needed_{disk.unit}": decision.needed}
    sentence = f"{decision.reason} {disk.subject} {outlook}." if outlook and disk else decision.reason
    log(f"gate_{decision.state.word}", sentence, **numbers)


def log_failures(events: EventLog, before: Mapping[str, str], monitor: "DiskMonitor") -> dict[str, str]:
    """Log which watched paths cannot be measured any more, and which can again; the gate may stay as it is.

    Args:
        events: the log of the controller.
        before: by path, why they could not be measured before.
        monitor: has measured them.

    Returns:
        The same as `before`, as of now.
    """
    now = {each.path: each.failure for each in monitor.measurements() if each.failure}
    for path, failure in now.items():
        if before.get(path) != failure:
            sentence = f"{quoted(path)} {failure}, which counts as full."
            events.warning("cannot_measure", sentence, path=path)
    for path in before.keys() - now.keys():
        events.info("measured_again", f"{quoted(path)} can be measured again.", path=path)
    return now


def log_live_limits(
    events: EventLog, monitor: "DiskMonitor", control: Mapping[str, str], limits_before: Limits
) -> None:
    """Log which live fields came into force, or why they are refused; and the limits, if they changed."""
    if monitor.live.refused:
        events.warning("live_value_refused", monitor.live.refused)
    else:
        values = ", ".join(f"{name}={text}" for name, text in control.items())
        events.info("live_values_in_force", values or "None: the options are in force.")
    if monitor.limits != limits_before:
        log_limits(events, monitor)


def log_limits(events: EventLog, monitor: "DiskMonitor") -> None:
    """Log what each limit is in bytes, and which ones can never be met."""
    measurements = monitor.measurements()
    for each in measurements:
        if each.failure:
            continue
        fields: dict[str, object] = {
            f"free_{each.unit}": each.free,
            f"hold_below_{each.unit}": each.thresholds.minimum,
            f"open_from_{each.unit}": each.thresholds.resume,
            f"suspend_below_{each.unit}": each.thresholds.suspend,
            "resume_after_s": monitor.limits.resume_after_s,
        }
        events.info("limits", "", path=each.path or each.label, **fields)
    for each in measurements:
        if each.is_out_of_reach:
            numbers = {f"open_from_{each.unit}": each.thresholds.resume, f"total_{each.unit}": each.total}
            events.warning(
                "limit_out_of_reach",
                "These limits require more than there is: once closed, the gate never opens by itself.",
                path=each.path or each.label,
                **numbers,
            )


def _mount_lines(mount: Mount, limits: Limits) -> Iterator[str]:
    sample = mount.sample
    yield ", ".join(quoted(watch.path) for watch in mount.watches)
    free, total = exact_amount(sample.free_bytes), exact_amount(sample.total_bytes)
    yield f"  free             {free} of {total}, {100 * sample.free_bytes / sample.total_bytes:.1f} %"
    try:
        thresholds = mount.thresholds(limits)
    except ConfigError as exc:
        yield f"  {exc}"
    else:
        yield f"  hold below       {exact_amount(thresholds.minimum)}"
        yield f"  open again from  {exact_amount(thresholds.resume)}, after {limits.resume_after_s:g} s"
        yield f"  suspend below    {exact_amount(thresholds.suspend) if thresholds.suspend else 'never'}"
    inodes = limits.inode_thresholds(sample.total_inodes)
    if inodes.minimum:
        yield f"  free inodes      {sample.free_inodes:,} of {sample.total_inodes:,}"
        yield f"  hold below       {exact_amount(inodes.minimum, 'inodes')}, open from {inodes.resume:,}"
