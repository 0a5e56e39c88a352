"""Answers that no Redis gives: one sentence, and the next call begins on a new connection."""

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType

import pytest
from support.redis_server import redis_at
from support.waiting import scaled, wait_until

from pcapdj.runtime.errors import KeyUnusable, StoreFailed, StoreUnavailable
from pcapdj.store import client
from pcapdj.store.bounded import read_at_once, read_stream
from pcapdj.store.bounded_socket import MESSAGE_LIMIT_BYTES, BoundedSocket
from pcapdj.store.client import Store
from pcapdj.store.enqueue import _enqueue, last_lines
from pcapdj.store.job_queue import JobQueue
from pcapdj.store.journal import read_journal
from pcapdj.store.keys import Keys
from pcapdj.store.notifier import Notifier
from pcapdj.store.queue import queue_length
from pcapdj.store.script_answers import FORMS
from pcapdj.store.snapshot import read_snapshot

SCRIPTS = Path(client.__file__).parent / "scripts"

ANSWERS = {
    "no integer": b":nan\r\n",
    "nested": b"*1\r\n" * 3000 + b"*0\r\n",
    "no length": b"$x\r\n",
}


@contextmanager
def answering(
    path: Path, answer: bytes, others: Mapping[bytes, bytes] = MappingProxyType({})
) -> Iterator[list[socket.socket]]:
    """Run a server that gives this answer to each command; return its connections.

    Args:
        path: of its socket.
        answer: in the protocol of Redis.
        others: to what has these words.
    """
    connections = list[socket.socket]()

    def serve(connection: socket.socket) -> None:
        try:
            while data := connection.recv(65536):
                other = next((each for word, each in others.items() if word in data), answer)
                connection.sendall(other * len(re.findall(rb"\*\d+\r\n\$", data)))
        except OSError:
            return

    def accept() -> None:
        try:
            while True:
                connection, _ = listening.accept()
                connections.append(connection)
                threading.Thread(target=serve, args=(connection,), daemon=True).start()
        except OSError:
            return

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield connections
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            for connection in connections:
                connection.close()


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=list(ANSWERS))
def test_an_answer_that_no_redis_gives_is_an_error_of_the_store(short_path: Path, answer: bytes) -> None:
    """The sentence names the place; the connection is not used again."""
    short_path.chmod(0o700)
    with answering(path := short_path / "s", answer) as connections:
        store = Store(f"unix://{path}", Keys())
        for _ in range(2):
            with pytest.raises(StoreFailed, match="does not answer as a Redis does"):
                store.call(lambda client: client.llen("x"))
        assert len(connections) == 2


OTHER_TYPES = {
    "integer": b":7\r\n",
    "text": b"$2\r\nno\r\n",
    "none": b"$-1\r\n",
    "integers": b"*3\r\n:1\r\n:2\r\n:3\r\n",
    "odd pairs": b"*1\r\n*1\r\n$1\r\na\r\n",
}


def test_a_scripts_answer_of_another_type_is_such_an_error(short_path: Path) -> None:
    """It is refused where it arrives: no code behind it meets it."""
    short_path.chmod(0o700)
    for number, answer in enumerate(OTHER_TYPES.values()):
        with answering(path := short_path / f"t{number}", answer):
            store = Store(f"unix://{path}", Keys())
            for script in ("read_hashes", "requests", "read_stream", "restore"):
                with pytest.raises(StoreFailed, match="does not answer as a Redis does"):
                    store.run(script, ["x"], [])


def resp(value: object) -> bytes:
    """Return a value as Redis sends it."""
    if isinstance(value, list):
        return b"*%d\r\n" % len(value) + b"".join(map(resp, value))
    return (
        b":%d\r\n" % value
        if isinstance(value, int)
        else b"$%d\r\n%s\r\n" % (len(text := str(value)), text.encode())
    )


