"""The scripts that move names, on a real Redis: what each does, and that repeating it changes nothing."""

import json
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcapdj.runtime.errors import CaptureError, PcapdjError
from pcapdj.store import operate
from pcapdj.store.client import Store
from pcapdj.store.grants import Granted, Grants
from pcapdj.store.job_queue import (
    Answer,
    EndStream,
    JobQueue,
    QueueEntry,
    Result,
    failure_entry,
)
from pcapdj.store.keys import Keys

NAMES = st.binary(min_size=1, max_size=40)


def queue(store: Store, *names: bytes) -> None:
    """Queue the names, as any program may."""
    store.redis.rpush(store.keys.in_queue, *names)


def held(store: Store, key: str) -> list[bytes]:
    """Return a list's elements."""
    return cast("list[bytes]", store.redis.lrange(key, 0, -1))


def everything(store: Store) -> dict[str, Any]:
    """Return all keys of the lane with their values, to compare them later."""
    keys = sorted(cast("list[bytes]", list(store.redis.scan_iter(match=f"{store.keys.prefix}*"))))
    return {key.decode(): contents(store, key) for key in keys}


def contents(store: Store, key: bytes) -> Any:
    """Return the value of a key of any type."""
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


def taken_by(jobs: JobQueue) -> QueueEntry:
    """Take the next file; fail if there is none."""
    found = jobs.take()
    assert isinstance(found, QueueEntry)
    return found


def processed(taken: QueueEntry) -> Result:
    """Return the result of a file that was fed whole."""
    identity: dict[str, str | int] = {"size_bytes": 7, "mtime_ns": 8, "dev": 9, "ino": 10}
    return Result(taken.name, "processed", identity, {"packets": 3})


@pytest.fixture
def jobs(store: Store) -> JobQueue:
    """Return the job queue of a dispatcher."""
    return JobQueue(store, "/run/pipe")


@pytest.fixture
def taken(store: Store, jobs: JobQueue) -> QueueEntry:
    """Return the only file of the queue, taken."""
    queue(store, b"/in/1.pcap")
    return taken_by(jobs)


def test_take_moves_the_queues_head_into_current(store: Store, jobs: JobQueue) -> None:
    """In the order in which they were queued."""
    queue(store, b"/in/1.pcap", b"/in/2.pcap")

    taken = taken_by(jobs)

    assert (taken.name, taken.state, taken.attempt, taken.deaths) == (b"/in/1.pcap", "asked", 1, 0)
    assert held(store, store.keys.in_queue) == [b"/in/2.pcap"]
    assert store.redis.hget(store.keys.current("/run/pipe"), "name") == b"/in/1.pcap"


def test_take_from_the_tail_serves_lpush_producers(store: Store) -> None:
    """Some importers push on the left; the oldest is then on the right."""
    store.redis.lpush(store.keys.in_queue, b"/in/1.pcap", b"/in/2.pcap")

    assert taken_by(JobQueue(store, "one", "tail")).name == b"/in/1.pcap"


def test_a_repeated_take_returns_the_same_file(store: Store, jobs: JobQueue) -> None:
    """After a lost reply, and after a restart of the dispatcher, whose next token is another one."""
    queue(store, b"/in/1.pcap", b"/in/2.pcap")
    first = taken_by(jobs)
    before = everything(store)

    assert taken_by(jobs) == first
    assert taken_by(JobQueue(store, "/run/pipe")) == first
    assert everything(store) == before


def test_two_takes_of_one_name_have_two_tokens(store: Store, jobs: JobQueue) -> None:
    """So that a late repetition of the first FINISH cannot finish the second file."""
    queue(store, b"/in/1.pcap", b"/in/1.pcap")
    first = taken_by(jobs)
    jobs.finish(first, processed(first))

    second = taken_by(jobs)

    assert second.token != first.token
    assert not jobs.finish(first, processed(first))
    assert jobs.authorize(first)[0] is Answer.NOT_OURS
    assert taken_by(jobs) == second


def test_an_empty_queue_is_a_result(jobs: JobQueue) -> None:
    """TAKE neither fails nor waits."""
    assert jobs.take() is None


