"""Reads who suspends feeding: the set PCAPDJ_SUSPEND, and SIGUSR1 before Redis has it.

The set has `operator`, `gate`, and `usr1:<id>` for the signal; each of them removes only its own member, and
the set outlives every process. The reporter's thread reads it (`sync`); the main thread toggles its own
member and asks whether to stop feeding. A change is counted and logged once.
"""

import os
import threading
from contextlib import suppress

from pcapdj.feed.statistics import Statistics
from pcapdj.runtime.log import EventLog
from pcapdj.store.bounded import read_set
from pcapdj.store.client import Store
from pcapdj.store.keys import SIGUSR1_MEMBER

events = EventLog("dispatcher")
_SHOWN_CHARS = 4200  # one id is a path; a flood of members is cut


class Suspension:
    """The members of PCAPDJ_SUSPEND as this dispatcher has last seen them.

    Args:
        dispatcher_id: names the member of its SIGUSR1.
        statistics: show who suspends, and count how often it began.
    """

    def __init__(self, dispatcher_id: str, statistics: Statistics) -> None:
        self._own = f"{SIGUSR1_MEMBER}{dispatcher_id}".encode("utf-8", "surrogateescape")
        self._statistics = statistics
        self.members: frozenset[bytes] = frozenset()
        # after SIGUSR1, until Redis has it: whether our member is in the set
        self._unwritten: bool | None = None
        self._lock = threading.Lock()
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        """Return the descriptor that is readable after a change in Redis, until `is_active` is called."""
        return self._event

    @property
    def is_active(self) -> bool:
        """Report whether feeding is suspended."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._event)
        return bool(self.members)

    def adopt(self, store: Store) -> None:
        """Start from what the set has, so that a suspension survives a restart from the first byte on."""
        members = self._read(store)
        with self._lock:
            self._change(members)

    def toggle(self) -> None:
        """Suspend or resume for SIGUSR1: here at once, in Redis with the next `sync`."""
        with self._lock:
            self._unwritten = self._own not in self.members
            self._change(self.members | {self._own} if self._unwritten else self.members - {self._own})

    def sync(self, store: Store) -> None:
        """Write what SIGUSR1 changed, and read the set.

        Raises:
            As `Store.call`.
        """
        unwritten = self._unwritten
        if unwritten is not None:
            self._write(store, is_member=unwritten)
        members = self._read(store)
        with self._lock:
            if self._unwritten is None and members != self.members:  # no signal arrived meanwhile
                self._change(members)
                os.eventfd_write(self._event, 1)

    def _write(self, store: Store, *, is_member: bool) -> None:
        key = store.keys.suspend
        store.call(lambda client: client.sadd(key, self._own) if is_member else client.srem(key, self._own))
        with self._lock:
            if self._unwritten == is_member:
                self._unwritten = None

    def _change(self, members: frozenset[bytes]) -> None:
        self.members = members
        shown = ",".join(sorted(member.decode(errors="replace") for member in members))[:_SHOWN_CHARS]
        before = self._statistics.suspended_by
        self._statistics.suspend(shown)
        if shown and shown != before:
            events.info("suspended", "Nothing is fed until all of them have resumed.", by=shown)
        if before and not shown:
            events.info("resumed")

    def _read(self, store: Store) -> frozenset[bytes]:
        return frozenset(read_set(store, store.keys.suspend, [self._own]))
