"""Each file is queued once, whatever happens to replies. On a real Redis."""

import json
import select
import socket
import threading
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import pytest
from support.rows import each_row

from pcapdj.store.client import Store
from pcapdj.store.enqueue import Outcome, enqueue_new, fed_files, last_lines, was_fed
from pcapdj.store.job_queue import JobQueue, QueueEntry, Result
from pcapdj.store.keys import Keys
from pcapdj.store.notifier import Notifier
from pcapdj.store.retrying import RetryingStore


@dataclass(frozen=True)
class Version:
    """A file's size and time."""

    size_bytes: int = 10
    mtime_ns: int = 1_700_000_000_123_456_789


def queue_of(store: Store) -> list[bytes]:
    """Return the names in the queue."""
    return cast("list[bytes]", store.redis.lrange(store.keys.in_queue, 0, -1))


def feed(store: Store, name: bytes, version: Version) -> None:
    """Record in FED that this version was fed."""
    entry = {"size_bytes": version.size_bytes, "mtime_ns": version.mtime_ns, "result": "failed"}
    store.redis.hset(store.keys.fed, mapping=dict[Any, Any]({name: json.dumps(entry)}))


def make_current(store: Store, name: bytes) -> None:
    """Make this the current file of a dispatcher."""
    store.redis.sadd(store.keys.dispatchers, "/pipe")
    store.redis.hset(store.keys.current("/pipe"), mapping=dict[Any, Any]({"name": name}))


@pytest.mark.parametrize("count", [1, 40, 2500])
def test_new_files_are_queued_in_their_order(store: Store, count: int) -> None:
    """Few, many, and more than one script takes."""
    names = [b"/in/%d" % number for number in range(count)]

    outcomes = enqueue_new(store, dict.fromkeys(names, Version()))

    assert queue_of(store) == names
    assert set(outcomes.values()) == {Outcome.NEW}


@pytest.mark.parametrize("company", [0, 40])
def test_files_that_are_queued_current_or_fed_are_not_queued(store: Store, company: int) -> None:
    """Each has its outcome, alone or among many; a file that changed since it was fed is queued."""
    names = [b"/queued", b"/current", b"/fed", b"/fed but changed"]
    others = [b"/other %d" % number for number in range(company)]
    enqueue_new(store, {b"/queued": Version()})
    make_current(store, b"/current")
    feed(store, b"/fed", Version())
    feed(store, b"/fed but changed", Version(size_bytes=9))

    outcomes = enqueue_new(store, dict.fromkeys([*names, *others], Version()))

    assert [outcomes[name] for name in names] == [
        Outcome.QUEUED,
        Outcome.CURRENT,
        Outcome.FED,
        Outcome.NEW,
    ]
    assert queue_of(store) == [b"/queued", b"/fed but changed", *others]


def test_a_fed_file_is_queued_with_again(store: Store) -> None:
    """`--again` queues a fed file, but no file twice."""
    feed(store, b"/fed", Version())
    files = {b"/fed": Version()}

    first, second = (enqueue_new(store, files, again=True)[b"/fed"] for _ in range(2))

    assert (first, second) == (Outcome.NEW, Outcome.QUEUED)


def test_a_notifier_is_readable_after_a_file_was_queued(store: Store) -> None:
    """A waiting dispatcher wakes at once."""
    with closing(Notifier(store)) as notifier:
        poll_until_ready(notifier)
        notifier.clear()

        enqueue_new(store, {b"/new": Version()})

        poll_until_ready(notifier)


def poll_until_ready(notifier: Notifier) -> None:
    """Wait until the notifier is readable."""
    poller = select.poll()
    poller.register(notifier, select.POLLIN)
    assert poller.poll(10_000)


