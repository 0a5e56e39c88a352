"""Whether the controller suspends feeding because a disk is short: then the launcher pauses the analyzer.

A suspended feeder alone does not stop the output. An analyzer still writes about what it has read: Suricata
wrote 74 MB within the second after its last input (312,000 flows of one packet, 24 MB of them), and at the
end of its input it writes all flows that are still open. A paused analyzer (SIGSTOP) writes nothing, wherever
it is, and does not notice the pause.

A thread reads PCAPDJ_SUSPEND, on each message on the lane's channel and once a second. The launcher polls the
descriptor. As long as Redis does not answer, what was read last counts, as it does for the dispatcher.
"""

import os
import select
import threading
import time
from contextlib import suppress
from typing import Final

from pcapdj.runtime.errors import PcapdjError, StoreUnavailable
from pcapdj.runtime.log import EventLog, Reminder
from pcapdj.store.bounded import read_set
from pcapdj.store.client import Store
from pcapdj.store.grants import SUSPENDER
from pcapdj.store.notifier import Notifier

_POLL_S: Final = 1.0  # a message may be lost

_events: Final = EventLog("consumer")


class GateSuspension:
    """The member of PCAPDJ_SUSPEND that is the controller's, as last read.

    Args:
        store: the lane; used by this object's thread alone, and closed by it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._notifier = Notifier(store)
        self._is_active = False
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._closed = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._reminder = Reminder()
        self._thread = threading.Thread(target=self._watch, name="gate-suspension", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """Return the descriptor that is readable after a change, until `is_active` is called."""
        return self._event

    @property
    def is_active(self) -> bool:
        """Whether the controller suspends feeding."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._event)
        return self._is_active

    def close(self) -> None:
        """End the thread; a Redis that hangs is not waited for."""
        self._notifier.close()
        os.eventfd_write(self._closed, 1)

    def _watch(self) -> None:
        poller = select.poll()
        poller.register(self._notifier, select.POLLIN)
        poller.register(self._closed, select.POLLIN)
        while not select.select([self._closed], [], [], 0)[0]:
            self._notifier.clear()
            self._read()
            poller.poll(_POLL_S * 1000)
        self._store.close()

    def _read(self) -> None:
        key, member = self._store.keys.suspend, SUSPENDER.encode()
        try:
            is_active = member in read_set(self._store, key, [member])
        except StoreUnavailable:
            return  # the publisher of the status logs it
        except PcapdjError as exc:
            if self._reminder.is_due(type(exc), time.monotonic()):
                sentence = f"{exc} The analyzer is not paused while a disk is short."
                _events.warning("suspension_unknown", sentence)
            return
        self._reminder.reset()
        if is_active != self._is_active:
            self._is_active = is_active
            os.eventfd_write(self._event, 1)
