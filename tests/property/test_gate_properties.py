"""Properties of the gate for any sequence of free space, limits and time."""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pcapdj.disk.gate import Gate, Measurement, Override, ResourceState, State, next_resource_state
from pcapdj.disk.limits import Thresholds, Watch, parse_limits

TOTAL = 1000


@st.composite
def thresholds_in_order(draw: st.DrawFn) -> Thresholds:
    """Return thresholds in order; suspend may be off."""
    suspend, minimum, resume = sorted(draw(st.sets(st.integers(0, TOTAL), min_size=3, max_size=3)))
    return Thresholds(suspend, minimum, resume)


resource_states = st.one_of(
    st.none(),
    st.builds(
        ResourceState,
        st.sampled_from(State),
        was_short=st.booleans(),
        ready_since_s=st.none() | st.floats(0, 100),
    ),
)
frees = st.integers(0, TOTAL)
times_s = st.floats(100, 200)
waits_s = st.floats(0, 60)


def measured(free: int | None, thresholds: Thresholds, label: str = "/out") -> Measurement:
    """Return a measurement of one resource."""
    return Measurement(label, f"'{label}'", free, thresholds, path=label)


def states_over(thresholds: Thresholds, samples: Sequence[int], resume_after_s: float = 0) -> list[State]:
    """Return the states over these samples, one a second."""
    resource, states = None, []
    for now_s, free in enumerate(samples):
        resource = next_resource_state(resource, measured(free, thresholds), now_s, resume_after_s)
        states.append(resource.state)
    return states


@given(limits=thresholds_in_order(), samples=st.lists(frees, min_size=1, max_size=50), first=frees)
def test_from_min_free_up_to_resume_free_the_state_does_not_change(
    limits: Thresholds, samples: list[int], first: int
) -> None:
    """An open resource stays open and a holding one holds."""
    between = [limits.minimum + free % (limits.resume - limits.minimum) for free in samples]

    before, *after = states_over(limits, [first, *between])

    expected = State.OPEN if before is State.OPEN else State.HOLD
    assert set(after) == {expected}


@given(limits=thresholds_in_order(), samples=st.lists(frees, max_size=50))
def test_each_transition_crosses_its_own_limit(limits: Thresholds, samples: list[int]) -> None:
    """It closes only below min and opens only from resume, so a small change cannot close and open it."""
    states = states_over(limits, samples)

    for (before, after), free in zip(pairwise(states), samples[1:], strict=False):
        if before is State.OPEN and after is not State.OPEN:
            assert free < limits.minimum
        if before is not State.OPEN and after is State.OPEN:
            assert free >= limits.resume
        if before is State.SUSPENDED and after is not State.SUSPENDED:
            assert free >= limits.minimum
        if before is not State.SUSPENDED and after is State.SUSPENDED:
            assert free < limits.suspend


@given(
    before=resource_states,
    limits=thresholds_in_order(),
    one=frees,
    other=frees,
    now_s=times_s,
    wait_s=waits_s,
)
def test_more_free_space_never_closes(
    before: ResourceState | None, limits: Thresholds, one: int, other: int, now_s: float, wait_s: float
) -> None:
    """Of two amounts the larger one leaves the gate at least as open, whatever the state before."""
    less, more = sorted((one, other))

    states = [
        next_resource_state(before, measured(free, limits), now_s, wait_s).state for free in (less, more)
    ]

    assert states[1] <= states[0]


@given(before=resource_states, limits=thresholds_in_order(), free=frees, now_s=times_s, wait_s=waits_s)
def test_a_failure_is_as_closed_as_a_full_disk(
    before: ResourceState | None, limits: Thresholds, free: int, now_s: float, wait_s: float
) -> None:
    """No measured amount leaves the gate more closed than a failed measurement."""
    failed = next_resource_state(before, measured(None, limits), now_s, wait_s)

    assert (
        failed.state >= next_resource_state(before, measured(free, limits), now_s, wait_s).state
        or limits.suspend == 0
    )
    assert failed.state is not State.OPEN


@given(
    rounds=st.lists(st.tuples(thresholds_in_order(), st.none() | frees, waits_s), max_size=50), wait_s=waits_s
)
def test_changing_limits_between_samples_breaks_nothing(
    rounds: list[tuple[Thresholds, int | None, float]], wait_s: float
) -> None:
    """Whatever was in force before, the limits of now hold: closed below them, unchanged between them."""
    resource, now_s = None, 0.0
    for limits, free, passed_s in rounds:
        now_s += passed_s
        before = resource
        resource = next_resource_state(before, measured(free, limits), now_s, wait_s)

        if free is None or free < limits.minimum:
            assert resource.state is not State.OPEN
        elif before is None or before.state is State.OPEN:
            assert resource.state is State.OPEN
        else:
            assert resource.state is not State.SUSPENDED
        if free is not None and free < limits.suspend:
            assert resource.state is State.SUSPENDED


@given(limits=thresholds_in_order(), dips=st.lists(st.integers(1, 40), max_size=10))
def test_it_opens_only_after_resume_after_without_a_dip(limits: Thresholds, dips: list[int]) -> None:
    """Free space that does not last for the time does not open it, however often it is there."""
    resource, now_s = ResourceState(State.HOLD, was_short=True), 0.0
    for seconds in dips:
        since_s = now_s
        for _ in range(seconds):
            resource = next_resource_state(resource, measured(limits.resume, limits), now_s, 30.0)
            assert (resource.state is State.OPEN) == (now_s - since_s >= 30)
            now_s += 1
        resource = ResourceState(State.HOLD, was_short=True)
        resource = next_resource_state(resource, measured(limits.resume - 1, limits), now_s, 30.0)
        now_s += 1


@given(
    rounds=st.lists(st.tuples(frees, frees, st.sampled_from(Override)), min_size=1, max_size=30),
    limits=thresholds_in_order(),
)
def test_the_gate_has_the_most_closed_state_or_the_operators_override(
    rounds: list[tuple[int, int, Override]], limits: Thresholds
) -> None:
    """`open` is open; otherwise the most closed mount decides, and `hold` is at least hold."""
    gate = Gate()
    for now_s, (one, other, override) in enumerate(rounds):
        found = [measured(one, limits, "/a"), measured(other, limits, "/b")]
        gate = gate.after(found, now_s, 3, override)
        worst = max(each.state for each in gate.resources.values())

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
        limits = parse_limits({"min-free": text}).space_thresholds(Watch("/out"), total)

        assert 0 <= limits.suspend <= limits.minimum <= limits.resume
        assert limits.resume <= max(total, limits.minimum)
