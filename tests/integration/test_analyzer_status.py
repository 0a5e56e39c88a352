"""PCAPDJ_CONSUMER, written by a thread: the latest state, again and again."""

from collections.abc import Iterator

import pytest
from support.waiting import wait_until

from pcapdj.analyzer.status import StatusPublisher
from pcapdj.store.client import Store


@pytest.fixture
def publisher(store: Store) -> Iterator[StatusPublisher]:
    """Return a publisher in the test's lane."""
    publisher = StatusPublisher(store.another())
    yield publisher
    publisher.close()


def field_of(store: Store, name: str) -> str | None:
    """Return a field of the hash."""
    value = store.redis.hget(store.keys.consumer, name)
    return value.decode() if isinstance(value, bytes) else None


def test_the_latest_state_counts(store: Store, publisher: StatusPublisher) -> None:
    """A status that changes faster than Redis takes it is replaced, never queued."""
    for number in range(100):
        publisher.publish({"state": "reading", "restarts": str(number)})

    wait_until(lambda: field_of(store, "restarts") == "99", "the last state")


def test_a_deleted_key_comes_back(store: Store, publisher: StatusPublisher) -> None:
    """Every heartbeat writes all fields, so that a flushed Redis has them again within a second."""
    publisher.publish({"state": "idle"})
    wait_until(lambda: field_of(store, "state") == "idle", "the first state")

    store.redis.delete(store.keys.consumer)

    wait_until(lambda: field_of(store, "state") == "idle", "the state to come back")


def test_the_heartbeat_is_the_launchers_and_not_the_threads(store: Store, publisher: StatusPublisher) -> None:
    """A launcher that hangs looks dead, though its thread still writes."""
    publisher.publish({"state": "idle"})
    wait_until(lambda: field_of(store, "heartbeat_s"), "the first heartbeat")
    first = field_of(store, "heartbeat_s")

    store.redis.hdel(store.keys.consumer, "heartbeat_s")
    wait_until(lambda: field_of(store, "heartbeat_s"), "the next write")

    assert field_of(store, "heartbeat_s") == first


def test_the_last_state_is_written_at_the_end(store: Store, publisher: StatusPublisher) -> None:
    """Closing waits for it, for at most a second."""
    publisher.publish({"state": "reading"})
    publisher.publish({"state": "idle"})

    publisher.close()

    assert field_of(store, "state") == "idle"


def test_a_change_rings_the_bell(store: Store, publisher: StatusPublisher) -> None:
    """Whoever waits for the analyzer looks at once."""
    with store.redis.pubsub() as channel:  # type: ignore[no-untyped-call]  # redis-py
        channel.subscribe(store.keys.channel)
        wait_until(lambda: channel.get_message(timeout=0.1), "the subscription")

        publisher.publish({"state": "reading"})

        heard: list[bytes] = []

        def hears() -> bool:
            message = channel.get_message(timeout=0.1)
            heard.extend([message["data"]] if message else [])
            return bool(heard)

        wait_until(hears, "the bell")
        assert heard == [b"consumer"]
