"""A lane's snapshot as samples: which there are, and what labels may hold."""

from typing import Any, Final

import pytest

from pcapdj.console.metrics import FAMILIES, LaneReading, MetricSample, lane_samples

NOW_S: Final = 1000.0
BUSY: Final = """
redis_up 1
findings level=warning 4
findings level=critical 2
role_up role=controller dispatcher= 1
role_heartbeat_age_seconds role=controller dispatcher= 0.5
role_up role=consumer dispatcher= 1
role_heartbeat_age_seconds role=consumer dispatcher= 0.5
role_up role=importer dispatcher= 1
role_heartbeat_age_seconds role=importer dispatcher= 0.5
role_up role=dispatcher dispatcher=/p 1
role_heartbeat_age_seconds role=dispatcher dispatcher=/p 0.5
role_up role=dispatcher dispatcher=/q 1
role_heartbeat_age_seconds role=dispatcher dispatcher=/q 0.5
gate_state state=open 0
gate_state state=hold 1
gate_state state=suspended 0
gate_set_by_hand 1
suspended by=operator 0
suspended by=gate 0
suspended by=usr1 1
analyzer_state state=idle 0
analyzer_state state=starting 0
analyzer_state state=reading 1
analyzer_state state=flushing 0
analyzer_state state=failing 0
analyzer_starts_total 3
analyzer_crashes_total 1
queue_files 4
queue_bytes 7
queue_oldest_age_seconds 10
inbox_files state=waiting 11
inbox_files state=written 12
analyzer_unread_seconds dispatcher=/p 13
storage_away dispatcher=/p 0
current_file_info dispatcher=/p file=/in/1 1
current_file_size_bytes dispatcher=/p 9
current_file_read_bytes dispatcher=/p 3
analyzer_unread_seconds dispatcher=/q 0
storage_away dispatcher=/q 1
current_file_info dispatcher=/q file=/in/2 1
current_file_size_bytes dispatcher=/q 8
current_file_read_bytes dispatcher=/q 0
failed_files 5
suspect_streams 1
files_total verdict=processed 21
files_total verdict=failed 22
files_total verdict=known 23
file_failures_total kind=damaged 24
packets_total 25
captured_bytes_total 26
wire_bytes_total 27
left_out_packets_total 28
time_jumps_total 29
disk_measured path=/out 1
disk_free_bytes path=/out 5
disk_size_bytes path=/out 9
disk_limit_bytes path=/out limit=hold 2
disk_limit_bytes path=/out limit=suspend 1
disk_limit_bytes path=/out limit=open 3
disk_free_inodes path=/out 6
disk_inodes path=/out 8
disk_limit_inodes path=/out limit=hold 2
disk_limit_inodes path=/out limit=open 3
memory_available_bytes 7
memory_limit_bytes limit=hold 2
memory_limit_bytes limit=open 3
disk_measured path=/gone 0
"""
ALIVE: Final = {"heartbeat_s": 999.5, "heartbeat_age_s": 0.5, "stale": False}


def samples_of(snapshot: dict[str, Any], **reading: Any) -> list[MetricSample]:
    """Return the samples of a lane, dispatcher and controller being expected."""
    empty: dict[str, Any] = {
        "counts": {},
        "queue_bytes": None,
        "oldest_s": None,
        "kinds": {"damaged"},
        "now_s": NOW_S,
    }
    given = empty | {"expected": {"dispatcher", "controller"}} | reading
    return list(lane_samples(LaneReading(snapshot=snapshot, **given)))


def value(samples: list[MetricSample], name: str, **labels: str) -> float | None:
    """Return the value of the sample with exactly these labels; None: there is none."""
    found = [each.value for each in samples if each.name == name and each.labels == labels]
    assert len(found) < 2
    return found[0] if found else None


def text_of(sample: MetricSample) -> str:
    """Return a sample as a line, the labels in their order."""
    labels = "".join(f" {name}={value}" for name, value in sample.labels.items())
    return f"{sample.name.removeprefix('pcapdj_')}{labels} {sample.value:g}"


