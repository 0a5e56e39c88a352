"""Why a real Redis refuses (ACL, cluster, certificate), in a sentence that names what helps."""

import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from support.forkserver import run
from support.programs import require_program
from support.redis_server import PrivateRedis, answers, redis_at
from support.waiting import wait_until

from pcapdj.runtime.errors import KeyUnusable, StoreDenied, StoreFailed, StoreUnavailable
from pcapdj.store import operate
from pcapdj.store.client import Store
from pcapdj.store.enqueue import enqueue_new
from pcapdj.store.grants import Grants
from pcapdj.store.job_queue import JobQueue
from pcapdj.store.keys import Keys
from pcapdj.store.snapshot import read_snapshot

SECRET = "s3cr3t"  # noqa: S105 - of a test
USER = ("ACL", "SETUSER", "limited", "on", f">{SECRET}", "~*", "&*", "+@all")


@pytest.fixture
def server(short_path: Path) -> Iterator[PrivateRedis]:
    """Return a Redis whose users the test may change."""
    with redis_at(short_path / "redis.sock") as server:
        yield server


@pytest.fixture
def limited(server: PrivateRedis) -> Iterator[Store]:
    """Return a store in lane `north` whose user may do everything, until the test forbids something."""
    server.client.execute_command(*USER)  # type: ignore[no-untyped-call]  # redis-py
    store = Store(f"unix://limited:{SECRET}@{server.socket}", Keys("north"))
    store.ping()
    yield store
    store.close()


def forbid(server: PrivateRedis, *rules: str) -> None:
    """Change the user's rules."""
    server.client.execute_command("ACL", "SETUSER", "limited", *rules)  # type: ignore[no-untyped-call]  # redis-py


def take(store: Store) -> object:
    """Take the next file."""
    return JobQueue(store, "d1").take()


def enqueue(store: Store) -> object:
    """Queue a file, with a dispatcher in the lane whose current file is looked at."""

    class Version:
        size_bytes = mtime_ns = 1

    return enqueue_new(store, {b"/in/1.pcap": Version()})


CASES: list[tuple[str, tuple[str, ...], Callable[[Store], Any], str, str]] = [
    ("command", ("-sismember",), operate.is_suspended, "the command sismember", "+sismember"),
    ("script", ("-evalsha",), take, "the command evalsha", "+evalsha"),
    ("in script", ("-hexists",), take, "the command hexists", "+hexists"),
    ("in pipeline", ("-hset",), lambda s: operate.change_control(s, {"min-free": SECRET}), "hset", "+hset"),
    (
        "key",
        ("resetkeys", "~elsewhere"),
        operate.is_suspended,
        "the key {north}:PCAPDJ_SUSPEND",
        "~{north}:PCAPDJ_SUSPEND",
    ),
    (
        "key in pipeline",
        ("resetkeys", "~{north}:PCAPDJ_GATE"),
        lambda store: Grants(store).publish({"reason": SECRET}, suspended=False),
        "the key {north}:PCAPDJ_SUSPEND",
        "~{north}:PCAPDJ_SUSPEND",
    ),
    (
        "keys of script",
        ("resetkeys", "~{north}:PCAPDJ_IN_QUEUE"),
        take,
        "one of the keys {north}:PCAPDJ_IN_QUEUE, {north}:PCAPDJ_CURRENT:*,",
        "~{north}:PCAPDJ_FINISH ~{north}:PCAPDJ_STATE ~{north}:PCAPDJ_DISPATCHERS ~{north}:PCAPDJ_FINISHED",
    ),
    (
        "keys of dispatchers",
        ("resetkeys", *(f"~{{north}}:PCAPDJ_{name}" for name in ("IN_QUEUE", "DISPATCHERS", "FED", "BELL"))),
        enqueue,
        "{north}:PCAPDJ_CURRENT:*.",
        "~{north}:PCAPDJ_CURRENT:*",
    ),
    (
        "channel",
        ("resetchannels",),
        lambda store: store.notify("queued"),
        "the channel {north}:PCAPDJ_BELL",
        "&{north}:PCAPDJ_BELL",
    ),
    (
        "channel in script",
        ("resetchannels",),
        enqueue,
        "the channel {north}:PCAPDJ_BELL",
        "&{north}:PCAPDJ_BELL",
    ),
]


