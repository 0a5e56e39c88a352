"""Bytes into the named pipe: whole, interruptible, never through Python.

`splice(2)` is called *without* an offset, so that the kernel keeps the position in the open file description:
after `kill -9` the launcher's duplicate of the descriptor says exactly how many bytes entered the pipe
(measured: 200 of 200). Every wait polls the pipe and the process's signals; a blocking splice would not
return on a stop signal (PEP 475).
"""

import errno
import fcntl
import os
import select
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from pcapdj.runtime import failpoints
from pcapdj.runtime.errors import ReaderGone
from pcapdj.runtime.fifo import is_reader_gone, unread_bytes
from pcapdj.runtime.signals import HasFileno

WANTED_PIPE_BYTES: Final = 1 << 20  # the most an unprivileged process may ask for (pipe(7)); default 64 KiB
_SOONEST_LOOK_S: Final = 0.0005  # a drained pipe makes no event: look when half of the time it takes is over
_LATEST_LOOK_S: Final = 0.01
_ANSWER_LIMIT_S: Final = 0.25  # suspension is seen within this, even if the analyzer reads nothing
_LONGEST_PAUSE_MS: Final = 16


class SourceEnded(Exception):
    """The source gave no more bytes: the capture file was truncated under us."""


class Pipe:
    """The write end of the pipe.

    Args:
        fd: a non-blocking descriptor of the write end; closed by `close`.
        wakeups: readable when the process has something to attend to: a signal, a suspension.
        attend: called before each splice and after each wait; it may wait itself (suspension) or raise
            `Stopped`.
    """

    def __init__(self, fd: int, wakeups: Sequence[HasFileno], attend: Callable[[], None]) -> None:
        self.fd: Final = fd
        self._attend = attend
        self._poller, self._pauser = select.poll(), select.poll()
        self._poller.register(fd, select.POLLOUT)
        for wakeup in wakeups:
            self._poller.register(wakeup, select.POLLIN)
            self._pauser.register(wakeup, select.POLLIN)
        self.moved_bytes = 0
        self._taken_at_s = time.monotonic()  # when the analyzer took something, as far as it shows here
        self._is_waiting = False
        self._size_bytes = _widened(fd)
        self._pause_ms = 0

    def splice(self, source: int, length: int) -> None:
        """Move exactly `length` bytes from the source's position into the pipe.

        Raises:
            SourceEnded: the source has fewer bytes; what it had was moved.
            ReaderGone: nobody reads the pipe any more.
            Stopped: raised by `attend`; the source's position says how far it came.
        """
        left = length
        while left:
            self._attend_aside()
            moved = self._splice_once(source, left)
            if moved == 0:
                raise SourceEnded
            left -= moved

    def drain(self) -> None:
        """Wait until the analyzer has read everything.

        Raises:
            ReaderGone: it died before that.
            Stopped: raised by `attend`.
        """
        look_s, last = _SOONEST_LOOK_S, self.moved_bytes
        while unread := self.unread_bytes():
            self._attend_aside()
            look_s = next_look_s(look_s, last - unread, unread)
            last = self._took_bytes(unread, last)
            if self.is_broken():
                raise ReaderGone(f"The analyzer left {self.unread_bytes()} bytes unread.")
            time.sleep(look_s)
        self._is_waiting = False

    def stalled_s(self) -> float:
        """Return for how long the analyzer has taken nothing of what there is; any thread may ask."""
        return time.monotonic() - self._taken_at_s if self._is_waiting else 0.0

    def unread_bytes(self) -> int:
        """Return how much is in the pipe."""
        return unread_bytes(self.fd)

    def is_broken(self) -> bool:
        """Report whether the last reader is gone."""
        return is_reader_gone(self.fd)

    def close(self) -> None:
        """Close this write end."""
        os.close(self.fd)

    def _splice_once(self, source: int, left: int) -> int:
        while True:
            try:
                moved = os.splice(source, self.fd, left, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE)
            except BlockingIOError:
                self._is_waiting = True
                self._wait_for_room()
                continue
            except BrokenPipeError as exc:
                raise ReaderGone("The analyzer closed the pipe.") from exc
            except OSError as exc:
                if exc.errno == errno.EIO:  # the disk gives these bytes no more than a truncated file would
                    raise SourceEnded from exc
                raise
            failpoints.reach("splice.within")
            self.moved_bytes += moved
            self._taken_at_s, self._is_waiting = time.monotonic(), False
            return moved

    def _wait_for_room(self) -> None:
        """Wait until the analyzer takes something, and then while it reads about a quarter of the pipe.

        To fill each page as it gets free costs more than all the rest: each time the analyzer wakes us.
        """
        self._poller.poll(_ANSWER_LIMIT_S * 1000)
        if self._pause_ms:
            self._pauser.poll(self._pause_ms)
        self._attend_aside()
        self._pause_ms = next_pause_ms(self._pause_ms, self.unread_bytes(), self._size_bytes)

    def _took_bytes(self, unread: int, last: int) -> int:
        """Take note of what a look at the pipe shows; return what is unread, for the next look."""
        if not self._is_waiting or unread != last:
            self._taken_at_s, self._is_waiting = time.monotonic(), True
        return unread

    def _attend_aside(self) -> None:
        """Attend to what there is; a suspension is not the analyzer's time."""
        before_s = time.monotonic()
        self._attend()
        self._taken_at_s += time.monotonic() - before_s


def next_pause_ms(pause_ms: int, unread_bytes: int, size_bytes: int) -> int:
    """Return how long to let room gather in a full pipe, given what the last pause left unread in it.

    From 0 (none) to 16 ms; five to seven eighths of the pipe unread: as long as before. A busy machine wakes
    us late, and an analyzer must not find the pipe empty then.
    """
    if unread_bytes * 8 > size_bytes * 7:
        return min(pause_ms * 2 or 1, _LONGEST_PAUSE_MS)
    return pause_ms // 2 if unread_bytes * 8 < size_bytes * 5 else pause_ms


def next_look_s(look_s: float, taken_bytes: int, unread_bytes: int) -> float:
    """Return when to look again at a pipe that drains: half of the rest's time, 0.5 to 10 ms.

    Args:
        look_s: how long the last look waited.
        taken_bytes: what the analyzer took meanwhile.
        unread_bytes: what is left.
    """
    half_s = look_s * unread_bytes / (2 * taken_bytes) if taken_bytes > 0 else look_s * 1.5
    return min(max(half_s, _SOONEST_LOOK_S), _LATEST_LOOK_S)


def _widened(fd: int) -> int:
    """Ask for a larger pipe: fewer waits. The system's limit or quota may refuse; the default works too."""
    with suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, WANTED_PIPE_BYTES)
    return fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)
