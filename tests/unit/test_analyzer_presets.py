"""Presets and commands: split into an argv once, with placeholders, never expanded by a shell."""

import pytest
from support.rows import each_row

from pcapdj.analyzer.presets import (
    EXTRACT,
    PIPE,
    PRESETS,
    install_hint,
    needs_pause,
    own_command,
    preset_command,
    split_command,
    substituted,
)
from pcapdj.runtime.errors import ConfigError


@each_row("name", PRESETS)
def test_every_preset_reads_the_pipe(name: str) -> None:
    """A preset without the pipe would wait for ever."""
    assert any(PIPE in element for element in preset_command(name).argv)


def test_the_presets_of_zeek_and_tcpflow_are_these_commands() -> None:
    """Few machines have both, so no other test may run them."""
    assert preset_command("zeek").argv == ("zeek", "-C", "-r", "{pipe}")
    assert preset_command("tcpflow").argv == ("tcpflow", "-a", "-o", "{logdir}/flows", "-r", "{pipe}")


def test_a_command_without_the_pipe_is_refused_with_what_to_write() -> None:
    """The error has the command, and the word that is missing."""
    with pytest.raises(ConfigError, match=r"'zeek -r x' does not mention \{pipe\}\. Write \{pipe\} where"):
        own_command(["zeek", "-r", "x"])


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    """The message lists all of them."""
    with pytest.raises(
        ConfigError,
        match=r"Unknown preset 'snort'\. Known presets: suricata, .*, summary; or give a command\.",
    ):
        preset_command("snort")


def test_placeholders_are_replaced_inside_an_element() -> None:
    """The text around a placeholder stays."""
    argv = ["tcpdump", "-r", "{pipe}", "-w", "{logdir}/a.pcap", "{other}", "{}"]

    assert substituted(argv, {"{pipe}": "/run/p", "{logdir}": "/out"}) == [
        *("tcpdump", "-r", "/run/p", "-w", "/out/a.pcap", "{other}", "{}"),
    ]


def test_a_hostile_path_stays_one_element() -> None:
    """Neither blanks nor shell syntax in a path make words or commands."""
    path = "/run/; touch PWNED $(id) `id` | x"

    assert substituted(["cat", "{pipe}"], {"{pipe}": path}) == ["cat", path]


def test_a_value_with_a_placeholder_in_it_is_not_replaced_again() -> None:
    """A pipe called {logdir} stays a pipe."""
    assert substituted(["cat", "{pipe}"], {"{pipe}": "/{logdir}", "{logdir}": "/out"}) == ["cat", "/{logdir}"]


def test_a_command_line_is_split_as_a_shell_does_and_never_expanded() -> None:
    """Quotes group words; variables, substitutions and operators are text."""
    assert split_command("an 'a b' $HOME $(id) ; touch {pipe}") == [
        *("an", "a b", "$HOME", "$(id)", ";", "touch", "{pipe}"),
    ]


def test_an_open_quote_is_refused() -> None:
    """The error names the command."""
    with pytest.raises(ConfigError, match="split"):
        split_command("suricata -r 'x")


@each_row("argv", [[], [""], ["suricata", "-r", "file.pcap"], ["{pipe}"]])
def test_a_command_that_could_not_read_the_stream_is_refused(argv: list[str]) -> None:
    """An analyzer that never opens the pipe would wait for ever."""
    with pytest.raises(ConfigError):
        own_command(argv)


def test_a_command_is_shown_as_it_was_written() -> None:
    """Placeholders stay readable; what needs quotes gets them."""
    assert str(own_command(["my tool", "-r", "{pipe}"])) == "'my tool' -r {pipe}"


def test_a_preset_is_shown_by_its_name() -> None:
    """The operator chose the name; the command line is in the log."""
    assert [str(preset_command(name)) for name in PRESETS] == list(PRESETS)


def test_only_our_own_analyzer_gets_the_path_of_our_modules() -> None:
    """No other Python program has pcapdj on its path."""
    assert [name for name in PRESETS if preset_command(name).is_ours] == ["summary"]


def test_the_hint_for_a_missing_program_names_the_package() -> None:
    """For an unknown program it names the other presets."""
    assert "package tcpdump" in install_hint("/usr/bin/tcpdump")
    assert "bookworm-backports" in install_hint("suricata")
    assert "--preset" in install_hint("own-tool")


def test_extraction_goes_on_top_of_the_machines_own_configuration() -> None:
    """The shipped file is included; suricata.yaml stays in use."""
    argv = preset_command("suricata-extract").argv

    assert argv[argv.index("--include") + 1] == EXTRACT
    assert "-c" not in argv


@each_row(
    ("version", "is_needed"),
    [
        ("This is Suricata version 7.0.10 RELEASE\n", False),
        ("This is Suricata version 8.0.0-beta1 RELEASE\n", True),
        ("This is Suricata version 8.0.5 RELEASE\n", True),
        ("This is Suricata version 8.0.6 RELEASE\n", False),
        ("This is Suricata version 8.1.0-dev (abcdef 2026-01-01)\n", False),
        ("", True),
        ("usage: ..", True),
    ],
)
def test_the_stream_pauses_after_its_header_for_the_suricatas_that_lose_what_follows(
    version: str, *, is_needed: bool
) -> None:
    """8.0.0 to 8.0.5, and one whose version cannot be read."""
    assert needs_pause(preset_command("suricata-extract"), version) is is_needed
    assert needs_pause(own_command(["/opt/8/suricata", "-r", PIPE]), version) is is_needed


@each_row("name", [name for name in PRESETS if "suricata" not in name])
def test_the_stream_of_another_analyzer_does_not_pause(name: str) -> None:
    """None of them changes the buffer of what it reads."""
    assert not needs_pause(preset_command(name), "")


@pytest.mark.parametrize("command", [["env", "suricata"], ["sh", "-c"], ["/opt/ids"]])
def test_the_stream_pauses_for_a_program_that_may_start_any_suricata(command: list[str]) -> None:
    """Its own version would be of no use."""
    assert needs_pause(own_command([*command, PIPE]), "This is Suricata version 7.0.10 RELEASE")
