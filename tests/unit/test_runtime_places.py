"""Where things are: default folders, one log folder per stream."""

from pathlib import Path

import pytest

from pcapdj.runtime.errors import CannotCreate
from pcapdj.runtime.places import default_folder, private_folder


def test_a_layout_in_this_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a supervisord.conf the roles find each other without options."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1")
    assert default_folder(tmp_path) == Path("/run/user/1/pcapdj")

    (tmp_path / "supervisord.conf").touch()

    assert default_folder(tmp_path) == tmp_path / "var/run"


def test_without_a_runtime_folder_each_user_has_one_in_tmp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two users never share it."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)

    assert default_folder(tmp_path).name.startswith("pcapdj-")


def test_a_file_where_the_folder_should_be_is_told(tmp_path: Path) -> None:
    """One sentence, no traceback."""
    (tmp_path / "run").touch()

    with pytest.raises(CannotCreate, match="cannot be made"):
        private_folder(tmp_path / "run")
