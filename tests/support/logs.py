"""What roles log that run in the test's own process: a thread writes the lines, so they are waited for."""

import pytest

from pcapdj.runtime.log import flush
from support.waiting import wait_until


def logged(capsys: pytest.CaptureFixture[str], words: str, times: int = 1) -> str:
    """Return what has been logged since the last call, once these words stand there so often."""
    log = ""

    def is_there() -> bool:
        nonlocal log
        flush()
        log += capsys.readouterr().err
        return log.count(words) >= times

    wait_until(is_there, f"{words!r} in the log {times} times")
    return log
