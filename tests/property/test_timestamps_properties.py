"""Steps between files, of any times and limits."""

from hypothesis import given
from hypothesis import strategies as st

from pcapdj.capture.timestamps import jump_of, step_ns

TIMES = st.integers(0, 1 << 63)
LIMITS = st.integers(0, 1 << 63)


@given(TIMES, st.lists(st.integers(0, 1 << 40), min_size=1), st.integers(1, 1 << 40))
def test_times_in_order_make_no_jump_back(start: int, pauses: list[int], limit: int) -> None:
    """And a gap exactly where the pause is longer than the limit."""
    jumps = [jump_of(step_ns(start, start + pause), limit) for pause in pauses]

    assert [jump is not None for jump in jumps] == [pause > limit for pause in pauses]
    assert all(jump is None or jump.step_ns > limit for jump in jumps)


@given(TIMES, TIMES, LIMITS)
def test_one_of_two_files_that_change_places_jumps_back(one: int, other: int, limit: int) -> None:
    """Unless they touch: then neither does, in whichever order."""
    jumps = [jump_of(step_ns(*pair), limit) for pair in ((one, other), (other, one))]

    assert sum(jump is not None and jump.step_ns < 0 for jump in jumps) == (one != other)


@given(TIMES, TIMES, LIMITS, LIMITS)
def test_a_larger_limit_reports_no_more(last: int, first: int, limit: int, more: int) -> None:
    """But for 0, which is no limit at all."""
    step = step_ns(last, first)

    assert jump_of(step, limit + more) is None or jump_of(step, limit) is not None or limit == 0
