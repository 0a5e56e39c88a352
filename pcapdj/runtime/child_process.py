"""Runs a role in a child process where it watches file systems that may hang, so that the role ends in time.

While a call about such a file system does not return, nothing ends the process that made it, also if only one
of its threads did. So the role's own process makes none: it waits for signals and for the child, and after a
stop signal it waits 0.8 s for the child's orderly end. A child that is left behind gets SIGKILL: when its
call returns, it does nothing more. Only for roles that another one may follow at any instant: a child that
hangs keeps what it has open.

Roles that watch local file systems only are one process. Which it is, is decided at the start.
"""

import os
import select
import signal
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, NoReturn

from pcapdj.runtime.command import end_process, run_command
from pcapdj.runtime.errors import ExitCode, PcapdjError, Stopped
from pcapdj.runtime.mounts import any_may_hang, files_and_folders
from pcapdj.runtime.process import die_with
from pcapdj.runtime.signals import STOP_SIGNALS, handled

_STOP_LIMIT_S: Final = 0.8
_LONGEST_WAIT_S: Final = 60.0


def run_role(
    prog: str,
    work: Callable[[], int | None],
    watched: Iterable[bytes],
    others: Collection[signal.Signals] = (),
    after_hang: Callable[[], None] | None = None,
) -> int | None:
    """Run a role's work, in a child process if a path that it watches is on a file system that may hang.

    Args:
        prog: as users call the role.
        work: all that the role does; it handles signals itself, and no thread has been started before.
        watched: the paths.
        others: signals that shall not end the role.
        after_hang: called once a child is left behind, which says nothing about the file that it looked into.

    Returns:
        The exit code, if it is not 0.
    """
    if not any_may_hang(watched):
        return work()
    parent = os.getpid()
    ended, has_child = os.pipe()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, the exit code would be lost
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)  # until both processes handle them
    child = os.fork()
    if not child:
        os.close(ended)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _run_child(prog, work, parent)
    os.close(has_child)
    try:
        if (code := _wait_for(child, ended, others, before)) is not None:
            return code
    finally:
        os.close(ended)
    os.kill(child, signal.SIGKILL)
    if after_hang:
        after_hang()
    return ExitCode.OK


def run_reader(prog: str, work: Callable[[], int | None], paths: Sequence[bytes]) -> int | None:
    """Run the work of a command that reads these paths; a stop signal ends it, also while a call hangs.

    Raises:
        PcapdjError: it was stopped while a call did hang.
    """
    return run_role(prog, work, files_and_folders(paths), after_hang=_report_hang)


def _report_hang() -> NoReturn:
    raise PcapdjError("It was stopped while a file system did not answer.")


def _run_child(prog: str, work: Callable[[], int | None], parent: int) -> NoReturn:
    die_with(parent, signal.SIGKILL)
    end_process(run_command(prog, work))


def _wait_for(
    child: int, ended: int, others: Collection[signal.Signals], mask: Collection[int]
) -> int | None:
    """Return the child's exit code, None if it hangs after a stop; end as it did, if a signal killed it."""
    with handled(others) as signals:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        try:
            while not select.select([ended], [], [], 0)[0]:
                signals.wait(_LONGEST_WAIT_S, ended)
        except Stopped:
            os.kill(child, signal.SIGTERM)
            if not select.select([ended], [], [], _STOP_LIMIT_S)[0]:
                return None
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code < 0:
        os.kill(os.getpid(), -code)
    return code
