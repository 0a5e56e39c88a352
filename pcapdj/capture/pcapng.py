"""The short way for what nearly all pcapng files consist of: enhanced packet blocks, one after the other.

It takes only blocks that are good beyond doubt, and stops in front of all others: what is wrong with a block,
and what is odd about it, is decided in `pcapng` alone. Its loop is in `loops`. Where packets are rewritten to
Ethernet, that is done to the records the loop has made.

pcapng: the walk over its blocks, and their packets as classic records.

Source: draft-ietf-opsawg-pcapng. Every block:

    0      4       8                  total-4  total
    | type | total | body ..          | total |      total is a multiple of 4

    section header      0x0A0D0D0A   byte-order magic, version major.minor, section length, options
    interface           1            linktype (2), reserved (2), snaplen, options
    packet (obsolete)   2            interface (2), drops (2), ts high, ts low, caplen, len, packet, options
    simple packet       3            len, packet
    enhanced packet     6            interface, ts high, ts low, caplen, len, packet, options

Rules:
- a section header sets the byte order anew (libpcap refuses a change) and forgets the interfaces.
- a timestamp counts ticks of if_tsresol (10^-n or 2^-n seconds; default 10^-6), plus if_tsoffset seconds; a
  simple packet has none and gets 0.
- packets of an interface whose link type the stream does not carry are counted and left out, and so are those
  that cannot be rewritten; interfaces with another snaplen are no fault (libpcap stops at both).
- all other blocks are skipped, however long; of those above, one longer than MAX_BLOCK_BYTES is damage.
- a classic record has 32 bits of seconds: times before 1970 or after 2106 wrap, as in `tcpdump -w`, counted.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pcapdj.capture.convert import Batch
from pcapdj.capture.ethernet import carries, to_ethernet
from pcapdj.capture.interfaces import Interface, Seconds, parse_interface
from pcapdj.capture.packet_block import Packet, Record, record_of
from pcapdj.capture.pcap import MAX_CAPTURED_BYTES, StreamFormat
from pcapdj.capture.pseudo_headers import has_host_order
from pcapdj.capture.totals import Tally, Totals
from pcapdj.capture.walk import ZEROS, Blocks, Damage, Pause, enhanced_records
from pcapdj.runtime.errors import CaptureError

_FIELDS_BYTES: Final = 28  # of a block, in front of its packet
_LENGTHS: Final = struct.Struct("<II")


@dataclass(frozen=True, slots=True)
class EnhancedRun:
    """Blocks up to `end` (excluding) as records, in parts.

    `skipped` packets of `linktype` could not be rewritten.
    """

    end: int
    totals: Totals
    parts: list[bytes]
    linktype: int = 0
    skipped: int = 0


def enhanced_run(
    window: bytes, position: int, order: str, interfaces: Sequence[Interface], stream: StreamFormat
) -> EnhancedRun:
    """Return the run of good enhanced packet blocks that begins at `position`; it may be empty.

    Args:
        window: bytes of a section.
        position: of a block, behind another one.
        order: struct's sign for the section's byte order.
        interfaces: of the section so far.
        stream: a block of an interface that it does not carry, or not as it carries the first, ends the run.
    """
    linktype = _linktype(window, position, order, interfaces)
    if linktype is None or not carries(stream, linktype):
        return EnhancedRun(position, Totals(), [])
    seconds = Seconds(interfaces, StreamFormat(linktype, stream.nanosecond))
    taken = enhanced_records(window, position, order, seconds)
    if not taken.packets:
        return EnhancedRun(position, Totals(), [])
    if linktype != stream.linktype:
        times_ns = _times_ns(window, position, order, interfaces)
        return _rewritten(taken, linktype, times_ns)
    first_ns, last_ns = (_ts_ns(window, place, order, interfaces) for place in (position, taken.last))
    totals = Totals(taken.packets, taken.cap_bytes, taken.lengths_bytes, first_ns, last_ns)
    return EnhancedRun(taken.end, totals, taken.parts)


def _linktype(window: bytes, position: int, order: str, interfaces: Sequence[Interface]) -> int | None:
    """Return what the block at `position` holds, if it is a packet's; None if that cannot be."""
    if position + _FIELDS_BYTES > len(window):
        return None
    (number,) = struct.unpack_from(order + "8xI", window, position)
    return interfaces[number].linktype if number < len(interfaces) else None


def _rewritten(taken: Blocks, linktype: int, times_ns: Iterator[int]) -> EnhancedRun:
    """Return the run of these blocks, with their packets rewritten to Ethernet.

    Args:
        taken: good ones.
        linktype: of all of them.
        times_ns: of the blocks, in order.
    """
    parts: list[bytes] = []
    tally, skipped = Tally(), 0
    each = iter(taken.parts)
    for second, fraction, rest, ts_ns in zip(each, each, each, times_ns, strict=False):
        packet = to_ethernet(linktype, rest[_LENGTHS.size :], _LENGTHS.unpack_from(rest)[1])
        if packet is None:
            skipped += 1
            continue
        frame, length = packet
        parts += second, fraction, _LENGTHS.pack(len(frame), length), frame
        tally.add(len(frame), length, ts_ns)
    return EnhancedRun(taken.end, tally.totals, parts, linktype, skipped)


