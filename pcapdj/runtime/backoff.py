"""How long to wait before the next attempt. Rules only: no clock, no sleep."""

import random


def backoff_s(failures: int, *, first_s: float, limit_s: float) -> float:
    """Return the wait after this many failures in a row: `first_s`, doubled each time, up to the limit."""
    return min(limit_s, first_s * 2.0 ** min(max(failures, 1) - 1, 32))


def jittered(wait_s: float) -> float:
    """Return a random wait from half of it to all of it, so that several processes do not retry together."""
    return wait_s * (0.5 + random.random() / 2)  # noqa: S311 - spreading load, not keeping secrets
