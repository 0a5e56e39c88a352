"""Waiting for conditions; every limit of the tests is scaled by one variable."""

import os
import time
from collections.abc import Callable
from typing import Final

import pytest

FACTOR: Final = float(os.environ.get("PCAPDJ_TEST_TIMEOUT_FACTOR", "1"))
LIMIT_S: Final = 60.0  # how long a test waits for what should come at once; reached only by a hang
PAUSE_S: Final = 0.005
LONGEST_PAUSE_S: Final = 0.2
PAUSES_PER_COST: Final = 20
WAITED_PER_PAUSE: Final = 20


def scaled(limit_s: float) -> float:
    """Return a limit in seconds as this machine needs it."""
    return limit_s * FACTOR


def is_met(condition: Callable[[], object], limit_s: float = LIMIT_S) -> bool:
    """Wait for a condition; report whether it came true within the scaled limit.

    It is looked at every 5 ms, and less often the more CPU a look costs and the longer it has waited: the CPU
    is for what is waited for.
    """
    started_s = time.monotonic()
    deadline_s = started_s + scaled(limit_s)
    while True:
        begun_s = time.thread_time()
        if condition():
            return True
        now_s = time.monotonic()
        if now_s > deadline_s:
            return False
        cost_s, waited_s = time.thread_time() - begun_s, now_s - started_s
        pause_s = max(PAUSE_S, PAUSES_PER_COST * cost_s, waited_s / WAITED_PER_PAUSE)
        time.sleep(min(pause_s, LONGEST_PAUSE_S))


def wait_until(condition: Callable[[], object], what: str, limit_s: float = LIMIT_S) -> None:
    """Wait for a condition; fail with what was waited for."""
    if not is_met(condition, limit_s):
        pytest.fail(f"waited {scaled(limit_s):g} s for: {what}")
