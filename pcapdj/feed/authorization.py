"""Asking for an authorization and waiting for it: string or set, our controller's or anybody's."""

import time
from collections.abc import Callable
from typing import Final

from pcapdj.runtime.log import EventLog, Reminder
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.signals import Waits
from pcapdj.store.job_queue import Answer, JobQueue, QueueEntry
from pcapdj.store.notifier import Notifier

REANNOUNCE_S: Final = 30.0  # a controller that died between reading NEXT and granting has eaten the request
_LOOK_S: Final = 0.1  # for controllers that do not ring the bell; the original looks as often


class Authorization:
    """How a dispatcher gets its authorizations.

    Args:
        transfer: the dispatcher's files.
        bell: rung by our controller, so that a grant is seen at once.
        waits: a stop signal ends the wait.
        events: where a wrong authorization is said.
        meanwhile: called ten times a second.
    """

    def __init__(
        self,
        transfer: JobQueue,
        notifier: Notifier,
        waits: Waits,
        events: EventLog,
        meanwhile: Callable[[], None],
    ) -> None:
        self._transfer = transfer
        self._notifier = notifier
        self._waits = waits
        self._events = events
        self._meanwhile = meanwhile
        self._reminder = Reminder()

    def ask(self, taken: QueueEntry) -> bool:
        """Announce the file and wait until it is authorized; False if it is not ours (any more).

        Raises:
            Stopped: a stop signal arrived.
        """
        announce_at_s = 0.0
        while True:
            self._notifier.clear()
            answer, held = self._transfer.authorize(taken)
            if answer is not Answer.NOT_YET:
                return answer is Answer.GRANTED
            if time.monotonic() >= announce_at_s:
                self._transfer.announce(taken)
                announce_at_s = time.monotonic() + REANNOUNCE_S
            self._say_wrong(taken, held)
            self._waits.wait(_LOOK_S, self._notifier)
            self._meanwhile()

    def _say_wrong(self, taken: QueueEntry, held: bytes | None) -> None:
        if held is not None and self._reminder.is_due(held, time.monotonic()):
            self._events.warning(
                "other_authorization",
                f"PCAPDJ_AUTH holds {quoted(held)}; this dispatcher waits for another file.",
                name=taken.name,
            )