def _times_ns(window: bytes, position: int, order: str, interfaces: Sequence[Interface]) -> Iterator[int]:
    """Yield the times of the blocks from `position` on; asked for good ones only."""
    while True:
        yield _ts_ns(window, position, order, interfaces)
        position += struct.unpack_from(order + "4xI", window, position)[0]


def _ts_ns(window: bytes, position: int, order: str, interfaces: Sequence[Interface]) -> int:
    """Return the time of the enhanced packet block at `position`, in ns since 1970."""
    number, high, low = struct.unpack_from(order + "8xIII", window, position)
    interface: Interface = interfaces[number]
    return interface.ts_ns(high << 32 | low)


# What must be seen whole has to fit into a window; the longest packet with 700 KiB of options does.
MAX_BLOCK_BYTES = 1 << 20
# Each costs a few bytes of memory for as long as its section lasts.
MAX_INTERFACES = 1 << 20

_SECTION, _INTERFACE, _OBSOLETE_PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET = 0x0A0D0D0A, 1, 2, 3, 6
_KNOWN = {_SECTION, _INTERFACE, _OBSOLETE_PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET}
_MIN_BLOCK_BYTES, _TRAILER_BYTES, _MIN_SECTION_BYTES = 12, 4, 28
_BYTE_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_MAJOR, _MINORS = 1, (0, 2)  # 1.2 is 1.0 as some programs call it


