"""What interrupts a dispatcher: signals, suspension, and what it shows while it waits."""

import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from support.logs import logged
from support.pipes import new_statistics
from support.waiting import scaled, wait_until

from pcapdj.feed.interrupts import SIGNALS, Interrupts
from pcapdj.feed.statistics import Statistics
from pcapdj.feed.suspension import Suspension
from pcapdj.runtime.errors import Stopped
from pcapdj.runtime.signals import handled


@pytest.fixture
def statistics() -> Statistics:
    """Return a dispatcher's statistics."""
    return new_statistics()


@pytest.fixture
def suspension(statistics: Statistics) -> Suspension:
    """Return the suspension of a dispatcher without a Redis."""
    return Suspension("/run/pipe", statistics)


@pytest.fixture
def interrupts(statistics: Statistics, suspension: Suspension) -> Iterator[Interrupts]:
    """Return interrupts that receive this process's signals."""
    with handled(SIGNALS) as signals:
        yield Interrupts(signals, suspension, statistics)


def send(number: signal.Signals) -> None:
    """Send this process a signal."""
    os.kill(os.getpid(), number)


def check_while(interrupts: Interrupts, condition: Callable[[], bool]) -> None:
    """Check as a pipe does before each splice."""
    while condition():
        interrupts.check()


def test_a_stop_signal_raises_in_check_and_in_wait(interrupts: Interrupts) -> None:
    """Nowhere else: these are the places where a dispatcher can be stopped."""
    assert not interrupts.check()
    interrupts.wait(0)
    send(signal.SIGTERM)

    with pytest.raises(Stopped):
        interrupts.wait(20)
    with pytest.raises(Stopped):
        interrupts.check()
    with pytest.raises(Stopped):
        interrupts.sleep(20)


def test_a_postponed_stop_passes_check_until_the_grace_is_over(interrupts: Interrupts) -> None:
    """The rest of a record is sent meanwhile; a suspension does not hold it up either."""
    send(signal.SIGUSR1)
    interrupts.wait(20)
    send(signal.SIGTERM)
    interrupts.postpone_stop(0.2)
    started_s = time.monotonic()

    assert not interrupts.check()

    with pytest.raises(Stopped):
        check_while(interrupts, lambda: time.monotonic() - started_s < 20)
    assert time.monotonic() - started_s >= 0.2


def test_sigusr1_suspends_and_resumes_without_redis(
    interrupts: Interrupts, suspension: Suspension, statistics: Statistics
) -> None:
    """At once here, in Redis when it is there. Each suspension counts once."""
    for is_suspended in (True, False, True, False):
        send(signal.SIGUSR1)
        interrupts.wait(20)
        assert suspension.is_active == is_suspended
        assert interrupts.check() == is_suspended

    assert statistics.suspensions == 2
    assert statistics.suspended_by == ""


def test_a_signal_wakes_what_polls_and_acts_in_the_next_check(interrupts: Interrupts) -> None:
    """A pipe polls while it is full, and checks before it sends more."""
    send(signal.SIGUSR1)

    readable, _, _ = select.select(interrupts.descriptors, [], [], 20)

    assert readable
    assert interrupts.check()


def test_a_suspension_can_be_ended_and_stopped(
    interrupts: Interrupts, suspension: Suspension, statistics: Statistics
) -> None:
    """A check waits for its end only a moment, so that its caller can look after the stream."""
    suspension.toggle()
    times_s = [time.monotonic()]
    for _ in range(3):
        assert interrupts.check()
        times_s.append(time.monotonic())

    assert statistics.suspended_by == "usr1:/run/pipe"
    assert scaled(1) > min(after_s - before_s for before_s, after_s in pairwise(times_s)) >= 0.2

    threading.Timer(0.05, send, [signal.SIGTERM]).start()
    with pytest.raises(Stopped):
        check_while(interrupts, lambda: True)


class EndingPeer:
    """What is watched: a peer that has ended, until it was looked at."""

    def __init__(self) -> None:
        self._event = os.eventfd(1, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.looks = 0

    def fileno(self) -> int:
        """Return the descriptor that shows its end."""
        return self._event

    def descriptors(self) -> tuple["EndingPeer", ...]:
        """Return this, until it was looked at."""
        return () if self.looks else (self,)

    def look(self) -> None:
        """Count it."""
        self.looks += 1


def test_the_end_of_a_peer_is_seen_in_each_wait_and_does_not_shorten_a_sleep(interrupts: Interrupts) -> None:
    """Whatever is waited for. A check does not look: it is inside of what uses the stream."""
    peer = EndingPeer()
    interrupts.watch(peer)
    interrupts.check()
    assert peer.looks == 0

    interrupts.wait(3600)
    assert peer.looks == 1

    peer.looks = 0
    started_s = time.monotonic()
    interrupts.sleep(0.05)
    assert time.monotonic() - started_s >= 0.05
    assert peer.looks > 1
    os.close(peer.fileno())


def test_what_is_waited_for_is_shown_until_bytes_are_fed(
    interrupts: Interrupts, statistics: Statistics, capsys: pytest.CaptureFixture[str]
) -> None:
    """And logged once; a wait for something else, or the next check, removes it."""
    for _ in range(3):
        interrupts.wait(0, waiting_for="Waiting for an analyzer.")
    assert statistics.waiting_for == "Waiting for an analyzer."

    interrupts.check()

    assert statistics.waiting_for == ""
    interrupts.wait(0, waiting_for="Waiting for the launcher.")
    interrupts.wait(0)
    assert statistics.waiting_for == ""
    log = logged(capsys, "for the launcher")
    assert log.count("dispatcher waiting: Waiting for an analyzer.") == 1


def test_a_sleep_takes_its_whole_time_whatever_signals_arrive(
    interrupts: Interrupts, statistics: Statistics
) -> None:
    """And no longer: a file that settles is not opened earlier because of a SIGUSR2. It shows no wait."""
    started_s = time.monotonic()
    threading.Timer(0.05, send, [signal.SIGUSR2]).start()

    interrupts.sleep(0.3)

    assert 0.3 <= time.monotonic() - started_s < scaled(1.25)
    assert statistics.waiting_for == ""


def test_a_storm_of_sigusr2_is_printed_one_at_a_time(
    interrupts: Interrupts, capfd: pytest.CaptureFixture[str]
) -> None:
    """With no reader at stdout each print waits; they must not pile up."""
    before = threading.active_count()
    for _ in range(500):
        send(signal.SIGUSR2)
    interrupts.wait(0)
    assert threading.active_count() <= before + 1
    wait_until(lambda: "Number of lengths" in capfd.readouterr().out, "the statistics")