@pytest.mark.parametrize(
    ("rules", "call", "missing", "rule"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_what_the_acl_forbids_is_named_with_the_rule_that_allows_it(
    server: PrivateRedis,
    limited: Store,
    rules: tuple[str, ...],
    call: Callable[[Store], Any],
    missing: str,
    rule: str,
) -> None:
    """The password is right, so it is not mentioned; no value that was sent is shown."""
    server.client.sadd(limited.keys.dispatchers, "d1")
    forbid(server, *rules)

    with pytest.raises(StoreDenied) as refused:
        call(limited)

    assert "The ACL of Redis at" in refused.value.message
    assert missing in refused.value.message
    assert rule in refused.value.hint
    assert "password" not in str(refused.value)
    assert SECRET not in str(refused.value)


def test_the_named_rules_are_enough(server: PrivateRedis, limited: Store) -> None:
    """Who adds the rule of each refusal, one after the other, ends with a call that works."""
    forbid(server, "-@all", "resetkeys", "resetchannels")
    server.client.sadd(limited.keys.dispatchers, "d1")
    refusals: list[str] = []

    while len(refusals) < 20:
        try:
            enqueue(limited)
        except StoreDenied as exc:
            refusals.append(str(exc))
            forbid(server, *exc.hint.removeprefix("Add ").partition(" to that user's")[0].split())
        else:
            break

    assert 5 < len(refusals) < 20, refusals
    assert server.client.llen(limited.keys.in_queue) == 1


@pytest.mark.parametrize("url", ["unix://{socket}", "unix://:wrong@{socket}"])
def test_a_refused_login_mentions_the_password(server: PrivateRedis, url: str) -> None:
    """None given, or a wrong one."""
    server.client.config_set("requirepass", SECRET)
    store = Store(url.format(socket=server.socket), Keys())

    with pytest.raises(StoreDenied, match=r"refuses the login .* Check the password"):
        store.ping()


def free_port() -> int:
    """Return a loopback port that is free now, and whose cluster bus port is a port."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port: int = listener.getsockname()[1]
        if port < 55_000:
            return port


@pytest.fixture
def cluster(short_path: Path) -> Iterator[int]:
    """Return the port of one of two nodes that share the slots."""
    ports = [free_port(), free_port()]
    servers: list[PrivateRedis] = []
    options = ("--bind", "127.0.0.1", "--cluster-enabled", "yes", "--cluster-require-full-coverage", "no")
    try:
        for port in ports:
            folder = short_path / str(port)
            folder.mkdir()
            servers.append(PrivateRedis(folder / "redis.sock", "--port", str(port), *options))
            servers[-1].start()
        do: Any = [server.client.execute_command for server in servers]
        do[0]("CLUSTER", "ADDSLOTSRANGE", 0, 8191)
        do[1]("CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
        do[0]("CLUSTER", "MEET", "127.0.0.1", ports[1])
        wait_until(lambda: _is_moved(servers[0]), "the nodes to know each other's slots")
        yield ports[0]
    finally:
        for server in servers:
            server.stop()


def _is_moved(server: PrivateRedis) -> bool:
    try:
        server.client.get("a")  # in slot 15495
    except redis.exceptions.MovedError:
        return True
    except redis.RedisError:
        return False
    return False


@pytest.mark.parametrize("call", [operate.read_control, take, operate.suspend, lambda s: Grants(s).look()])
def test_a_redis_cluster_is_named(cluster: int, call: Callable[[Store], Any]) -> None:
    """MOVED and CROSSSLOT: it runs and answers, but a lane's keys are on several of its servers."""
    refusals = []
    for lane in ("", "a", "b"):
        store = Store(f"redis://127.0.0.1:{cluster}/0", Keys(lane))
        try:
            call(store)
        except StoreFailed as exc:
            refusals.append(exc)
        store.close()

    assert refusals
    assert all("is part of a Redis Cluster" in str(each) and "--redis-url" in str(each) for each in refusals)
    assert not any(isinstance(each, KeyUnusable) for each in refusals)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a self-signed certificate of 127.0.0.1 and its key."""
    folder = tmp_path_factory.mktemp("tls")
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")
    files = ("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"))
    command = [require_program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", *files, *subject]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture
def tls_port(short_path: Path, certificate: Path) -> Iterator[int]:
    """Return the port of a Redis that takes TLS only."""
    port = free_port()
    files = ("--tls-cert-file", str(certificate / "cert.pem"), "--tls-key-file", str(certificate / "key.pem"))
    options = ("--bind", "127.0.0.1", "--tls-port", str(port), "--tls-auth-clients", "no", *files)
    with redis_at(short_path / "redis.sock", *options):
        yield port


def test_a_certificate_that_is_not_trusted_is_named(tls_port: int) -> None:
    """The server runs and answers; the reason of the handshake is in the sentence."""
    with pytest.raises(StoreUnavailable) as refused:
        Store(f"rediss://:{SECRET}@127.0.0.1:{tls_port}", Keys()).ping()

    assert str(refused.value) == (
        f"The TLS connection to Redis at rediss://127.0.0.1:{tls_port} fails"
        " (certificate verify failed: self-signed certificate). Check the server's certificate;"
        " ?ssl_ca_certs=FILE in the URL names the authority."
    )


def test_a_missing_certificate_file_is_named(tls_port: int) -> None:
    """It is the client's file that is missing, not the server."""
    store = Store(f"rediss://127.0.0.1:{tls_port}?ssl_ca_certs=/none.pem", Keys())

    with pytest.raises(StoreUnavailable, match=r"a file in the URL cannot be read \(No such file"):
        store.ping()


@pytest.mark.parametrize("parameter", ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile"])
def test_a_pipe_in_the_place_of_a_certificate_is_not_waited_for(parameter: str, short_path: Path) -> None:
    """OpenSSL would wait for ever, and a role be deaf to its stop signal."""
    os.mkfifo(short_path / "pipe")
    with socket.create_server(("127.0.0.1", 0)) as server:
        store = Store(f"rediss://127.0.0.1:{server.getsockname()[1]}?{parameter}={short_path}/pipe", Keys())

        with pytest.raises(StoreDenied, match="pipe', which the Redis URL names, is not a regular file"):
            store.ping()


@pytest.mark.parametrize("form", [[], ["-traditional"]])
def test_the_password_of_a_key_is_not_asked_from_the_terminal(
    form: list[str], tls_port: int, certificate: Path, short_path: Path
) -> None:
    """The prompt would stand in the middle of a screen, and wait; with the password in the URL it works."""
    files = ["-in", str(certificate / "key.pem"), "-out", str(short_path / "key.pem")]
    command = [require_program("openssl"), "rsa", *form, "-aes256", "-passout", "pass:secret", *files]
    subprocess.run(command, check=True, capture_output=True)
    trusted = f"ssl_ca_certs={certificate}/cert.pem&ssl_certfile={certificate}/cert.pem"
    url = f"rediss://127.0.0.1:{tls_port}?{trusted}&ssl_keyfile={short_path}/key.pem"

    with pytest.raises(StoreDenied, match=r"key\.pem' of the Redis URL needs a password"):
        Store(url, Keys()).ping()

    store = Store(f"{url}&ssl_password=secret", Keys())
    store.ping()
    store.close()


def test_a_trusted_certificate_is_enough(tls_port: int, certificate: Path) -> None:
    """The parameter that the refusal names does it."""
    store = Store(f"rediss://127.0.0.1:{tls_port}?ssl_ca_certs={certificate / 'cert.pem'}", Keys())

    store.ping()

    store.close()


def no_memory(server: PrivateRedis) -> None:
    """Let it refuse what may need memory."""
    server.client.config_set("maxmemory", 1)


def no_replicas(server: PrivateRedis) -> None:
    """Let it refuse writes that no replica gets."""
    server.client.config_set("min-replicas-to-write", 1)


def replica(server: PrivateRedis) -> None:
    """Let it be a replica of a server that is away, and answer from what it has."""
    server.client.execute_command("REPLICAOF", "127.0.0.1", free_port())  # type: ignore[no-untyped-call]  # redis-py


def replica_without_data(server: PrivateRedis) -> None:
    """Let it be a replica that answers nothing while its master is away."""
    server.client.config_set("replica-serve-stale-data", "no")
    replica(server)


@pytest.mark.parametrize(
    ("refuse", "said", "helps"),
    [(no_memory, "takes no writes now", "maxmemory"), (no_replicas, "takes no writes now", "replicas")],
)
def test_a_server_that_takes_no_writes_is_read_and_the_reason_shown(
    server: PrivateRedis, refuse: Callable[[PrivateRedis], None], said: str, helps: str
) -> None:
    """The screen that helps then must not need a write: its snapshot, the failed files, the events."""
    store = Store(server.url, Keys())
    server.client.rpush(store.keys.in_queue, "/in/1.pcap")
    server.client.rpush(store.keys.failed, '{"name": "/in/0.pcap", "reason": "torn"}')
    assert read_snapshot(store, 0)["redis_problem"] == ""

    refuse(server)

    snapshot = read_snapshot(store, 0)
    assert (snapshot["queued"], snapshot["failed"]) == (1, 1)
    assert said in snapshot["redis_problem"]
    assert helps in snapshot["redis_problem"]
    assert server.client.exists(store.keys.state) == 0
    failed = run("pcapdj", "failed", "--redis-url", server.url)
    assert (failed.returncode, failed.stdout) == (0, "'/in/0.pcap': torn\n")
    with pytest.raises(StoreUnavailable, match=f"{said}.*{helps}"):
        operate.suspend(store)
    store.close()


def test_a_replica_is_read_and_refuses_writes(server: PrivateRedis) -> None:
    """Somebody may watch the lane there; the sentence about a write names the master."""
    store = Store(server.url, Keys())
    replica(server)

    assert read_snapshot(store, 0)["redis_problem"] == ""
    with pytest.raises(StoreUnavailable, match=r"takes no writes now .*Name its master"):
        operate.suspend(store)

    replica_without_data(server)
    with pytest.raises(StoreUnavailable, match=r"executes no commands now .*Wait for its master"):
        read_snapshot(store, 0)
    store.close()


def test_a_script_that_does_not_end_is_named_with_what_ends_it(server: PrivateRedis) -> None:
    """Redis answers BUSY to everything but that."""
    server.client.config_set("busy-reply-threshold", 1)
    store = Store(server.url, Keys())
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(str(server.socket))
        other.sendall(b"EVAL 'while true do end' 0\r\n")
        wait_until(lambda: _is_refused(store, "executes no commands now .*SCRIPT KILL"), "BUSY")
        server.client.execute_command("SCRIPT", "KILL")  # type: ignore[no-untyped-call]  # redis-py
        wait_until(lambda: answers(store), "the end of the script")
    store.close()


def test_a_server_with_too_many_clients_is_named(server: PrivateRedis) -> None:
    """Whether its reason arrives before the connection is closed is chance."""
    server.client.config_set("maxclients", 1)

    for _ in range(5):
        store = Store(server.url, Keys())
        with pytest.raises(StoreUnavailable, match=r"It closes new connections: .*maxclients"):
            store.ping()
        store.close()


def _is_refused(store: Store, pattern: str) -> bool:
    try:
        store.ping()
    except StoreUnavailable as exc:
        return re.search(pattern, str(exc)) is not None
    return False