@pytest.mark.parametrize("change", ["nothing", "taken", "fed"])
def test_a_lost_reply_queues_nothing_twice(
    store: Store, redis_socket: Path, short_path: Path, change: str
) -> None:
    """The repeated call finds the file in the queue, at a dispatcher, or fed, and leaves it there."""
    keys = Keys(store.keys.lane)

    class ChangeWhileWaiting:
        """What happens between the two calls; a slow machine may need more."""

        has_changed = False

        def wait(self, _timeout_s: float) -> None:
            """Let a dispatcher take the file, or feed it."""
            jobs = JobQueue(store, "/pipe")
            if change != "nothing" and not self.has_changed:
                self.has_changed = True
                entry = jobs.take()
                assert isinstance(entry, QueueEntry)
                jobs.register()
                if change == "fed":
                    jobs.finish(entry, Result(entry.name, "processed"))

    with losing_a_reply(redis_socket, short_path / "proxy.sock", to=(b"/new", keys.in_queue.encode())):
        enqueue_new(store, {b"/first": Version()})  # Redis has the scripts from now on: the proxy is simple
        store.redis.delete(keys.in_queue, keys.queued)
        behind = RetryingStore(Store(f"unix://{short_path / 'proxy.sock'}", keys), ChangeWhileWaiting(), None)
        outcomes = enqueue_new(behind, {b"/new": Version()})
        behind.close()

    expected = {"nothing": Outcome.QUEUED, "taken": Outcome.CURRENT, "fed": Outcome.FED_MEANWHILE}
    assert outcomes == {b"/new": expected[change]}
    assert queue_of(store) == ([b"/new"] if change == "nothing" else [])


def take(store: Store, end: Literal["head", "tail"] = "head") -> QueueEntry:
    """Take the next file; fail if there is none."""
    entry = JobQueue(store, "/pipe", end).take()
    assert isinstance(entry, QueueEntry)
    return entry


def test_what_was_queued_travels_with_the_name_into_current(store: Store) -> None:
    """The dispatcher compares it with the file; a name that a foreign program pushed has nothing."""
    enqueue_new(store, {b"/in/1": Version()}, lines={b"/in/1": '{"digest":"ab"}'})
    store.redis.rpush(store.keys.in_queue, b"/in/2")

    first = take(store)
    JobQueue(store, "/pipe").finish(first, Result(first.name, "processed"))

    assert (first.queued, take(store).queued) == ('{"digest":"ab"}', "")
    assert last_lines(store, [b"/in/1", b"/in/2"]) == {}


@pytest.mark.parametrize(("end", "order"), [("head", ["one", "two"]), ("tail", ["two", "one"])])
def test_a_name_is_queued_again_behind_the_line_that_the_caller_has_seen(
    store: Store, end: Literal["head", "tail"], order: list[str]
) -> None:
    """A ring of files that wrapped: each occurrence has its own line, in the queue's order."""
    files = {b"/ring": Version()}
    enqueue_new(store, files, lines={b"/ring": "one"})
    seen = last_lines(store, [b"/ring", b"/other"])

    outcomes = [
        enqueue_new(store, files, lines={b"/ring": "two"}, behind={b"/ring": seen[b"/ring"].seq})[b"/ring"]
        for _ in range(2)
    ]

    assert {name: line.text for name, line in seen.items()} == {b"/ring": "one"}
    assert outcomes == [Outcome.NEW, Outcome.QUEUED]
    entries = []
    for _ in order:
        entries.append(take(store, end))
        JobQueue(store, "/pipe").finish(entries[-1], Result(b"{}", "failed"))
    assert [entry.queued for entry in entries] == order


def test_a_name_is_queued_a_thousand_times_at_most(store: Store) -> None:
    """The caller offers it later."""
    lines = "\n".join(f"{number} " for number in range(1, 1001))
    store.redis.rpush(store.keys.in_queue, *([b"/ring"] * 1000))
    store.redis.hset(store.keys.queued, mapping=dict[Any, Any]({"/ring": lines, "": "1000 1000 0"}))

    assert enqueue_new(store, {b"/ring": Version()}, behind={b"/ring": "1000"}) == {
        b"/ring": Outcome.TOO_MANY
    }


