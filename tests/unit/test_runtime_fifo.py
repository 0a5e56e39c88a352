"""The pipe: ours, private, new for every stream, and nothing else ever touched."""

import os
import stat
from pathlib import Path

import pytest

from pcapdj.runtime.errors import CannotCreate
from pcapdj.runtime.fifo import Fifo, is_reader_gone, make, open_if_read, unread_bytes
from pcapdj.runtime.trust import owner_of


def test_every_stream_gets_a_new_inode(tmp_path: Path) -> None:
    """What a dead reader left unread cannot reach the next one."""
    fifo = Fifo(tmp_path / "run" / "p")
    fifo.renew()
    first = fifo.path.stat()

    fifo.renew()

    assert fifo.path.stat().st_ino != first.st_ino
    assert stat.S_IMODE(first.st_mode) == 0o600
    assert stat.S_IMODE(fifo.path.parent.stat().st_mode) == 0o700


def test_the_write_end_comes_with_the_reader(tmp_path: Path) -> None:
    """Without a reader there is none, and the call does not wait."""
    fifo = Fifo(tmp_path / "p")
    fifo.renew()
    assert fifo.open_write_end() is None

    reader = os.open(fifo.path, os.O_RDONLY | os.O_NONBLOCK)
    write_end = fifo.open_write_end()

    assert write_end is not None
    assert not os.get_blocking(write_end)
    os.write(write_end, b"x")
    assert os.read(reader, 2) == b"x"
    os.close(write_end)
    os.close(reader)


@pytest.mark.parametrize("kind", ["file", "folder", "symlink"])
def test_what_is_not_a_pipe_is_refused_and_left_alone(tmp_path: Path, kind: str) -> None:
    """A capture file at the pipe's path is not overwritten."""
    path = tmp_path / "p"
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    if kind == "file":
        path.write_bytes(b"precious")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(target)
    before = path.lstat()

    with pytest.raises(CannotCreate, match="not a named pipe"):
        Fifo(path)

    after = path.lstat()
    assert (after.st_ino, after.st_size) == (before.st_ino, before.st_size)
    assert target.read_bytes() == b"precious"


def test_a_pipe_that_was_replaced_meanwhile_is_not_written_to(tmp_path: Path) -> None:
    """The identity is checked after the open, so that no impostor gets a byte."""
    fifo = Fifo(tmp_path / "p")
    fifo.renew()
    fifo.path.unlink()
    fifo.path.write_bytes(b"")

    with pytest.raises(CannotCreate, match="replaced"):
        fifo.open_write_end()
    fifo.remove()

    assert fifo.path.read_bytes() == b""


def test_a_missing_pipe_is_an_error(tmp_path: Path) -> None:
    """Waiting for a reader of nothing would never end."""
    fifo = Fifo(tmp_path / "p")
    fifo.renew()
    fifo.path.unlink()

    with pytest.raises(CannotCreate, match="cannot be opened"):
        fifo.open_write_end()


def test_a_folder_open_to_everybody_is_refused(tmp_path: Path) -> None:
    """Anybody could put their own pipe there."""
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)

    with pytest.raises(CannotCreate, match="is writable for all users"):
        Fifo(folder / "p")

    folder.chmod(0o1777)  # sticky, as /tmp: others cannot replace what is ours
    Fifo(folder / "p")


def test_our_pipe_is_removed_in_the_end(tmp_path: Path) -> None:
    """Nothing stays behind for another reader."""
    fifo = Fifo(tmp_path / "p")
    fifo.renew()

    fifo.remove()
    fifo.remove()

    assert not fifo.path.exists()


def test_what_is_in_the_way_of_a_new_pipe_is_named_with_its_owner(tmp_path: Path) -> None:
    """In a folder such as /tmp another user may have made it: the hidden name is no secret."""
    fifo = Fifo(tmp_path / "pipe")
    place = tmp_path / f".pipe.{os.getpid()}"
    place.mkdir()

    with pytest.raises(CannotCreate) as refused:
        fifo.renew()

    owner = owner_of(os.geteuid())
    assert str(refused.value).startswith(f"The pipe '{place}' cannot be made: Is a directory; there is")
    assert f"a folder of {owner}." in str(refused.value)


def test_a_pipe_that_cannot_be_made_is_made_once_its_folder_is_back(tmp_path: Path) -> None:
    """The refusal names the path and the reason; nothing of the failed try stays behind."""
    fifo = Fifo(tmp_path / "run" / "p")
    (tmp_path / "run").rmdir()
    with pytest.raises(CannotCreate, match=r"/run/p' cannot be made: No such file"):
        fifo.renew()

    (tmp_path / "run").mkdir()
    fifo.renew()

    assert [each.name for each in (tmp_path / "run").iterdir()] == ["p"]


def test_a_reader_that_closed_the_pipe_is_noticed_with_bytes_unread(tmp_path: Path) -> None:
    """The write end shows it, and how much was not read."""
    make(tmp_path / "p")
    reader = os.open(tmp_path / "p", os.O_RDONLY | os.O_NONBLOCK)
    write_end = open_if_read(tmp_path / "p")
    assert write_end is not None
    os.write(write_end, b"x" * 100)
    assert not is_reader_gone(write_end)

    os.close(reader)

    assert is_reader_gone(write_end)
    assert unread_bytes(write_end) == 100
    os.close(write_end)
