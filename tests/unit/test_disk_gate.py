"""The gate's rules: `pcapdj.disk.gate`."""

import pytest

from pcapdj.disk.gate import Decision, Gate, Measurement, Override, State
from pcapdj.disk.limits import Thresholds

THRESHOLDS = Thresholds(suspend=50, minimum=100, resume=150)
WAIT_S = 30.0


def space(free: int | None, path: str = "/out", thresholds: Thresholds = THRESHOLDS) -> Measurement:
    """Return a measurement of a path's free space; None is a failure."""
    failure = "" if free is not None else "is not there"
    return Measurement(
        label=path, subject=f"'{path}'", free=free, thresholds=thresholds, path=path, failure=failure
    )


class Rounds:
    """A gate through rounds of measurements, by default one a second."""

    def __init__(self, gate: Gate | None = None, override: Override = Override.AUTO) -> None:
        self.gate = gate or Gate()
        self.override = override
        self.now_s = 1000.0

    def measure(self, *measurements: Measurement, after_s: float = 1.0) -> Decision:
        """Return the decision after one more round."""
        self.now_s += after_s
        self.gate = self.gate.after(measurements, self.now_s, WAIT_S, self.override)
        return self.gate.decision(measurements, self.override)

    def states(self, *frees: int | None) -> list[State]:
        """Return the state after each of these amounts."""
        return [self.measure(space(free)).state for free in frees]


def test_a_start_without_known_state_opens_from_min_free() -> None:
    """Between min-free and resume-free, nothing was short yet."""
    assert Rounds().states(100) == [State.OPEN]
    assert Rounds().states(99) == [State.HOLD]
    assert Rounds().states(49) == [State.SUSPENDED]


def test_exactly_at_a_limit_the_better_state_counts() -> None:
    """Exactly min-free does not hold, exactly suspend-free does not suspend."""
    assert Rounds().states(100, 99, 50, 49) == [State.OPEN, State.HOLD, State.HOLD, State.SUSPENDED]


def test_a_suspended_file_goes_on_from_min_free() -> None:
    """Between suspend and min it stays suspended; from min-free on it may finish, nothing new begins."""
    assert Rounds().states(40, 99, 100, 149) == [
        State.SUSPENDED,
        State.SUSPENDED,
        State.HOLD,
        State.HOLD,
    ]


def test_it_opens_only_after_resume_free_has_lasted() -> None:
    """Resume-free has to last for resume-after; a dip starts the time again."""
    rounds = Rounds()
    rounds.states(90)

    assert rounds.measure(space(150)).state is State.HOLD
    assert rounds.measure(space(149), after_s=29).state is State.HOLD
    assert rounds.measure(space(150)).state is State.HOLD
    assert rounds.measure(space(150), after_s=29).state is State.HOLD
    assert rounds.measure(space(150)).state is State.OPEN


def test_each_mount_has_a_hysteresis_of_its_own() -> None:
    """A mount above min-free that was never short does not keep the gate closed when another one recovers."""
    rounds = Rounds()

    assert rounds.measure(space(90, "/a"), space(120, "/b")).state is State.HOLD
    rounds.measure(space(500, "/a"), space(120, "/b"))

    assert rounds.measure(space(500, "/a"), space(120, "/b"), after_s=WAIT_S).state is State.OPEN


def test_the_most_closed_mount_decides_and_is_named() -> None:
    """The decision has the path, what is free, and what is needed."""
    decision = Rounds().measure(space(90, "/a"), space(10, "/b"), space(500, "/c"))

    assert decision.state is State.SUSPENDED
    assert decision.measurement
    assert (decision.measurement.path, decision.measurement.free, decision.needed) == ("/b", 10, 100)
    assert "'/b'" in decision.reason
    assert "10 bytes" in decision.reason
    assert "100 bytes" in decision.reason


def test_an_open_gate_names_the_mount_nearest_to_its_limit() -> None:
    """It is the one that will hold first."""
    decision = Rounds().measure(space(5000, "/a"), space(120, "/b"))

    assert decision.measurement
    assert (decision.measurement.path, decision.needed) == ("/b", 100)


