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
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

from pcapdj.runtime.child_process import result_of
from pcapdj.runtime.errors import PcapdjError, Stopped
from pcapdj.runtime.foreign_files import is_folder
from pcapdj.runtime.log import EventLog
from pcapdj.runtime.numbers import whole_number
from pcapdj.runtime.process_tree import FoundProcess, find_process
from pcapdj.runtime.signals import HasFileno

MARK: Final = "PCAPDJ_ANALYZER_OF"
COMMAND_MARK: Final = "PCAPDJ_BETWEEN_OF"
_LIMIT_S: Final = 1.0  # for all of them to be gone; a process in an uninterruptible call may stay
_POLL_S: Final = 0.005
_LOOK_LIMIT_S: Final = 0.2  # at one process; it takes a tenth of a millisecond
_SEARCH_LIMIT_S: Final = 5.0
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
    return _end(lambda process: _is_of_pipe(process, place) and _has_folder(process, folder))


def mark_of_runner() -> dict[str, str]:
    """Return the variable that a command of --between gets; the caller is the process that runs it."""
    found = find_process(os.getpid())
    return {COMMAND_MARK: f"{found.pid}:{found.start}:{_namespaces()}"} if found else {}


def end_leftover_commands() -> list[FoundProcess]:
    """Kill the processes that have the mark of a killed runner of commands; return them."""
    return _end(_is_of_killed_runner)


def _end(is_leftover: Callable[[Path], bool]) -> list[FoundProcess]:
    """Kill the processes that were left; return them.

    What the kernel shows of a process can be made to wait for it, or for a file system of its user, for ever.
    So a child looks at them, and at each in a thread of its own.
    """
    try:
        return result_of(lambda: _end_here(is_leftover), _Deadline(_SEARCH_LIMIT_S))
    except (Stopped, PcapdjError):
        sentence = "Whether a killed role has left processes running was not found out: one does not answer."
        EventLog("leftovers").warning("search_not_ended", sentence)
        return []


def _end_here(is_leftover: Callable[[Path], bool]) -> list[FoundProcess]:
    left: dict[tuple[int, int], FoundProcess] = {}
    until_s, hanging = time.monotonic() + _LIMIT_S, set[Path]()
    while found := list(_kill_marked(is_leftover, hanging)):  # one may have started another meanwhile
        left |= {(each.pid, each.start): each for each in found}
        if time.monotonic() > until_s:
            break
        time.sleep(_POLL_S)
    return list(left.values())


def _kill_marked(is_leftover: Callable[[Path], bool], hanging: set[Path]) -> Iterator[FoundProcess]:
    """Kill and yield the processes that were left; a look that does not end is added to `hanging`."""
    for process in Path("/proc").glob("[0-9]*"):
        if process in hanging or process.name == str(os.getpid()):
            continue
        killed: list[FoundProcess] = []
        look = threading.Thread(target=_kill_if_left, args=(process, is_leftover, killed), daemon=True)
        look.start()
        look.join(_LOOK_LIMIT_S)
        if look.is_alive():
            hanging.add(process)
        yield from killed


def _kill_if_left(process: Path, is_leftover: Callable[[Path], bool], killed: list[FoundProcess]) -> None:
    with suppress(OSError):
        if not is_leftover(process):
            return
        descriptor = os.pidfd_open(pid := int(process.name))
        try:
            found = find_process(pid)
            # looked at again: behind the descriptor it is the process that is killed
            if found and found.state not in "ZX" and is_leftover(process):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                killed.append(found)
        finally:
            os.close(descriptor)


class _Deadline:
    """Waits that end after a time; signals act as they did before.

    Args:
        limit_s: the time.
    """

    def __init__(self, limit_s: float) -> None:
        self._until_s = time.monotonic() + limit_s

    def wait(
        self,
        timeout_s: float,
        *readable: HasFileno | int,
        stops: int = 1,  # noqa: ARG002 - as in `Waits`
        waiting_for: str = "",  # noqa: ARG002 - as in `Waits`
    ) -> None:
        """Wait as `Waits.wait`.

        Raises:
            Stopped: the time is over.
        """
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            raise Stopped("The time is over.")
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
