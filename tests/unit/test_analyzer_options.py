"""Which analyzer the launcher's options choose."""

from pathlib import Path

import pytest
from support.rows import each_row

from pcapdj.analyzer.options import (
    COMMAND_VARIABLE,
    PRESET_VARIABLE,
    chosen_command,
    overridden_variables,
    path_or_default,
)
from pcapdj.analyzer.presets import DEFAULT_PRESET, preset_command
from pcapdj.runtime.errors import ConfigError
from pcapdj.runtime.places import PIPE_NAME, SOCKET_NAME

LINE = {COMMAND_VARIABLE: "zeek -r {pipe} 'a b'"}


def test_without_options_the_analyzer_is_suricata_extract() -> None:
    """The default preset."""
    assert chosen_command([], "", preset_is_flag=False, environ={}) == preset_command(DEFAULT_PRESET)


def test_a_command_line_in_the_environment_beats_a_preset_there() -> None:
    """The command is more specific than a preset."""
    chosen = chosen_command([], "tcpdump", preset_is_flag=False, environ=LINE)

    assert chosen.argv == ("zeek", "-r", "{pipe}", "a b")


def test_a_flag_beats_the_environment() -> None:
    """As with every option."""
    chosen = chosen_command([], "tcpdump", preset_is_flag=True, environ=LINE)

    assert chosen == preset_command("tcpdump")


def test_arguments_beat_the_environment() -> None:
    """The words after the dashes are the analyzer."""
    chosen = chosen_command(["cat", "{pipe}"], "tcpdump", preset_is_flag=False, environ=LINE)

    assert chosen.argv == ("cat", "{pipe}")


def test_two_analyzers_on_one_command_line_are_refused() -> None:
    """Neither of the two is guessed."""
    with pytest.raises(ConfigError, match=r"Both a preset and a command are given\. Give one of the two\."):
        chosen_command(["cat", "{pipe}"], "tcpdump", preset_is_flag=True, environ={})


@each_row(
    ("arguments", "preset", "preset_is_flag", "expected"),
    [
        ([], "tcpdump", True, [PRESET_VARIABLE, COMMAND_VARIABLE]),
        (["cat", "{pipe}"], "zeek", False, [PRESET_VARIABLE, COMMAND_VARIABLE]),
        ([], "zeek", True, [COMMAND_VARIABLE]),
        ([], "zeek", False, []),
    ],
)
def test_variables_that_the_command_line_overrides_are_found(
    arguments: list[str],
    preset: str,
    preset_is_flag: bool,  # noqa: FBT001 - a parameter
    expected: list[str],
) -> None:
    """Only those that name another analyzer: the operator who set one has to see that it changes nothing."""
    environ = LINE | {PRESET_VARIABLE: "zeek"}

    found = overridden_variables(arguments, preset, preset_is_flag=preset_is_flag, environ=environ)

    assert found == expected
    assert overridden_variables(arguments, preset, preset_is_flag=preset_is_flag, environ={}) == []


def test_socket_and_pipe_are_in_the_default_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dispatcher and launcher find each other there; a path that is given is made absolute."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "supervisord.conf").touch()

    assert path_or_default(None, SOCKET_NAME) == tmp_path / "var/run/launcher.sock"
    assert path_or_default(None, PIPE_NAME) == tmp_path / "var/run/stream.pcap"
    assert path_or_default(Path("s"), SOCKET_NAME) == tmp_path / "s"
    assert path_or_default(Path("p"), PIPE_NAME) == tmp_path / "p"