def test_what_cannot_be_measured_counts_as_full() -> None:
    """It suspends where suspension is on, and holds where it is off."""
    without_suspension = Thresholds(suspend=0, minimum=100, resume=150)

    assert Rounds().measure(space(500), space(None, "/b")).state is State.SUSPENDED
    assert Rounds().measure(space(None, thresholds=without_suspension)).state is State.HOLD


def test_a_mount_that_comes_back_is_judged_as_at_a_start() -> None:
    """It was never measured short, so it needs min-free, for the resume-after time."""
    rounds = Rounds()
    rounds.states(None, 120)

    assert rounds.measure(space(120), after_s=29).state is State.HOLD
    assert rounds.measure(space(120)).state is State.OPEN


def test_a_mount_that_was_short_and_vanished_still_needs_resume_free() -> None:
    """A path that vanishes and returns must not open the gate sooner."""
    rounds = Rounds()
    rounds.states(90, None, 120)

    assert rounds.measure(space(120), after_s=WAIT_S).state is State.HOLD


def test_the_operator_opens_whatever_the_numbers_are() -> None:
    """Below every limit, and without anything watched that answers."""
    assert Rounds(override=Override.OPEN).states(10, None, 99) == [State.OPEN] * 3


def test_an_opening_by_hand_lasts_above_min_free() -> None:
    """Back at auto the gate stays open down to min-free, and closes below it."""
    rounds = Rounds()
    rounds.states(90)
    rounds.override = Override.OPEN
    rounds.states(120)
    rounds.override = Override.AUTO

    assert rounds.states(120, 99) == [State.OPEN, State.HOLD]


def test_an_opening_by_hand_does_not_outlast_a_full_disk() -> None:
    """Back at auto a full disk closes the gate at once."""
    rounds = Rounds(override=Override.OPEN)
    rounds.states(90)
    rounds.override = Override.AUTO

    assert rounds.states(90, 120) == [State.HOLD, State.HOLD]


def test_the_operator_holds_and_the_disk_still_suspends() -> None:
    """A hold by hand does not switch the protection off, and leaves no trace when it ends."""
    rounds = Rounds(override=Override.HOLD)
    held = rounds.states(500, 10, 500)
    rounds.override = Override.AUTO

    assert held == [State.HOLD, State.SUSPENDED, State.HOLD]
    assert rounds.measure(space(500), after_s=WAIT_S).state is State.OPEN

    rounds.override = Override.HOLD
    rounds.states(120)
    rounds.override = Override.AUTO
    assert rounds.states(120) == [State.OPEN]


def test_limits_changed_while_it_runs_apply_at_once() -> None:
    """A lower min-free does not open a gate that was short; its new resume-free does."""
    rounds = Rounds()
    rounds.states(90)
    lower = Thresholds(suspend=10, minimum=20, resume=30)
    rounds.measure(space(90, thresholds=lower))

    assert rounds.measure(space(90, thresholds=lower), after_s=WAIT_S).state is State.OPEN
    assert rounds.measure(space(90)).state is State.HOLD


def test_suspension_switched_off_lets_the_file_go_on() -> None:
    """A suspended gate whose suspend limit is gone only holds."""
    rounds = Rounds()
    rounds.states(10)

    assert rounds.measure(space(10, thresholds=Thresholds(0, 100, 150))).state is State.HOLD


def test_the_reason_names_the_unit_of_inodes() -> None:
    """A number of inodes must not look like bytes."""
    inodes = Measurement("/out (inodes)", "'/out'", 7, THRESHOLDS, path="/out", unit="inodes")

    assert "7 inodes free" in Rounds().measure(inodes).reason


def test_an_open_gate_shows_bytes_until_inodes_are_about_to_run_out() -> None:
    """Whoever reads that it is open wants the free space; fewer inodes than twice their limit come first."""
    enough, few = (
        Measurement("/out (inodes)", "'/out'", free, THRESHOLDS, path="/out", unit="inodes")
        for free in (200, 199)
    )

    with_enough = Rounds().measure(space(5000), enough)
    with_few = Rounds().measure(space(5000), few)

    assert with_enough.reason == "'/out' has 4.9 KiB (5,000 bytes) free; it holds below 100 B (100 bytes)."
    assert with_few.reason == "'/out' has 199 inodes free; it holds below 100 inodes."


