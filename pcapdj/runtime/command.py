"""How every command begins and ends: its options, its errors, its exit code.

A role or command is a `typer.Typer` app with one command. Options are read from flag, then environment, then
default; an option that is a list takes one value per line from its variable (`lines_of`), since paths may
hold blanks and colons.
"""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn

import typer
from typer.main import get_command

from pcapdj.runtime import log
from pcapdj.runtime.errors import ExitCode, PcapdjError, Stopped


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


def exit_code_of(  # noqa: PLR0911 - one return for each way to end
    app: typer.Typer, prog: str, arguments: Sequence[str] | None = None
) -> int:
    """Run the app's command; say what went wrong in one sentence on stderr; return the exit code.

    Only a fault of ours shows a traceback.
    """
    try:
        code = get_command(app).main(
            None if arguments is None else list(arguments), prog_name=prog, standalone_mode=False
        )
    except typer.TyperException as exc:
        _say(prog, f"{exc.format_message().rstrip('.')}. See '{prog} --help'.")
        return int(exc.exit_code)
    except Stopped:
        return ExitCode.OK
    except PcapdjError as exc:
        _say(prog, str(exc))
        return exc.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.INTERRUPTED
    except BrokenPipeError:  # the reader of our output has seen enough
        _forget_stdout()
        return ExitCode.OK
    except Exception:  # noqa: BLE001 - the one place where the unexpected ends; supervisord starts anew
        log.flush()
        traceback.print_exc()
        return ExitCode.ERROR
    return int(code or 0)


def _say(prog: str, sentence: str) -> None:
    log.flush()
    print(f"{prog}: {log.printable_sentence(sentence)}", file=sys.stderr)  # noqa: T201 - it is the answer


def _forget_stdout() -> None:
    """Keep the interpreter from failing once more when it flushes stdout at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
