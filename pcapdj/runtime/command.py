"""How every command starts and ends: options from flag, environment or default; an exit code and a sentence.

A role or command is a `typer.Typer` app with one command. Options are read from the flag, then the
environment, then the service's settings file (`settings_file`), then the default. An option that is a list
takes one value per line from its variable (`lines_of`), since paths may hold blanks and colons.

typer and the settings file are imported inside the functions that need them: importing typer takes 0.12 s,
and `pcapdj cat` starts without it in 0.04 s. `option_values` keeps the time of pydantic out.
"""

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

from pcapdj.runtime.errors import ConfigError, ExitCode, PcapdjError, Stopped
from pcapdj.runtime.option_values import convert_only_what_differs
from pcapdj.runtime.process import ignore_further
from pcapdj.runtime.safe_text import printable_sentence, quoted, without_urls
from pcapdj.runtime.streams import (
    OutputFailed,
    discard,
    discard_if_stuck,
    open_missing_streams,
    tell_failures_of_stdout,
)

if TYPE_CHECKING:
    import typer

# pydantic's types of errors: what a refused value is instead
_REFUSALS: Final = {
    "int_parsing": "is not a whole number",
    "bool_parsing": "is neither 1 (yes) nor 0 (no)",
    "greater_than_equal": "is below {ge}",
    "less_than_equal": "is above {le}",
}
_ENDING: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_UNTOUCHED: Final = (signal.SIG_DFL, signal.default_int_handler)
_NO_THREAD: Final = "can't start new thread"  # of CPython's threading
_MISSING_RESOURCES: Final = {
    errno.EMFILE: "It cannot open as many files as it needs (ulimit -n).",
    errno.ENFILE: "The system has no room for more open files.",
    errno.ENOMEM: "There is not enough memory.",
    errno.EAGAIN: "No process can be started: too many run (ulimit -u).",
}
_HELP_OPTIONS: Final = ("-h", "--help")


def new_app() -> "typer.Typer":
    """Return an app for one command, plain in its help and without completion options of its own.

    `-h` is help, as in the original.
    """
    import typer

    return typer.Typer(
        add_completion=False, rich_markup_mode=None, context_settings={"help_option_names": [*_HELP_OPTIONS]}
    )


@dataclass(frozen=True, slots=True)
class LinesOf:
    """The default of a list option: the lines of its variable, without the empty ones."""

    variable: str

    def __call__(self) -> list[str]:
        """Return the lines as the environment has them now."""
        return [line for line in os.environ.get(self.variable, "").splitlines() if line.strip()]


def lines_of(variable: str) -> Callable[[], list[str]]:
    """Return a default factory for a list option."""
    return LinesOf(variable)


def variable_of_parameter(parameter: Any) -> str:
    """Return the environment variable of an option or argument, as typer has it; empty: it has none."""
    if isinstance(parameter.default, LinesOf):
        return parameter.default.variable
    return str(parameter.envvar or "")


def run_app(app: "typer.Typer", prog: str, role: str) -> NoReturn:
    """Run a role with the process's arguments and the settings of the current folder; exit with its code.

    Under supervisord it waits for storage that cannot be written to yet (`storage_faults`).
    """
    from pcapdj.runtime.storage_faults import started_once_writable

    def start() -> int | None:
        return _run_with_settings(app, prog, None)

    end_process(run_command(prog, lambda: started_once_writable(role, start)))


def end_process(code: int) -> NoReturn:
    """End this process; everything that holds something has released it before.

    The interpreter's own end takes every object apart, a fifth of the CPU time of a short command.
    """
    flush_log()
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None: started without one
        with suppress(OSError, ValueError):  # `run_command` has reported it, as far as that is possible
            stream.flush()
    os._exit(code)


def exit_code_of(
    app: "typer.Typer", prog: str, arguments: Sequence[str] | None = None, *, has_settings: bool = False
) -> int:
    """Run the app's command; print one sentence on stderr if it fails; return the exit code.

    Args:
        app: has one command.
        prog: as users call it.
        arguments: None: those of the process.
        has_settings: it works on the service of the current folder, and reads its settings file.
    """
    return run_command(prog, lambda: invoke(app, prog, arguments, has_settings=has_settings))


