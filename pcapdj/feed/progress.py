"""One file's way into the stream: which file it is, how far it came, and what the journal keeps of that."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pcapdj.capture.pcap import Totals, most_of
from pcapdj.runtime.safe_text import to_text

_NAME_LIMIT_BYTES: Final = 255  # the end of a longer path identifies it; three notes must fit into a message


@dataclass(frozen=True, slots=True)
class ResumeNote:
    """Which file is being sent, for the dispatcher that has to go on with it.

    Args:
        token: of the queue entry.
        name: as it stood in the queue.
    """

    token: str
    name: bytes

    def note(self, start_bytes: int, previous: Mapping[str, Any], **of_file: Any) -> dict[str, Any]:
        """Return what is stored with the file's descriptor.

        Args:
            start_bytes: where in the stream its first record is.
            previous: `as_previous` of the file before; empty: there is none.
            of_file: `identity` and `digest` of the file when it was opened; `rewrites`: its packets are
                rewritten to Ethernet where possible, and its pieces depend on that; `earlier_streams`, which
                have its first packets; `begin_bytes`, as in `StartPoint`.
        """
        return {
            "token": self.token,
            "name": to_text(self.name),
            "stream_start": start_bytes,
            "before": dict(previous),
            **of_file,
        }

    def as_previous(self, last_ts_ns: int) -> dict[str, Any]:
        """Return what is stored of this file for the next one: a name for people, its last packet's time."""
        return {"name": to_text(self.name[-_NAME_LIMIT_BYTES:]), "last_ts_ns": last_ts_ns}


@dataclass(slots=True)
class FileProgress:
    """What of a file is in the stream so far; all zero before its first byte.

    Args:
        totals: of its records.
        has_begun: CURRENT has the file with this stream; the analyzer may have seen a byte of it.
        start_bytes, end_bytes: where in the stream they are.
        source_bytes: how far into the file reading is.
        step_ns: from the last packet of the previous file to its first; None: there is no previous file.
        jump: the same in words, where it is reported; else empty.
        left_out: packets that are not in the stream, by link type.
        anomaly: what is unusual about the file, in words; set at its end.
    """

    totals: Totals = field(default_factory=Totals)
    has_begun: bool = False
    start_bytes: int = 0
    end_bytes: int = 0
    source_bytes: int = 0
    step_ns: int | None = None
    jump: str = ""
    left_out: Mapping[int, int] = field(default_factory=dict)
    anomaly: str = ""

    def begin(self, start_bytes: int, step_ns: int | None, jump: str) -> None:
        """Note that the first record follows."""
        self.has_begun = True
        self.start_bytes, self.end_bytes = start_bytes, max(start_bytes, self.end_bytes)
        self.step_ns, self.jump = step_ns, jump

    def add(self, totals: Totals, length_bytes: int, source_bytes: int, left_out: Mapping[int, int]) -> None:
        """Add records that are in the stream; the arguments are as the attributes."""
        self.totals += totals
        self.end_bytes += length_bytes
        self.source_bytes = source_bytes
        self.left_out = left_out

    def end(self, left_out: Mapping[int, int], anomaly: str) -> None:
        """Note what is known at the end of a pass; the arguments are as the attributes."""
        self.left_out, self.anomaly = dict(left_out), anomaly

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
            "jump": self.jump,
            "left_out": self._left_out_json(),
            "wrapped_times": totals.wrapped_times,
            "steps_back": totals.steps_back,
            "largest_step_back_ns": totals.largest_step_back_ns,
            "beyond_snaplen": totals.beyond_snaplen,
            "after_2038": int(totals.has_times_after_2038),
        }

    def _left_out_json(self) -> str:
        """Return link type to number of packets as JSON; empty: all packets are in the stream."""
        shown, rest = most_of(self.left_out)
        counts = {str(linktype): packets for linktype, packets in sorted(shown.items())}
        return json.dumps(counts | ({"other": rest} if rest else {})) if counts else ""
