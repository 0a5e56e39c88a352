"""Interrupts and peers of a pipe that a test decides on."""

from collections.abc import Callable
from typing import Final

from pcapdj.feed.statistics import Statistics
from pcapdj.runtime.signals import HasFileno


class ScriptedInterrupts:
    """Interrupts that do what a test wants at each check, and notice no signal.

    Args:
        on_check: called by each `check`; may raise `Stopped`, or take its time as a suspension.
        descriptors: what else wakes a pipe that waits.
    """

    def __init__(self, on_check: Callable[[], None] = lambda: None, *descriptors: HasFileno) -> None:
        self._on_check = on_check
        self.descriptors: Final[tuple[HasFileno, ...]] = descriptors

    def check(self) -> bool:
        """Do what the test wants; nothing is suspended afterwards."""
        self._on_check()
        return False


class LivingPeer:
    """An analyzer that is always there."""

    def is_alive(self) -> bool:
        """Report that it is."""
        return True

    def has(self, stream: str) -> bool:  # noqa: ARG002 - any
        """Report that it is there."""
        return True


def new_statistics() -> Statistics:
    """Return the statistics of a dispatcher that has done nothing."""
    return Statistics(started_s=0, pid=1, pipe="/run/pipe")


class NoWaits:
    """Waits that take no time and notice no signal.

    Attributes:
        shown: what was waited for.
    """

    def __init__(self) -> None:
        self.shown: list[str] = []

    def wait(
        self,
        timeout_s: float,  # noqa: ARG002 - as in `Waits`
        *readable: HasFileno | int,  # noqa: ARG002
        stops: int = 1,  # noqa: ARG002
        waiting_for: str = "",
    ) -> None:
        """Return at once."""
        self.shown.append(waiting_for)
