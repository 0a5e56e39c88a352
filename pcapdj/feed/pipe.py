"""Moves bytes from a batch, or the header's memory file, into the named pipe: all of them, interruptible.

`splice(2)` is called *without* an offset, so that the kernel keeps what is left after a `kill -9` of this
process: a batch, itself a pipe, has it, and the position of the memory file shows it. Every wait polls the
pipe and the process's signals; a blocking splice would not return on a stop signal (PEP 475).
"""

import fcntl
import os
import select
import time
from contextlib import suppress
from typing import Final, Protocol

from pcapdj.runtime import failpoints
from pcapdj.runtime.errors import LauncherGone, ReaderGone
from pcapdj.runtime.fifo import is_reader_gone, unread_bytes
from pcapdj.runtime.numbers import counted
from pcapdj.runtime.signals import HasFileno

WANTED_PIPE_BYTES: Final = 1 << 20  # the most an unprivileged process may ask for (pipe(7)); default 64 KiB
_SHORTEST_POLL_S: Final = 0.0005  # a drained pipe makes no event: look when half of the time it takes is over
_LONGEST_POLL_S: Final = 0.01
_WAIT_LIMIT_S: Final = 0.25  # a suspension is seen within this, even if the analyzer reads nothing
_LONGEST_PAUSE_MS: Final = 16
_CHECK_S: Final = 0.25  # a launcher that was asked to stop must not wait for the end of a large file
_TOO_SHORT: Final = "a batch has fewer bytes than were written into it"
_ASK_S: Final = 1.0  # when no byte was taken for this long, ask the launcher whether its analyzer lives


class PipeInterrupts(Protocol):
    """What a pipe needs of the dispatcher's `Interrupts`."""

    @property
    def descriptors(self) -> tuple[HasFileno, ...]:
        """What turns readable when `check` has something to do."""

    def check(self) -> bool:
        """Let signals act and wait for a moment during a suspension; report whether it goes on."""


class AnalyzerPeer(Protocol):
    """The analyzer at the other end, as the link sees it."""

    def is_alive(self) -> bool:
        """Report whether the launcher is there; never blocks."""

    def has(self, stream: str) -> bool:
        """Report whether the stream's analyzer is there; asks the launcher."""


