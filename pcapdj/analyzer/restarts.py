"""When the next analyzer may be started, and what went wrong before. A rule: the time comes in as a number.

After a failure 1 s (or what was asked for), then 2, 4 .. 60 times that, at most 60 s. A stream that ended as
it should, or one that was read for a minute, begins the count anew.
"""

from pcapdj.runtime.backoff import backoff_s

_FIRST_S = 1.0
_LIMIT_S = 60.0
_GOOD_LIFE_S = 60.0  # an analyzer that read for so long did not die of its start


class RestartPolicy:
    """The failures in a row.

    Args:
        first_s: the pause after the first one.

    Attributes:
        reason: of the last failure, as a sentence; empty once an analyzer reads again.
        restarts: how many analyzers have gone while they were starting or fed.
        is_missing: the last failure was that there was nothing to start.
    """

    def __init__(self, first_s: float = _FIRST_S) -> None:
        self._first_s = first_s
        self.reason = ""
        self.restarts = 0
        self.is_missing = False
        self._failures = 0
        self._not_before_s = 0.0
        self._look_at_s = 0.0

    def wait_s(self, now_s: float) -> float:
        """Return how long the next start has to wait; 0 if it need not."""
        return max(0.0, self._not_before_s - now_s)

    def opened(self) -> None:
        """Take note that an analyzer opened the pipe: nothing is wrong now."""
        self.reason, self.is_missing = "", False

    def ended(self) -> None:
        """Take note that a stream ended as it should."""
        self.reason, self._failures = "", 0

    def failed(self, reason: str, now_s: float, *, lived_s: float) -> float:
        """Take note that an analyzer went; return the pause before the next, in seconds.

        Args:
            reason: a sentence.
            now_s: monotonic.
            lived_s: for how long it had the pipe open.
        """
        self.restarts += 1
        if lived_s >= _GOOD_LIFE_S:
            self._failures = 0
        self.reason, self.is_missing = reason, False
        return self._pause(now_s)

    def could_not_start(self, reason: str, now_s: float, *, is_wanted: bool) -> None:
        """Take note that there was nothing to start.

        Args:
            reason: a sentence.
            now_s: monotonic.
            is_wanted: somebody waits for a stream, so that the next look comes with the next start; else a
                look a minute is enough.
        """
        self.reason, self.is_missing = reason, True
        self._look_at_s = now_s + _LIMIT_S
        if is_wanted:
            self._pause(now_s)

    def is_look_due(self, now_s: float) -> bool:
        """Report whether to see if what was missing is there now."""
        return self.is_missing and now_s >= self._look_at_s

    def found(self) -> None:
        """Take note that what was missing is there now."""
        if self.is_missing:
            self.reason, self.is_missing, self._failures, self._not_before_s = "", False, 0, 0.0

    def _pause(self, now_s: float) -> float:
        self._failures += 1
        limit_s = min(_LIMIT_S, _LIMIT_S * self._first_s)
        pause_s = backoff_s(self._failures, first_s=self._first_s, limit_s=limit_s)
        self._not_before_s = now_s + pause_s
        return pause_s