def test_two_dispatchers_share_a_queue(store: Store) -> None:
    """Each file is taken by one of them."""
    queue(store, b"/in/1.pcap", b"/in/2.pcap")

    assert [taken_by(JobQueue(store, each)).name for each in "ab"] == [b"/in/1.pcap", b"/in/2.pcap"]


def test_lanes_are_separate(store: Store, jobs: JobQueue) -> None:
    """Several sensors share one Redis."""
    other = Store(store.url, Keys(store.keys.lane + "-other"))
    queue(store, b"/in/1.pcap")

    assert JobQueue(other, "/run/pipe").take() is None
    assert taken_by(jobs).name == b"/in/1.pcap"
    other.close()


def test_taking_a_file_removes_done(store: Store, jobs: JobQueue) -> None:
    """DONE means that the queue was drained."""
    jobs.declare_done()
    assert store.redis.get(store.keys.state) == b"DONE"
    queue(store, b"/in/1.pcap")

    taken_by(jobs)

    assert store.redis.get(store.keys.state) is None


@pytest.mark.parametrize(("when", "queued"), [("now", [b"/in/2.pcap"]), ("now", []), ("empty", [])])
def test_an_order_to_end_the_stream_comes_before_the_next_file(
    store: Store, jobs: JobQueue, when: str, queued: list[bytes]
) -> None:
    """TAKE returns it until the stream has ended; then it is removed."""
    if queued:
        queue(store, *queued)
    store.redis.set(store.keys.finish, when)

    assert jobs.take() == jobs.take() == EndStream(when)
    after = jobs.take(when)

    assert store.redis.get(store.keys.finish) is None
    assert isinstance(after, QueueEntry) == bool(queued)


def test_an_order_to_end_the_stream_is_for_each_dispatcher_of_the_lane(store: Store) -> None:
    """Who has ended its stream goes on meanwhile; the last one removes the order."""
    queues = [JobQueue(store, each) for each in ("/run/a", "/run/b", "/run/c")]
    for each in queues:
        each.register()
    operate.finish(store, "now")
    queue(store, b"/in/1.pcap", b"/in/2.pcap", b"/in/3.pcap")

    for each in queues:
        assert each.take() == EndStream("now")
        assert store.redis.get(store.keys.finish) == b"now"
        assert isinstance(each.take("now"), QueueEntry)

    assert everything(store).keys().isdisjoint({store.keys.finish, store.keys.finished})


def test_a_second_order_to_end_the_stream_is_for_all_again(store: Store) -> None:
    """Also while a dispatcher that died has not followed the first one."""
    queues = [JobQueue(store, each) for each in ("/run/a", "/run/dead")]
    for each in queues:
        each.register()
    operate.finish(store, "empty")
    assert queues[0].take() == EndStream("empty")
    assert queues[0].take("empty") is None

    operate.finish(store, "empty")

    assert queues[0].take() == EndStream("empty")


def test_an_order_to_end_the_stream_costs_the_same_whatever_other_programs_register(
    store: Store, jobs: JobQueue
) -> None:
    """A million ids that are no dispatchers are not read at each TAKE, which comes again and again."""
    jobs.register()
    store.redis.sadd(store.keys.dispatchers, *(f"/run/{number}" for number in range(2000)))
    queue(store, b"/in/1.pcap")
    operate.finish(store, "now")
    before = calls_of(store, "smembers")

    assert isinstance(jobs.take("now"), QueueEntry)

    assert calls_of(store, "smembers") == before
    assert store.redis.get(store.keys.finish) == b"now"


def calls_of(store: Store, command: str) -> int:
    """Return how often the server has executed a command since its start, also in scripts."""
    statistics: dict[str, Any] = store.redis.info("commandstats")
    return int(statistics.get(f"cmdstat_{command}", {"calls": 0})["calls"])


def test_what_is_left_of_an_order_that_was_removed_does_not_count(store: Store, jobs: JobQueue) -> None:
    """A foreign program writes and removes PCAPDJ_FINISH alone."""
    store.redis.sadd(store.keys.finished, "/run/pipe")
    assert jobs.take() is None
    store.redis.set(store.keys.finish, "empty")

    assert jobs.take() == EndStream("empty")


