"""Logs what an operator has to know about an inbox: why arrivals may be missed, and what is skipped."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from pcapdj.inbox.skipped import Refusal, refusal_sentences
from pcapdj.inbox.watcher import Inbox
from pcapdj.runtime.log import EventLog, Reminder
from pcapdj.runtime.safe_text import quoted

SLOW_LOOK_S: Final = 10.0  # work on an inbox that lasts longer is logged

events = EventLog("importer")


class ProblemLog:
    """Logs a folder's problem, at once and then once a minute, and that the folder is watched again.

    All times are monotonic, in seconds.
    """

    def __init__(self, inbox: Inbox) -> None:
        self.folder: Final = inbox.folder
        self._inbox = inbox
        self._reminder = Reminder()
        self._logged: str | None = None
        self._look_began_s: float | None = None
        self._cause, self._slow_look = "", ""

    @contextmanager
    def look(self, cause: str = "its file system is slow, or does not answer") -> Iterator[None]:
        """Note when the calls in the block, which may not return, began.

        Args:
            cause: why they may last.
        """
        self._cause, self._look_began_s = cause, time.monotonic()
        try:
            yield
        finally:
            self._look_began_s, self._slow_look = None, ""

    @property
    def problem(self) -> str:
        """Why arrivals may be missed now, as a sentence; empty: they are not."""
        problem = self._inbox.problem
        return self._slow_look or (problem and f"The inbox {quoted(self._inbox.folder)} {problem}.")

    def log_slow_look(self, now_s: float) -> None:
        """Log a look that lasts; from another thread than all else."""
        began_s = self._look_began_s
        if began_s is None or now_s - began_s < SLOW_LOOK_S:
            return
        self._slow_look = (
            f"A look into the inbox {quoted(self._inbox.folder)} has lasted {now_s - began_s:.0f} s:"
            f" {self._cause}. What arrives there is queued afterwards."
        )
        if self._reminder.is_due(began_s, now_s):
            self._logged = "is slow"
            events.warning("inbox_problem", self._slow_look)

    def update(self, now_s: float) -> None:
        """Log what changed since the last call, and what the inbox skips."""
        problem = self.problem
        if problem and self._reminder.is_due(problem, now_s):
            events.warning("inbox_problem", problem)
        elif not problem and self._logged != "":
            self._reminder.reset()
            events.info("inbox_watched", folder=self._inbox.folder)
        self._logged = problem
        skipped = self._inbox.skipped.take_unlogged()
        log_refused(Refusal(name, reason.sentence, is_fault=False) for name, reason in skipped)


def log_refused(refused: Iterable[Refusal]) -> None:
    """Log files that are not queued; of many some, and how many there are."""
    for sentence in refusal_sentences(list(refused)):
        events.warning("not_imported", sentence)