UNUSABLE: dict[str, tuple[object, Callable[[Store], object]]] = {
    "an unknown outcome": ([2], lambda store: _enqueue(store, [(b"/1", b"", "", "")])),
    "an outcome too few": (
        [0],
        lambda store: _enqueue(store, [(each, b"", "", "") for each in (b"/1", b"/2")]),
    ),
    "a line too many": (["1 ", "2 "], lambda store: last_lines(store, [b"/1"])),
    "a file without a token": (["taken", "name", "/1"], lambda store: JobQueue(store, "d").take()),
    "a request without its word": (["finish"], lambda store: JobQueue(store, "d").take()),
    "a hash too few": (
        [0, 0, 0, "", "", [], [[]] * 4, ""],
        lambda store: read_at_once(store, ["x"] * 6, ["x"] * 5, 1, 1),
    ),
    "no id of an entry": (["x", ["x", []]], lambda store: list(read_stream(store, "x"))),
    "no id of a file": (["", 1, "x", []], lambda store: list(read_journal(store))),
    "no length": ("many", queue_length),
    "no field": ([1], lambda store: store.call(lambda client: client.hget("x", "y"))),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_an_answer_that_cannot_be_used_is_such_an_error(
    short_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """It has the types that belong there, but a number or text that no script of ours answers."""
    short_path.chmod(0o700)
    monkeypatch.setattr("pcapdj.store.registration.registered", lambda _: [])
    monkeypatch.setattr("pcapdj.store.registration._registered", lambda _: ([], 0))
    answer, use = UNUSABLE[case]
    with (
        answering(path := short_path / "s", resp(answer)),
        pytest.raises(StoreFailed, match="does not answer as a Redis does"),
    ):
        use(Store(f"unix://{path}", Keys()))


def test_nonsense_while_a_key_of_another_type_is_looked_for_is_an_answer_likewise(short_path: Path) -> None:
    """The question for the types comes after an error, and its own error must not replace it."""
    short_path.chmod(0o700)
    others = {b"LLEN": b"-WRONGTYPE x\r\n", b"TYPE": b"-MOVED\r\n"}
    with (
        answering(path := short_path / "s", b"+OK\r\n", others),
        pytest.raises(KeyUnusable, match="answered: WRONGTYPE"),
    ):
        Store(f"unix://{path}", Keys()).call(lambda client: client.llen("x"))


def test_an_answer_to_many_commands_at_once_is_checked_likewise(short_path: Path) -> None:
    """Also where it has as many parts as there were commands."""
    short_path.chmod(0o700)
    texts = b"*7\r\n" + b"$1\r\na\r\n" * 7
    with answering(path := short_path / "s", texts):
        store = Store(f"unix://{path}", Keys())
        with pytest.raises(StoreFailed, match="does not answer as a Redis does"):
            read_snapshot(store, 0)


def test_an_answer_without_an_end_is_an_error_within_the_timeout(short_path: Path) -> None:
    """A byte now and then, or megabytes: neither keeps a role in one call."""
    short_path.chmod(0o700)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path := short_path / "s"))
        listening.listen()
        store = Store(f"unix://{path}", Keys(), timeout_s=0.3)

        def drip(sent: bytes, pause_s: float) -> None:
            connection, _ = listening.accept()
            with connection, suppress(OSError):
                connection.sendall(b"$90000000\r\n")
                while not over.wait(pause_s):
                    connection.sendall(sent)

        too_slow = (b"x", 0.1, StoreUnavailable, "does not answer")
        too_long = (bytes(1 << 20), 0.0, StoreFailed, "sent an answer of more than 16.0 MiB")
        for sent, pause_s, kind, sentence in (too_slow, too_long):
            over = threading.Event()
            thread = threading.Thread(target=drip, args=(sent, pause_s))
            thread.start()
            with pytest.raises(kind, match=sentence):
                store.ping()
            over.set()
            store.close()
            thread.join()


def test_an_answer_that_has_come_is_taken_after_a_pause_of_this_process() -> None:
    """A role that was stopped, or found no processor, for longer than the timeout does not ask again."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        received = BoundedSocket(ours, timeout_s=0.05, limit_bytes=100)
        received.sendall(b"PING\r\n")
        theirs.sendall(b"+PONG\r\n")
        threading.Event().wait(0.1)  # this is the pause
        assert received.recv(100) == b"+PONG\r\n"
        with pytest.raises(TimeoutError):
            received.recv(100)


def test_a_message_of_megabytes_is_not_read_whole(short_path: Path) -> None:
    """Whoever may publish can send one to each role: the notifier connects again, and wakes its role."""
    limits = ("--client-output-buffer-limit", "pubsub 0 0 0")
    with redis_at(short_path / "redis.sock", *limits) as server:
        store = Store(server.url, Keys())
        notifier = Notifier(store)
        wait_until(lambda: notifier.has_message, "the subscription")
        notifier.clear()
        before = server.client.info("stats")["total_connections_received"]

        server.client.publish(store.keys.channel, bytes(8 << 20))

        wait_until(lambda: notifier.has_message, "the next subscription")
        after = server.client.info("stats")["total_connections_received"]
        assert after > before
        sent = server.client.info("stats")["total_net_output_bytes"]
        assert sent < 6 << 20
        notifier.close()
        store.close()


def test_any_number_of_messages_comes_over_one_connection(short_path: Path) -> None:
    """The limit is that of one message: a service runs for months."""
    with redis_at(short_path / "redis.sock") as server:
        store = Store(server.url, Keys(), has_messages=True)
        with store.redis.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]  # redis-py
            channel.subscribe("channel")
            wait_until(lambda: server.client.pubsub_numsub("channel")[0][1], "the subscription")
            received_bytes = 0
            for _ in range(40):
                server.client.publish("channel", bytes(MESSAGE_LIMIT_BYTES // 20))
                wait_until(lambda: channel.get_message(timeout=1), "the message")
                received_bytes += MESSAGE_LIMIT_BYTES // 20

            assert received_bytes > MESSAGE_LIMIT_BYTES
        store.close()


def test_each_script_that_is_run_has_a_form() -> None:
    """A script that is a part of others, which `-- Uses` names, has no answer."""
    scripts = {path.stem: path.read_text() for path in SCRIPTS.glob("*.lua")}
    parts = {
        name for text in scripts.values() for name in re.findall(r"^-- Uses (\w+)\.lua$", text, re.MULTILINE)
    }
    assert set(FORMS) == set(scripts) - parts


def test_a_process_ends_with_1_when_one_of_its_threads_dies() -> None:
    """It stops as after SIGTERM, and the traceback is shown."""
    program = (
        "import signal, sys, threading; from pcapdj.runtime.command import run_command\n"
        "def command():\n"
        "    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
        "    threading.Thread(target=lambda: [][0], daemon=True).start()\n"
        "    signal.sigwait([signal.SIGTERM])\n"
        "sys.exit(run_command('x', command))"
    )
    argv = [sys.executable, "-c", program]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=scaled(20))
    assert (done.returncode, "IndexError" in done.stderr) == (1, True)


def test_the_notifier_connects_again_after_such_an_answer(short_path: Path) -> None:
    """Its thread does not end."""
    short_path.chmod(0o700)
    with answering(path := short_path / "s", ANSWERS["no integer"]) as connections:
        notifier = Notifier(Store(f"unix://{path}", Keys()))
        wait_until(lambda: len(connections) > 1, "a second connection")
        notifier.close()
