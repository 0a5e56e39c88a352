"""From samples to measurements, and the lines of `--check`: `pcapdj.disk.measurements`, `gate_report`."""

import pytest
from support.rows import each_row

from pcapdj.disk.gate import Gate
from pcapdj.disk.gate_report import check_lines
from pcapdj.disk.limits import parse_limits, parse_watch
from pcapdj.disk.measurements import (
    FailedMeasurement,
    Memory,
    Sample,
    Samples,
    check_order,
    check_reach,
    measurements_of,
)
from pcapdj.runtime.errors import ConfigError

DEFAULT = parse_limits({})


def sample(device: int = 1, free: int = 500, total: int = 1000, inodes: int = 0) -> Sample:
    """Return a sample; without inodes unless some are given, all of them free."""
    return Sample(device, free, total, inodes, inodes)


def samples_of(*paths: tuple[str, Sample | FailedMeasurement]) -> Samples:
    """Return one round over paths as typed to --watch."""
    return Samples(tuple((parse_watch(text), found) for text, found in paths), Memory(300, 1000))


def test_paths_on_one_device_are_one_measurement() -> None:
    """The first one names it, and the largest limit counts."""
    found = measurements_of(
        samples_of(("/out", sample()), ("/out/redis=300", sample()), ("/in", sample(2))), DEFAULT
    )

    assert [(each.label, each.thresholds.minimum) for each in found] == [("/out", 300), ("/in", 100)]


def test_folders_with_quotas_of_their_own_stay_apart() -> None:
    """A project quota appears as another total on the same device."""
    found = measurements_of(samples_of(("/a", sample()), ("/b", sample(total=600))), DEFAULT)

    assert [each.label for each in found] == ["/a", "/b"]


def test_inodes_are_measured_where_there_are_any() -> None:
    """5 % of them, under a label of their own."""
    found = measurements_of(samples_of(("/out", sample(inodes=2000))), DEFAULT)

    assert [(each.label, each.thresholds.minimum, each.unit) for each in found] == [
        ("/out", 100, "bytes"),
        ("/out (inodes)", 100, "inodes"),
    ]


def test_memory_is_measured_only_if_it_has_a_limit() -> None:
    """It is off by default."""
    found = measurements_of(samples_of(), parse_limits({"min-available-memory": "40%"}))

    assert [(each.label, each.free, each.thresholds.minimum) for each in found] == [("memory", 300, 400)]


def test_limits_out_of_order_on_a_mount_hold_there() -> None:
    """A mount that appeared late cannot end the role; it counts as full, with the reason."""
    limits = parse_limits({"min-free": "10%", "resume-free": "50"})
    found = samples_of(("/out", sample()))

    assert measurements_of(found, limits)[0].free is None
    assert "out of order" in measurements_of(found, limits)[0].failure
    with pytest.raises(ConfigError, match="'/out'"):
        check_order(found, limits)


def test_the_lines_of_check_have_every_number_in_bytes() -> None:
    """Mounts, limits, failures, memory, decision."""
    limits = parse_limits({"min-available-memory": "40%"})
    found = samples_of(
        ("/out", sample(free=5000, total=10_000, inodes=2000)),
        ("/out/redis", sample(free=5000, total=10_000, inodes=2000)),
        ("/gone\n", FailedMeasurement("is not there")),
    )
    gate = Gate().after(measurements_of(found, limits), 0, 30)

    assert check_lines(found, limits, gate.decision(measurements_of(found, limits))) == [
        "'/out', '/out/redis'",
        "  free             4.9 KiB (5,000 bytes) of 9.8 KiB (10,000 bytes), 50.0 %",
        "  hold below       1000 B (1,000 bytes)",
        "  open again from  1.5 KiB (1,500 bytes), after 30 s",
        "  suspend below    500 B (500 bytes)",
        "  free inodes      2,000 of 2,000",
        "  hold below       100 inodes, open from 150",
        "$'/gone\\x0a': is not there, which counts as full",
        "memory: 300 B (300 bytes) available, hold below 400 B (400 bytes)",
        (
            "gate: suspended: $'/gone\\x0a' is not there, which counts as full: the running file is paused"
            " until that changes."
        ),
    ]


def test_the_lines_of_check_show_limits_out_of_order() -> None:
    """On the mount where they are, instead of the limits that they would be."""
    limits = parse_limits({"min-free": "10%", "resume-free": "50", "suspend-free": "0"})
    numbers = "On '/out' (1000 B) min-free is 100 B (100 bytes) and resume-free is 50 B (50 bytes)"
    found = samples_of(("/out", sample()))
    gate = Gate().after(measurements_of(found, limits), 0, 30)

    assert check_lines(found, limits, gate.decision(measurements_of(found, limits))) == [
        "'/out'",
        "  free             500 B (500 bytes) of 1000 B (1,000 bytes), 50.0 %",
        f"  {numbers}. The order is suspend-free < min-free < resume-free.",
        (
            f"gate: hold: '/out' has limits out of order ({numbers}), which counts as full: no new file"
            " starts until that changes."
        ),
    ]


def test_the_lines_of_check_show_where_nothing_suspends() -> None:
    """A suspend-free of 0 is not a number of bytes."""
    limits = parse_limits({"suspend-free": "off"})
    found = samples_of(("/out", sample()))
    gate = Gate().after(measurements_of(found, limits), 0, 30)

    lines = check_lines(found, limits, gate.decision(measurements_of(found, limits)))

    assert lines[4:] == [
        "  suspend below    never",
        "gate: open: '/out' has 500 B (500 bytes) free; it holds below 100 B (100 bytes).",
    ]


def test_a_filesystem_that_counts_no_inodes_has_no_limit_of_them() -> None:
    """Btrfs reports 0 of 0, so a limit could never be met."""
    found = measurements_of(samples_of(("/out", sample(inodes=0))), parse_limits({"min-free-inodes": "50"}))

    assert [each.unit for each in found] == ["bytes"]


@each_row(
    ("limits", "expected"),
    [
        ({"min-free": "1000"}, "'/out' has 1000 B (1,000 bytes) in all"),
        ({"resume-free": "2000"}, "2.0 KiB (2,000 bytes) free"),
        ({"min-free-inodes": "3000"}, "'/out' has 2,000 inodes in all"),
        ({"min-available-memory": "5000"}, "The memory has 1000 B"),
    ],
    ids=["space", "resume", "inodes", "memory"],
)
def test_limits_beyond_the_total_are_refused(limits: dict[str, str], expected: str) -> None:
    """Once closed, such a gate never opens by itself."""
    found = samples_of(("/out", sample(inodes=2000)))

    with pytest.raises(ConfigError) as refused:
        check_reach(found, parse_limits(limits))

    assert expected in str(refused.value)


@pytest.mark.parametrize(
    ("limits", "found", "expected"),
    [
        ({}, FailedMeasurement("is not there"), "is not there"),
        ({"resume-free": "50"}, sample(), "resume-free is 50 B"),
    ],
    ids=["missing", "out of order"],
)
def test_a_path_that_would_never_open_the_gate_is_refused(
    limits: dict[str, str], found: Sample | FailedMeasurement, expected: str
) -> None:
    """It would count as full for the whole run, which has no operator to change that."""
    with pytest.raises(ConfigError, match=expected):
        check_reach(samples_of(("/out", found)), parse_limits(limits))


def test_limits_that_can_be_met_are_not_refused() -> None:
    """However short it is now."""
    check_reach(samples_of(("/out", sample(free=0, inodes=2000))), parse_limits({"min-free": "999"}))
