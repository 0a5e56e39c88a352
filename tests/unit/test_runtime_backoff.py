"""How long to wait before the next try."""

from hypothesis import given
from hypothesis import strategies as st

from pcapdj.runtime.backoff import backoff_s, jittered


def test_waits_double_up_to_the_limit() -> None:
    """1, 2, 4 .. 60 s, as the launcher's restarts."""
    assert [backoff_s(n, first_s=1, limit_s=60) for n in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]


@given(st.integers(0, 10**9), st.floats(0.01, 10), st.floats(10, 1000))
def test_a_wait_never_shrinks_and_stays_in_its_bounds(failures: int, first_s: float, limit_s: float) -> None:
    """Whatever the count: no overflow, no wait below the first."""
    wait_s = backoff_s(failures, first_s=first_s, limit_s=limit_s)

    assert first_s <= wait_s <= limit_s
    assert wait_s <= backoff_s(failures + 1, first_s=first_s, limit_s=limit_s)


@given(st.floats(0, 1000))
def test_jitter_only_shortens_and_at_most_by_half(wait_s: float) -> None:
    """Processes spread, and no limit is exceeded."""
    assert wait_s / 2 <= jittered(wait_s) <= wait_s