def test_finish_when_empty_waits_for_the_queue(store: Store, jobs: JobQueue) -> None:
    """The queued files are fed first."""
    store.redis.set(store.keys.finish, "empty")
    queue(store, b"/in/1.pcap")

    taken = taken_by(jobs)
    jobs.finish(taken, processed(taken))

    assert jobs.take() == EndStream("empty")


def test_an_order_to_end_the_stream_waits_for_the_file_in_flight(
    store: Store, jobs: JobQueue, taken: QueueEntry
) -> None:
    """`now` means after the current file."""
    store.redis.set(store.keys.finish, "now")

    assert taken_by(jobs) == taken


def test_a_new_order_to_end_the_stream_stays(store: Store, jobs: JobQueue) -> None:
    """It came after the stream had ended for the first one."""
    store.redis.set(store.keys.finish, "now")

    assert jobs.take("empty") == EndStream("now")


def test_announce_requests_the_file_once(store: Store, jobs: JobQueue, taken: QueueEntry) -> None:
    """NEXT holds one request, however often it is repeated."""
    assert jobs.announce(taken)
    assert not jobs.announce(taken)

    assert held(store, store.keys.next) == [b"/in/1.pcap"]


def test_announce_requests_again_what_a_controller_removed_from_next(
    store: Store, jobs: JobQueue, taken: QueueEntry
) -> None:
    """A controller may die after it read NEXT and before it granted."""
    jobs.announce(taken)
    store.redis.lpop(store.keys.next)

    assert jobs.announce(taken)


def test_a_file_that_needs_no_authorization_is_not_announced(
    store: Store, jobs: JobQueue, taken: QueueEntry
) -> None:
    """Neither an authorized file nor one whose CURRENT was removed."""
    store.redis.set(store.keys.auth, taken.name)
    jobs.authorize(taken)
    assert not jobs.announce(taken)
    store.redis.delete(store.keys.current("/run/pipe"))

    assert not jobs.announce(taken)
    assert held(store, store.keys.next) == []


@pytest.mark.parametrize("form", ["string", "set"])
def test_an_authorization_is_consumed_once(
    store: Store, jobs: JobQueue, taken: QueueEntry, form: str
) -> None:
    """A repetition after a lost reply returns the same again; the request is removed from NEXT."""
    jobs.announce(taken)
    if form == "set":
        store.redis.sadd(store.keys.auth, taken.name, b"/in/other.pcap")
    else:
        store.redis.set(store.keys.auth, taken.name)

    assert jobs.authorize(taken) == (Answer.GRANTED, None)
    before = everything(store)

    assert jobs.authorize(taken) == (Answer.GRANTED, None)
    assert everything(store) == before
    assert held(store, store.keys.next) == []
    assert taken_by(jobs).state == "authorized"
    if form == "set":
        assert store.redis.smembers(store.keys.auth) == {b"/in/other.pcap"}
    else:
        assert store.redis.get(store.keys.auth) is None


@pytest.mark.parametrize("foreign", [b"/in/2.pcap", b"", b"/in/1.pcap ", b"\xff" * 1_000_000])
def test_another_name_in_the_string_is_returned_and_stays(
    store: Store, jobs: JobQueue, taken: QueueEntry, foreign: bytes
) -> None:
    """It may be the authorization of another dispatcher."""
    store.redis.set(store.keys.auth, foreign)

    shown = foreign if len(foreign) <= 8192 else b"(1000000 bytes)"
    assert jobs.authorize(taken) == (Answer.NOT_YET, shown)
    assert store.redis.get(store.keys.auth) == foreign


def test_a_set_without_the_name_stays_as_it_is(store: Store, jobs: JobQueue, taken: QueueEntry) -> None:
    """The later C version writes a set."""
    store.redis.sadd(store.keys.auth, b"/in/2.pcap")

    assert jobs.authorize(taken) == (Answer.NOT_YET, None)
    assert store.redis.smembers(store.keys.auth) == {b"/in/2.pcap"}


