"""One stream: one analyzer process, the write end of its pipe, and the descriptors stored for it.

A session enters the stages starting, reading and flushing in this order, may skip one, and ends with the
analyzer's exit (the states in `consumer_launcher`). The launcher calls `advance` whenever the session may
have changed.

An exit while the launcher holds the write end is a crash, whatever its status: Suricata exits 0 after a
record that it could not read. So is an analyzer that closes the pipe and does not exit (POLLERR on the write
end), and one that reads nothing for the stall timeout. A stream without records is ended by KILL, since
Suricata would wait on it for ever; that is not a crash. `analyzer.orderly_end` has the end of a stream in the
middle of a file.

While the gate suspends feeding the analyzer is paused (`analyzer.gate_watch`). Then no timeout counts.
"""

import math
import os
import signal
import time
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from pcapdj.analyzer.descriptor_store import DescriptorStore
from pcapdj.analyzer.exit_cause import cause_in
from pcapdj.analyzer.orderly_end import OrderlyEnd
from pcapdj.analyzer.process import Analyzer
from pcapdj.launcher_protocol import BATCH_KEYS, EndedStream
from pcapdj.runtime import failpoints
from pcapdj.runtime.errors import CannotCreate
from pcapdj.runtime.fifo import Fifo, is_reader_gone, unread_bytes
from pcapdj.runtime.log import EventLog
from pcapdj.runtime.numbers import counted
from pcapdj.runtime.safe_text import printable_sentence, quoted

_EXIT_GRACE_S: Final = 2.0  # an analyzer that closed the pipe usually exits within it, and has a status then
_TERM_GRACE_S: Final = 5.0
_FIRST_POLL_S, _LATER_POLL_S = 0.005, 0.02  # between two tries to open the pipe
_FIRST_POLLS_FOR_S: Final = 5.0
_REST_POLL_S: Final = 0.01  # between two tries to send the rest of a batch
_MOST_SHOWN: Final = 5  # processes in a message
_GROUP_POLL_S: Final = 0.1  # between two looks at the processes that an analyzer left running