@pytest.mark.parametrize("push", ["lpush", "rpush"])
def test_a_name_that_a_foreign_program_pushed_is_not_queued_again(store: Store, push: str) -> None:
    """Whatever stands before or behind it, also in a queue of an older version, which has no lines."""
    enqueue_new(store, {b"/own %d" % number: Version() for number in range(3000)})
    getattr(store.redis, push)(store.keys.in_queue, *(b"/foreign %d" % number for number in range(1500)))

    outcomes = enqueue_new(store, dict.fromkeys([b"/foreign 0", b"/foreign 1499", b"/own 5"], Version()))

    assert set(outcomes.values()) == {Outcome.QUEUED}
    assert len(queue_of(store)) == 4500


def test_names_that_are_twice_in_the_queue_cost_one_look(store: Store) -> None:
    """What the comparison has left is remembered: the next call does not compare again."""
    store.redis.rpush(store.keys.in_queue, b"/twice", b"/twice", b"")
    enqueue_new(store, {b"/new": Version()})

    assert store.redis.hget(store.keys.queued, "") == b"2 2 2"
    assert enqueue_new(store, {b"/twice": Version()}) == {b"/twice": Outcome.QUEUED}


def test_a_name_without_a_line_that_is_taken_needs_no_comparison(store: Store) -> None:
    """A second push of a name, an empty one, one that is too long: TAKE counts them."""
    store.redis.rpush(store.keys.in_queue, b"/twice", b"/twice", b"", b"x" * 9000, b"/last")
    enqueue_new(store, {b"/new": Version()})

    surpluses = []
    for _ in range(5):
        entry = take(store)
        JobQueue(store, "/pipe").finish(entry, Result(entry.name, "processed"))
        counts = cast("bytes", store.redis.hget(store.keys.queued, "")).split()
        surpluses.append((int(counts[0]), int(counts[2])))

    assert surpluses == [(2, 3), (2, 2), (2, 1), (2, 0), (1, 0)]


def test_each_queue_has_its_own_lines(store: Store) -> None:
    """`-q` gives an importer another queue of the lane."""
    other = Store(store.url, Keys(store.keys.lane, "OTHER"))
    enqueue_new(store, {b"/in/1": Version()})

    assert enqueue_new(other, {b"/in/1": Version()}) == {b"/in/1": Outcome.NEW}
    assert other.keys.queued == store.keys.queued + ":OTHER"
    other.close()


def test_what_fed_has_is_returned_by_name(store: Store) -> None:
    """Invalid entries are left out."""
    feed(store, b"/fed", Version())
    store.redis.hset(store.keys.fed, "/invalid", "[")

    assert {
        name: fields["result"] for name, fields in fed_files(store, [b"/fed", b"/invalid", b"/"]).items()
    } == {b"/fed": "failed"}


@each_row(
    "entry",
    [b"", b"not JSON", b"[]", b"{}", b'{"size_bytes": 10, "mtime_ns": 1.5}', b"[" * 3000 + b"]" * 3000],
)
def test_an_invalid_entry_of_fed_is_about_no_version(entry: bytes) -> None:
    """Whatever FED holds, the worst result is that a file is fed again."""
    assert not was_fed(entry, Version())


@contextmanager
def losing_a_reply(server: Path, proxy: Path, *, to: Collection[bytes]) -> Iterator[None]:
    """Forward everything, but close the connection instead of the first reply to a script with this text."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(proxy))
    listener.listen()
    state = {"lost": False}

    def serve() -> None:
        while True:
            try:
                client = listener.accept()[0]
            except OSError:
                return
            with client, socket.socket(socket.AF_UNIX) as upstream:
                upstream.connect(str(server))
                relay(client, upstream)

    def relay(client: socket.socket, upstream: socket.socket) -> None:
        while request := client.recv(1 << 20):
            upstream.sendall(request)
            reply = upstream.recv(1 << 20)
            if not state["lost"] and b"EVALSHA" in request and all(each in request for each in to):
                state["lost"] = True
                return
            client.sendall(reply)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
    assert state["lost"], "no reply was lost: the test shows nothing"
