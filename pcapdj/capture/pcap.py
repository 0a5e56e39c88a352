"""Classic pcap: its two headers, and the walk that finds where whole records end.

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
- a record holds at most MAX_CAPTURED bytes, or the file is damaged there; one longer than the file's own
  snaplen is cut to it. 0 bytes, len < caplen and any `frac` are passed on.
- zeros instead of a record header, or a second file header, are damage: libpcap reads them as empty packets.

Nothing here reads a file: a walk gets a window of bytes that starts at a record, and says where it had to
stop.
"""

import struct
from dataclasses import dataclass
from enum import Enum, auto

from pcapdj.capture.formats import CLASSIC_MAGICS
from pcapdj.capture.totals import Totals
from pcapdj.runtime.errors import CaptureError

FILE_HEADER_BYTES = 24
RECORD_HEADER_BYTES = 16
# libpcap's MAXIMUM_SNAPLEN; a longer record ends every reader of the stream.
MAX_CAPTURED_BYTES = 262_144
LINKTYPE_MASK = 0x03FF_FFFF

_MICRO, _NANO, _MODIFIED = CLASSIC_MAGICS
_MODIFIED_HEADER_BYTES = 24
_OLDEST_MAJOR, _NEWEST_MINOR, _DG_UX_MAJOR = 2, 4, 543
_MINOR_WITH_BOTH_ORDERS = 3
_INT_MAX = 0x7FFF_FFFF  # libpcap takes a snaplen above it as "not limited", like 0
# Shorter runs of zeros may be packets; a preallocated file's tail is longer or reaches the end of the file.
_ZERO_RUN_BYTES = 64

Bytes = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class StreamFormat:
    """What the stream into the analyzer is: classic pcap, little endian, snaplen 262144."""

    linktype: int
    nanosecond: bool

    def header(self) -> bytes:
        """Return the 24 bytes every stream begins with."""
        magic = _NANO if self.nanosecond else _MICRO
        return struct.pack("<IHHiIII", magic, 2, 4, 0, 0, MAX_CAPTURED_BYTES, self.linktype)


class LengthOrder(Enum):
    """Where a record header has its captured length."""

    CAPTURED_FIRST = auto()
    CAPTURED_LAST = auto()
    SMALLER_IS_CAPTURED = auto()


@dataclass(frozen=True, slots=True)
class Layout:
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
    if major != _OLDEST_MAJOR or minor > _NEWEST_MINOR:
        raise CaptureError(f"pcap version {major}.{minor} is not supported: 2.0 to 2.4 are", offset=4)
    if minor == _MINOR_WITH_BOTH_ORDERS:
        return LengthOrder.SMALLER_IS_CAPTURED
    return LengthOrder.CAPTURED_FIRST if minor == _NEWEST_MINOR else LengthOrder.CAPTURED_LAST


@dataclass(frozen=True, slots=True)
class Damage:
    """Why no record can begin at the place where a walk stopped."""

    reason: str


class Pause(Enum):
    """Why a walk stopped though nothing is wrong."""

    WINDOW_ENDS = auto()  # the next record is not whole in this window: give a window that starts there
    NEEDS_CUTTING = auto()  # the next record is longer than the snaplen: copy it, shortened


@dataclass(frozen=True, slots=True)
class Run:
    """Whole, validated records from the window's start to `end` (excluding), and why it ends there."""

    end: int
    totals: Totals
    stop: Damage | Pause


