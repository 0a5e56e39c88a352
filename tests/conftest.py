"""What all tests share: a private redis-server, programs that CI must have, waiting for conditions."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from pcapdj.runtime.signals import Signals, handled
from pcapdj.store.client import Store
from pcapdj.store.embedded import find_server
from pcapdj.store.keys import Keys


def missing(reason: str) -> None:
    """Skip with the reason on a person's machine; fail in CI, where everything has to be there."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason} (CI must have it)")
    pytest.skip(reason)


def require_program(name: str) -> str:
    """Return the program's path, or skip (fail in CI) because it is not installed."""
    path = shutil.which(name)
    if path is None:
        missing(f"{name} is not installed")
    return str(path)


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = 20.0) -> None:
    """Wait for a condition; fail with what was waited for."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout_s:g} s for: {what}")
        time.sleep(0.01)


def redis_command(socket: Path, *options: str) -> list[str]:
    """Return the command line of a private redis-server that keeps nothing, unless the options say more."""
    fixed = ["--port", "0", "--unixsocket", str(socket), "--dir", str(socket.parent), "--save", ""]
    return [str(find_server()), *fixed, *options]


@pytest.fixture
def signals() -> Iterator[Signals]:
    """Return this process's signals, as a role has them."""
    with handled() as signals:
        yield signals


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Return a private folder whose path leaves room for a unix socket's 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="pcapdj-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def redis_socket() -> Iterator[Path]:
    """Run a private redis-server on a unix socket for the session; each test uses a lane of its own."""
    with tempfile.TemporaryDirectory(prefix="pcapdj-redis-") as folder:
        socket = Path(folder) / "redis.sock"
        with subprocess.Popen(redis_command(socket), stdout=subprocess.DEVNULL) as server:
            try:
                wait_until(lambda: _answers(socket), "redis-server to answer")
                yield socket
            finally:
                server.terminate()


@pytest.fixture
def store(redis_socket: Path, request: pytest.FixtureRequest) -> Iterator[Store]:
    """Return a store in a lane of its own, whose keys are removed afterwards."""
    lane = f"{os.getpid()}-{abs(hash(request.node.nodeid))}"
    with_lane = Store(f"unix://{redis_socket}", Keys(lane))
    yield with_lane
    for key in with_lane.redis.scan_iter(match=f"{with_lane.keys.prefix}*"):
        with_lane.redis.delete(key)
    with_lane.close()


def _answers(socket: Path) -> bool:
    try:
        with redis.Redis(unix_socket_path=str(socket)) as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False
