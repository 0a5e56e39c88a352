"""Whether an analyzer has stopped reading. Rules only: the clock and what the pipe shows come in as values.

The number of unread bytes alone says little: a pipe that is filled as fast as it is read always holds the
same. What was spliced into it moves the positions of the sources. If neither changes while bytes are unread,
then nobody took any.

One stream from its analyzer's first moment to its last: starting, reading, flushing, gone.

    starting   the analyzer runs and has not opened the pipe
    reading    it has; we hold the write end, and so does the dispatcher
    flushing   we closed the write end; the analyzer ends by itself, or is asked to after the flush timeout

Its exit while we hold the write end is a crash, whatever its status says: Suricata exits 0 after a record it
could not read. So is a pipe that it closed while it lives on (POLLERR on the write end). A stream without
records is ended by KILL, since Suricata would hang on it for ever, and that is no crash.
"""

import os
import signal
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pcapdj.analyzer.descriptor_store import DescriptorStore
from pcapdj.analyzer.process import Analyzer
from pcapdj.runtime import failpoints
from pcapdj.runtime.errors import CannotCreate
from pcapdj.runtime.fifo import Fifo, is_reader_gone, unread_bytes
from pcapdj.runtime.safe_text import printable_sentence


@dataclass(frozen=True, slots=True)
class Timeouts:
    """When patience with an analyzer ends, and when the next one begins.

    Args:
        flush_s: after its input ended.
        stall_s: after it took its last byte, with bytes left in the pipe; 0: never.
        restart_pause_s: after one that died; doubled each time.
    """

    flush_s: float
    stall_s: float = 0.0
    restart_pause_s: float = 1.0


class Stall:
    """For how long an analyzer has taken no byte."""

    def __init__(self) -> None:
        self._shown: tuple[int, Hashable] = (0, None)
        self._since_s = 0.0

    def look(self, unread_bytes: int, sources: Hashable, now_s: float) -> float:
        """Return for how many seconds nothing was taken, as of this look.

        Args:
            unread_bytes: in the pipe.
            sources: changes whenever something enters the pipe.
            now_s: monotonic.
        """
        shown = (unread_bytes, sources)
        if not unread_bytes or shown != self._shown:
            self._shown, self._since_s = shown, now_s
        return now_s - self._since_s


_DEAF_GRACE_S = 2.0  # one that closed the pipe is usually about to exit and tell its status
_TERM_GRACE_S = 5.0
_QUICK_LOOK_S, _SLOW_LOOK_S = 0.005, 0.02  # between two tries to open the pipe; the quick ones for 5 s
_QUICK_FOR_S = 5.0

Act = Callable[[float], None]


class Stage(StrEnum):
    """Where a stream is."""

    STARTING = "starting"
    READING = "reading"
    FLUSHING = "flushing"


class Verdict(StrEnum):
    """How a stream ended."""

    ENDED = "ended"  # after its last byte, as it should
    CRASHED = "crashed"  # the analyzer went while it was fed
    UNSTARTED = "unstarted"  # it went before it opened the pipe


@dataclass(frozen=True, slots=True)
class Exit:
    """The end of a stream.

    Args:
        exit: how the analyzer ended, in words.
        lived_s: for how long it had the pipe open.
        reason: what went wrong, as a sentence; empty if nothing did.
    """

    verdict: Verdict
    exit: str
    lived_s: float
    reason: str = ""


