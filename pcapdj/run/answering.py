"""`pcapdj run` answers Ctrl-C also while the file system of its output folder does not answer.

A call about such a file system may never return, and nothing ends the process that made it. So where the
output folder, a watched path, a program or the folder for temporary files is on one that may hang (NFS, CIFS,
FUSE), a child does the run, and makes all such calls. The
command's own process passes stop signals on, and looks whether the child, or a process below it, waits in a
call without an end (state D of proc_pid_stat(5)).

    first stop signal    the run ends in order. Is there such a process for a second, that is shown
    second               the analyzer is killed. Is there such a process for a second, the command ends
                         and leaves the others behind: they get a signal, and end when their call returns

While the disk answers, nothing is cut short: no time alone ends a run. Ctrl-Z stops the child, too, which is
in a process group of its own.
"""

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from pcapdj.run.record import RECORD
from pcapdj.runtime.child_process import end_as, forked_child
from pcapdj.runtime.command import print_error
from pcapdj.runtime.errors import ExitCode, Stopped
from pcapdj.runtime.foreign_files import is_there
from pcapdj.runtime.mounts import any_may_hang, mount_of
from pcapdj.runtime.process_tree import FoundProcess, children_of, descendants_of, find_process
from pcapdj.runtime.safe_text import quoted, shell_path
from pcapdj.runtime.signals import Signals, handled

PROG: Final = "pcapdj run"
_LOOK_S: Final = 0.1
_HANG_S: Final = 1.0
_WAITING: Final = "D"
_SHOW_CURSOR: Final = "\x1b[?25h"  # the bar of a process that is left behind hides it


def run_answering(
    work: Callable[[], int], logdir: Path, stops: Collection[signal.Signals], others: Collection[bytes] = ()
) -> int:
    """Do a run; return its exit code.

    Args:
        work: the run, which handles stop signals itself.
        logdir: its output folder.
        stops: the stop signals.
        others: what else it looks at.
    """
    if not any_may_hang([os.fsencode(logdir), *others]):
        return work()
    child, ended, mask = forked_child(PROG, work, own_group=True)
    try:
        with handled((signal.SIGTSTP,), stops=stops, is_command=True) as signals:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            left_with = _attended(child, ended, logdir, signals)
    finally:
        os.close(ended)
    return end_as(child) if left_with is None else left_with


def _attended(child: int, ended: int, logdir: Path, signals: Signals) -> ExitCode | None:
    """Wait for the child's end; return the exit code if it is left behind, None if it ended."""
    passed_on, watch, is_shown = 0, WaitingProcesses(child), False
    while not select.select([ended], [], [], 0)[0]:
        with suppress(Stopped):
            signals.wait(_LOOK_S if passed_on else _HANG_S, ended, stops=passed_on + 1)
        for _ in range(passed_on, signals.stop_count):
            os.kill(child, signal.SIGINT)
            passed_on += 1
        if signals.received(signal.SIGTSTP):
            _pause(child)
        hanging = watch.look(time.monotonic())
        if hanging and (passed_on > 1 or _is_ending(child)):
            _leave_behind(child, logdir, hanging)
            return ExitCode.INTERRUPTED if passed_on else ExitCode.ERROR
        if hanging and passed_on and not is_shown:
            is_shown = True
            print_error(
                PROG, f"{_no_answer(logdir, hanging)}. The run waits for it; another Ctrl-C ends that."
            )
    return None


def _pause(child: int) -> None:
    """Stop as Ctrl-Z does without a handler, and the child's process group; both go on with this process."""
    before = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    with suppress(ProcessLookupError):  # it has ended
        os.killpg(child, signal.SIGSTOP)
    os.kill(os.getpid(), signal.SIGTSTP)  # does nothing if no shell could continue it
    signal.signal(signal.SIGTSTP, before)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGCONT)


def _is_ending(child: int) -> bool:
    """Report whether the child has ended, except for a thread that waits in a call."""
    found = find_process(child)
    return found is not None and found.state == "Z"


class WaitingProcesses:
    """Finds a process that waits in one call, at a process and all below it.

    Args:
        pid: of the process.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._since_s: dict[tuple[int, int], float] = {}

    def look(self, now_s: float) -> FoundProcess | None:
        """Return a process that waited at each look of the last second; None: there is none.

        Args:
            now_s: monotonic time.
        """
        waiting = {(each.pid, each.start): each for each in _tasks_below(self._pid) if each.state == _WAITING}
        self._since_s = {key: self._since_s.get(key, now_s) for key in waiting}
        return next(
            (waiting[key] for key, since_s in self._since_s.items() if now_s - since_s >= _HANG_S), None
        )


def _tasks_below(pid: int) -> Iterator[FoundProcess]:
    """Yield all threads of a process and of those below it."""
    for each in (pid, *descendants_of(pid)):
        with suppress(OSError):
            for task in os.listdir(f"/proc/{each}/task"):  # noqa: PTH208 - names
                if found := find_process(int(task)):
                    yield found


def _no_answer(logdir: Path, hanging: FoundProcess) -> str:
    place = f"The file system of {quoted(str(logdir))}" if _may_hang(logdir) else "A file system"
    return f"{place} does not answer: {hanging} waits for it"


def _may_hang(logdir: Path) -> bool:
    return mount_of(os.fsencode(logdir)).may_hang


def _leave_behind(child: int, logdir: Path, hanging: FoundProcess) -> None:
    """Let the processes end as soon as they can, and report what that means for the results."""
    for pid in children_of(child):
        with suppress(OSError):
            os.kill(pid, signal.SIGTERM)  # the private service: it stops its roles in order
    os.kill(child, signal.SIGKILL)
    if sys.stderr.isatty():
        sys.stderr.write(_SHOW_CURSOR)
    sentence = f"{_no_answer(logdir, hanging)}. Stopped without waiting"
    if not _may_hang(logdir) and not is_there(logdir / RECORD):
        print_error(PROG, f"{sentence}: nothing was fed.")
        return
    print_error(
        PROG,
        f"{sentence}: {RECORD} and the analyzer's output may lack"
        " what was not written yet, and the processes that are left end when it answers. Then repeat the"
        f" command with --logdir {shell_path(logdir)} --resume.",
    )
