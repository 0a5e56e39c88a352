"""Asking for an authorization and waiting for it: string or set, our controller's or anybody's."""

import time
from collections.abc import Callable
from typing import Final

from pcapdj.runtime.errors import Stopped
from pcapdj.runtime.log import EventLog, Reminder
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.signals import Signals
from pcapdj.store.job_queue import Answer, JobQueue, QueueEntry
from pcapdj.store.notifier import Notifier
from pcapdj.store.retrying import Patience

REANNOUNCE_S: Final = 30.0  # a controller that died between reading NEXT and granting has eaten the request
_LOOK_S: Final = 0.1  # for controllers that do not ring the bell; the original looks as often


class Authorization:
    """How a dispatcher gets its authorizations.

    Args:
        transfer: the dispatcher's files.
        patience: repeats the scripts while Redis is away.
        bell: rung by our controller, so that a grant is seen at once.
        signals: end the wait.
        events: where a wrong authorization is said.
        meanwhile: called ten times a second.
    """

    def __init__(  # noqa: PLR0913 - everything that a wait has to do with
        self,
        transfer: JobQueue,
        patience: Patience,
        notifier: Notifier,
        signals: Signals,
        events: EventLog,
        meanwhile: Callable[[], None],
    ) -> None:
        self._transfer = transfer
        self._patience = patience
        self._notifier = notifier
        self._signals = signals
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
            answer, held = self._patience.insist(lambda: self._transfer.authorize(taken))
            if answer is not Answer.NOT_YET:
                return answer is Answer.GRANTED
            if time.monotonic() >= announce_at_s:
                self._patience.insist(lambda: self._transfer.announce(taken))
                announce_at_s = time.monotonic() + REANNOUNCE_S
            self._say_wrong(taken, held)
            if self._signals.wait(_LOOK_S, self._notifier):
                raise Stopped("A stop signal arrived while waiting for an authorization.")
            self._meanwhile()

    def _say_wrong(self, taken: QueueEntry, held: bytes | None) -> None:
        if held is not None and self._reminder.is_due(held, time.monotonic()):
            self._events.warning(
                "other_authorization",
                f"PCAPDJ_AUTH holds {quoted(held)}; this dispatcher waits for another file.",
                name=taken.name,
            )