class AnalyzerSession:
    """One stream; `tick` moves it on and says when it is over, after which only `close` may be called.

    Args:
        stream: its id.
        fifo: renewed for this stream.
        analyzer: just started on it.
        folder: its log folder.
        timeouts: how long the analyzer may take to end once the pipe is closed, and to take its next byte.
        now_s: monotonic; as in all methods.
    """

    def __init__(  # noqa: PLR0913 - what a stream consists of
        self,
        stream: str,
        fifo: Fifo,
        analyzer: Analyzer,
        *,
        folder: Path,
        timeouts: Timeouts,
        now_s: float,
    ) -> None:
        self.stream = stream
        self.analyzer = analyzer
        self.folder = folder
        self.keeper = DescriptorStore()
        self.stage = Stage.STARTING
        self.write_end: int | None = None
        self.since_s = now_s
        self.is_known = False  # the launcher has said that it is open
        self._fifo = fifo
        self._timeouts = timeouts
        self._stall = Stall()
        self._next: tuple[float, Act] | None = None  # what is done when, unless it ends first
        self._forced = ""
        self._has_closed_pipe = False

    def can_be_fed(self, now_s: float) -> bool:
        """Report whether the analyzer has the pipe open and runs, as of this moment."""
        self._notice_deafness(now_s)
        return self.stage is Stage.READING and not self._has_closed_pipe and self.analyzer.exit() is None

    def timeout_s(self, now_s: float) -> float:
        """Return after which time `tick` has something to do, descriptors and signals aside."""
        if self.stage is Stage.STARTING:
            return _QUICK_LOOK_S if now_s - self.since_s < _QUICK_FOR_S else _SLOW_LOOK_S
        return max(0.0, self._next[0] - now_s) if self._next else float("inf")

    def watched(self) -> int | None:
        """Return the write end as long as its POLLERR would be news."""
        return None if self._has_closed_pipe else self.write_end

    def tick(self, now_s: float) -> Exit | None:
        """Look at the analyzer and do what is due; return how the stream ended, if it did."""
        if ended := self.analyzer.exit():
            return self._ending(ended, now_s)
        if self.stage is Stage.STARTING and not self._forced:
            self._try_to_open(now_s)
        self._notice_deafness(now_s)
        self._notice_stall(now_s)
        if self._next and now_s >= self._next[0]:
            self._next[1](now_s)
        return None

    def end(self, now_s: float) -> None:
        """Close the write end, so that the analyzer sees the end of the stream and flushes."""
        if self.stage is Stage.FLUSHING:
            return
        was_fed = self.stage is Stage.READING and self.keeper.had_records and not self._has_closed_pipe
        self.stage, self.since_s = Stage.FLUSHING, now_s
        self.close()
        if was_fed:
            self._next = (now_s + self._timeouts.flush_s, self._terminate)
        else:
            self.kill("it had closed the pipe" if self._has_closed_pipe else "it had nothing to read")

    def kill(self, why: str) -> None:
        """End the analyzer now, and all it started.

        Args:
            why: the end of a sentence about it.
        """
        self._forced, self._next = self._forced or why, None
        self.analyzer.signal_group(signal.SIGKILL)

    def close(self) -> None:
        """Let go of the write end and of what the keeper holds."""
        self.keeper.close()
        if self.write_end is not None:
            os.close(self.write_end)
            self.write_end = None

    def _try_to_open(self, now_s: float) -> None:
        try:
            self.write_end = self._fifo.open_write_end()
        except CannotCreate as exc:  # taken away or replaced before the analyzer opened it
            self.kill(str(exc).rstrip("."))
        if self.write_end is not None:
            failpoints.reach("launcher.open")
            self.stage, self.since_s = Stage.READING, now_s

    def _notice_deafness(self, now_s: float) -> None:
        if self.stage is not Stage.READING or self._has_closed_pipe or self.write_end is None:
            return
        if is_reader_gone(self.write_end):
            self._has_closed_pipe = True
            self._next = (now_s + _DEAF_GRACE_S, self._kill_deaf)

    def _notice_stall(self, now_s: float) -> None:
        if self.stage is not Stage.READING or self.write_end is None or not self._timeouts.stall_s:
            return
        stalled_s = self._stall.look(unread_bytes(self.write_end), self.keeper.positions(), now_s)
        if stalled_s >= self._timeouts.stall_s and not self._forced:
            self.kill(f"it had taken no byte for {stalled_s:.0f} s")

    def _kill_deaf(self, _now_s: float) -> None:
        self.kill("it had closed the pipe and lived on")

    def _terminate(self, now_s: float) -> None:
        self._forced = f"it had not ended {self._timeouts.flush_s:g} s after its input"
        self._next = (now_s + _TERM_GRACE_S, self._kill_late)
        self.analyzer.signal_group(signal.SIGTERM)

    def _kill_late(self, _now_s: float) -> None:
        self.kill(self._forced)

    def _ending(self, ended: str, now_s: float) -> Exit:
        told = f"{ended} ({self._forced})" if self._forced else ended
        name, lived_s = self.analyzer.program, now_s - self.since_s
        if self.stage is Stage.FLUSHING:
            late = self._forced and self.keeper.had_records
            return Exit(Verdict.ENDED, told, lived_s, f"{name} was stopped: {self._forced}." if late else "")
        words = printable_sentence(self.analyzer.last_words())
        why = f" Its last words: {words}" if words else ""
        if self.stage is Stage.READING:
            return Exit(Verdict.CRASHED, told, lived_s, f"{name} {told} in the middle of the stream.{why}")
        return Exit(Verdict.UNSTARTED, told, 0.0, f"{name} {told} before it opened the pipe.{why}")
