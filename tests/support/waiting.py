"""Waiting for conditions; every limit of the tests is scaled by one variable."""

import os
import time
from collections.abc import Callable
from typing import Final

import pytest

FACTOR: Final = float(os.environ.get("PCAPDJ_TEST_TIMEOUT_FACTOR", "1"))
LIMIT_S: Final = 60.0  # how long a test waits for what should come at once; reached only by a hang


def scaled(limit_s: float) -> float:
    """Return a limit in seconds as this machine needs it."""
    return limit_s * FACTOR


def is_met(condition: Callable[[], object], limit_s: float = LIMIT_S) -> bool:
    """Wait for a condition; report whether it came true within the scaled limit."""
    deadline_s = time.monotonic() + scaled(limit_s)
    pause_s = 0.001
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 0.02)
    return True


def wait_until(condition: Callable[[], object], what: str, limit_s: float = LIMIT_S) -> None:
    """Wait for a condition; fail with what was waited for."""
    if not is_met(condition, limit_s):
        pytest.fail(f"waited {scaled(limit_s):g} s for: {what}")
