"""Signals as something to poll on."""

import os
import signal
import threading
import time

import pytest

from pcapdj.runtime.signals import Signals, handled


def send(number: signal.Signals) -> None:
    """Send this process a signal."""
    os.kill(os.getpid(), number)


def arrived(signals: Signals, stops: int) -> bool:
    """Wait until so many stop signals have been seen."""
    deadline_s = time.monotonic() + 5
    while signals.stop_count < stops and time.monotonic() < deadline_s:
        signals.wait(0.05)
    return signals.stop_count == stops


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_ends_a_wait(number: signal.Signals) -> None:
    """The wait returns at once; a test that hangs would show the opposite."""
    with handled() as signals:
        threading.Timer(0.05, send, [number]).start()

        assert signals.wait(30)
        assert signals.stop_requested


def test_without_a_signal_a_wait_ends_by_itself() -> None:
    """Nothing has to happen for a role to look again."""
    with handled() as signals:
        assert not signals.wait(0.001)
        assert not signals.wait(-1)


def test_a_readable_descriptor_ends_a_wait_without_a_stop() -> None:
    """A bell, a suspension, a client."""
    reader, writer = os.pipe()
    with handled() as signals, os.fdopen(reader, "rb"), os.fdopen(writer, "wb", buffering=0) as ring:
        ring.write(b"!")

        assert not signals.wait(30, reader)


def test_a_second_stop_signal_is_counted_and_ends_the_next_wait() -> None:
    """The first means: in order; the second: now."""
    with handled() as signals:
        send(signal.SIGTERM)
        assert arrived(signals, 1)

        threading.Timer(0.05, send, [signal.SIGTERM]).start()
        signals.wait(30)

        assert arrived(signals, 2)


def test_actions_run_in_the_wait_not_in_the_handler() -> None:
    """So that they may take locks and write; each arrival counts, and none of them stops a role."""
    seen: list[str] = []
    with handled({signal.SIGUSR1: lambda: seen.append(threading.current_thread().name)}) as signals:
        send(signal.SIGUSR1)
        assert seen == []

        assert not signals.wait(30)

    assert seen == [threading.main_thread().name]


def test_a_storm_of_signals_neither_blocks_nor_kills() -> None:
    """What does not fit into the wake-up socket is dropped: it is awake anyway."""
    seen: list[int] = []
    with handled({signal.SIGUSR1: lambda: seen.append(1)}) as signals:
        for _ in range(5000):
            send(signal.SIGUSR1)
        signals.check()
        send(signal.SIGTERM)

        assert arrived(signals, 1)
    assert seen


def test_the_old_handlers_come_back() -> None:
    """Also where the block ends by an error."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)
    before = [signal.getsignal(number) for number in numbers]

    with pytest.raises(ZeroDivisionError), handled({signal.SIGUSR2: lambda: None}):
        _ = 1 / (signal.getsignal(signal.SIGUSR2) is before[2])

    assert [signal.getsignal(number) for number in numbers] == before
    assert signal.set_wakeup_fd(-1) == -1
