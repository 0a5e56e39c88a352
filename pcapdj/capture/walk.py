"""The walk over the records of a classic pcap: where whole records end, and why no other begins there. Pure.

A walk gets a window of bytes that starts at a record and returns where it stopped.

Rules:
- a record has at most MAX_CAPTURED_BYTES, or the file is damaged there. A record longer than the file's own
  snaplen is whole, and counted: the file header is wrong, and the bytes are evidence. Records without
  captured bytes, len < caplen and any fraction of a second are passed on, as by libpcap.
- zeros in place of a record header, or a second file header, are damage: libpcap reads them as empty packets.

The loops below run once per packet. They handle good records only and stop at every other one; the caller
decides what that is. Measured on a 2-core virtual machine (AMD EPYC, Python 3.11) with packets of 64, 570 and
1514 bytes mixed 7:4:1, per packet:

    good_records             0.15 us; 0.06 us where many records in a row have the same length
    swap_headers             0.32 us
    scale_to_microseconds    0.27 us
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

from pcapdj.capture.compiled import loops_for
from pcapdj.capture.pcap import (
    CLASSIC_MAGICS,
    FILE_HEADER_BYTES,
    MAX_CAPTURED_BYTES,
    NEWEST_MINOR,
    OLDEST_MAJOR,
    RECORD,
    RECORD_HEADER_BYTES,
    Bytes,
    Layout,
    RunningTotals,
    TimeSteps,
    Totals,
    captured_and_length,
)

_EIGHT = (None,) * 8  # after each eight records: check whether all of them have the same length
_FRACTION, _CAPTURED, _LENGTH = 4, 8, 12  # offsets in a record header
_FEW = 64  # records to compare first; only if these are equal are all others compared


class GoodRecords(NamedTuple):
    """Good records up to `end` (excluding).

    Args:
        end: where the next record begins.
        last: where the last one begins; without records, where the walk began.
        packets: how many there are.
        lengths_bytes: sum of their lengths on the wire.
        beyond_snaplen, steps_back, largest_step_back_ns, has_times_after_2038: as in `Totals`.
    """

    end: int
    last: int
    packets: int
    lengths_bytes: int
    beyond_snaplen: int = 0
    steps_back: int = 0
    largest_step_back_ns: int = 0
    has_times_after_2038: bool = False


def good_records(window: bytes, position: int, layout: Layout) -> GoodRecords:
    """Return the records of a plain layout from `position` on that hold 1 to MAX_CAPTURED_BYTES."""
    if loops := loops_for(window):
        numbers = layout.snaplen, layout.fraction_ns, layout.big_endian
        return GoodRecords(*loops.good_records(window, position, *numbers))
    return _good_records(window, position, layout)


def _good_records(  # noqa: PLR0915 - a loop without avoidable calls
    window: bytes, position: int, layout: Layout
) -> GoodRecords:
    """Do it in Python."""
    fields_at = struct.Struct(layout.byte_order + "IIII").unpack_from
    snaplen, most, size_bytes = layout.snaplen, MAX_CAPTURED_BYTES, len(window)
    last_header = size_bytes - RECORD_HEADER_BYTES
    previous, packets, lengths_bytes, beyond = position, 0, 0, 0
    times = TimeSteps(layout, window, position)
    last_seconds, last_fraction = times.seconds, times.fraction
    while True:
        first = position
        for _ in _EIGHT:
            if position > last_header:
                break
            seconds, fraction, captured, length = fields_at(window, position)
            after = position + RECORD_HEADER_BYTES + captured
            if after > size_bytes or not 0 < captured <= snaplen:
                if after > size_bytes or not 0 < captured <= most:
                    break
                beyond += 1
            if fraction < last_fraction or seconds != last_seconds:
                times.step(last_fraction, seconds, fraction)
                last_seconds = seconds
            last_fraction = fraction
            lengths_bytes += length
            packets += 1
            previous, position = position, after
        else:
            stride = position - previous
            if position - first == stride * len(_EIGHT):
                count, sum_bytes = _equal_records(window, position, stride, layout)
                packets, lengths_bytes = packets + count, lengths_bytes + sum_bytes
                beyond += count if captured > snaplen else 0
                times.row(last_fraction, *_row_times(window, position, stride, count, layout))
                previous, position = previous + count * stride, position + count * stride
                last_seconds, last_fraction = fields_at(window, previous)[:2]
            continue
        return GoodRecords(position, previous, packets, lengths_bytes, beyond, *times.found(packets))


def _equal_records(window: bytes, position: int, stride: int, layout: Layout) -> tuple[int, int]:
    """Return how many records from here on have `stride` bytes, and the sum of their lengths on the wire.

    Floods, bulk transfers and captures of headers only have long rows of equal records. Each byte of the
    captured length is compared for all headers at once, as a slice with a stride.
    """
    captured = struct.pack(layout.byte_order + "I", stride - RECORD_HEADER_BYTES)
    count = (len(window) - position) // stride
    equal = _equal_headers(window, position, stride, min(count, _FEW), captured)
    if equal == _FEW:
        equal = _equal_headers(window, position, stride, count, captured)
    sums = [_column_sum(_column(window, position + _LENGTH + i, stride, equal)) for i in range(4)]
    in_order = reversed(sums) if layout.big_endian else sums
    return equal, sum(each << 8 * i for i, each in enumerate(in_order))


def _row_times(
    window: bytes, position: int, stride: int, count: int, layout: Layout
) -> tuple[Sequence[int], Sequence[int]]:
    """Return the seconds and fractions of `count` headers, one every `stride` bytes; of most rows neither.

    That is, where all of them, and the header before, have the same second, and no fraction is a step back.
    """
    before = position - stride
    fractions = _numbers(window, before + _FRACTION, stride, count + 1, layout)
    seconds = [_column(window, before + i, stride, count + 1) for i in range(4)]
    if all(column.count(column[0]) > count for column in seconds) and list(fractions) == sorted(fractions):
        return (), ()
    return _numbers(window, position, stride, count, layout), fractions[1:]


def _numbers(window: bytes, start: int, stride: int, count: int, layout: Layout) -> tuple[int, ...]:
    """Return `count` numbers of 4 bytes, one every `stride` bytes."""
    numbers = bytearray(4 * count)
    for i in range(4):
        numbers[i::4] = _column(window, start + i, stride, count)
    return struct.unpack(f"{layout.byte_order}{count}I", numbers)


def _equal_headers(window: bytes, position: int, stride: int, count: int, captured: bytes) -> int:
    """Return how many of `count` headers, one every `stride` bytes, have this captured length."""
    for i in range(4):
        column = _column(window, position + _CAPTURED + i, stride, count)
        count -= len(column.lstrip(captured[i : i + 1]))
    return count


def _column(window: bytes, start: int, stride: int, count: int) -> bytes:
    return window[start : start + count * stride : stride][:count]


def _column_sum(column: bytes) -> int:
    """Return the sum of the bytes; they are mostly equal, and then counting is ten times as fast."""
    if column and column.count(column[0]) == len(column):
        return column[0] * len(column)
    return sum(column)


def swap_headers(window: bytes, records: bytearray, layout: Layout) -> GoodRecords:
    """Make the headers of good big-endian records little endian in `records`, a copy of the window."""
    if loops := loops_for(window):
        return GoodRecords(*loops.swap_headers(window, records, layout.snaplen, layout.fraction_ns))
    return _rewrite(window, records, layout, units=1)


def scale_to_microseconds(window: bytes, records: bytearray, layout: Layout) -> GoodRecords:
    """Make nanoseconds of good little-endian records microseconds in `records`, a copy of the window."""
    if loops := loops_for(window):
        return GoodRecords(*loops.scale_to_microseconds(window, records, layout.snaplen, layout.fraction_ns))
    return _rewrite(window, records, layout, units=1000)


def _rewrite(window: bytes, records: bytearray, layout: Layout, units: int) -> GoodRecords:
    fields_at, put = struct.Struct(layout.byte_order + "IIII").unpack_from, RECORD.pack_into
    snaplen, most, size_bytes = layout.snaplen, MAX_CAPTURED_BYTES, len(window)
    last_header = size_bytes - RECORD_HEADER_BYTES
    position = previous = packets = lengths_bytes = beyond = 0
    times = TimeSteps(layout, window, position)
    last_seconds, last_fraction = times.seconds, times.fraction
    while position <= last_header:
        seconds, fraction, captured, length = fields_at(window, position)
        after = position + RECORD_HEADER_BYTES + captured
        if after > size_bytes or not 0 < captured <= snaplen:
            if after > size_bytes or not 0 < captured <= most:
                break
            beyond += 1
        if fraction < last_fraction or seconds != last_seconds:
            times.step(last_fraction, seconds, fraction)
            last_seconds = seconds
        last_fraction = fraction
        put(records, position, seconds, fraction // units, captured, length)
        lengths_bytes += length
        packets += 1
        previous, position = position, after
    return GoodRecords(position, previous, packets, lengths_bytes, beyond, *times.found(packets))


ZEROS = "zeros instead of a {}: the file was preallocated and never filled to its end"
# Fewer zeros may be packets; the tail of a preallocated file is longer or reaches the end of the file.
_ZERO_RUN_BYTES = 64
_MAGICS = {magic.to_bytes(4, order) for magic in CLASSIC_MAGICS for order in ("little", "big")}


class Damage(NamedTuple):
    """Why the bytes where a walk stopped are not a record."""

    reason: str


class WalkResult(NamedTuple):
    """Whole, validated records from the window's start to `end` (excluding), and why the walk stopped.

    `stop` is None where the next record is incomplete: continue with a window that starts there.
    """

    end: int
    totals: Totals
    stop: Damage | None


class ConvertedRecords(NamedTuple):
    """Converted records of a window up to `end` (excluding), and why the conversion stopped there.

    `stop` as in `WalkResult`. `skipped` packets could not be rewritten; they are not in `totals` and `data`.
    """

    end: int
    totals: Totals
    stop: Damage | None
    data: Bytes
    skipped: int = 0


def walk(window: bytes, layout: Layout, *, is_last: bool) -> WalkResult:
    """Return the complete records at the start of a window of a file with a plain layout.

    Args:
        window: bytes of the file, beginning at a record header.
        layout: a plain one.
        is_last: the window reaches the end of the file.
    """
    position, totals = 0, Totals()
    while True:
        good = good_records(window, position, layout)
        totals += totals_of(good, window, position, layout)
        position, empty, stop = _empty_records(window, good.end, layout, is_last=is_last)
        if position == good.end:
            return WalkResult(position, totals, stop)
        totals += empty


def _empty_records(
    window: bytes, position: int, layout: Layout, *, is_last: bool
) -> tuple[int, Totals, Damage | None]:
    """Return where the empty records from `position` on end, their totals, and why the walk stops there.

    A file may consist of them: one by one through `walk` they would cost ten times as much.
    """
    fields_at = struct.Struct(layout.byte_order + "I8xI").unpack_from
    counted = RunningTotals()
    while True:
        stop, is_empty = _stop_at(window, position, layout, is_last=is_last)
        if not is_empty:
            return position, counted.totals, stop
        seconds, length = fields_at(window, position)
        counted.add(0, length, layout.ts_ns(window, position), seconds)
        position += RECORD_HEADER_BYTES


def totals_of(records: GoodRecords, window: Bytes, start: int, layout: Layout) -> Totals:
    """Return the totals of these records, which begin at `start`."""
    if not records.packets:
        return Totals()
    cap_lengths_bytes = records.end - start - records.packets * RECORD_HEADER_BYTES
    return Totals(
        *(records.packets, cap_lengths_bytes, records.lengths_bytes),
        *(layout.ts_ns(window, start), layout.ts_ns(window, records.last)),
        *(records.steps_back, records.largest_step_back_ns, records.beyond_snaplen),
        has_times_after_2038=records.has_times_after_2038,
    )


def _stop_at(window: bytes, position: int, layout: Layout, *, is_last: bool) -> tuple[Damage | None, bool]:
    """Return the damage at this record, and whether it is an empty record, which is passed on."""
    if position + RECORD_HEADER_BYTES > len(window):
        return None, False
    (captured,) = struct.unpack_from(layout.byte_order + "8xI", window, position)
    if 0 < captured <= MAX_CAPTURED_BYTES:
        return None, False
    return check_captured_length(window, position, captured, is_last=is_last)


def check_captured_length(
    window: Bytes, position: int, captured: int, *, is_last: bool
) -> tuple[Damage | None, bool]:
    """Return the damage at a captured length of 0 or above the maximum, and whether it is an empty record.

    Neither: the window ends too early to decide.
    """
    if captured:
        reason = f"record header has {captured} captured bytes, more than the maximum of {MAX_CAPTURED_BYTES}"
        return Damage(reason), False
    start = bytes(window[position : position + _ZERO_RUN_BYTES])
    if len(start) < _ZERO_RUN_BYTES and not is_last:
        return None, False
    if not any(start):
        return Damage(ZEROS.format("record")), False
    if _is_file_header(start):
        return Damage("a second file header instead of a record: files were joined with cat"), False
    return None, True


def _is_file_header(start: bytes) -> bool:
    """Report whether these bytes begin with a file header of a usual version."""
    if start[:4] not in _MAGICS or len(start) < FILE_HEADER_BYTES:
        return False
    return any(
        int.from_bytes(start[:4], order) in CLASSIC_MAGICS
        and int.from_bytes(start[4:6], order) == OLDEST_MAJOR
        and int.from_bytes(start[6:8], order) <= NEWEST_MINOR
        for order in ("little", "big")
    )


def cut_off(window: Bytes, layout: Layout) -> str:
    """Return how a file is cut off whose last bytes, the window, are less than a record."""
    if len(window) < layout.header_bytes:
        return f"file ends inside a record header: {len(window)} of {layout.header_bytes} bytes"
    first, second = struct.unpack_from(layout.byte_order + "8xII", window)
    captured = captured_and_length(layout.length_order, first, second)[0]
    return f"file ends inside a record: {len(window) - layout.header_bytes} of {captured} captured bytes"


def record_bytes(window: Bytes, layout: Layout) -> int:
    """Return how long the record at the window's start is; 0 if the window has less than its header."""
    if len(window) < layout.header_bytes:
        return 0
    first, second = struct.unpack_from(layout.byte_order + "8xII", window)
    return layout.header_bytes + captured_and_length(layout.length_order, first, second)[0]


def record_end(records: Bytes, position: int) -> int:
    """Return where the record ends that `position` is in or at the end of; 0 for position 0.

    Args:
        records: whole records of the stream.
        position: in bytes from their start.
    """
    end = 0
    while end < position:
        end += RECORD_HEADER_BYTES + struct.unpack_from("<8xI", records, end)[0]
    return end
