"""The ways in which a Redis loses keys while a dispatcher works, each as it really happens."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from support.cases import some_long
from support.redis_server import PrivateRedis, redis_at
from support.waiting import wait_until

from pcapdj.feed.analyzer_link import LauncherLink
from pcapdj.feed.interrupts import Interrupts
from pcapdj.feed.reporter import Reporter
from pcapdj.feed.skips import SkipRequests
from pcapdj.feed.statistics import Statistics
from pcapdj.feed.streams import Streams
from pcapdj.feed.suspension import Suspension
from pcapdj.runtime import log
from pcapdj.runtime.errors import Stopped
from pcapdj.runtime.log import EventLog
from pcapdj.runtime.signals import handled
from pcapdj.store.client import Store
from pcapdj.store.enqueue import Outcome, enqueue_new
from pcapdj.store.job_queue import JobQueue, QueueEntry, Result
from pcapdj.store.keys import Keys
from pcapdj.store.server import warn_of_losses

ID = "/run/pipe"


class Version:
    """A file's version."""

    size_bytes = mtime_ns = 1


class Working(NamedTuple):
    """A dispatcher that feeds a file, and its Redis."""

    server: PrivateRedis
    store: Store
    jobs: JobQueue
    entry: QueueEntry
    statistics: Statistics


@pytest.fixture
def working(short_path: Path) -> Iterator[Working]:
    """Return a dispatcher that feeds the first of three files; its reporter runs."""
    with redis_at(short_path / "s") as server, ExitStack() as ends:
        store = Store(server.url, Keys())
        jobs = JobQueue(store, ID)
        enqueue_new(store, {b"/in/%d" % number: Version() for number in range(3)})
        jobs.register()
        statistics = Statistics(started_s=0, pid=1, pipe=ID)
        suspension = Suspension(ID, statistics)
        with handled() as signals:
            interrupts = Interrupts(signals, suspension, statistics)
        reporter = Reporter(
            store,
            ID,
            statistics=statistics,
            streams=Streams(LauncherLink(Path("/nowhere"), interrupts), interrupts),
            suspension=suspension,
            skips=SkipRequests(ID),
            registration=jobs.registration,
        )
        entry = jobs.take()
        assert isinstance(entry, QueueEntry)
        jobs.mark(state="feeding", stream="s1")
        reporter.start()
        ends.callback(store.close)
        ends.callback(reporter.stop)
        yield Working(server, store, jobs, entry, statistics)


def restart(working: Working) -> None:
    """Kill the server, which keeps nothing on disk, and start it again."""
    working.server.kill()
    working.server.start()


def evict(working: Working) -> None:
    """Fill the memory of a server that evicts any key, until the dispatcher's are gone."""
    client, keys = working.server.client, working.store.keys
    client.config_set("maxmemory-policy", "allkeys-random")
    client.config_set("maxmemory", 1)
    wait_until(lambda: client.dbsize() == 0, "the keys to be evicted")
    client.config_set("maxmemory", 0)
    assert not client.exists(keys.in_queue)


def resync(working: Working) -> None:
    """Let the server take over the data of another one, which has none, and become the master again."""
    with redis_at(working.server.socket.parent / "m", "--port", "0") as master:
        port = _free_port()
        master.client.config_set("port", port)
        working.server.client.execute_command("REPLICAOF", "127.0.0.1", port)  # type: ignore[no-untyped-call]  # redis-py
        wait_until(lambda: working.server.client.dbsize() == 0, "the resync")
        working.server.client.execute_command("REPLICAOF", "NO", "ONE")  # type: ignore[no-untyped-call]  # redis-py


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def delete(working: Working) -> None:
    """Remove the keys as a person may."""
    keys = working.store.keys
    working.store.redis.delete(keys.dispatchers, keys.current(ID), keys.in_queue, keys.queued)


def heartbeat(working: Working) -> object:
    """Return the time of the last report."""
    return working.store.redis.hget(working.store.keys.stats(ID), "heartbeat_s")


def has_reported_since(working: Working, beat: object) -> bool:
    """Report whether there is another report than this one."""
    return heartbeat(working) not in (beat, None)


@pytest.mark.parametrize("lose", some_long([restart, evict, resync, delete], quick=(resync, delete)))
def test_a_dispatcher_stays_registered_with_its_file(
    working: Working, lose: Callable[[Working], None]
) -> None:
    """The importer does not queue the file that is fed; its end is written down; the loss is shown."""
    for _ in range(2):
        beat = heartbeat(working)
        wait_until(partial(has_reported_since, working, beat), "a report")
    assert working.statistics.restored == 0

    lose(working)

    wait_until(lambda: working.statistics.restored, "the registration to be restored")
    wait_until(lambda: working.statistics.lost_names == 2, "the loss of the queue to be noticed")
    files = {b"/in/%d" % number: Version() for number in range(3)}
    outcomes = enqueue_new(working.store, files)
    assert list(outcomes.values()) == [Outcome.CURRENT, Outcome.NEW, Outcome.NEW]
    assert working.jobs.finish(working.entry, Result(working.entry.name, "processed"))
    assert working.store.redis.lrange(working.store.keys.processed, 0, -1) == [b"/in/0"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), ["appendonly is no and save is empty"]),
        (("--appendonly", "yes", "--maxmemory-policy", "allkeys-lru"), ["maxmemory-policy is allkeys-lru"]),
        (("--appendonly", "yes"), []),
    ],
)
def test_a_role_warns_at_its_start_of_settings_that_can_lose_the_queue(
    short_path: Path, capfd: pytest.CaptureFixture[str], options: tuple[str, ...], expected: list[str]
) -> None:
    """Where it may read them."""
    with redis_at(short_path / "s", *options) as server:
        store = Store(server.url, Keys())
        with handled() as signals:
            warn_of_losses(store, EventLog("role"), signals)
        store.close()

    log.flush()
    lines = [line for line in capfd.readouterr().err.splitlines() if "redis_may_lose_queue" in line]
    assert len(lines) == len(expected)
    assert all(words in line for words, line in zip(expected, lines, strict=True))


def test_a_role_does_not_warn_of_settings_that_it_may_not_read(
    short_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A strict ACL is no fault, and a Redis that is away is waited for later."""
    with redis_at(short_path / "s") as server:
        server.client.execute_command("ACL", "SETUSER", "default", "-config")  # type: ignore[no-untyped-call]  # redis-py
        store = Store(server.url, Keys())
        with handled() as signals:
            warn_of_losses(store, EventLog("role"), signals)
    with handled() as signals:
        warn_of_losses(store, EventLog("role"), signals)
    store.close()

    log.flush()
    assert "redis_may_lose_queue" not in capfd.readouterr().err


def test_a_role_that_is_stopped_while_it_asks_for_the_settings_ends(short_path: Path) -> None:
    """Redis may hang: each further call would wait for it once more."""
    store = Store(f"unix://{short_path}/none", Keys())
    with handled() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped):
            warn_of_losses(store, EventLog("role"), signals)
    store.close()
