"""The events of a lane: recorded by commands and from the logs of roles, bounded, and never in the way."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from support.redis_server import PrivateRedis
from support.waiting import wait_until

from pcapdj.runtime.errors import KeyUnusable
from pcapdj.runtime.log import EventLog
from pcapdj.store import events
from pcapdj.store.bounded import read_stream
from pcapdj.store.client import Store
from pcapdj.store.event_recorder import recorded_log
from pcapdj.store.events import Event, add_event, read_events, record_event
from pcapdj.store.keys import Keys

NAME: Final = b"/in/\xff 1.pcap"
CONTROLLER: Final = EventLog("controller")


def recorded(store: Store) -> list[Event]:
    """Return the events of the lane, the oldest first."""
    return list(read_events(store))


def test_a_command_records_what_it_did(store: Store) -> None:
    """Kind, role, sentence, time and fields come back as they were, a name that is not UTF-8 too."""
    before_s = time.time()
    record_event(
        store, "removed", "Two files.", role="queue", fields={"name": NAME.decode("utf-8", "surrogateescape")}
    )

    (event,) = recorded(store)

    assert (event.kind, event.role, event.sentence) == ("removed", "queue", "Two files.")
    assert event.fields["name"].encode("utf-8", "surrogateescape") == NAME
    assert before_s - 0.001 <= event.time_s <= time.time()


def test_events_behind_an_id_are_read_page_by_page(store: Store) -> None:
    """Who follows them gets each one once, in order."""
    for number in range(1200):
        store.redis.xadd(store.keys.events, {"kind": str(number)})
    first = recorded(store)

    record_event(store, "next", "", role="x")

    assert [each.kind for each in first] == [str(number) for number in range(1200)]
    assert [each.kind for each in read_events(store, f"({first[-1].id}")] == ["next"]
    back = read_stream(store, store.keys.events, "+", is_newest_first=True)
    assert [each.fields[b"kind"] for each in back][:2] == [b"next", b"1199"]


def test_old_events_are_removed(store: Store) -> None:
    """Those of the last days stay, whatever their number is."""
    for number in range(300):
        store.redis.xadd(store.keys.events, {"kind": "old"}, id=f"{number + 1}-1")

    record_event(store, "new", "", role="x")

    assert len(recorded(store)) < 110  # Redis removes whole blocks of a hundred


def test_the_number_of_events_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood removes the oldest ones."""
    monkeypatch.setattr(events, "MOST_EVENTS", 200)

    for _ in range(500):
        record_event(store, "flood", "", role="x")

    assert 200 <= store.redis.xlen(store.keys.events) < 310


def test_recording_never_fails(store: Store, short_path: Path) -> None:
    """Neither without Redis nor where another program wrote the key."""
    store.redis.set(store.keys.events, "x")

    record_event(store, "gate", "", role="x")
    with closing(Store(f"unix://{short_path}/none", Keys())) as without_redis:
        record_event(without_redis, "gate", "", role="x")

    with pytest.raises(KeyUnusable, match="PCAPDJ_EVENTS"):
        add_event(store, Event("gate", "", "x", 1.0))


def test_an_event_of_another_program_is_read_with_limits(store: Store) -> None:
    """A huge value is its size, a time that is none that of the entry, half a character its escape."""
    store.redis.xadd(store.keys.events, {"kind": "x" * 70_000, "time_s": "nan", "sentence": "s"}, id="5000-1")
    (huge,) = recorded(store)
    record_event(store, "half", "\ud800", role="x")
    half = recorded(store)[-1]

    assert (huge.kind, huge.time_s, huge.sentence) == ("(70000 bytes)", 5.0, "s")
    assert half.sentence == "\\ud800"


@pytest.fixture
def server(short_path: Path) -> Iterator[PrivateRedis]:
    """Return a Redis that does not run yet."""
    server = PrivateRedis(short_path / "s")
    yield server
    server.stop()


def test_what_a_role_logs_while_redis_is_away_is_recorded_later(server: PrivateRedis) -> None:
    """With the time at which it was logged; what is of use in that log only is left out."""
    with closing(Store(server.url, Keys())) as store, recorded_log(store):
        CONTROLLER.warning(
            "gate_hold", "Too little is free.", path=Path("/out"), free_bytes=5, needed_bytes=None
        )
        CONTROLLER.info("file_authorized", name=NAME)
        CONTROLLER.warning("file_failed", "It is torn.", name=NAME)
        CONTROLLER.error("queue_lost", names=3)
        logged_s = time.time()
        server.start()
        wait_until(lambda: len(recorded(store)) == 2, "two events")

        gate, lost = recorded(store)

    assert (gate.kind, gate.role, gate.sentence) == ("gate", "controller", "Too little is free.")
    assert gate.fields == {"event": "gate_hold", "level": "WARNING", "path": "/out", "free_bytes": "5"}
    assert (lost.kind, lost.fields) == ("queue_lost", {"level": "ERROR", "names": "3"})
    assert gate.time_s <= lost.time_s <= logged_s + 0.001  # rounded to milliseconds


def test_what_is_logged_last_is_recorded(store: Store) -> None:
    """A role that ends waits for it."""
    with recorded_log(store):
        CONTROLLER.info("stopping")

    CONTROLLER.warning("gate_hold")

    assert [each.kind for each in recorded(store)] == ["stopping"]


def test_a_refusal_is_logged_once_and_the_role_goes_on(
    store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    """As with the ACL lines of an earlier version: the log has why the events are missing."""
    store.redis.set(store.keys.events, "x")
    with recorded_log(store):
        for _ in range(2000):
            CONTROLLER.warning("gate_hold")
        wait_until(lambda: "events_not_recorded" in "".join(capfd.readouterr()), "the refusal to be logged")
