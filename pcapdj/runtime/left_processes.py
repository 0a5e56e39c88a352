"""Ends what the analyzer of a killed launcher has left running, by a mark in its environment.

A launcher that is killed (SIGKILL) takes its analyzer with it, but no process that has left the analyzer's
process group. Such a process still has the environment that the analyzer was started with, and in it the
path of the launcher's pipe. Only one launcher at a time has that pipe (`lock`): whoever has the mark when the
next one starts was left by the one before.

A container of the same machine may have another service at the same path, and its processes are seen from
outside. So the folder of the pipe has to be the same one for a process that has the mark, by its own root.

This finds every process that does not hide. One that an attacker controls can start another program with an
empty environment; against him only a sandbox or a user of its own helps (SECURITY.md).

Source: proc_pid_environ(5), proc_pid_root(5), pidfd_open(2).
"""

import os
import signal
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from pcapdj.runtime.process_tree import FoundProcess, find_process

MARK: Final = "PCAPDJ_ANALYZER_OF"
_LIMIT_S: Final = 1.0  # for all of them to be gone; a process in an uninterruptible call may stay
_POLL_S: Final = 0.005


def mark_of(pipe: Path) -> dict[str, str]:
    """Return the variable that an analyzer gets, which reads this pipe."""
    return {MARK: str(pipe)}


def end_left_processes(place: Path) -> list[FoundProcess]:
    """Kill the processes that have the mark of a pipe; return them.

    Args:
        place: the pipe's path, or a folder: then all pipes below it count. No launcher uses one of them.
    """
    left: dict[tuple[int, int], FoundProcess] = {}
    folder = place.resolve() if place.is_dir() else place.parent.resolve()
    until_s = time.monotonic() + _LIMIT_S
    while found := list(_kill_marked(place, folder)):  # one may have started another meanwhile
        left |= {(each.pid, each.start): each for each in found}
        if time.monotonic() > until_s:
            break
        time.sleep(_POLL_S)
    return list(left.values())


def _kill_marked(place: Path, folder: Path) -> Iterator[FoundProcess]:
    for process in Path("/proc").glob("[0-9]*"):
        pid = int(process.name)
        with suppress(OSError):
            if pid == os.getpid() or not (_is_marked(process, place) and _has_folder(process, folder)):
                continue
            descriptor = os.pidfd_open(pid)
            try:
                found = find_process(pid)
                # looked at again: behind the descriptor it is the process that is killed
                if found and found.state not in "ZX" and _is_marked(process, place):
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                    yield found
            finally:
                os.close(descriptor)


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


def _is_marked(process: Path, place: Path) -> bool:
    """Report whether a process has the mark; one of another user has none that this one could read."""
    prefix, wanted = MARK.encode() + b"=", os.fsencode(place)
    values = (
        each.removeprefix(prefix)
        for each in (process / "environ").read_bytes().split(b"\0")
        if each.startswith(prefix)
    )
    return any(value == wanted or value.startswith(wanted + b"/") for value in values)
