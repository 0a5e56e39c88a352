"""Finds the time of a capture's last packet without reading it whole.

A classic pcap has no index, and no mark where a record begins. So it searches the last 64 KiB for a row of
records with possible lengths and times that ends exactly at the end of the file. Such a row is not there by
chance.
"""

import re
import struct
from typing import Final

from pcapdj.capture.files import OpenFile
from pcapdj.capture.formats import Kind, identify
from pcapdj.capture.pcap import (
    FILE_HEADER_BYTES,
    MAX_CAPTURED_BYTES,
    RECORD_HEADER_BYTES,
    Layout,
    parse_file_header,
)
from pcapdj.runtime.errors import CaptureError

_TAIL_BYTES: Final = 1 << 16
_LONGEST_CAPTURE_NS: Final = 366 * 86_400 * 1_000_000_000
_MOST_STEPS: Final = 2  # of the highest byte of a time in seconds, in a year


def last_packet_time_ns(file: OpenFile, first_time_ns: int) -> int | None:
    """Return when the last packet of a capture is, since 1970.

    Args:
        file: open; still closed by the caller.
        first_time_ns: when its first packet is.

    Returns:
        None: it is no plain pcap, is cut off, or ends with a record that is too long.
    """
    try:
        first, size_bytes = file.read(FILE_HEADER_BYTES, 0), file.identity().size_bytes
        if identify(first).kind is not Kind.CLASSIC:
            return None
        layout = parse_file_header(first)
        begin = max(FILE_HEADER_BYTES, size_bytes - _TAIL_BYTES)
        tail = file.read(size_bytes - begin, begin)
    except (OSError, CaptureError):
        return None
    if not layout.is_plain:
        return None
    header, second_ns = struct.Struct(layout.byte_order + "IIII"), 1_000_000_000
    last_ns: int | None = None
    ends: dict[int, int] = {}  # the last time of each row that reaches the end, by where the row begins
    headers = _possible_header(layout, first_time_ns // second_ns).finditer(tail)
    for position in reversed([found.start() for found in headers]):  # backwards: each is looked at once
        seconds, fraction, captured, length = header.unpack_from(tail, position)
        time_ns = seconds * second_ns + fraction * layout.fraction_ns
        is_possible = fraction * layout.fraction_ns < second_ns
        is_possible &= captured <= length and captured <= MAX_CAPTURED_BYTES
        following = position + RECORD_HEADER_BYTES + captured
        if not is_possible or abs(time_ns - first_time_ns) > _LONGEST_CAPTURE_NS:
            continue
        if following == len(tail):
            ends[position] = time_ns
        elif following in ends:  # two records or more; the row that begins first counts
            last_ns = ends[position] = ends[following]
    return last_ns


def _possible_header(layout: Layout, seconds: int) -> re.Pattern[bytes]:
    """Return the pattern of a record header of about that time, with fewer than 2^24 captured bytes."""
    highest = bytes(each for each in range(256) if abs(each - (seconds >> 24)) <= _MOST_STEPS)
    numbers = [b"...[" + re.escape(highest) + b"]", b"....", rb"...\x00", b"...."]
    if layout.big_endian:
        numbers = [b"[" + re.escape(highest) + b"]...", b"....", rb"\x00...", b"...."]
    return re.compile(b"(?s)(?=" + b"".join(numbers) + b")")