@pytest.mark.parametrize("form", ["string", "set"])
def test_a_grant_reaches_the_dispatcher(store: Store, jobs: JobQueue, taken: QueueEntry, form: Any) -> None:
    """It removes the request; repeated, it finds nothing to grant."""
    jobs.announce(taken)
    grants = Grants(store, form)

    assert grants.grant(taken.name) is Granted.YES
    assert grants.grant(taken.name) is Granted.NOT_REQUESTED

    assert store.redis.type(store.keys.auth) == form.encode()
    assert jobs.authorize(taken)[0] is Answer.GRANTED


def test_a_grant_waits_while_the_string_holds_a_name_that_is_still_requested(store: Store) -> None:
    """Two dispatchers, one string: the second waits until the first has consumed it."""
    queue(store, b"/in/1.pcap", b"/in/2.pcap")
    first, second = JobQueue(store, "a"), JobQueue(store, "b")
    entries = [taken_by(first), taken_by(second)]
    for jobs, taken in zip((first, second), entries, strict=True):
        jobs.register()
        jobs.announce(taken)
    grants = Grants(store)

    assert grants.grant(b"/in/1.pcap") is Granted.YES
    assert grants.grant(b"/in/2.pcap") is Granted.OCCUPIED
    assert held(store, store.keys.next) == [b"/in/2.pcap"]

    assert first.authorize(entries[0])[0] is Answer.GRANTED
    assert grants.grant(b"/in/2.pcap") is Granted.YES


@pytest.mark.parametrize(("other_request", "expected"), [(b"/in/2.pcap", [b"consumed"]), (b"", [])])
def test_a_consumed_string_is_published_for_the_next_request(
    store: Store, jobs: JobQueue, taken: QueueEntry, other_request: bytes, expected: list[bytes]
) -> None:
    """The controller does not poll an occupied AUTH; without another request no message is published."""
    jobs.announce(taken)
    Grants(store).grant(taken.name)
    if other_request:
        store.redis.rpush(store.keys.next, other_request)
    with store.redis.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]  # redis-py
        channel.subscribe(store.keys.channel)
        channel.get_message(timeout=5)

        assert jobs.authorize(taken)[0] is Answer.GRANTED
        store.notify("end of the test")

        received = iter(lambda: channel.get_message(timeout=5)["data"], b"end of the test")
        assert list(received) == expected


def test_a_leftover_authorization_is_replaced(store: Store, jobs: JobQueue, taken: QueueEntry) -> None:
    """No dispatcher requests that name any more."""
    jobs.register()
    jobs.announce(taken)
    store.redis.set(store.keys.auth, b"/in/of-yesterday.pcap")

    assert Grants(store).grant(taken.name) is Granted.YES
    assert store.redis.get(store.keys.auth) == taken.name


def test_finish_moves_and_records_the_file(store: Store, jobs: JobQueue, taken: QueueEntry) -> None:
    """To PROCESSED, with entries in FED and JOURNAL, in one step; repeated, it changes nothing."""
    jobs.announce(taken)

    assert jobs.finish(taken, processed(taken))
    before = everything(store)
    assert not jobs.finish(taken, processed(taken))

    assert everything(store) == before
    keys = store.keys
    assert held(store, keys.processed) == [b"/in/1.pcap"]
    assert held(store, keys.next) == []
    assert not store.redis.exists(keys.current("/run/pipe"))
    fed = json.loads(before[keys.fed][b"/in/1.pcap"])
    assert (fed["size_bytes"], fed["ino"], fed["result"]) == (7, 10, "processed")
    [(_, journal)] = before[keys.journal]
    assert (journal[b"name"], journal[b"verdict"], journal[b"packets"]) == (b"/in/1.pcap", b"processed", b"3")


