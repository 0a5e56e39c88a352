"""A pcapng packet block as a record of the stream."""

from dataclasses import dataclass

from pcapdj.capture.convert import RECORD, carried
from pcapdj.capture.interfaces import SECONDS_RANGE, Interface
from pcapdj.capture.pcap import StreamFormat
from pcapdj.capture.totals import Totals


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet block: where in the window its bytes are, and when and where it was captured."""

    interface: Interface
    ticks: int
    start: int
    captured: int
    length: int


@dataclass(frozen=True, slots=True)
class Record:
    """A little-endian classic record, header and packet, and what it adds to the totals.

    `is_wrapped`: the time did not fit into 32 bits of seconds.
    """

    parts: tuple[bytes, bytes]
    totals: Totals
    is_wrapped: bool


def record_of(packet: Packet, window: bytes, stream: StreamFormat, *, big_endian: bool) -> Record | None:
    """Return the packet's record in the stream's resolution; None if it cannot be rewritten.

    Args:
        packet: of an interface whose link type the stream carries.
        window: that it lies in.
        stream: what it goes into.
        big_endian: its section is.
    """
    interface = packet.interface
    data = window[packet.start : packet.start + packet.captured]
    found = carried(data, packet.length, interface.linktype, stream, big_endian=big_endian)
    if found is None:
        return None
    data, length = found
    seconds, ticks = divmod(packet.ticks, interface.ticks_per_s)
    seconds += interface.offset_s
    units_per_s = 1_000_000_000 if stream.nanosecond else 1_000_000
    fraction = ticks * units_per_s // interface.ticks_per_s
    header = RECORD.pack(seconds % SECONDS_RANGE, fraction, len(data), length)
    ts_ns = interface.ts_ns(packet.ticks)
    return Record(
        (header, data), Totals(1, len(data), length, ts_ns, ts_ns), not 0 <= seconds < SECONDS_RANGE
    )
