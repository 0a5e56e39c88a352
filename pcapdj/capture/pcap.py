"""Classic pcap: its two headers, the format of the stream, and totals of records. Pure.

Source: draft-ietf-opsawg-pcap; where real files differ from it, what libpcap accepts.

    file header, 24 bytes                          record header, 16 bytes
    0       4     6     8        12       16       20       24       0     4     8       12    16
    | magic |major|minor|thiszone|sigfigs |snaplen |linktype|        | sec |frac |caplen | len | packet

Rules:
- the magic gives the byte order and the unit of `frac` (microseconds or nanoseconds); in a file with the
  magic 0xa1b2cd34 ("modified") each record header has 8 more bytes.
- versions before 2.3, and 543.0, have `len` before `caplen`; in 2.3 both orders occur: the smaller one is
  caplen.
- the upper bits of `linktype` are about the frame check sequence: they are masked off.
- a snaplen of 0 or beyond 2^31 means "not limited".
"""

import struct
from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Final, NamedTuple, Self

from pcapdj.runtime.errors import CaptureError

CLASSIC_MAGICS = {
    0xA1B2C3D4: "pcap",
    0xA1B23C4D: "pcap with nanoseconds",
    0xA1B2CD34: "modified pcap",
}
FILE_HEADER_BYTES = 24
RECORD_HEADER_BYTES = 16
# libpcap's MAXIMUM_SNAPLEN; programs that are built on libpcap stop at a longer record.
MAX_CAPTURED_BYTES = 262_144
LINKTYPE_MASK = 0x03FF_FFFF
SECONDS_RANGE = 1 << 32  # a record header has 32 bits of seconds
RECORD = struct.Struct("<IIII")  # a record header in the stream

_MICRO, _NANO, _MODIFIED = CLASSIC_MAGICS
_MODIFIED_HEADER_BYTES = 24
OLDEST_MAJOR, NEWEST_MINOR, _DG_UX_MAJOR = 2, 4, 543
_MINOR_WITH_BOTH_ORDERS = 3
OTHER_LINKTYPES = 0xFFFF_FFFF  # no number of a link type: counts that are not kept apart
_MOST_LINKTYPES = 16  # that are shown of one file
_SIGN_BIT = 1 << 31  # of a 32-bit second: set from 2038-01-19 on
_INT_MAX = 0x7FFF_FFFF  # libpcap reads a snaplen above it as "not limited", like 0
Bytes = bytes | bytearray | memoryview


class StreamFormat(NamedTuple):
    """The format of the stream into the analyzer: classic pcap, little endian, snaplen 262144.

    Args:
        linktype: of all its packets.
        nanosecond: the timestamp resolution is nanoseconds, else microseconds.
        rewrites: the link type is Ethernet, and packets of other link types are rewritten to it.
    """

    linktype: int
    nanosecond: bool
    rewrites: bool = False

    def takes_unchanged(self, native: Self | None) -> bool:
        """Report whether little-endian records of that format can go into the stream without a change."""
        return native is not None and self[:2] == native[:2]

    def header(self) -> bytes:
        """Return the file header at the start of the stream: 24 bytes."""
        magic = _NANO if self.nanosecond else _MICRO
        return struct.pack("<IHHiIII", magic, 2, 4, 0, 0, MAX_CAPTURED_BYTES, self.linktype)


def is_after_2038(seconds: int) -> bool:
    """Report whether libpcap reads this second of a little-endian record as negative.

    Args:
        seconds: of a record; or those of several records, combined with `|`.
    """
    return bool(seconds & _SIGN_BIT)


class LengthOrder(Enum):
    """Which of a record header's two lengths is the captured one."""

    CAPTURED_FIRST = auto()
    CAPTURED_LAST = auto()
    SMALLER_IS_CAPTURED = auto()


class Layout(NamedTuple):
    """The layout of a file's records, as its file header gives it.

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
        """Report whether record headers are those of pcap 2.4, in either byte order."""
        return self.header_bytes == RECORD_HEADER_BYTES and self.length_order is LengthOrder.CAPTURED_FIRST

    @property
    def native(self) -> StreamFormat:
        """The stream format that keeps these records without loss."""
        return StreamFormat(self.linktype, self.nanosecond)

    @property
    def byte_order(self) -> str:
        """The byte order, as in `struct`."""
        return ">" if self.big_endian else "<"

    @property
    def fraction_ns(self) -> int:
        """How many nanoseconds the unit of a timestamp's fraction has."""
        return 1 if self.nanosecond else 1000

    def ts_ns(self, window: Bytes, position: int) -> int:
        """Return the timestamp of the record header at `position`, in ns since 1970."""
        seconds, fraction = struct.unpack_from(self.byte_order + "II", window, position)
        return int(seconds * 1_000_000_000 + fraction * self.fraction_ns)


