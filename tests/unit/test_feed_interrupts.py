"""What interrupts a dispatcher's waits."""

import os
import signal
import threading

import pytest
from support.waiting import wait_until

from pcapdj.feed.interrupts import Interrupts
from pcapdj.feed.reporter import Reporter
from pcapdj.feed.statistics import Statistics
from pcapdj.runtime.errors import Stopped
from pcapdj.store.client import Store
from pcapdj.store.keys import Keys


@pytest.fixture
def statistics() -> Statistics:
    """Return a dispatcher's statistics."""
    return Statistics(started_s=0, pid=1, pipe="/run/pipe")


@pytest.fixture
def reporter() -> Reporter:
    """Return a reporter that never reaches a Redis."""
    return Reporter(Store("unix:///nowhere", Keys()), "/run/pipe", dict)


def test_a_stop_signal_is_noticed_where_it_may_interrupt(statistics: Statistics) -> None:
    """Nowhere else: `attend` is where a dispatcher can be stopped."""
    attention = Interrupts(statistics)
    with attention.listening() as signals:
        attention.attend()
        os.kill(os.getpid(), signal.SIGTERM)
        wait_until(lambda: signals.stop_requested, "the signal")

        with pytest.raises(Stopped):
            attention.attend()


def test_sigusr1_suspends_and_resumes_without_redis(statistics: Statistics, reporter: Reporter) -> None:
    """At once here; Redis is told when it is there. Each suspension counts once."""
    attention = Interrupts(statistics)
    attention.watch(reporter, lambda: statistics, lambda: None)
    with attention.listening():
        for suspended in (True, False, True, False):
            os.kill(os.getpid(), signal.SIGUSR1)
            attention.wait(20)
            assert attention.observe() == suspended

    assert statistics.suspensions == 2
    assert statistics.suspended_by == ""


def test_a_stop_signal_ends_a_suspension(statistics: Statistics, reporter: Reporter) -> None:
    """A suspended dispatcher can be stopped, and says who suspended it."""
    attention = Interrupts(statistics)
    attention.watch(reporter, lambda: statistics, lambda: None)
    reporter._members = frozenset({b"operator", b"gate"})  # noqa: SLF001 - to be removed
    with attention.listening():
        threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGTERM]).start()

        with pytest.raises(Stopped):
            attention.attend()

    assert statistics.suspended_by == "gate,operator"


def test_a_storm_of_sigusr2_is_printed_one_at_a_time(
    statistics: Statistics, capfd: pytest.CaptureFixture[str]
) -> None:
    """With nobody at stdout each print waits; they must not pile up."""
    attention = Interrupts(statistics)
    before = threading.active_count()
    with attention.listening():
        for _ in range(500):
            os.kill(os.getpid(), signal.SIGUSR2)
        attention.wait(0)
        assert threading.active_count() <= before + 1
        wait_until(lambda: "Number of lengths" in capfd.readouterr().out, "the statistics")
