"""Gaps between files, for any timestamps and limits."""

from hypothesis import given
from hypothesis import strategies as st

from pcapdj.capture.timestamps import find_jump, gap_ns

TIMES = st.integers(0, 1 << 63)
LIMITS = st.integers(0, 1 << 63)


@given(TIMES, st.lists(st.integers(0, 1 << 40), min_size=1), st.integers(1, 1 << 40))
def test_files_in_order_jump_only_where_a_gap_exceeds_the_limit(
    start: int, gaps: list[int], limit: int
) -> None:
    """There is no jump back, and a jump forward exactly where the gap is longer than the limit."""
    jumps = [find_jump(gap_ns(start, start + gap), limit) for gap in gaps]

    assert [jump is not None for jump in jumps] == [gap > limit for gap in gaps]
    assert all(jump is None or jump.gap_ns > limit for jump in jumps)


@given(TIMES, TIMES, LIMITS)
def test_of_two_files_in_both_orders_one_order_jumps_back(one: int, other: int, limit: int) -> None:
    """Unless the gap is 0: then neither does."""
    jumps = [find_jump(gap_ns(*pair), limit) for pair in ((one, other), (other, one))]

    assert sum(jump is not None and jump.gap_ns < 0 for jump in jumps) == (one != other)


@given(TIMES, TIMES, LIMITS, LIMITS)
def test_a_larger_limit_reports_no_more(last: int, first: int, limit: int, more: int) -> None:
    """Except for 0, which means no limit."""
    gap = gap_ns(last, first)

    assert find_jump(gap, limit + more) is None or find_jump(gap, limit) is not None or limit == 0
