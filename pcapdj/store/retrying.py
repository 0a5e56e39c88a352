"""A connection that repeats each call while Redis is away: no outage makes a role exit, and none is silent.

Only calls that may be repeated go through it: the scripts, and writes of absolute values. (With redis-py's
own retries, switched off in `store.client`, one lost reply loses a name on LPOP and doubles one on RPUSH.)
Heartbeats use a plain `Store`: a late one is worth nothing.
"""

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from pcapdj.runtime.backoff import backoff_s, jittered
from pcapdj.runtime.errors import KeyUnusable, PcapdjError, StoreDenied, StoreFailed, StoreUnavailable
from pcapdj.runtime.log import EventLog, Reminder
from pcapdj.store.client import RETRY_S, Store

if TYPE_CHECKING:
    import redis

_FIRST_S: Final = 0.1
_REFUSED_LIMIT_S: Final = 1.0  # where it refuses: each attempt is in its log, and a person has to act
FAILURE_EVENTS: Final[dict[type[PcapdjError], str]] = {
    StoreUnavailable: "waiting_for_redis",
    StoreDenied: "redis_denied",
    StoreFailed: "redis_refuses",
    KeyUnusable: "key_unusable",
}

T = TypeVar("T")


class Pause(Protocol):
    """How to wait between two calls: `Signals`, or the dispatcher's `Interrupts`."""

    def wait(self, timeout_s: float, /) -> None:
        """Wait for the time, or raise `Stopped`."""


class RetryingStore(Store):
    """A `Store` whose calls return once Redis has answered; `another` returns a plain one.

    Args:
        store: the lane.
        waits: a stop signal ends the wait for Redis.
        log: has why a call waits, once and then once a minute; None: nothing is logged.
        retried: the errors after which a call is repeated. StoreFailed means: until a key of another type is
            removed, or the server is another one.
        limit_s: for how long; then the error is raised.
    """

    def __init__(
        self,
        store: Store,
        waits: Pause,
        log: EventLog | None,
        *,
        retried: tuple[type[PcapdjError], ...] = (StoreUnavailable, StoreDenied, StoreFailed),
        limit_s: float = math.inf,
    ) -> None:
        super().__init__(store.url, store.keys, timeout_s=store.timeout_s, password=store.password)
        self._waits = waits
        self._log = log
        self._retried = retried
        self._limit_s = limit_s
        self._reminder = Reminder()

    def call(self, command: Callable[["redis.Redis"], T]) -> T:
        """Run a command as often as it takes.

        Raises:
            Stopped: a stop signal arrived meanwhile.
            As `Store.call`: errors that are not repeated, or after the limit.
        """
        failures, deadline_s = 0, time.monotonic() + self._limit_s
        while True:
            try:
                answer = super().call(command)
            except self._retried as exc:
                failures += 1
                limit_s = RETRY_S if isinstance(exc, StoreUnavailable) else _REFUSED_LIMIT_S
                pause_s = jittered(backoff_s(failures, first_s=_FIRST_S, limit_s=limit_s))
                if time.monotonic() + pause_s > deadline_s:
                    raise
                self._log_failure(exc)
            else:
                self._log_recovery(failures)
                return answer
            self._waits.wait(pause_s)

    def check_stop(self) -> None:
        """Let a stop signal end what takes many calls.

        Raises:
            Stopped: one has arrived.
        """
        self._waits.wait(0)

    def _log_failure(self, error: PcapdjError) -> None:
        if self._log and self._reminder.is_due(type(error), time.monotonic()):
            self._log.warning(FAILURE_EVENTS[type(error)], f"{error} Waiting for it.")

    def _log_recovery(self, failures: int) -> None:
        if self._log and failures:
            self._reminder.reset()
            self._log.info("redis_back", attempts=failures)
