"""The thread that publishes a dispatcher's statistics and reads who suspends it, on a real Redis."""

import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.logs import logged
from support.pipes import new_statistics
from support.waiting import scaled, wait_until

from pcapdj.feed.analyzer_link import LauncherLink
from pcapdj.feed.interrupts import Interrupts
from pcapdj.feed.reporter import Reporter
from pcapdj.feed.skips import SkipRequests
from pcapdj.feed.statistics import Statistics
from pcapdj.feed.streams import Streams
from pcapdj.feed.suspension import Suspension
from pcapdj.runtime import log
from pcapdj.runtime.signals import handled
from pcapdj.store.client import Store
from pcapdj.store.enqueue import Outcome, enqueue_new
from pcapdj.store.job_queue import JobQueue, QueueEntry, Result
from pcapdj.store.keys import Keys

OWN = b"usr1:/run/pipe"


@dataclass
class Reporting:
    """A reporter at work, and what it reads and publishes."""

    reporter: Reporter
    suspension: Suspension
    jobs: JobQueue
    statistics: Statistics


def new_reporting(store: Store) -> Reporting:
    """Return a reporter that is not started."""
    statistics = Statistics(started_s=0, pid=1, pipe="/run/pipe", packets=7, name=b"/in/\xff")
    suspension = Suspension("/run/pipe", statistics)
    with handled() as signals:
        interrupts = Interrupts(signals, suspension, statistics)  # nothing waits here
    streams = Streams(LauncherLink(Path("/nowhere"), interrupts), interrupts)
    jobs = JobQueue(store, "/run/pipe")
    reporter = Reporter(
        store,
        "/run/pipe",
        statistics=statistics,
        streams=streams,
        suspension=suspension,
        skips=SkipRequests("/run/pipe"),
        registration=jobs.registration,
    )
    return Reporting(reporter, suspension, jobs, statistics)


@contextmanager
def reporting(store: Store) -> Iterator[Suspension]:
    """Run a reporter; yield what it has read."""
    running = new_reporting(store)
    running.reporter.start()
    try:
        yield running.suspension
    finally:
        running.reporter.stop()


def suspenders(store: Store) -> set[bytes]:
    """Return who suspends, as Redis has it."""
    return set(store.redis.smembers(store.keys.suspend))  # type: ignore[arg-type]  # sync


def test_statistics_are_published_with_a_heartbeat(store: Store) -> None:
    """At once, and once more at the end."""
    key = store.keys.stats("/run/pipe")
    with reporting(store):
        wait_until(lambda: store.redis.hget(key, "heartbeat_s"), "the first report")
        store.redis.delete(key)

    wait_until(lambda: store.redis.exists(key), "the last report")
    fields = store.redis.hgetall(key)
    assert (fields[b"packets"], fields[b"name"], fields[b"stalled_s"]) == (b"7", b"/in/\xff", b"0")
    assert abs(float(fields[b"heartbeat_s"]) - time.time()) < 60


def test_statistics_are_published_once_a_second(store: Store) -> None:
    """Five looks at who suspends come between two reports."""
    key, beats = store.keys.stats("/run/pipe"), set[bytes | str]()

    def has_second() -> bool:
        if beat := store.redis.hget(key, "heartbeat_s"):
            beats.add(beat)
        return len(beats) == 2

    with reporting(store):
        wait_until(has_second, "the second report")

    first_s, second_s = sorted(map(float, beats))
    assert second_s - first_s > 0.9


def test_the_last_report_is_there_when_the_reporter_has_stopped(store: Store) -> None:
    """The process ends right after that. Once of five times is enough: a busy machine is not waited for."""
    key, is_reported = store.keys.stats("/run/pipe"), []
    for _ in range(5):
        with reporting(store):
            wait_until(lambda: store.redis.hget(key, "heartbeat_s"), "the first report")
            store.redis.delete(key)
        is_reported.append(bool(store.redis.exists(key)))
        wait_until(lambda: store.redis.exists(key), "the last report")
        store.redis.delete(key)

    assert any(is_reported)


def test_a_redis_that_hangs_delays_a_stop_by_the_time_for_the_last_report(short_path: Path) -> None:
    """0.15 s: a dispatcher has a second in all."""
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(short_path / "s"))
        mute.listen()
        running = new_reporting(Store(f"unix://{short_path}/s", Keys()))
        running.reporter.start()
        with mute.accept()[0]:
            started_s = time.monotonic()
            running.reporter.stop()
            assert 0.15 <= time.monotonic() - started_s < scaled(0.6)


def test_a_suspension_makes_its_descriptor_readable(store: Store) -> None:
    """And so does its end."""
    with reporting(store) as suspension:
        for change, wanted in ((store.redis.sadd, {b"gate"}), (store.redis.srem, set())):
            change(store.keys.suspend, "gate")
            assert select.select([suspension], [], [], 20)[0]
            assert suspension.members == wanted
            assert suspension.is_active == bool(wanted)


