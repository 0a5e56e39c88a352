"""A redis-server of the tests' own on a unix socket: the session's, or one that a test treats badly."""

import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from pcapdj.runtime.errors import StoreUnavailable
from pcapdj.runtime.process import death_signal_for_child
from pcapdj.store.client import Store
from pcapdj.store.embedded import find_server
from pcapdj.store.keys import Keys
from support.waiting import scaled, wait_until

DURABLE: Final = ("--appendonly", "yes", "--appendfsync", "always")


def answers(store: Store) -> bool:
    """Report whether a server answers."""
    try:
        store.ping()
    except StoreUnavailable:
        return False
    return True


def redis_command(socket: Path, *options: str) -> list[str]:
    """Return the command line of a redis-server that keeps nothing, unless the options change that."""
    fixed = ["--port", "0", "--unixsocket", str(socket), "--dir", str(socket.parent), "--save", ""]
    return [str(find_server()), *fixed, *options]


class PrivateRedis:
    """A redis-server that may be started, stopped, killed and started again.

    Args:
        socket: where it listens; its folder takes its data.
        options: those of every start.
        dies_with_caller: it is killed when the thread that starts it ends, as by a Ctrl-C of a whole session.
    """

    def __init__(self, socket: Path, *options: str, dies_with_caller: bool = False) -> None:
        self.socket = socket
        self._prepare = death_signal_for_child(signal.SIGKILL) if dies_with_caller else None
        self._options = options
        self.url = f"unix://{socket}"
        # Its own retries wait seconds for a server that needs milliseconds to start.
        self.client = redis.Redis(unix_socket_path=str(socket), retry=Retry(NoBackoff(), 0))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str, wait: bool = True) -> None:
        """Start it, and wait until it answers."""
        command = redis_command(self.socket, *self._options, *options)
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=self._prepare)  # noqa: PLW1509 - one system call
        if wait:
            wait_until(self.answers, "redis-server to answer")

    def answers(self) -> bool:
        """Report whether it answers, even if only to refuse."""
        try:
            self.client.ping()
        except (redis.AuthenticationError, redis.exceptions.NoPermissionError, redis.ResponseError):
            return True
        except redis.TimeoutError:
            return False
        except redis.ConnectionError as exc:
            return "max number of clients" in str(exc)
        return True

    def signal(self, number: int) -> None:
        """Send the server a signal."""
        if self._process:
            self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it as `kill -9` does, stopped or not."""
        if self._process:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
        self.client.connection_pool.disconnect()

    def stop(self) -> None:
        """Kill it, and close the client."""
        self.kill()
        self.client.close()


@contextmanager
def redis_at(socket: Path, *options: str, dies_with_caller: bool = False) -> Iterator[PrivateRedis]:
    """Return a redis-server on this socket that answers; it ends with the block."""
    server = PrivateRedis(socket, *options, dies_with_caller=dies_with_caller)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextmanager
def private_redis(folder: Path, *options: str, lane: str = "") -> Iterator[Store]:
    """Run a redis-server on a socket in the folder; return its store."""
    with redis_at(folder / "own.sock", *options) as server:
        store = Store(server.url, Keys(lane), timeout_s=scaled(2))
        try:
            yield store
        finally:
            store.close()


def fill(store: Store, script: str, keys: Sequence[str], entries: int) -> None:
    """Run a Lua script that writes so many entries that it may take longer than a role waits."""
    filling = store.another(timeout_s=60)
    cast("Any", filling.redis).eval(script, len(keys), *keys, entries)
    filling.close()
