"""The five scripts that move names, on a real Redis: what each does, and that repeating changes nothing."""

import json
from contextlib import suppress
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcapdj.runtime.errors import CaptureError, PcapdjError
from pcapdj.store.client import Store
from pcapdj.store.grants import Granted, Grants
from pcapdj.store.job_queue import (
    Answer,
    JobQueue,
    Nothing,
    QueueEntry,
    Result,
    StreamShallEnd,
    failure_entry,
)
from pcapdj.store.keys import Keys

NAMES = st.binary(min_size=1, max_size=40)


def queue(store: Store, *names: bytes) -> None:
    """Queue the names, as anyone may."""
    store.redis.rpush(store.keys.in_queue, *names)


def held(store: Store, key: str) -> list[bytes]:
    """Return a list's elements."""
    return cast("list[bytes]", store.redis.lrange(key, 0, -1))


def everything(store: Store) -> dict[str, Any]:
    """Return all keys of the lane with their contents, to see that nothing changed."""
    keys = sorted(cast("list[bytes]", list(store.redis.scan_iter(match=f"{store.keys.prefix}*"))))
    return {key.decode(): contents(store, key) for key in keys}


def contents(store: Store, key: bytes) -> Any:
    """Return what a key holds, whatever its type."""
    match store.redis.type(key):
        case b"list":
            return store.redis.lrange(key, 0, -1)
        case b"hash":
            return store.redis.hgetall(key)
        case b"set":
            return store.redis.smembers(key)
        case b"stream":
            return store.redis.xrange(key)
        case _:
            return store.redis.get(key)


def taken_by(transfer: JobQueue) -> QueueEntry:
    """Take a file that has to be there."""
    found = transfer.take()
    assert isinstance(found, QueueEntry)
    return found


def processed(taken: QueueEntry) -> Result:
    """Return the result of a file that was fed whole."""
    identity: dict[str, str | int] = {"size_bytes": 7, "mtime_ns": 8, "dev": 9, "ino": 10}
    return Result(taken.name, "processed", identity, {"packets": 3})


@pytest.fixture
def transfer(store: Store) -> JobQueue:
    """Return a dispatcher's files."""
    return JobQueue(store, "/run/pipe")


@pytest.fixture
def taken(store: Store, transfer: JobQueue) -> QueueEntry:
    """Return the one file of the queue, taken."""
    queue(store, b"/in/1.pcap")
    return taken_by(transfer)


def test_take_moves_the_queues_head_into_current(store: Store, transfer: JobQueue) -> None:
    """In the order in which they were queued."""
    queue(store, b"/in/1.pcap", b"/in/2.pcap")

    taken = taken_by(transfer)

    assert (taken.name, taken.state, taken.attempt, taken.deaths) == (b"/in/1.pcap", "asked", 1, 0)
    assert held(store, store.keys.in_queue) == [b"/in/2.pcap"]
    assert store.redis.hget(store.keys.current("/run/pipe"), "name") == b"/in/1.pcap"


def test_take_from_the_tail_serves_lpush_producers(store: Store) -> None:
    """Some importers push on the left; the oldest is then on the right."""
    store.redis.lpush(store.keys.in_queue, b"/in/1.pcap", b"/in/2.pcap")

    assert taken_by(JobQueue(store, "one", "tail")).name == b"/in/1.pcap"


def test_take_again_returns_the_same_taking(store: Store, transfer: JobQueue) -> None:
    """After a lost reply, and after a restart, which is another object with another token in hand."""
    queue(store, b"/in/1.pcap", b"/in/2.pcap")
    first = taken_by(transfer)
    before = everything(store)

    assert taken_by(transfer) == first
    assert taken_by(JobQueue(store, "/run/pipe")) == first
    assert everything(store) == before


def test_the_same_name_twice_is_two_takings(store: Store, transfer: JobQueue) -> None:
    """So that a late repetition of the first FINISH cannot end the second pass."""
    queue(store, b"/in/1.pcap", b"/in/1.pcap")
    first = taken_by(transfer)
    transfer.finish(first, processed(first))

    second = taken_by(transfer)

    assert second.token != first.token
    assert not transfer.finish(first, processed(first))
    assert transfer.authorize(first)[0] is Answer.NOT_OURS
    assert taken_by(transfer) == second


