"""Waiting for Redis without leaving and without a flood of lines."""

import os
import signal
import threading
from collections.abc import Callable

import pytest

from pcapdj.runtime import log
from pcapdj.runtime.errors import CaptureError, Stopped, StoreDenied, StoreUnavailable
from pcapdj.runtime.log import EventLog
from pcapdj.runtime.signals import handled
from pcapdj.store.retrying import Patience


def failing(times: int, error: Exception) -> Callable[[], str]:
    """Return a call that fails so often."""
    left = [error] * times

    def call() -> str:
        if left:
            raise left.pop()
        return "answer"

    return call


@pytest.mark.parametrize(
    ("error", "event"),
    [(StoreUnavailable("Redis is away."), "waiting_for_redis"), (StoreDenied("A password?"), "redis_denied")],
)
def test_a_call_is_repeated_until_redis_takes_it(
    error: Exception, event: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reason is said once, and its end."""
    with handled() as signals:
        assert Patience(signals, EventLog("it")).insist(failing(3, error)) == "answer"
    log.flush()

    said = capsys.readouterr().err
    assert said.count(event) == 1
    assert said.count("redis_back attempts=3") == 1


def test_a_stop_signal_ends_the_wait() -> None:
    """However long Redis is away."""
    with handled() as signals:
        threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGTERM]).start()

        with pytest.raises(Stopped):
            Patience(signals, EventLog("it")).insist(failing(1000, StoreUnavailable("Redis is away.")))


def test_other_errors_are_not_waited_out() -> None:
    """Waiting would not help."""
    with handled() as signals, pytest.raises(CaptureError):
        Patience(signals, EventLog("it")).insist(failing(1, CaptureError("is empty")))
