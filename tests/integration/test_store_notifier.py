"""The notifier: a descriptor that is readable once something changed in the lane. On a real Redis."""

import select
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.redis_server import PrivateRedis, redis_at
from support.waiting import LIMIT_S, scaled, wait_until

from pcapdj.store.client import Store
from pcapdj.store.keys import Keys
from pcapdj.store.notifier import Notifier


@pytest.fixture
def notifier(store: Store) -> Iterator[Notifier]:
    """Return the subscribed notifier of the lane, without a message that was not read."""
    with closing(Notifier(store)) as notifier:
        wait_until(lambda: is_readable(notifier), "the notifier to subscribe")
        wait_until(lambda: subscribers(store) == 1, "the subscription")
        notifier.clear()
        yield notifier


def is_readable(notifier: Notifier, limit_s: float = 0) -> bool:
    """Report whether the notifier's descriptor is readable within the limit."""
    return bool(select.select([notifier], [], [], scaled(limit_s))[0])


def subscribers(store: Store) -> int:
    """Return how many clients have subscribed to the lane's channel."""
    return int(store.redis.pubsub_numsub(store.keys.channel)[0][1])


def test_it_is_readable_when_it_has_subscribed(store: Store) -> None:
    """A change before the subscription was not received: the role has to look once."""
    with closing(Notifier(store)) as notifier:
        assert is_readable(notifier, LIMIT_S)


def test_a_message_makes_it_readable_until_it_is_cleared(store: Store, notifier: Notifier) -> None:
    """Two messages before the look are one change."""
    assert not is_readable(notifier)
    store.notify("queued")
    assert is_readable(notifier, LIMIT_S)

    notifier.clear()

    assert not is_readable(notifier)
    notifier.clear()  # without a message it does nothing
    store.notify("queued")
    assert is_readable(notifier, LIMIT_S)


def test_a_message_of_another_lane_leaves_it_unreadable(store: Store, notifier: Notifier) -> None:
    """The messages arrive in their order: after that of this lane the other one would have been there."""
    with closing(Store(store.url, Keys(store.keys.lane + "-other"))) as other:
        other.notify("queued")
        assert not is_readable(notifier)
        store.notify("queued")

        assert is_readable(notifier, LIMIT_S)


def test_it_subscribes_again_when_redis_is_back(short_path: Path) -> None:
    """It is readable then, since a message may have been lost; no error reaches the role."""
    with (
        redis_at(short_path / "redis.sock") as server,
        closing(store_of(server)) as store,
        closing(Notifier(store)) as notifier,
    ):
        wait_until(lambda: subscribers(store) == 1, "the subscription")
        server.kill()
        notifier.clear()
        server.start()

        assert is_readable(notifier, LIMIT_S)
        wait_until(lambda: subscribers(store) == 1, "the second subscription")
        notifier.clear()
        store.notify("queued")

        assert is_readable(notifier, LIMIT_S)


def store_of(server: PrivateRedis) -> Store:
    """Return a store on this server."""
    return Store(server.url, Keys())
