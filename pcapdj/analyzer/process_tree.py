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
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pcapdj.runtime.process import become_subreaper
from pcapdj.runtime.safe_text import printable

_LIMIT_S: Final = 2.0  # for all of them to be gone; a process in an uninterruptible call may stay
_POLL_S: Final = 0.001
_EMPTY_LOOKS: Final = 3  # in a row: the list of children misses one that is just changing its parent


@dataclass(frozen=True, slots=True)
class FoundProcess:
    """A process as it was found.

    Args:
        name: of its program, as it calls itself.
        state: a letter; Z has ended and waits to be reaped.
        start: when it started, in ticks since the boot: distinguishes it from a later one with its number.
    """

    pid: int
    name: str
    state: str
    parent: int
    group: int
    start: int

    def __str__(self) -> str:
        return f"{printable(self.name)} (pid {self.pid})"


class ProcessTree:
    """The descendants of this process, which becomes the reaper of their orphans."""

    def __init__(self) -> None:
        become_subreaper()

    def reap(self, spared: int) -> None:
        """Reap the orphans that have ended; not this child."""
        for pid in _children():
            if pid != spared:
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)

    def end(self, group: int) -> list[FoundProcess]:
        """Kill all descendants; return those that did not belong to the group, which was killed before.

        Args:
            group: of the analyzer, which is reaped.
        """
        left: dict[tuple[int, int], FoundProcess] = {}
        deadline_s, empty_looks = time.monotonic() + _LIMIT_S, 0
        while empty_looks < _EMPTY_LOOKS and time.monotonic() < deadline_s:
            # children first, without a look at all processes: one may fork and exit as fast as it can
            found = [*filter(None, map(_find, _children()))]
            _kill_all(found)
            found += _descendants() if found else []
            _kill_all(found)
            left |= {
                (each.pid, each.start): each for each in found if each.state != "Z" and each.group != group
            }
            self.reap(spared=0)
            empty_looks = 0 if found else empty_looks + 1
            if found:
                time.sleep(_POLL_S)
        return list(left.values())


def _children() -> list[int]:
    """Return the children of this process; an orphan is given to any of its threads."""
    pids: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):
            pids += map(int, (task / "children").read_text().split())
    return pids


def _descendants() -> Iterator[FoundProcess]:
    """Yield all descendants of this process, parents before their children."""
    children: dict[int, list[FoundProcess]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and (found := _find(int(entry.name))):
            children.setdefault(found.parent, []).append(found)
    parents = [os.getpid()]
    while parents:
        for found in children.pop(parents.pop(), ()):
            yield found
            parents.append(found.pid)


def _find(pid: int) -> FoundProcess | None:
    with suppress(OSError, ValueError):
        head, _, rest = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(") ")
        fields = rest.split()
        name = head.partition("(")[2]
        return FoundProcess(pid, name, fields[0], int(fields[1]), int(fields[2]), int(fields[19]))
    return None


def _kill_all(processes: Iterable[FoundProcess]) -> None:
    for process in processes:
        with suppress(OSError):
            descriptor = os.pidfd_open(process.pid)
            try:
                now = _find(process.pid)
                if now is not None and now.start == process.start:
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            finally:
                os.close(descriptor)
