"""The `pcapdj` command: one subcommand per thing a person does.

The table below names each subcommand's module, which is imported only when it is the one asked for: so
`pcapdj cat` starts without Redis's client, and help without anything. Each module has an `app` with one
command of typer's, or is quick to start and has a `run(arguments)` instead: typer alone takes 0.12 s.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final, NoReturn

from pcapdj import __version__
from pcapdj.runtime.errors import ExitCode

# group -> subcommand -> (module, what it does)
COMMANDS: Final[dict[str, dict[str, tuple[str, str]]]] = {
    "Feed captures now, without a service": {
        "run": ("pcapdj.run.command", "feed files into an analyzer, show progress and a summary"),
        "cat": ("pcapdj.commands.cat", "write the files as one capture to stdout"),
        "sample": ("pcapdj.commands.sample", "write sample captures to try it with"),
        "check": ("pcapdj.commands.check", "tell what this machine has, and what is wrong"),
    },
    "Run the service": {
        "init": ("pcapdj.commands.init", "lay out a folder for supervisord"),
        "import": ("pcapdj.importer", "queue captures; with --watch, those that appear in a folder"),
        "status": ("pcapdj.commands.status", "show queue, current file, gate, dispatchers and analyzer"),
        "limits": ("pcapdj.commands.limits", "show or change the disk limits while it runs"),
        "gate": ("pcapdj.commands.gate", "hold or open the disk gate by hand"),
        "suspend": ("pcapdj.commands.suspend", "pause the feeding, in the middle of a file"),
        "resume": ("pcapdj.commands.resume", "go on after `suspend`"),
        "finish": ("pcapdj.commands.finish", "end the stream, so that the analyzer completes its output"),
        "failed": ("pcapdj.commands.failed", "list the files that failed and why; queue them again"),
        "requeue": ("pcapdj.commands.requeue", "feed files again"),
    },
    "The roles, one process each": {
        "dispatch": ("pcapdj.dispatcher", "stream authorized files into the pipe"),
        "control": ("pcapdj.controller", "authorize files while the disks have room"),
        "consume": ("pcapdj.consumer_launcher", "start the analyzer and keep its stream alive"),
    },
}

MODULES: Final = {name: module for group in COMMANDS.values() for name, (module, _) in group.items()}


def help_text() -> str:
    """Return what `pcapdj --help` prints."""
    lines = ["Usage: pcapdj SUBCOMMAND [OPTIONS] ..", ""]
    lines += ["Feeds rotated capture files, one authorization at a time, as one stream into an analyzer."]
    for group, commands in COMMANDS.items():
        lines += ["", f"{group}:"]
        lines += [f"  {name:<10}{summary}" for name, (_, summary) in commands.items()]
    lines += ["", "pcapdj SUBCOMMAND --help tells its options; pcapdj --version tells the version."]
    return "\n".join(lines)


def unknown(word: str) -> str:
    """Return the sentence about a word that is no subcommand, with the nearest one that is."""
    from difflib import get_close_matches

    kind = "option" if word.startswith("-") else "subcommand"
    nearest = get_close_matches(word, MODULES, n=1)
    hint = f"Did you mean 'pcapdj {nearest[0]}'?" if nearest else "See 'pcapdj --help'."
    return f"pcapdj: There is no {kind} {word[:80]!a}. {hint}"


def start(arguments: Sequence[str]) -> int:
    """Run the subcommand that the arguments name; return the exit code."""
    word, *rest = arguments or ["--help"]
    if word in MODULES:
        return _run(word, rest)
    if word in ("-h", "--help", "help"):
        print(help_text())  # noqa: T201 - what was asked for
    elif word == "--version":
        print(f"pcapdj {__version__}")  # noqa: T201 - what was asked for
    else:
        print(unknown(word), file=sys.stderr)  # noqa: T201 - the answer
        return ExitCode.USAGE
    return ExitCode.OK


def main() -> NoReturn:
    """Run `pcapdj` with the process's arguments."""
    sys.exit(start(sys.argv[1:]))


def _run(name: str, arguments: Sequence[str]) -> int:
    module, prog = import_module(MODULES[name]), f"pcapdj {name}"
    if not hasattr(module, "app"):
        from pcapdj.runtime.command import run_command

        return run_command(prog, lambda: module.run(arguments))
    from pcapdj.runtime.command import exit_code_of

    return exit_code_of(module.app, prog, arguments)