def parse_file_header(first: bytes) -> Layout:
    """Return the layout of the records after this file header.

    Args:
        first: at least the file's first 24 bytes, which begin with a classic magic.

    Raises:
        CaptureError: fewer than 24 bytes, or a version that is not supported.
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
    """Return the snaplen in force: 0 and values above 2^31 mean "not limited"."""
    return min(snaplen, MAX_CAPTURED_BYTES) if 0 < snaplen <= _INT_MAX else MAX_CAPTURED_BYTES


def _length_order(major: int, minor: int) -> LengthOrder:
    """Return the order of the two lengths in version `major.minor`; refuse what libpcap refuses."""
    if (major, minor) == (_DG_UX_MAJOR, 0):
        return LengthOrder.CAPTURED_LAST
    if major != OLDEST_MAJOR or minor > NEWEST_MINOR:
        raise CaptureError(f"pcap version {major}.{minor} is not supported; supported: 2.0 to 2.4", offset=4)
    if minor == _MINOR_WITH_BOTH_ORDERS:
        return LengthOrder.SMALLER_IS_CAPTURED
    return LengthOrder.CAPTURED_FIRST if minor == NEWEST_MINOR else LengthOrder.CAPTURED_LAST


def captured_and_length(order: LengthOrder, first: int, second: int) -> tuple[int, int]:
    """Return the two lengths of a record header as (captured, on the wire)."""
    if order is LengthOrder.CAPTURED_FIRST:
        return first, second
    if order is LengthOrder.CAPTURED_LAST:
        return second, first
    return (first, second) if first <= second else (second, first)


class Totals(NamedTuple):
    """Sums over records: of one piece, one file or one stream.

    `lengths_bytes` is the sum of the lengths on the wire, `cap_lengths_bytes` that of the captured lengths;
    they differ only where the snaplen cut packets. Timestamps are nanoseconds since 1970, None without
    records. First and last are in file order, so the last timestamp may be the earlier one.

    Args:
        steps_back, largest_step_back_ns: how many packets are earlier than the packet before them, and the
            largest difference.
        beyond_snaplen: how many packets are longer than the snaplen of their file or interface.
        wrapped_times: how many packets are from before 1970 or after 2106: 32 bits of seconds wrap.
        has_times_after_2038: a second in the stream has its upper bit set: libpcap reads it as negative.
    """

    packets: int = 0
    cap_lengths_bytes: int = 0
    lengths_bytes: int = 0
    first_ts_ns: int | None = None
    last_ts_ns: int | None = None
    steps_back: int = 0
    largest_step_back_ns: int = 0
    beyond_snaplen: int = 0
    wrapped_times: int = 0
    has_times_after_2038: bool = False

    def __add__(self, later: Self) -> "Totals":  # type: ignore[override]  # sums, where a tuple would append
        step_back_ns = 0
        if self.last_ts_ns is not None and later.first_ts_ns is not None:
            step_back_ns = max(self.last_ts_ns - later.first_ts_ns, 0)
        return Totals(
            self.packets + later.packets,
            self.cap_lengths_bytes + later.cap_lengths_bytes,
            self.lengths_bytes + later.lengths_bytes,
            later.first_ts_ns if self.first_ts_ns is None else self.first_ts_ns,
            self.last_ts_ns if later.last_ts_ns is None else later.last_ts_ns,
            self.steps_back + later.steps_back + (step_back_ns > 0),
            max(self.largest_step_back_ns, later.largest_step_back_ns, step_back_ns),
            self.beyond_snaplen + later.beyond_snaplen,
            self.wrapped_times + later.wrapped_times,
            self.has_times_after_2038 or later.has_times_after_2038,
        )


class Place(NamedTuple):
    """Where in a capture the next piece begins, and what was left out before it.

    Args:
        offset: of the next record or block, in bytes of the uncompressed capture; 0: of the first.
        section: offset of the pcapng section header in force.
        interfaces_end: where that section's last interface block before this place ends.
        skipped: number of packets that were left out, by link type.
        crc32: of all bytes before it; None: unknown.
    """

    offset: int = 0
    section: int = 0
    interfaces_end: int = 0
    skipped: Mapping[int, int] = {}
    crc32: int | None = None


BEGINNING: Final = Place()


class RunningTotals:
    """Totals that grow record by record: four times as fast as adding `Totals` of one record each."""

    def __init__(self) -> None:
        self._packets = self._cap_lengths_bytes = self._lengths_bytes = 0
        self._first_ts_ns: int | None = None
        self._last_ts_ns: int | None = None
        self._steps_back = self._largest_step_back_ns = self._beyond_snaplen = self._wrapped_times = 0
        self._seconds_seen = 0

    def add(
        self, captured: int, length: int, ts_ns: int, seconds: int, *, is_beyond_snaplen: bool = False
    ) -> None:
        """Count the next record; `seconds` are those of the stream, before they wrap."""
        self._packets += 1
        self._cap_lengths_bytes += captured
        self._lengths_bytes += length
        if self._last_ts_ns is None:
            self._first_ts_ns = ts_ns
        elif ts_ns < self._last_ts_ns:
            self._steps_back += 1
            self._largest_step_back_ns = max(self._largest_step_back_ns, self._last_ts_ns - ts_ns)
        self._last_ts_ns = ts_ns
        self._beyond_snaplen += is_beyond_snaplen
        self._wrapped_times += not 0 <= seconds < SECONDS_RANGE
        self._seconds_seen |= seconds

    @property
    def totals(self) -> Totals:
        """The totals of all records counted so far."""
        return Totals(
            self._packets,
            self._cap_lengths_bytes,
            self._lengths_bytes,
            self._first_ts_ns,
            self._last_ts_ns,
            self._steps_back,
            self._largest_step_back_ns,
            self._beyond_snaplen,
            self._wrapped_times,
            is_after_2038(self._seconds_seen),
        )


def most_of(left_out: Mapping[int, int]) -> tuple[dict[int, int], int]:
    """Return the link types of most packets, and how many packets all others have.

    A hostile file has 65536 link types; a line of the log and an entry of the journal stay short.

    Args:
        left_out: number of packets by link type.
    """
    named = [each for each in left_out.items() if each[0] != OTHER_LINKTYPES]
    most = dict(sorted(named, key=lambda each: -each[1])[:_MOST_LINKTYPES])
    return most, sum(left_out.values()) - sum(most.values())


class TimeSteps:
    """Compares the times of consecutive records; the loops call it where the second or the order changes.

    Args:
        layout: of the records.
        window: their bytes.
        position: of the first one.
    """

    def __init__(self, layout: Layout, window: bytes, position: int) -> None:
        self.seconds = self.fraction = 0
        if position + RECORD_HEADER_BYTES <= len(window):
            self.seconds, self.fraction = struct.unpack_from(layout.byte_order + "II", window, position)
        self._seconds_seen = self.seconds
        self._fraction_ns = layout.fraction_ns
        self._steps_back = self._largest_step_back = 0

    def step(self, last_fraction: int, seconds: int, fraction: int) -> None:
        """Compare the next record with the one before, which has this fraction and the second seen last."""
        step_back = (self.seconds - seconds) * (1_000_000_000 // self._fraction_ns) + last_fraction - fraction
        if step_back > 0:
            self._steps_back += 1
            self._largest_step_back = max(self._largest_step_back, step_back)
        self._seconds_seen |= seconds
        self.seconds = seconds

    def row(self, last_fraction: int, all_seconds: Sequence[int], fractions: Sequence[int]) -> None:
        """Compare the next records, given as their seconds and fractions."""
        for seconds, fraction in zip(all_seconds, fractions, strict=True):
            self.step(last_fraction, seconds, fraction)
            last_fraction = fraction

    def found(self, packets: int) -> tuple[int, int, bool]:
        """Return the last three fields of `GoodRecords`."""
        has_times_after_2038 = packets > 0 and is_after_2038(self._seconds_seen)
        return self._steps_back, self._largest_step_back * self._fraction_ns, has_times_after_2038
