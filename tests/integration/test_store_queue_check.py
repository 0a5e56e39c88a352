"""The comparison of the queue with its lines on a real Redis: other programs change the list alone."""

import time
from contextlib import closing
from typing import cast

import pytest

from pcapdj.runtime import log
from pcapdj.runtime.errors import KeyUnusable, Stopped
from pcapdj.store.client import Store
from pcapdj.store.enqueue import Outcome, enqueue_new, last_lines
from pcapdj.store.job_queue import JobQueue, QueueEntry, Result
from pcapdj.store.queue_check import QueueCheck, compare_now
from pcapdj.store.retrying import RetryingStore


class Version:
    """A file's version."""

    size_bytes = mtime_ns = 1


def queue(store: Store, *names: bytes) -> None:
    """Queue the files as the importer does."""
    enqueue_new(store, dict.fromkeys(names, Version()), lines=dict.fromkeys(names, "{}"))


def run_check(check: QueueCheck, now_s: float) -> int:
    """Step until the comparison is done; return how many calls it took."""
    steps = 0
    while check.step(now_s):
        steps += 1
    return steps


def lines_of(store: Store) -> set[bytes]:
    """Return the names that have lines."""
    return set(cast("list[bytes]", store.redis.hkeys(store.keys.queued))) - {b""}


def counts(store: Store) -> list[int]:
    """Return SUM and SURPLUS."""
    text = cast("bytes", store.redis.hget(store.keys.queued, ""))
    return [int(text.split()[0]), int(text.split()[2])]