def test_a_failed_file_has_its_reason(store: Store, jobs: JobQueue, taken: QueueEntry) -> None:
    """As JSON from which the name's bytes can be read back."""
    entry = failure_entry(b"/in/\xff\n", CaptureError("is cut off", offset=77), packets=5, attempt=2)

    assert jobs.finish(taken, Result(entry, "failed"))

    [found] = held(store, store.keys.failed)
    entry_fields = json.loads(found)
    assert entry_fields.pop("time_s") > 1_000_000_000
    assert entry_fields == {
        "name": "/in/\udcff\n",
        "reason": "is cut off",
        "offset": 77,
        "packets": 5,
        "attempt": 2,
    }
    assert held(store, store.keys.processed) == []


def test_a_file_whose_keys_were_removed_is_not_ours(store: Store, jobs: JobQueue, taken: QueueEntry) -> None:
    """After a FLUSHALL every script reports that, and none writes a key."""
    store.redis.delete(store.keys.current("/run/pipe"))

    assert jobs.authorize(taken) == (Answer.NOT_OURS, None)
    assert not jobs.announce(taken)
    assert not jobs.finish(taken, processed(taken))
    assert everything(store) == {}


def test_fields_written_after_a_flushall_are_not_a_file(
    store: Store, jobs: JobQueue, taken: QueueEntry
) -> None:
    """The next TAKE removes fields without a name."""
    store.redis.delete(store.keys.current("/run/pipe"))
    jobs.mark(state="feeding", stream="s1")
    queue(store, b"/in/2.pcap")

    fresh = taken_by(jobs)

    assert (fresh.name, fresh.state, fresh.stream, taken.token == fresh.token) == (
        b"/in/2.pcap",
        "asked",
        "",
        False,
    )


def test_a_mark_survives_a_restart(store: Store, jobs: JobQueue, taken: QueueEntry) -> None:
    """The next dispatcher needs it."""
    jobs.mark(state="feeding", attempt=2, deaths=1, stream="s1")

    after = taken_by(JobQueue(store, "/run/pipe"))

    assert (after.name, after.token) == (taken.name, taken.token)
    assert (after.state, after.attempt, after.deaths, after.stream) == ("feeding", 2, 1, "s1")


@pytest.mark.parametrize(
    "fields",
    [{"name": "/in/1.pcap"}, {"name": "/in/1.pcap", "attempt": "many", "deaths": "-", "state": "\udcff"}],
)
def test_a_current_that_another_program_wrote_is_fed(
    store: Store, jobs: JobQueue, fields: dict[str, str]
) -> None:
    """Missing and invalid fields count as those of a file just taken; TAKE must not loop for ever."""
    raw = {name: value.encode("utf-8", "surrogateescape") for name, value in fields.items()}
    store.redis.hset(store.keys.current("/run/pipe"), mapping=dict[Any, Any](raw))

    taken = taken_by(jobs)

    assert (taken.name, taken.attempt, taken.deaths) == (b"/in/1.pcap", 1, 0)
    assert jobs.finish(taken, processed(taken))


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_names_of_any_bytes_go_through_unchanged(store: Store, names: list[bytes]) -> None:
    """Newlines, quotes, bytes that are not UTF-8."""
    store.redis.delete(store.keys.processed, store.keys.fed, store.keys.next, store.keys.journal)
    jobs, grants = JobQueue(store, "/run/\udcff\udcfe"), Grants(store)
    queue(store, *names)

    for _ in names:
        taken = taken_by(jobs)
        jobs.announce(taken)
        assert grants.grant(taken.name) is Granted.YES
        assert jobs.authorize(taken)[0] is Answer.GRANTED
        assert jobs.finish(taken, processed(taken))

    assert held(store, store.keys.processed) == names
    assert set(store.redis.hkeys(store.keys.fed)) == set(names)


def write_other_type(store: Store, key: str, form: str) -> None:
    """Give a key another type, as another program may."""
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


def handle_one_file(store: Store) -> None:
    """Run every call that handles a file."""
    jobs, grants = JobQueue(store, "one"), Grants(store)
    jobs.register()
    found = jobs.take()
    if isinstance(found, QueueEntry):
        jobs.announce(found)
        grants.look()
        grants.grant(found.name)
        jobs.authorize(found)
        jobs.mark(state="feeding")
        jobs.finish(found, processed(found))
        jobs.finish(found, Result(b"{}", "failed"))


