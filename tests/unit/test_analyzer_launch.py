"""Log folders: each stream has its own, and the link `latest` points to the newest."""

import os
from pathlib import Path

import pytest
from support.waiting import wait_until

from pcapdj.analyzer.launch import AnalyzerStarter, make_log_root, new_log_folder
from pcapdj.analyzer.presets import own_command
from pcapdj.analyzer.session import Timeouts
from pcapdj.runtime.errors import CannotCreate
from pcapdj.runtime.fifo import Fifo


def test_streams_never_share_a_log_folder(tmp_path: Path) -> None:
    """Some analyzers truncate their logs when they start."""
    first = new_log_folder(tmp_path / "out", "aaaa", 0.0)
    second = new_log_folder(tmp_path / "out", "bbbb", 0.0)

    assert first.name == "19700101T000000Z-aaaa"
    assert second != first
    assert (tmp_path / "out/latest").resolve() == second
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == [first.name, second.name, "latest"]


def test_the_group_may_read_a_log_folder_and_others_may_not(tmp_path: Path) -> None:
    """Whatever the umask is."""
    before = os.umask(0o002)
    try:
        folder = new_log_folder(tmp_path, "aaaa", 0.0)
    finally:
        os.umask(before)

    assert folder.stat().st_mode & 0o777 == 0o750


def test_a_folder_called_latest_is_left_alone(tmp_path: Path) -> None:
    """Only our own link is replaced."""
    (tmp_path / "latest").mkdir()

    folder = new_log_folder(tmp_path, "aaaa", 0.0)

    assert folder.is_dir()
    assert not (tmp_path / "latest").is_symlink()


def test_a_link_that_cannot_be_made_once_costs_no_stream(tmp_path: Path) -> None:
    """`latest` stays as it was, and points to the next stream's folder again."""
    first = new_log_folder(tmp_path, "aaaa", 0.0)
    in_the_way = tmp_path / f".latest.{os.getpid()}"
    in_the_way.mkdir()

    second = new_log_folder(tmp_path, "bbbb", 1.0)

    assert second.is_dir()
    assert (tmp_path / "latest").resolve() == first
    in_the_way.rmdir()
    third = new_log_folder(tmp_path, "cccc", 2.0)
    assert (tmp_path / "latest").resolve() == third


def test_a_link_left_by_a_killed_launcher_is_replaced(tmp_path: Path) -> None:
    """It was killed between making the link and renaming it."""
    (tmp_path / f".latest.{os.getpid()}").symlink_to("nowhere")

    folder = new_log_folder(tmp_path, "aaaa", 0.0)

    assert (tmp_path / "latest").resolve() == folder


def test_a_log_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """One sentence with the path, for the folder of all streams and for that of one."""
    (tmp_path / "file").touch()
    new_log_folder(tmp_path, "aaaa", 0.0)

    with pytest.raises(CannotCreate, match="file' is not a folder; it belongs to "):
        make_log_root(tmp_path / "file")
    with pytest.raises(CannotCreate, match="19700101T000000Z-aaaa' cannot be made: File exists"):
        new_log_folder(tmp_path, "aaaa", 0.0)


SURICATA = """#!/bin/sh
[ "$1" = -V ] && echo "$PCAPDJ_SECRET" >>"${0%/*}/asked" && echo "This is Suricata version VERSION RELEASE"
"""


def test_the_version_of_suricata_is_read_once_for_each_that_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upgrade while the launcher runs counts from the next stream on; no password reaches the program."""
    monkeypatch.setenv("PCAPDJ_SECRET", "password")
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "suricata"
    command = own_command([str(program), "{pipe}"])
    starter = AnalyzerStarter(command, Fifo(tmp_path / "pipe"), tmp_path / "out", Timeouts(flush_s=1))

    pauses = []
    for version in ("7.0.10", "8.0.5", "8.0.5", "8.0.6"):
        fresh = tmp_path / "new"
        fresh.write_text(SURICATA.replace("VERSION", version))
        fresh.chmod(0o755)
        if not program.exists() or program.read_text() != fresh.read_text():
            fresh.replace(program)
        session = starter.start(0.0)
        wait_until(session.analyzer.exit_status, "its process to end")
        pauses.append(session.pauses_after_header)

    assert pauses == [False, True, True, False]
    assert (tmp_path / "asked").read_text() == "\n" * 3
