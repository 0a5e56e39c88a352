"""Values of many megabytes that another program wrote into our keys: nobody reads them whole."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from redis import Redis
from support.cases import some_long
from support.forkserver import clean_environment, run
from support.redis_server import PrivateRedis, redis_at
from support.retention import retention_of

from pcapdj.feed.statistics import Statistics
from pcapdj.feed.suspension import Suspension
from pcapdj.run.interrupted import interrupted_file
from pcapdj.runtime.errors import ExitCode
from pcapdj.store import operate
from pcapdj.store.client import Store
from pcapdj.store.enqueue import Outcome, enqueue_new, last_lines
from pcapdj.store.events import read_events
from pcapdj.store.failures import all_failures, newest_failures, requeue_failures
from pcapdj.store.grants import Grants
from pcapdj.store.job_queue import JobQueue, QueueEntry
from pcapdj.store.journal import read_journal
from pcapdj.store.keys import Keys
from pcapdj.store.lane_totals import read_counts
from pcapdj.store.lanes import LaneKeys, lanes_of, open_streams, wanted_names
from pcapdj.store.queue_check import compare_now
from pcapdj.store.reclaims import reclaimed
from pcapdj.store.snapshot import read_snapshot

HUGE: Final = b"\x1b[31m" * (1 << 19)  # 2.5 MiB
MOST_SENT_BYTES: Final = (2 << 20) + 100_000  # by Redis, for one call
KEYS: Final = Keys()
SAVED: Final = 1  # a database
DISPATCHER: Final = "/run/pipe"
FAILURE: Final = json.dumps({"name": "/in/1.pcap", "reason": "x" * 1_000_000}).encode()


class Version:
    """A file's version."""

    size_bytes = 1
    mtime_ns = 1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRedis]:
    """Return a Redis whose keys have huge values wherever that is possible, and nothing else."""
    with redis_at(tmp_path_factory.mktemp("r") / "s") as server:
        fill(server.client)
        copy(server.client, SAVED)
        yield server


@pytest.fixture
def huge(server: PrivateRedis) -> PrivateRedis:
    """Return the server with its keys as at the beginning."""
    saved = Redis(unix_socket_path=str(server.socket), db=SAVED)
    server.client.flushdb()
    copy(saved, 0)
    saved.close()
    return server


def copy(client: Redis, database: int) -> None:
    """Copy all keys into another database."""
    for key in client.scan_iter():
        client.execute_command("COPY", key, key, "DB", database)  # type: ignore[no-untyped-call]  # redis-py


def fill(client: Redis) -> None:
    """Write the huge values."""
    for key in (KEYS.current(DISPATCHER), KEYS.stats(DISPATCHER), KEYS.gate, KEYS.consumer, KEYS.control):
        client.hset(
            key, mapping=dict.fromkeys(("name", "state", "reason", "min-free", "begin", "stream"), HUGE)
        )
    client.hset(KEYS.output, mapping={"plain": HUGE, "compressed": HUGE})
    client.hset(KEYS.reclaimed, "/in/1.pcap", HUGE)
    client.hset(KEYS.fed, "/in/1.pcap", HUGE)
    client.rpush(KEYS.next, "/in/1.pcap", HUGE)
    client.rpush(KEYS.processed, HUGE, "/in/1.pcap")
    client.rpush(KEYS.failed, HUGE, FAILURE)
    client.sadd(KEYS.dispatchers, DISPATCHER, HUGE)
    client.sadd(KEYS.suspend, HUGE, "operator")
    client.hset(KEYS.suspect, "a stream", "its disk was full")
    client.set(KEYS.auth, HUGE)
    client.xadd(KEYS.journal, {"name": HUGE, "reason": HUGE})


def sent_bytes(server: PrivateRedis) -> int:
    """Return how much the server has sent since its start."""
    facts: dict[str, Any] = server.client.info("stats")
    return int(facts["total_net_output_bytes"])


def suspenders(store: Store) -> object:
    """Return what a dispatcher adopts of the suspending members."""
    suspension = Suspension(DISPATCHER, Statistics(started_s=0, pid=1, pipe="p"))
    suspension.adopt(store)
    return suspension.members


