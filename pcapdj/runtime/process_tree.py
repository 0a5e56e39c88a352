"""Everything that an analyzer has started, also outside of its process group, ends with the stream.

A process that calls setsid and forks twice is no child of the analyzer any more, and no signal to its group
reaches it. The kernel gives such orphans to the next ancestor that asked for them (PR_SET_CHILD_SUBREAPER),
which is the launcher. It starts nothing but analyzers, one at a time, so at the end of a stream all of its
descendants are what the analyzer has left.

A process is signalled by a pidfd, and only if it is still the one that was found: its number may be taken by
another process meanwhile.

Source: prctl(2), pidfd_open(2), proc_pid_stat(5).
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pcapdj.runtime.process import become_subreaper
from pcapdj.runtime.safe_text import printable

_LIMIT_S: Final = 2.0  # for all of them to be gone; a process in an uninterruptible call may stay
_POLL_S: Final = 0.001
_OF_PAUSES: Final = sum(1 << number - 1 for number in (signal.SIGSTOP, signal.SIGCONT, signal.SIGCHLD))
_OF_KILL: Final = 1 << signal.SIGKILL - 1
_EXITING: Final = 4  # among a process's flags
_EMPTY_LOOKS: Final = 3  # in a row: the list of children misses one that is just changing its parent


@dataclass(frozen=True, slots=True)
class FoundProcess:
    """A process as it was found.

    Args:
        name: of its program, as it calls itself.
        state: a letter; Z has ended and waits to be reaped.
        start: when it started, in ticks since the boot: distinguishes it from a later one with its number.
        is_ending: it runs no code any more, and is taken apart (PF_EXITING in the kernel's sched.h).
    """

    pid: int
    name: str
    state: str
    parent: int
    group: int
    start: int
    is_ending: bool = False

    def __str__(self) -> str:
        return f"{printable(self.name)} (pid {self.pid})"


class ProcessTree:
    """The descendants of this process, which becomes the reaper of their orphans."""

    def __init__(self) -> None:
        become_subreaper()

    def reap(self, spared: int) -> None:
        """Reap the orphans that have ended; not this child."""
        for pid in children_of():
            if pid != spared:
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)

    def signal(self, number: int, *, spared_group: int) -> list[FoundProcess]:
        """Send a signal to all descendants; not to those of this group, which was signalled before.

        Returns:
            Those that it was sent to.
        """
        return [*filter(None, (_signal_process(pid, number, spared_group) for pid in descendants_of()))]

    def has_pending_signal(self) -> bool:
        """Report whether a signal other than STOP and CONT is pending for a paused descendant."""
        return any(_pending_signals(pid) & ~_OF_PAUSES for pid in descendants_of())

    def end(self, group: int) -> list[FoundProcess]:
        """Kill all descendants; return those that did not belong to the group, which was killed before.

        Args:
            group: of the analyzer, which is reaped.
        """
        left: dict[tuple[int, int], FoundProcess] = {}
        deadline_s, empty_looks = time.monotonic() + _LIMIT_S, 0
        with _reaped_by_kernel():
            while empty_looks < _EMPTY_LOOKS and time.monotonic() < deadline_s:
                # only children, without a look at all processes: some may fork and exit as fast as they can.
                # What a child has started is a child itself once that one was killed, or has ended
                children = children_of()
                killed = [*filter(None, map(_kill_child, children))]
                left |= {(each.pid, each.start): each for each in killed if each.group != group}
                empty_looks = 0 if children else empty_looks + 1
                if not children:
                    time.sleep(_POLL_S)
        return list(left.values())


@contextmanager
def _reaped_by_kernel() -> Iterator[None]:
    """Let no child of this process stay as a zombie for the block.

    Processes that fork and exit leave thousands of them in a second. The search through these takes longer
    than the next one of them lives, and at last no process of the machine gets a number.
    """
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:  # who ended before
                pass
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)


def children_of(pid: int | str = "self") -> list[int]:
    """Return the children of a process, this one by default; an orphan is given to any of its threads."""
    pids: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                pids += map(int, (task / "children").read_text().split())
    return pids


def descendants_of(pid: int | str = "self") -> Iterator[int]:
    """Yield the processes below a process, this one by default, without it."""
    pids = children_of(pid)
    for each in pids:  # it grows meanwhile
        pids += children_of(each)
        yield each


def ancestors_of(pid: int) -> list[int]:
    """Return the parent of a process, the parent of that, and so on."""
    pids: list[int] = []
    while (found := find_process(pid)) and found.parent:
        pid = found.parent
        pids.append(pid)
    return pids


def is_withheld(pid: int) -> bool:
    """Report whether a child has ended, and a descendant of this process keeps that from it.

    The end of a process that another one traces is reported to the tracer first, and to the parent when the
    tracer has asked for it, or has ended. A child can make this process its tracer; and what traces it from
    outside, such as a debugger, is a person's.

    Args:
        pid: of the child, which has not been reported.

    Source: ptrace(2).
    """
    with suppress(ValueError, KeyError):
        fields = _status_of(pid)
        has_ended = fields["State"][0] in "ZX" and int(fields["Threads"]) <= 1
        if has_ended and (thread := int(fields["TracerPid"])):
            return int(_status_of(thread)["Tgid"]) in descendants_of()  # any thread of it can trace
    return False


def _status_of(pid: int) -> dict[str, str]:
    """Return the fields of /proc/PID/status; none: it is gone."""
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
        return dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    return {}


def _pending_signals(pid: int) -> int:
    """Return the signals that are pending for a process, a bit for each: 1 << number - 1."""
    with suppress(ValueError, KeyError):
        fields = _status_of(pid)
        return int(fields["SigPnd"], 16) | int(fields["ShdPnd"], 16)
    return 0


def _signal_process(pid: int, number: int, spared_group: int) -> FoundProcess | None:
    """Signal a descendant, unless it has ended, or belongs to the group; return it if it was signalled."""
    with suppress(OSError):
        descriptor = os.pidfd_open(pid)
        try:
            found = find_process(pid)
            if found is not None and found.group != spared_group and found.state not in "ZX":
                signal.pidfd_send_signal(descriptor, number)
                return found
        finally:
            os.close(descriptor)
    return None


def find_process(pid: int) -> FoundProcess | None:
    """Return the process of this number; None: there is none."""
    with suppress(OSError, ValueError):
        head, _, rest = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(") ")
        fields = rest.split()
        name = head.partition("(")[2]
        is_ending = bool(int(fields[6]) & _EXITING)
        return FoundProcess(pid, name, fields[0], int(fields[1]), int(fields[2]), int(fields[19]), is_ending)
    return None


def _kill_child(pid: int) -> FoundProcess | None:
    """Kill a child; return it, or None if it has ended, or is just ending."""
    with suppress(OSError):
        descriptor = os.pidfd_open(pid)
        try:
            # behind the descriptor: if that is a child, it is the one that is killed
            found = find_process(pid)
            if found is not None and found.parent == os.getpid() and found.state not in "ZX":
                # bubblewrap is gone a moment before the first process of its sandbox, which dies with it
                is_ending = found.is_ending or _pending_signals(pid) & _OF_KILL
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                return None if is_ending else found
        finally:
            os.close(descriptor)
    return None