def test_inodes_that_ran_out_decide_a_closed_gate() -> None:
    """However much space is free."""
    none = Measurement("/out (inodes)", "'/out'", 0, Thresholds(0, 1, 2), path="/out", unit="inodes")

    decision = Rounds().measure(space(5000), none)

    assert decision.state is State.HOLD
    assert "0 inodes free" in decision.reason


def test_each_closed_state_has_its_own_reason() -> None:
    """What is free, and what has to be for the next better state."""
    assert Rounds().measure(space(90)).reason == (
        "'/out' has 90 B (90 bytes) free, below its min-free of 100 B (100 bytes): no new file starts."
        " It opens once 150 B (150 bytes) are free for 30 s."
    )
    assert Rounds().measure(space(40)).reason == (
        "'/out' has 40 B (40 bytes) free, below its suspend-free of 50 B (50 bytes): the running file is"
        " paused until 100 B (100 bytes) are free. New files start once 150 B (150 bytes) are free for 30 s."
    )
    assert Rounds().measure(space(None)).reason == (
        "'/out' is not there, which counts as full: the running file is paused until that changes."
    )


def test_above_a_limit_that_was_crossed_the_reason_names_it_all_the_same() -> None:
    """It is why the gate is closed; what is free now is above it."""
    holding, suspended = Rounds(), Rounds()
    holding.states(90)
    suspended.states(40)

    assert holding.measure(space(120)).reason == (
        "'/out' has 120 B (120 bytes) free, and was below its min-free of 100 B (100 bytes): no new file"
        " starts. It opens once 150 B (150 bytes) are free for 30 s."
    )
    assert "free, and was below its suspend-free of 50 B (50 bytes)" in suspended.measure(space(60)).reason


@pytest.mark.parametrize(
    ("measurement", "crossed"),
    [
        (
            Measurement("i", "'/out'", 90, THRESHOLDS, path="/out", unit="inodes"),
            "its min-free-inodes of 100",
        ),
        (
            Measurement("i", "'/out'", 40, THRESHOLDS, path="/out", unit="inodes"),
            "50 inodes, half of its min-free-inodes",
        ),
        (Measurement("memory", "The memory", 90, THRESHOLDS), "min-available-memory of 100 B"),
    ],
    ids=["inodes", "few inodes", "memory"],
)
def test_the_limit_is_named_as_it_is_typed(measurement: Measurement, crossed: str) -> None:
    """So that it can be set without a look into the documents."""
    assert f"free, below {crossed}" in Rounds().measure(measurement).reason


def test_limits_are_out_of_reach_only_of_a_known_total() -> None:
    """A total of 0 is an unknown one; at the total itself nothing could ever be used."""
    totals = {0: False, 149: True, 150: True, 151: False}

    assert {
        total: Measurement("/out", "'/out'", 7, THRESHOLDS, path="/out", total=total).is_out_of_reach
        for total in totals
    } == totals


def test_a_reason_promises_no_opening_that_cannot_be() -> None:
    """Limits beyond the whole disk: it never opens by itself, and the limits are what to change."""
    small = Measurement("/out", "'/out'", 7, THRESHOLDS, path="/out", total=150)
    fitting = Measurement("/out", "'/out'", 7, THRESHOLDS, path="/out", total=151)

    assert Rounds().measure(small).reason == (
        "'/out' has 7 B (7 bytes) free of 150 B (150 bytes) in all: the running file is paused. It opens from"
        " 150 B (150 bytes): never, unless the limits are changed."
    )
    assert "never" not in Rounds().measure(fitting).reason


def test_the_reason_has_how_long_the_free_space_must_last() -> None:
    """In seconds: the operator need not look up the option."""
    rounds = Rounds()
    rounds.states(90)

    assert rounds.measure(space(150)).reason.endswith("enough to open; it opens if that lasts 30 s.")


def test_nothing_watched_is_open() -> None:
    """Nothing can run out, unless the operator holds."""
    assert Rounds().measure().state is State.OPEN
    assert Rounds(override=Override.HOLD).measure().state is State.HOLD