def walk(window: Bytes, layout: Layout, *, room_bytes: int, is_last: bool) -> Run:
    """Return the run of whole records that a window of a plain-layout file begins with.

    The hot loop of the same-format path: one struct call per record and nothing else. Only headers are looked
    at, so the last record may reach beyond the window.

    Args:
        window: bytes of the file, beginning at a record header.
        layout: a plain one.
        room_bytes: how far records may reach, counted from the window's start.
        is_last: the window reaches the end of the file.
    """
    lengths_at = struct.Struct(layout.byte_order + "8xII").unpack_from
    snaplen, last_header = layout.snaplen, len(window) - RECORD_HEADER_BYTES
    position = previous = packets = lengths_bytes = 0
    stop: Damage | Pause | None = None
    while position <= last_header:
        captured, length = lengths_at(window, position)
        if not 0 < captured <= snaplen:
            stop = judge(window, position, captured, is_last=is_last)
            if stop is not None:
                break
        after = position + RECORD_HEADER_BYTES + captured
        if after > room_bytes:
            break
        lengths_bytes += length
        packets += 1
        previous, position = position, after
    cap_lengths_bytes = position - packets * RECORD_HEADER_BYTES
    totals = Totals()
    if packets:
        first_ns, last_ns = layout.ts_ns(window, 0), layout.ts_ns(window, previous)
        totals = Totals(packets, cap_lengths_bytes, lengths_bytes, first_ns, last_ns)
    return Run(position, totals, stop or Pause.WINDOW_ENDS)


def judge(window: Bytes, position: int, captured: int, *, is_last: bool) -> Damage | Pause | None:
    """Return what to do about a captured length of 0 or above the snaplen; None: pass it on."""
    if captured > MAX_CAPTURED_BYTES:
        return Damage(
            f"record claims {captured} captured bytes, more than the {MAX_CAPTURED_BYTES} any file may have"
        )
    if captured:
        return Pause.NEEDS_CUTTING
    ahead = bytes(window[position : position + _ZERO_RUN_BYTES])
    if len(ahead) < _ZERO_RUN_BYTES and not is_last:
        return Pause.WINDOW_ENDS
    if not any(ahead):
        return Damage("zeros instead of a record: the file was preallocated and never filled to its end")
    if _is_file_header(ahead):
        return Damage("a second file header instead of a record: files were joined with cat")
    return None


def _is_file_header(ahead: bytes) -> bool:
    """Report whether a file header of a usual version starts here."""
    if len(ahead) < FILE_HEADER_BYTES:
        return False
    return any(
        int.from_bytes(ahead[:4], order) in CLASSIC_MAGICS
        and int.from_bytes(ahead[4:6], order) == _OLDEST_MAJOR
        and int.from_bytes(ahead[6:8], order) <= _NEWEST_MINOR
        for order in ("little", "big")
    )


def cut_off(window: Bytes, layout: Layout) -> str:
    """Return why the rest of a file, which is shorter than the record it begins with, is no record."""
    if len(window) < layout.header_bytes:
        return f"file ends inside a record header: {len(window)} of {layout.header_bytes} bytes"
    first, second = struct.unpack_from(layout.byte_order + "8xII", window)
    captured = captured_and_length(layout.length_order, first, second)[0]
    return f"file ends inside a record: {len(window) - layout.header_bytes} of {captured} captured bytes"


def captured_and_length(order: LengthOrder, first: int, second: int) -> tuple[int, int]:
    """Return a header's two lengths as (captured, on the wire)."""
    if order is LengthOrder.CAPTURED_FIRST:
        return first, second
    if order is LengthOrder.CAPTURED_LAST:
        return second, first
    return (first, second) if first <= second else (second, first)


def missing_to_record_end(window: Bytes, delivered_bytes: int) -> int:
    """Return how many bytes of padding bring a stream to the end of its current record.

    For a stream of little-endian records that broke off, because the file shrank under a running splice.
    Header bytes that were not delivered count as the zeros that the padding will put there.

    Args:
        window: what is left of the bytes that were being delivered, from a record's start on.
        delivered_bytes: how many of them, from the window's start on, are in the stream already.

    Returns:
        0 if the stream stands between two records.
    """
    position = 0
    while position < delivered_bytes:
        header = bytes(window[position : min(position + RECORD_HEADER_BYTES, delivered_bytes)])
        (captured,) = struct.unpack_from("<8xI", header.ljust(RECORD_HEADER_BYTES, b"\0"))
        position += RECORD_HEADER_BYTES + min(captured, MAX_CAPTURED_BYTES)
    return position - delivered_bytes
