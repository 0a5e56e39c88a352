"""A rename that replaces nothing, with and without the system call for it."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pcapdj.runtime import renaming


@pytest.fixture(params=["renameat2", "link and unlink"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Return an open folder with two files; the system call may be missing."""
    if request.param != "renameat2":
        monkeypatch.setattr(renaming, "_renameat2", None)
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    descriptor = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def test_a_file_gets_a_new_name(folder: int, tmp_path: Path) -> None:
    """The old one is gone; the folder can be synced through its O_PATH descriptor."""
    renaming.rename_new(folder, b"a", b"c")
    renaming.sync_folder(folder)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c"]
    assert (tmp_path / "c").read_text() == "a"


def test_a_name_that_is_taken_is_not_replaced(folder: int, tmp_path: Path) -> None:
    """Both files stay as they were, also where the name is a link to nothing."""
    (tmp_path / "link").symlink_to("nowhere")

    for name in (b"b", b"link"):
        with pytest.raises(FileExistsError):
            renaming.rename_new(folder, b"a", name)

    assert [(tmp_path / name).read_text() for name in "ab"] == ["a", "b"]
    assert (tmp_path / "link").is_symlink()


def test_a_file_that_a_dead_process_left_with_both_names_loses_the_old_one(
    folder: int, tmp_path: Path
) -> None:
    """It died between link and unlink; who renames on, or back, completes it."""
    (tmp_path / "c").hardlink_to(tmp_path / "a")
    renaming.rename_new(folder, b"a", b"c")
    (tmp_path / "a").hardlink_to(tmp_path / "c")
    renaming.rename_new(folder, b"c", b"a")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    assert ((tmp_path / "a").read_text(), (tmp_path / "a").stat().st_nlink) == ("a", 1)


def test_a_missing_file_cannot_be_renamed(folder: int) -> None:
    """The error names why."""
    with pytest.raises(FileNotFoundError) as error:
        renaming.rename_new(folder, b"missing", b"c")

    assert error.value.errno == errno.ENOENT
