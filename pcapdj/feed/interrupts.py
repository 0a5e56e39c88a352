"""What interrupts a dispatcher: stop signals, suspension, SIGUSR1 and SIGUSR2. Every wait goes through here.

Call `check` before bytes enter the pipe, and `wait` for everything else; `wait` also shows the reason for the
wait, and looks after the launcher (`watch`). Signals act only in these two, in the main thread, never in a
handler.
"""

import signal
import sys
import threading
import time
from contextlib import suppress
from typing import Final, Protocol

from pcapdj.feed.reading_mark import ReadingMark
from pcapdj.feed.statistics import Statistics
from pcapdj.feed.suspension import Suspension
from pcapdj.runtime.errors import Stopped
from pcapdj.runtime.log import EventLog, Reminder
from pcapdj.runtime.signals import HasFileno, Signals

SIGNALS: Final = (signal.SIGUSR1, signal.SIGUSR2)  # beside the stop signals
CHECK_S: Final = 0.25  # how long `check` waits at most for the end of a suspension

events = EventLog("dispatcher")


class Watched(Protocol):
    """What is looked after in each wait: `Streams`."""

    def descriptors(self) -> tuple[HasFileno, ...]:
        """Return what turns readable when `look` has something to do."""

    def look(self) -> None:
        """Do what is due; never wait."""


class Interrupts:
    """Signals and suspension of one dispatcher.

    Args:
        signals: the stop signals and `SIGNALS`.
        suspension: who suspends feeding.
        statistics: printed by SIGUSR2; show what is waited for.
        mark: cleared while it waits.
    """

    def __init__(
        self,
        signals: Signals,
        suspension: Suspension,
        statistics: Statistics,
        mark: ReadingMark | None = None,
    ) -> None:
        self._mark = mark or ReadingMark()
        self._signals = signals
        self._suspension = suspension
        self._statistics = statistics
        self._reminder = Reminder()
        self._stop_from_s = 0.0
        self._printing: threading.Thread | None = None
        self._watched: Watched | None = None

    def watch(self, watched: Watched) -> None:
        """Look after this in each `wait` from now on, whatever is waited for; not in `check`."""
        self._watched = watched

    @property
    def descriptors(self) -> tuple[HasFileno, ...]:
        """What turns readable when `check` has something to do."""
        return self._signals, self._suspension

    def check(self) -> bool:
        """Let signals act; while feeding is suspended, wait for its end, but at most 0.25 s.

        Returns:
            Whether feeding is still suspended.

        Raises:
            Stopped: a stop signal arrived.
        """
        self._statistics.wait_for("")
        if self._signals.stop_requested:
            if time.monotonic() >= self._stop_from_s:
                raise Stopped("A stop signal arrived.")
            return False  # the grace is for the rest of a record, also while feeding is suspended
        self._act()
        if self._suspension.is_active:
            self._wait(CHECK_S, self._suspension)
        return self._suspension.is_active

    def wait(
        self, timeout_s: float, *readable: HasFileno | int, stops: int = 1, waiting_for: str = ""
    ) -> None:
        """Wait for the time, a signal or a readable descriptor, whatever comes first.

        Raises:
            Stopped: as `Waits.wait`.
        """
        if self._watched is None:
            self._wait(timeout_s, *readable, stops=stops, waiting_for=waiting_for)
            return
        watched = self._watched.descriptors()
        self._wait(timeout_s, *readable, *watched, stops=stops, waiting_for=waiting_for)
        self._watched.look()

    def _wait(
        self, timeout_s: float, *readable: HasFileno | int, stops: int = 1, waiting_for: str = ""
    ) -> None:
        self._statistics.wait_for(waiting_for)
        if waiting_for and self._reminder.is_due(waiting_for, time.monotonic()):
            events.info("waiting", waiting_for)
        try:
            if timeout_s > 0:
                with self._mark.waiting():
                    self._signals.wait(timeout_s, *readable, stops=stops)
            else:
                self._signals.wait(timeout_s, *readable, stops=stops)
        finally:
            self._act()

    def sleep(self, duration_s: float, *, waiting_for: str = "") -> None:
        """Wait for the whole time.

        Raises:
            Stopped: a stop signal arrived.
        """
        end_s = time.monotonic() + duration_s
        while (left_s := end_s - time.monotonic()) > 0:
            self.wait(left_s, waiting_for=waiting_for)

    def postpone_stop(self, duration_s: float) -> None:
        """For this time, do not let a stop signal end `check`."""
        self._stop_from_s = time.monotonic() + duration_s

    def _act(self) -> None:
        if not self._signals.has_received:
            return
        for _ in range(self._signals.received(signal.SIGUSR1)):
            self._suspension.toggle()
        if self._signals.received(signal.SIGUSR2):
            self._print_statistics()

    def _print_statistics(self) -> None:
        if self._printing and self._printing.is_alive():
            return  # stdout is not read, or signals come in a storm: one print at a time
        lines = self._statistics.lines(time.time())
        self._printing = threading.Thread(target=_print, args=(lines,), daemon=True)
        self._printing.start()


def _print(lines: str) -> None:
    """Write in a thread of its own: stdout may be closed, or a full pipe without a reader."""
    with suppress(OSError, ValueError):
        sys.stdout.write(lines)
        sys.stdout.flush()
