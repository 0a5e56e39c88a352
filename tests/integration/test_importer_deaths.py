"""A file that kills the importer is queued without a look into it, and so are the others."""

import os
import signal
from pathlib import Path

import pytest
from support.captures import Record, classic
from support.preloaded import failing
from support.roles_rig import Trio
from support.waiting import wait_until

from pcapdj.inbox.settle import FileState
from pcapdj.inbox.suspects import MOST_SUSPECTS, Suspects
from pcapdj.runtime.errors import CaptureError

STATE = FileState(10, 20)


@pytest.mark.parametrize("order", ["name", "time"])
def test_each_importer_dies_of_a_file_once(trio: Trio, library: Path, order: str) -> None:
    """Two such files and a good one: after two deaths all are in the queue, and no importer dies again."""
    for name in ("a/bad", "b/bad", "c/good"):
        (trio.captures / name).parent.mkdir()
        trio.capture(name, 1)
    variables = {"BAD_AT": 0, "BAD_SIGNAL": signal.SIGSEGV}
    environment = failing(library, **variables) | {"XDG_RUNTIME_DIR": str(trio.run)}
    options = ["--recursive", "--order", order]

    for _ in range(2):
        trio.start("importer", *options, environment=environment)
        assert trio.processes["importer"].wait() == -signal.SIGSEGV
    trio.start("importer", *options, environment=environment)

    queue = trio.store.keys.in_queue
    wait_until(lambda: trio.store.redis.llen(queue) == 3, "all files to be queued")
    names = [os.fsencode(trio.captures / name) for name in ("a/bad", "b/bad", "c/good")]
    assert sorted(trio.store.redis.lrange(queue, 0, -1)) == names
    trio.wait_logged("importer", "suspect_queued", times=2)
    assert trio.kill("importer", signal.SIGTERM) == 0


def test_a_look_that_did_not_end_makes_a_suspect(tmp_path: Path) -> None:
    """Until the file changes; a refusal ends a look, an unexpected error does not."""
    path = tmp_path / "suspects"
    first = Suspects(path)
    with pytest.raises(CaptureError), first.looking(b"refused", STATE):
        raise CaptureError("is no capture")
    with first.looking(b"good", STATE):
        pass
    assert not Suspects(path).has(b"good", STATE)
    with pytest.raises(MemoryError), first.looking(b"bad", STATE):
        raise MemoryError

    for suspects in (Suspects(path), Suspects(path)):
        assert suspects.has(b"bad", STATE)
        assert not suspects.has(b"bad", FileState(11, 20))
        assert not any(suspects.has(name, STATE) for name in (b"refused", b"good"))
        suspects.close()


def test_only_the_newest_suspects_are_kept(tmp_path: Path) -> None:
    """A thousand; the file about them stays small."""
    path = tmp_path / "suspects"
    for number in range(MOST_SUSPECTS + 2):
        suspects = Suspects(path)
        with pytest.raises(KeyError), suspects.looking(b"%d" % number, STATE):
            raise KeyError
        suspects.close()

    found = Suspects(path)

    assert not found.has(b"1", STATE)
    assert found.has(b"2", STATE)
    assert found.has(b"%d" % (MOST_SUSPECTS + 1), STATE)
    assert path.stat().st_size == 33 * (MOST_SUSPECTS + 1)


@pytest.mark.parametrize("content", [b"", b"1", os.urandom(500), b"1" * 100_000])
def test_what_is_no_list_of_suspects_has_none(tmp_path: Path, content: bytes) -> None:
    """An empty file, or anything else."""
    path = tmp_path / "suspects"
    path.write_bytes(content)

    assert not Suspects(path).has(b"good", STATE)


def test_without_its_file_nothing_is_remembered(tmp_path: Path) -> None:
    """A link in its place is not followed."""
    (tmp_path / "target").write_bytes(classic([Record()]))
    (tmp_path / "suspects").symlink_to("target")
    suspects = Suspects(tmp_path / "suspects")
    with pytest.raises(KeyError), suspects.looking(b"bad", STATE):
        raise KeyError

    assert not Suspects(tmp_path / "suspects").has(b"bad", STATE)
    assert (tmp_path / "target").read_bytes() == classic([Record()])
