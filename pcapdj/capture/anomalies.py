"""Anomalies of a capture file: packets that the stream lacks, or that are unusual. Pure.

Anomalies are not damage: the file is read to its end, and its packets are delivered. Each has an event of the
log:

    packets_skipped     packets of a link type that the stream does not accept, or that cannot be rewritten
    times_wrapped       a record of a pcap has 32 bits of seconds: times before 1970 and after 2106 wrap
    times_step_back     a packet is earlier than the packet before it: the clock was set, or files were merged
    times_after_2038    libpcap reads these seconds of a little-endian stream as negative
    snaplen_wrong       packets are longer than the snaplen of their file or interface; they are whole

The first two are losses: the analyzer's results lack something, or have wrong times.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from pcapdj.capture.pcap import Totals
from pcapdj.capture.stream_options import skipped_packets
from pcapdj.runtime.numbers import counted

TIMES_AFTER_2038 = "times_after_2038"


class Anomaly(NamedTuple):
    """One anomaly of a file.

    Args:
        event: its name in the log.
        sentence: with its numbers, without a full stop.
        is_loss: the stream lacks something that the file has.
    """

    event: str
    sentence: str
    is_loss: bool = False


class DeliveredCapture(Protocol):
    """An open capture of which all pieces were read."""

    @property
    def skipped(self) -> Mapping[int, int]:
        """How many packets are not in the stream, by link type."""

    @property
    def snaplen(self) -> int | None:
        """The file's snaplen in bytes; None where each interface has its own."""

    @property
    def rewrites(self) -> bool:
        """Whether packets of the stream are rewritten to Ethernet where possible."""


def anomalies_of(totals: Totals, capture: DeliveredCapture) -> list[Anomaly]:
    """Return the anomalies of a capture whose packets in the stream have these totals."""
    found: list[Anomaly] = []
    if capture.skipped:
        sentence = skipped_packets(capture.skipped, rewrites=capture.rewrites)
        found.append(Anomaly("packets_skipped", sentence, is_loss=True))
    if totals.wrapped_times:
        found.append(Anomaly("times_wrapped", _wrapped(totals.wrapped_times), is_loss=True))
    if totals.steps_back:
        from pcapdj.runtime.units import steps_back_text  # `pcapdj cat` starts without it

        sentence = steps_back_text(totals.steps_back, totals.largest_step_back_ns)
        found.append(Anomaly("times_step_back", sentence))
    if totals.has_times_after_2038:
        sentence = "has times after 2038-01-19, which programs built on libpcap read as negative"
        found.append(Anomaly(TIMES_AFTER_2038, sentence))
    if totals.beyond_snaplen:
        of_file = "the snaplen of an interface" if capture.snaplen is None else f"snaplen {capture.snaplen}"
        longer = counted(totals.beyond_snaplen, "packet is", "packets are")
        found.append(Anomaly("snaplen_wrong", f"{of_file} is wrong: {longer} longer"))
    return found


def _wrapped(packets: int) -> str:
    subject = counted(packets, "packet is", "packets are")
    return f"{subject} from before 1970 or after 2106, which a pcap record cannot hold: the times wrapped"
