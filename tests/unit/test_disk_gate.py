"""The gate's rules: `pcapdj.disk.gate`."""

from pcapdj.disk.gate import Decision, Gate, Measurement, Override, State
from pcapdj.disk.limits import Thresholds

BAND = Thresholds(suspend=50, minimum=100, resume=150)
WAIT_S = 30.0


def space(free: int | None, path: str = "/out", band: Thresholds = BAND) -> Measurement:
    """Return a reading of a path's free space; None is a failure."""
    failure = "" if free is not None else "is not there"
    return Measurement(label=path, what=f"'{path}'", free=free, band=band, path=path, failure=failure)


class Course:
    """A gate through a course of readings, one a second unless told otherwise."""

    def __init__(self, gate: Gate | None = None, override: Override = Override.AUTO) -> None:
        self.gate = gate or Gate()
        self.override = override
        self.now_s = 1000.0

    def read(self, *readings: Measurement, after_s: float = 1.0) -> Decision:
        """Return the decision after one more round."""
        self.now_s += after_s
        self.gate = self.gate.after(readings, self.now_s, WAIT_S, self.override)
        return self.gate.decision(readings, self.override)

    def states(self, *frees: int | None) -> list[State]:
        """Return the state after each of these amounts."""
        return [self.read(space(free)).state for free in frees]


def test_a_start_without_known_state_opens_from_min_free() -> None:
    """Inside the band nothing speaks against feeding yet."""
    assert Course().states(100) == [State.OPEN]
    assert Course().states(99) == [State.HOLD]
    assert Course().states(49) == [State.SUSPENDED]


def test_each_limit_belongs_to_the_better_side() -> None:
    """Exactly min-free does not hold, exactly suspend-free does not suspend."""
    assert Course().states(100, 99, 50, 49) == [State.OPEN, State.HOLD, State.HOLD, State.SUSPENDED]


def test_a_suspended_file_goes_on_from_min_free() -> None:
    """Between suspend and min it stays suspended; from min-free on it may finish, nothing new begins."""
    assert Course().states(40, 99, 100, 149) == [
        State.SUSPENDED,
        State.SUSPENDED,
        State.HOLD,
        State.HOLD,
    ]


def test_it_opens_only_after_lasting_room() -> None:
    """Resume-free has to last for resume-after; a dip starts the time anew."""
    course = Course()
    course.states(90)

    assert course.read(space(150)).state is State.HOLD
    assert course.read(space(149), after_s=29).state is State.HOLD
    assert course.read(space(150)).state is State.HOLD
    assert course.read(space(150), after_s=29).state is State.HOLD
    assert course.read(space(150)).state is State.OPEN


def test_each_mount_has_a_hysteresis_of_its_own() -> None:
    """A mount inside its band that was never short does not keep another one's recovery from opening."""
    course = Course()

    assert course.read(space(90, "/a"), space(120, "/b")).state is State.HOLD
    course.read(space(500, "/a"), space(120, "/b"))

    assert course.read(space(500, "/a"), space(120, "/b"), after_s=WAIT_S).state is State.OPEN


def test_the_most_closed_mount_decides_and_is_named() -> None:
    """The decision tells the path, what is free, and what is needed."""
    decision = Course().read(space(90, "/a"), space(10, "/b"), space(500, "/c"))

    assert decision.state is State.SUSPENDED
    assert decision.reading
    assert (decision.reading.path, decision.reading.free, decision.needed) == ("/b", 10, 100)
    assert "'/b'" in decision.reason
    assert "10 bytes" in decision.reason
    assert "100 bytes" in decision.reason


def test_an_open_gate_tells_the_tightest_mount() -> None:
    """What will hold first is what people want to see."""
    decision = Course().read(space(5000, "/a"), space(120, "/b"))

    assert decision.reading
    assert (decision.reading.path, decision.needed) == ("/b", 100)


def test_what_cannot_be_measured_counts_as_full() -> None:
    """It suspends where suspension is on, and holds where it is off."""
    without_suspension = Thresholds(suspend=0, minimum=100, resume=150)

    assert Course().read(space(500), space(None, "/b")).state is State.SUSPENDED
    assert Course().read(space(None, band=without_suspension)).state is State.HOLD


