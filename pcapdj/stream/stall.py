"""Whether an analyzer has stopped reading. Rules only: the clock and what the pipe shows come in as values.

The number of unread bytes alone says little: a pipe that is filled as fast as it is read always holds the
same. What was spliced into it moves the positions of the sources. If neither changes while bytes are unread,
then nobody took any.
"""

from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """When patience with an analyzer ends, and when the next one begins.

    Args:
        flush_s: after its input ended.
        stall_s: after it took its last byte, with bytes left in the pipe; 0: never.
        restart_pause_s: after one that died; doubled each time.
    """

    flush_s: float
    stall_s: float = 0.0
    restart_pause_s: float = 1.0


class Stall:
    """For how long an analyzer has taken no byte."""

    def __init__(self) -> None:
        self._shown: tuple[int, Hashable] = (0, None)
        self._since_s = 0.0

    def look(self, unread_bytes: int, sources: Hashable, now_s: float) -> float:
        """Return for how many seconds nothing was taken, as of this look.

        Args:
            unread_bytes: in the pipe.
            sources: changes whenever something enters the pipe.
            now_s: monotonic.
        """
        shown = (unread_bytes, sources)
        if not unread_bytes or shown != self._shown:
            self._shown, self._since_s = shown, now_s
        return now_s - self._since_s
