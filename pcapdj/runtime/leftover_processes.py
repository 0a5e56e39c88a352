"""Ends processes that programs of a killed role left running; a mark in their environment finds them.

When a launcher is killed (SIGKILL), its analyzer dies with it, but not a process that left the analyzer's
process group. Such a process still has the analyzer's environment, with the path of the launcher's pipe. Only
one launcher at a time has that pipe (`lock`). So when the next one starts, a process with the mark belongs to
the launcher before.

A container of the same machine may have another service at the same path, and its processes are visible from
outside. So the pipe's folder, as the process with the mark sees it from its own root, has to be the same
folder.

The same is done for the command of --between, if the process that runs it is killed. Controllers have no
lock, and several may run such commands. So here the mark is the running process itself: when that is gone, a
process with its mark was left behind. The mark of a process in a container counts only in that container.

This finds every process that does not hide. A process that an attacker controls can start another program
with an empty environment; only a sandbox or a separate user protects against that (SECURITY.md).

Source: proc_pid_environ(5), proc_pid_root(5), pidfd_open(2).
"""

import os
import re
import select
import signal
import stat
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

from pcapdj.runtime.child_process import result_of
from pcapdj.runtime.command import ended_in_order
from pcapdj.runtime.errors import PcapdjError, Stopped
from pcapdj.runtime.foreign_files import is_folder
from pcapdj.runtime.log import EventLog
from pcapdj.runtime.numbers import whole_number
from pcapdj.runtime.process_tree import FoundProcess, ancestors_of, find_process
from pcapdj.runtime.signals import HasFileno, Waits

MARK: Final = "PCAPDJ_ANALYZER_OF"
COMMAND_MARK: Final = "PCAPDJ_BETWEEN_OF"
_LIMIT_S: Final = 1.0  # for all of them to be gone; a process in an uninterruptible call may stay
_POLL_S: Final = 0.005
_LOOK_LIMIT_S: Final = 0.2  # at one process; it takes a tenth of a millisecond
_SEARCH_LIMIT_S: Final = 5.0
_REPLY_S: Final = 1.0  # of the child, where the machine is busy
_LARGEST_PID: Final = 1 << 22
_PARTS: Final = 3  # of the mark of a command
_MOST_BYTES: Final = 6 << 20  # that arguments and environment of a new program have together (execve(2))
_MOST_MARKS: Final = 16  # of a process; a program that was not made for it has one


def mark_of(pipe: Path) -> dict[str, str]:
    """Return the variable that an analyzer gets, which reads this pipe."""
    return {MARK: str(pipe)}


def end_leftover_processes(place: Path) -> list[FoundProcess]:
    """Kill the processes that have the mark of a pipe; return them.

    Args:
        place: the pipe's path, or a folder: then all pipes below it count. No launcher uses one of them.
    """
    folder = Path(os.path.realpath(place if is_folder(place) else place.parent))
    return _end(lambda process: _is_of_pipe(process, place) and _has_folder(process, folder), None)


def mark_of_runner() -> dict[str, str]:
    """Return the variable that a command of --between gets; the caller is the process that runs it."""
    found = find_process(os.getpid())
    return {COMMAND_MARK: f"{found.pid}:{found.start}:{_namespaces()}"} if found else {}


def end_leftover_commands(waits: Waits | None = None) -> list[FoundProcess]:
    """Kill the processes that have the mark of a killed runner of commands; return them.

    Args:
        waits: shows stop signals; None: where they still end this process as any program.

    Raises:
        Stopped: a stop signal arrived.
    """
    return _end(_is_of_killed_runner, waits)


def _end(is_leftover: Callable[[Path], bool], waits: Waits | None) -> list[FoundProcess]:
    """Kill the processes that were left; return them.

    What the kernel shows of a process can be made to wait for it, or for a file system of its user, for ever.
    So a child looks at them, and goes on in another thread where a look does not end.
    """
    killed, is_whole = list[FoundProcess](), False
    try:
        killed, is_whole = result_of(lambda: _end_here(is_leftover), _Deadline(waits))
    except PcapdjError as exc:  # also Stopped; it is the cause where the child hangs
        stopped = exc if isinstance(exc, Stopped) else exc.__cause__
        if isinstance(stopped, Stopped) and not isinstance(stopped, _TimeIsOver):
            raise stopped from None
    if not is_whole:
        sentence = "Some processes were not looked at in time: one that a killed role has left may run on."
        EventLog("leftovers").warning("search_not_ended", sentence)
    return killed


def _end_here(is_leftover: Callable[[Path], bool]) -> tuple[list[FoundProcess], bool]:
    """Do it; return also whether each process was looked at."""
    left: dict[tuple[int, int], FoundProcess] = {}
    spared = {os.getpid(), *ancestors_of(os.getpid())}  # a role that an analyzer's script starts has its mark
    began_s, is_whole = time.monotonic(), True
    while is_whole:
        killed: list[FoundProcess] = []
        waiting = deque(each for each in Path("/proc").glob("[0-9]*") if int(each.name) not in spared)
        is_whole = _look_at_all(waiting, is_leftover, killed, began_s + _SEARCH_LIMIT_S)
        left |= {(each.pid, each.start): each for each in killed}
        if not killed or time.monotonic() > began_s + _LIMIT_S:
            break
        time.sleep(_POLL_S)  # one may have started another meanwhile
    return list(left.values()), is_whole


