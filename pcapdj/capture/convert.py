"""Makes the stream's records out of a classic capture's.

Two ways. `rewrite` changes validated 16-byte headers where they stand; `gather` builds every record anew, for
headers of another size or order, for packets beyond the snaplen and for those whose own bytes change, be it
their order or to Ethernet. Times are truncated, never rounded, as libpcap does it.
"""

import struct
from typing import NamedTuple

from pcapdj.capture.ethernet import to_ethernet
from pcapdj.capture.interfaces import SECONDS_RANGE
from pcapdj.capture.pcap import (
    RECORD_HEADER_BYTES,
    Bytes,
    Layout,
    StreamFormat,
    captured_and_length,
)
from pcapdj.capture.pseudo_headers import has_host_order, to_little_endian
from pcapdj.capture.totals import Tally, Totals
from pcapdj.capture.walk import Damage, Pause, coarser_records, judge, swapped_records, totals_of

RECORD = struct.Struct("<IIII")


def needs_gathering(layout: Layout, stream: StreamFormat) -> bool:
    """Report whether changing record headers in place is not enough for this file."""
    if not layout.is_plain or layout.linktype != stream.linktype:
        return True
    return layout.big_endian and has_host_order(layout.linktype)


def carried(
    packet: bytes, length: int, linktype: int, stream: StreamFormat, *, big_endian: bool
) -> tuple[bytes, int] | None:
    """Return a packet's bytes and length on the wire as the stream has them; None if it cannot have them.

    Args:
        packet: as captured.
        length: on the wire.
        linktype: one that the stream carries.
        stream: what the packet goes into.
        big_endian: the capture is.
    """
    if linktype != stream.linktype:
        return to_ethernet(linktype, packet, length)
    return to_little_endian(linktype, packet) if big_endian else packet, length


def rescale(seconds: int, fraction: int, *, to_nanosecond: bool) -> tuple[int, int]:
    """Return a time in the other resolution.

    Microseconds beyond a second carry over, or they would not fit.
    """
    if not to_nanosecond:
        return seconds, fraction // 1000
    carry, fraction = divmod(fraction, 1_000_000)
    return (seconds + carry) % SECONDS_RANGE, fraction * 1000


def rewrite(records: Bytes, layout: Layout, stream: StreamFormat) -> Bytes:
    """Return whole records of a plain layout with the headers that the stream needs."""
    if stream.takes_unchanged(layout.native) and not layout.big_endian:
        return records
    out = bytearray(records)
    header = struct.Struct(layout.byte_order + "IIII")
    rescales = layout.nanosecond != stream.nanosecond
    position = 0
    while position < len(out):
        seconds, fraction, captured, length = header.unpack_from(out, position)
        if rescales:
            seconds, fraction = rescale(seconds, fraction, to_nanosecond=stream.nanosecond)
        RECORD.pack_into(out, position, seconds, fraction, captured, length)
        position += RECORD_HEADER_BYTES + captured
    return out


def rewritten(window: bytes, layout: Layout, stream: StreamFormat) -> "Batch":
    """Return a window's good records with new headers where that is done most: swapped, or to microseconds.

    Nothing for other conversions, or if the first record is none that can be taken without a closer look.

    Args:
        window: starts at a record; none may reach beyond it.
        layout: a plain one, without packets that need swapping.
        stream: same link type.
    """
    is_coarser = layout.nanosecond and not stream.nanosecond
    if layout.big_endian == is_coarser or (stream.nanosecond and not layout.nanosecond):
        return Batch(0, Totals(), Pause.WINDOW_ENDS, b"")
    records = bytearray(window)
    change = coarser_records if is_coarser else swapped_records
    strip = change(window, records, layout)
    data = memoryview(records)[: strip.end]
    return Batch(strip.end, totals_of(strip, window, layout), Pause.WINDOW_ENDS, data)


class Batch(NamedTuple):
    """Converted records: what a window's bytes up to `end` (excluding) became, and why they end there.

    `skipped` packets could not be rewritten and are in none of the others.
    """

    end: int
    totals: Totals
    stop: Damage | Pause
    data: Bytes
    skipped: int = 0


def gather(window: bytes, layout: Layout, stream: StreamFormat, *, is_last: bool) -> Batch:
    """Return the stream's records out of a window that starts at a record of any layout.

    Args:
        window: records may not reach beyond it.
        layout: any.
        stream: carries the link type.
        is_last: the window reaches the end of the file.
    """
    parts: list[bytes] = []
    tally, position, skipped = Tally(), 0, 0
    stop: Damage | Pause = Pause.WINDOW_ENDS
    while position + layout.header_bytes <= len(window):
        first, second = struct.unpack_from(layout.byte_order + "8xII", window, position)
        captured, length = captured_and_length(layout.length_order, first, second)
        verdict = None
        if not 0 < captured <= layout.snaplen:
            verdict = judge(window, position, captured, is_last=is_last)
        start = position + layout.header_bytes
        if verdict not in {None, Pause.NEEDS_CUTTING} or start + captured > len(window):
            stop = verdict or stop
            break
        kept = window[start : start + min(captured, layout.snaplen)]
        packet = carried(kept, length, layout.linktype, stream, big_endian=layout.big_endian)
        if packet is None:
            skipped += 1
        else:
            parts += _header(window, position, layout, stream, packet), packet[0]
            tally.add(len(packet[0]), packet[1], layout.ts_ns(window, position))
        position = start + captured
    return Batch(position, tally.totals, stop, b"".join(parts), skipped)


def _header(
    window: bytes, position: int, layout: Layout, stream: StreamFormat, packet: tuple[bytes, int]
) -> bytes:
    """Return the header of a record's packet, given with its length on the wire."""
    seconds, fraction = struct.unpack_from(layout.byte_order + "II", window, position)
    if layout.nanosecond != stream.nanosecond:
        seconds, fraction = rescale(seconds, fraction, to_nanosecond=stream.nanosecond)
    return RECORD.pack(seconds, fraction, len(packet[0]), packet[1])