def test_an_empty_queue_is_an_answer(transfer: JobQueue) -> None:
    """Not an error, and not a wait."""
    assert transfer.take() is Nothing.EMPTY


def test_two_dispatchers_share_a_queue(store: Store) -> None:
    """Each name goes to one of them."""
    queue(store, b"/in/1.pcap", b"/in/2.pcap")

    assert [taken_by(JobQueue(store, each)).name for each in "ab"] == [b"/in/1.pcap", b"/in/2.pcap"]


def test_lanes_do_not_see_each_other(store: Store, transfer: JobQueue) -> None:
    """One Redis for several sensors."""
    other = Store(store.url, Keys(store.keys.lane + "-other"))
    queue(store, b"/in/1.pcap")

    assert JobQueue(other, "/run/pipe").take() is Nothing.EMPTY
    assert taken_by(transfer).name == b"/in/1.pcap"
    other.close()


def test_taking_a_file_withdraws_done(store: Store, transfer: JobQueue) -> None:
    """DONE is about a drained queue."""
    transfer.declare_done()
    assert store.redis.get(store.keys.state) == b"DONE"
    queue(store, b"/in/1.pcap")

    taken_by(transfer)

    assert store.redis.get(store.keys.state) is None


@pytest.mark.parametrize(("wish", "queued"), [("now", [b"/in/2.pcap"]), ("now", []), ("empty", [])])
def test_a_wish_to_end_the_stream_comes_before_the_next_file(
    store: Store, transfer: JobQueue, wish: str, queued: list[bytes]
) -> None:
    """Told as often as asked, until the stream has been ended; then it is gone."""
    if queued:
        queue(store, *queued)
    store.redis.set(store.keys.finish, wish)

    assert transfer.take() == transfer.take() == StreamShallEnd(wish)
    after = transfer.take(wish)

    assert store.redis.get(store.keys.finish) is None
    assert isinstance(after, QueueEntry) == bool(queued)


def test_finish_when_empty_waits_for_the_queue(store: Store, transfer: JobQueue) -> None:
    """What is queued is fed first."""
    store.redis.set(store.keys.finish, "empty")
    queue(store, b"/in/1.pcap")

    taken = taken_by(transfer)
    transfer.finish(taken, processed(taken))

    assert transfer.take() == StreamShallEnd("empty")


def test_a_wish_waits_for_the_file_in_flight(store: Store, transfer: JobQueue, taken: QueueEntry) -> None:
    """`now` means after the current file."""
    store.redis.set(store.keys.finish, "now")

    assert taken_by(transfer) == taken


def test_another_wish_than_the_one_fulfilled_stays(store: Store, transfer: JobQueue) -> None:
    """It came after the stream had been ended for the first."""
    store.redis.set(store.keys.finish, "now")

    assert transfer.take("empty") == StreamShallEnd("now")


def test_announce_lists_the_file_once(store: Store, transfer: JobQueue, taken: QueueEntry) -> None:
    """However often it is repeated."""
    assert transfer.announce(taken)
    assert not transfer.announce(taken)

    assert held(store, store.keys.next) == [b"/in/1.pcap"]


def test_announce_is_repeated_when_a_controller_ate_the_request(
    store: Store, transfer: JobQueue, taken: QueueEntry
) -> None:
    """One that died between reading NEXT and granting."""
    transfer.announce(taken)
    store.redis.lpop(store.keys.next)

    assert transfer.announce(taken)


def test_what_is_not_asked_for_is_not_announced(store: Store, transfer: JobQueue, taken: QueueEntry) -> None:
    """Neither an authorized file nor one that Redis has forgotten."""
    store.redis.set(store.keys.auth, taken.name)
    transfer.authorize(taken)
    assert not transfer.announce(taken)
    store.redis.delete(store.keys.current("/run/pipe"))

    assert not transfer.announce(taken)
    assert held(store, store.keys.next) == []


