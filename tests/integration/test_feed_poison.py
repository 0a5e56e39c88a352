"""Which is at fault when analyzers die on files, the file or the analyzer: rules on a real Redis."""

import re
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from support.logs import logged
from support.pipes import new_statistics
from support.waiting import scaled

from pcapdj.feed.interrupts import Interrupts
from pcapdj.feed.poison import PoisonPolicy
from pcapdj.feed.reading_mark import ReadingMark
from pcapdj.feed.statistics import Statistics
from pcapdj.feed.suspension import Suspension
from pcapdj.runtime.errors import CaptureError
from pcapdj.runtime.signals import HasFileno, Signals, handled
from pcapdj.store import operate
from pcapdj.store.client import Store
from pcapdj.store.job_queue import JobQueue, QueueEntry, Result

DEATHS = "poison: the analyzer died 3 times while it read this file"
FAULT = (
    "The analyzer is at fault: it died 3 times on each of 3 files in a row."
    " Nothing is fed until `pcapdj resume`."
)


class ResumingInterrupts(Interrupts):
    """Interrupts during whose third wait an operator resumes feeding."""

    def __init__(self, store: Store, signals: Signals, statistics: Statistics) -> None:
        super().__init__(signals, Suspension("main", statistics), statistics)
        self.waits_s: list[float] = []
        self._store = store
        self._statistics_of = statistics
        self.shown: list[tuple[str, str]] = []

    def wait(
        self, timeout_s: float, *readable: HasFileno | int, stops: int = 1, waiting_for: str = ""
    ) -> None:
        """Keep what is shown meanwhile, and resume in the end."""
        super().wait(0, *readable, stops=stops, waiting_for=waiting_for)
        self.waits_s.append(timeout_s)
        self.shown.append((self._statistics_of.waiting_for, self._statistics_of.at_fault))
        if len(self.waits_s) == 3:
            operate.resume(self._store)


@dataclass
class Rig:
    """A policy at work and what it uses."""

    store: Store
    queue: JobQueue
    statistics: Statistics
    interrupts: ResumingInterrupts
    policy: PoisonPolicy

    def take(self, deaths: int) -> QueueEntry:
        """Take an entry on which so many analyzers died."""
        self.store.redis.rpush(self.store.keys.in_queue, "/in/a.pcap")
        entry = self.queue.take()
        assert isinstance(entry, QueueEntry)
        return replace(entry, deaths=deaths)

    def fail(self) -> None:
        """Let the policy find a file at fault, and finish that."""
        entry = self.take(3)
        with pytest.raises(CaptureError, match=f"^{DEATHS}$"):
            self.policy.entry_to_feed(entry)
        assert self.queue.finish(entry, Result(b"{}", "failed", journal={"reason": DEATHS}))


@pytest.fixture
def rig(store: Store) -> Iterator[Rig]:
    """Return a policy of a lane in which nothing failed yet."""
    with handled() as signals:
        yield rig_of(store, signals)


def rig_of(store: Store, signals: Signals) -> Rig:
    """Return the policy of a dispatcher that has just started."""
    queue, statistics = JobQueue(store, "main"), new_statistics()
    queue.register()
    interrupts = ResumingInterrupts(store, signals, statistics)
    return Rig(
        store,
        queue,
        statistics,
        interrupts,
        PoisonPolicy(store, queue, interrupts, statistics, ReadingMark()),
    )


@pytest.mark.parametrize("deaths", [0, 1, 2])
def test_two_deaths_are_not_yet_the_fault_of_the_file(rig: Rig, deaths: int) -> None:
    """The entry is fed as it is."""
    entry = rig.take(deaths)

    assert rig.policy.entry_to_feed(entry) == entry


def test_the_third_poison_file_in_a_row_is_fed_again_after_the_operator_resumed(
    rig: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its deaths are forgotten, here and in Redis; then two more may fail."""
    for _ in range(2):
        rig.fail()
    entry = rig.take(3)
    rig.queue.mark(deaths=3)

    assert rig.policy.entry_to_feed(entry) == replace(entry, deaths=0)

    again: Any = rig.queue.take()
    assert again.deaths == 0
    assert rig.interrupts.shown == [(FAULT, FAULT)] * 3
    assert set(rig.interrupts.waits_s) == {0.5}
    assert rig.statistics.at_fault == ""
    log = logged(capsys, "lane_resumed")
    assert f"ERROR   dispatcher analyzer_at_fault name=/in/a.pcap: {FAULT}\n" in log
    [held_s] = re.findall(r"INFO    dispatcher lane_resumed name=/in/a\.pcap held_s=(\d+)\n", log)
    assert int(held_s) < scaled(20)
    rig.queue.finish(again, Result(b"/in/a.pcap", "processed"))
    for _ in range(2):
        rig.fail()


def test_a_file_that_went_through_begins_the_count_again(rig: Rig) -> None:
    """The analyzer works."""
    for _ in range(2):
        rig.fail()
    rig.policy.reset()

    for _ in range(2):
        rig.fail()


def test_a_restarted_dispatcher_goes_on_counting_from_the_journal(rig: Rig, signals: Signals) -> None:
    """Two files were at fault before: the third holds the lane for as long as it is suspended."""
    for _ in range(2):
        rig.fail()
    restarted = rig_of(rig.store, signals)

    started_s = time.monotonic()
    restarted.policy.entry_to_feed(restarted.take(3))

    assert len(restarted.interrupts.waits_s) == 3
    assert time.monotonic() - started_s < 20
    assert not operate.is_suspended(rig.store)


@pytest.mark.parametrize("deaths", [1, 2, 3])
def test_each_death_of_a_dispatcher_on_a_file_is_logged(
    rig: Rig, tmp_path: Path, capsys: pytest.CaptureFixture[str], deaths: int
) -> None:
    """With its cause and both numbers; after the third one the file fails."""
    entry = rig.take(0)
    died = ReadingMark(tmp_path / "mark")
    died.begin(entry.token, deaths - 1)
    with pytest.raises(MemoryError), died.reading():
        raise MemoryError
    died.close()
    mark = ReadingMark(tmp_path / "mark")
    policy = PoisonPolicy(rig.store, rig.queue, rig.interrupts, rig.statistics, mark)

    died_of = "died while they read this file, the last one by the error MemoryError"
    reason = rf"poison\(dispatcher\): 3 dispatchers {died_of}"
    with pytest.raises(CaptureError, match=f"^{reason}$") if deaths == 3 else nullcontext():
        policy.begin(entry)

    assert (
        f"WARNING dispatcher dispatcher_died name=/in/a.pcap deaths={deaths} most=3:"
        " A dispatcher died while it read this file, by the error MemoryError.\n"
    ) in logged(capsys, "dispatcher_died")
    mark.close()