class BlockWalk:
    """Walks a file's blocks, window after window, each starting where the one before ended.

    Args:
        stream: what packets are converted to; None only looks for `first`.
    """

    def __init__(self, stream: StreamFormat | None = None) -> None:
        self._stream = stream
        self._order = "<"
        self._interfaces: list[Interface] = []
        self._kinds: dict[Interface, Interface] = {}  # a million equal interfaces share one object
        self._owed_trailer: int | None = None  # total of a block whose body was jumped over
        self.first: Interface | None = None  # of the first packet; without packets, of the first interface
        self._packet_seen = False
        self.skipped: dict[int, int] = {}
        self.wrapped_times = 0

    def batch(self, window: bytes) -> Batch:
        """Return the records of a window's whole blocks; `end` may lie beyond the window, after a jump.

        Without a stream it stops behind the first packet.
        """
        parts: list[bytes] = []
        totals, position = Totals(), 0
        stop: Damage | Pause = Pause.WINDOW_ENDS
        try:
            position = self._settle_trailer(window)
            while (total := self._whole_block(window, position)) is not None:
                if position + total > len(window):
                    self._owed_trailer = total
                    position += total - _TRAILER_BYTES
                    break
                packet = self._take(window, position, total)
                position += total
                if packet is not None and self._stream is not None:
                    if record := self._record(window, packet, self._stream):
                        parts += record.parts
                        totals += record.totals
                    run = self._run(window, position, self._stream)
                    totals, position = totals + run.totals, run.end
                    parts += run.parts
                if self.is_done:
                    break
        except CaptureError as damage:
            stop = Damage(damage.reason)
        return Batch(position, totals, stop, b"".join(parts))

    def _run(self, window: bytes, position: int, stream: StreamFormat) -> EnhancedRun:
        """Return the good enhanced packet blocks that follow a packet, the short way if there is one."""
        if self._order == ">" and has_host_order(stream.linktype):
            return EnhancedRun(position, Totals(), [])
        run = enhanced_run(window, position, self._order, self._interfaces, stream)
        self._skip(run.linktype, run.skipped)
        return run

    @property
    def is_done(self) -> bool:
        """Report whether a walk without a stream has found the first packet."""
        return self._stream is None and self._packet_seen

    def cut_off(self, rest: bytes) -> str | None:
        """Return why a file that ends with `rest`, from a block on, ends too early; None if it does not."""
        if self._owed_trailer is None and not rest:
            return None
        return "file ends inside a block"

    def _settle_trailer(self, window: bytes) -> int:
        """Check the trailer of a block jumped over before, and return where the next block starts."""
        owed, has_trailer = self._owed_trailer, len(window) >= _TRAILER_BYTES
        if owed is None or not has_trailer:
            return 0
        self._owed_trailer = None
        self._check_trailer(window, 0, owed)
        return _TRAILER_BYTES

    def _check_trailer(self, window: bytes, position: int, total: int) -> None:
        (trailer,) = struct.unpack_from(self._order + "I", window, position)
        if trailer != total:
            raise CaptureError(f"block of {total} bytes ends with another length, {trailer}")

    def _whole_block(self, window: bytes, position: int) -> int | None:
        """Return the length of the block that begins here; None if more of the file is needed for it."""
        if self._owed_trailer is not None or position + _MIN_BLOCK_BYTES > len(window):
            return None
        (kind,) = struct.unpack_from(self._order + "I", window, position)
        if kind == _SECTION:
            self._order = _section_order(window, position)
        (total,) = struct.unpack_from(self._order + "4xI", window, position)
        if not kind and not total:
            raise CaptureError(ZEROS.format("block"))
        if total < _MIN_BLOCK_BYTES or total % 4:
            raise CaptureError(f"block with an impossible length of {total} bytes")
        if position + total <= len(window):
            self._check_trailer(window, position + total - _TRAILER_BYTES, total)
            return int(total)
        if kind not in _KNOWN:
            return int(total)
        if total > MAX_BLOCK_BYTES:
            raise CaptureError(f"block of {total} bytes, more than the {MAX_BLOCK_BYTES} that are read")
        return None

    def _take(self, window: bytes, position: int, total: int) -> Packet | None:
        """Act on a whole block; return its packet if it has one for the stream."""
        (kind,) = struct.unpack_from(self._order + "I", window, position)
        body, end = position + 8, position + total - _TRAILER_BYTES
        if kind == _SECTION:
            self._start_section(window, body, total)
        elif kind == _INTERFACE:
            self._add_interface(window, body, end)
        elif kind in _KNOWN:
            return self._filtered(self._packet(kind, window, body, end))
        return None

    def _start_section(self, window: bytes, body: int, total: int) -> None:
        if total < _MIN_SECTION_BYTES:
            raise CaptureError(f"section header of {total} bytes, less than {_MIN_SECTION_BYTES}")
        major, minor = struct.unpack_from(self._order + "4xHH", window, body)
        if major != _MAJOR or minor not in _MINORS:
            raise CaptureError(f"pcapng version {major}.{minor} is not supported: 1.0 is")
        self._interfaces.clear()

    def _add_interface(self, window: bytes, body: int, end: int) -> None:
        if len(self._interfaces) >= MAX_INTERFACES:
            raise CaptureError(f"more than {MAX_INTERFACES} interfaces")
        interface = parse_interface(window[body:end], self._order)
        self._interfaces.append(self._kinds.setdefault(interface, interface))
        if self.first is None:
            self.first = interface

    def _packet(self, kind: int, window: bytes, body: int, end: int) -> Packet:
        """Return a packet block's contents, checked against the block and the interfaces."""
        fields = {_ENHANCED_PACKET: "IIIII", _OBSOLETE_PACKET: "HxxIIII", _SIMPLE_PACKET: "I"}[kind]
        header = struct.Struct(self._order + fields)
        if body + header.size > end:
            raise CaptureError("packet block is too short for its own fields")
        if kind == _SIMPLE_PACKET:
            interface, ticks = self._interface(0), 0
            (length,) = header.unpack_from(window, body)
            captured = min(length, interface.snaplen)
        else:
            number, high, low, captured, length = header.unpack_from(window, body)
            interface, ticks = self._interface(number), high << 32 | low
        start = body + header.size
        if captured > MAX_CAPTURED_BYTES or start + captured > end:
            raise CaptureError(f"packet block claims {captured} captured bytes, more than it can hold")
        return Packet(interface, ticks, start, captured, length)

    def _interface(self, number: int) -> Interface:
        if number >= len(self._interfaces):
            raise CaptureError(
                f"packet of interface {number}, but the section describes {len(self._interfaces)}"
            )
        return self._interfaces[number]

    def _filtered(self, packet: Packet) -> Packet | None:
        """Return the packet if the stream carries its link type; count it if not."""
        if not self._packet_seen:
            self._packet_seen, self.first = True, packet.interface
        if self._stream is not None and not carries(self._stream, packet.interface.linktype):
            self._skip(packet.interface.linktype)
            return None
        return packet

    def _record(self, window: bytes, packet: Packet, stream: StreamFormat) -> Record | None:
        """Return the packet's record; count it if it cannot be rewritten, or its time wraps."""
        record = record_of(packet, window, stream, big_endian=self._order == ">")
        if record is None:
            self._skip(packet.interface.linktype)
        elif record.is_wrapped:
            self.wrapped_times += 1
        return record

    def _skip(self, linktype: int, packets: int = 1) -> None:
        if packets:
            self.skipped[linktype] = self.skipped.get(linktype, 0) + packets


def _section_order(window: bytes, position: int) -> str:
    order = _BYTE_ORDERS.get(window[position + 8 : position + 12])
    if order is None:
        raise CaptureError("section header with a wrong byte-order magic")
    return order
