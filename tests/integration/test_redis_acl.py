"""The ACL of docs/operations.md on a real Redis: sufficient for each role, and not more than it needs."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
import redis
from support.forkserver import ROOT, clean_environment, run
from support.reclaiming import feed, reclaimed, write_capture
from support.redis_server import PrivateRedis
from support.retention import retention_of
from support.roles_rig import (
    Trio,
    places,
    places_in,
    trio_in,
)

from pcapdj.store.captures import candidates
from pcapdj.store.client import Store
from pcapdj.store.enqueue import enqueue_new, last_lines
from pcapdj.store.failures import index_failures
from pcapdj.store.job_queue import JobQueue, QueueEntry, Result
from pcapdj.store.journal_index import PART_ENTRIES, index_part
from pcapdj.store.keys import Keys
from pcapdj.store.queue_check import QueueCheck
from pcapdj.store.retention import DAY_S

OPERATIONS: Final = ROOT / "docs" / "operations.md"
USERS: Final = {"dispatcher": "dispatcher", "consumer": "dispatcher", "controller": "controller"}
USERS_OF: Final = USERS | {"importer": "importer"}


class Version:
    """A file's version."""

    size_bytes = mtime_ns = 1


Rigs = tuple[PrivateRedis, Trio]


def documented() -> dict[str, list[str]]:
    """Return each documented user's rules."""
    lines = [line.split() for line in OPERATIONS.read_text().splitlines() if line.startswith("user ")]
    return {words[1]: words[2:] for words in lines}


def password(user: str) -> str:
    """Return the password of the example."""
    return next(rule[1:] for rule in documented()[user] if rule.startswith(">"))


def do(client: redis.Redis, *command: str) -> None:
    """Send a command."""
    client.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py


@pytest.fixture
def rigs(short_path: Path) -> Iterator[Rigs]:
    """Return a Redis with the documented users and one for the test, and roles that have not been started."""
    with trio_in(short_path) as (server, trio):
        do(server.client, "ACL", "SETUSER", "test", "on", ">test", "~*", "&*", "+@all")
        for user, rules in documented().items():
            if user != "default":
                do(server.client, "ACL", "SETUSER", user, *rules)
        yield server, trio


def close_default(server: PrivateRedis) -> None:
    """Turn the default user off, as documented; open connections keep their rights."""
    do(server.client, "ACL", "SETUSER", "default", *documented()["default"])


def url_of(server: PrivateRedis, role: str) -> dict[str, str]:
    """Return the environment with which a role connects as its user."""
    user = USERS_OF[role]
    (server.socket.parent / f"{user}.password").write_text(password(user) + "\n")
    return {
        "PCAPDJ_REDIS_URL": f"unix://{user}@{server.socket}",
        "PCAPDJ_REDIS_PASSWORD_FILE": str(server.socket.parent / f"{user}.password"),
    }


def test_every_role_does_its_work_with_its_user(rigs: Rigs) -> None:
    """Two files from the inbox; the operator's user queues one of them again."""
    server, trio = rigs
    trio.store.redis.ping()
    paths = [trio.capture("1.pcap", 1, 10), trio.capture("2.pcap", 2, 10)]
    close_default(server)
    for role in USERS_OF:
        next_files = {"PCAPDJ_RESERVE": "auto", "PCAPDJ_BETWEEN": "true"}
        trio.start(role, environment=next_files | url_of(server, role))
    trio.await_processed(2)

    operator = clean_environment(PCAPDJ_REDIS_URL=f"unix://operator:{password('operator')}@{server.socket}")
    for command in (
        ("status",),
        ("events",),
        ("metrics",),
        ("suspend",),
        ("resume",),
        ("requeue", str(paths[0])),
        ("limits", "show"),
    ):
        run("pcapdj", *command, env=operator).check_returncode()

    trio.wait_logged("dispatcher", "file_finished", times=3)
    assert [places_in(stream) for stream in trio.streams()] == [places(1, 10) + places(2, 10) + places(1, 10)]
    assert len(trio.alive()) == 4
    warnings = [line for role in USERS_OF for line in trio.logged(role).splitlines() if "WARNING" in line]
    assert all(" timestamps_jump " in line for line in warnings)  # the first file once more, after the second


def store_of(server: PrivateRedis, user: str) -> Store:
    """Return a store of this user."""
    return Store(f"unix://{user}:{password(user)}@{server.socket}", Keys())


