"""A lane's snapshot as samples: which there are, and what labels may hold."""

from typing import Any, Final

import pytest

from pcapdj.console.metrics import FAMILIES, LaneReading, MetricSample, lane_samples

NOW_S: Final = 1000.0
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


def test_every_sample_is_of_a_family_with_help() -> None:
    """Also those of disks, inodes and memory."""
    disks = [
        {"name": "/out", "unit": "bytes", "free": 5, "total": 9, "hold_below": 2, "suspend_below": 1,
         "open_from": 3},
        {"name": "/out (inodes)", "unit": "inodes", "free": 5, "total": 9, "hold_below": 2, "open_from": 3},
        {"name": "memory", "unit": "bytes", "free": 5, "total": 9, "hold_below": 2, "open_from": 3},
        {"name": "/gone", "unit": "bytes", "free": None},
        "foreign",
    ]  # fmt: skip
    samples = samples_of({
        "queued": 1,
        "gate": {"state": "hold", "disks": disks, **ALIVE},
        "consumer": {"state": "reading", "starts": 3, "crashes": 1, **ALIVE},
        "importer": {"waiting": 1, "written": 2, **ALIVE},
        "dispatchers": [{"id": "/run/p", "name": "/in/1", "total_bytes": 9, "done_bytes": 3, **ALIVE}],
        "current": [{"dispatcher": "/run/p", "name": "/in/1"}],
        "control": {"gate": "hold"},
        "suspended": ["usr1:/run/p"],
    }, queue_bytes=7, oldest_s=990.0)  # fmt: skip

    assert {each.name for each in samples} == FAMILIES.keys()
    assert value(samples, "pcapdj_disk_free_inodes", path="/out") == 5
    assert value(samples, "pcapdj_disk_limit_bytes", path="/out", limit="suspend") == 1
    assert value(samples, "pcapdj_disk_limit_inodes", path="/out", limit="suspend") is None
    assert value(samples, "pcapdj_memory_limit_bytes", limit="hold") == 2
    assert value(samples, "pcapdj_disk_measured", path="/gone") == 0
    assert value(samples, "pcapdj_current_file_read_bytes", dispatcher="/run/p") == 3
    assert value(samples, "pcapdj_suspended", by="usr1") == 1
    assert value(samples, "pcapdj_queue_oldest_age_seconds") == 10


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
