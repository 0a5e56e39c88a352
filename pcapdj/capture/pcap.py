"""Classic pcap: its two headers.

Source: draft-ietf-opsawg-pcap; where real files differ from it, what libpcap accepts.

    file header, 24 bytes                          record header, 16 bytes
    0       4     6     8        12       16       20       24       0     4     8       12    16
    | magic |major|minor|thiszone|sigfigs |snaplen |linktype|        | sec |frac |caplen | len | packet

Rules:
- magic tells the byte order and the unit of `frac` (microseconds or nanoseconds); 0xa1b2cd34 ("modified")
  puts 8 more bytes behind each record header.
- versions before 2.3, and 543.0, have `caplen` and `len` the other way round; 2.3 has both, the smaller is
  caplen.
- `linktype` has FCS bits on top: they are masked off.
- a snaplen of 0 or beyond 2^31 means "not limited".
"""

import struct
from enum import Enum, auto
from typing import NamedTuple, Self

from pcapdj.capture.formats import CLASSIC_MAGICS
from pcapdj.runtime.errors import CaptureError

FILE_HEADER_BYTES = 24
RECORD_HEADER_BYTES = 16
# libpcap's MAXIMUM_SNAPLEN; a longer record ends every reader of the stream.
MAX_CAPTURED_BYTES = 262_144
LINKTYPE_MASK = 0x03FF_FFFF

_MICRO, _NANO, _MODIFIED = CLASSIC_MAGICS
_MODIFIED_HEADER_BYTES = 24
OLDEST_MAJOR, NEWEST_MINOR, _DG_UX_MAJOR = 2, 4, 543
_MINOR_WITH_BOTH_ORDERS = 3
_INT_MAX = 0x7FFF_FFFF  # libpcap takes a snaplen above it as "not limited", like 0
Bytes = bytes | bytearray | memoryview


class StreamFormat(NamedTuple):
    """What the stream into the analyzer is: classic pcap, little endian, snaplen 262144.

    Args:
        linktype: of all its packets.
        nanosecond: the resolution of their times.
        rewrites: it is Ethernet, and packets of other link types that can be rewritten to it are.
    """

    linktype: int
    nanosecond: bool
    rewrites: bool = False

    def takes_unchanged(self, native: Self | None) -> bool:
        """Report whether little-endian records of that format are records of this one as they are."""
        return native is not None and self[:2] == native[:2]

    def header(self) -> bytes:
        """Return the 24 bytes every stream begins with."""
        magic = _NANO if self.nanosecond else _MICRO
        return struct.pack("<IHHiIII", magic, 2, 4, 0, 0, MAX_CAPTURED_BYTES, self.linktype)


class LengthOrder(Enum):
    """Where a record header has its captured length."""

    CAPTURED_FIRST = auto()
    CAPTURED_LAST = auto()
    SMALLER_IS_CAPTURED = auto()


class Layout(NamedTuple):
    """How the records of one file lie: everything a walk needs to know of the file header.

    `snaplen` is 1 to MAX_CAPTURED_BYTES; `header_bytes` is 16 or 24.
    """

    big_endian: bool
    nanosecond: bool
    linktype: int
    snaplen: int = MAX_CAPTURED_BYTES
    header_bytes: int = RECORD_HEADER_BYTES
    length_order: LengthOrder = LengthOrder.CAPTURED_FIRST

    @property
    def is_plain(self) -> bool:
        """Report whether record headers are the usual ones, but for byte order."""
        return self.header_bytes == RECORD_HEADER_BYTES and self.length_order is LengthOrder.CAPTURED_FIRST

    @property
    def native(self) -> StreamFormat:
        """Return the stream format that carries these records without loss."""
        return StreamFormat(self.linktype, self.nanosecond)

    @property
    def byte_order(self) -> str:
        """Return struct's sign for the byte order."""
        return ">" if self.big_endian else "<"

    def ts_ns(self, window: Bytes, position: int) -> int:
        """Return the timestamp of the record header at `position`, in ns since 1970."""
        seconds, fraction = struct.unpack_from(self.byte_order + "II", window, position)
        return int(seconds * 1_000_000_000 + fraction * (1 if self.nanosecond else 1000))


def parse_file_header(first: bytes) -> Layout:
    """Return how the records behind this file header lie.

    Args:
        first: at least the file's first 24 bytes, which begin with a classic magic.

    Raises:
        CaptureError: fewer than 24 bytes, or a version that nobody reads.
    """
    if len(first) < FILE_HEADER_BYTES:
        raise CaptureError(f"file header is cut off: {len(first)} of {FILE_HEADER_BYTES} bytes", offset=0)
    big_endian = int.from_bytes(first[:4], "big") in CLASSIC_MAGICS
    order = ">" if big_endian else "<"
    magic, major, minor, _zone, _sigfigs, snaplen, linktype = struct.unpack_from(order + "IHHiIII", first)
    return Layout(
        big_endian=big_endian,
        nanosecond=magic == _NANO,
        linktype=linktype & LINKTYPE_MASK,
        snaplen=effective_snaplen(snaplen),
        header_bytes=_MODIFIED_HEADER_BYTES if magic == _MODIFIED else RECORD_HEADER_BYTES,
        length_order=_length_order(major, minor),
    )


def effective_snaplen(snaplen: int) -> int:
    """Return what a file's snaplen means: 0 and absurd values mean "not limited"."""
    return min(snaplen, MAX_CAPTURED_BYTES) if 0 < snaplen <= _INT_MAX else MAX_CAPTURED_BYTES


def _length_order(major: int, minor: int) -> LengthOrder:
    """Return where version `major.minor` has its captured length, or refuse it as libpcap does."""
    if (major, minor) == (_DG_UX_MAJOR, 0):
        return LengthOrder.CAPTURED_LAST
    if major != OLDEST_MAJOR or minor > NEWEST_MINOR:
        raise CaptureError(f"pcap version {major}.{minor} is not supported: 2.0 to 2.4 are", offset=4)
    if minor == _MINOR_WITH_BOTH_ORDERS:
        return LengthOrder.SMALLER_IS_CAPTURED
    return LengthOrder.CAPTURED_FIRST if minor == NEWEST_MINOR else LengthOrder.CAPTURED_LAST


def captured_and_length(order: LengthOrder, first: int, second: int) -> tuple[int, int]:
    """Return a header's two lengths as (captured, on the wire)."""
    if order is LengthOrder.CAPTURED_FIRST:
        return first, second
    if order is LengthOrder.CAPTURED_LAST:
        return second, first
    return (first, second) if first <= second else (second, first)