@pytest.mark.parametrize("form", ["string", "set"])
def test_an_authorization_is_consumed_once(
    store: Store, transfer: JobQueue, taken: QueueEntry, form: str
) -> None:
    """A repetition after a lost reply says the same again; the leftover announcement is dropped."""
    transfer.announce(taken)
    if form == "set":
        store.redis.sadd(store.keys.auth, taken.name, b"/in/other.pcap")
    else:
        store.redis.set(store.keys.auth, taken.name)

    assert transfer.authorize(taken) == (Answer.GRANTED, None)
    before = everything(store)

    assert transfer.authorize(taken) == (Answer.GRANTED, None)
    assert everything(store) == before
    assert held(store, store.keys.next) == []
    assert taken_by(transfer).state == "authorized"
    if form == "set":
        assert store.redis.smembers(store.keys.auth) == {b"/in/other.pcap"}
    else:
        assert store.redis.get(store.keys.auth) is None


@pytest.mark.parametrize("foreign", [b"/in/2.pcap", b"", b"/in/1.pcap ", b"\xff" * 1_000_000])
def test_a_foreign_name_in_the_string_is_told_and_left(
    store: Store, transfer: JobQueue, taken: QueueEntry, foreign: bytes
) -> None:
    """It may be another dispatcher's."""
    store.redis.set(store.keys.auth, foreign)

    assert transfer.authorize(taken) == (Answer.NOT_YET, foreign)
    assert store.redis.get(store.keys.auth) == foreign


def test_nothing_of_a_set_without_the_name_is_consumed(
    store: Store, transfer: JobQueue, taken: QueueEntry
) -> None:
    """The later C version's form."""
    store.redis.sadd(store.keys.auth, b"/in/2.pcap")

    assert transfer.authorize(taken) == (Answer.NOT_YET, None)
    assert store.redis.smembers(store.keys.auth) == {b"/in/2.pcap"}


@pytest.mark.parametrize("form", ["string", "set"])
def test_a_grant_reaches_the_dispatcher(
    store: Store, transfer: JobQueue, taken: QueueEntry, form: Any
) -> None:
    """The announcement is consumed by it; repeated, it finds nothing to grant."""
    transfer.announce(taken)
    grants = Grants(store, form)

    assert grants.grant(taken.name) is Granted.YES
    assert grants.grant(taken.name) is Granted.NOT_REQUESTED

    assert store.redis.type(store.keys.auth) == form.encode()
    assert transfer.authorize(taken)[0] is Answer.GRANTED


def test_a_grant_waits_while_the_string_holds_a_name_still_asked_for(store: Store) -> None:
    """Two dispatchers, one string: the second waits for the first to consume it."""
    queue(store, b"/in/1.pcap", b"/in/2.pcap")
    first, second = JobQueue(store, "a"), JobQueue(store, "b")
    takings = [taken_by(first), taken_by(second)]
    for transfer, taken in zip((first, second), takings, strict=True):
        transfer.enlist()
        transfer.announce(taken)
    grants = Grants(store)

    assert grants.grant(b"/in/1.pcap") is Granted.YES
    assert grants.grant(b"/in/2.pcap") is Granted.OCCUPIED
    assert held(store, store.keys.next) == [b"/in/2.pcap"]

    assert first.authorize(takings[0])[0] is Answer.GRANTED
    assert grants.grant(b"/in/2.pcap") is Granted.YES


@pytest.mark.parametrize(("asked_for_too", "rings"), [(b"/in/2.pcap", [b"consumed"]), (b"", [])])
def test_consuming_the_string_rings_for_the_next_one(
    store: Store, transfer: JobQueue, taken: QueueEntry, asked_for_too: bytes, rings: list[bytes]
) -> None:
    """The controller need not poll an occupied AUTH; where nobody else asks, nobody is woken."""
    transfer.announce(taken)
    Grants(store).grant(taken.name)
    if asked_for_too:
        store.redis.rpush(store.keys.next, asked_for_too)
    with store.redis.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]  # redis-py
        channel.subscribe(store.keys.channel)
        channel.get_message(timeout=5)

        assert transfer.authorize(taken)[0] is Answer.GRANTED
        store.notify("that is all")

        heard = iter(lambda: channel.get_message(timeout=5)["data"], b"that is all")
        assert list(heard) == rings


