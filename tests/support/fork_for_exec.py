"""Lets `pcapdj run` and supervisord start pcapdj's modules by a fork of themselves, not by an interpreter.

Each has imported all of pcapdj already, since it comes from the fork server; its children are its own, with
its signals, groups and descriptors. Only two functions are replaced: supervisord's last one before its child
is another program, and the one that subprocess forks with. Any other program is executed as ever.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

_FORKED: Final = ("pcapdj.", "supervisor.supervisord")
_execve = os.execve
_fork_exec = subprocess._fork_exec  # type: ignore[attr-defined]  # noqa: SLF001 - no public place does it


def install() -> None:
    """Replace both functions in this process, and so in its children."""
    os.execve = execve  # type: ignore[assignment]  # its parameters take less
    subprocess._fork_exec = fork_exec  # type: ignore[attr-defined]  # noqa: SLF001


def execve(program: str, argv: list[str], environment: Mapping[str, str]) -> NoReturn:
    """Do what os.execve does."""
    if _is_forked(argv):
        from support.forked import run_as_new

        run_as_new(argv[2], argv[3:], environment)
    _execve(program, argv, environment)


def fork_exec(argv: Sequence[Any], programs: Any, close_fds: Any, kept: Any, folder: Any, *rest: Any) -> int:
    """Do what subprocess needs of its C function; the parameters are those of Python 3.11 to 3.13."""
    words = [os.fsdecode(word) for word in argv]
    if not _is_forked(words) or len(kept) > 1:
        return int(_fork_exec(argv, programs, close_fds, kept, folder, *rest))
    pid = os.fork()
    if pid == 0:
        _become(words, folder, *rest)
    return pid


def _become(words: Sequence[str], folder: Any, *rest: Any) -> NoReturn:
    from support.forked import run_as_new

    pairs, stdin, stdout, stderr = rest[0], rest[1], rest[4], rest[6]
    starts_session, prepare = rest[10], rest[16]
    for new, old in enumerate((stdin, stdout, stderr)):
        if old >= 0:
            os.dup2(old, new)
    if folder is not None:
        os.chdir(folder)
    if starts_session:
        os.setsid()
    if prepare is not None:
        prepare()
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # among them what tells the parent that it has begun
    environment = os.environ if pairs is None else dict(os.fsdecode(pair).split("=", 1) for pair in pairs)
    run_as_new(words[2], words[3:], dict(environment))


def _is_forked(argv: Sequence[str]) -> bool:
    python = Path(argv[0]).name.startswith("python") or argv[0] == sys.executable
    return python and argv[1] == "-m" and argv[2].startswith(_FORKED)
