"""When the next analyzer may be started, and what went wrong before. A rule: the time comes in as a number.

The pause after a failure is 1 s (or the option's value), then 2, 4 .. 60 times that, at most 60 s. The count
of failures starts again after a stream that ended in order, and after one that was read for a minute. Where
pipe or log folder cannot be made because of storage that may be back at any moment, the pause is short.
"""

from pcapdj.runtime.backoff import backoff_s

_FIRST_S = 1.0
_LIMIT_S = 60.0
_STORAGE_S = 0.25  # a try costs less than a millisecond
_LONG_READ_S = 60.0  # an analyzer that read for this long did not die of its start


class RestartPolicy:
    """The failures in a row.

    Args:
        first_s: the pause after the first one.

    Attributes:
        reason: of the last failure, as a sentence; empty once an analyzer reads again.
        restarts: how many analyzers have exited while they were starting or fed.
        is_unavailable: the last failure was that the analyzer could not be started at all.
    """

    def __init__(self, first_s: float = _FIRST_S) -> None:
        self._first_s = first_s
        self.reason = ""
        self.restarts = 0
        self.is_unavailable = False
        self._failures = 0
        self._not_before_s = 0.0
        self._check_at_s = 0.0

    def wait_s(self, now_s: float) -> float:
        """Return how long the next start has to wait; 0 if it may come now."""
        return max(0.0, self._not_before_s - now_s)

    def record_opened(self) -> None:
        """Record that an analyzer opened the pipe: nothing is wrong now."""
        self.reason, self.is_unavailable = "", False

    def record_end(self) -> None:
        """Record that a stream ended in order."""
        self.reason, self._failures = "", 0

    def record_failure(self, reason: str, now_s: float, *, reading_s: float) -> float:
        """Record that an analyzer crashed or did not start; return the pause before the next, in seconds.

        Args:
            reason: a sentence.
            now_s: monotonic.
            reading_s: for how long it had the pipe open.
        """
        self.restarts += 1
        if reading_s >= _LONG_READ_S:
            self._failures = 0
        self.reason, self.is_unavailable = reason, False
        return self._pause(now_s)

    def record_unavailable(
        self, reason: str, now_s: float, *, is_wanted: bool, passes_by_itself: bool = False
    ) -> None:
        """Record that the analyzer cannot be started.

        Args:
            reason: a sentence.
            now_s: monotonic.
            is_wanted: a dispatcher waits for a stream, and the next start is tried after the pause; else the
                program is checked once a minute.
            passes_by_itself: a disk is full, read-only or not mounted yet.
        """
        self.reason, self.is_unavailable = reason, True
        self._check_at_s = now_s + _LIMIT_S
        if passes_by_itself:
            self._not_before_s = now_s + _STORAGE_S
        elif is_wanted:
            self._pause(now_s)

    def is_check_due(self, now_s: float) -> bool:
        """Report whether to check again if the analyzer is available."""
        return self.is_unavailable and now_s >= self._check_at_s

    def record_available(self) -> None:
        """Record that the analyzer's program can be started."""
        if self.is_unavailable:
            self.reason, self.is_unavailable, self._failures, self._not_before_s = "", False, 0, 0.0

    def _pause(self, now_s: float) -> float:
        self._failures += 1
        limit_s = min(_LIMIT_S, _LIMIT_S * self._first_s)
        pause_s = backoff_s(self._failures, first_s=self._first_s, limit_s=limit_s)
        self._not_before_s = now_s + pause_s
        return pause_s
