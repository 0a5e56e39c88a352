"""The walk over classic records: it finds where whole records end, and why no other begins there.

Rules:
- a record holds at most MAX_CAPTURED_BYTES, or the file is damaged there; one longer than the file's own
  snaplen is cut to it. No captured bytes, len < caplen and any fraction of a second are passed on, as by
  libpcap.
- zeros instead of a record header, or a second file header, are damage: libpcap reads them as empty packets.

Nothing here reads a file: a walk gets a window of bytes that starts at a record, and says where it had to
stop.
"""

import struct
from enum import Enum, auto
from typing import NamedTuple

from pcapdj.capture.formats import CLASSIC_MAGICS
from pcapdj.capture.loops import Strip, good_records
from pcapdj.capture.pcap import (
    FILE_HEADER_BYTES,
    MAX_CAPTURED_BYTES,
    NEWEST_MINOR,
    OLDEST_MAJOR,
    RECORD_HEADER_BYTES,
    Bytes,
    Layout,
    captured_and_length,
)
from pcapdj.capture.totals import Totals

ZEROS = "zeros instead of a {}: the file was preallocated and never filled to its end"
# Shorter runs of zeros may be packets; a preallocated file's tail is longer or reaches the end of the file.
_ZERO_RUN_BYTES = 64


class Damage(NamedTuple):
    """Why no record can begin at the place where a walk stopped."""

    reason: str


class Pause(Enum):
    """Why a walk stopped though nothing is wrong."""

    WINDOW_ENDS = auto()  # the next record is not whole in this window: give a window that starts there
    NEEDS_CUTTING = auto()  # the next record is longer than the snaplen: copy it, shortened


class Run(NamedTuple):
    """Whole, validated records from the window's start to `end` (excluding), and why it ends there."""

    end: int
    totals: Totals
    stop: Damage | Pause


def walk(window: bytes, layout: Layout, *, room_bytes: int, is_last: bool) -> Run:
    """Return the run of whole records that a window of a plain-layout file begins with.

    Only headers are looked at, so the last record may reach beyond the window.

    Args:
        window: bytes of the file, beginning at a record header.
        layout: a plain one.
        room_bytes: how far records may reach, counted from the window's start.
        is_last: the window reaches the end of the file.
    """
    position = previous = packets = lengths_bytes = 0
    stop: Damage | Pause | None = None
    while stop is None:
        strip = good_records(window, position, layout, room_bytes)
        packets, lengths_bytes = packets + strip.packets, lengths_bytes + strip.lengths_bytes
        previous, position = strip.last if strip.packets else previous, strip.end
        stop, length = _unusual(window, position, layout, is_last=is_last)
        if stop is None:
            packets, lengths_bytes = packets + 1, lengths_bytes + length
            previous, position = position, position + RECORD_HEADER_BYTES
    run = Strip(position, previous, packets, lengths_bytes)
    return Run(position, totals_of(run, window, layout), stop)


def totals_of(strip: Strip, window: Bytes, layout: Layout) -> Totals:
    """Return what the records from the window's start to the strip's end add up to."""
    if not strip.packets:
        return Totals()
    cap_lengths_bytes = strip.end - strip.packets * RECORD_HEADER_BYTES
    first_ns, last_ns = layout.ts_ns(window, 0), layout.ts_ns(window, strip.last)
    return Totals(strip.packets, cap_lengths_bytes, strip.lengths_bytes, first_ns, last_ns)


def _unusual(
    window: bytes, position: int, layout: Layout, *, is_last: bool
) -> tuple[Damage | Pause | None, int]:
    """Return why good records end here; None: with a record of no captured bytes, and its length."""
    if position + RECORD_HEADER_BYTES > len(window):
        return Pause.WINDOW_ENDS, 0
    captured, length = struct.unpack_from(layout.byte_order + "8xII", window, position)
    if 0 < captured <= layout.snaplen:
        return Pause.WINDOW_ENDS, 0
    return judge(window, position, captured, is_last=is_last), length


def judge(window: Bytes, position: int, captured: int, *, is_last: bool) -> Damage | Pause | None:
    """Return what to do about a captured length of 0 or above the snaplen; None: pass it on."""
    if captured > MAX_CAPTURED_BYTES:
        return Damage(f"record claims {captured} captured bytes, more than {MAX_CAPTURED_BYTES}")
    if captured:
        return Pause.NEEDS_CUTTING
    ahead = bytes(window[position : position + _ZERO_RUN_BYTES])
    if len(ahead) < _ZERO_RUN_BYTES and not is_last:
        return Pause.WINDOW_ENDS
    if not any(ahead):
        return Damage(ZEROS.format("record"))
    if _is_file_header(ahead):
        return Damage("a second file header instead of a record: files were joined with cat")
    return None


def _is_file_header(ahead: bytes) -> bool:
    """Report whether a file header of a usual version starts here."""
    if len(ahead) < FILE_HEADER_BYTES:
        return False
    return any(
        int.from_bytes(ahead[:4], order) in CLASSIC_MAGICS
        and int.from_bytes(ahead[4:6], order) == OLDEST_MAJOR
        and int.from_bytes(ahead[6:8], order) <= NEWEST_MINOR
        for order in ("little", "big")
    )


def cut_off(window: Bytes, layout: Layout) -> str:
    """Return why the rest of a file, which is shorter than the record it begins with, is no record."""
    if len(window) < layout.header_bytes:
        return f"file ends inside a record header: {len(window)} of {layout.header_bytes} bytes"
    first, second = struct.unpack_from(layout.byte_order + "8xII", window)
    captured = captured_and_length(layout.length_order, first, second)[0]
    return f"file ends inside a record: {len(window) - layout.header_bytes} of {captured} captured bytes"


def missing_to_record_end(window: Bytes, delivered_bytes: int) -> int:
    """Return how many bytes of padding bring a stream to the end of its current record.

    For a stream of little-endian records that broke off, because the file shrank under a running splice.
    Header bytes that were not delivered count as the zeros that the padding will put there.

    Args:
        window: what is left of the bytes that were being delivered, from a record's start on.
        delivered_bytes: how many of them, from the window's start on, are in the stream already.

    Returns:
        0 if the stream stands between two records.

    Raises:
        LookupError: a header that was delivered is not in the window: nobody can tell.
    """
    position = 0
    while position < delivered_bytes:
        if len(window) < min(position + RECORD_HEADER_BYTES, delivered_bytes):
            raise LookupError(f"the record header at {position} is gone")
        header = bytes(window[position : min(position + RECORD_HEADER_BYTES, delivered_bytes)])
        (captured,) = struct.unpack_from("<8xI", header.ljust(RECORD_HEADER_BYTES, b"\0"))
        position += RECORD_HEADER_BYTES + min(captured, MAX_CAPTURED_BYTES)
    return position - delivered_bytes
