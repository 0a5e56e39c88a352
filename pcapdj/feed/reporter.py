"""The one thread of a dispatcher that talks to Redis while a file is fed: statistics out, suspension in.

A slow or absent Redis stalls this thread and nothing else. Suspension is a set of who wants it: `operator`,
`gate`, and `usr1:<id>` for the signal; each removes only its own, and the set outlives every process.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from pcapdj.runtime.errors import PcapdjError
from pcapdj.store.client import Store
from pcapdj.store.job_queue import as_bytes

_LOOK_S: Final = 0.2  # suspension has to be seen within 0.5 s
_REPORT_S: Final = 1.0  # the heartbeat that `status` measures age by
Snapshot = Callable[[], Mapping[str, str | int | float | bytes]]


class Reporter:
    """Publishes a dispatcher's statistics and watches PCAPDJ_SUSPEND.

    Args:
        store: the lane; the reporter opens a client of its own.
        dispatcher_id: whose statistics they are.
        snapshot: the statistics as they are now; called in the reporter's thread.
    """

    def __init__(self, store: Store, dispatcher_id: str, snapshot: Snapshot) -> None:
        self._store = store.another()
        self._snapshot = snapshot
        self._id: Final = dispatcher_id
        self._own: Final = as_bytes(f"usr1:{dispatcher_id}")
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._members: frozenset[bytes] = frozenset()
        self._wish: bool | None = None  # what SIGUSR1 asked for and Redis does not know yet
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="reporter", daemon=True)

    def start(self) -> None:
        """Begin reporting."""
        self._thread.start()

    def stop(self) -> None:
        """Report once more and end; a hung Redis is not waited for."""
        self._stop.set()
        self._thread.join(timeout=0.15)

    def fileno(self) -> int:
        """Return the descriptor that turns readable when the suspension changed."""
        return self._event

    @property
    def suspended_by(self) -> frozenset[bytes]:
        """Who wants the feeding suspended, as known now; empty: nobody."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._event)
        return self._members

    def adopt(self, store: Store) -> None:
        """Start from what the set holds, so that a suspension survives a restart from the first byte on."""
        self._members = suspended_by(store)

    def toggle(self) -> None:
        """Suspend or resume on our own account: SIGUSR1. At once here, as soon as it can be in Redis."""
        with self._lock:
            self._wish = self._own not in self._members
            self._members = self._members | {self._own} if self._wish else self._members - {self._own}

    def _work(self) -> None:
        next_report_s = 0.0
        while not self._stop.is_set():
            with suppress(PcapdjError):  # the role says what is wrong with Redis; here it is only late
                self._look()
                if time.monotonic() >= next_report_s:
                    self.report()
                    next_report_s = time.monotonic() + _REPORT_S
            self._stop.wait(_LOOK_S)
        with suppress(PcapdjError):
            self.report()

    def _look(self) -> None:
        with self._lock:
            wish = self._wish
        if wish is not None:
            self._write_wish(wish)
        members = suspended_by(self._store)
        with self._lock:
            if self._wish is None and members != self._members:
                self._members = members
                os.eventfd_write(self._event, 1)

    def _write_wish(self, wish: bool) -> None:  # noqa: FBT001 - it is the value
        key = self._store.keys.suspend
        self._store.call(lambda client: client.sadd(key, self._own) if wish else client.srem(key, self._own))
        with self._lock:
            if self._wish == wish:
                self._wish = None

    def report(self) -> None:
        """Publish the statistics now.

        Raises:
            As `Store.call`.
        """
        fields = dict[Any, Any]({**self._snapshot(), "heartbeat_s": f"{time.time():.3f}"})
        keys = self._store.keys
        self._store.call(lambda client: client.hset(keys.stats(self._id), mapping=fields))


def suspended_by(store: Store) -> frozenset[bytes]:
    """Return who wants the feeding suspended, from Redis.

    Raises:
        As `Store.call`.
    """
    members = store.call(lambda client: client.smembers(store.keys.suspend))
    return frozenset(as_bytes(member) for member in members)
