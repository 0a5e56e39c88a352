"""`pcapdj check` notes what other users of a Redis can do to the lane."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from support.forkserver import clean_environment, run
from support.redis_server import PrivateRedis, redis_at

NO_ROOT: Final = "note: other programs may be able to write the queue, and no root is set"
DEFAULT_USER: Final = "note: its default user is used"


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def shared(short_path: Path) -> Iterator[tuple[PrivateRedis, int]]:
    """Return a Redis that every program of this machine can connect to, and its port."""
    port = free_port()
    with redis_at(short_path / "s", "--port", str(port), "--bind", "127.0.0.1") as server:
        yield server, port


def checked(folder: Path, **variables: str) -> str:
    """Return what check prints."""
    env = clean_environment(PATH="/nowhere", COLUMNS="300", **variables)
    return str(run("pcapdj", "check", cwd=folder, env=env).stdout)


def test_a_redis_that_others_reach_is_noted(shared: tuple[PrivateRedis, int], tmp_path: Path) -> None:
    """Without a root, and as the default user; each note goes with its remedy."""
    server, port = shared
    server.client.acl_setuser(
        "us", enabled=True, passwords=["+p"], keys=["*"], channels=["*"], categories=["+@all"]
    )
    (tmp_path / "password").write_text("p\n")
    own_user = {"PCAPDJ_REDIS_URL": f"redis://us@127.0.0.1:{port}/0"}
    own_user["PCAPDJ_REDIS_PASSWORD_FILE"] = str(tmp_path / "password")
    default = {"PCAPDJ_REDIS_URL": f"redis://127.0.0.1:{port}/0"}

    found = checked(tmp_path, **default)
    with_root = checked(tmp_path, **default, PCAPDJ_ROOT=str(tmp_path))
    with_user = checked(tmp_path, **own_user, PCAPDJ_ROOT=str(tmp_path))

    assert NO_ROOT in found
    assert DEFAULT_USER in found
    assert NO_ROOT not in with_root
    assert DEFAULT_USER in with_root
    assert " at redis://127.0.0.1" in with_user
    assert DEFAULT_USER not in with_user


def test_a_socket_of_this_user_is_not_noted(shared: tuple[PrivateRedis, int], tmp_path: Path) -> None:
    """Unless its mode lets others connect."""
    server, _ = shared
    server.socket.parent.chmod(0o755)
    server.socket.chmod(0o700)
    private = checked(tmp_path, PCAPDJ_REDIS_URL=server.url)
    server.socket.chmod(0o777)
    open_to_all = checked(tmp_path, PCAPDJ_REDIS_URL=server.url)

    assert NO_ROOT not in private
    assert DEFAULT_USER not in private
    assert NO_ROOT in open_to_all