def test_names_that_vanished_lose_their_lines_and_are_logged(
    store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    """With their number and the first of them; they may be queued again."""
    names = [b"/in/%04d" % number for number in range(1800)]
    queue(store, *names)
    for name in names[100:110]:
        store.redis.lrem(store.keys.in_queue, 1, name.decode())

    run_check(QueueCheck(store), 0.0)
    run_check(QueueCheck(store), 0.0)  # what the first filter had by chance

    assert lines_of(store) == {*names[:100], *names[110:]}
    assert counts(store) == [1790, 0]
    assert enqueue_new(store, {names[105]: Version()}) == {names[105]: Outcome.NEW}
    log.flush()
    assert "WARNING queue names_vanished names=" in capfd.readouterr().err


@pytest.mark.parametrize("digits", ["9" * 400, "9" * 5000, "0007"])
def test_a_line_whose_number_another_program_wrote_is_removed_with_its_name(
    store: Store, digits: str
) -> None:
    """It has more digits than Python reads, or zeros before them: the comparison of the queue goes on."""
    queue(store, b"/in/a")
    store.redis.hset(store.keys.queued, "/in/gone", f"{digits} x")

    run_check(QueueCheck(store), 0.0)

    assert lines_of(store) == {b"/in/a"}


@pytest.mark.parametrize("command", ["DEL", "LTRIM"])
def test_a_queue_that_was_emptied_can_be_filled_again(store: Store, command: str) -> None:
    """The next import compares before it queues."""
    names = [b"/in/%d" % number for number in range(20)]
    queue(store, *names)
    words = {"DEL": (), "LTRIM": ("15", "-1")}[command]
    store.redis.execute_command(command, store.keys.in_queue, *words)

    outcomes = enqueue_new(store, dict.fromkeys(names, Version()))

    assert list(outcomes.values()).count(Outcome.NEW) == (20 if command == "DEL" else 15)
    assert sorted(cast("list[bytes]", store.redis.lrange(store.keys.in_queue, 0, -1))) == sorted(names)


def test_a_foreign_name_gets_an_empty_line(store: Store) -> None:
    """Wherever it stands; a name that cannot be a file's has none, and is compared once only."""
    queue(store, *(b"/in/%d" % number for number in range(1200)))
    store.redis.rpush(store.keys.in_queue, b"/foreign", b"", b"x" * 9000)
    store.redis.linsert(store.keys.in_queue, "BEFORE", "/in/600", "/middle")
    check = QueueCheck(store)

    run_check(check, 0.0)

    assert {
        name: line.text for name, line in last_lines(store, [b"/foreign", b"/middle", b"/in/1"]).items()
    } == {
        b"/foreign": "",
        b"/middle": "",
        b"/in/1": "{}",
    }
    assert counts(store) == [1202, 2]
    assert not check.step(1.0)


def test_the_comparison_begins_at_once_after_a_change_and_else_once_a_minute(store: Store) -> None:
    """A pair of changes that hides in the sum is found then, too."""
    queue(store, b"/in/1", b"/in/2")
    check = QueueCheck(store)
    assert run_check(check, 0.0)
    assert not check.step(59.0)

    store.redis.rpush(store.keys.in_queue, b"/foreign")
    assert run_check(check, 59.0)
    store.redis.lpop(store.keys.in_queue)
    store.redis.rpush(store.keys.in_queue, b"/other")

    assert not check.step(100.0)
    assert run_check(check, 120.0)
    assert lines_of(store) == {b"/in/2", b"/foreign", b"/other"}


def test_a_name_that_is_queued_behind_the_walk_keeps_its_line(store: Store) -> None:
    """It was taken before the walk came to it, and queued again behind it."""
    names = [b"/in/%d" % number for number in range(1200)]
    queue(store, *names)
    store.redis.lrem(store.keys.in_queue, 1, "/in/700")
    check, jobs = QueueCheck(store), JobQueue(store, "/pipe")
    assert check.step(0.0)

    entry = jobs.take()
    assert isinstance(entry, QueueEntry)
    jobs.finish(entry, Result(b"{}", "failed"))
    store.redis.rpush(store.keys.in_queue, *(b"/after/%d" % number for number in range(30)))
    compare_now(store)
    enqueue_new(store, {entry.name: Version()}, again=True)
    run_check(check, 0.0)

    assert entry.name in lines_of(store)
    assert b"/after/29" in lines_of(store)


def test_a_comparison_that_redis_interrupts_begins_again(store: Store) -> None:
    """Its caller raises as from any other call."""
    queue(store, b"/in/1")
    check = QueueCheck(store)
    assert check.step(0.0)
    store.redis.delete(store.keys.queued)
    store.redis.set(store.keys.queued, "x")

    with pytest.raises(KeyUnusable):
        run_check(check, 0.0)
    store.redis.delete(store.keys.queued)

    assert run_check(check, 0.0)
    assert lines_of(store) == {b"/in/1"}


def test_no_call_looks_at_many_names(store: Store) -> None:
    """So that no other client waits long: a hundred thousand names are hundreds of calls."""
    names = [b"/in/%d" % number for number in range(5000)]
    store.redis.rpush(store.keys.in_queue, *names)
    run_check(QueueCheck(store), time.monotonic())

    assert run_check(QueueCheck(store), time.monotonic()) > 10


def test_a_queue_that_redis_has_lost_is_an_error(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    """The importer has remembered its counts; it looks at its folders again."""
    queue(store, b"/in/1", b"/in/2", b"/in/3")
    check = QueueCheck(store)
    run_check(check, 0.0)
    assert check.take_lost_names() == 0
    store.redis.delete(store.keys.in_queue, store.keys.queued)
    store.redis.rpush(store.keys.in_queue, b"/in/1")

    run_check(check, 1.0)

    assert (check.take_lost_names(), check.take_lost_names()) == (2, 0)
    log.flush()
    assert "ERROR   queue queue_lost names=2" in capfd.readouterr().err


def test_a_stop_signal_ends_a_long_comparison(store: Store) -> None:
    """A million foreign names take seconds; the importer has to stop within one."""

    class StopSignal:
        """A stop signal that has arrived."""

        def wait(self, _timeout_s: float) -> None:
            """End the wait."""
            raise Stopped("A stop signal arrived.")

    store.redis.rpush(store.keys.in_queue, *(b"/in/%d" % number for number in range(3000)))
    with closing(RetryingStore(store, StopSignal(), None)) as retrying, pytest.raises(Stopped):
        enqueue_new(retrying, {b"/new": Version()})

    assert enqueue_new(store, {b"/new": Version(), b"/in/5": Version()}) == {
        b"/new": Outcome.NEW,
        b"/in/5": Outcome.QUEUED,
    }
