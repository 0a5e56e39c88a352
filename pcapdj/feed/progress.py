"""One file's way into the stream: which file it is, how far it came, and what the journal keeps of that."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pcapdj.capture.pcap import StreamFormat, Totals, most_of
from pcapdj.runtime.safe_text import to_text
from pcapdj.runtime.units import utc_text_ns

_NAME_LIMIT_BYTES: Final = 255  # the end of a longer path identifies it; three notes must fit into a message


@dataclass(frozen=True, slots=True)
class ResumeNote:
    """Which file is being sent, for the dispatcher that has to continue it.

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
                have its first packets; `earlier_parts`, `begin_bytes`: as `parts` and `begin_bytes` of
                `StartPoint`; `earlier_packets`: how many packets earlier streams have.
        """
        return {
            "token": self.token,
            "name": to_text(self.name),
            "stream_start": start_bytes,
            "before": dict(previous),
            **of_file,
        }

    def as_previous(self, last_ts_ns: int, packets: int) -> dict[str, Any]:
        """Return what is stored of this file for the next one.

        Args:
            last_ts_ns: time of its last packet.
            packets: of the stream up to its end.
        """
        name = to_text(self.name[-_NAME_LIMIT_BYTES:])  # for people
        return {"name": name, "last_ts_ns": last_ts_ns, "packets": packets}


def packets_before(previous: Mapping[str, Any]) -> int:
    """Return how many packets a stream has before a file; `previous` as stored with it."""
    return int(previous.get("packets", 0))


@dataclass(slots=True)
class FileProgress:
    """What of a file is in the stream so far; all zero before its first byte.

    Args:
        totals: of its records.
        has_begun: CURRENT has the file with this stream; the analyzer may have seen a byte of it.
        start_bytes, end_bytes: where in the stream they are.
        first_packet: the number of its first packet in this stream, from 1; 0: it has none there.
        earlier_packets: those of `totals` that are in earlier streams.
        earlier_parts: as `StartPoint.parts`.
        source_bytes: how far into the file reading is.
        step_ns: from the last packet of the previous file to its first; None: there is no previous file.
        jump: the same in words, where it is reported; else empty.
        left_out: packets that are not in the stream, by link type.
        stream_format: that of this stream; None: it has not begun.
        anomaly: what is unusual about the file, in words; set at its end.
        fed_s: how long the pass took, in seconds; set at its end.
    """

    totals: Totals = field(default_factory=Totals)
    has_begun: bool = False
    start_bytes: int = 0
    end_bytes: int = 0
    first_packet: int = 0
    earlier_packets: int = 0
    earlier_parts: Sequence[tuple[int, int]] = ()
    source_bytes: int = 0
    step_ns: int | None = None
    jump: str = ""
    left_out: Mapping[int, int] = field(default_factory=dict)
    stream_format: StreamFormat | None = None
    anomaly: str = ""
    fed_s: float = 0.0

    @property
    def stream_packets(self) -> int:
        """How many packets the stream has up to the last one of this file."""
        return self.first_packet - 1 + self.totals.packets - self.earlier_packets

    def begin(
        self,
        start_bytes: int,
        first_packet: int,
        stream_format: StreamFormat,
        step_ns: int | None,
        jump: str,
    ) -> None:
        """Note that the first record follows; the arguments are as the attributes."""
        self.has_begun = True
        self.first_packet, self.stream_format = first_packet, stream_format
        self.start_bytes, self.end_bytes = start_bytes, max(start_bytes, self.end_bytes)
        self.step_ns, self.jump = step_ns, jump

    def add(self, totals: Totals, length_bytes: int, source_bytes: int, left_out: Mapping[int, int]) -> None:
        """Add records that are in the stream; the arguments are as the attributes."""
        self.totals += totals
        self.end_bytes += length_bytes
        self.source_bytes = source_bytes
        self.left_out = left_out

    def end(self, left_out: Mapping[int, int], anomaly: str, fed_s: float) -> None:
        """Note what is known at the end of a pass; the arguments are as the attributes."""
        self.left_out, self.anomaly, self.fed_s = dict(left_out), anomaly, fed_s

    def log_fields(self, stream: str) -> dict[str, Any]:
        """Return what the log gets of a finished file: how much of it is in the stream, and its times."""
        totals = self.totals
        if totals.first_ts_ns is None or totals.last_ts_ns is None:
            return {"packets": totals.packets}
        return {
            "packets": totals.packets,
            "bytes": totals.cap_lengths_bytes,
            "seconds": round(self.fed_s, 3),
            "stream": stream,
            "first": utc_text_ns(totals.first_ts_ns),
            "last": utc_text_ns(totals.last_ts_ns),
        }

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
            "first_packet": self.first_packet or "",
            "linktype": self.stream_format.linktype if self.stream_format else "",
            "rewrites": int(bool(self.stream_format and self.stream_format.rewrites)),
            "fed_s": f"{self.fed_s:.3f}",
            "earlier_parts": json.dumps(self.earlier_parts) if self.earlier_parts else "",
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
