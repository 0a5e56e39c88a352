"""Shell completion, asked of the shells themselves, and the manual page, read by man itself."""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.forkserver import ROOT
from support.programs import require_program

from pcapdj.cli import MODULES
from pcapdj.commands.completion import Shell, script_of
from pcapdj.commands.described import described_commands
from pcapdj.commands.manual_page import EXIT_STATUS, manual_page
from pcapdj.runtime.errors import ExitCode

# what is typed, the last word unfinished -> what is offered
OFFERED = {
    ("r",): ["reclaim", "report", "requeue", "restart", "resume", "run"],
    ("run", "--ord"): ["--order"],
    ("run", "--order", "t"): ["time"],
    ("limits", "s"): ["set", "show"],
    ("gate", ""): ["accept", "auto", "hold", "open"],
    ("cat", "--precision", ""): ["ns", "us"],
}


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[Shell, Path]:
    """Write each shell's script into a file."""
    folder = tmp_path_factory.mktemp("completion")
    for shell in Shell:
        (folder / shell.value).write_text(script_of(shell))
    return {shell: folder / shell.value for shell in Shell}


def printed_by(*command: str) -> str:
    """Return what a shell prints; it has to succeed."""
    require_program(command[0])
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout


@pytest.mark.parametrize("words", OFFERED)
def test_bash_offers_subcommands_options_and_their_values(
    words: Sequence[str], scripts: dict[Shell, Path]
) -> None:
    """Its function is called as bash does it at a Tab."""
    typed = " ".join(f"'{word}'" for word in words)
    asked = (
        f"COMP_WORDS=(pcapdj {typed}); COMP_CWORD={len(words)}; _pcapdj; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    offered = printed_by("bash", "-c", f". {scripts[Shell.BASH]}; {asked}")

    assert sorted(offered.split()) == OFFERED[tuple(words)]


@pytest.mark.parametrize("words", OFFERED)
def test_fish_offers_subcommands_options_and_their_values(
    words: Sequence[str], scripts: dict[Shell, Path]
) -> None:
    """`complete -C LINE` prints what a Tab would offer."""
    asked = f"complete -C 'pcapdj {' '.join(words)}'"
    offered = printed_by("fish", "--no-config", "-c", f"source {scripts[Shell.FISH]}; {asked}")

    assert sorted(line.split("\t")[0] for line in offered.splitlines()) == OFFERED[tuple(words)]


def test_zsh_gets_subcommands_options_and_their_values(scripts: dict[Shell, Path]) -> None:
    """Its own functions are replaced by ones that print what they get."""
    prints = "compdef() { :; }; _describe() { print -l -- $subcommands; }; _arguments() { print -l -- $@; };"
    begin = f"{prints} . {scripts[Shell.ZSH]}; "
    first = printed_by("zsh", "-f", "-c", f"{begin} words=(pcapdj r); CURRENT=2; _pcapdj")
    options = printed_by("zsh", "-f", "-c", f"{begin} words=(pcapdj cat --p); CURRENT=3; _pcapdj")

    assert {line.split(":")[0] for line in first.splitlines()} == set(MODULES)
    assert re.search(r"^\*--precision\[timestamp precision.*\]:value:\(us ns\)$", options, re.MULTILINE)


def test_the_scripts_and_the_page_of_the_wheel_are_those_of_today() -> None:
    """`make share` writes them again after a change of an option."""
    share = ROOT / "share"

    assert (share / "bash-completion/completions/pcapdj").read_text() == f"{script_of(Shell.BASH)}\n"
    assert (share / "zsh/site-functions/_pcapdj").read_text() == f"{script_of(Shell.ZSH)}\n"
    assert (share / "fish/vendor_completions.d/pcapdj.fish").read_text() == f"{script_of(Shell.FISH)}\n"
    assert (share / "man/man1/pcapdj.1").read_text() == manual_page()


def test_every_option_of_every_subcommand_is_described() -> None:
    """With a text each, and the words that it accepts."""
    commands = {each.name: each for each in described_commands()}
    options = {(name, option.names[0]): option for name, each in commands.items() for option in each.options}

    assert list(commands) == list(MODULES)
    assert [key for key, option in options.items() if not option.text] == []
    assert options["cat", "--order"].choices == options["run", "--order"].choices == ("name", "time")
    assert options["control", "--min-free"].variable == "PCAPDJ_MIN_FREE"


def test_the_manual_page_has_every_subcommand_and_exit_code_and_man_accepts_it(tmp_path: Path) -> None:
    """`man --warnings` reports each wrong macro."""
    page = tmp_path / "pcapdj.1"
    page.write_text(manual_page())
    shown = printed_by("man", "--warnings", "-E", "UTF-8", "-P", "cat", "-l", str(page))
    plain = re.sub(r".\x08", "", shown)

    assert [name for name in MODULES if f"pcapdj {name}\n" not in plain] == []
    assert set(EXIT_STATUS) == set(ExitCode)