def _look_at_all(
    waiting: deque[Path], is_leftover: Callable[[Path], bool], killed: list[FoundProcess], until_s: float
) -> bool:
    """Look at each process, in another thread where one does not answer; report whether all have answered."""
    answer = True
    while waiting and time.monotonic() < until_s:
        look = threading.Thread(target=_look_at_each, args=(waiting, is_leftover, killed), daemon=True)
        look.start()
        before = len(waiting) + 1
        while look.is_alive() and len(waiting) < before:
            before = len(waiting)
            look.join(_LOOK_LIMIT_S)
        answer &= not look.is_alive()
    return answer and not waiting


def _look_at_each(
    waiting: deque[Path], is_leftover: Callable[[Path], bool], killed: list[FoundProcess]
) -> None:
    with suppress(IndexError):
        while True:
            _kill_if_left(waiting.popleft(), is_leftover, killed)


def _kill_if_left(process: Path, is_leftover: Callable[[Path], bool], killed: list[FoundProcess]) -> None:
    with suppress(OSError):
        pid = int(process.name)
        if not is_leftover(process):
            return
        descriptor = os.pidfd_open(pid)
        try:
            found = find_process(pid)
            # looked at again: behind the descriptor it is the process that is killed
            if found and found.state not in "ZX" and is_leftover(process):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                killed.append(found)
        finally:
            os.close(descriptor)


class _TimeIsOver(Stopped):
    """The search has lasted too long."""


class _Deadline:
    """Waits that end after a time.

    Args:
        waits: shows stop signals; None: where they still end this process as any program.
    """

    def __init__(self, waits: Waits | None) -> None:
        self._until_s = time.monotonic() + _SEARCH_LIMIT_S + _REPLY_S
        self._waits = waits

    def wait(
        self,
        timeout_s: float,
        *readable: HasFileno | int,
        stops: int = 1,
        waiting_for: str = "",
    ) -> None:
        """Wait as `Waits.wait`.

        Raises:
            Stopped: as there, or the time is over.
        """
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            raise _TimeIsOver("The time is over.")
        if self._waits:
            self._waits.wait(min(timeout_s, left_s), *readable, stops=stops, waiting_for=waiting_for)
        else:
            with ended_in_order():
                select.select(readable, [], [], min(timeout_s, left_s))


def _has_folder(process: Path, folder: Path) -> bool:
    """Report whether a folder is the same one for a process, whose root may be another.

    A link on the way would lead out of that root, into ours.
    """
    there = process / "root"
    for part in folder.parts[1:]:
        there /= part
        if stat.S_ISLNK(there.lstat().st_mode):
            return False
    return os.path.samestat(there.stat(), folder.stat())


def _marks(process: Path, name: str) -> list[bytes]:
    """Return the values of a variable of a process; one of another user has none that this one could read.

    Any process can have the kernel show any part of its memory here, terabytes of it (prctl(2), PR_SET_MM).
    """
    with (process / "environ").open("rb") as file:
        environment = file.read(_MOST_BYTES)
    found = re.finditer(rb"(?<![^\0])%b=([^\0]*)" % name.encode(), environment)
    return [each[1] for each in islice(found, _MOST_MARKS)]


def _is_of_pipe(process: Path, place: Path) -> bool:
    wanted = os.fsencode(place)
    return any(value == wanted or value.startswith(wanted + b"/") for value in _marks(process, MARK))


def _is_of_killed_runner(process: Path) -> bool:
    marks = _marks(process, COMMAND_MARK)
    return bool(marks) and all(map(_is_of_gone_process, marks))


def _is_of_gone_process(mark: bytes) -> bool:
    """Report whether a mark is that of a process that has ended; unknown counts as no."""
    parts = mark.split(b":", _PARTS - 1)
    numbers = [whole_number(each) for each in parts[:2]]
    if len(parts) != _PARTS or None in numbers or parts[2] != _namespaces().encode():
        return False
    pid, start = numbers
    if not pid or pid > _LARGEST_PID:
        return False
    if found := find_process(pid):
        return found.start != start or found.state in "ZX"
    try:
        os.kill(pid, 0)  # /proc may hide it
    except OSError as exc:
        return isinstance(exc, ProcessLookupError)
    return False


def _namespaces() -> str:
    """Return in which namespaces the number and the start of a process are those of this process."""
    found = []
    for name in ("pid", "time"):
        with suppress(OSError):
            found.append(str(Path(f"/proc/self/ns/{name}").readlink()))
    return " ".join(found)
