"""Fixtures of several modules; a module that needs more of one extends it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fuse import FuseMount, fuse_in
from support.preloaded import failing_reads_in
from support.roles_rig import Trio
from support.stream_link import RecordingLink

from pcapdj.store.client import Store
from pcapdj.store.keys import Keys


@pytest.fixture
def trio(short_path: Path, redis_socket: Path) -> Iterator[Trio]:
    """Return dispatcher, controller and launcher, which do not run yet, in the session's Redis.

    A test that stops Redis, or changes its configuration, has one of its own: see `roles_rig.trio_in`.
    """
    trio = Trio(short_path, f"unix://{redis_socket}")
    yield trio
    trio.stop_all()
    trio.store.redis.flushall()
    trio.store.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the root of captures."""
    folder = tmp_path / "captures"
    folder.mkdir()
    return folder


@pytest.fixture
def link() -> Iterator[RecordingLink]:
    """Return a link that records what a dispatcher asks of it; its reader is closed afterwards."""
    link = RecordingLink()
    yield link
    if link.reader >= 0:
        link.leave()


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the library that makes reads fail."""
    return failing_reads_in(tmp_path_factory.mktemp("library"))


@pytest.fixture
def mount(short_path: Path) -> Iterator[FuseMount]:
    """Return a FUSE file system."""
    (short_path / "fuse").mkdir()
    with fuse_in(short_path / "fuse") as mount:
        yield mount


@pytest.fixture
def other_lane(store: Store) -> Iterator[Store]:
    """Return another lane of the same Redis."""
    lane = store.in_lane(Keys(f"{store.keys.lane}-other"))
    yield lane
    for key in lane.redis.scan_iter(match=f"{lane.keys.prefix}*"):
        lane.redis.delete(key)