def test_a_leftover_authorization_is_replaced(store: Store, transfer: JobQueue, taken: QueueEntry) -> None:
    """Nobody asks for that name any more."""
    transfer.enlist()
    transfer.announce(taken)
    store.redis.set(store.keys.auth, b"/in/of-yesterday.pcap")

    assert Grants(store).grant(taken.name) is Granted.YES
    assert store.redis.get(store.keys.auth) == taken.name


def test_finish_moves_the_file_and_writes_it_down(
    store: Store, transfer: JobQueue, taken: QueueEntry
) -> None:
    """To PROCESSED, FED and JOURNAL, in one step; repeated, it changes nothing."""
    transfer.announce(taken)

    assert transfer.finish(taken, processed(taken))
    before = everything(store)
    assert not transfer.finish(taken, processed(taken))

    assert everything(store) == before
    keys = store.keys
    assert held(store, keys.processed) == [b"/in/1.pcap"]
    assert held(store, keys.next) == []
    assert not store.redis.exists(keys.current("/run/pipe"))
    fed = json.loads(before[keys.fed][b"/in/1.pcap"])
    assert (fed["size_bytes"], fed["ino"], fed["result"]) == (7, 10, "processed")
    [(_, journal)] = before[keys.journal]
    assert (journal[b"name"], journal[b"verdict"], journal[b"packets"]) == (b"/in/1.pcap", b"processed", b"3")


def test_a_failed_file_says_why(store: Store, transfer: JobQueue, taken: QueueEntry) -> None:
    """As JSON that gives the name's bytes back."""
    entry = failure_entry(b"/in/\xff\n", CaptureError("is cut off", offset=77), packets=5, attempt=2)

    assert transfer.finish(taken, Result(entry, "failed"))

    [found] = held(store, store.keys.failed)
    told = json.loads(found)
    assert told.pop("time_s") > 1_000_000_000
    assert told == {
        "name": "/in/\udcff\n",
        "reason": "is cut off",
        "offset": 77,
        "packets": 5,
        "attempt": 2,
    }
    assert held(store, store.keys.processed) == []


def test_removed_keys_are_not_ours(store: Store, transfer: JobQueue, taken: QueueEntry) -> None:
    """After a FLUSHALL every script says so, and nothing comes back by itself."""
    store.redis.delete(store.keys.current("/run/pipe"))

    assert transfer.authorize(taken) == (Answer.NOT_OURS, None)
    assert not transfer.announce(taken)
    assert not transfer.finish(taken, processed(taken))
    assert everything(store) == {}


def test_what_was_marked_after_a_flushall_is_no_file(
    store: Store, transfer: JobQueue, taken: QueueEntry
) -> None:
    """Fields without a name are swept away by the next TAKE."""
    store.redis.delete(store.keys.current("/run/pipe"))
    transfer.mark(state="feeding", stream="s1")
    queue(store, b"/in/2.pcap")

    fresh = taken_by(transfer)

    assert (fresh.name, fresh.state, fresh.stream, taken.token == fresh.token) == (
        b"/in/2.pcap",
        "asked",
        "",
        False,
    )


def test_a_mark_survives_a_restart(store: Store, transfer: JobQueue, taken: QueueEntry) -> None:
    """What the next dispatcher has to know of the file."""
    transfer.mark(state="feeding", attempt=2, deaths=1, stream="s1")

    after = taken_by(JobQueue(store, "/run/pipe"))

    assert (after.name, after.token) == (taken.name, taken.token)
    assert (after.state, after.attempt, after.deaths, after.stream) == ("feeding", 2, 1, "s1")


