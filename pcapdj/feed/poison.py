"""Who is at fault when analyzers die: the file, or, from the third such file in a row on, the analyzer.

A file on which the analyzer died three times under a living launcher is poison and fails, so that the others
go on. Where that happens to one file after another it is not the files: then the lane is held, as an operator
would (`operator` in PCAPDJ_SUSPEND), and the file is asked for again once somebody has resumed it.
"""

import time
from dataclasses import replace
from typing import Final

from pcapdj.feed.statistics import Statistics
from pcapdj.runtime.errors import CaptureError
from pcapdj.runtime.log import EventLog
from pcapdj.runtime.signals import Waits
from pcapdj.store import operate
from pcapdj.store.client import Store
from pcapdj.store.job_queue import JobQueue, QueueEntry

POISON_DEATHS: Final = 3  # of analyzers on one file, before the file is blamed
POISON_FILES: Final = 3  # in a row, before the analyzer is
POISON: Final = "poison"  # how the reason of such a file begins

_LOOK_S: Final = 0.5

events = EventLog("dispatcher")


class PoisonPolicy:
    """Counts poison files in a row, and holds the lane.

    Args:
        store, transfer: the lane, and the dispatcher's file.
        waits: a stop signal ends the hold.
        statistics: where `at_fault` is shown.
    """

    def __init__(self, store: Store, transfer: JobQueue, waits: Waits, statistics: Statistics) -> None:
        self._store = store
        self._transfer = transfer
        self._waits = waits
        self._statistics = statistics
        self._in_a_row: int | None = None  # not known before the journal was asked

    def fed(self) -> None:
        """Take note that a file went through: the analyzer works."""
        self._in_a_row = 0

    def judge(self, taken: QueueEntry) -> QueueEntry:
        """Return the file to feed once more, after the operator resumed a lane held for it.

        Raises:
            CaptureError: the file is at fault.
            Stopped: a stop signal arrived while the lane was held.
        """
        if self._in_a_row is None:
            self._in_a_row = operate.poison_in_a_row(self._store, POISON)
        if self._in_a_row + 1 < POISON_FILES:
            self._in_a_row += 1
            raise CaptureError(f"{POISON}: the analyzer died {taken.deaths} times while it read this file")
        return self._hold(taken)

    def _hold(self, taken: QueueEntry) -> QueueEntry:
        again = replace(taken, deaths=0)
        self._transfer.mark(deaths=0)
        operate.suspend(self._store)
        sentence = (
            f"The analyzer is at fault: it died {POISON_DEATHS} times on each of {POISON_FILES} files in a"
            " row. Nothing is fed until `pcapdj resume`."
        )
        events.error("analyzer_at_fault", sentence, name=taken.name)
        self._statistics.at_fault = self._statistics.waiting_for = sentence
        held_s = time.monotonic()
        while operate.is_suspended(self._store):
            self._waits.wait(_LOOK_S)
        self._in_a_row = 0
        self._statistics.at_fault = self._statistics.waiting_for = ""
        events.info("lane_resumed", name=taken.name, held_s=round(time.monotonic() - held_s))
        return again
