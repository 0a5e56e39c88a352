"""How long to wait before the next attempt."""

from hypothesis import given
from hypothesis import strategies as st

from pcapdj.runtime.backoff import backoff_s, jittered


def test_waits_double_up_to_the_limit() -> None:
    """1, 2, 4 .. 60 s, as between the launcher's restarts."""
    assert [backoff_s(n, first_s=1, limit_s=60) for n in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]


@given(st.integers(0, 10**9), st.floats(0.01, 10), st.floats(10, 1000))
def test_a_wait_never_gets_shorter_and_stays_within_its_limits(
    failures: int, first_s: float, limit_s: float
) -> None:
    """For any count: no overflow, no wait below the first one."""
    wait_s = backoff_s(failures, first_s=first_s, limit_s=limit_s)

    assert first_s <= wait_s <= limit_s
    assert wait_s <= backoff_s(failures + 1, first_s=first_s, limit_s=limit_s)


@given(st.floats(0, 1000))
def test_jitter_shortens_a_wait_by_at_most_half(wait_s: float) -> None:
    """Several processes do not retry together, and no limit is exceeded."""
    assert wait_s / 2 <= jittered(wait_s) <= wait_s
