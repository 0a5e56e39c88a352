"""What interrupts a dispatcher's waits: stop signals, suspension, the wish for statistics."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pcapdj.console.statistics import SUSPENDED, Statistics
from pcapdj.runtime import signals as process_signals
from pcapdj.runtime.errors import Stopped
from pcapdj.runtime.log import EventLog
from pcapdj.runtime.signals import Signals
from pcapdj.store.reporter import Reporter

_LOOK_S: Final = 0.5

events = EventLog("dispatcher")


class Attention:
    """Deals with signals and suspension at the places where a dispatcher can be interrupted.

    Args:
        statistics: where a suspension is counted.
    """

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics
        self._signals: Signals | None = None
        self._reporter: Reporter | None = None

    @contextmanager
    def listening(self) -> Iterator[Signals]:
        """Handle TERM, INT, USR1 and USR2 for the block."""
        actions = {signal.SIGUSR1: self._toggle, signal.SIGUSR2: self._print_statistics}
        with process_signals.handled(actions) as self._signals:
            yield self._signals

    def watch(self, reporter: Reporter) -> None:
        """Take the suspension from this reporter."""
        self._reporter = reporter

    def attend(self) -> None:
        """Let signals act, and stay here while the feeding is suspended.

        Raises:
            Stopped: a stop signal arrived.
        """
        self._stop_if_asked()
        if self._reporter and self._reporter.suspended_by:
            self._stay_suspended(self._reporter)

    def _stop_if_asked(self) -> None:
        if self._signals and self._signals.stop_requested:
            raise Stopped("A stop signal arrived.")

    def _stay_suspended(self, reporter: Reporter) -> None:
        statistics, before = self._statistics, self._statistics.state
        statistics.suspensions += 1
        statistics.state = SUSPENDED
        try:
            while members := reporter.suspended_by:
                self._say_suspended(members)
                if self._signals and self._signals.wait(_LOOK_S, reporter):
                    raise Stopped("A stop signal arrived while suspended.")
        finally:
            statistics.state, statistics.suspended_by = before, ""
        events.info("resumed")

    def _say_suspended(self, members: frozenset[bytes]) -> None:
        shown = ",".join(sorted(member.decode(errors="replace") for member in members))
        if shown != self._statistics.suspended_by:
            self._statistics.suspended_by = shown
            events.info("suspended", "Nothing is fed until everybody who suspended has resumed.", by=shown)

    def _toggle(self) -> None:
        if self._reporter:
            self._reporter.toggle()

    def _print_statistics(self) -> None:
        lines = self._statistics.lines(time.time())
        threading.Thread(target=_print, args=(lines,), daemon=True).start()


def _print(lines: str) -> None:
    """Write in a thread of its own: stdout may be a full pipe that nobody reads."""
    sys.stdout.write(lines)
    sys.stdout.flush()
