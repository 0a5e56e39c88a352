"""What `check` shows of analyzers, pipes and packages."""

import os
import platform
import re
import sys
from pathlib import Path

import pytest
from support.loops import loops

from pcapdj.commands.check import (
    analyzer_lines,
    disk_lines,
    folder_lines,
    loses_first_packets,
    pipe_line,
    socket_line,
    software_lines,
    version_in,
)
from pcapdj.console.screen import Line, Tone
from pcapdj.service import write_layout


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("This is Suricata version 7.0.10 RELEASE", "7.0.10"),
        ("TShark (Wireshark) 4.0.17 (Git v4.0.17 packaged as 4.0.17-0)", "4.0.17"),
        ("tcpdump version 4.99.3\nlibpcap version 1.10.3", "4.99.3"),
        ("zeek version 6.0.4", "6.0.4"),
        ("no number here", ""),
    ],
)
def test_the_version_is_found_in_the_output(output: str, version: str) -> None:
    """Each program prints it in a format of its own."""
    assert version_in(output) == version


@pytest.mark.parametrize(
    ("version", "loses"),
    [("7.0.10", False), ("8.0.0", True), ("8.0.5", True), ("8.0.6", False), ("8.1", False), ("", False)],
)
def test_suricata_versions_that_lose_the_first_packets_are_recognized(version: str, loses: bool) -> None:  # noqa: FBT001 - a parameter
    """8.0.0 to 8.0.5 lose packets that they read together with the file header."""
    assert loses_first_packets(version) is loses


def test_all_analyzers_have_one_line_and_a_faulty_one_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line for those installed, one for the others: everything has to fit on one screen."""
    for name, output in (("suricata", "Suricata version 8.0.2"), ("tcpdump", "no number")):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\necho '{output}'\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    present, absent, note = analyzer_lines()

    assert present == Line("Analyzers", "suricata 8.0.2, tcpdump, summary (our own)", Tone.GOOD)
    assert absent.text == "not installed: zeek, tshark, tcpflow"
    assert note == Line(
        "",
        "Suricata 8.0.2 loses packets that it reads together with the file header;"
        " pcapdj pauses after the header",
        Tone.ATTENTION,
    )


def test_the_default_and_the_largest_pipe_are_shown() -> None:
    """Linux's default is 16 pages."""
    assert re.fullmatch(r"64\.0 KiB by default, \S+ [KMG]iB at most", pipe_line().text)


def test_the_form_of_the_loops_is_shown() -> None:
    """A library that belongs to another version is slow, and no fault: a note."""
    with loops("python"):
        *_, form = software_lines()

    assert form == Line("Records", "Python loops (PCAPDJ_LOOPS=python)", Tone.GOOD)


def test_python_and_the_packages_are_shown_with_their_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the environment of the tests none is missing; a missing one is wrong."""
    python, packages, _ = software_lines()
    monkeypatch.setattr("pcapdj.commands.check.PACKAGES", ("typer", "no-such-package"))
    *_, missing = software_lines()

    assert python.text == f"{platform.python_version()} at {sys.executable}"
    assert re.fullmatch(r"pcapdj \S+, redis \S+, dpkt \S+, psutil \S+, supervisor \S+,.*", packages.text)
    assert missing == Line("", "not installed: no-such-package", Tone.BAD)


def test_a_folder_whose_path_is_too_long_is_noted_and_wrong_for_a_service(tmp_path: Path) -> None:
    """Without a supervisord.conf it is a note: the service may be in another folder."""
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    length = len(f"{folder}/var/run/supervisor.sock.4194304")
    need = f"paths in this folder need {length} of at most 107 bytes"
    text = f"{need}: the service needs a folder with a shorter path"

    without_service = socket_line(folder)
    (folder / "supervisord.conf").touch()

    assert without_service == Line("Sockets", text, Tone.ATTENTION)
    assert socket_line(folder) == Line("Sockets", text, Tone.BAD)


@pytest.mark.parametrize(("value", "is_accepted"), [("1", True), ("True", True), ("0", False), ("", False)])
def test_a_forced_min_free_is_read_as_the_controller_reads_it(
    value: str,
    is_accepted: bool,  # noqa: FBT001 - a parameter
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A variable of 0 forces nothing."""
    monkeypatch.setenv("PCAPDJ_MIN_FREE", "60%")
    monkeypatch.setenv("PCAPDJ_FORCE", value)

    wrong = [line for line in disk_lines() if line.tone is Tone.BAD]

    assert (not wrong) is is_accepted


def test_folders_that_the_service_cannot_use_are_wrong(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The analyzer's output, sockets, logs, queue and inbox."""
    before = list(folder_lines(short_path))
    write_layout(short_path, "")
    (short_path / "out").rmdir()
    (short_path / "var/redis").rmdir()  # both are created
    usable = list(folder_lines(short_path))
    (short_path / "inbox").rmdir()
    (short_path / "var/log").rmdir()
    (short_path / "out").write_text("a file")
    wrong = list(folder_lines(short_path))
    monkeypatch.setenv("PCAPDJ_LOGDIR", "/dev/null/out")

    assert before == []
    assert usable == [Line("Folders", "the service can use all of its folders", Tone.GOOD)]
    assert [line.text for line in wrong] == [
        "'var/log' is missing: supervisord cannot start",
        "'inbox' is missing or cannot be read by this user",
        "'out' cannot be written by this user",
    ]
    assert {line.tone for line in wrong} == {Tone.BAD}
    assert list(folder_lines(short_path))[-1].text.startswith("'/dev/null/out' cannot be written")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_permission_to_write_is_wrong(short_path: Path) -> None:
    """As after a start by another user."""
    write_layout(short_path, "")
    for name in ("out", "var/redis"):
        (short_path / name).chmod(0o500)

    assert [line.text for line in folder_lines(short_path)] == [
        "'var/redis' cannot be written by this user",
        "'out' cannot be written by this user",
    ]
