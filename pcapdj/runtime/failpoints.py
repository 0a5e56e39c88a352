"""Faults on purpose, at named points: with them the tests kill a process at an exact place.

PCAPDJ_FAULT=point:nth:action makes a process fail when it reaches that point for the nth time:

    kill    SIGKILL to itself, as the kernel does when memory runs out
    stop    SIGSTOP to itself, until another process sends SIGCONT
    raise   an exception that no code expects
    sleep   a second

Unset, as always but in tests, `reach` is a function that does nothing: 40 ns a call, and there is no call per
packet, only one per splice(2). The places are called through the module (`failpoints.reach(..)`), so that a
forked process can be armed after it was imported.
"""

import os
import signal
import time
from collections.abc import Callable
from typing import Final

VARIABLE: Final = "PCAPDJ_FAULT"
NAP_S: Final = 1.0

DISPATCHER_POINTS: Final = (
    "take.before",  # nothing taken yet
    "take.after",  # the name stands in CURRENT only
    "announce.after",  # the file is requested
    "authorize.after",  # the authorization is consumed
    "put.after",  # the launcher has a descriptor, no byte of it is spliced
    "batch.write",  # a batch has its records
    "batch.note",  # the note names it, no byte of it is spliced
    "splice.within",  # the kernel has moved bytes, no code of ours has run since
    "splice.between",  # a whole piece is in the pipe
    "file.end",  # all pieces are, the pipe is not drained
    "drain.after",  # the analyzer has read all, Redis does not have the result
    "finish.after",  # Redis has the result, the launcher still has the file
    "done",  # the stream is ended, DONE is not published
)
LAUNCHER_POINTS: Final = (
    "launcher.fifo",  # a new pipe is at the path, no process reads it
    "launcher.spawn",  # the analyzer runs
    "launcher.open",  # it has opened the pipe, the dispatcher waits for the answer
    "launcher.put",  # a descriptor has arrived and is not stored yet
    "launcher.end",  # the stream shall end
)
STOP_POINTS: Final = (  # of a launcher that is stopped in the middle of a file, in this order
    "launcher.disconnect",  # the dispatcher is being disconnected
    "launcher.rest",  # all of the noted batch is in the pipe
    "launcher.reader",  # the launcher has a read end of the pipe
    "launcher.close",  # its write end is closed, the analyzer reads the rest
    "launcher.exit",  # the analyzer has exited, no file says so
    "launcher.record",  # the file is written, under another name
    "launcher.recorded",  # it has its name
)
CONTINUE_POINTS: Final = (  # of the dispatcher that comes after it
    "continue.before",  # it has read the file, CURRENT is as it was
    "continue.after",  # CURRENT has the place
)
CONTROLLER_POINTS: Final = (
    "grant.before",  # it has decided
    "grant.after",  # the authorization stands in AUTH
)
IMPORTER_POINTS: Final = (
    "enqueue.before",  # new files are chosen
    "enqueue.after",  # they are queued
)
RECLAIM_POINTS: Final = (  # of the process that removes, moves or compresses a capture, in this order
    "reclaim.copied",  # its copy is on the disk, under a hidden name
    "reclaim.begun",  # Redis has what is about to be done
    "reclaim.claimed",  # the name is claimed in all lanes
    "reclaim.named",  # the copy has its name
    "reclaim.hidden",  # the capture has a hidden name
    "reclaim.confirmed",  # the claims still stand, the capture is about to be unlinked
    "reclaim.unlinked",  # it is gone, Redis does not have that
    "reclaim.released",  # the claims are released
    "reclaim.ended",  # Redis has what became of it
)
POINTS: Final = (
    DISPATCHER_POINTS
    + LAUNCHER_POINTS
    + STOP_POINTS
    + CONTINUE_POINTS
    + CONTROLLER_POINTS
    + IMPORTER_POINTS
    + RECLAIM_POINTS
)


class FaultInjected(Exception):  # not a PcapdjError: no code handles it
    """What `raise` raises."""


def _raise() -> None:
    raise FaultInjected


_ACTIONS: Final[dict[str, Callable[[], None]]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "raise": _raise,
    "sleep": lambda: time.sleep(NAP_S),
}


def no_fault(point: str) -> None:
    """Do nothing."""


def armed(value: str) -> Callable[[str], None]:
    """Return the `reach` for this value of PCAPDJ_FAULT.

    Raises:
        ValueError: the value is invalid; a misspelt fault must not look like a passed test.
    """
    if not value:
        return no_fault
    point, nth, action = (*value.split(":"), "", "")[:3]
    if point not in POINTS or not nth.isdecimal() or action not in _ACTIONS or value.count(":") != 2:  # noqa: PLR2004 - point:nth:action
        raise ValueError(f"{VARIABLE}={value!r} is not POINT:NTH:{'|'.join(_ACTIONS)} with a known point")
    left = int(nth)

    def reach(here: str) -> None:
        nonlocal left
        if here == point:
            left -= 1
            if left == 0:
                _ACTIONS[action]()

    return reach


reach: Callable[[str], None] = armed(os.environ.get(VARIABLE, ""))
