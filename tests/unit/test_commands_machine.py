"""What `check` says of analyzers, pipes and packages."""

from pathlib import Path

import pytest

from pcapdj.commands.machine import (
    analyzer_lines,
    loses_first_packets,
    pipe_line,
    software_lines,
    version_in,
)
from pcapdj.console.screen import Line, Tone


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
def test_the_version_is_found_in_the_answer(output: str, version: str) -> None:
    """Each program words its answer its own way."""
    assert version_in(output) == version


@pytest.mark.parametrize(
    ("version", "loses"),
    [("7.0.10", False), ("8.0.0", True), ("8.0.5", True), ("8.0.6", False), ("8.1", False), ("", False)],
)
def test_suricatas_with_the_header_fault_are_known(version: str, loses: bool) -> None:  # noqa: FBT001 - a parameter
    """8.0.0 to 8.0.5 lose what they read together with the file header."""
    assert loses_first_packets(version) is loses


def test_analyzers_stand_together_and_a_faulty_one_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line of what is there, one of what is not: the whole has to fit one screen."""
    for name, says in (("suricata", "Suricata version 8.0.2"), ("tcpdump", "no number")):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\necho '{says}'\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    present, absent, note = analyzer_lines()

    assert present == Line("Analyzers", "suricata 8.0.2, tcpdump, summary (our own)", Tone.GOOD)
    assert absent.text == "not installed: zeek, tshark, tcpflow"
    assert note.tone is Tone.ATTENTION
    assert note.text.startswith("Suricata 8.0.2 drops")


def test_pipes_have_a_size() -> None:
    """Default and maximum are told."""
    assert "by default" in pipe_line().text


def test_all_packages_that_are_needed_are_here() -> None:
    """The environment of the tests has every dependency."""
    assert all(line.tone is not Tone.BAD for line in software_lines())