_events: Final = EventLog("consumer")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long the launcher waits for an analyzer.

    Args:
        flush_s: for its exit after the end of its input.
        stall_s: for its next read while bytes are in the pipe; 0: for ever.
        restart_pause_s: before the next start after one that died; doubled each time.
    """

    flush_s: float
    stall_s: float = 0.0
    restart_pause_s: float = 1.0


class Stage(StrEnum):
    """Where a session is."""

    STARTING = "starting"  # the analyzer runs and has not opened the pipe
    READING = "reading"  # it has; launcher and dispatcher hold the write end
    FLUSHING = "flushing"  # the launcher has closed the write end; the analyzer writes its results


class Verdict(StrEnum):
    """How a stream ended."""

    ENDED = "ended"  # after its last byte
    CRASHED = "crashed"  # the analyzer exited while it was fed
    UNSTARTED = "unstarted"  # it exited before it opened the pipe


@dataclass(frozen=True, slots=True)
class Exit:
    """The end of a session.

    Args:
        status: `exited 0`, `killed by signal 9`, and why if the launcher ended the analyzer.
        reading_s: for how long the analyzer had the pipe open when it crashed; else 0.
        reason: what went wrong, in sentences; empty if nothing did.
        ended: the file in flight goes on in the next stream; None: it is fed again, or none was in flight.
        left: which processes the analyzer left running, in a sentence; they were killed.
        may_lack_output: it did not end well behind its input; what it wrote there may be missing.
    """

    verdict: Verdict
    status: str
    reading_s: float
    reason: str = ""
    ended: EndedStream | None = None
    left: str = ""
    may_lack_output: bool = False


class StallTimer:
    """How long the analyzer has read nothing. The clock and the state of the pipe come in as values.

    The number of unread bytes alone is not enough: a pipe that is filled as fast as it is read always has the
    same number. Bytes that enter it move the positions of their sources. If neither number nor positions
    change while bytes are unread, nothing was read.
    """

    def __init__(self) -> None:
        self._last: tuple[int, Hashable] = (0, None)
        self._since_s = 0.0

    def stalled_s(self, unread_bytes: int, positions: Hashable, now_s: float) -> float:
        """Return for how many seconds nothing was read.

        Args:
            unread_bytes: in the pipe.
            positions: changes whenever bytes enter the pipe.
            now_s: monotonic.
        """
        current = (unread_bytes, positions)
        if not unread_bytes or current != self._last:
            self._last, self._since_s = current, now_s
        return now_s - self._since_s


class AnalyzerSession:
    """One stream, from the start of its analyzer to its exit.

    Args:
        fifo: renewed for this stream.
        analyzer: just started on it.
        pauses_after_header: whether the dispatcher pauses there (`analyzer.presets`).
        now_s: monotonic; as in all methods.

    Attributes:
        stored: the descriptors that the dispatcher splices from.
        write_end: of the pipe; None unless reading.
        since_s: when the stage began.
        began_s: when the stream began, in seconds since the epoch.
        device: st_dev of the disk that its folder is on.
        paused_s: since when the analyzer is paused; None: it is not.
        not_killed: that it is to end, and this user may not kill it; empty: it may, or was not asked to.
    """

    def __init__(  # noqa: PLR0913 - the parts of a stream
        self,
        stream: str,
        fifo: Fifo,
        analyzer: Analyzer,
        *,
        folder: Path,
        timeouts: Timeouts,
        pauses_after_header: bool = True,
        now_s: float,
    ) -> None:
        self.stream = stream
        self.pauses_after_header = pauses_after_header
        self.analyzer = analyzer
        self.folder = folder
        self.stored = DescriptorStore()
        self.stage = Stage.STARTING
        self.write_end: int | None = None
        self.since_s = now_s
        self.began_s = time.time()
        self.device = folder.stat().st_dev
        self.paused_s: float | None = None
        self.not_killed = ""
        self._fifo = fifo
        self._timeouts = timeouts
        self._stall_timer = StallTimer()
        self._has_closed_pipe = False
        self._is_shared = False  # the dispatcher may still have the pipe open
        self._stop_reason = ""  # why the launcher signalled the analyzer
        self._deadline_s = math.inf  # when it is signalled, or signalled again, unless it exits before
        self._orderly_end: OrderlyEnd | None = None

    def can_be_fed(self, now_s: float) -> bool:
        """Report whether the analyzer runs and has the pipe open at this moment."""
        self._check_pipe(now_s)
        is_reading = self.stage is Stage.READING and not self._has_closed_pipe
        return is_reading and self.analyzer.exit_status() is None

    def timeout_s(self, now_s: float) -> float:
        """Return in how many seconds to call `advance`, unless a signal or POLLERR comes first."""
        if self.stage is Stage.STARTING:
            return _FIRST_POLL_S if now_s - self.since_s < _FIRST_POLLS_FOR_S else _LATER_POLL_S
        if self.paused_s is not None:
            return math.inf
        if self._is_sending_rest:
            return _REST_POLL_S
        if self._waits_for_group:
            return max(0.0, min(_GROUP_POLL_S, self._deadline_s - now_s))
        return max(0.0, self._deadline_s - now_s)

    def polled_write_end(self) -> int | None:
        """Return the write end while its POLLERR needs a call of `advance`; once it came, poll would spin."""
        return None if self._has_closed_pipe else self.write_end

    def advance(self, now_s: float) -> Stage | Exit | None:
        """Look at the analyzer and do what is due.

        Returns:
            `Stage.READING` when the analyzer has just opened the pipe; the exit when it has ended, after
            which only `close` may be called; else None.
        """
        if status := self.analyzer.exit_status(waits_for_group=self._waits_for_group):
            return self._with_leftover_processes(self._exit(status, now_s))
        if self.paused_s is not None:
            return None
        if self.stage is Stage.STARTING and not self._stop_reason and self._open_write_end(now_s):
            return Stage.READING
        self._check_pipe(now_s)
        self._send_rest(now_s)
        self._check_stall(now_s)
        if now_s >= self._deadline_s:
            self._pass_deadline(now_s)
        return None

    def end(self, now_s: float, *, is_shared: bool = False) -> None:
        """Close the write end; unless a dispatcher shares it, the analyzer sees the end of its input."""
        if self.stage is Stage.FLUSHING:
            return
        self._is_shared = is_shared
        can_flush = self.stage is Stage.READING and self.stored.had_records and not self._has_closed_pipe
        self._close_pipe(now_s)
        if can_flush:
            self._deadline_s = self._awake_s(now_s) + self._timeouts.flush_s
        else:
            self.kill("it had closed the pipe" if self._has_closed_pipe else "it had nothing to read")

    def end_in_order(self, now_s: float) -> None:
        """End the stream behind the noted batch; no dispatcher has a descriptor of the pipe any more."""
        noted = self.stored.noted()
        if self.stage is not Stage.READING or self._has_closed_pipe or noted is None:
            self.end(now_s)
        elif self._orderly_end is None:
            batch, notes = self.stored.descriptor(BATCH_KEYS[noted.batch]), dict(self.stored.notes())
            self._orderly_end = OrderlyEnd(self.stream, noted, batch, notes)
            self._deadline_s = self._awake_s(now_s) + self._timeouts.flush_s

    @property
    def can_be_paused(self) -> bool:
        """Whether the analyzer may be writing: it is not paused, has started, and is not to end at once."""
        return self.paused_s is None and self.stage is not Stage.STARTING and not self._stop_reason

    def pause(self, now_s: float) -> bool:
        """Pause the analyzer, if it can be paused and this user may signal it; report whether."""
        if not self.can_be_paused or not self.analyzer.pause():
            return False
        self.paused_s = now_s
        return True

    def resume(self, now_s: float) -> bool:
        """Let a paused analyzer go on, and no time-out count the pause; report whether it was paused."""
        if self.paused_s is None:
            return False
        self._deadline_s += now_s - self.paused_s
        self._stall_timer = StallTimer()
        self.paused_s = None
        self.analyzer.resume()
        return True

    def _awake_s(self, now_s: float) -> float:
        """Return the time without the pause that lasts."""
        return now_s if self.paused_s is None else self.paused_s

    def kill(self, why: str) -> None:
        """End the analyzer and all its processes now.

        Args:
            why: a clause such as "it had closed the pipe".
        """
        self._stop_reason, self._deadline_s = self._stop_reason or why, math.inf
        if not self.analyzer.kill() and self.analyzer.exit_status() is None:
            self.not_killed = (
                f"It is to end: {self._stop_reason}. But it runs as another user: end it as root."
            )
            _events.warning("analyzer_not_killed", self.not_killed, stream=self.stream, pid=self.analyzer.pid)

    def close(self) -> None:
        """Close all descriptors."""
        self._close_write_end()
        if self._orderly_end is not None:
            self._orderly_end.close()

    def _close_write_end(self) -> None:
        self.stored.close()
        if self.write_end is not None:
            os.close(self.write_end)
            self.write_end = None

    def _close_pipe(self, now_s: float) -> None:
        self.stage, self.since_s = Stage.FLUSHING, now_s
        self._close_write_end()

    @property
    def _is_sending_rest(self) -> bool:
        return self._orderly_end is not None and self.write_end is not None and not self._has_closed_pipe

    @property
    def _waits_for_group(self) -> bool:
        """Whether what a script left running may complete the output; behind `tee >(PROGRAM)` it does."""
        return self.stage is Stage.FLUSHING and not self._stop_reason

    def _send_rest(self, now_s: float) -> None:
        """Send what fits of the batch that a stopped dispatcher left; behind it, close the pipe."""
        if self._orderly_end is None or self.write_end is None or not self._is_sending_rest:
            return
        with suppress(BrokenPipeError):  # seen by the next `_check_pipe`
            if self._orderly_end.send_rest(self.write_end):
                self._close_pipe(now_s)
                failpoints.reach("launcher.close")

    def _open_write_end(self, now_s: float) -> bool:
        try:
            self.write_end = self._fifo.open_write_end()
        except CannotCreate as exc:  # the pipe was removed or replaced before the analyzer opened it
            self.kill(str(exc).rstrip("."))
        if self.write_end is None:
            return False
        failpoints.reach("launcher.open")
        self.stage, self.since_s = Stage.READING, now_s
        return True

    def _check_pipe(self, now_s: float) -> None:
        if self._has_closed_pipe or self.write_end is None or not is_reader_gone(self.write_end):
            return
        self._has_closed_pipe = True
        self._deadline_s = now_s + _EXIT_GRACE_S

    def _check_stall(self, now_s: float) -> None:
        if self.write_end is None or not self._timeouts.stall_s or self._stop_reason:
            return
        stalled_s = self._stall_timer.stalled_s(unread_bytes(self.write_end), self.stored.positions(), now_s)
        if stalled_s >= self._timeouts.stall_s:
            self.kill(f"it had read nothing for {stalled_s:.0f} s")

    def _pass_deadline(self, now_s: float) -> None:
        if self._has_closed_pipe:
            self.kill("it had closed the pipe and did not exit")
        elif self._stop_reason:  # TERM was sent
            self.kill(self._stop_reason)
        else:
            shared = "the launcher closed the pipe, and the dispatcher had not"
            end = shared if self._is_shared else "the end of its input"
            self._stop_reason = f"it had not exited {self._timeouts.flush_s:g} s after {end}"
            self._deadline_s = now_s + _TERM_GRACE_S
            self.analyzer.signal_group(signal.SIGTERM)

    def _exit(self, status: str, now_s: float) -> Exit:
        status += f" ({self._stop_reason})" if self._stop_reason else ""
        name = self.analyzer.program
        match self.stage:
            case Stage.FLUSHING if self._orderly_end and not self._stop_reason:
                return self._exit_in_order(status, self._orderly_end)
            case Stage.FLUSHING:
                reason = self._bad_end(status) if self.stored.had_records else ""
                return Exit(Verdict.ENDED, status, 0.0, reason, may_lack_output=bool(reason))
            case Stage.READING:
                reason = f"{name} {status} in the middle of the stream. {self._cause()}"
                return Exit(Verdict.CRASHED, status, now_s - self.since_s, reason)
            case Stage.STARTING:
                reason = f"{name} {status} before it opened the pipe. {self._cause()}"
                return Exit(Verdict.UNSTARTED, status, 0.0, reason)

    def _bad_end(self, status: str) -> str:
        """Return why the output may lack what the analyzer writes behind its input; empty: it ended well."""
        if self._stop_reason:
            shared = " It may not have seen the end of its input." if self._is_shared else ""
            return f"{self.analyzer.program} was stopped: {self._stop_reason}.{shared}"
        name = self.analyzer.program
        return "" if status == "exited 0" else f"{name} {status} after the end of its input. {self._cause()}"

    def _with_leftover_processes(self, ended: Exit) -> Exit:
        """Return the exit with what the analyzer left: whatever that still wrote is not complete."""
        if not (left := self.analyzer.left):
            return ended
        count, more = counted(len(left), "process", "processes"), ", .." * (len(left) > _MOST_SHOWN)
        shown = ", ".join(map(str, left[:_MOST_SHOWN])) + more
        sentence = f"{self.analyzer.program} left {count} running, killed at the end of its stream: {shown}."
        return replace(ended, status=f"{ended.status} (left {count} running)", left=sentence)

    def _exit_in_order(self, status: str, end: OrderlyEnd) -> Exit:
        """Return the end of a stream that ended in the middle of a file."""
        failpoints.reach("launcher.exit")
        if left_bytes := end.unread_bytes():
            left = f"{status} and left {counted(left_bytes, 'byte')} of the stream unread"
            reason = f"{self.analyzer.program} {left}. {self._cause()}"
            return Exit(Verdict.CRASHED, status, 0.0, reason)
        if reason := self._bad_end(status):
            return Exit(Verdict.ENDED, status, 0.0, reason, may_lack_output=True)
        return Exit(Verdict.ENDED, status, 0.0, ended=end.ended_stream())

    def _cause(self) -> str:
        log = quoted(str(self.analyzer.log))
        cause = printable_sentence(cause_in(self.analyzer.output(), self.analyzer.program))
        return f"From its log {log}: {cause}" if cause else f"Its log {log} is empty."
