"""How fast the disks fill, and when they are measured again: `pcapdj.disk.fill_rate`."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.rows import each_row

from pcapdj.disk.fill_rate import (
    ASSUMED_RATES,
    FILLING_BYTES_PER_S,
    LEARNING_S,
    LONGEST_LOOK_S,
    SHORTEST_LOOK_S,
    FillRates,
)
from pcapdj.disk.gate import Measurement
from pcapdj.disk.limits import Thresholds

_MIB = 1 << 20
_LIMITS = Thresholds(suspend=8 * _MIB, minimum=16 * _MIB, resume=24 * _MIB)
_DISK = Measurement("/out", "'/out'", 48 * _MIB, _LIMITS, path="/out", total=48 * _MIB)
_INODES = replace(_DISK, label="/out (inodes)", unit="inodes", thresholds=Thresholds(50, 100, 150))


def measured(free: float, disk: Measurement = _DISK) -> Measurement:
    """Return a measurement of the disk with so much free."""
    return replace(disk, free=int(free))


def learned(rate: float, unit: str = "bytes") -> FillRates:
    """Return what is known after a minute of feeding at this rate."""
    return FillRates({unit: rate}, fed_s=LEARNING_S)


def first_look_below(limit: int, rate: float, rates: FillRates, free: float) -> float:
    """Return how far below the limit an evenly filling disk is at the first look that finds it there."""
    now_s = 0.0
    while True:
        left = free - now_s * rate
        if left < limit:
            return limit - left
        disk = measured(left)
        rates = rates.after([disk], now_s, is_busy=True)
        now_s += rates.next_look_s([disk])


@given(
    rate=st.floats(1, ASSUMED_RATES["bytes"]),
    free=st.integers(_LIMITS.suspend, 1 << 40),
    limit=st.sampled_from([_LIMITS.suspend, _LIMITS.minimum]),
    knows=st.booleans(),
)
def test_an_evenly_filling_disk_is_seen_at_its_limit(
    rate: float, free: int, limit: int, *, knows: bool
) -> None:
    """Up to the largest rate seen, or 500 MB/s before: not later than what it writes in the shortest look."""
    free = min(max(free, limit), int(limit + 1000 * rate))  # what comes before is looks once a second

    late = first_look_below(limit, rate, learned(rate) if knows else FillRates(), free)

    assert late <= rate * SHORTEST_LOOK_S + 1


def test_a_new_largest_rate_counts_at_once() -> None:
    """With the measurement that shows it."""
    before = learned(_MIB).after([measured(40 * _MIB)], 0.0, is_busy=True)
    assert before.next_look_s([measured(40 * _MIB)]) == LONGEST_LOOK_S

    after = before.after([measured(30 * _MIB)], 0.1, is_busy=True)

    assert after.largest["bytes"] == 100 * _MIB
    assert after.next_look_s([measured(30 * _MIB)]) == pytest.approx(0.035, abs=1e-6)


def test_a_rate_is_learned_while_files_are_fed_only() -> None:
    """An hour without a file shows nothing of what an analyzer writes: 500 MB/s are assumed after it."""
    disk, rates = measured(40 * _MIB), FillRates()
    for now_s in range(0, 3600, 5):
        rates = rates.after([disk], now_s, is_busy=False)
    assert rates.next_look_s([disk]) < LONGEST_LOOK_S

    for now_s in range(3600, 3662):
        rates = rates.after([disk], now_s, is_busy=True)
    assert rates.next_look_s([disk]) == LONGEST_LOOK_S


@each_row(
    ("disk", "expected_s"),
    [
        (measured(48 << 40), LONGEST_LOOK_S),
        (measured(16 * _MIB), SHORTEST_LOOK_S),
        (measured(15 * _MIB), 0.25 * (7 * _MIB + 1) / 10e6),
        (measured(_MIB), LONGEST_LOOK_S),
        (replace(_DISK, free=None, failure="is not there"), LONGEST_LOOK_S),
        (Measurement("memory", "The memory", 1, Thresholds(0, 1, 1)), LONGEST_LOOK_S),
        (replace(_DISK, free=48 * _MIB, thresholds=Thresholds(0, 0, 0)), LONGEST_LOOK_S),
    ],
    ids=["far", "at min-free", "holding", "suspended", "not measured", "memory", "without limits"],
)
def test_the_next_look_is_a_quarter_of_the_way_to_the_next_limit(
    disk: Measurement, expected_s: float
) -> None:
    """Which is min-free first, then suspend-free; below it, nothing is left to be seen in time."""
    assert learned(10e6).next_look_s([disk]) == pytest.approx(expected_s)


def test_the_tightest_disk_decides_and_inodes_have_a_rate_of_their_own() -> None:
    """Bytes per second say nothing about inodes."""
    rates = FillRates({"bytes": 1.0, "inodes": 1000.0}, fed_s=LEARNING_S)

    assert rates.next_look_s([measured(40 * _MIB), measured(299, _INODES)]) == pytest.approx(0.05)


def test_measurements_that_follow_at_once_make_no_rate() -> None:
    """A grant measures again: 4 KiB within a millisecond are not 4 MB/s."""
    rates = FillRates().after([measured(40 * _MIB)], 0.0, is_busy=True)

    rates = rates.after([measured(40 * _MIB - 4096)], 0.001, is_busy=True)
    assert rates.largest == {}
    rates = rates.after([measured(40 * _MIB - 4096)], 1.0, is_busy=True)
    assert rates.largest == {"bytes": 4096.0}


def test_the_shown_rate_is_that_of_the_last_seconds() -> None:
    """Over five to ten seconds; a disk that empties has a negative one, and that is not among the largest."""
    rates = FillRates()
    assert rates.shown("/out") == 0.0
    for now_s in range(61):
        rates = rates.after([measured(40 * _MIB - now_s * 1000)], now_s, is_busy=True)
        if now_s:
            assert rates.shown("/out") == 1000.0
    for now_s in range(61, 80):
        rates = rates.after([measured(40 * _MIB + now_s * 1000)], now_s, is_busy=True)

    assert rates.shown("/out") == -1000.0
    assert rates.largest == {"bytes": 1000.0}


@pytest.mark.parametrize(
    ("written", "is_filling"),
    [(FILLING_BYTES_PER_S, True), (FILLING_BYTES_PER_S - 4096, False), (-5e6, False)],
)
def test_a_disk_that_fills_by_a_megabyte_a_second_is_written_to(written: float, *, is_filling: bool) -> None:
    """Between the last two rounds; so it is also without a file, and a new disk is not."""
    before = FillRates().after([measured(40 * _MIB)], 0.0, is_busy=False)

    after = before.after([measured(40 * _MIB - written)], 1.0, is_busy=False)

    assert after.is_filling(before) is is_filling
    assert not before.is_filling(FillRates())


def test_another_disk_at_a_path_is_no_rate() -> None:
    """A late mount is not a jump of what is free; the other disks' rates go on."""
    rates = FillRates().after([_DISK, _INODES], 0.0, is_busy=True)
    small = measured(_MIB)
    rates = rates.without([_DISK.label]).after([small, measured(900, _INODES)], 6.0, is_busy=True)

    assert rates.shown(_DISK.label) == 0
    assert "bytes" not in rates.largest
    assert rates.shown(_INODES.label) > 0


def test_the_next_controller_goes_on_from_what_was_published() -> None:
    """The larger one counts of the two; what is not valid is left out."""
    known = FillRates({"bytes": 5e6, "inodes": 7.0}, fed_s=30.0)

    assert FillRates().with_learned(known.as_json()) == known
    assert learned(9e6).with_learned(known.as_json()).largest == {"bytes": 9e6, "inodes": 7.0}
    for invalid in (
        *("", "[]", "{", '{"largest": 1, "fed_s": 1}', '{"largest": {}, "fed_s": "x"}', '{"largest": {}}'),
        json.dumps({"largest": {"bytes": "nan"}, "fed_s": 1}),
        json.dumps({"largest": {"bytes": None}, "fed_s": 1}),
    ):
        assert known.with_learned(invalid) == known, invalid
