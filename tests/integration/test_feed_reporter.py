"""The thread that publishes a dispatcher's statistics and watches who suspends it, on a real Redis."""

import select
import time
from collections.abc import Iterator
from contextlib import contextmanager

from support.waiting import wait_until

from pcapdj.feed.reporter import Reporter
from pcapdj.store.client import Store

OWN = b"usr1:/run/pipe"


@contextmanager
def reporting(store: Store) -> Iterator[Reporter]:
    """Return a reporter at work."""
    reporter = Reporter(store, "/run/pipe", lambda: {"packets": 7, "name": b"/in/\xff", "state": "Running"})
    reporter.start()
    try:
        yield reporter
    finally:
        reporter.stop()


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
    assert (fields[b"packets"], fields[b"name"]) == (b"7", b"/in/\xff")
    assert abs(float(fields[b"heartbeat_s"]) - time.time()) < 60


def test_a_suspension_makes_its_descriptor_readable(store: Store) -> None:
    """By whoever it is; and so does its end."""
    with reporting(store) as reporter:
        for change, wanted in ((store.redis.sadd, {b"gate"}), (store.redis.srem, set())):
            change(store.keys.suspend, "gate")
            assert select.select([reporter], [], [], 20)[0]
            assert reporter.suspended_by == wanted


def test_a_toggle_holds_at_once_and_reaches_redis(store: Store) -> None:
    """Only its own member; that of others stays."""
    store.redis.sadd(store.keys.suspend, "operator")
    with reporting(store) as reporter:
        wait_until(lambda: reporter.suspended_by == {b"operator"}, "the operator's suspension")
        reporter.toggle()
        assert reporter.suspended_by == {b"operator", OWN}
        wait_until(lambda: suspenders(store) == {b"operator", OWN}, "the member in Redis")

        reporter.toggle()
        wait_until(lambda: suspenders(store) == {b"operator"}, "its end in Redis")
        assert reporter.suspended_by == {b"operator"}


def test_a_toggle_before_redis_was_there_is_not_forgotten(store: Store) -> None:
    """SIGUSR1 may come before the thread has run."""
    reporter = Reporter(store, "/run/pipe", dict)
    reporter.toggle()

    reporter.start()

    wait_until(lambda: suspenders(store) == {OWN}, "the member in Redis")
    reporter.stop()
