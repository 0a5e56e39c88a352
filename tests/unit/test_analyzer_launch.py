"""Log folders: each stream has its own, and the link `latest` points to the newest."""

from pathlib import Path

from pcapdj.analyzer.launch import new_log_folder


def test_streams_never_share_a_log_folder(tmp_path: Path) -> None:
    """Some analyzers truncate their logs when they start."""
    first = new_log_folder(tmp_path / "out", "aaaa", 0.0)
    second = new_log_folder(tmp_path / "out", "bbbb", 0.0)

    assert first.name == "19700101T000000Z-aaaa"
    assert second != first
    assert (tmp_path / "out/latest").resolve() == second


def test_a_folder_called_latest_is_left_alone(tmp_path: Path) -> None:
    """Only our own symlink is replaced."""
    (tmp_path / "latest").mkdir()

    folder = new_log_folder(tmp_path, "aaaa", 0.0)

    assert folder.is_dir()
    assert not (tmp_path / "latest").is_symlink()
