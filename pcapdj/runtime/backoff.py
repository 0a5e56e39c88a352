"""How long to wait before the next try. A rule only: no clock, no sleep."""

import random


def backoff_s(failures: int, *, first_s: float, limit_s: float) -> float:
    """Return the wait after so many failures in a row: `first_s`, doubled each time, up to the limit."""
    return min(limit_s, first_s * 2.0 ** min(max(failures, 1) - 1, 32))


def jittered(wait_s: float) -> float:
    """Return a wait between half of it and all of it, so that several processes do not try in step."""
    return wait_s * (0.5 + random.random() / 2)  # noqa: S311 - spreading load, not keeping secrets
