"""What holds of the gate on any course of free space, limits and time."""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pcapdj.disk.gate import Gate, Measurement, Override, ResourceState, State, next_resource_state
from pcapdj.disk.limits import Thresholds, Watch, parse_limits

TOTAL = 1000


@st.composite
def bands(draw: st.DrawFn) -> Thresholds:
    """Return limits in order; suspend may be off."""
    suspend, minimum, resume = sorted(draw(st.sets(st.integers(0, TOTAL), min_size=3, max_size=3)))
    return Thresholds(suspend, minimum, resume)


marks = st.one_of(
    st.none(),
    st.builds(
        ResourceState,
        st.sampled_from(State),
        was_short=st.booleans(),
        ready_since_s=st.none() | st.floats(0, 100),
    ),
)
frees = st.integers(0, TOTAL)


def reading(free: int | None, band: Thresholds, label: str = "/out") -> Measurement:
    """Return a reading of one thing."""
    return Measurement(label, f"'{label}'", free, band, path=label)


def course(band: Thresholds, samples: Sequence[int], resume_after_s: float = 0) -> list[State]:
    """Return the states over these samples, one a second."""
    mark, states = None, []
    for now_s, free in enumerate(samples):
        mark = next_resource_state(mark, reading(free, band), now_s, resume_after_s)
        states.append(mark.state)
    return states


@given(band=bands(), samples=st.lists(frees, min_size=1, max_size=50), first=frees)
def test_inside_the_band_the_state_never_changes(band: Thresholds, samples: list[int], first: int) -> None:
    """From min up to resume an open gate stays open and a holding one holds."""
    inside = [band.minimum + free % (band.resume - band.minimum) for free in samples]

    before, *after = course(band, [first, *inside])

    settled = State.OPEN if before is State.OPEN else State.HOLD
    assert set(after) == {settled}


@given(band=bands(), samples=st.lists(frees, max_size=50))
def test_between_two_transitions_the_whole_band_was_crossed(band: Thresholds, samples: list[int]) -> None:
    """It closes only below min and opens only from resume, so it cannot flap on less than the band."""
    states = course(band, samples)

    for (before, after), free in zip(pairwise(states), samples[1:], strict=False):
        if before is State.OPEN and after is not State.OPEN:
            assert free < band.minimum
        if before is not State.OPEN and after is State.OPEN:
            assert free >= band.resume
        if before is State.SUSPENDED and after is not State.SUSPENDED:
            assert free >= band.minimum
        if before is not State.SUSPENDED and after is State.SUSPENDED:
            assert free < band.suspend


@given(mark=marks, band=bands(), one=frees, other=frees, now_s=st.floats(100, 200), wait_s=st.floats(0, 60))
def test_more_free_space_never_closes(
    mark: ResourceState | None, band: Thresholds, one: int, other: int, now_s: float, wait_s: float
) -> None:
    """Of two amounts the larger one leaves the gate at least as open, whatever came before."""
    less, more = sorted((one, other))

    states = [next_resource_state(mark, reading(free, band), now_s, wait_s).state for free in (less, more)]

    assert states[1] <= states[0]


@given(mark=marks, band=bands(), free=frees, now_s=st.floats(100, 200), wait_s=st.floats(0, 60))
def test_a_failure_is_as_closed_as_a_full_disk(
    mark: ResourceState | None, band: Thresholds, free: int, now_s: float, wait_s: float
) -> None:
    """No amount measured leaves the gate more closed than none at all."""
    failed = next_resource_state(mark, reading(None, band), now_s, wait_s)

    assert (
        failed.state >= next_resource_state(mark, reading(free, band), now_s, wait_s).state
        or band.suspend == 0
    )
    assert failed.state is not State.OPEN


@given(
    rounds=st.lists(st.tuples(bands(), st.none() | frees, st.floats(0, 60)), max_size=50),
    wait_s=st.floats(0, 60),
)
def test_changing_limits_between_samples_breaks_nothing(
    rounds: list[tuple[Thresholds, int | None, float]], wait_s: float
) -> None:
    """Whatever was in force before, the limits of now hold: safe below them, steady within them."""
    mark, now_s = None, 0.0
    for band, free, passed_s in rounds:
        now_s += passed_s
        before, mark = mark, next_resource_state(mark, reading(free, band), now_s, wait_s)

        if free is None or free < band.minimum:
            assert mark.state is not State.OPEN
        elif before is None or before.state is State.OPEN:
            assert mark.state is State.OPEN
        else:
            assert mark.state is not State.SUSPENDED
        if free is not None and free < band.suspend:
            assert mark.state is State.SUSPENDED


@given(band=bands(), dips=st.lists(st.integers(1, 40), max_size=10))
def test_it_opens_only_after_resume_after_without_a_dip(band: Thresholds, dips: list[int]) -> None:
    """Room that does not last for the time does not open it, however often it comes."""
    mark, now_s = ResourceState(State.HOLD, was_short=True), 0.0
    for seconds in dips:
        since_s = now_s
        for _ in range(seconds):
            mark = next_resource_state(mark, reading(band.resume, band), now_s, 30.0)
            assert (mark.state is State.OPEN) == (now_s - since_s >= 30)
            now_s += 1
        mark = ResourceState(State.HOLD, was_short=True)
        mark = next_resource_state(mark, reading(band.resume - 1, band), now_s, 30.0)
        now_s += 1


@given(
    rounds=st.lists(st.tuples(frees, frees, st.sampled_from(Override)), min_size=1, max_size=30), band=bands()
)
def test_the_gate_is_its_most_closed_mark_or_the_operators_word(
    rounds: list[tuple[int, int, Override]], band: Thresholds
) -> None:
    """`open` is open; otherwise the worst mount decides, and `hold` is at least hold."""
    gate = Gate()
    for now_s, (one, other, override) in enumerate(rounds):
        found = [reading(one, band, "/a"), reading(other, band, "/b")]
        gate = gate.after(found, now_s, 3, override)
        worst = max(mark.state for mark in gate.marks.values())

        expected = {
            Override.OPEN: State.OPEN,
            Override.HOLD: max(worst, State.HOLD),
            Override.AUTO: worst,
        }
        assert gate.decision(found, override).state is expected[override]


@given(total=st.integers(0, 1 << 60), percent=st.floats(0, 49.9), size=st.integers(0, 1 << 60))
def test_derived_limits_are_in_order_on_every_mount(total: int, percent: float, size: int) -> None:
    """A default never makes an error by itself, whatever min-free and the disk are."""
    for text in (f"{percent:.3f}%", str(size)):
        band = parse_limits({"min-free": text}).space_band(Watch("/out"), total)

        assert 0 <= band.suspend <= band.minimum <= band.resume
        assert band.resume <= max(total, band.minimum)
