"""When a file that nobody announced as complete counts as complete, and when a batch of arrivals is over.

Rules only; times are seconds of one monotonic clock.

A file that no event told of (network file systems, files that came while nobody watched, hard links) is
complete when its size and modification time stayed the same for `SETTLED_S` under our own eyes. Modification
times are compared with each other only, never with our clock: the file server has a clock of its own. The one
exception is the first look at a folder, where an old file need not wait (`credit_s`).
"""

from dataclasses import dataclass

SETTLED_S = 10.0
# One `mv *.pcap inbox/` is one batch, which is queued in natural order: the names arrive within milliseconds.
QUIET_S = 0.2
# A writer that never pauses must not hold a batch open for ever; 10,000 moves are told of within this time.
BATCH_LIMIT_S = 5.0


@dataclass(frozen=True, slots=True)
class FileState:
    """What changes when a file is written to, or replaced by another one of its name."""

    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Sighting:
    """A file that waits: how it looked, and since when it has looked like that."""

    state: FileState
    since_s: float


def seen(before: Sighting | None, state: FileState, now_s: float, *, credit_s: float = 0.0) -> Sighting:
    """Return the sighting after a look at the file.

    Args:
        before: the sighting so far, if there is one.
        state: how the file looks now.
        now_s: the time now.
        credit_s: how long ago a file seen for the first time changed, as far as that may be believed.
    """
    if before is not None and before.state == state:
        return before
    return Sighting(state, now_s - max(0.0, credit_s if before is None else 0.0))


def is_settled(sighting: Sighting, now_s: float) -> bool:
    """Report whether the file may be taken; an empty one never, it has yet to be written."""
    return sighting.state.size_bytes > 0 and now_s - sighting.since_s >= SETTLED_S


@dataclass(frozen=True, slots=True)
class Batch:
    """Arrivals that belong together: when the first and the latest of them came."""

    first_s: float
    latest_s: float

    @property
    def ends_s(self) -> float:
        """The time at which the batch is over, unless more arrives before."""
        return min(self.latest_s + QUIET_S, self.first_s + BATCH_LIMIT_S)


def joined(batch: Batch | None, now_s: float) -> Batch:
    """Return the batch after one more arrival."""
    return Batch(now_s if batch is None else batch.first_s, now_s)
