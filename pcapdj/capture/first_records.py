"""What the first records of a classic pcap show about the file: a variant, or a text-mode transfer. Pure.

Three programs wrote record headers with more bytes than others, under the same magic. As in Wireshark, the
lengths in the first records decide:

    magic        record header
    0xa1b2c3d4   16 bytes   pcap
                 20 bytes   tcpdump on Nokia's firewalls
                 24 bytes   Red Hat 6.1
    0xa1b2cd34   24 bytes   modified pcap, which is read
                 28 bytes   SuSE 6.3

A file is a variant only if its second record is impossible with the usual header (a fraction of a second or
more, or more captured bytes than there may be), and at least two records are plausible with the variant's.
A text-mode transfer (FTP) puts a CR in front of every LF: without them more records are possible.
"""

import struct
from collections.abc import Callable
from typing import Final, NamedTuple

from pcapdj.capture.pcap import (
    FILE_HEADER_BYTES,
    MAX_CAPTURED_BYTES,
    RECORD_HEADER_BYTES,
    Layout,
    LengthOrder,
)

# Holds two records of any size that a network card delivers; what lies behind them is not needed.
FIRST_RECORDS_BYTES: Final = 1 << 16
_VARIANTS: Final = {
    RECORD_HEADER_BYTES: {20: "Nokia pcap", 24: "Red Hat 6.1 pcap"},
    24: {28: "SuSE 6.3 pcap"},
}
_RECORDS_NEEDED, _RECORDS_READ = 2, 16
_LONGEST_CAPTURE_S = 366 * 86_400
TEXT_MODE: Final = "every LF has a CR before it: the file was probably transferred in text mode"


class FirstRecords(NamedTuple):
    """What they show.

    Args:
        variant: the name of the format, if it is not the one of its magic.
        hint: what may have damaged the file; empty: nothing is known.
    """

    variant: str = ""
    hint: str = ""


class _Row(NamedTuple):
    records: int  # that are accepted, one after the other
    ends_well: bool  # no other record follows in the bytes at hand


def look_at_records(first: bytes, layout: Layout) -> FirstRecords:
    """Return what the first records show.

    Args:
        first: the beginning of the file, with its file header.
        layout: as its file header gives it.
    """
    if layout.length_order is not LengthOrder.CAPTURED_FIRST:
        return FirstRecords()
    usual = _possible(first, layout)
    if not usual.ends_well and usual.records < _RECORDS_NEEDED:
        for header_bytes, name in _VARIANTS[layout.header_bytes].items():
            found = _plausible(first, layout, header_bytes)
            if found.ends_well and found.records >= _RECORDS_NEEDED:
                return FirstRecords(variant=name)
    if 0 < first.count(b"\n") == first.count(b"\r\n"):
        restored = _possible(first.replace(b"\r\n", b"\n"), layout)
        if restored.ends_well and restored.records > usual.records:
            return FirstRecords(hint=TEXT_MODE)
    return FirstRecords()


def _possible(first: bytes, layout: Layout) -> _Row:
    """Return the records that may be read with the usual header."""
    return _row(first, layout, layout.header_bytes, lambda *_: True)


def _plausible(first: bytes, layout: Layout, header_bytes: int) -> _Row:
    """Return the records that are not only possible with a header of this size."""
    start = struct.unpack_from(layout.byte_order + "I", first.ljust(FILE_HEADER_BYTES + 4), FILE_HEADER_BYTES)

    def is_plausible(seconds: int, captured: int, length: int) -> bool:
        return 0 < captured <= length and abs(seconds - start[0]) < _LONGEST_CAPTURE_S

    return _row(first, layout, header_bytes, is_plausible)


def _row(
    first: bytes, layout: Layout, header_bytes: int, is_accepted: Callable[[int, int, int], bool]
) -> _Row:
    fields_at = struct.Struct(layout.byte_order + "IIII").unpack_from
    units_per_s = 1_000_000_000 if layout.nanosecond else 1_000_000
    position = FILE_HEADER_BYTES
    for records in range(_RECORDS_READ):
        if position + header_bytes > len(first):
            return _Row(records, ends_well=True)
        seconds, fraction, captured, length = fields_at(first, position)
        is_possible = fraction < units_per_s and captured <= MAX_CAPTURED_BYTES
        if not is_possible or not is_accepted(seconds, captured, length):
            return _Row(records, ends_well=False)
        position += header_bytes + captured
    return _Row(_RECORDS_READ, ends_well=True)
