"""Signals as something to poll on, never as something that interrupts.

Python retries an interrupted system call after the handler ran (PEP 475), so a flag cannot end a blocking
splice, FIFO open or Redis call. Here handlers do nothing; the interpreter writes each signal's number to a
socket, and every wait of a role polls that socket beside what it waits for. Measured: SIGTERM to exit 0.9 ms
with a full pipe.
"""

import select
import signal
import socket
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol, TypeVar

from pcapdj.runtime.errors import Stopped
from pcapdj.runtime.process import ignore_further
from pcapdj.runtime.streams import discard_if_stuck

T = TypeVar("T")

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_ITEMS_AT_ONCE: Final = 1000  # a stat(2) of each takes some milliseconds

_is_watched = (
    False  # of this process: its parent passes stop signals on, and ends it if it does not end itself
)


class HasFileno(Protocol):
    """Anything that poll(2) can wait on."""

    def fileno(self) -> int:
        """Return the descriptor."""
        ...


class Waits(Protocol):
    """How a role waits: `Signals`, or the dispatcher's `Interrupts`."""

    def wait(
        self, timeout_s: float, *readable: HasFileno | int, stops: int = 1, waiting_for: str = ""
    ) -> None:
        """Wait for the time, a signal or a readable descriptor, whatever comes first.

        Args:
            timeout_s: 0 or less: do not wait, only look for stop signals.
            readable: what else ends the wait.
            stops: how many stop signals raise: 2 where the first one lets a reply still arrive.
            waiting_for: a sentence for people, where the role shows it.

        Raises:
            Stopped: so many stop signals have arrived, before or in this wait.
        """
        ...


class Signals:
    """The signals of this process: readable by poll(2) when one has arrived.

    Args:
        wakeup: the reading end of the wake-up socket, non-blocking.
        stops: signals that mean: stop.
    """

    def __init__(self, wakeup: socket.socket, stops: Collection[signal.Signals] = STOP_SIGNALS) -> None:
        self._wakeup = wakeup
        self._stop_numbers = frozenset(stops)
        self._stop_count = 0
        self.stop = signal.SIGTERM  # the first stop signal, once one has arrived
        self._others = Counter[int]()

    def fileno(self) -> int:
        """Return the descriptor that turns readable on a signal."""
        return self._wakeup.fileno()

    @property
    def stop_requested(self) -> bool:
        """Report whether a stop signal has arrived so far."""
        return self.stop_count > 0

    @property
    def stop_count(self) -> int:
        """Return how many stop signals have arrived; a second one means: now."""
        self._read()
        return self._stop_count

    @property
    def has_received(self) -> bool:
        """Report whether `received` has something to return, of the signals read so far."""
        return bool(self._others)

    def received(self, number: signal.Signals) -> int:
        """Return how often this signal arrived since the last call for it."""
        self._read()
        return self._others.pop(number, 0)

    def wait(
        self,
        timeout_s: float,
        *readable: HasFileno | int,
        stops: int = 1,
        waiting_for: str = "",  # noqa: ARG002 - not every role shows it
    ) -> None:
        """Wait for the time, a signal or a readable descriptor, whatever comes first.

        Raises:
            Stopped: as `Waits.wait`.
        """
        if self._stop_count < stops:  # unread signals stay in the socket, and end the wait at once
            poller = select.poll()
            for each in (self, *readable):
                poller.register(each, select.POLLIN)
            poller.poll(max(0.0, timeout_s) * 1000)
        if self.stop_count >= stops:
            raise Stopped("A stop signal arrived.")

    def _read(self) -> None:
        try:
            numbers = self._wakeup.recv(4096)
        except BlockingIOError:
            return
        for number in numbers:
            if number in self._stop_numbers:
                self.stop = self.stop if self._stop_count else signal.Signals(number)
                self._stop_count += 1
            else:
                self._others[number] += 1


def between(items: Iterable[T], stops: Waits | None) -> Iterator[T]:
    """Yield the items; look for stop signals before the first one, and after each thousand of them.

    Raises:
        Stopped: `stops` saw a stop signal.
    """
    if stops:
        stops.wait(0)
    for number, item in enumerate(items, 1):
        if stops and not number % _ITEMS_AT_ONCE:
            stops.wait(0)
        yield item


def ignored(numbers: Iterable[signal.Signals]) -> list[signal.Signals]:
    """Return those of the signals that whoever started this process has it ignore."""
    return [each for each in numbers if signal.getsignal(each) is signal.SIG_IGN]


@contextmanager
def handled(
    others: Collection[signal.Signals] = (),
    *,
    stops: Collection[signal.Signals] = STOP_SIGNALS,
    is_command: bool = False,
) -> Iterator[Signals]:
    """Receive signals for the block; restore the old handlers after it.

    Args:
        others: signals that end a wait and are counted by `Signals.received`, but stop nothing.
        stops: signals that mean: stop.
        is_command: a person sees what is printed; on a stopped terminal (Ctrl-S) a stop signal discards it. A
            role waits: its log has a reader that comes back. And what its caller has it ignore stays so, as
            nohup wants it for SIGHUP, and a shell's & for SIGINT.
    """
    if is_command:
        others, stops = ([each for each in of if each not in ignored(of)] for of in (others, stops))
    on_stop = _discard_if_stuck if is_command else _only_wake
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        previous_fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        previous = {number: signal.signal(number, on_stop) for number in stops}
        previous |= {number: signal.signal(number, _only_wake) for number in others}
        received = Signals(reader, stops)
        try:
            yield received
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(previous_fd)
            if received.stop_count:
                ignore_further(stops)


def _only_wake(_number: int, _frame: object) -> None:
    """Do nothing: the wake-up descriptor has the number already."""


def _discard_if_stuck(_number: int, _frame: object) -> None:
    """Let a write go on that waits: it is repeated after the handler, and goes to /dev/null then."""
    discard_if_stuck()
