"""Waiting for Redis without leaving: no outage may make a role exit, and none may be silent.

Only calls that may be repeated go through here: the scripts, and writes of absolute values. (With redis-py's
own retries, switched off in `store.client`, one lost reply loses a name on LPOP and doubles one on RPUSH.)
"""

import time
from collections.abc import Callable
from typing import TypeVar

from pcapdj.runtime.backoff import backoff_s, jittered
from pcapdj.runtime.errors import PcapdjError, Stopped, StoreDenied, StoreFailed, StoreUnavailable
from pcapdj.runtime.log import EventLog, Reminder
from pcapdj.runtime.signals import Signals

_FIRST_S = 0.1
_LIMIT_S = 1.0  # work has to go on within 2 s of Redis's recovery
_EVENTS: dict[type[PcapdjError], str] = {
    StoreUnavailable: "waiting_for_redis",
    StoreDenied: "redis_denied",
    StoreFailed: "key_unusable",
}

T = TypeVar("T")


class Patience:
    """Repeats a call until Redis took it; says why it waits, once and then once a minute.

    Args:
        signals: a stop signal ends the wait.
        log: where the waiting is said.
        is_tolerant: wait also until a key that holds something else is removed; else that is the caller's.
    """

    def __init__(self, signals: Signals, log: EventLog, *, is_tolerant: bool = True) -> None:
        self._signals = signals
        self._log = log
        self._awaited = (StoreUnavailable, StoreDenied, *((StoreFailed,) if is_tolerant else ()))
        self._reminder = Reminder()

    def insist(self, call: Callable[[], T]) -> T:
        """Return what the call returns, however long Redis is away.

        Raises:
            Stopped: a stop signal arrived meanwhile.
        """
        failures = 0
        while True:
            try:
                answer = call()
            except self._awaited as exc:
                failures += 1
                self._say(exc)
            else:
                self._recovered(failures)
                return answer
            if self._signals.wait(jittered(backoff_s(failures, first_s=_FIRST_S, limit_s=_LIMIT_S))):
                raise Stopped("A stop signal arrived while waiting for Redis.")

    def _say(self, error: PcapdjError) -> None:
        if self._reminder.is_due(type(error), time.monotonic()):
            self._log.warning(_EVENTS[type(error)], f"{error} Waiting for it.")

    def _recovered(self, failures: int) -> None:
        if failures:
            self._reminder.reset()
            self._log.info("redis_back", attempts=failures)
