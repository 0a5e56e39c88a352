"""Answers that no Redis gives: one sentence, and the next call begins on a new connection."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.waiting import wait_until

from pcapdj.runtime.errors import StoreFailed
from pcapdj.store.client import Store
from pcapdj.store.keys import Keys
from pcapdj.store.notifier import Notifier

ANSWERS = {
    "no integer": b":nan\r\n",
    "nested": b"*1\r\n" * 3000 + b"*0\r\n",
    "no length": b"$x\r\n",
}


@contextmanager
def answering(path: Path, answer: bytes) -> Iterator[list[socket.socket]]:
    """Run a server that gives this answer to whatever it gets; return its connections."""
    connections = list[socket.socket]()

    def serve(connection: socket.socket) -> None:
        try:
            while connection.recv(65536):
                connection.sendall(answer)
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
            with pytest.raises(StoreFailed, match="sent an answer that is not one of a Redis"):
                store.call(lambda client: client.llen("x"))
        assert len(connections) == 2


def test_the_notifier_connects_again_after_such_an_answer(short_path: Path) -> None:
    """Its thread does not end."""
    short_path.chmod(0o700)
    with answering(path := short_path / "s", ANSWERS["no integer"]) as connections:
        notifier = Notifier(Store(f"unix://{path}", Keys()))
        wait_until(lambda: len(connections) > 1, "a second connection")
        notifier.close()