def test_the_importers_user_may_compare_queue_and_lines_and_remove_old_records(
    rigs: Rigs, short_path: Path
) -> None:
    """What happens once a day or after a foreign change needs no other rights."""
    server, _ = rigs
    with closing(store_of(server, "importer")) as store:
        failed = json.dumps({"name": "/in/1", "reason": "x", "time_s": 5})
        server.client.rpush("PCAPDJ_FAILED", failed)
        server.client.hset("PCAPDJ_FAILED_NAMES", "/in/1", failed)
        enqueue_new(store, {b"/in/1": Version(), b"/in/2": Version()}, lines={b"/in/1": "{}"})
        assert not server.client.exists("PCAPDJ_FAILED")
        server.client.lrem("PCAPDJ_IN_QUEUE", 1, "/in/1")
        server.client.rpush("PCAPDJ_IN_QUEUE", "/foreign")
        check = QueueCheck(store)
        while check.step(0.0):
            pass
        assert set(last_lines(store, [b"/in/1", b"/in/2", b"/foreign"])) == {b"/in/2", b"/foreign"}

        old = json.dumps({"time_s": 1, "dev": short_path.stat().st_dev})
        server.client.hset("PCAPDJ_FED", str(short_path / "gone"), old)
        server.client.hset("PCAPDJ_CAPTURES", "40:aa", old)
        server.client.hset("PCAPDJ_SUSPECT", "s1", "The disk was full.")
        retention = retention_of(store)
        for day in range(2):
            while retention.step(day * DAY_S):
                pass
        assert not server.client.exists("PCAPDJ_FED", "PCAPDJ_CAPTURES", "PCAPDJ_SUSPECT")
        assert candidates(store, ["40:aa"]) == []


def test_a_controllers_user_with_reclaim_may_make_room(rigs: Rigs, short_path: Path) -> None:
    """It sees what all lanes want, claims a name, and records what became of the file."""
    server, trio = rigs
    path = write_capture(short_path / "captures" / "1.pcap")
    feed(trio.store, path)
    environment = clean_environment(
        PCAPDJ_REDIS_URL=f"unix://reclaiming:{password('reclaiming')}@{server.socket}"
    )
    options = ["--reclaim", "delete", "--root", str(path.parent), "--keep-last", "0", "--free", "100%"]

    done = run("pcapdj", "reclaim", "now", *options, env=environment)

    assert "1 file removed" in done.stdout
    assert reclaimed(trio.store)["1.pcap"]["how"] == "removed"
    assert server.client.xlen("PCAPDJ_EVENTS") > 0


def test_the_dispatchers_user_may_restore_its_registration_and_note_failures(rigs: Rigs) -> None:
    """What happens after a loss, and once after an upgrade, needs no other rights."""
    server, _ = rigs
    with closing(store_of(server, "dispatcher")) as store:
        server.client.rpush("PCAPDJ_FAILED", json.dumps({"name": "/in/9", "reason": "x"}))
        server.client.rpush("PCAPDJ_IN_QUEUE", "/in/1")
        jobs = JobQueue(store, "/pipe")
        jobs.register()
        entry = jobs.take()
        assert isinstance(entry, QueueEntry)
        server.client.delete("PCAPDJ_DISPATCHERS", "PCAPDJ_CURRENT:/pipe")

        jobs.registration.keep(store)
        for _ in index_failures(store):
            pass

        assert server.client.hget("PCAPDJ_CURRENT:/pipe", "name") == b"/in/1"
        assert server.client.hexists("PCAPDJ_FAILED_NAMES", "/in/9")
        entries = {"name": "/in/1", "length_bytes": 1, "crc32": 2}
        assert jobs.finish(entry, Result(entry.name, "processed", capture=("40:aa", entries)))
        with server.client.pipeline() as batch:
            for _ in range(PART_ENTRIES):
                batch.xadd("PCAPDJ_JOURNAL", {"name": "/in/1"})
            batch.execute()
        assert index_part(store)
        do(server.client, "ACL", "SETUSER", "dispatcher", "-xrange")  # the rule of an earlier version
        assert not index_part(store)


@pytest.mark.parametrize("user", ["dispatcher", "controller", "importer"])
@pytest.mark.parametrize(
    "command",
    [
        ("FLUSHALL",),
        ("CONFIG", "GET", "*"),
        ("KEYS", "*"),
        ("EVAL", "return 1", "0"),
        ("GET", "elsewhere"),
        ("SHUTDOWN", "NOSAVE"),
        ("PUBLISH", "elsewhere", "x"),
        ("ACL", "LIST"),
        ("MODULE", "LIST"),
    ],
    ids=" ".join,
)
def test_no_user_of_a_role_has_other_rights(rigs: Rigs, user: str, command: tuple[str, ...]) -> None:
    """Who takes over a role gets no administration, no other key and no other channel."""
    server, _ = rigs
    with (
        redis.Redis(unix_socket_path=str(server.socket), username=user, password=password(user)) as client,
        pytest.raises(redis.exceptions.NoPermissionError),
    ):
        do(client, *command)


def test_an_importer_cannot_authorize(rigs: Rigs) -> None:
    """Its user may queue files and note that one is known, but neither authorize nor make a capture known."""
    server, _ = rigs
    forged = ("HSET", "PCAPDJ_CAPTURES", "a", "b")
    commands = ("SET", "PCAPDJ_AUTH", "x"), forged, ("DEL", "PCAPDJ_IN_QUEUE")
    client = redis.Redis(
        unix_socket_path=str(server.socket), username="importer", password=password("importer")
    )
    with client:
        for command in commands:
            with pytest.raises(redis.exceptions.NoPermissionError):
                do(client, *command)
