"""The passage of one file into the stream: which file, what of it is there, what the journal says of it."""

from dataclasses import dataclass, field
from typing import Any, Final

from pcapdj.capture.pcap import Totals
from pcapdj.capture.timestamps import TimestampJump
from pcapdj.feed.batches import Note
from pcapdj.feed.statistics import Statistics
from pcapdj.runtime.safe_text import to_text

# The end of a longer path is enough to know it by, and three notes have to fit into one message.
_NAME_KEPT_BYTES: Final = 255


@dataclass(frozen=True, slots=True)
class ResumeNote:
    """Which file goes through the pipe, as a successor has to know it.

    Args:
        token: of the taking.
        name: as it stood in the queue.
    """

    token: str
    name: bytes

    def note(self, start_bytes: int, before: Note, *, rewrites: bool) -> dict[str, Any]:
        """Return what is kept with the file's descriptor.

        Args:
            start_bytes: where in the stream its first record is.
            before: what `as_before` said of the file before; empty: there is none.
            rewrites: its packets are rewritten to Ethernet where they can be; its pieces depend on that.
        """
        return {
            "token": self.token,
            "name": to_text(self.name),
            "stream_start": start_bytes,
            "rewrites": rewrites,
            "before": dict(before),
        }

    def as_before(self, last_ts_ns: int) -> dict[str, Any]:
        """Return what the next file has to know of this one: a name for people, its last packet's time."""
        return {"name": to_text(self.name[-_NAME_KEPT_BYTES:]), "last_ts_ns": last_ts_ns}


@dataclass(slots=True)
class FileProgress:
    """What of a file is in the stream so far.

    Args:
        totals: of its records.
        start_bytes, end_bytes: where in the stream they are.
        source_bytes: how far into the file reading is.
        has_begun: the analyzer may have seen a byte of it.
        step_ns: from the last packet of the file before to its first; None: there is none before.
        jump: the same, where it has to be reported.
    """

    totals: Totals = field(default_factory=Totals)
    has_begun: bool = False
    start_bytes: int = 0
    end_bytes: int = 0
    source_bytes: int = 0
    step_ns: int | None = None
    jump: TimestampJump | None = None

    def journal(self) -> dict[str, int | str]:
        """Return the numbers that the journal keeps of a pass."""
        totals = self.totals
        return {
            "packets": totals.packets,
            "cap_lengths": totals.cap_lengths_bytes,
            "lengths": totals.lengths_bytes,
            "first_ts_ns": "" if totals.first_ts_ns is None else totals.first_ts_ns,
            "last_ts_ns": "" if totals.last_ts_ns is None else totals.last_ts_ns,
            "stream_start": self.start_bytes,
            "stream_end": self.end_bytes,
            "step_ns": "" if self.step_ns is None else self.step_ns,
            "jump": self.jump.description if self.jump else "",
        }

    def counted_in(self, statistics: Statistics) -> Statistics:
        """Return the statistics with this file's records so far."""
        totals = self.totals
        counted = statistics.counted(totals.packets, totals.cap_lengths_bytes, totals.lengths_bytes)
        counted.done_bytes = self.source_bytes
        counted.stream_bytes = self.end_bytes or statistics.stream_bytes
        if self.jump:
            counted.jumps += 1
            counted.last_jump, counted.last_jump_name = self.jump.description, statistics.name
        return counted
