"""Signals as something to poll on."""

import os
import select
import signal
import subprocess
import sys
import threading
import time

import pytest
from support.waiting import scaled, wait_until

from pcapdj.runtime.errors import Stopped
from pcapdj.runtime.signals import Signals, handled


def send(number: signal.Signals) -> None:
    """Send this process a signal."""
    os.kill(os.getpid(), number)


def arrived(signals: Signals, stops: int) -> bool:
    """Wait for so many stop signals; report whether there are no more."""
    with pytest.raises(Stopped):
        signals.wait(5, stops=stops)
    return signals.stop_count == stops


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_ends_a_wait(number: signal.Signals) -> None:
    """The wait returns at once; a test that hangs would show the opposite."""
    with handled() as signals:
        threading.Timer(0.05, send, [number]).start()

        with pytest.raises(Stopped):
            signals.wait(30)
        assert signals.stop_requested


def test_without_a_signal_a_wait_ends_by_itself() -> None:
    """Nothing has to happen for a role to look again."""
    with handled() as signals:
        signals.wait(0.001)
        signals.wait(-1)

        assert not signals.stop_requested


def test_a_readable_descriptor_ends_a_wait_without_a_stop() -> None:
    """A message, a suspension, a client."""
    reader, writer = os.pipe()
    with handled() as signals, os.fdopen(reader, "rb"), os.fdopen(writer, "wb", buffering=0) as sender:
        sender.write(b"!")

        started_s = time.monotonic()
        signals.wait(30, reader)

        assert time.monotonic() - started_s < 15


def test_a_second_stop_signal_is_counted_and_ends_the_next_wait() -> None:
    """The first means: in order; the second: now."""
    with handled() as signals:
        send(signal.SIGTERM)
        assert arrived(signals, 1)

        threading.Timer(0.05, send, [signal.SIGTERM]).start()

        assert arrived(signals, 2)


def test_a_wait_after_a_stop_signal_raises_at_once() -> None:
    """Also where the signal was seen before; no wait of a role that stops takes its whole time."""
    with handled() as signals:
        send(signal.SIGTERM)
        assert arrived(signals, 1)

        started_s = time.monotonic()
        with pytest.raises(Stopped):
            signals.wait(30)
        assert time.monotonic() - started_s < 15


def test_another_signal_ends_a_wait_and_is_counted_once() -> None:
    """What it means is done outside of the handler, where locks may be taken; it stops no role."""
    with handled({signal.SIGUSR1, signal.SIGUSR2}) as signals:
        send(signal.SIGUSR1)
        signals.wait(30)
        send(signal.SIGUSR1)

        assert signals.received(signal.SIGUSR1) == 2
        assert signals.received(signal.SIGUSR1) == 0
        assert signals.received(signal.SIGUSR2) == 0
        assert not signals.stop_requested


def test_a_storm_of_signals_neither_blocks_nor_kills() -> None:
    """What does not fit into the wake-up socket is dropped: it is awake anyway."""
    with handled({signal.SIGUSR1}) as signals:
        for _ in range(5000):
            send(signal.SIGUSR1)
        assert signals.received(signal.SIGUSR1)
        send(signal.SIGTERM)

        assert arrived(signals, 1)


def test_the_old_handlers_come_back() -> None:
    """Also where the block ends by an error."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)
    before = [signal.getsignal(number) for number in numbers]

    with pytest.raises(ZeroDivisionError), handled({signal.SIGUSR2}):
        _ = 1 / (signal.getsignal(signal.SIGUSR2) is before[2])

    assert [signal.getsignal(number) for number in numbers] == before
    assert signal.set_wakeup_fd(-1) == -1


def test_a_stop_signal_ends_a_command_whose_output_nobody_reads() -> None:
    """A full pipe, as a terminal after Ctrl-S: what waits to be written is discarded."""
    code = """
from pcapdj.runtime.signals import handled
with handled(is_command=True) as signals:
    while not signals.stop_requested:
        print("a line")
"""
    read_end, write_end = os.pipe()
    room = select.poll()
    room.register(write_end, select.POLLOUT)
    try:
        with subprocess.Popen([sys.executable, "-c", code], stdout=write_end) as process:
            wait_until(lambda: not room.poll(0), "a full pipe")
            process.send_signal(signal.SIGTERM)

            try:
                assert process.wait(scaled(10)) == 0
            finally:
                process.kill()
    finally:
        os.close(read_end)
        os.close(write_end)
