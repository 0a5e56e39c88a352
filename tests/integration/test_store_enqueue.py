"""Each file is queued once, whatever happens to replies. On a real Redis."""

import json
import select
import socket
import threading
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from pcapdj.store.client import Store
from pcapdj.store.enqueue import Outcome, enqueue_new, was_fed
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
        """What happens between the two calls."""

        def wait(self, _timeout_s: float) -> None:
            """Let a dispatcher take the file, or feed it."""
            if change != "nothing":
                make_current(store, store.redis.lpop(store.keys.in_queue))  # type: ignore[arg-type]  # a name
            if change == "fed":
                store.redis.delete(store.keys.current("/pipe"))
                feed(store, b"/new", Version())

    with losing_a_reply(redis_socket, short_path / "proxy.sock", to=(b"/new", keys.in_queue.encode())):
        behind = RetryingStore(Store(f"unix://{short_path / 'proxy.sock'}", keys), ChangeWhileWaiting(), None)
        behind.run(
            "enqueue", [keys.in_queue, keys.dispatchers, keys.fed, keys.channel], [keys.current_prefix, "1"]
        )
        outcomes = enqueue_new(behind, {b"/new": Version()})
        behind.close()

    expected = {"nothing": Outcome.QUEUED, "taken": Outcome.CURRENT, "fed": Outcome.FED_MEANWHILE}
    assert outcomes == {b"/new": expected[change]}
    assert queue_of(store) == ([b"/new"] if change == "nothing" else [])


@pytest.mark.parametrize(
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