class Pipe:
    """The write end of one stream's pipe.

    Args:
        fd: a non-blocking descriptor of the write end; closed by `close`, after which each other method that
            needs it raises `LauncherGone`.
        interrupts: checked before each splice and after each wait.
        peer: asked whether the analyzer is there, every 0.25 s, also during a suspension.
        stream: the stream's id, for the peer.
    """

    def __init__(self, fd: int, interrupts: PipeInterrupts, peer: AnalyzerPeer, stream: str) -> None:
        self.fd = fd
        self._interrupts = interrupts
        self._peer = peer
        self._stream = stream
        self._poller, self._pauser = select.poll(), select.poll()
        self._poller.register(fd, select.POLLOUT)
        for descriptor in interrupts.descriptors:
            self._poller.register(descriptor, select.POLLIN)
            self._pauser.register(descriptor, select.POLLIN)
        self.moved_bytes = 0
        self._taken_at_s = time.monotonic()  # when the analyzer took bytes, as far as it shows here
        self._is_waiting = False
        self.size_bytes: Final = _widened(fd)
        self._pause_ms = 0
        self._check_at_s = 0.0
        self._ask_at_s = 0.0

    def splice(self, source: int, length: int) -> None:
        """Move exactly `length` bytes from the source's position into the pipe.

        Raises:
            ReaderGone, LauncherGone: the analyzer is gone.
            Stopped: a stop signal arrived; the source's position shows how far it came.
        """
        self.check_open()
        left = length
        while left:
            self._check()
            left -= self._splice_once(source, left)

    def drain(self) -> None:
        """Wait until the analyzer has read everything.

        Raises:
            ReaderGone, LauncherGone: it died before that.
            Stopped: a stop signal arrived.
        """
        poll_s, last = _SHORTEST_POLL_S, self.moved_bytes
        while unread := self.unread_bytes():
            if self.is_broken():
                raise ReaderGone(f"The analyzer left {counted(self.unread_bytes(), 'byte')} unread.")
            self._check()
            poll_s = next_poll_s(poll_s, last - unread, unread)
            if not self._is_waiting or unread != last:
                self._taken_at_s, self._is_waiting = time.monotonic(), True
            last = unread
            time.sleep(poll_s)
        self._is_waiting = False

    def stalled_s(self) -> float:
        """Return for how long the analyzer has left bytes unread, in seconds; any thread may call it."""
        return time.monotonic() - self._taken_at_s if self._is_waiting else 0.0

    def unread_bytes(self) -> int:
        """Return how much is in the pipe."""
        self.check_open()
        return unread_bytes(self.fd)

    def check_alive(self) -> None:
        """Check whether launcher and analyzer are there.

        Raises:
            LauncherGone, ReaderGone: one of them is not.
        """
        self.check_open()
        if not self._peer.is_alive():
            raise LauncherGone("The launcher is gone.")
        if self.is_broken():
            raise ReaderGone("The analyzer closed the pipe.")

    def check_open(self) -> None:
        """Check whether this write end is open.

        Raises:
            LauncherGone: it was closed in a wait, since the launcher ended.
        """
        if self.fd < 0:
            raise LauncherGone("The launcher is gone.")

    def is_broken(self) -> bool:
        """Report whether the last reader is gone."""
        return is_reader_gone(self.fd)

    def close(self) -> None:
        """Close this write end; a second call does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _splice_once(self, source: int, left: int) -> int:
        while True:
            try:
                moved = os.splice(source, self.fd, left, flags=os.SPLICE_F_NONBLOCK)
            except BlockingIOError:
                if not unread_bytes(source):  # not the analyzer's pipe is full, but a batch is empty
                    raise EOFError(_TOO_SHORT) from None
                self._is_waiting = True
                self._wait_for_room()
                continue
            except BrokenPipeError as exc:
                raise ReaderGone("The analyzer closed the pipe.") from exc
            if not moved:
                raise EOFError(_TOO_SHORT)
            failpoints.reach("splice.within")
            self.moved_bytes += moved
            self._taken_at_s, self._is_waiting = time.monotonic(), False
            return moved

    def _wait_for_room(self) -> None:
        """Wait until the analyzer takes something, and then while it reads about a quarter of the pipe.

        To fill each page as it gets free costs more than all the rest: each time the analyzer wakes us.
        """
        self._poller.poll(_WAIT_LIMIT_S * 1000)
        if self._pause_ms:
            self._pauser.poll(self._pause_ms)
        self._check()
        self._pause_ms = next_pause_ms(self._pause_ms, self.unread_bytes(), self.size_bytes)

    def _check(self) -> None:
        """Let signals act, stay here while feeding is suspended, look whether the analyzer lives."""
        before_s, is_suspended = time.monotonic(), True
        while is_suspended:
            is_suspended = self._interrupts.check()
            now_s = time.monotonic()
            self._taken_at_s += now_s - before_s  # a suspension is not the analyzer's time
            before_s = now_s
            if now_s >= self._check_at_s:
                self._check_at_s = now_s + _CHECK_S
                self.check_alive()
        self._ask_if_stalled(before_s)

    def _ask_if_stalled(self, now_s: float) -> None:
        """Notice an analyzer's death where another process has the pipe open for reading: no EPIPE then."""
        if self.stalled_s() < _ASK_S or now_s < self._ask_at_s:
            return
        self._ask_at_s = now_s + _ASK_S
        if not self._peer.has(self._stream):
            raise ReaderGone("The analyzer is gone, and another process has the pipe open.")


def next_pause_ms(pause_ms: int, unread_bytes: int, size_bytes: int) -> int:
    """Return how long to let room gather in a full pipe, given what the last pause left unread in it.

    From 0 (none) to 16 ms; five to seven eighths of the pipe unread: as long as before. A busy machine wakes
    us late, and an analyzer must not find the pipe empty then.
    """
    if unread_bytes * 8 > size_bytes * 7:
        return min(pause_ms * 2 or 1, _LONGEST_PAUSE_MS)
    return pause_ms // 2 if unread_bytes * 8 < size_bytes * 5 else pause_ms


def next_poll_s(poll_s: float, taken_bytes: int, unread_bytes: int) -> float:
    """Return when to look again at a pipe that drains: half of the rest's time, 0.5 to 10 ms.

    Args:
        poll_s: how long the last wait was.
        taken_bytes: what the analyzer took meanwhile.
        unread_bytes: what is left.
    """
    half_s = poll_s * unread_bytes / (2 * taken_bytes) if taken_bytes > 0 else poll_s * 1.5
    return min(max(half_s, _SHORTEST_POLL_S), _LONGEST_POLL_S)


def _widened(fd: int) -> int:
    """Ask for a larger pipe: fewer waits. The system's limit or quota may refuse; the default works too."""
    with suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, WANTED_PIPE_BYTES)
    return fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)
