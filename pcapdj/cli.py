"""The `pcapdj` command: one subcommand for each task.

The table below names each subcommand's module. Only the module of the subcommand that runs is imported, so
`pcapdj cat` starts without the Redis client, and the help without any library. A module has an `app` with one
typer command, or, where it has to start quickly, a function `run(arguments)`: importing typer takes 0.12 s.
It may have a function `answer_failure(arguments, error)`: it returns the exit code of an error, or raises it.
"""

import gc
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Final, NoReturn

from pcapdj import __version__
from pcapdj.runtime.errors import ExitCode

# group -> subcommand -> (module, summary for the help)
COMMANDS: Final[dict[str, dict[str, tuple[str, str]]]] = {
    "Feed captures now, without a service": {
        "run": ("pcapdj.run.command", "feed files into an analyzer, show progress and a summary"),
        "cat": ("pcapdj.commands.cat", "write the files as one capture to stdout"),
        "sample": ("pcapdj.commands.sample", "write sample captures to try pcapdj with"),
        "check": ("pcapdj.commands.check", "show what this machine has, and what is wrong"),
        "completion": ("pcapdj.commands.completion", "write the completion script for bash, zsh or fish"),
    },
    "Run the service": {
        "init": ("pcapdj.commands.init", "create a folder for the service, ready for supervisord"),
        "up": ("pcapdj.commands.up", "start the service of this folder, or roles of it"),
        "down": ("pcapdj.commands.down", "end the service, or stop roles of it"),
        "restart": ("pcapdj.commands.restart", "restart roles, so that they read changed settings"),
        "import": ("pcapdj.importer", "queue capture files; with --watch, also those that arrive later"),
        "status": ("pcapdj.commands.status", "show queue, current file, gate, dispatchers and analyzer"),
        "events": ("pcapdj.commands.events", "show what happened in the lane, or to one file"),
        "metrics": ("pcapdj.commands.metrics", "serve or write metrics of the lane for Prometheus"),
        "limits": ("pcapdj.commands.limits", "show or change the disk limits while it runs"),
        "gate": ("pcapdj.commands.gate", "hold or open the disk gate by hand"),
        "reclaim": ("pcapdj.commands.reclaim", "make room: remove captures that were fed, or show them"),
        "suspend": ("pcapdj.commands.suspend", "pause feeding, even in the middle of a file"),
        "resume": ("pcapdj.commands.resume", "continue feeding after `suspend`"),
        "queue": ("pcapdj.commands.queue", "show the queue in order; remove names, or move them to an end"),
        "skip": ("pcapdj.commands.skip", "give up the file that is fed, or whose storage is away"),
        "finish": ("pcapdj.commands.finish", "end the stream, so that the analyzer completes its output"),
        "forget": ("pcapdj.commands.forget", "remove a dispatcher that is out of service"),
        "failed": (
            "pcapdj.commands.failed",
            "list the files that failed, and why; --retry queues them again",
        ),
        "whence": ("pcapdj.commands.whence", "find the capture and packet of an alert; cut its session out"),
        "journal": ("pcapdj.commands.journal", "show which files were fed, when, and what was unusual"),
        "report": (
            "pcapdj.commands.report",
            "show gaps, overlaps and cut packets of captures, or of what was fed",
        ),
        "requeue": ("pcapdj.commands.requeue", "queue processed or failed files again"),
    },
    "The roles, one process each": {
        "dispatch": ("pcapdj.dispatcher", "stream authorized files into the pipe"),
        "control": ("pcapdj.controller", "authorize files while the disks have room"),
        "consume": ("pcapdj.consumer_launcher", "start the analyzer and keep its stream alive"),
    },
}

ROLES: Final = frozenset({"dispatch", "control", "consume"})  # they handle stop signals themselves
# `run`, `cat`, `sample` and `init` work on no service: none of its settings may choose what they run. And
# supervisord must not have the settings in its environment: roles read them each time they are started.
WITHOUT_SETTINGS: Final = frozenset({"run", "cat", "sample", "completion", "init", "up", "down", "restart"})
# They end in time by themselves while a file system hangs; and `up --foreground` becomes supervisord.
WITHOUT_WATCH: Final = ROLES | {"run", "import"}
STAYS: Final = "--foreground"

MODULES: Final = {name: module for group in COMMANDS.values() for name, (module, _) in group.items()}


def help_text() -> str:
    """Return what `pcapdj --help` prints."""
    lines = ["Usage: pcapdj SUBCOMMAND [OPTIONS] ..", ""]
    lines += ["Feeds rotated capture files, one authorization at a time, as one stream into an analyzer."]
    for group, commands in COMMANDS.items():
        lines += ["", f"{group}:"]
        lines += [f"  {name:<12}{summary}" for name, (_, summary) in commands.items()]
    lines += ["", "'pcapdj help SUBCOMMAND' shows its options, 'pcapdj --version' the version."]
    return "\n".join(lines)


