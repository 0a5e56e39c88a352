"""A new file gets its name once it is whole, and replaces none."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from pcapdj.runtime.whole_file import NewFile, open_inside, unlink_inside, write_whole

NOBODY = 65534


@pytest.fixture(params=["without a name", "with a hidden name"], autouse=True)
def file_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have the file system give files without a name, or not, as NFS."""
    if request.param == "with a hidden name":
        monkeypatch.setattr("pcapdj.runtime.whole_file._UNNAMED_FLAGS", os.O_WRONLY | os.O_DIRECTORY)
    return str(request.param)


def test_a_file_that_is_kept_has_its_content_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    """It is under its name only then."""
    with NewFile(tmp_path / "a") as new:
        new.file.write(b"whole")
        assert not (tmp_path / "a").exists()
        new.keep()

    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("a", b"whole")]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_file_that_is_not_complete_is_removed(error: type[BaseException], tmp_path: Path) -> None:
    """A full disk, or a signal."""

    def write_half() -> None:
        with NewFile(tmp_path / "a") as new:
            new.file.write(b"half")
            raise error

    with pytest.raises(error):
        write_half()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link to another user")
def test_a_file_behind_a_link_of_another_user_is_neither_opened_nor_removed(tmp_path: Path) -> None:
    """Whoever owns the folder above may exchange it at any time; a link of this user may be on the way."""
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/a").write_text("precious")
    link = tmp_path / "link"
    link.symlink_to("precious")
    os.close(open_inside(link / "a", os.O_RDONLY))
    (tmp_path / "precious/b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic link"):
        open_inside(link / "b", os.O_RDONLY)
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)

    with pytest.raises(OSError, match="link of another user"):
        open_inside(link / "a", os.O_WRONLY | os.O_TRUNC)
    with pytest.raises(OSError, match="link of another user"):
        unlink_inside(link / "a")

    assert (tmp_path / "precious/a").read_text() == "precious"
    unlink_inside(tmp_path / "precious/none")
    unlink_inside(tmp_path / "precious/a")
    assert not (tmp_path / "precious/a").exists()


def test_a_file_that_cannot_get_its_name_leaves_none(tmp_path: Path) -> None:
    """An empty file of that name would look like a result, and refuse the next try."""
    folder = tmp_path / "folder"
    folder.mkdir()

    def keep_what_is_gone() -> None:
        with NewFile(folder / "a") as new:
            for hidden in folder.iterdir():
                hidden.unlink()
            folder.rmdir()
            new.keep()

    with pytest.raises(FileNotFoundError):
        keep_what_is_gone()

    assert list(tmp_path.iterdir()) == []


def test_a_kill_leaves_nothing_where_a_file_needs_no_name(tmp_path: Path, file_system: str) -> None:
    """The half of a cut or of a drawing would stay for ever: no later process knows whose it is."""
    child = os.fork()
    if not child:
        new = NewFile(tmp_path / "a")
        new.file.write(b"half")
        new.file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)

    assert bool([*tmp_path.iterdir()]) == (file_system != "without a name")


def _write_new(path: Path) -> None:
    with NewFile(path) as new:
        new.keep()


def _write_over(path: Path) -> None:
    write_whole(path, b"")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link to another user")
@pytest.mark.parametrize("write", [_write_new, _write_over])
@pytest.mark.parametrize("way", ["theirs", "theirs/inner", "ours/theirs", "to-theirs", "folder/../theirs"])
def test_a_link_of_another_user_on_the_way_is_not_followed(
    tmp_path: Path, way: str, write: Callable[[Path], None]
) -> None:
    """It leads where that user wants: into the folder of cron, for example."""
    for name in ("target/inner", "folder"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "theirs").symlink_to("target")
    (tmp_path / "folder/theirs").symlink_to(tmp_path / "target")
    for link in ("theirs", "folder/theirs"):
        os.chown(tmp_path / link, NOBODY, NOBODY, follow_symlinks=False)
    (tmp_path / "ours").symlink_to(tmp_path / "folder")
    (tmp_path / "to-theirs").symlink_to("theirs/inner")

    with pytest.raises(OSError, match=r"a link of another user \(uid 65534\) is on the way to it"):
        write(tmp_path / way / "a")

    assert [each for each in tmp_path.rglob("*") if each.name == "a"] == []


@pytest.mark.parametrize("write", [_write_new, _write_over])
def test_links_of_this_user_are_followed(
    tmp_path: Path, write: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that lead to links, up, and from the current folder; not those that lead in a circle."""
    (tmp_path / "folder/inner").mkdir(parents=True)
    (tmp_path / "absolute").symlink_to(tmp_path / "folder")
    (tmp_path / "chain").symlink_to("absolute/inner")
    (tmp_path / "folder/inner/up").symlink_to("../../folder")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path / "folder/inner")

    for number, way in enumerate([tmp_path / "chain", tmp_path / "chain/up", Path(), Path("up/inner/..")]):
        write(way / str(number))
    for wrong in ("circle", "file", "missing"):
        with pytest.raises(OSError, match=r"Too many levels|Not a directory|No such file"):
            write(tmp_path / wrong / "a")

    found = [str(each.relative_to(tmp_path)) for each in tmp_path.rglob("[0-9]")]
    assert sorted(found) == ["folder/1", "folder/3", "folder/inner/0", "folder/inner/2"]


def test_what_has_the_name_is_not_replaced(tmp_path: Path) -> None:
    """A file, a link without a target, and what gets the name in the meantime."""
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")

    for name in ("file", "link"):
        with pytest.raises(FileExistsError):
            NewFile(tmp_path / name)
    with NewFile(tmp_path / "late") as new:
        (tmp_path / "late").symlink_to(tmp_path / "file")
        with pytest.raises(FileExistsError):
            new.keep()

    assert (tmp_path / "file").read_bytes() == b"old"
    assert {each.name for each in tmp_path.iterdir()} == {"file", "link", "late"}
