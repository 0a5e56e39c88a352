"""One line on stderr per event: time, level, role, event, fields, and a sentence where a person needs one.

    2026-01-31T10:00:00Z INFO    dispatcher file_finished name='/in/1.pcap' packets=2968

Lines are written by a thread from a bounded queue: a supervisord that stopped reading must never stall the
stream (a write to a full stderr pipe blocks). Lines that do not fit are dropped, and their number is logged.
Fields are escaped, so no file name can forge a line. Changes are logged, not each poll; nothing is logged
from a signal handler.
"""

import atexit
import os
import queue
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from pcapdj.runtime.safe_text import printable, printable_sentence

_MOST_WAITING_CHARS = 2 << 20  # 8 MiB at most: Python keeps a character in one to four bytes
_FLUSH_S = 0.5  # at exit: long enough for a live reader, short enough for SIGTERM within a second
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:%+@,-")


class _WaitingLines(queue.Queue[str]):
    """Lines that wait to be written; its size is the number of their characters."""

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)
        self._chars = 0

    def _qsize(self) -> int:
        return self._chars

    def _put(self, item: str) -> None:
        super()._put(item)
        self._chars += len(item)

    def _get(self) -> str:
        line = super()._get()
        self._chars -= len(line)
        return line


class _Writer:
    """Writes queued lines to stderr in a thread of its own."""

    def __init__(self) -> None:
        self._lines = _WaitingLines(_MOST_WAITING_CHARS)
        self._dropped = 0
        self._thread: threading.Thread | None = None

    def put(self, line: str) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_lines, name="log", daemon=True)
            self._thread.start()
            atexit.register(self._flush_at_exit)
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def flush(self) -> None:
        """Wait until everything queued is written, for at most half a second."""
        deadline = time.monotonic() + _FLUSH_S
        while self._lines.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.005)

    def _flush_at_exit(self) -> None:
        self.flush()
        try:
            if sys.stderr and not sys.stderr.closed:
                sys.stderr.flush()
        except OSError:  # Python exits with 120 if it cannot write what is left in the buffer
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())

    def _write_lines(self) -> None:
        while True:
            line = self._lines.get()
            try:
                if sys.stderr:  # None in a process that was started without one
                    sys.stderr.write(line + self._loss())
                    sys.stderr.flush()
            except (OSError, ValueError):  # stderr is closed, and there is no other place for a line
                pass
            finally:
                self._lines.task_done()

    def _loss(self) -> str:
        dropped, self._dropped = self._dropped, 0
        return f"({dropped} log lines were dropped: stderr was not read)\n" if dropped else ""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """The parts of a log line.

    Args:
        time_s: seconds since the epoch.
        level: INFO, WARNING or ERROR.
        role: which logs it.
        event: its name.
        sentence: for people; may be empty.
        fields: as given; None: left out.
    """

    time_s: float
    level: str
    role: str
    event: str
    sentence: str
    fields: Mapping[str, object]


class Recorder(Protocol):
    """Gets each entry besides the log; must not wait."""

    def put(self, entry: LogEntry, /) -> None:
        """Take an entry."""


_writer = _Writer()
_recorder: Recorder | None = None


def record_with(recorder: Recorder | None) -> None:
    """Give this recorder what this process logs from now on; None: give it to none."""
    global _recorder  # noqa: PLW0603
    _recorder = recorder


def _forget_threads() -> None:
    """Start with an empty queue after a fork: the threads, which may hold locks, are in the parent."""
    global _writer, _recorder
    _writer, _recorder = _Writer(), None


os.register_at_fork(after_in_child=_forget_threads)


class EventLog:
    """The log of one role.

    Args:
        role: the word after the level in each line.
    """

    def __init__(self, role: str) -> None:
        self._role = role

    def info(self, event: str, sentence: str = "", **fields: object) -> None:
        """Log that a file or a state changed."""
        self._put("INFO", event, sentence, fields)

    def warning(self, event: str, sentence: str = "", **fields: object) -> None:
        """Log a fault that the role handles by itself."""
        self._put("WARNING", event, sentence, fields)

    def error(self, event: str, sentence: str = "", **fields: object) -> None:
        """Log that the role is stopping, or that an operator has to act."""
        self._put("ERROR", event, sentence, fields)

    def _put(self, level: str, event: str, sentence: str, fields: dict[str, object]) -> None:
        now_s = time.time()
        _writer.put(format_line(now_s, f"{level:<7} {self._role} {event}", sentence, fields))
        if _recorder:
            _recorder.put(LogEntry(now_s, level, self._role, event, sentence, fields))


def format_line(now_s: float, head: str, sentence: str, fields: dict[str, object]) -> str:
    """Return one log line, ended by a newline, whatever the fields hold."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_s))
    pairs = "".join(f" {key}={_value(value)}" for key, value in fields.items() if value is not None)
    return f"{stamp} {head}{pairs}{': ' + printable_sentence(sentence) if sentence else ''}\n"


def flush() -> None:
    """Write the queued lines before something else goes to stderr, or before the process is replaced."""
    _writer.flush()


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if not isinstance(value, bytes | str):
        value = str(value)
    text = printable(value)
    return text if text and set(text) <= _PLAIN else f"'{text}'"


class Reminder:
    """Decides when to log a wait: at once, then once a minute while it lasts.

    Args:
        every_s: seconds between two lines about the same subject.
    """

    def __init__(self, every_s: float = 60.0) -> None:
        self._every_s = every_s
        self._about: object = None
        self._next_s = 0.0

    def is_due(self, about: object, now_s: float) -> bool:
        """Report whether to log now; a new subject is always due."""
        if about == self._about and now_s < self._next_s:
            return False
        self._about, self._next_s = about, now_s + self._every_s
        return True

    def reset(self) -> None:
        """Forget the subject: the wait is over."""
        self._about = None
