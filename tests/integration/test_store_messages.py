"""The messages on the lane's channel: each change that another process waits for is published, no more.

A lost message costs only latency, since roles look by themselves; so no other test notices a missing one.
"""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from pcapdj.runtime.errors import CaptureError
from pcapdj.store import operate
from pcapdj.store.client import Store
from pcapdj.store.enqueue import enqueue_new
from pcapdj.store.failures import all_failures, requeue_failures
from pcapdj.store.grants import Granted, Grants
from pcapdj.store.job_queue import JobQueue, QueueEntry, Result, failure_entry

NAME = b"/in/1.pcap"


class Version:
    """A file's size and time."""

    size_bytes = mtime_ns = 1


def messages(store: Store, call: Callable[[], object]) -> list[bytes]:
    """Return the messages that a call publishes on the lane's channel."""
    with store.redis.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]  # redis-py
        channel.subscribe(store.keys.channel)
        channel.get_message(timeout=5)  # the confirmation
        call()
        store.notify("end of the test")
        return list(iter(lambda: channel.get_message(timeout=5)["data"], b"end of the test"))


def take(store: Store) -> QueueEntry:
    """Queue and take the file."""
    store.redis.rpush(store.keys.in_queue, NAME)
    entry = JobQueue(store, "d1").take()
    assert isinstance(entry, QueueEntry)
    return entry


def processed(entry: QueueEntry) -> Result:
    """Return the result of a file that was fed whole."""
    return Result(entry.name, "processed")


def failed(entry: QueueEntry) -> Result:
    """Return the result of a file that was not."""
    return Result(failure_entry(entry.name, CaptureError("is cut off"), 0, 1), "failed")


def test_a_queued_file_is_published_once(store: Store) -> None:
    """The file that is in the queue already is no change."""
    files = {NAME: Version(), b"/in/2.pcap": Version()}

    assert messages(store, lambda: enqueue_new(store, files)) == [b"queued"]
    assert messages(store, lambda: enqueue_new(store, files)) == []


def test_a_request_is_published_once(store: Store) -> None:
    """The controller waits for it; repeated, it is in the list already."""
    entry = take(store)
    queue = JobQueue(store, "d1")

    assert messages(store, lambda: queue.announce(entry)) == [b"announced"]
    assert messages(store, lambda: queue.announce(entry)) == []


@pytest.mark.parametrize("form", ["string", "set"])
def test_a_grant_is_published(store: Store, form: Any) -> None:
    """The dispatcher waits for it; a grant that is not requested is no change."""
    JobQueue(store, "d1").announce(take(store))
    grants = Grants(store, form)

    assert messages(store, lambda: grants.grant(NAME)) == [b"granted"]
    assert messages(store, lambda: grants.grant(NAME)) == []


@pytest.mark.parametrize(
    ("form", "others", "expected"),
    [("string", [b"/in/2.pcap"], [b"consumed"]), ("string", [], []), ("set", [b"/in/2.pcap"], [])],
)
def test_a_consumed_string_is_published_if_another_file_is_requested(
    store: Store, form: Any, others: Iterable[bytes], expected: list[bytes]
) -> None:
    """The controller waits until the string is free; a set is never occupied."""
    entry, queue = take(store), JobQueue(store, "d1")
    queue.announce(entry)
    assert Grants(store, form).grant(NAME) is Granted.YES
    for name in others:
        store.redis.rpush(store.keys.next, name)

    assert messages(store, lambda: queue.authorize(entry)) == expected
    assert messages(store, lambda: queue.authorize(entry)) == []


@pytest.mark.parametrize("result", [processed, failed])
def test_a_finished_file_is_published_once(store: Store, result: Callable[[QueueEntry], Result]) -> None:
    """Whether it was fed whole or failed."""
    entry, queue = take(store), JobQueue(store, "d1")

    assert messages(store, lambda: queue.finish(entry, result(entry))) == [b"finished"]
    assert messages(store, lambda: queue.finish(entry, result(entry))) == []


@pytest.mark.parametrize("result", [processed, failed])
def test_a_requeued_file_is_published_once(store: Store, result: Callable[[QueueEntry], Result]) -> None:
    """From either list; a file that is in neither is no change."""
    entry = take(store)
    JobQueue(store, "d1").finish(entry, result(entry))

    assert messages(store, lambda: operate.requeue(store, NAME)) == [b"queued"]
    assert messages(store, lambda: operate.requeue(store, NAME)) == []


def test_a_retried_failure_is_published_once(store: Store) -> None:
    """As `failed --retry` does it."""
    entry = take(store)
    JobQueue(store, "d1").finish(entry, failed(entry))
    (failure,) = all_failures(store)

    assert messages(store, lambda: requeue_failures(store, [failure])) == [b"queued"]
    assert messages(store, lambda: requeue_failures(store, [failure])) == []


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda store: operate.change_control(store, {"min-free": "9%"}), b"control"),
        (lambda store: operate.change_control(store, {}, removed=["min-free"]), b"control"),
        (operate.suspend, b"suspend"),
        (operate.resume, b"suspend"),
        (lambda store: operate.finish(store, "now"), b"finish"),
        (lambda store: operate.finish(store, "empty"), b"finish"),
    ],
    ids=["set a limit", "unset a limit", "suspend", "resume", "finish now", "finish when empty"],
)
def test_every_order_of_an_operator_is_published(
    store: Store, call: Callable[[Store], object], expected: bytes
) -> None:
    """Controller and dispatcher obey at once, not at their next look."""
    assert messages(store, lambda: call(store)) == [expected]


def test_a_change_of_the_gate_is_published_and_a_heartbeat_is_not(store: Store) -> None:
    """Whoever waits for the gate is woken only when its state changes."""
    grants = Grants(store)

    assert messages(
        store, lambda: grants.publish({"state": "hold"}, suspended=False, message="gate hold")
    ) == [b"gate hold"]
    assert messages(store, lambda: grants.publish({"state": "hold"}, suspended=True)) == []


def test_reading_publishes_nothing(store: Store) -> None:
    """What only looks wakes no role."""
    JobQueue(store, "d1").announce(take(store))

    def read_everything() -> None:
        Grants(store).look()
        Grants(store).published()
        operate.read_control(store)
        operate.is_suspended(store)
        JobQueue(store, "d1").take()

    assert messages(store, read_everything) == []
