"""One analyzer process: how its program is found, and what it printed."""

import os
import signal
import sys
from pathlib import Path

import pytest
from support.waiting import wait_until

from pcapdj.analyzer.process import Analyzer, find_program
from pcapdj.runtime.errors import Unavailable


def test_a_program_is_found_along_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its path is absolute, since the analyzer runs in another folder."""
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    (tmp_path / "tool").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert find_program("tool") == str(tmp_path / "tool")


def test_a_folder_named_first_is_searched_before_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`pcapdj run` uses the programs beside its own interpreter."""
    for folder in ("first", "path"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "tool").write_text("#!/bin/sh\n")
        (tmp_path / folder / "tool").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))

    assert find_program("tool", first=tmp_path / "first") == str(tmp_path / "first" / "tool")


def test_a_missing_program_is_called_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the package."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(Unavailable, match=r"'tcpdump' is not installed here\. Install the package tcpdump"):
        find_program("tcpdump")


@pytest.mark.parametrize("is_path", [True, False])
def test_a_program_that_may_not_be_executed_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_path: bool
) -> None:
    """Installing it once more would not help; the message has the command that does."""
    program = tmp_path / "tool"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o644)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(Unavailable) as refused:
        find_program(str(program) if is_path else "tool")

    assert f"'{program}' may not be executed by this user. Allow it with chmod +x {program}," in str(
        refused.value
    )


def test_a_folder_is_not_called_a_missing_program(tmp_path: Path) -> None:
    """Installing it is not the remedy."""
    with pytest.raises(Unavailable, match=r"is a folder\. Name the program, or choose a --preset\."):
        find_program(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("#!/no/interpreter\n", "the interpreter in its first line, or its dynamic loader, is not installed"),
        ("text\n", "it is not a program for this machine, or a script without #! in its first line"),
    ],
)
def test_a_program_that_cannot_be_executed_has_its_cause(tmp_path: Path, content: str, cause: str) -> None:
    """The kernel's words for the first, No such file, would be about a file that is there."""
    program = tmp_path / "tool"
    program.write_text(content)
    program.chmod(0o755)

    with pytest.raises(Unavailable) as refused:
        Analyzer([str(program)], tmp_path, os.environ)

    assert str(refused.value) == f"The analyzer '{program}' does not start: {cause}."


def test_of_a_long_output_both_ends_are_read(tmp_path: Path) -> None:
    """The cause of an exit is printed first or last; gigabytes between them are not read."""
    argv = ["/bin/sh", "-c", "echo first; seq 1 9999; echo last"]

    analyzer = Analyzer(argv, tmp_path, os.environ)
    wait_until(analyzer.exit_status, "the analyzer to exit")

    lines = analyzer.output()
    assert analyzer.exit_status() == "exited 0"
    assert analyzer.log == tmp_path / "analyzer.log"
    assert (lines[0], lines[-2:]) == ("first", ["last", ""])
    assert "5000" not in lines
    assert sum(len(line) + 1 for line in lines) - 1 == 2 * 4096


def test_a_short_output_is_read_once(tmp_path: Path) -> None:
    """No line is doubled where beginning and end overlap."""
    argv = ["/bin/sh", "-c", "seq 1 1200"]

    analyzer = Analyzer(argv, tmp_path, os.environ)
    wait_until(analyzer.exit_status, "the analyzer to exit")

    assert analyzer.output() == [*map(str, range(1, 1201)), ""]


def test_an_output_that_was_removed_is_empty(tmp_path: Path) -> None:
    """The reason is shown without it."""
    analyzer = Analyzer(["/bin/sh", "-c", "rm analyzer.log"], tmp_path, os.environ)

    wait_until(analyzer.exit_status, "the analyzer to exit")

    assert analyzer.output() == []


def test_a_process_that_only_waits_to_be_reaped_does_not_run(tmp_path: Path) -> None:
    """In a container whose first process reaps none such a process stays in the group for ever."""
    code = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    if os.fork() == 0: os._exit(0)\n"
        "    os.setpgid(0, 0); open('parent', 'w').write(str(os.getpid())); time.sleep(60)\n"
        "while not os.path.exists('go'): time.sleep(0.02)"
    )
    analyzer = Analyzer([sys.executable, "-c", code], tmp_path, os.environ)
    wait_until(lambda: (tmp_path / "parent").exists() and (tmp_path / "parent").read_text(), "the parent")
    try:
        (tmp_path / "go").touch()
        wait_until(lambda: analyzer.exit_status(waits_for_group=True), "the analyzer's exit")
    finally:
        os.kill(int((tmp_path / "parent").read_text()), signal.SIGKILL)
