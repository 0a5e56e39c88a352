"""PCAPDJ_CONSUMER, written by a thread: the latest state, again and again."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.waiting import scaled, wait_until

from pcapdj.analyzer.restarts import RestartPolicy
from pcapdj.analyzer.status import LauncherStatus, StatusPublisher
from pcapdj.runtime import log
from pcapdj.store.client import Store
from pcapdj.store.keys import Keys


@pytest.fixture
def publisher(store: Store, tmp_path: Path) -> Iterator[StatusPublisher]:
    """Return a publisher in the test's lane."""
    publisher = StatusPublisher(store.another(), tmp_path / "kept")
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


def test_a_change_sends_a_message(store: Store, publisher: StatusPublisher) -> None:
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

        wait_until(hears, "the message on the channel")
        assert heard == [b"consumer"]


def test_a_state_has_the_time_at_which_it_began(store: Store, publisher: StatusPublisher) -> None:
    """Heartbeats and new reasons do not change it."""
    status, restarts = LauncherStatus(publisher, "zeek", Path("/out")), RestartPolicy()
    status.publish(None, restarts)
    wait_until(lambda: field_of(store, "state") == "idle", "the first state")
    idle_since = field_of(store, "since_s")
    assert (field_of(store, "command"), field_of(store, "logdir")) == ("zeek", "/out")
    assert field_of(store, "launcher_pid") == str(os.getpid())

    restarts.record_failure("It died.", 0.0, reading_s=0.0)
    status.publish(None, restarts)
    wait_until(lambda: field_of(store, "state") == "failing", "the second state")
    failing_since = field_of(store, "since_s")
    restarts.record_failure("It died again.", 0.0, reading_s=0.0)
    status.publish(None, restarts)
    wait_until(lambda: field_of(store, "reason") == "It died again.", "the second reason")

    assert field_of(store, "restarts") == "2"
    assert field_of(store, "since_s") == failing_since
    assert float(failing_since or 0) > float(idle_since or 0) > 0


def test_an_outage_of_redis_is_logged_once(short_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The stream goes on; the log shows that the status is out of date."""
    publisher = StatusPublisher(Store(f"unix://{short_path}/none", Keys()), short_path / "kept")
    seen: list[str] = []

    def is_logged() -> bool:
        log.flush()
        seen.append(capsys.readouterr().err)
        return "waiting_for_redis" in "".join(seen)

    publisher.publish({"state": "idle"})
    wait_until(is_logged, "the warning")
    publisher.publish({"state": "reading"})
    publisher.close()

    is_logged()
    assert "The analyzer goes on; its state in Redis is out of date." in "".join(seen)
    assert "".join(seen).count("waiting_for_redis") == 1


def test_closing_waits_a_second_at_most(short_path: Path) -> None:
    """A Redis that hangs must not delay the end of the launcher."""
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(short_path / "hung"))
        hung.listen()
        publisher = StatusPublisher(Store(f"unix://{short_path}/hung", Keys()), short_path / "kept")
        publisher.publish({"state": "idle"})

        started_s = time.monotonic()
        publisher.close()

        assert time.monotonic() - started_s < scaled(1.5)