def test_a_mount_that_comes_back_is_judged_as_at_a_start() -> None:
    """It was never measured short, so min-free will do, once it has been there for the resume-after time."""
    course = Course()
    course.states(None, 120)

    assert course.read(space(120), after_s=29).state is State.HOLD
    assert course.read(space(120)).state is State.OPEN


def test_a_mount_that_was_short_and_vanished_still_needs_resume_free() -> None:
    """Vanishing is no way around the hysteresis."""
    course = Course()
    course.states(90, None, 120)

    assert course.read(space(120), after_s=WAIT_S).state is State.HOLD


def test_the_operator_opens_whatever_the_numbers_say() -> None:
    """Below every limit, and without anything watched that answers."""
    assert Course(override=Override.OPEN).states(10, None, 99) == [State.OPEN] * 3


def test_an_opening_by_hand_lasts_above_min_free() -> None:
    """Back at auto the gate stays open inside the band, and closes below min-free."""
    course = Course()
    course.states(90)
    course.override = Override.OPEN
    course.states(120)
    course.override = Override.AUTO

    assert course.states(120, 99) == [State.OPEN, State.HOLD]


def test_an_opening_by_hand_forgives_nothing_below_min_free() -> None:
    """Back at auto a full disk closes the gate at once."""
    course = Course(override=Override.OPEN)
    course.states(90)
    course.override = Override.AUTO

    assert course.states(90, 120) == [State.HOLD, State.HOLD]


def test_the_operator_holds_and_the_disk_still_suspends() -> None:
    """A hold by hand does not switch the protection off, and leaves no trace when it ends."""
    course = Course(override=Override.HOLD)
    held = course.states(500, 10, 500)
    course.override = Override.AUTO

    assert held == [State.HOLD, State.SUSPENDED, State.HOLD]
    assert course.read(space(500), after_s=WAIT_S).state is State.OPEN

    course.override = Override.HOLD
    course.states(120)
    course.override = Override.AUTO
    assert course.states(120) == [State.OPEN]


def test_limits_changed_while_it_runs_count_at_once() -> None:
    """A lower min-free does not open a gate that was short; its new resume-free does."""
    course = Course()
    course.states(90)
    lower = Thresholds(suspend=10, minimum=20, resume=30)
    course.read(space(90, band=lower))

    assert course.read(space(90, band=lower), after_s=WAIT_S).state is State.OPEN
    assert course.read(space(90)).state is State.HOLD


def test_suspension_switched_off_lets_the_file_go_on() -> None:
    """A suspended gate whose suspend limit is gone only holds."""
    course = Course()
    course.states(10)

    assert course.read(space(10, band=Thresholds(0, 100, 150))).state is State.HOLD


def test_inodes_are_told_as_inodes() -> None:
    """No one should read a number of inodes as bytes."""
    inodes = Measurement("/out (inodes)", "'/out'", 7, BAND, path="/out", unit="inodes")

    assert "7 inodes free" in Course().read(inodes).reason


def test_a_reason_promises_only_what_can_be() -> None:
    """Limits beyond the whole disk: it says that it waits for ever, and where to change that."""
    small = Measurement("/out", "'/out'", 7, BAND, path="/out", total=150)
    fitting = Measurement("/out", "'/out'", 7, BAND, path="/out", total=151)

    assert Course().read(small).reason == (
        "'/out' has 7 B (7 bytes) free of 150 B (150 bytes) in all; it opens from 150 B (150 bytes): never,"
        " unless the limits are changed."
    )
    assert "never" not in Course().read(fitting).reason


def test_the_reason_tells_how_long_room_has_to_last() -> None:
    """In seconds: the operator need not know the option."""
    course = Course()
    course.states(90)

    assert course.read(space(150)).reason.endswith("enough to open; that has to last for 30 s.")


def test_nothing_watched_is_open() -> None:
    """There is nothing to wait for, unless the operator holds."""
    assert Course().read().state is State.OPEN
    assert Course(override=Override.HOLD).read().state is State.HOLD
