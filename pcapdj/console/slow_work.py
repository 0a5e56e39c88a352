"""A line on stderr about work that takes longer than a moment: how much of it is done.

A terminal shows it in place and clears it; elsewhere one line names what is being done, so that a command is
not silent for seconds. stdout is the answer's alone.
"""

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pcapdj.console.screen import keep_going_if_closed

_AFTER_S: Final = 0.1  # a command has run for some 0.2 s before, and shows something within half a second
_STARTED_IN_S: Final = 0.3  # CPU time; where it took longer to start, the line comes earlier
_LEAST_S: Final = 0.02
_FEW: Final = 5000  # entries of Redis: a few calls
_EVERY_S: Final = 0.2
_CLEAR: Final = "\r\x1b[K"


class SlowWork:
    """Counts what is done, and shows it once it takes long.

    Args:
        what: things that are counted, as `journal entries to look at`.
        total: how many there are, about.
        few: so many take no time that is worth a line, even where the machine is busy.
    """

    def __init__(self, what: str, total: int, few: int = _FEW) -> None:
        self._what = what
        self._total = total
        self._done = 0
        after_s = min(_AFTER_S, max(_LEAST_S, _STARTED_IN_S - time.process_time()))
        self._next_s = time.monotonic() + after_s if total > few else math.inf
        self._is_terminal = sys.stderr.isatty()
        self._is_shown = False

    def add(self, count: int) -> None:
        """Count more of them."""
        self._done += count
        if time.monotonic() >= self._next_s:
            self._show()

    def clear(self) -> None:
        """Clear the line of a terminal, before something is printed there; `add` shows it again."""
        if self._is_shown and self._is_terminal:
            self._write(_CLEAR)
            self._is_shown = False

    def _show(self) -> None:
        if self._is_terminal:
            self._next_s = time.monotonic() + _EVERY_S
            self._write(f"{_CLEAR}{min(self._done, self._total):,} of {self._total:,} {self._what}")
        elif not self._is_shown:
            self._write(f"{self._total:,} {self._what} ..\n")
        self._is_shown = True

    def _write(self, text: str) -> None:
        with keep_going_if_closed(sys.stderr):
            sys.stderr.write(text)


@contextmanager
def slow_work(what: str, total: int, few: int = _FEW) -> Iterator[SlowWork]:
    """Yield work whose line is cleared at the end; the arguments are those of `SlowWork`."""
    work = SlowWork(what, total, few)
    try:
        yield work
    finally:
        work.clear()
