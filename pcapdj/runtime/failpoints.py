"""Faults on purpose, at named points: how the fault campaign kills a process exactly where it hurts.

PCAPDJ_FAULT=point:nth:action makes a process fail when it comes to that point for the nth time:

    kill    SIGKILL to itself, as the kernel does when memory runs out
    stop    SIGSTOP to itself, until somebody sends SIGCONT
    raise   an exception that nobody expects
    sleep   a second in which nothing happens

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
    "announce.after",  # the file is asked for
    "authorize.after",  # the authorization is consumed
    "put.after",  # the launcher keeps the source, no byte of it is spliced
    "splice.within",  # the kernel has moved bytes, nothing of ours knows it
    "splice.between",  # a whole piece is in the pipe
    "file.end",  # all pieces are, the pipe is not drained
    "drain.after",  # the analyzer has read all, Redis does not know it
    "finish.after",  # Redis knows it, the launcher still keeps the source
    "done",  # the stream is ended, DONE is not said
)
LAUNCHER_POINTS: Final = (
    "launcher.fifo",  # a new pipe stands there, nobody reads it
    "launcher.spawn",  # the analyzer runs
    "launcher.open",  # it has opened the pipe, the dispatcher waits for the answer
    "launcher.put",  # a source has arrived and is not kept yet
    "launcher.end",  # the stream shall end
)
CONTROLLER_POINTS: Final = (
    "grant.before",  # it has decided
    "grant.after",  # the authorization stands in AUTH
)
IMPORTER_POINTS: Final = (
    "enqueue.before",  # it knows what is new
    "enqueue.after",  # that is queued
)
POINTS: Final = DISPATCHER_POINTS + LAUNCHER_POINTS + CONTROLLER_POINTS + IMPORTER_POINTS


class FaultInjected(Exception):  # not one of PcapdjError's: nobody is prepared for it
    """What `raise` raises."""


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _raise() -> None:
    raise FaultInjected


def _sleep() -> None:
    time.sleep(NAP_S)


_ACTIONS: Final[dict[str, Callable[[], None]]] = {
    "kill": _kill,
    "stop": _stop,
    "raise": _raise,
    "sleep": _sleep,
}


def no_fault(point: str) -> None:
    """Do nothing."""


def armed(wish: str) -> Callable[[str], None]:
    """Return what `reach` does under this value of PCAPDJ_FAULT.

    Raises:
        ValueError: it is not understood; a misspelt fault must not look like a passed test.
    """
    if not wish:
        return no_fault
    point, nth, action = (*wish.split(":"), "", "")[:3]
    if point not in POINTS or not nth.isdecimal() or action not in _ACTIONS or wish.count(":") != 2:  # noqa: PLR2004 - point:nth:action
        raise ValueError(f"{VARIABLE}={wish!r} is not POINT:NTH:{'|'.join(_ACTIONS)} with a known point")
    left = int(nth)

    def reach(here: str) -> None:
        nonlocal left
        if here == point:
            left -= 1
            if left == 0:
                _ACTIONS[action]()

    return reach


reach: Callable[[str], None] = armed(os.environ.get(VARIABLE, ""))
