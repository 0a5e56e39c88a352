"""Every way to lose a reply of each script that moves a file: the outcome is that of one call."""

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest
from support.cases import some_long

from faults.proxy import ERRORS, FAULTS, Fault, Proxy, cut_after, pass_on, refuse
from pcapdj.runtime.errors import StoreDenied, StoreUnavailable
from pcapdj.store.client import Store
from pcapdj.store.enqueue import enqueue_new
from pcapdj.store.grants import Grants
from pcapdj.store.job_queue import JobQueue, QueueEntry, Result
from pcapdj.store.queue_check import compare_now
from pcapdj.store.registration import Registration

TIMEOUT_S = 0.08
SPARE_ATTEMPTS = 20  # a machine with much to do may miss so short a timeout
NAME, OTHER = b"/in/1 \xff\n.pcap", b"/in/2.pcap"
COLD_REQUESTS = 18  # of six scripts: EVALSHA that is not known, SCRIPT LOAD, EVALSHA
TIME = re.compile(rb'"time_s": [\d.]+')  # of FED
Dump = dict[bytes, Any]
READ: dict[bytes, Callable[[Any, bytes], object]] = {
    b"hash": lambda batch, key: batch.hgetall(key),
    b"list": lambda batch, key: batch.lrange(key, 0, -1),
    b"stream": lambda batch, key: batch.xrange(key),
    b"set": lambda batch, key: batch.smembers(key),
    b"string": lambda batch, key: batch.get(key),
}
SHOWN: dict[bytes, Callable[[Any], Any]] = {
    b"hash": lambda fields: {
        name: TIME.sub(b"", value) for name, value in fields.items() if name not in (b"token", b"finished")
    },
    b"stream": lambda entries: [fields for _, fields in entries or ()],
}


@dataclass(frozen=True)
class Version:
    """A file's state, for ENQUEUE."""

    size_bytes: int = 1
    mtime_ns: int = 2


@dataclass(frozen=True)
class Script:
    """A script's call, and how Redis has to stand before it."""

    prepare: Callable[[Store], object]
    call: Callable[[Store, QueueEntry | None], object]


def taken(store: Store) -> QueueEntry:
    """Take the file, without any fault."""
    answer = JobQueue(store, "d").take()
    assert isinstance(answer, QueueEntry)
    return answer


def announced(store: Store) -> QueueEntry:
    """Take and announce it."""
    JobQueue(store, "d").announce(mine := taken(store))
    return mine


def granted(store: Store) -> QueueEntry:
    """Take, announce and grant it."""
    mine = announced(store)
    Grants(store).grant(NAME)
    return mine


def authorized(store: Store) -> QueueEntry:
    """Take, announce, grant and authorize it."""
    JobQueue(store, "d").authorize(mine := granted(store))
    return mine


def fed(store: Store) -> QueueEntry:
    """Take, announce, grant and authorize it; a stream has a part of it."""
    mine = authorized(store)
    JobQueue(store, "d").mark(state="feeding", stream="s")
    return mine


def lost(store: Store) -> QueueEntry:
    """Take it; then Redis loses the dispatcher's keys."""
    mine = taken(store)
    store.redis.delete(store.keys.current("d"))
    store.redis.srem(store.keys.dispatchers, "d")
    return mine


def kept(store: Store, mine: QueueEntry) -> None:
    """Write the dispatcher's keys again."""
    registration = Registration(store.keys, "d")
    registration.take({"name": mine.name, "token": mine.token.encode()})
    registration.register(store)
    registration.restore(store)


def with_lost_name(store: Store) -> None:
    """Queue a file, and remove its name without its line."""
    enqueue_new(store, {b"/in/3": Version()})
    store.redis.lrem(store.keys.in_queue, 1, "/in/3")


def begin_pass(store: Store, mine: QueueEntry | None, ended_stream: str) -> bool:
    """Prepare it for its second attempt, or for the rest of the first."""
    again = replace(mine or never(), attempt=2, deaths=1)
    return JobQueue(store, "d").begin_pass(again, ended_stream, "place")


