"""Decides what is at fault when analyzers or dispatchers die: the file, or the analyzer.

A file on which the analyzer died three times under a living launcher is poison and fails, so that the others
go on. If that happens to three files in a row, the files are not the cause: then feeding is suspended as by
an operator (`operator` in PCAPDJ_SUSPEND), and after `pcapdj resume` the third file is requested again.

A file on which three dispatchers died while they opened, read or decoded it fails, too, if it gave no whole
batch in between (`feed.reading_mark`). That never holds the lane: such a file needs no analyzer.
"""

import time
from dataclasses import replace
from typing import Final

from pcapdj.feed.interrupts import Interrupts
from pcapdj.feed.reading_mark import ReadingMark, deaths_on
from pcapdj.feed.statistics import Statistics
from pcapdj.runtime.errors import CaptureError
from pcapdj.runtime.log import EventLog
from pcapdj.store import operate
from pcapdj.store.client import Store
from pcapdj.store.job_queue import JobQueue, QueueEntry

POISON_DEATHS: Final = 3  # of analyzers on one file, before the file is at fault
POISON_FILES: Final = 3  # in a row, before the analyzer is
POISON: Final = "poison:"  # how the reason of such a file begins
POISON_DISPATCHER: Final = "poison(dispatcher):"  # of one that killed dispatchers

_POLL_S: Final = 0.5

events = EventLog("dispatcher")


class PoisonPolicy:
    """Counts poison files in a row, and holds the lane."""

    def __init__(
        self,
        store: Store,
        queue: JobQueue,
        interrupts: Interrupts,
        statistics: Statistics,
        mark: ReadingMark,
    ) -> None:
        self._mark = mark
        self._store = store
        self._queue = queue
        self._interrupts = interrupts
        self._statistics = statistics
        self._in_a_row: int | None = None  # None: not read from the journal yet

    def reset(self) -> None:
        """Begin the count again: a file went through, so the analyzer works."""
        self._in_a_row = 0

    def begin(self, entry: QueueEntry) -> None:
        """Begin to work on an entry: count the dispatchers that died while they read its file.

        Raises:
            CaptureError: there were three.
        """
        previous = self._mark.previous
        deaths = deaths_on(previous, entry.token, self._mark.boot)
        self._mark.begin(entry.token, deaths)
        if not previous or not deaths:
            return
        fields = {"name": entry.name, "deaths": deaths, "most": POISON_DEATHS}
        events.warning(
            "dispatcher_died", f"A dispatcher died while it read this file, {previous.cause}.", **fields
        )
        if deaths >= POISON_DEATHS:
            died = f"{deaths} dispatchers died while they read this file, the last one"
            raise CaptureError(f"{POISON_DISPATCHER} {died} {previous.cause}")

    def entry_to_feed(self, entry: QueueEntry) -> QueueEntry:
        """Return the entry to feed; if the analyzer is at fault, wait until an operator resumes feeding.

        An entry on which the analyzer died fewer than three times is returned as it is.

        Raises:
            CaptureError: the file is at fault.
            Stopped: a stop signal arrived while feeding was suspended.
        """
        if entry.deaths < POISON_DEATHS:
            return entry
        if self._in_a_row is None:
            self._in_a_row = operate.poison_in_a_row(self._store, POISON)
        if self._in_a_row + 1 < POISON_FILES:
            self._in_a_row += 1
            raise CaptureError(f"{POISON} the analyzer died {entry.deaths} times while it read this file")
        self._queue.mark(deaths=0)
        self._hold(entry)
        return replace(entry, deaths=0)

    def _hold(self, entry: QueueEntry) -> None:
        operate.suspend(self._store)
        sentence = (
            f"The analyzer is at fault: it died {POISON_DEATHS} times on each of {POISON_FILES} files in a"
            " row. Nothing is fed until `pcapdj resume`."
        )
        events.error("analyzer_at_fault", sentence, name=entry.name)
        self._statistics.hold(sentence)
        held_s = time.monotonic()
        while operate.is_suspended(self._store):
            self._interrupts.wait(_POLL_S, waiting_for=sentence)
        self.reset()
        self._statistics.hold("")
        events.info("lane_resumed", name=entry.name, held_s=round(time.monotonic() - held_s))