def test_an_empty_lane_has_its_roles_down_and_its_counters_at_zero() -> None:
    """A series that appears with its first failure would hide that one from rate()."""
    samples = samples_of({})

    assert value(samples, "pcapdj_role_up", role="dispatcher", dispatcher="") == 0
    assert value(samples, "pcapdj_role_up", role="controller", dispatcher="") == 0
    assert value(samples, "pcapdj_role_up", role="importer", dispatcher="") is None
    assert value(samples, "pcapdj_file_failures_total", kind="damaged") == 0
    assert value(samples, "pcapdj_files_total", verdict="processed") == 0
    assert value(samples, "pcapdj_findings", level="critical") == 2
    assert value(samples, "pcapdj_queue_oldest_age_seconds") == 0


@pytest.mark.parametrize(
    ("member", "by"), [("operator", "operator"), ("gate", "gate"), ("usr1:/run/p", "usr1")]
)
def test_who_suspends_a_lane_is_a_label(member: str, by: str) -> None:
    """Each alone; a lane that goes on has all three at zero."""
    suspended, goes_on = samples_of({"suspended": [member, "foreign"]}), samples_of({"suspended": []})

    for each in ("operator", "gate", "usr1"):
        assert value(suspended, "pcapdj_suspended", by=each) == (each == by)
        assert value(goes_on, "pcapdj_suspended", by=each) == 0


def test_a_busy_lane_has_these_series() -> None:
    """Each family with its labels and its value, those of disks, inodes and memory, too."""
    limits = {"hold_below": 2, "open_from": 3}
    disks = [
        {"name": "/out", "unit": "bytes", "free": 5, "total": 9, "suspend_below": 1, **limits},
        {"name": "/out (inodes)", "unit": "inodes", "free": 6, "total": 8, **limits},
        {"name": "memory", "unit": "bytes", "free": 7, "total": 9, **limits},
        {"name": "/gone", "unit": "bytes", "free": None},
        "foreign",
    ]
    samples = samples_of({
        "queued": 4,
        "failed": 5,
        "suspects": {"5ca1ab1e": "its disk was full"},
        "gate": {"state": "hold", "disks": disks, **ALIVE},
        "consumer": {"state": "reading", "starts": 3, "crashes": 1, **ALIVE},
        "importer": {"waiting": 11, "written": 12, **ALIVE},
        "dispatchers": [
            {"id": "/p", "name": "/in/1", "total_bytes": 9, "done_bytes": 3, "stalled_s": 13, **ALIVE},
            {"id": "/q", "name": "/in/3", "total_bytes": 9, "done_bytes": 3, "storage": "/in", **ALIVE},
        ],
        "current": [
            {"dispatcher": "/p", "name": "/in/1", "size_bytes": 8},
            {"dispatcher": "/q", "name": "/in/2", "size_bytes": 8},
        ],
        "control": {"gate": "hold"},
        "suspended": ["usr1:/p"],
    }, queue_bytes=7, oldest_s=990.0, counts={
        "processed": 21, "failed": 22, "known": 23, "failed:damaged": 24, "packets": 25,
        "captured_bytes": 26, "wire_bytes": 27, "left_out": 28, "jumps": 29,
    })  # fmt: skip

    assert [text_of(each) for each in samples] == BUSY.strip().splitlines()
    assert {each.name for each in samples} == FAMILIES.keys()


def test_a_silent_or_stopped_role_is_down() -> None:
    """Its age is there, as long as it is known."""
    samples = samples_of({
        "gate": {"heartbeat_age_s": 60.0, "stale": True},
        "importer": {"state": "stopped", **ALIVE},
    })  # fmt: skip

    assert value(samples, "pcapdj_role_up", role="controller", dispatcher="") == 0
    assert value(samples, "pcapdj_role_heartbeat_age_seconds", role="controller", dispatcher="") == 60
    assert value(samples, "pcapdj_role_up", role="importer", dispatcher="") == 0


def test_labels_from_file_names_are_bounded_and_escaped() -> None:
    """The end of a path stays, by which it differs from others."""
    name = "/in/" + "x" * 5000 + "\x1b[2J\n\udcff.pcap"
    samples = samples_of({"dispatchers": [{"id": "d"}], "current": [{"dispatcher": "d", "name": name}]})

    (file,) = [each.labels["file"] for each in samples if each.name == "pcapdj_current_file_info"]
    assert file.startswith("…x")
    assert file.endswith(r"\x1b[2J\n\xff.pcap")
    assert len(file) < 310
    assert file.isprintable()
