"""How every command with typer's options begins; `ending` says how it ends.

A role or command is a `typer.Typer` app with one command. Options are read from flag, then environment, then
default; an option that is a list takes one value per line from its variable (`lines_of`), since paths may
hold blanks and colons.
"""

import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

import typer
from typer.main import get_command

from pcapdj.runtime.ending import ended, say
from pcapdj.runtime.errors import ExitCode
from pcapdj.runtime.filenames import quoted


def new_app() -> typer.Typer:
    """Return an app for one command, plain in its help and without completion options of its own.

    `-h` is help, as in the original.
    """
    return typer.Typer(
        add_completion=False, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]}
    )


def lines_of(variable: str) -> Callable[[], list[str]]:
    """Return a default factory for a list option: the variable's lines, empty ones left out."""
    return lambda: [line for line in os.environ.get(variable, "").splitlines() if line.strip()]


def run_app(app: typer.Typer, prog: str, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the app's command with the process's arguments and leave with its exit code."""
    sys.exit(exit_code_of(app, prog, arguments))


def exit_code_of(app: typer.Typer, prog: str, arguments: Sequence[str] | None = None) -> int:
    """Run the app's command; say what went wrong in one sentence on stderr; return the exit code."""
    return ended(prog, lambda: _run(app, prog, arguments))


def _run(app: typer.Typer, prog: str, arguments: Sequence[str] | None) -> int | None:
    try:
        code: int | None = get_command(app).main(
            None if arguments is None else list(arguments), prog_name=prog, standalone_mode=False
        )
    except typer.TyperException as exc:
        hint = _of_dash(sys.argv[1:] if arguments is None else arguments) or f"See '{prog} --help'."
        say(prog, f"{exc.format_message().rstrip('.')}. {hint}")
        return int(exc.exit_code)
    except typer.Abort:
        return ExitCode.INTERRUPTED
    return code


def _of_dash(arguments: Sequence[str]) -> str:
    """Return how to write a file whose name looks like an option; empty if none is there."""
    for each in arguments:
        if each.startswith("-") and each != "--" and os.path.lexists(each):
            return f"For the file of that name write {quoted('./' + each)}."
    return ""