TAKEN: Final = QueueEntry(b"/in/1.pcap", "asked", 1, 0, "token", "")


def forget_suspects(store: Store) -> None:
    """Look for suspect streams without a file, as the importer does once a day."""
    retention = retention_of(store)
    while retention.step(0.0):
        pass


READS: Final[dict[str, Callable[[Store], object]]] = {
    "TAKE": lambda store: JobQueue(store, DISPATCHER).take(),
    "AUTHORIZE": lambda store: JobQueue(store, DISPATCHER).authorize(TAKEN),
    "suspension": suspenders,
    "poison in a row": lambda store: operate.poison_in_a_row(store, "poison"),
    "requests": lambda store: Grants(store).look(),
    "stream": lambda store: Grants(store).stream(),
    "finished files": lambda store: Grants(store).output_groups(),
    "control": lambda store: Grants(store).control(),
    "published gate": lambda store: Grants(store).published(),
    "ENQUEUE": lambda store: enqueue_new(store, {b"/in/1.pcap": Version()}),
    "what became of a file": lambda store: reclaimed(store, b"/in/1.pcap"),
    "snapshot": lambda store: read_snapshot(store, 0),
    "newest failures": lambda store: newest_failures(store, 3),
    "all failures": lambda store: list(all_failures(store)),
    "limits": operate.read_control,
    "resume": operate.resume,
    "requeue": lambda store: operate.requeue(store, b"/in/2.pcap"),
    "requeue --stream": lambda store: list(operate.processed_in(store, "5ca1ab1e")),
    "suspect streams": forget_suspects,
    "end of a run": lambda store: interrupted_file(store, DISPATCHER, Path("/nowhere")),
}


@pytest.mark.parametrize("read", some_long(READS, quick=("TAKE", "ENQUEUE", "snapshot", "all failures")))
def test_no_reader_gets_a_huge_value_whole(huge: PrivateRedis, read: str) -> None:
    """Redis sends some megabytes at most, whatever stands in the keys."""
    store = Store(huge.url, KEYS, timeout_s=30)
    before = sent_bytes(huge)

    READS[read](store)

    assert sent_bytes(huge) - before < MOST_SENT_BYTES


def test_no_reader_goes_through_a_hash_of_any_size(huge: PrivateRedis) -> None:
    """Of a hash with more fields than ours ever have, a few hundred are read."""
    client, store = huge.client, Store(huge.url, KEYS, timeout_s=30)
    foreign = {f"{number:05}": "1" for number in range(30_000)}
    for key in (KEYS.control, KEYS.gate, KEYS.counts):
        client.delete(key)
        client.hset(key, mapping=dict[Any, Any](foreign))
    client.config_resetstat()

    sizes = [len(operate.read_control(store)), len(Grants(store).published()), len(read_counts(store))]

    assert max(sizes) <= 200
    called: dict[str, Any] = client.info("commandstats")
    assert not {"cmdstat_hkeys", "cmdstat_hgetall"} & called.keys()


MANY: Final = {f"{number:06}": b"x" * 16_000 for number in range(600)}  # 9.4 MiB in an entry
MANY_READS: Final[dict[str, Callable[[Store], object]]] = {
    "events": lambda store: list(read_events(store)),
    "journal": lambda store: list(read_journal(store)),
    "lines of the queue": lambda store: last_lines(store, [b"/in/1.pcap"]),
    "names of lines": compare_now,
    "forget": lambda store: operate.forget_dispatcher(store, DISPATCHER, "", "", requeue=False),
}


@pytest.mark.parametrize("read", some_long(MANY_READS, quick=("events",)))
def test_no_reader_gets_an_entry_of_any_number_of_fields_whole(huge: PrivateRedis, read: str) -> None:
    """Of the first entry, too, which is sent however long it is, a part is read; so are lines and names."""
    client, store = huge.client, Store(huge.url, KEYS, timeout_s=30)
    client.delete(KEYS.journal)
    for _ in range(3):
        client.xadd(KEYS.events, dict[Any, Any](MANY))
        client.xadd(KEYS.journal, dict[Any, Any](MANY))
    client.hset(KEYS.queued, "/in/1.pcap", b"1 " + HUGE * 5)
    client.hset(KEYS.queued, HUGE * 5, b"1 ")
    before = sent_bytes(huge)

    MANY_READS[read](store)

    most_bytes = 3 * (4 << 20) if read in ("events", "journal") else 0
    assert sent_bytes(huge) - before < most_bytes + 1_000_000


