"""The fixtures that tests of every kind use; what is no fixture is in `support`."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.redis_server import redis_at

from pcapdj.runtime.signals import Signals, handled
from pcapdj.store.client import Store
from pcapdj.store.keys import Keys


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
    with (
        tempfile.TemporaryDirectory(prefix="pcapdj-redis-") as folder,
        redis_at(Path(folder) / "redis.sock") as server,
    ):
        yield server.socket


@pytest.fixture
def store(redis_socket: Path, request: pytest.FixtureRequest) -> Iterator[Store]:
    """Return a store in a lane of its own, whose keys are removed afterwards."""
    lane = f"{os.getpid()}-{abs(hash(request.node.nodeid))}"
    with_lane = Store(f"unix://{redis_socket}", Keys(lane))
    yield with_lane
    for key in with_lane.redis.scan_iter(match=f"{with_lane.keys.prefix}*"):
        with_lane.redis.delete(key)
    with_lane.close()
