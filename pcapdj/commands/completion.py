"""`pcapdj completion`: writes what bash, zsh or fish need to complete subcommands, options and their values.

The scripts have all words in them: completing starts no program. The wheel brings them to where the shells
look for them, below `share/` of the installation.

Sources: bash(1), "Programmable Completion"; zshcompsys(1), `_arguments`, `_describe`; fish's `complete`(1).
"""

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Final

import typer

from pcapdj.commands.described import Option, Subcommand, described_commands
from pcapdj.runtime.command import new_app


class Shell(StrEnum):
    """A shell that can complete."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


Line = Iterator[str]
_PATHS: Final = re.compile(r"PATH|DIR|FILES?\b")

app = new_app()


@app.command()
def completion(
    shell: Annotated[Shell, typer.Argument(metavar="bash|zsh|fish", help="for which shell")],
) -> None:
    """Write a completion script to stdout.

    Save it as ~/.local/share/bash-completion/completions/pcapdj (bash), as _pcapdj in a folder of fpath
    (zsh), or as ~/.config/fish/completions/pcapdj.fish.
    """
    typer.echo(script_of(shell))


def script_of(shell: Shell) -> str:
    """Return the script for a shell."""
    write = {Shell.BASH: _bash, Shell.ZSH: _zsh, Shell.FISH: _fish}[shell]
    return "\n".join(write(described_commands()))


def _words(command: Subcommand) -> list[str]:
    """Return the words that its arguments accept."""
    return [word for each in command.arguments for word in each.choices]


def _takes_paths(text: str) -> bool:
    return bool(_PATHS.search(text))


def _bash(commands: list[Subcommand]) -> Line:
    yield "# bash completion of pcapdj, written by 'pcapdj completion bash'"
    yield "_pcapdj() {"
    yield '    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} words="" kind'
    yield '    if [[ $word == "=" ]]; then word=""; fi'
    yield '    if [[ $before == "=" ]]; then before=${COMP_WORDS[COMP_CWORD - 2]}; fi'
    yield "    COMPREPLY=()"
    yield "    kind=${COMP_WORDS[1]}"
    yield "    if ((COMP_CWORD == 1)); then"
    yield f'        words="{" ".join(each.name for each in commands)} help --help --version"'
    yield "    else"
    yield '        case "$kind $before" in'
    for each in commands:
        yield from _bash_values(each)
    yield '            *) case "$kind $word" in'
    for each in commands:
        yield f'                "{each.name} -"*) words="{" ".join(_names(each))}" ;;'
        if _words(each):
            yield f'                "{each.name} "*) words="{" ".join(_words(each))}" ;;'
    yield f'                "help "*) words="{" ".join(each.name for each in commands)}" ;;'
    yield "            esac ;;"
    yield "        esac"
    yield "    fi"
    yield '    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")'
    yield "}"
    yield "complete -o bashdefault -o default -F _pcapdj pcapdj"


def _bash_values(command: Subcommand) -> Line:
    for option in command.options:
        if option.value:
            pattern = "|".join(f'"{command.name} {name}"' for name in option.names)
            yield f'            {pattern}) words="{" ".join(option.choices)}" ;;'


def _names(command: Subcommand) -> list[str]:
    return [name for option in command.options for name in option.names]


def _zsh(commands: list[Subcommand]) -> Line:
    yield "#compdef pcapdj"
    yield "# zsh completion of pcapdj, written by 'pcapdj completion zsh'"
    yield "_pcapdj() {"
    yield "    local -a subcommands"
    yield "    subcommands=("
    for each in commands:
        yield f"        {_quoted(each.name + ':' + each.summary)}"
    yield "    )"
    yield "    if ((CURRENT == 2)); then"
    yield "        _describe subcommand subcommands"
    yield "        return"
    yield "    fi"
    yield "    shift words"
    yield "    ((CURRENT--))"
    yield "    case $words[1] in"
    for each in commands:
        yield f"        {each.name}) _arguments {' '.join(_zsh_specifications(each))} ;;"
    yield "        help) _describe subcommand subcommands ;;"
    yield "    esac"
    yield "}"
    yield 'if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _pcapdj "$@"; else compdef _pcapdj pcapdj; fi'


def _zsh_specifications(command: Subcommand) -> Iterator[str]:
    for option in command.options:
        text = re.sub(r"([\[\]:\\])", r"\\\1", option.text)
        values = f":value:{_zsh_values(option)}" if option.value else ""
        for name in option.names:
            yield _quoted(f"*{name}[{text}]{values}")
    for number, argument in enumerate(command.arguments, 1):
        is_last = number == len(command.arguments)
        words = f"({' '.join(argument.choices)})" if argument.choices else "_files"
        yield _quoted(f"{'*' if is_last and not argument.choices else number}:argument:{words}")


def _zsh_values(option: Option) -> str:
    if option.choices:
        return f"({' '.join(option.choices)})"
    return "_files" if _takes_paths(option.value) else " "


def _fish(commands: list[Subcommand]) -> Line:
    yield "# fish completion of pcapdj, written by 'pcapdj completion fish'"
    for each in commands:
        first = f"complete -c pcapdj -n __fish_use_subcommand -f -a {each.name}"
        yield f"{first} -d {_quoted(each.summary)}"
    for each in commands:
        chosen = f"complete -c pcapdj -n '__fish_seen_subcommand_from {each.name}'"
        if words := _words(each):
            yield f"{chosen} -f -a {_quoted(' '.join(words))}"
        for option in each.options:
            names = " ".join(
                f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names
            )
            yield f"{chosen} {names} -d {_quoted(option.text)}{_fish_values(option)}"


def _fish_values(option: Option) -> str:
    if option.choices:
        return f" -x -a {_quoted(' '.join(option.choices))}"
    return "" if not option.value else " -r -F" if _takes_paths(option.value) else " -x"


def _quoted(text: str) -> str:
    """Return a word for any of the three shells; a quotation mark inside becomes a typographic one."""
    return "'" + text.replace("'", "\N{RIGHT SINGLE QUOTATION MARK}") + "'"