def test_a_key_with_a_huge_name_is_of_no_lane(huge: PrivateRedis) -> None:
    """No role of ours can use it; a thousand of them would be kept otherwise."""
    for id_bytes in (20, 20_000):
        huge.client.hset(KEYS.current("y" * id_bytes), "queue", "q")

    [lane] = lanes_of(Store(huge.url, KEYS))

    assert "y" * 20 in lane.dispatchers
    assert max(map(len, lane.dispatchers)) < 10_000


def test_the_queues_of_a_thousand_dispatchers_are_read_in_few_calls(huge: PrivateRedis) -> None:
    """As many in one as have the longest values that ours may have, so that no value is left out."""
    store = Store(huge.url, KEYS, timeout_s=30)
    ids = [f"/run/{number:03}" for number in range(999)]
    for each in ids:
        huge.client.hset(KEYS.stats(each), "queue", f"{each:x>16000}")
    huge.client.sadd(KEYS.dispatchers, *ids)
    [lane] = lanes_of(store)
    list(wanted_names(store, LaneKeys("", (), tuple(ids[:1]))))
    open_streams(store, lane)  # from here on the server has the scripts of all three
    before: dict[str, Any] = huge.client.info("commandstats")

    [lane] = lanes_of(store)
    list(wanted_names(store, LaneKeys("", (), lane.dispatchers)))
    open_streams(store, lane)

    after: dict[str, Any] = huge.client.info("commandstats")
    assert {f"{each:x>16000}" for each in ids} <= set(lane.queues)
    assert after["cmdstat_evalsha"]["calls"] - before["cmdstat_evalsha"]["calls"] <= 1 + 4 * 4


def test_a_huge_name_in_current_is_cut_once(huge: PrivateRedis) -> None:
    """From then on Redis itself has the short one, and the file fails as one with too long a name does."""
    store = Store(huge.url, KEYS, timeout_s=30)

    taken = JobQueue(store, DISPATCHER).take()

    assert isinstance(taken, QueueEntry)
    assert taken.name == HUGE[:8192]
    assert taken.begin == ""
    assert huge.client.hget(KEYS.current(DISPATCHER), "name") == HUGE[:8192]


def test_a_file_with_an_endless_reason_can_be_listed_and_queued_again(huge: PrivateRedis) -> None:
    """The reason is cut where it is read; the entry is found and moved."""
    store = Store(huge.url, KEYS, timeout_s=30)

    failure = next(each for each in all_failures(store) if each.name == b"/in/1.pcap")

    assert len(failure.reason) == len(failure.fields["reason"]) == 4000
    assert requeue_failures(store, [failure])
    assert huge.client.lrange(KEYS.in_queue, 0, -1) == [b"/in/1.pcap"]


def test_a_huge_entry_of_fed_is_no_version_and_is_replaced(huge: PrivateRedis) -> None:
    """The importer queues the file as one that was never fed."""
    store = Store(huge.url, KEYS, timeout_s=30)

    assert enqueue_new(store, {b"/in/1.pcap": Version()}) == {b"/in/1.pcap": Outcome.NEW}


@pytest.mark.parametrize(
    "words",
    some_long(
        ["status", "failed", "limits", "gate", "resume", "requeue /in/2.pcap", "check"], quick=("status",)
    ),
)
def test_what_a_command_prints_stays_short(huge: PrivateRedis, words: str, tmp_path: Path) -> None:
    """A few screens at most, with nothing in it that acts on a terminal."""
    done = run(
        "pcapdj",
        *words.split(),
        cwd=tmp_path,
        env=clean_environment(PCAPDJ_REDIS_URL=huge.url, PATH="/nowhere"),
    )

    assert done.returncode in (ExitCode.OK, ExitCode.ERROR)
    assert "Traceback" not in done.stderr
    assert len(done.stdout + done.stderr) < 100_000
    assert "\x1b" not in done.stdout + done.stderr
