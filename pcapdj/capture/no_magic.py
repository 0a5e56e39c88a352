"""Formats that have no magic: named by the fields, lengths and words in their first bytes. Pure.

None of them is read; an operator shall learn what the file is. A rule has to hold for two records, or for one
record with so many fields that chance is excluded.

    ERF        timestamp (8) | type (1) | flags (1) | length (2, big endian) | loss (2) | wire length (2)
    hcidump    length (2) | incoming (1) | zero (1) | seconds (4) | microseconds (4) | packet type (1) ..
    CommView   length (2) | source length (2) | version (1) | year (2) | month | day | hour | minute
               | second (1) | microseconds (4) | flags (1) | signal in percent (1) ..
    pppd       type 7 (1) | seconds (4) | type 1, 2 (data: length (2) ..), 5, 6 (steps of time: 4 bytes, 1)
    lzma       0x5d | dictionary's size (4) | length (8), all ones: unknown | 0

Numbers are little endian unless noted. iSeries, Ascend: words in text.
"""

import re
import struct
from collections.abc import Callable
from typing import Final

_ERF: Final = struct.Struct(">8xBBHHH")
_ERF_TYPES = range(1, 49)  # HDLC_POS .. ALIGNED_ANC; the top bit announces extension headers
_HCI: Final = struct.Struct("<HBBIIB")
_HCI_HEADER_BYTES, _HCI_TYPES = 12, range(1, 5)
_COMMVIEW: Final = struct.Struct("<HHBHBBBBBIBB")
_MICROSECONDS_PER_S = 1_000_000
_RECORDS_NEEDED = 2  # one plausible record may be chance
_PPPD_FIRST, _PPPD_DATA, _PPPD_STEPS = 7, (1, 2), {5: 5, 6: 2}
_LZMA: Final = struct.Struct("<BIQB")
_LZMA_PROPERTIES, _LZMA_UNKNOWN, _LZMA_MOST_BYTES = 0x5D, (1 << 64) - 1, 1 << 40
_ISERIES: Final = "COMMUNICATIONS TRACE"
_ISERIES_LINES_BYTES = 320
_ASCEND = (
    rb"(?m)^(?:(?:PRI-)?(?:XMIT|RECV|RCV)-|ETHER\w* (?:XMIT|RECV):|WD_DIALOUT_DISP:)"
    rb"[^\r\n]*\b(?:task|octets)\b"
)


def name_without_magic(first: bytes) -> str | None:
    """Return the name of the format of a file that begins with `first`; None: none of these."""
    return next((name for name, is_it in _RULES.items() if is_it(first)), None)


def _is_erf(first: bytes) -> bool:
    position = 0
    for _ in range(_RECORDS_NEEDED):
        if position + _ERF.size > len(first):
            return False
        erf_type, _flags, record_bytes, _loss, wire_bytes = _ERF.unpack_from(first, position)
        if erf_type & 0x7F not in _ERF_TYPES or record_bytes < _ERF.size or not wire_bytes:
            return False
        position += record_bytes
    return True


def _is_hcidump(first: bytes) -> bool:
    position = 0
    for _ in range(_RECORDS_NEEDED):
        if position + _HCI.size > len(first):
            return False
        length, incoming, zero, _seconds, micros, kind = _HCI.unpack_from(first, position)
        if not length or incoming > 1 or zero or micros >= _MICROSECONDS_PER_S or kind not in _HCI_TYPES:
            return False
        position += _HCI_HEADER_BYTES + length
    return True


def _is_commview(first: bytes) -> bool:
    if len(first) < _COMMVIEW.size:
        return False
    length, source, version, year, month, day, hour, minute, second, micros, flags, signal = (
        _COMMVIEW.unpack_from(first)
    )
    is_header = length > 0 and source > 0 and not version and micros < _MICROSECONDS_PER_S
    is_time = 1970 <= year < 2038 and 1 <= month <= 12 and 1 <= day <= 31  # noqa: PLR2004 - a calendar
    is_time = is_time and hour < 24 and minute < 60 and second <= 60  # noqa: PLR2004 - a clock
    return is_header and is_time and flags & 0x8F <= 2 and signal <= 100  # noqa: PLR2004 - medium; percent


def _is_pppd(first: bytes) -> bool:
    if not first or first[0] != _PPPD_FIRST:
        return False
    position = 5
    while first[position : position + 1] and first[position] in _PPPD_STEPS:
        position += _PPPD_STEPS[first[position]]
    kind, length = first[position : position + 1], first[position + 1 : position + 3]
    return bool(kind) and kind[0] in _PPPD_DATA and any(length) and first[position + 3 : position + 4] == b"~"


def _is_lzma(first: bytes) -> bool:
    if len(first) < _LZMA.size:
        return False
    properties, dictionary, length, zero = _LZMA.unpack_from(first)
    is_power = dictionary.bit_count() == 1
    is_length = length == _LZMA_UNKNOWN or 0 < length < _LZMA_MOST_BYTES
    return properties == _LZMA_PROPERTIES and is_power and is_length and not zero


def _is_iseries(first: bytes) -> bool:
    lines = first[:_ISERIES_LINES_BYTES]
    return any(_ISERIES.encode(encoding) in lines for encoding in ("ascii", "utf-16-le"))


def _is_ascend(first: bytes) -> bool:
    return re.search(_ASCEND, first) is not None


_RULES: Final[dict[str, Callable[[bytes], bool]]] = {
    "ERF": _is_erf,
    "Bluetooth hcidump": _is_hcidump,
    "CommView": _is_commview,
    "pppd record": _is_pppd,
    "lzma": _is_lzma,
    "iSeries communications trace": _is_iseries,
    "Ascend text": _is_ascend,
}
