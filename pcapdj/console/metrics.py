"""A lane as metrics: names, help and samples, by the conventions of Prometheus. Rules only.

Units are base units (bytes, seconds), counters end in `_total`, states are one series each with 0 or 1.
Labels come from short lists of ours, from the lane, its dispatchers and watched paths, and one has the
current file's name: texts from outside are cut to 200 characters, and escaped as on our screens.

Source: Prometheus, "Metric and label naming", "Writing exporters".
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from pcapdj.console.monitor_rules import Level, findings_of
from pcapdj.console.snapshot_fields import ROLES, Fields, number_in
from pcapdj.console.waiting_lines import GATE, OPERATOR, SIGUSR1
from pcapdj.runtime.safe_text import printable

GATE_STATES: Final = ("open", "hold", "suspended")
ANALYZER_STATES: Final = ("idle", "starting", "reading", "flushing", "failing")
# name -> its help; a counter ends in _total, `_info` is always 1, all others are gauges
FAMILIES: Final[Mapping[str, str]] = {
    "pcapdj_redis_up": "1 if the Redis of the lane answered, else 0; then the lane has no other metrics.",
    "pcapdj_findings": "What check --monitor finds, by level (warning, critical).",
    "pcapdj_role_up": "1 if a role has reported within five seconds, 0 if it is silent, stopped or missing.",
    "pcapdj_role_heartbeat_age_seconds": "Time since a role reported.",
    "pcapdj_gate_state": "1 for the state of the disk gate (open, hold, suspended), 0 for the others.",
    "pcapdj_gate_set_by_hand": "1 while an operator's override decides instead of the disks.",
    "pcapdj_suspended": "1 while feeding is suspended by the operator, the gate, or SIGUSR1 (usr1).",
    "pcapdj_analyzer_state": "1 for the state of the analyzer, 0 for the others.",
    "pcapdj_analyzer_starts_total": "Analyzers started since the launcher began.",
    "pcapdj_analyzer_crashes_total": "Analyzers that ended by themselves since the launcher began.",
    "pcapdj_analyzer_unread_seconds": "Time for which the analyzer has read nothing from a pipe with data.",
    "pcapdj_queue_files": "Files in the queue.",
    "pcapdj_queue_bytes": "Size of the files in the queue; estimated beyond the first thousand.",
    "pcapdj_queue_oldest_age_seconds": "Time since the file at the head of the queue was written last.",
    "pcapdj_inbox_files": "Files in the watched folders that are not queued yet (waiting, written).",
    "pcapdj_current_file_info": "The file that a dispatcher has taken.",
    "pcapdj_current_file_size_bytes": "Size of that file.",
    "pcapdj_current_file_read_bytes": "How much of it has been read.",
    "pcapdj_failed_files": "Entries about failed files that were neither queued again nor forgotten.",
    "pcapdj_suspect_streams": "Streams whose output may be incomplete, until their files are fed again.",
    "pcapdj_files_total": "Files that the lane has finished, by verdict (processed, failed, known).",
    "pcapdj_file_failures_total": "Failed files by the kind of the reason.",
    "pcapdj_packets_total": "Packets delivered to analyzers.",
    "pcapdj_captured_bytes_total": "Captured bytes of these packets.",
    "pcapdj_wire_bytes_total": "Bytes of these packets on the wire.",
    "pcapdj_left_out_packets_total": "Packets left out because of their link type.",
    "pcapdj_time_jumps_total": "Files whose timestamps jump, seen from the file before.",
    "pcapdj_storage_away": "1 while a dispatcher waits for the storage of its file.",
    "pcapdj_disk_free_bytes": "Free space of a watched disk.",
    "pcapdj_disk_size_bytes": "Size of a watched disk.",
    "pcapdj_disk_limit_bytes": "Limits of its free space: hold and suspend below, open from.",
    "pcapdj_disk_free_inodes": "Free inodes of a watched disk.",
    "pcapdj_disk_inodes": "All inodes of a watched disk.",
    "pcapdj_disk_limit_inodes": "Limits of its free inodes: hold and suspend below, open from.",
    "pcapdj_disk_measured": "1 if a watched disk could be measured; one that could not counts as full.",
    "pcapdj_memory_available_bytes": "Memory that is available without swapping, where it has a limit.",
    "pcapdj_memory_limit_bytes": "Limits of the available memory: hold below, open from.",
}
_COUNTERS: Final = {
    "pcapdj_packets_total": "packets",
    "pcapdj_captured_bytes_total": "captured_bytes",
    "pcapdj_wire_bytes_total": "wire_bytes",
    "pcapdj_left_out_packets_total": "left_out",
    "pcapdj_time_jumps_total": "jumps",
}
_VERDICTS: Final = ("processed", "failed", "known")
_LIMITS: Final = {"hold": "hold_below", "suspend": "suspend_below", "open": "open_from"}
_KEYS: Final = {"controller": "gate", "consumer": "consumer", "importer": "importer"}
_MOST_DISKS: Final = 100
_LABEL_CHARS: Final = 200
_INODES: Final = " (inodes)"  # behind the path, in the name of the resource


class MetricSample(NamedTuple):
    """One value of a metric.

    Args:
        name: of `FAMILIES`.
        labels: by name, without that of the lane.
        value: in the unit of the name.
    """

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class LaneReading:
    """What was read of a lane.

    Args:
        snapshot: as `status --json` prints it.
        counts: of PCAPDJ_COUNTS.
        queue_bytes: None: unknown.
        oldest_s: when the file at the queue's head was written, in seconds since the epoch; None: unknown.
        expected: the roles that should run.
        kinds: of failures; those that have not come yet are 0.
        now_s: seconds since the epoch.
    """

    snapshot: Fields
    counts: Mapping[str, int]
    queue_bytes: int | None
    oldest_s: float | None
    expected: Collection[str]
    kinds: Collection[str]
    now_s: float


def lane_samples(reading: LaneReading) -> Iterator[MetricSample]:
    """Yield the samples of a lane whose Redis answered."""
    snapshot = reading.snapshot
    yield MetricSample("pcapdj_redis_up", {}, 1)
    found = findings_of(snapshot, reading.expected, reading.now_s)
    for level in (Level.WARNING, Level.CRITICAL):
        number = sum(each.level is level for each in found)
        yield MetricSample("pcapdj_findings", {"level": level.name.lower()}, number)
    yield from _role_samples(reading)
    yield from _gate_samples(snapshot)
    yield from _analyzer_samples(snapshot.get("consumer") or {})
    yield from _queue_samples(reading)
    yield from _dispatcher_samples(snapshot)
    yield from _count_samples(reading)
    for disk in ((snapshot.get("gate") or {}).get("disks") or ())[:_MOST_DISKS]:
        yield from _disk_samples(disk)


def _role_samples(reading: LaneReading) -> Iterator[MetricSample]:
    snapshot = reading.snapshot
    roles = [(role, "", snapshot.get(key) or {}) for role, key in _KEYS.items()]
    dispatchers = snapshot.get("dispatchers") or ()
    roles += [(ROLES[0], str(each.get("id")), each) for each in dispatchers]
    if not dispatchers:
        roles.append((ROLES[0], "", {}))
    for role, own_id, fields in roles:
        if not fields and role not in reading.expected:
            continue
        labels = {"role": role, "dispatcher": _label(own_id)}
        is_up = bool(fields) and not fields.get("stale") and fields.get("state") != "stopped"
        yield MetricSample("pcapdj_role_up", labels, is_up)
        age_s = fields.get("heartbeat_age_s")
        if isinstance(age_s, int | float):
            yield MetricSample("pcapdj_role_heartbeat_age_seconds", labels, age_s)


def _gate_samples(snapshot: Fields) -> Iterator[MetricSample]:
    if gate := snapshot.get("gate"):
        for state in GATE_STATES:
            yield MetricSample("pcapdj_gate_state", {"state": state}, gate.get("state") == state)
    override = (snapshot.get("control") or {}).get("gate") or "auto"
    yield MetricSample("pcapdj_gate_set_by_hand", {}, override != "auto")
    members = [str(each) for each in snapshot.get("suspended") or ()]
    of_signal = any(each.startswith(SIGUSR1) for each in members)
    for by, is_suspended in (
        ("operator", OPERATOR in members),
        ("gate", GATE in members),
        ("usr1", of_signal),
    ):
        yield MetricSample("pcapdj_suspended", {"by": by}, is_suspended)


def _analyzer_samples(consumer: Fields) -> Iterator[MetricSample]:
    if not consumer:
        return
    for state in ANALYZER_STATES:
        yield MetricSample("pcapdj_analyzer_state", {"state": state}, consumer.get("state") == state)
    for name, field in (("starts", "starts"), ("crashes", "crashes")):
        if field in consumer:
            yield MetricSample(f"pcapdj_analyzer_{name}_total", {}, number_in(consumer, field))


def _queue_samples(reading: LaneReading) -> Iterator[MetricSample]:
    yield MetricSample("pcapdj_queue_files", {}, number_in(reading.snapshot, "queued"))
    if reading.queue_bytes is not None:
        yield MetricSample("pcapdj_queue_bytes", {}, reading.queue_bytes)
    age_s = 0.0 if reading.oldest_s is None else max(0.0, reading.now_s - reading.oldest_s)
    if reading.oldest_s is not None or not number_in(reading.snapshot, "queued"):
        yield MetricSample("pcapdj_queue_oldest_age_seconds", {}, age_s)
    for state in ("waiting", "written"):
        if importer := reading.snapshot.get("importer"):
            yield MetricSample("pcapdj_inbox_files", {"state": state}, number_in(importer, state))


def _dispatcher_samples(snapshot: Fields) -> Iterator[MetricSample]:
    current = {each.get("dispatcher"): each for each in snapshot.get("current") or ()}
    for each in snapshot.get("dispatchers") or ():
        labels = {"dispatcher": _label(str(each.get("id")))}
        yield MetricSample("pcapdj_analyzer_unread_seconds", labels, number_in(each, "stalled_s"))
        yield MetricSample("pcapdj_storage_away", labels, bool(each.get("storage")))
        if file := current.get(each.get("id")):
            name = str(file.get("name", ""))
            yield MetricSample("pcapdj_current_file_info", {**labels, "file": _label(name)}, 1)
            is_same = each.get("name") == name
            size_bytes = number_in(each, "total_bytes") if is_same else number_in(file, "size_bytes")
            yield MetricSample("pcapdj_current_file_size_bytes", labels, size_bytes)
            yield MetricSample(
                "pcapdj_current_file_read_bytes", labels, number_in(each, "done_bytes") if is_same else 0
            )


def _count_samples(reading: LaneReading) -> Iterator[MetricSample]:
    counts = reading.counts
    yield MetricSample("pcapdj_failed_files", {}, number_in(reading.snapshot, "failed"))
    yield MetricSample("pcapdj_suspect_streams", {}, len(reading.snapshot.get("suspects") or ()))
    for verdict in _VERDICTS:
        yield MetricSample("pcapdj_files_total", {"verdict": verdict}, counts.get(verdict, 0))
    for kind in sorted(reading.kinds):
        yield MetricSample("pcapdj_file_failures_total", {"kind": kind}, counts.get(f"failed:{kind}", 0))
    for name, field in _COUNTERS.items():
        yield MetricSample(name, {}, counts.get(field, 0))


def _disk_samples(disk: object) -> Iterator[MetricSample]:
    if not isinstance(disk, dict):
        return
    name, is_inodes = str(disk.get("name", "")), disk.get("unit") == "inodes"
    is_memory = name == "memory"
    labels = {} if is_memory else {"path": _label(name.removesuffix(_INODES))}
    what, unit = ("memory", "bytes") if is_memory else ("disk", "inodes" if is_inodes else "bytes")
    free, is_measured = disk.get("free"), type(disk.get("free")) is int
    if not is_memory and not is_inodes:
        yield MetricSample("pcapdj_disk_measured", labels, is_measured)
    if not is_measured:
        return
    free_name = "pcapdj_memory_available_bytes" if is_memory else f"pcapdj_disk_free_{unit}"
    yield MetricSample(free_name, labels, float(free or 0))
    if not is_memory:
        size_name = "pcapdj_disk_inodes" if is_inodes else "pcapdj_disk_size_bytes"
        yield MetricSample(size_name, labels, number_in(disk, "total"))
    for limit, field in _LIMITS.items():
        if number := number_in(disk, field):
            yield MetricSample(f"pcapdj_{what}_limit_{unit}", {**labels, "limit": limit}, number)


def _label(text: str) -> str:
    """Return a text from outside as a label: its end, where a path differs from others, escaped."""
    shown = printable(text[-_LABEL_CHARS:])
    return shown if len(text) <= _LABEL_CHARS else f"…{shown}"