def test_a_toggle_holds_at_once_and_reaches_redis(store: Store) -> None:
    """Only its own member; that of others stays."""
    store.redis.sadd(store.keys.suspend, "operator")
    with reporting(store) as suspension:
        wait_until(lambda: suspension.members == {b"operator"}, "the operator's suspension")
        suspension.toggle()
        assert suspension.members == {b"operator", OWN}
        wait_until(lambda: suspenders(store) == {b"operator", OWN}, "the member in Redis")

        suspension.toggle()
        wait_until(lambda: suspenders(store) == {b"operator"}, "its end in Redis")
        assert suspension.members == {b"operator"}


def test_a_toggle_before_redis_was_there_is_not_lost(store: Store) -> None:
    """SIGUSR1 may come before the thread has run."""
    running = new_reporting(store)
    running.suspension.toggle()

    running.reporter.start()

    wait_until(lambda: suspenders(store) == {OWN}, "the member in Redis")
    running.reporter.stop()


class TogglingStore(Store):
    """A lane during whose next call SIGUSR1 arrives."""

    suspension: Suspension | None = None

    def call(self, command: Callable[[Any], Any]) -> Any:
        """Call, and toggle before the answer is there."""
        answer = super().call(command)
        if self.suspension:
            self.suspension.toggle()
            self.suspension = None
        return answer


@pytest.mark.parametrize("is_written", [False, True])
def test_a_toggle_during_a_look_is_not_undone_by_it(store: Store, *, is_written: bool) -> None:
    """While the set is read, or while an earlier toggle is written; the next look writes it."""
    suspension = Suspension("/run/pipe", new_statistics())
    lane = TogglingStore(store.url, store.keys)
    if is_written:
        suspension.toggle()
    lane.suspension = suspension
    wanted = set() if is_written else {OWN}

    suspension.sync(lane)
    assert suspension.members == wanted
    assert not select.select([suspension], [], [], 0)[0]

    suspension.sync(lane)
    assert suspenders(store) == wanted == suspension.members


def test_a_look_that_finds_nothing_new_wakes_nothing(store: Store) -> None:
    """A dispatcher that waits would wake four times a second."""
    suspension = Suspension("/run/pipe", new_statistics())
    store.redis.sadd(store.keys.suspend, "gate")
    suspension.sync(store)
    assert select.select([suspension], [], [], 0)[0]
    assert suspension.is_active

    suspension.sync(store)

    assert not select.select([suspension], [], [], 0)[0]


def test_ids_and_members_that_are_no_text_suspend_as_well(store: Store) -> None:
    """A pipe may have any name, and any program may suspend."""
    statistics = new_statistics()
    suspension = Suspension("/run/\udcff", statistics)

    suspension.toggle()
    assert suspension.members == {b"usr1:/run/\xff"}
    store.redis.sadd(store.keys.suspend, b"\xff", b"gate")
    suspension.adopt(store)

    assert suspension.is_active
    assert statistics.suspended_by == "gate,\ufffd"


