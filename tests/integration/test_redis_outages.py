"""The roles on a Redis that refuses, hangs, is full or restarts: no role exits, no file is lost."""

import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from support.cases import some_long
from support.redis_server import PrivateRedis
from support.roles_rig import Trio, places, places_in, trio_in
from support.waiting import wait_until

Change = Callable[[PrivateRedis], object]
PACKETS = 3000  # 2.7 MB: more than the pipe holds, so that a braked analyzer keeps the file running


@dataclass(frozen=True)
class Outage:
    """One way in which Redis fails.

    Args:
        begin, end: cause it, and repair it.
        event: the log event of a role that waits.
    """

    begin: Change
    end: Change
    event: str = "waiting_for_redis"


def config(server: PrivateRedis, name: str, value: str) -> None:
    """Change the server's settings."""
    server.client.config_set(name, value)


def refuse_password(server: PrivateRedis) -> None:
    """Require a password that no role has, of the connected clients too."""
    config(server, "requirepass", "secret")
    other_clients_out(server)


def require_no_password(server: PrivateRedis) -> None:
    """Require no password again."""
    with redis.Redis(unix_socket_path=str(server.socket), password="secret") as client:  # noqa: S106 - of a test
        client.config_set("requirepass", "")


def forbid(server: PrivateRedis) -> None:
    """Forbid scripts and hashes to every client."""
    server.client.acl_setuser("default", enabled=True, commands=["-eval", "-evalsha", "-hset", "-smembers"])


def allow(server: PrivateRedis) -> None:
    """Allow everything again."""
    server.client.acl_setuser("default", enabled=True, categories=["+@all"])


def other_clients_out(server: PrivateRedis) -> None:
    """Close every connection but our own."""
    server.client.client_kill_filter(_type="normal", skipme=True)
    server.client.client_kill_filter(_type="pubsub", skipme=True)


def use_up_max_clients(server: PrivateRedis) -> None:
    """Accept only one client, and close the other connections."""
    config(server, "maxclients", "1")
    other_clients_out(server)


def break_disk(server: PrivateRedis) -> None:
    """Make saving fail: Redis answers MISCONF."""
    config(server, "save", "1 1")
    (server.socket.parent / "dump.rdb").mkdir()  # the snapshot cannot replace a folder
    with pytest.raises(redis.RedisError):
        server.client.save()
    wait_until(lambda: _refuses_writes(server), "Redis to refuse writes")


def mend_disk(server: PrivateRedis) -> None:
    """Make saving work again."""
    config(server, "save", "")
    config(server, "stop-writes-on-bgsave-error", "no")


def _is_loading(server: PrivateRedis) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        if connection.connect_ex(str(server.socket)):
            return False
        connection.sendall(b"PING\r\n")
        return connection.recv(64).startswith(b"-LOADING")


def _refuses_writes(server: PrivateRedis) -> bool:
    try:
        server.client.set("probe", 1)
    except redis.ResponseError as exc:
        return "MISCONF" in str(exc)
    return False


OUTAGES = {
    "refused": Outage(lambda server: server.kill(), lambda server: server.start()),
    "hangs": Outage(
        lambda server: server.signal(signal.SIGSTOP), lambda server: server.signal(signal.SIGCONT)
    ),
    "READONLY": Outage(
        lambda server: server.client.replicaof("127.0.0.1", "1"),
        lambda server: server.client.replicaof("NO", "ONE"),
    ),
    "OOM": Outage(
        lambda server: config(server, "maxmemory", "1"), lambda server: config(server, "maxmemory", "0")
    ),
    "MISCONF": Outage(break_disk, mend_disk),
    "NOAUTH": Outage(refuse_password, require_no_password, "redis_denied"),
    "NOPERM": Outage(forbid, allow, "redis_denied"),
    "max clients": Outage(use_up_max_clients, lambda server: config(server, "maxclients", "1000")),
    "CLIENT PAUSE": Outage(
        lambda server: server.client.client_pause(4_000),
        lambda server: wait_until(server.answers, "the pause to end"),
    ),
}


@pytest.fixture
def rigs(short_path: Path) -> Iterator[tuple[PrivateRedis, Trio]]:
    """Return a Redis of the test's own, and roles that use it."""
    with trio_in(short_path) as rigs:
        yield rigs


@pytest.mark.parametrize("kind", some_long(OUTAGES, quick=("refused",)))
def test_an_outage_ends_no_role_and_the_running_file_is_finished(
    rigs: tuple[PrivateRedis, Trio], kind: str
) -> None:
    """The file in flight is fed on; it is recorded, and the next one fed, once Redis is back."""
    server, trio = rigs
    outage = OUTAGES[kind]
    trio.brake.touch()
    trio.queue(trio.capture("1.pcap", 1, PACKETS), trio.capture("2.pcap", 2, 10))
    trio.start_all()
    trio.await_copied(30_000)
    pids = {role: process.pid for role, process in trio.processes.items()}

    outage.begin(server)
    trio.wait_logged("controller", outage.event)
    trio.brake.unlink()
    trio.await_copied(24 + PACKETS * 916)
    trio.wait_logged("dispatcher", outage.event)
    outage.end(server)

    trio.await_processed(2)
    assert sorted(trio.alive()) == sorted(pids)
    assert [places_in(stream) for stream in trio.streams()] == [places(1, PACKETS) + places(2, 10)]
    assert trio.logged("dispatcher").count(outage.event) <= 2
    assert "Traceback" not in "".join(trio.logged(role) for role in pids)


