"""When a file without an event counts as complete, and when a batch of arrivals ends. Rules only.

Times are seconds of one monotonic clock.

Some files arrive without an event that they are complete: on network file systems, while the importer
did not run, as hard links. Such a file is complete when its size and modification time have stayed the same
for `SETTLED_S`. Modification times are compared with each other only, never with this machine's clock: a file
server has its own. The one exception is the first look at a folder, where an old file need not wait
(`age_s`).
"""

from dataclasses import dataclass

SETTLED_S = 10.0
# One `mv *.pcap inbox/` is one batch, which is sorted as a whole: its names arrive within milliseconds.
QUIET_S = 0.2
# A writer that never pauses must not keep a batch open for ever; 10,000 moves are reported within this time.
BATCH_LIMIT_S = 5.0


@dataclass(frozen=True, slots=True)
class FileState:
    """What changes when a file is written to, or replaced by another one of its name."""

    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class WaitingFile:
    """A file that is not complete yet.

    Args:
        state: as it was at the last look.
        since_s: since when it has been in that state.
        is_written: it changed between two looks, or a process has it open for writing.
    """

    state: FileState
    since_s: float
    is_written: bool = False


def updated(before: WaitingFile | None, state: FileState, now_s: float, *, age_s: float = 0.0) -> WaitingFile:
    """Return the waiting file after another look at it.

    Args:
        before: as it was after the last look; None at the first one.
        state: its state now.
        now_s: the time now.
        age_s: at the first look, how long ago it changed, where its modification time can be trusted.
    """
    if before is not None and before.state == state:
        return before
    is_written = before is not None
    return WaitingFile(state, now_s - (0.0 if is_written else max(0.0, age_s)), is_written=is_written)


def is_settled(waiting: WaitingFile, now_s: float) -> bool:
    """Report whether the file is complete; an empty one never is, its content has yet to be written."""
    return waiting.state.size_bytes > 0 and now_s - waiting.since_s >= SETTLED_S


@dataclass(frozen=True, slots=True)
class ArrivalBatch:
    """Files that arrive together: when the first and the latest of them arrived."""

    first_s: float
    latest_s: float

    @property
    def ends_s(self) -> float:
        """The time at which the batch ends unless another file arrives before."""
        return min(self.latest_s + QUIET_S, self.first_s + BATCH_LIMIT_S)


def extend_batch(batch: ArrivalBatch | None, now_s: float) -> ArrivalBatch:
    """Return the batch after one more arrival."""
    return ArrivalBatch(now_s if batch is None else batch.first_s, now_s)