@pytest.mark.parametrize(
    "fields",
    [{"name": "/in/1.pcap"}, {"name": "/in/1.pcap", "attempt": "many", "deaths": "-", "state": "\udcff"}],
)
def test_a_current_that_somebody_else_wrote_is_worked_on(
    store: Store, transfer: JobQueue, fields: dict[str, str]
) -> None:
    """What is missing or nonsense is as for a file just taken; an endless loop would be worse."""
    raw = {name: value.encode("utf-8", "surrogateescape") for name, value in fields.items()}
    store.redis.hset(store.keys.current("/run/pipe"), mapping=dict[Any, Any](raw))

    taken = taken_by(transfer)

    assert (taken.name, taken.attempt, taken.deaths) == (b"/in/1.pcap", 1, 0)
    assert transfer.finish(taken, processed(taken))


@settings(max_examples=30)
@given(st.lists(NAMES, min_size=1, max_size=4))
def test_names_of_any_bytes_go_through_unchanged(store: Store, names: list[bytes]) -> None:
    """Newlines, quotes, bytes that are no UTF-8."""
    store.redis.delete(store.keys.processed, store.keys.fed, store.keys.next, store.keys.journal)
    transfer, grants = JobQueue(store, "/run/\udcff\udcfe"), Grants(store)
    queue(store, *names)

    for _ in names:
        taken = taken_by(transfer)
        transfer.announce(taken)
        assert grants.grant(taken.name) is Granted.YES
        assert transfer.authorize(taken)[0] is Answer.GRANTED
        assert transfer.finish(taken, processed(taken))

    assert held(store, store.keys.processed) == names
    assert set(store.redis.hkeys(store.keys.fed)) == set(names)


def spoil(store: Store, key: str, form: str) -> None:
    """Let another program have written something else there."""
    store.redis.delete(key)
    match form:
        case "list":
            store.redis.rpush(key, "x")
        case "hash":
            store.redis.hset(key, "x", "x")
        case "set":
            store.redis.sadd(key, "x")
        case _:
            store.redis.set(key, "x")


def go_the_whole_way(store: Store) -> None:
    """Do with a file all that is ever done with it."""
    transfer, grants = JobQueue(store, "one"), Grants(store)
    transfer.enlist()
    found = transfer.take()
    if isinstance(found, QueueEntry):
        transfer.announce(found)
        grants.look()
        grants.grant(found.name)
        transfer.authorize(found)
        transfer.mark(state="feeding")
        transfer.finish(found, processed(found))
        transfer.finish(found, Result(b"{}", "failed"))


@pytest.mark.parametrize("form", ["list", "string", "hash", "set"])
@pytest.mark.parametrize(
    "key",
    [
        *("in_queue", "next", "auth", "processed", "failed", "fed", "journal", "finish", "state"),
        *("dispatchers", "control", "current"),
    ],
)
def test_a_key_of_another_type_is_an_error_of_ours(store: Store, key: str, form: str) -> None:
    """Whatever somebody wrote there, nothing foreign is raised."""
    queue(store, b"/in/1.pcap")
    spoil(store, store.keys.current("one") if key == "current" else getattr(store.keys, key), form)

    with suppress(PcapdjError):
        go_the_whole_way(store)


@pytest.mark.parametrize("key", ["processed", "next", "fed", "journal"])
def test_finish_moves_nothing_where_a_key_is_of_another_type(
    store: Store, transfer: JobQueue, taken: QueueEntry, key: str
) -> None:
    """Scripts are not rolled back: a name taken out first would be lost."""
    spoil(store, getattr(store.keys, key), "string")
    before = everything(store)

    with pytest.raises(PcapdjError, match="Another program wrote"):
        transfer.finish(taken, processed(taken))

    assert everything(store) == before


def test_authorize_consumes_nothing_where_a_key_is_of_another_type(
    store: Store, transfer: JobQueue, taken: QueueEntry
) -> None:
    """As above."""
    store.redis.set(store.keys.auth, taken.name)
    spoil(store, store.keys.next, "string")

    with pytest.raises(PcapdjError, match="Another program wrote"):
        transfer.authorize(taken)

    assert store.redis.get(store.keys.auth) == taken.name