KEYS = [
    "in_queue",
    "next",
    "processed",
    "fed",
    "journal",
    "finish",
    "suspend",
    "dispatchers",
    "gate",
]


@pytest.mark.parametrize("key", some_long(KEYS, quick=("journal",)))
def test_a_key_of_another_type_is_named_and_the_roles_wait(rigs: tuple[PrivateRedis, Trio], key: str) -> None:
    """No role exits; one logs which key it is; when the key is removed the work goes on."""
    server, trio = rigs
    name = getattr(trio.store.keys, key)
    if key == "finish":
        server.client.rpush(name, "x")
    else:
        server.client.set(name, "x")
    trio.start_all()
    if key != "in_queue":
        trio.queue(trio.capture("1.pcap", 1, 10))

    wait_until(
        lambda: any(name in line for role in trio.processes for line in complaints(trio, role)),
        f"a role to name {name}",
    )
    server.client.delete(name)
    if key == "in_queue":
        trio.queue(trio.capture("1.pcap", 1, 10))

    trio.await_processed(1)
    assert len(trio.alive()) == 3


@pytest.mark.long
def test_the_file_in_flight_is_finished_while_keys_have_another_type(rigs: tuple[PrivateRedis, Trio]) -> None:
    """CURRENT and STATS of the dispatcher, and the launcher's key."""
    server, trio = rigs
    keys = trio.store.keys
    trio.brake.touch()
    trio.queue(trio.capture("1.pcap", 1, PACKETS), trio.capture("2.pcap", 2, 10))
    trio.start_all()
    trio.await_copied(30_000)
    names = (keys.current(str(trio.pipe)), keys.stats(str(trio.pipe)), keys.consumer)
    for name in names:
        server.client.delete(name)
        server.client.set(name, "x")

    trio.brake.unlink()
    trio.wait_logged("dispatcher", keys.current(str(trio.pipe)))
    server.client.delete(*names)

    trio.await_processed(1)
    trio.await_copied(24 + (PACKETS + 10) * 916)
    assert len(trio.alive()) == 3
    assert [places_in(stream) for stream in trio.streams()] == [places(1, PACKETS) + places(2, 10)]


def complaints(trio: Trio, role: str) -> list[str]:
    """Return the lines that a role logged about keys of another type."""
    return [line for line in trio.logged(role).splitlines() if "WRONGTYPE" in line]


def test_scripts_that_redis_has_lost_are_sent_again(rigs: tuple[PrivateRedis, Trio]) -> None:
    """SCRIPT FLUSH before each file changes nothing."""
    server, trio = rigs
    trio.start_all()
    for number in range(1, 4):
        server.client.script_flush()
        trio.queue(trio.capture(f"{number}.pcap", number, 10))
        trio.await_processed(number)

    assert len(trio.alive()) == 3
    assert "WARNING" not in trio.logged("dispatcher")


@pytest.mark.long
def test_closed_connections_are_opened_again(rigs: tuple[PrivateRedis, Trio]) -> None:
    """CLIENT KILL of all clients, repeated, loses no file and ends no role."""
    server, trio = rigs
    trio.start_all()
    for number in range(1, 6):
        other_clients_out(server)
        trio.queue(trio.capture(f"{number}.pcap", number, 10))
        other_clients_out(server)
        trio.await_processed(number)

    assert len(trio.alive()) == 3
    assert [places_in(stream) for stream in trio.streams()] == [
        [place for number in range(1, 6) for place in places(number, 10)]
    ]


@pytest.mark.long
@pytest.mark.slow
def test_the_roles_wait_while_redis_is_loading(rigs: tuple[PrivateRedis, Trio]) -> None:
    """A restarted Redis answers LOADING until it has read its data; then the queued file is fed."""
    server, trio = rigs
    with server.client.pipeline(transaction=False) as batch:
        for number in range(3000):  # each takes some milliseconds to load
            batch.set(f"ballast:{number}", 1)
        batch.execute()
    trio.queue(trio.capture("1.pcap", 1, 10))
    server.kill()
    slow = ("--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024")
    server.start(*slow, wait=False)
    wait_until(lambda: _is_loading(server), "Redis to load")

    trio.start_all()
    trio.wait_logged("dispatcher", "waiting_for_redis")
    wait_until(server.answers, "Redis to have loaded")
    trio.await_processed(1)

    assert len(trio.alive()) == 3


def test_a_wrong_password_is_logged_once_and_never_shown(
    rigs: tuple[PrivateRedis, Trio], short_path: Path
) -> None:
    """WRONGPASS: the roles wait and name the remedy; when Redis accepts it the work goes on."""
    server, trio = rigs
    canary = "c4nary-in-a-cage"
    trio.environment["PCAPDJ_REDIS_URL"] = f"unix://:{canary}@{short_path}/redis.sock"
    trio.queue(trio.capture("1.pcap", 1, 10))
    config(server, "requirepass", "another")

    trio.start_all()
    for role in ("dispatcher", "controller"):
        trio.wait_logged(role, "redis_denied")
    trio.wait_logged("consumer", "refuses the login")
    config(server, "requirepass", canary)

    trio.wait_logged("dispatcher", "file_finished")
    assert len(trio.alive()) == 3
    assert trio.logged("dispatcher").count("redis_denied") == 1
    assert canary not in "".join(trio.logged(role) for role in trio.processes)