def test_who_suspends_is_logged_once_and_so_is_the_end(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """A member that joins is another line; the same members are not."""
    suspension = Suspension("/run/pipe", new_statistics())
    for members in ({"gate"}, {"gate"}, {"gate", "operator"}, set(), set()):
        store.redis.delete(store.keys.suspend)
        if members:
            store.redis.sadd(store.keys.suspend, *members)
        suspension.adopt(store)

    lines = logged(capsys, "resumed\n").splitlines()
    assert [line.partition(" dispatcher ")[2] for line in lines] == [
        "suspended by=gate: Nothing is fed until all of them have resumed.",
        "suspended by=gate,operator: Nothing is fed until all of them have resumed.",
        "resumed",
    ]


def test_a_suspension_holds_from_the_first_byte_after_a_restart(store: Store) -> None:
    """It is read before the reporter's first look."""
    store.redis.sadd(store.keys.suspend, "operator")
    suspension = Suspension("/run/pipe", new_statistics())

    suspension.adopt(store)

    assert suspension.is_active


def test_a_suspension_is_seen_within_half_a_second(store: Store) -> None:
    """And so is its end. The shortest of five times counts: a busy machine is not what is measured."""
    times_s: dict[bool, list[float]] = {True: [], False: []}
    with reporting(store) as suspension:
        for is_suspended in (True, False) * 5:
            started_s = time.monotonic()
            (store.redis.sadd if is_suspended else store.redis.srem)(store.keys.suspend, "gate")
            wait_until(partial(is_state, suspension, is_suspended), "the change")
            times_s[is_suspended].append(time.monotonic() - started_s)

    assert min(times_s[True]) <= scaled(0.5)
    assert min(times_s[False]) <= scaled(0.5)


def is_state(suspension: Suspension, is_active: bool) -> bool:  # noqa: FBT001 - it is the value
    """Report whether this is seen."""
    return suspension.is_active == is_active


@pytest.fixture
def registered(store: Store) -> Iterator[Reporting]:
    """Return a reporter at work for a registered dispatcher that has taken a file and marked it."""
    running = new_reporting(store)
    enqueue_new(store, {b"/in/1": Version(), b"/in/2": Version()}, lines={b"/in/1": "{}"})
    running.jobs.register()
    running.reporter.start()
    entry = running.jobs.take()
    assert isinstance(entry, QueueEntry)
    running.jobs.mark(state="feeding", stream="s1")
    yield running
    running.reporter.stop()


class Version:
    """A file's version."""

    size_bytes = mtime_ns = 1


def has_reported_since(store: Store, beat: object) -> bool:
    """Report whether there is another heartbeat than this one."""
    return store.redis.hget(store.keys.stats("/run/pipe"), "heartbeat_s") != beat


def await_reports(store: Store, count: int) -> None:
    """Wait until the reporter has reported again, so often."""
    for _ in range(count):
        beat = store.redis.hget(store.keys.stats("/run/pipe"), "heartbeat_s")
        wait_until(partial(has_reported_since, store, beat), "a report")


def test_a_queue_that_a_person_removed_is_not_lost(store: Store, registered: Reporting) -> None:
    """Its counts go on; the importer's comparison logs that its names have vanished."""
    await_reports(store, 2)
    store.redis.delete(store.keys.in_queue)

    await_reports(store, 2)

    assert registered.statistics.lost_names == 0


LOSSES: dict[str, Callable[[Store], object]] = {
    "everything, as by a restart": lambda store: store.redis.delete(
        *store.redis.keys(f"{store.keys.prefix}*")
    ),
    "the registration": lambda store: store.redis.delete(store.keys.dispatchers),
    "one member": lambda store: store.redis.srem(store.keys.dispatchers, "/run/pipe"),
    "the file": lambda store: store.redis.delete(store.keys.current("/run/pipe")),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_what_redis_loses_of_a_dispatcher_is_restored_and_logged(
    store: Store, registered: Reporting, loss: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Within a second or so, as it was; the importer finds the file current."""
    before = store.redis.hgetall(store.keys.current("/run/pipe"))

    LOSSES[loss](store)

    wait_until(lambda: registered.statistics.restored, "the registration to be restored")
    assert store.redis.hgetall(store.keys.current("/run/pipe")) == before
    assert enqueue_new(store, {b"/in/1": Version()}) == {b"/in/1": Outcome.CURRENT}
    log.flush()
    assert "WARNING dispatcher registration_restored times=1" in capfd.readouterr().err


def test_the_loss_of_the_queue_is_an_error_with_the_number_of_its_names(
    store: Store, registered: Reporting, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its counts begin again, and `status` shows it."""
    assert registered.statistics.lost_names == 0
    key = store.keys.stats("/run/pipe")
    await_reports(store, 2)
    store.redis.delete(store.keys.in_queue, store.keys.queued)

    wait_until(lambda: store.redis.hget(key, "lost_names") == b"1", "the loss to be published")
    log.flush()
    assert "ERROR   dispatcher queue_lost names=1" in capfd.readouterr().err


def test_a_current_that_another_program_wrote_is_left_alone(store: Store, registered: Reporting) -> None:
    """The dispatcher logs that its file was taken away; it does not fight for the key."""
    key = store.keys.current("/run/pipe")
    store.redis.delete(key)
    store.redis.hset(key, mapping={"name": "/in/other", "token": "x"})
    store.redis.delete(store.keys.dispatchers)

    wait_until(lambda: registered.statistics.restored, "the registration to be restored")

    assert store.redis.hget(key, "name") == b"/in/other"


def test_an_unregistered_dispatcher_is_not_registered_again(store: Store, registered: Reporting) -> None:
    """Neither by a report that was under way, nor by the last one."""
    entry = registered.jobs.take()
    assert isinstance(entry, QueueEntry)
    registered.jobs.finish(entry, Result(entry.name, "processed"))
    registered.jobs.unregister()
    await_reports(store, 2)
    registered.reporter.stop()

    assert not store.redis.exists(store.keys.dispatchers)
    assert not store.redis.exists(store.keys.current("/run/pipe"))


def test_a_finished_file_is_not_restored(store: Store) -> None:
    """Its FINISH was executed, and the reply was lost: the second call reports that it is finished."""
    jobs = JobQueue(store, "/run/pipe")
    jobs.register()
    enqueue_new(store, {b"/in/1": Version()})
    entry = jobs.take()
    assert isinstance(entry, QueueEntry)
    jobs.finish(entry, Result(entry.name, "processed"))
    jobs.registration.take({"name": entry.name, "token": entry.token.encode()})  # as before the reply

    assert jobs.finish(entry, Result(entry.name, "processed"))
    assert store.redis.lrange(store.keys.processed, 0, -1) == [b"/in/1"]
    assert not store.redis.exists(store.keys.current("/run/pipe"))
