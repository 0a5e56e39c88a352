"""Reads for the launcher whether the controller suspends feeding, and which disks were full.

While it suspends feeding because a disk is short, the launcher pauses the analyzer.

It is not enough to suspend feeding. An analyzer still writes about packets that it has read: Suricata wrote
74 MB in the second after its last input (312,000 flows of one packet, 24 MB of them), and at the end of its
input it writes all open flows. A paused analyzer (SIGSTOP) writes nothing, and does not notice the pause.

A paused process cannot handle a signal, but it may need one to make room: after logrotate has moved a log
away, its blocks are free once the analyzer has opened a new log (SIGHUP). So a pending signal resumes the
analyzer for a tenth of a second.

A thread reads PCAPDJ_SUSPEND and the field `full` of PCAPDJ_GATE, on each message on the lane's channel and
once a second. The launcher polls the descriptor. While Redis does not answer, the last values count, as for
the dispatcher.
"""

import os
import select
import threading
import time
from contextlib import suppress
from typing import Final

from pcapdj.analyzer.session import AnalyzerSession
from pcapdj.runtime.errors import PcapdjError, StoreUnavailable
from pcapdj.runtime.full_disks import DiskAtEnd, decode_disks_at_end
from pcapdj.runtime.log import EventLog, Reminder
from pcapdj.runtime.safe_text import to_text
from pcapdj.store.bounded import read_hash, read_set
from pcapdj.store.client import Store
from pcapdj.store.grants import SUSPENDER
from pcapdj.store.notifier import Notifier

_POLL_S: Final = 1.0  # a message may be lost
_AWAKE_S: Final = 0.1  # Suricata looks for its signals every 10 ms
_SIGNAL_PAUSE_S: Final = 1.0  # between two signals that act: a flood of them is no way around the pause

_events: Final = EventLog("consumer")


class GateWatch:
    """The member `gate` of PCAPDJ_SUSPEND, and the full disks of PCAPDJ_GATE, as last read.

    Args:
        store: the lane; used by this object's thread alone, and closed by it.

    Attributes:
        full_disks: when each watched disk was last at its end.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._notifier = Notifier(store)
        self._is_suspended = False
        self._awake_until_s = 0.0  # a signal acts; 0: none has come since the pause began
        self.full_disks: tuple[DiskAtEnd, ...] = ()
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._closed = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._reminder, self._unpaused = Reminder(), Reminder()
        self._thread = threading.Thread(target=self._watch, name="gate-watch", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """Return the descriptor that is readable after a change, until `is_suspended` is called."""
        return self._event

    @property
    def is_suspended(self) -> bool:
        """Whether the controller suspends feeding."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._event)
        return self._is_suspended

    def apply(self, session: AnalyzerSession | None, now_s: float, *, is_stopping: bool) -> None:
        """Pause the analyzer while the controller suspends feeding; a stop does not wait for the disk."""
        is_suspended = self.is_suspended  # also without a session: what is polled is cleared
        if session is None:
            self._awake_until_s = 0.0
            return
        is_awake = is_stopping or now_s < self._awake_until_s
        if is_suspended and not is_awake:
            if session.pause(now_s) and not self._awake_until_s:
                sentence = "The gate suspends feeding: the analyzer is paused until there is room."
                _events.info("analyzer_paused", sentence, stream=session.stream, pid=session.analyzer.pid)
            if session.can_be_paused and self._unpaused.is_due(session.stream, now_s):
                sentence = "This user may not signal the analyzer: it keeps writing while the disk is short."
                _events.warning("analyzer_not_paused", sentence, stream=session.stream)
            if now_s >= self._awake_until_s + _SIGNAL_PAUSE_S and session.analyzer.has_pending_signal():
                self._awake_until_s = now_s + _AWAKE_S
                session.resume(now_s)
        elif session.resume(now_s) or (self._awake_until_s and not is_awake):
            self._awake_until_s = 0.0
            _events.info("analyzer_resumed", stream=session.stream, pid=session.analyzer.pid)
            if is_stopping and self._is_suspended:
                sentence = (
                    "A stop does not wait for the disk: the analyzer writes the rest of its output into the"
                    " room that is left. If that is too little, its stream is suspect: make room first."
                )
                _events.warning("stopped_without_room", sentence, stream=session.stream)

    def timeout_s(self, now_s: float) -> float:
        """Return in how many seconds to call `apply`, if nothing comes before."""
        return self._awake_until_s - now_s if now_s < self._awake_until_s else _POLL_S

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
        keys, member = self._store.keys, SUSPENDER.encode()
        try:
            is_suspended = member in read_set(self._store, keys.suspend, [member])
            full = read_hash(self._store, keys.gate, ["full"]).get(b"full", b"")
        except StoreUnavailable:
            return  # the publisher of the status logs it
        except PcapdjError as exc:
            if self._reminder.is_due(type(exc), time.monotonic()):
                sentence = f"{exc} The analyzer is not paused while a disk is short."
                _events.warning("suspension_unknown", sentence)
            return
        self._reminder.reset()
        full_disks = decode_disks_at_end(to_text(full))
        if (is_suspended, full_disks) != (self._is_suspended, self.full_disks):
            self._is_suspended, self.full_disks = is_suspended, full_disks
            os.eventfd_write(self._event, 1)
