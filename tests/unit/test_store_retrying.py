"""A connection that waits for Redis: without leaving, without a flood of lines."""

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pcapdj.runtime import log
from pcapdj.runtime.errors import (
    CaptureError,
    KeyUnusable,
    Stopped,
    StoreDenied,
    StoreFailed,
    StoreUnavailable,
)
from pcapdj.runtime.log import EventLog
from pcapdj.runtime.signals import Signals
from pcapdj.store.client import Store
from pcapdj.store.keys import Keys
from pcapdj.store.retrying import RetryingStore


def retrying(signals: Signals, **options: Any) -> RetryingStore:
    """Return a connection to a Redis that is not there; the calls of these tests do not ask it."""
    return RetryingStore(Store("unix:///nowhere", Keys("a")), signals, EventLog("it"), **options)


def failing(times: int, error: Exception) -> Callable[[object], str]:
    """Return a command that fails so often."""
    left = [error] * times

    def command(_: object) -> str:
        if left:
            raise left.pop()
        return "answer"

    return command


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (StoreUnavailable("Redis is away."), "waiting_for_redis"),
        (StoreDenied("A password?"), "redis_denied"),
        (KeyUnusable("A key of another type."), "key_unusable"),
        (StoreFailed("Redis is part of a Redis Cluster."), "redis_refuses"),
    ],
)
def test_a_call_is_repeated_until_redis_answers(
    signals: Signals, error: Exception, event: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reason is logged once, and its end."""
    assert retrying(signals).call(failing(3, error)) == "answer"
    log.flush()

    logged = capsys.readouterr().err
    assert logged.count(event) == 1
    assert logged.count("redis_back attempts=3") == 1


def test_a_stop_signal_ends_the_wait_for_redis(signals: Signals) -> None:
    """However long Redis is away; without it the call would go on for ever."""
    threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGTERM]).start()

    with pytest.raises(Stopped):
        retrying(signals).call(failing(1000, StoreUnavailable("Redis is away.")))


@pytest.mark.parametrize("error", [CaptureError("is empty"), KeyUnusable("A key of another type.")])
def test_other_errors_are_raised_at_once(signals: Signals, error: Exception) -> None:
    """Also those of Redis that the role does not want to wait for."""
    store = retrying(signals, retried=(StoreUnavailable, StoreDenied))

    with pytest.raises(type(error)):
        store.call(failing(1, error))


def test_a_limit_ends_the_wait_with_the_error(signals: Signals) -> None:
    """A command of a person does not wait for ever."""
    with pytest.raises(StoreUnavailable):
        retrying(signals, limit_s=0.5).call(failing(1000, StoreUnavailable("Redis is away.")))


def test_another_connection_of_the_same_lane_repeats_nothing(signals: Signals) -> None:
    """What a thread reports once a second is better late than queued; password and names are the same."""
    store = Store("unix:///nowhere", Keys("a"), password="secret")  # noqa: S106 - a test's

    first = RetryingStore(store, signals, EventLog("it"))
    second = first.another()

    assert type(second) is Store
    assert (first.password, second.password, second.keys) == ("secret", "secret", store.keys)
    with pytest.raises(StoreUnavailable):
        second.ping()
