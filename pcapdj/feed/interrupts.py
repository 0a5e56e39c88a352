"""What interrupts a dispatcher's waits: stop signals, suspension, the wish for statistics."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from pcapdj.feed.reporter import Reporter
from pcapdj.feed.statistics import Statistics
from pcapdj.runtime import signals as process_signals
from pcapdj.runtime.log import EventLog
from pcapdj.runtime.signals import HasFileno, Signals

_LOOK_S: Final = 0.5

events = EventLog("dispatcher")


class Interrupts:
    """Deals with signals and suspension at the places where a dispatcher can be interrupted.

    Args:
        statistics: where a suspension is counted.
    """

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics
        self._signals: Signals | None = None
        self._reporter: Reporter | None = None
        self._counted: Callable[[], Statistics] = lambda: statistics
        self._meanwhile: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._printing: threading.Thread | None = None

    @contextmanager
    def listening(self) -> Iterator[Signals]:
        """Handle TERM, INT, USR1 and USR2 for the block."""
        with process_signals.handled((signal.SIGUSR1, signal.SIGUSR2)) as self._signals:
            yield self._signals

    def watch(
        self, reporter: Reporter, counted: Callable[[], Statistics], meanwhile: Callable[[], None]
    ) -> None:
        """Learn what cannot be known before the dispatcher is built.

        Args:
            reporter: knows who wants the feeding suspended.
            counted: what SIGUSR2 prints.
            meanwhile: called twice a second while suspended in mid-file; may raise that the stream is lost.
        """
        self._reporter = reporter
        self._counted = counted
        self._meanwhile = meanwhile

    def wait(self, timeout_s: float, *readable: HasFileno | int, stops: int = 1) -> None:
        """Wait for the time, a signal or a readable descriptor, whatever comes first.

        Raises:
            Stopped: as `Waits.wait`.
        """
        if self._signals:
            try:
                self._signals.wait(timeout_s, *readable, stops=stops)
            finally:
                self._act(self._signals)

    def _act(self, signals: Signals) -> None:
        for _ in range(signals.arrivals(signal.SIGUSR1)):
            self._toggle()
        if signals.arrivals(signal.SIGUSR2):
            self._print_statistics()

    def attend(self) -> None:
        """Let signals act, and stay here while the feeding is suspended.

        Raises:
            Stopped: a stop signal arrived.
        """
        self.wait(0)
        while self.observe():
            if self._reporter:
                self.wait(_LOOK_S, self._reporter)
            self._meanwhile()

    def observe(self) -> bool:
        """Report whether the feeding is suspended; a change is counted and said. Any thread may ask."""
        with self._lock:
            return self._observe()

    def _observe(self) -> bool:
        members = self._reporter.suspended_by if self._reporter else frozenset()
        shown = ",".join(sorted(member.decode(errors="replace") for member in members))
        before, self._statistics.suspended_by = self._statistics.suspended_by, shown
        if shown and not before:
            self._statistics.suspensions += 1
        if shown and shown != before:
            events.info("suspended", "Nothing is fed until everybody who suspended has resumed.", by=shown)
        if before and not shown:
            events.info("resumed")
        return bool(members)

    def _toggle(self) -> None:
        if self._reporter:
            self._reporter.toggle()
            self.observe()

    def _print_statistics(self) -> None:
        if self._printing and self._printing.is_alive():
            return  # nobody reads stdout, or signals come in a storm: one print at a time
        lines = self._counted().lines(time.time())
        self._printing = threading.Thread(target=_print, args=(lines,), daemon=True)
        self._printing.start()


def _print(lines: str) -> None:
    """Write in a thread of its own: stdout may be a full pipe that nobody reads, or closed."""
    with suppress(OSError, ValueError):
        sys.stdout.write(lines)
        sys.stdout.flush()
