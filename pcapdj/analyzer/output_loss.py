"""Which streams may have lost output: mostly the disk was full, or the log reports it. They become suspect.

Suricata that cannot write goes on and exits 0. Two things show it: the controller saw the disk of the
stream's folder at its end while the stream lasted, or a line of `analyzer.log` has what the C library prints
for ENOSPC or EDQUOT. The log alone is not enough: it is mostly on the disk that is full.
"""

import os
import re
import stat
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from pcapdj.analyzer.session import AnalyzerSession, Exit, Verdict
from pcapdj.analyzer.status import LauncherStatus
from pcapdj.runtime.full_disks import SUSPECT_MARK, DiskAtEnd, state_at_end
from pcapdj.runtime.log import EventLog
from pcapdj.runtime.safe_text import printable_sentence, quoted
from pcapdj.runtime.whole_file import open_inside

_NO_SPACE: Final = re.compile(
    rb"^[^\n]*(?:no space left on device|disk quota exceeded)[^\n]*", re.IGNORECASE | re.MULTILINE
)  # without "^" a line costs the square of its length
_PART_BYTES: Final = 8 << 20  # read from the beginning and from the end of a log
_SHOWN_CHARS: Final = 300
_LATE_S: Final = 5.0  # after a stream's end: when the last measurement of its time has arrived

_events: Final = EventLog("consumer")


def line_about_full_disk(log: Path) -> str:
    """Return the first line of a log that reports a full disk or an exceeded quota; empty: none does.

    It may be anything: what is no regular file is not read, and of a long one the first and the last 8 MiB.
    """
    with suppress(OSError):
        descriptor = os.open(log, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                return ""
            for offset in (0, max(_PART_BYTES, found.st_size - _PART_BYTES)):
                if line := _NO_SPACE.search(os.pread(descriptor, _PART_BYTES, offset)):
                    return line[0].decode("utf-8", "replace").strip()[:_SHOWN_CHARS]
        finally:
            os.close(descriptor)
    return ""


class SuspectStreams:
    """Finds the streams that may have lost output, logs each once, and hands it to the status.

    Args:
        status: writes it to Redis.
    """

    def __init__(self, status: LauncherStatus) -> None:
        self._status = status
        self._suspect = ""  # the last one
        self._ended: tuple[AnalyzerSession, float] | None = None  # with the time of its end

    def look(self, session: AnalyzerSession | None, disks: Sequence[DiskAtEnd]) -> None:
        """Compare the disks with the open stream, and for a while with the last one."""
        if session is not None:
            self._compare(session, disks, time.time())
        elif self._ended is not None:
            ended, until_s = self._ended
            self._compare(ended, disks, until_s)
            if time.time() > until_s + _LATE_S:
                self._ended = None

    def end(self, session: AnalyzerSession, ended: Exit) -> None:
        """Look at a stream that has ended.

        Args:
            session: its; closed.
            ended: how.
        """
        self._ended = (session, time.time())
        if line := line_about_full_disk(session.analyzer.log):
            self._record(session, f"Its log {quoted(str(session.analyzer.log))} has: {line}")
        elif state := _state_of_disk(session.folder):
            self._record(session, f"The disk of its folder {state} at its end.")
        elif ended.may_lack_output:
            self._record(session, ended.reason)
        elif ended.verdict is Verdict.CRASHED and session.stream != self._suspect:
            self._status.record_suspect(session.stream, ended.reason)  # the crash itself is logged

    def _compare(self, session: AnalyzerSession, disks: Sequence[DiskAtEnd], until_s: float) -> None:
        for disk in disks:
            if disk.device == session.device and session.began_s <= disk.time_s <= until_s:
                self._record(
                    session, f"The disk at {quoted(disk.path)} {disk.state} while it was written to."
                )

    def _record(self, session: AnalyzerSession, reason: str) -> None:
        if session.stream == self._suspect:
            return
        self._suspect, reason = session.stream, printable_sentence(reason)
        mark_suspect(session.folder, reason)
        self._status.record_suspect(session.stream, reason)
        sentence = f"Output may be missing. {reason}"
        _events.warning("stream_suspect", sentence, stream=session.stream, logdir=session.folder)


def _state_of_disk(folder: Path) -> str:
    """Return how the folder's disk is at its end; empty: it is not, or cannot be measured."""
    with suppress(OSError):
        found = os.statvfs(folder)
        return state_at_end(
            found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize, found.f_favail, found.f_files
        )
    return ""


def mark_suspect(folder: Path, reason: str) -> None:
    """Leave a file with the reason in the stream's folder: for people, and for a run that is resumed.

    A name mostly fits onto a full disk, the reason may not. A link of the analyzer is not followed.
    """
    with suppress(OSError):
        descriptor = open_inside(folder / SUSPECT_MARK, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
        try:
            os.write(descriptor, f"{reason}\n".encode())
        finally:
            os.close(descriptor)