def invoke(
    app: "typer.Typer", prog: str, arguments: Sequence[str] | None, *, has_settings: bool
) -> int | None:
    """Do what `exit_code_of` does, inside `run_command`; what the command raises is raised."""
    return (_run_with_settings if has_settings else _run_typer)(app, prog, arguments)


class _EndedBy(BaseException):
    """Ends a command by a signal, through all its `finally` and `with`."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def ended_in_order() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the block as Ctrl-C does, and then this process as without a handler.

    So a command removes a file that is not complete, ends the programs that it started, and leaves a terminal
    that is not stopped as it was. A second signal ends it at once. A signal that is ignored (nohup) stays so.
    """
    taken = {each: handler for each in _ENDING if (handler := signal.getsignal(each)) in _UNTOUCHED}
    for each in taken:
        signal.signal(each, _end)
    try:
        yield
    except _EndedBy as ended:
        end_by(ended.number)
    finally:
        for each, handler in taken.items():
            if signal.getsignal(each) is _end:
                signal.signal(each, handler)


def end_by(number: int) -> NoReturn:
    """End this process by a signal, as one that does not handle it.

    Nothing happens if the signal is blocked, or if this is the first process of a container, which gets none
    that it does not handle (pid_namespaces(7)): then it ends with the exit code that shells have for that.
    """
    with suppress(OSError):  # SIGKILL
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)


def _end(number: int, _frame: object) -> None:
    discard_if_stuck()
    is_last = ignore_further(_ENDING)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    if not is_last:
        signal.signal(number, signal.SIG_DFL)
    raise _EndedBy(number)


_thread_has_died: Final = threading.Event()


def _stop_without_thread(died: threading.ExceptHookArgs) -> None:
    """Show why a thread died, and stop this process in order, as after SIGTERM; it then exits with 1.

    It must not go on without the thread: a launcher would no longer see that feeding is suspended.
    """
    is_first = not _thread_has_died.is_set()
    _thread_has_died.set()
    threading.__excepthook__(died)
    if is_first:  # a second SIGTERM would cut the orderly stop short
        os.kill(os.getpid(), signal.SIGTERM)


def run_command(prog: str, command: Callable[[], int | None]) -> int:
    """Run a command; print one sentence on stderr if it fails; return the exit code.

    Only an error in pcapdj itself shows a traceback.
    """
    threading.excepthook = _stop_without_thread
    _take_inherited_signals()
    try:
        tell_failures_of_stdout()
        code = command()
        if sys.stdout:  # None: started without one
            sys.stdout.flush()
    except Stopped:
        return ExitCode.ERROR if _thread_has_died.is_set() else ExitCode.OK
    except PcapdjError as exc:
        print_error(prog, str(exc))
        return exc.exit_code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except (BrokenPipeError, OutputFailed) as exc:
        return _code_without_output(prog, exc)
    except Exception as exc:  # noqa: BLE001 - the only place that catches everything; supervisord restarts a role
        _show_unexpected(prog, exc)
        return ExitCode.ERROR
    return int(code or _thread_has_died.is_set())


def _take_inherited_signals() -> None:
    """Let signals arrive that the program which started this one has blocked, and the ends of children.

    A blocked SIGTERM would never end this process. Where SIGCHLD is ignored, the kernel keeps no exit codes,
    and `subprocess` takes a failure for a success. Other ignored signals stay so, as nohup wants it.

    Source: execve(2), "Effect on process attributes"; wait(2), "C library/kernel differences".
    """
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())


def _show_unexpected(prog: str, error: Exception) -> None:
    """Print what this process is not given, or where it cannot work; the traceback of any other error."""
    if sentence := sentence_about(error):
        print_error(prog, sentence)
    else:
        import traceback

        flush_log()
        traceback.print_exc()