SCRIPTS = {
    "take": Script(lambda _: None, lambda store, _: JobQueue(store, "d").take()),
    "announce": Script(taken, lambda store, mine: JobQueue(store, "d").announce(mine or never())),
    "grant": Script(announced, lambda store, _: Grants(store).grant(NAME)),
    "authorize": Script(granted, lambda store, mine: JobQueue(store, "d").authorize(mine or never())),
    "finish": Script(
        authorized,
        lambda store, mine: JobQueue(store, "d").finish(mine or never(), Result(NAME, "processed")),
    ),
    "begin_pass behind a stream": Script(fed, lambda store, mine: begin_pass(store, mine, "s")),
    "begin_pass again": Script(fed, lambda store, mine: begin_pass(store, mine, "other")),
    "restore": Script(lost, lambda store, mine: kept(store, mine or never())),
    "compare": Script(with_lost_name, lambda store, _: compare_now(store)),
    "enqueue": Script(lambda _: None, lambda store, _: enqueue_new(store, {b"/in/3": Version()})),
}


def never() -> QueueEntry:
    """Say that the file was taken before."""
    raise AssertionError("the file was taken")


@pytest.fixture(scope="module")
def proxy(redis_socket: Any) -> Iterator[Proxy]:
    """Return a proxy before the session's Redis."""
    proxy = Proxy(redis_socket)
    yield proxy
    proxy.close()


@pytest.fixture
def proxied(proxy: Proxy, store: Store) -> Iterator[Store]:
    """Return the test's lane, seen through the proxy."""
    proxied = Store(f"redis://127.0.0.1:{proxy.port}/0", store.keys, timeout_s=TIMEOUT_S)
    yield proxied
    proxied.close()


def fill(store: Store) -> None:
    """Empty the lane, and put there what must stay: other files, another dispatcher, its request."""
    keys = store.keys
    before = store.redis.keys(f"{keys.prefix}*")
    with store.redis.pipeline(transaction=False) as batch:
        if before:
            batch.delete(*before)
        batch.rpush(keys.in_queue, NAME, OTHER)
        batch.sadd(keys.dispatchers, "d", "e")
        batch.hset(keys.current("e"), mapping={"name": b"/in/0", "state": "asked", "token": "e"})
        batch.rpush(keys.next, b"/in/0")
        batch.rpush(keys.processed, NAME)
        batch.execute()


def dump(store: Store) -> Dump:
    """Return everything in the lane; a taking's token is not compared, nor when something happened."""
    found: Any = store.redis.keys(f"{store.keys.prefix}*")
    with store.redis.pipeline(transaction=False) as batch:
        for key in found:
            batch.type(key)
        kinds = batch.execute()
        for key, kind in zip(found, kinds, strict=True):
            READ[kind](batch, key)
        values = batch.execute()
    return {
        key: SHOWN.get(kind, lambda value: value)(value)
        for key, kind, value in zip(found, kinds, values, strict=True)
    }


def outcome(store: Store, script: Script) -> Dump:
    """Return the lane after one call that nothing disturbs."""
    fill(store)
    mine = script.prepare(store)
    script.call(store, mine if isinstance(mine, QueueEntry) else None)
    assert_nothing_else_moved(store)
    return dump(store)


def assert_nothing_else_moved(store: Store) -> None:
    """What belongs to another dispatcher, or is not asked for, stands where it stood."""
    client, keys = store.redis, store.keys
    assert OTHER in client.lrange(keys.in_queue, 0, -1)
    assert client.lrange(keys.next, 0, 0) == [b"/in/0"]
    assert client.hgetall(keys.current("e")) == {b"name": b"/in/0", b"state": b"asked", b"token": b"e"}
    assert client.lrange(keys.processed, 0, 0) == [NAME]


def disturbed(store: Store, proxied: Store, proxy: Proxy, script: Script, faults: Sequence[Fault]) -> Dump:
    """Return the lane after the call was repeated, as roles do, until an answer came through these faults."""
    fill(store)
    mine = script.prepare(store)
    proxy.plan(*faults)
    call = bound(script, proxied, mine if isinstance(mine, QueueEntry) else None)
    messages = list[str]()
    for _ in range(len(faults) + SPARE_ATTEMPTS):
        before = proxy.requests
        try:
            call()
        except (StoreUnavailable, StoreDenied) as exc:
            messages.append(str(exc))
            continue
        finally:
            assert proxy.requests - before <= COLD_REQUESTS, "the client repeats a request by itself"
        return dump(store)
    raise AssertionError(f"no answer, though nothing is wrong any more: {messages}")