@pytest.mark.parametrize("form", ["list", "string", "hash", "set"])
@pytest.mark.parametrize(
    "key",
    [
        *("in_queue", "next", "auth", "processed", "failed", "fed", "journal", "finish", "state"),
        *("dispatchers", "control", "current"),
    ],
)
def test_a_key_of_another_type_raises_one_of_our_errors(store: Store, key: str, form: str) -> None:
    """Whatever another program wrote there, no error of redis-py is raised."""
    queue(store, b"/in/1.pcap")
    write_other_type(store, store.keys.current("one") if key == "current" else getattr(store.keys, key), form)

    with suppress(PcapdjError):
        handle_one_file(store)


@pytest.mark.parametrize("key", ["processed", "next", "fed", "journal"])
def test_finish_moves_nothing_where_a_key_is_of_another_type(
    store: Store, jobs: JobQueue, taken: QueueEntry, key: str
) -> None:
    """Scripts are not rolled back: a name that was removed first would be lost."""
    write_other_type(store, getattr(store.keys, key), "string")
    before = everything(store)

    with pytest.raises(PcapdjError, match="Another program wrote"):
        jobs.finish(taken, processed(taken))

    assert everything(store) == before


def test_authorize_consumes_nothing_where_a_key_is_of_another_type(
    store: Store, jobs: JobQueue, taken: QueueEntry
) -> None:
    """Scripts are not rolled back: the authorization would be lost."""
    store.redis.set(store.keys.auth, taken.name)
    write_other_type(store, store.keys.next, "string")

    with pytest.raises(PcapdjError, match="Another program wrote"):
        jobs.authorize(taken)

    assert store.redis.get(store.keys.auth) == taken.name


def begin(jobs: JobQueue, taken: QueueEntry, ended: str, place: str) -> bool:
    """Begin another pass of the entry, as its second attempt after one death."""
    return jobs.begin_pass(replace(taken, attempt=2, deaths=1), ended, place)


def test_a_file_goes_on_behind_the_stream_that_it_was_fed_into(jobs: JobQueue, taken: QueueEntry) -> None:
    """It is requested again; its attempt is the same. A second call, after a lost reply, changes nothing."""
    jobs.mark(state="feeding", stream="abcd")

    answers = [begin(jobs, taken, "abcd", '{"offset":9}') for _ in range(2)]

    entry = taken_by(jobs)
    assert answers == [True, True]
    assert (entry.state, entry.stream, entry.begin) == ("asked", "", '{"offset":9}')
    assert (entry.attempt, entry.deaths) == (1, 0)


@pytest.mark.parametrize(("stream", "ended"), [("abcd", ""), ("abcd", "other"), ("", "other")])
def test_a_file_is_fed_again_after_any_other_stream(
    jobs: JobQueue, taken: QueueEntry, stream: str, ended: str
) -> None:
    """From where the last pass began."""
    jobs.mark(state="feeding", stream=stream, begin="earlier")

    answers = [begin(jobs, taken, ended, "later") for _ in range(2)]

    entry = taken_by(jobs)
    assert answers == [False, False]
    assert (entry.state, entry.stream, entry.begin) == ("asked", "", "earlier")
    assert (entry.attempt, entry.deaths) == (2, 1)


def test_a_file_that_went_on_and_lost_its_next_stream_is_fed_again_from_there(
    jobs: JobQueue, taken: QueueEntry
) -> None:
    """The launcher's file still names the stream before."""
    jobs.mark(state="feeding", stream="next", begin="place")

    assert not begin(jobs, taken, "abcd", "place")
    assert (taken_by(jobs).attempt, taken_by(jobs).begin) == (2, "place")


def test_another_entry_is_left_alone(store: Store, jobs: JobQueue, taken: QueueEntry) -> None:
    """A take that is over changes nothing."""
    before = everything(store)

    assert not begin(jobs, replace(taken, token="another"), "", "")  # noqa: S106 - of a queue entry
    assert everything(store) == before