def unknown(word: str) -> str:
    """Return the error for an unknown word, with the subcommand that it resembles most."""
    from difflib import get_close_matches

    from pcapdj.runtime.safe_text import without_urls

    kind = "option" if word.startswith("-") else "subcommand"
    nearest = get_close_matches(word, MODULES, n=1)
    hint = f"Did you mean 'pcapdj {nearest[0]}'?" if nearest else "See 'pcapdj --help'."
    return f"pcapdj: Unknown {kind} {without_urls(word)[:80]!a}. {hint}"


def start(arguments: Sequence[str], *, is_watched: bool = False) -> int:
    """Run the subcommand that the arguments name, or show help or version; return the exit code.

    Args:
        arguments: of the command line.
        is_watched: this process only waits where a call about a path may hang; a child does the work.
    """
    word, *rest = arguments or ["--help"]
    if word == "help" and rest:  # `pcapdj help run` is `pcapdj run --help`
        word, rest = rest[0], ["--help"]
    if word in MODULES:
        return _run(word, rest, is_watched=is_watched)
    answers = {**dict.fromkeys(("-h", "--help", "help"), _print_help), "--version": _print_version}
    if answer := answers.get(word):
        from pcapdj.runtime.command import run_command

        return run_command("pcapdj", answer)
    print(unknown(word), file=sys.stderr)  # noqa: T201 - the answer
    return ExitCode.USAGE


def _print_help() -> int:
    print(help_text())  # noqa: T201 - the answer
    return ExitCode.OK


def _print_version() -> int:
    from pcapdj.capture.compiled import loaded

    print(f"pcapdj {__version__}, {loaded()[0].value}")  # noqa: T201 - the answer
    return ExitCode.OK


def main() -> NoReturn:
    """Run `pcapdj` with the process's arguments."""
    try:
        code = start(sys.argv[1:], is_watched=True)
    except KeyboardInterrupt:  # while the subcommand's modules are imported
        code = ExitCode.INTERRUPTED
    if "pcapdj.runtime.command" in sys.modules:  # else the help was shown, and there is nothing to take apart
        from pcapdj.runtime.command import end_process

        end_process(code)
    sys.exit(code)


def _run_watched(prog: str, work: Callable[[], int | None]) -> int | None:
    """Run a command in a process of its own: paths of Redis, of links and of variables may lead anywhere."""
    from pcapdj.runtime.child_process import run_reader
    from pcapdj.runtime.environment import forget
    from pcapdj.runtime.process import hide_from_user
    from pcapdj.runtime.streams import open_missing_streams
    from pcapdj.store.redis_url import URL_VARIABLE

    hide_from_user()
    open_missing_streams()
    return run_reader(prog, work, after_fork=lambda: forget(URL_VARIABLE))  # /proc shows it of both


def _run_here(work: Callable[[], int | None]) -> int | None:
    """Run a command in this process, once the current folder answers, which may have its settings."""
    from pcapdj.runtime.child_process import await_places

    await_places(os.curdir)
    return work()


def _run_module(module: Any, name: str, arguments: Sequence[str]) -> int | None:
    if hasattr(module, "app"):
        from pcapdj.runtime.command import invoke

        return invoke(module.app, f"pcapdj {name}", arguments, has_settings=name not in WITHOUT_SETTINGS)
    code: int | None = module.run(arguments)
    return code


def _answered(
    answer_failure: Callable[[Sequence[str], Exception], int] | None,
    arguments: Sequence[str],
    work: Callable[[], int | None],
) -> int | None:
    """Run a command; let its module say what an error means to who reads its exit code, if it has a say."""
    try:
        return work()
    except Exception as exc:
        if answer_failure is None:
            raise
        return answer_failure(arguments, exc)


def _run(name: str, arguments: Sequence[str], *, is_watched: bool) -> int:
    from contextlib import nullcontext
    from functools import partial

    from pcapdj.runtime.command import ended_in_order, run_command

    prog = f"pcapdj {name}"

    def work() -> int | None:
        gc.disable()  # modules stay: looking through them meanwhile takes a twentieth of the import
        module = import_module(MODULES[name])
        gc.enable()
        run = partial(_run_module, module, name, arguments)
        answered = partial(_answered, getattr(module, "answer_failure", None), arguments)
        if not is_watched:
            return answered(run)
        if name in WITHOUT_WATCH or STAYS in arguments:
            return _run_here(run)
        return answered(lambda: _run_watched(prog, lambda: answered(run)))

    with nullcontext() if name in ROLES else ended_in_order():
        return run_command(prog, work)
