"""Requests a file's authorization and waits for it: string or set, from any controller.

The scripts compare tokens, so an authorization is used once. A name that another dispatcher waits for is left
in PCAPDJ_AUTH and logged.
"""

import time
from collections.abc import Mapping
from typing import Final

from pcapdj.feed.interrupts import Interrupts
from pcapdj.feed.skips import SkipRequests
from pcapdj.feed.streams import Streams
from pcapdj.runtime.log import EventLog, Reminder
from pcapdj.runtime.safe_text import quoted
from pcapdj.store.job_queue import Answer, JobQueue, QueueEntry
from pcapdj.store.notifier import Notifier

_REANNOUNCE_S: Final = 30.0  # a controller that died between reading NEXT and granting has lost the request
_POLL_S: Final = 0.1  # for controllers that send no message; the original looks as often

events = EventLog("dispatcher")


class Authorization:
    """Gets a dispatcher's authorizations.

    Args:
        queue: has the dispatcher's entry.
        notifier: wakes this dispatcher at once when our controller has authorized a file.
        streams: looked after while nothing is fed.
        interrupts: every wait goes through it.
        skips: an operator's requests to give up a file.
    """

    def __init__(
        self,
        queue: JobQueue,
        notifier: Notifier,
        streams: Streams,
        interrupts: Interrupts,
        skips: SkipRequests,
    ) -> None:
        self._queue = queue
        self._notifier = notifier
        self._streams = streams
        self._interrupts = interrupts
        self._skips = skips
        self._announcement = Reminder(_REANNOUNCE_S)
        self._reminder = Reminder()

    def wait(self, entry: QueueEntry, about: Mapping[str, str | int] | None = None) -> bool:
        """Announce the file and wait until it is authorized; False if Redis does not have the entry any more.

        Args:
            entry: of the file.
            about: what the controller needs of the file, see `JobQueue.announce`.

        Raises:
            CaptureError: the operator skips the file.
            Stopped: a stop signal arrived.
        """
        self._announcement.reset()
        while (is_granted := self.look(entry, time.monotonic(), about)) is None:
            self._interrupts.wait(_POLL_S, self._notifier)
            self._streams.lose_if_broken()
            self._skips.refuse_skipped(entry.token)
        return is_granted

    def look(
        self, entry: QueueEntry, now_s: float, about: Mapping[str, str | int] | None = None
    ) -> bool | None:
        """Consume the file's authorization if it is there; else announce the file, if that is due.

        Returns:
            As `wait`; None if it is not authorized yet.
        """
        self._notifier.clear()
        answer, other_name = self._queue.authorize(entry)
        if answer is not Answer.NOT_YET:
            return answer is Answer.GRANTED
        if self._announcement.is_due(entry.token, now_s):
            self._queue.announce(entry, about)
        if other_name is not None and self._reminder.is_due(other_name, now_s):
            sentence = f"PCAPDJ_AUTH has {quoted(other_name)}; this dispatcher waits for another file."
            events.warning("other_authorization", sentence, name=entry.name)
        return None
