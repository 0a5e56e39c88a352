"""Lets `pcapdj run` and supervisord start pcapdj's modules by a fork of themselves, not by an interpreter.

Each has imported all of pcapdj already, since it comes from the fork server; its children are its own, with
its signals, groups and descriptors. Only two functions are replaced: supervisord's last one before its child
is another program, and the one that subprocess forks with. Any other program is executed as ever.
"""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from pcapdj.runtime.interpreter import START_FILE

_FORKED: Final = ("pcapdj.", "supervisor.supervisord")
_IGNORE: Final = "--ignore-signal="
_execve = os.execve
_fork_exec = subprocess._fork_exec  # type: ignore[attr-defined]  # noqa: SLF001 - no public place does it


def install() -> None:
    """Replace both functions in this process, and so in its children."""
    os.execve = execve  # type: ignore[assignment]  # its parameters take less
    subprocess._fork_exec = fork_exec  # type: ignore[attr-defined]  # noqa: SLF001


def execve(program: str, argv: list[str], environment: Mapping[str, str]) -> NoReturn:
    """Do what os.execve does."""
    if words := _python_words(argv):
        _run(argv, words, environment)
    _execve(program, argv, environment)


def fork_exec(argv: Sequence[Any], programs: Any, close_fds: Any, kept: Any, folder: Any, *rest: Any) -> int:
    """Do what subprocess needs of its C function; the parameters are those of Python 3.11 to 3.13."""
    strings = [os.fsdecode(word) for word in argv]
    words = _python_words(strings)
    if not words or len(kept) > 1:  # one shows the parent that exec has worked
        return int(_fork_exec(argv, programs, close_fds, kept, folder, *rest))
    pid = os.fork()
    if pid == 0:
        _take_place(folder, *rest)
        pairs = rest[0]
        named = dict(os.fsdecode(pair).split("=", 1) for pair in pairs or ())
        _run(strings, words, dict(os.environ) if pairs is None else named)
    return pid


def _take_place(folder: Any, *rest: Any) -> None:
    """Do what subprocess does between fork and exec."""
    stdin, stdout, stderr, starts_session, prepare = rest[1], rest[4], rest[6], rest[10], rest[16]
    for new, old in enumerate((stdin, stdout, stderr)):
        if old >= 0:
            os.dup2(old, new)
    if folder is not None:
        os.chdir(folder)
    if starts_session:
        os.setsid()
    if prepare is not None:
        prepare()
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))


def _python_words(argv: Sequence[str]) -> list[str]:
    """Return the words behind `python -m` or `__main__.py`, for a module of pcapdj or supervisord; else none.

    `env` may stand before, as in supervisord.conf.
    """
    words: Iterator[str] = iter(argv)
    program = next(words, "")
    if program == "/usr/bin/env":
        program = next((word for word in words if not word.startswith(_IGNORE)), "")
    behind = [word for word in words if word != "-P"]
    is_python = Path(program).name.startswith("python") and behind[:1] in (["-m"], [START_FILE])
    return behind[1:] if is_python and behind[1].startswith(_FORKED) else []


def _run(argv: Sequence[str], words: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    from support.forked import run_as_new

    for word in argv:
        if word.startswith(_IGNORE):
            signal.signal(signal.Signals[f"SIG{word.removeprefix(_IGNORE)}"], signal.SIG_IGN)
    run_as_new(words[0], words[1:], environment)
