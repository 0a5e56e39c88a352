"""A dispatcher is the only one of its pipe and of its id: `pcapdj.dispatcher.exclusive`."""

import os
import stat
from pathlib import Path

import pytest
from support.descriptors import open_descriptors

from pcapdj.dispatcher import exclusive
from pcapdj.runtime.errors import AlreadyRunning
from pcapdj.store.client import Store
from pcapdj.store.keys import Keys


@pytest.fixture
def runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return this user's runtime folder, which is not there yet."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    return tmp_path / "run" / "pcapdj"


def store(lane: str = "", url: str = "unix:///run/redis.sock") -> Store:
    """Return a lane; nothing is sent to it."""
    return Store(url, Keys(lane))


def test_a_pipe_whose_path_is_the_id_needs_no_other_lock(tmp_path: Path, runtime_folder: Path) -> None:
    """Its lock lies beside it, hidden, and is free afterwards, without a descriptor left."""
    pipe = tmp_path / "stream"
    before = open_descriptors()
    with exclusive(pipe, str(pipe), store()):
        assert [path.name for path in tmp_path.iterdir()] == [".stream.dispatcher.lock"]
        with (
            pytest.raises(AlreadyRunning, match=rf"^Another dispatcher \(pid {os.getpid()}\)"),
            exclusive(pipe, "other", store()),
        ):
            pass

    assert not open_descriptors() - before
    assert not runtime_folder.exists()
    with exclusive(pipe, str(pipe), store()):
        pass


def test_an_id_is_locked_in_the_users_private_folder(tmp_path: Path, runtime_folder: Path) -> None:
    """One file for each Redis, lane and id; the pipe may be another one."""
    with exclusive(tmp_path / "a", "main", store()):
        assert stat.S_IMODE(runtime_folder.stat().st_mode) == 0o700
        with (
            pytest.raises(AlreadyRunning, match=r"^Another dispatcher of this id "),
            exclusive(tmp_path / "b", "main", store()),
        ):
            pass
        with (
            exclusive(tmp_path / "b", "spare", store()),
            exclusive(tmp_path / "c", "main", store("lane")),
            exclusive(tmp_path / "d", "main", store(url="unix:///run/another.sock")),
        ):
            names = [path.name for path in runtime_folder.iterdir()]

    assert len(names) == 4
    assert all(name.startswith("id-") and len(name) == len("id-.lock") + 16 for name in names)