def bound(script: Script, proxied: Store, mine: QueueEntry | None) -> Callable[[], object]:
    """Return the call of one long-lived caller: TAKE's token belongs to it."""
    if script is SCRIPTS["take"]:
        return JobQueue(proxied, "d").take
    return lambda: script.call(proxied, mine)


def check(
    store: Store,
    proxied: Store,
    proxy: Proxy,
    name: str,
    plans: Mapping[str, Sequence[Fault]],
    *,
    cold: bool,
) -> None:
    """Try each plan; the lane has to look as after one undisturbed call, or two."""
    script = SCRIPTS[name]
    wanted = outcome(store, script)
    for label, faults in plans.items():
        if cold:
            store.redis.script_flush()
        found = disturbed(store, proxied, proxy, script, faults)
        assert found == wanted, f"{name}: {label}"


@pytest.mark.parametrize("name", some_long(SCRIPTS, quick=("take", "authorize", "finish", "enqueue")))
def test_any_fault_changes_nothing(store: Store, proxied: Store, proxy: Proxy, name: str) -> None:
    """The files stand where one call puts them: of each script, after each of seven faults."""
    plans = {label: (fault,) for label, fault in FAULTS.items()}

    check(store, proxied, proxy, name, plans, cold=False)


@pytest.mark.long
@pytest.mark.parametrize("name", SCRIPTS)
def test_any_two_faults_in_a_row_change_nothing(
    store: Store, proxied: Store, proxy: Proxy, name: str
) -> None:
    """Each of seven faults after each."""
    plans = {
        f"{first}, then {second}": (one, two)
        for (first, one), (second, two) in itertools.product(FAULTS.items(), repeat=2)
    }

    check(store, proxied, proxy, name, plans, cold=False)


@pytest.mark.long
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_that_redis_does_not_have_yet_may_be_disturbed_at_each_request(
    store: Store, proxied: Store, proxy: Proxy, name: str
) -> None:
    """The call is three requests then: each may be lost."""
    plans = {
        f"{label} at request {position + 1}": (*(pass_on,) * position, fault)
        for position in range(COLD_REQUESTS)
        for label, fault in FAULTS.items()
    }

    check(store, proxied, proxy, name, plans, cold=True)


@pytest.mark.long
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_reply_may_break_off_at_each_byte(store: Store, proxied: Store, proxy: Proxy, name: str) -> None:
    """From none to all but one."""
    longest = 200 if name == "take" else 8
    plans = {f"cut after {length} bytes": (cut_after(length),) for length in range(longest)}

    check(store, proxied, proxy, name, plans, cold=False)


@pytest.mark.parametrize("name", some_long(SCRIPTS, quick=("take", "authorize", "finish", "enqueue")))
def test_what_redis_refuses_is_asked_again(store: Store, proxied: Store, proxy: Proxy, name: str) -> None:
    """Loading, read-only, out of memory, misconfigured, wrong password: it waits, and then it works."""
    plans: dict[str, Sequence[Fault]] = {error.split()[0]: (refuse(error),) * 2 for error in ERRORS}
    plans["NOSCRIPT"] = (refuse("NOSCRIPT No matching script."),)

    check(store, proxied, proxy, name, plans, cold=False)


def test_one_call_asks_redis_once(store: Store, proxied: Store, proxy: Proxy) -> None:
    """Its failure is raised at once: the client repeats nothing by itself; no call outlives its timeout."""
    script = SCRIPTS["announce"]
    outcome(store, script)
    for fault in FAULTS.values():
        proxy.plan(fault)
        with suppress(StoreUnavailable):
            script.call(proxied, taken(store))
        assert proxy.requests == 1


def test_the_campaign_has_enough_cases() -> None:
    """At least 280 over the five scripts that move names."""
    assert 5 * (7 + 49 + 21 + 8) >= 280
