"""Becomes another user, and then the analyzer. Run as root by its path: it imports nothing of pcapdj.

    python -I -S as_user.py PARENT UID GID GROUPS KEYCTL PROGRAM ARGUMENT..

PARENT is the launcher's pid, GROUPS are numbers with commas between, KEYCTL the number of that system call.

Between the change of the user and the start of the program any process of that user can stop this one, as
often as it likes. Whoever waits for the start of the program waits for ever then: `Popen(user=)` does. The
launcher does not, since for it this program is the analyzer, which has not opened the pipe yet.

Source: execve(2), prctl(2) PR_SET_PDEATHSIG, session-keyring(7).
"""

import ctypes
import errno
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1
_JOIN_SESSION_KEYRING = 1
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


def become(argv: Sequence[str]) -> None:
    """Do it; return only if the launcher has gone.

    Args:
        argv: as above, from PARENT on.

    Raises:
        OSError: the program cannot be started.
    """
    parent, uid, gid = map(int, argv[:3])
    groups, keyctl, command = argv[3], int(argv[4]), list(argv[5:])
    os.setgroups([int(group) for group in groups.split(",")])
    os.setgid(gid)
    os.setuid(uid)
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # another user has none
    if os.getppid() != parent:
        return
    if keyctl:
        libc.syscall(keyctl, _JOIN_SESSION_KEYRING, None)  # an empty one, of this user
    for number in _IGNORED_BY_PYTHON:
        signal.signal(number, signal.SIG_DFL)  # what is ignored stays so in the program
    os.execv(command[0], command)  # noqa: S606 - this program is for that


def cause_of(error: Exception, program: str) -> str:
    """Return why a program could not be executed; execve(2) has the causes.

    Args:
        error: of the attempt.
        program: its path.
    """
    match getattr(error, "errno", None):
        case errno.ENOENT if os.path.exists(program):  # noqa: PTH110 - as `is_there`
            return "the interpreter in its first line, or its dynamic loader, is not installed"
        case errno.ENOEXEC:
            return "it is not a program for this machine, or a script without #! in its first line"
    return getattr(error, "strerror", None) or str(error)


if __name__ == "__main__":
    try:
        become(sys.argv[1:])
    except OSError as exc:
        sys.stderr.write(f"{sys.argv[6]!a} does not start as this user: {cause_of(exc, sys.argv[6])}\n")
    sys.exit(1)
