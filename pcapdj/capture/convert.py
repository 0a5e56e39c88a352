"""Makes the stream's records out of a classic capture's. Pure.

There are two ways. `rewrite_headers` and `rewrite_window` change 16-byte record headers in place.
`rebuild_records` builds every record anew: for record headers of another size or order, and for packets whose
own bytes change (byte order, or rewriting to Ethernet). Timestamps are truncated, never rounded, as in
libpcap.
"""

import struct

from pcapdj.capture.linktypes import has_host_order, packet_for_stream
from pcapdj.capture.pcap import (
    MAX_CAPTURED_BYTES,
    RECORD,
    RECORD_HEADER_BYTES,
    SECONDS_RANGE,
    Bytes,
    Layout,
    RunningTotals,
    StreamFormat,
    Totals,
    captured_and_length,
)
from pcapdj.capture.walk import (
    ConvertedRecords,
    Damage,
    check_captured_length,
    scale_to_microseconds,
    swap_headers,
    totals_of,
)


def needs_rebuilding(layout: Layout, stream: StreamFormat) -> bool:
    """Report whether record headers cannot be changed in place, so that all records are built anew."""
    if not layout.is_plain or layout.linktype != stream.linktype:
        return True
    return layout.big_endian and has_host_order(layout.linktype)


def rescale(seconds: int, fraction: int, *, to_nanosecond: bool) -> tuple[int, int]:
    """Return a timestamp in the other resolution; the seconds may be more than a record can hold.

    A fraction of more than a second of microseconds is added to the seconds: it would not fit in nanoseconds.
    """
    if not to_nanosecond:
        return seconds, fraction // 1000
    carry, fraction = divmod(fraction, 1_000_000)
    return seconds + carry, fraction * 1000


def rewrite_headers(records: Bytes, layout: Layout, stream: StreamFormat) -> tuple[Bytes, int]:
    """Return whole records of a plain layout in the stream's format, and how many times wrapped."""
    wrapped_times = 0
    if stream.takes_unchanged(layout.native) and not layout.big_endian:
        return records, wrapped_times
    out = bytearray(records)
    header = struct.Struct(layout.byte_order + "IIII")
    rescales = layout.nanosecond != stream.nanosecond
    position = 0
    while position < len(out):
        seconds, fraction, captured, length = header.unpack_from(out, position)
        if rescales:
            seconds, fraction = rescale(seconds, fraction, to_nanosecond=stream.nanosecond)
        wrapped_times += seconds >= SECONDS_RANGE
        RECORD.pack_into(out, position, seconds % SECONDS_RANGE, fraction, captured, length)
        position += RECORD_HEADER_BYTES + captured
    return out, wrapped_times


def rewrite_window(window: bytes, layout: Layout, stream: StreamFormat) -> ConvertedRecords:
    """Return a window's good records with their headers in the stream's format, for the two common cases.

    These are big endian to little endian, and nanoseconds to microseconds. It is empty for other
    conversions, and if the first record is not a good one.

    Args:
        window: starts at a record; no record may reach beyond it.
        layout: a plain one, without packets that need swapping.
        stream: of the same link type.
    """
    to_microseconds = layout.nanosecond and not stream.nanosecond
    if layout.big_endian == to_microseconds or (stream.nanosecond and not layout.nanosecond):
        return ConvertedRecords(0, Totals(), None, b"")
    records = bytearray(window)
    change = scale_to_microseconds if to_microseconds else swap_headers
    good = change(window, records, layout)
    data = memoryview(records)[: good.end]
    return ConvertedRecords(good.end, totals_of(good, window, 0, layout), None, data)


def rebuild_records(
    window: bytes, layout: Layout, stream: StreamFormat, *, is_last: bool
) -> ConvertedRecords:
    """Return the stream's records from a window that starts at a record of any layout.

    Args:
        window: no record may reach beyond it.
        layout: of the file.
        stream: accepts the link type.
        is_last: the window reaches the end of the file.
    """
    parts: list[bytes] = []
    counted, position, skipped = RunningTotals(), 0, 0
    stop: Damage | None = None
    while position + layout.header_bytes <= len(window):
        first, second = struct.unpack_from(layout.byte_order + "8xII", window, position)
        captured, length = captured_and_length(layout.length_order, first, second)
        if not 0 < captured <= MAX_CAPTURED_BYTES:
            stop, is_empty = check_captured_length(window, position, captured, is_last=is_last)
            if not is_empty:
                break
        start = position + layout.header_bytes
        if start + captured > len(window):
            break
        position = start + captured
        data = window[start:position]
        packet = packet_for_stream(data, length, layout.linktype, stream, big_endian=layout.big_endian)
        if packet is None:
            skipped += 1
            continue
        data, length = packet
        header_at = start - layout.header_bytes
        seconds, fraction = _time(window, header_at, layout, stream)
        parts += RECORD.pack(seconds % SECONDS_RANGE, fraction, len(data), length), data
        ts_ns, is_beyond = layout.ts_ns(window, header_at), captured > layout.snaplen
        counted.add(len(data), length, ts_ns, seconds, is_beyond_snaplen=is_beyond)
    return ConvertedRecords(position, counted.totals, stop, b"".join(parts), skipped)


def _time(window: bytes, position: int, layout: Layout, stream: StreamFormat) -> tuple[int, int]:
    """Return a record's seconds and fraction in the stream's resolution."""
    seconds, fraction = struct.unpack_from(layout.byte_order + "II", window, position)
    if layout.nanosecond != stream.nanosecond:
        return rescale(seconds, fraction, to_nanosecond=stream.nanosecond)
    return seconds, fraction
