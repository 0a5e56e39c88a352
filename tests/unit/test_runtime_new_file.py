"""A new file gets its name once it is whole, and replaces none."""

from pathlib import Path

import pytest

from pcapdj.runtime.whole_file import NewFile


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


def test_a_file_that_cannot_get_its_name_leaves_none(tmp_path: Path) -> None:
    """An empty file of that name would look like a result, and refuse the next try."""

    def keep_what_is_gone() -> None:
        with NewFile(tmp_path / "a") as new:
            for hidden in tmp_path.iterdir():
                hidden.unlink()
            new.keep()

    with pytest.raises(FileNotFoundError):
        keep_what_is_gone()

    assert list(tmp_path.iterdir()) == []


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