def sentence_about(error: Exception) -> str:
    """Return why a command ends, if that is not an error in pcapdj itself; else an empty text."""
    if isinstance(error, PcapdjError):
        return str(error)
    if isinstance(error, MemoryError):
        return _MISSING_RESOURCES[errno.ENOMEM]
    if isinstance(error, OSError) and error.errno in _MISSING_RESOURCES:
        return _MISSING_RESOURCES[error.errno]
    if isinstance(error, RuntimeError) and str(error) == _NO_THREAD:
        return "No thread can be started: too little memory, or too many processes (ulimit -u)."
    if isinstance(error, FileNotFoundError) and not _has_current_folder():
        return "The current folder does not exist any more. Change to another one."
    return ""


def _has_current_folder() -> bool:
    try:
        os.getcwd()  # noqa: PTH109 - without the import of pathlib
    except OSError:
        return False
    return True


def _code_without_output(prog: str, error: OSError) -> ExitCode:
    discard(sys.stdout)  # or flushing it at exit fails again
    if isinstance(error, BrokenPipeError):  # the reader of our output closed it, as `head` does
        return ExitCode.OK
    print_error(prog, f"The output cannot be written: {error.strerror}.")
    return ExitCode.ERROR


def print_error(prog: str, sentence: str) -> None:
    """Print why a command ends on stderr, after everything logged; if that fails, the exit code is left."""
    flush_log()
    with suppress(OSError):
        print(f"{prog}: {printable_sentence(sentence)}", file=sys.stderr)  # noqa: T201 - it is the answer


def _run_with_settings(app: "typer.Typer", prog: str, arguments: Sequence[str] | None) -> int | None:
    """Run the app with the settings of the current folder; an error about one of them names its line."""
    from pathlib import Path

    from pcapdj.runtime.settings_file import read_settings

    if any(each in _HELP_OPTIONS for each in (sys.argv[1:] if arguments is None else arguments)):
        return _run_typer(app, prog, arguments)
    settings = read_settings(Path()).apply()
    if settings.refusal:
        print_error(prog, settings.refusal)
    try:
        return _run_typer(app, prog, arguments, settings)
    except ConfigError as exc:
        if str(exc) in settings.refusal:  # it is on the screen already
            return exc.exit_code
        raise ConfigError(str(exc), hint=settings.lines_about(str(exc))) from exc


def _run_typer(
    app: "typer.Typer", prog: str, arguments: Sequence[str] | None, settings: object = None
) -> int | None:
    """Run the app; `settings` becomes the `obj` of its context."""
    import typer
    from typer.main import get_command

    from pcapdj.runtime.process import hide_from_user

    hide_from_user()
    open_missing_streams()
    words = list(sys.argv[1:] if arguments is None else arguments)
    command = get_command(app)
    for each in command.get_params(typer.Context(command, **command.context_settings)):
        convert_only_what_differs(each)
    try:
        code: int | None = command.main(words, prog_name=prog, standalone_mode=False, obj=settings)
    except typer.TyperException as exc:
        hint = _hint_for_dash(words) or f"See '{prog} --help'."
        raise ConfigError(f"{without_urls(_refusal(exc))}.", hint=hint) from exc
    except typer.Abort:
        return ExitCode.INTERRUPTED
    return code


def _refusal(error: "typer.TyperException") -> str:
    """Return the error's message without words of pydantic, by which typer checks values."""
    message = error.format_message().replace(": Value error, ", ": ").rstrip(".")
    cause: Any = error.__cause__
    for each in cause.errors() if hasattr(cause, "errors") else ():
        if words := _REFUSALS.get(each["type"]):
            refused = f"{quoted(str(each['input']))} {words.format(**each.get('ctx', {}))}"
            message = message.replace(each["msg"], refused)
    return message


def _hint_for_dash(arguments: Sequence[str]) -> str:
    """Return how to write a file name that looks like an option; empty if there is no such file."""
    for each in arguments:
        if each.startswith("-") and each != "--" and os.path.lexists(each):
            return f"For the file of that name write {quoted('./' + each)}."
    return ""


def flush_log() -> None:
    """Write out what was logged, if anything can have been: `pcapdj cat` starts without the log."""
    if log := sys.modules.get("pcapdj.runtime.log"):
        log.flush()
