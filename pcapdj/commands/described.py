"""Every subcommand with its arguments and options, as shell completion and the manual page need them.

They are read from the commands themselves. `pcapdj cat`, which starts without typer, has them in its help.
"""

import re
from collections.abc import Iterator
from enum import Enum
from importlib import import_module
from typing import Any, Final, Literal, NamedTuple, get_args, get_origin

from typer.main import get_command

from pcapdj.cli import COMMANDS
from pcapdj.runtime.command import variable_of_parameter

_OPTION: Final = re.compile(r"(?m)^  ((?:-\w, )?--[a-z-]+)(?: \{(.+?)\})?\s+((?:.+)(?:\n {20,}.+)*)")


class Option(NamedTuple):
    """An option of a subcommand.

    Args:
        names: as typed, the long one last: `-b`, `--buffer`.
        value: what its value is; empty: it takes none.
        choices: the values that it accepts; empty: any.
        text: what it does.
        variable: the environment variable; empty: none.
    """

    names: tuple[str, ...]
    value: str
    choices: tuple[str, ...]
    text: str
    variable: str


class Argument(NamedTuple):
    """An argument of a subcommand.

    Args:
        name: as the usage line has it.
        choices: the words that it accepts, if its name lists them; empty: any.
        text: what it is.
    """

    name: str
    choices: tuple[str, ...]
    text: str


class Subcommand(NamedTuple):
    """A subcommand.

    Args:
        name: as typed.
        group: what it belongs to in the help.
        summary: half a line.
        text: the first paragraphs of its help.
        arguments: in their order.
        options: in their order.
    """

    name: str
    group: str
    summary: str
    text: str
    arguments: tuple[Argument, ...]
    options: tuple[Option, ...]


def described_commands() -> list[Subcommand]:
    """Return all subcommands, in the order of the help."""
    return [
        Subcommand(name, group, summary, *_described(import_module(module)))
        for group, commands in COMMANDS.items()
        for name, (module, summary) in commands.items()
    ]


def _described(module: Any) -> tuple[str, tuple[Argument, ...], tuple[Option, ...]]:
    if not hasattr(module, "app"):
        return _from_help(module.HELP)
    command = get_command(module.app)
    arguments, options = [], []
    for each in command.params:
        text = each.help or ""  # type: ignore[attr-defined]  # typer's parameters have it
        if each.param_type_name == "argument":
            choices = tuple(_choices(each.type_descriptor.annotation))  # type: ignore[attr-defined]
            name = each.metavar or "|".join(choices) or (each.name or "").upper()
            arguments.append(Argument(name, choices or _listed(name), text))
        else:
            options.append(_option(each, text))
    options.append(Option(("-h", "--help"), "", (), "show the help and exit", ""))
    return command.help or "", tuple(arguments), tuple(options)


def _listed(name: str) -> tuple[str, ...]:
    return tuple(name.split("|")) if "|" in name else ()


def _option(parameter: Any, text: str) -> Option:
    names = (*parameter.opts, *parameter.secondary_opts)
    choices = tuple(_choices(parameter.type_descriptor.annotation))
    value = "" if parameter.is_flag else parameter.metavar or "|".join(choices) or _value(parameter)
    return Option(names, value, choices, text, variable_of_parameter(parameter))


def _choices(annotation: Any) -> Iterator[str]:
    """Yield the words that a type accepts; none: it accepts any."""
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        yield from (str(each.value) for each in annotation)
    elif get_origin(annotation) is Literal:
        yield from (str(each) for each in get_args(annotation))
    else:
        for each in get_args(annotation):
            yield from _choices(each)


def _value(parameter: Any) -> str:
    is_path = "Path" in str(parameter.type_descriptor.annotation)
    return "PATH" if is_path else "NUMBER" if parameter.type_descriptor.annotation is int else "TEXT"


def _from_help(text: str) -> tuple[str, tuple[Argument, ...], tuple[Option, ...]]:
    paragraphs = text.split("\n\n")
    options = tuple(_options_from(text))
    return paragraphs[1], (Argument("FILE", (), "capture files, or folders of them"),), options


def _options_from(text: str) -> Iterator[Option]:
    for names, choices, words in _OPTION.findall(text):
        explanation, _, variable = re.sub(r"\s+", " ", words).partition(" [env: ")
        values = tuple(choices.split(",")) if choices else ()
        yield Option(
            tuple(names.split(", ")), "|".join(values), values, explanation.rstrip(" ;"), variable.rstrip("]")
        )
