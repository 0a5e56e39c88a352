"""pcapng: the walk over a file's blocks, which gives its packets as classic records.

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
- packets are skipped and counted if the stream does not accept the link type of their interface, or if they
  cannot be rewritten. Interfaces with different snaplens are read (libpcap stops at both).
- all other blocks are skipped, however long; one of the above that is longer than MAX_BLOCK_BYTES is damage.
- a classic record has 32 bits of seconds: timestamps before 1970 or after 2106 wrap, as in `tcpdump -w`.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from pcapdj.capture.interfaces import Interface, SectionInterfaces, parse_interface
from pcapdj.capture.linktypes import ETHERNET, has_host_order
from pcapdj.capture.packet_blocks import (
    ConvertedBlocks,
    PacketBlock,
    convert_enhanced_blocks,
    convert_packet,
)
from pcapdj.capture.pcap import BEGINNING, MAX_CAPTURED_BYTES, OTHER_LINKTYPES, StreamFormat, Totals
from pcapdj.capture.stream_options import accepts
from pcapdj.capture.walk import ZEROS, ConvertedRecords, Damage
from pcapdj.runtime.errors import CaptureError
from pcapdj.runtime.numbers import counted

# A block that is parsed has to fit into memory; the longest packet with 700 KiB of options does.
MAX_BLOCK_BYTES = 1 << 20
_MOST_LINKTYPES = 1024  # that are counted one by one; a note of a batch has room for fewer

_SECTION, _INTERFACE, _OBSOLETE_PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET = 0x0A0D0D0A, 1, 2, 3, 6
_PARSED = {_SECTION, _INTERFACE, _OBSOLETE_PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET}
_MIN_BLOCK_BYTES, _MIN_PACKET_BYTES, _TRAILER_BYTES, _MIN_SECTION_BYTES = 12, 32, 4, 28
_BYTE_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_MAJOR, _MINORS = 1, (0, 2)  # some programs write 1.2 for 1.0
_SWAPPED_VERSION = (_MAJOR << 8, 0)


@dataclass(slots=True)
class Section:
    """The section that a walk is in.

    Args:
        start: offset of its header in the capture.
        interfaces_end: where its last interface block so far ends, or its header, if it has none.
        order: its byte order, as in `struct`.
        interfaces: those described so far.
    """

    start: int = 0
    interfaces_end: int = 0
    order: str = "<"
    interfaces: SectionInterfaces = field(default_factory=SectionInterfaces)


class BlockWalk:
    """Walks a file's blocks, window after window, each starting where the previous one ended.

    Args:
        stream: the format to convert packets to; None: count all as skipped.
        section: where the walk begins; default: at the file's beginning.
        skipped: number of packets by link type that were skipped before.

    Attributes:
        section: where the walk is.
        skipped: number of packets by link type.
        has_packet: the latest window has a packet, accepted or skipped.
        packets: how many the latest window has, accepted or skipped.
        other_blocks: how many of its blocks are no packets.
    """

    def __init__(
        self,
        stream: StreamFormat | None = None,
        *,
        section: Section | None = None,
        skipped: Mapping[int, int] = BEGINNING.skipped,
    ) -> None:
        self._stream = stream
        self.section = section or Section()
        self._first_linktype: int | None = None  # of the file's interfaces
        self._has_ethernet = self._is_finer_than_us = False
        self._owed_trailer: int | None = None  # the length of a block whose trailer is still to be checked
        self.skipped: dict[int, int] = dict(skipped)
        self.has_packet = False
        self.packets = self.other_blocks = 0

    def records(self, window: bytes, offset: int = 0) -> ConvertedRecords:
        """Return the records of a window's whole blocks.

        `end` lies beyond the window if the only block is skipped and longer. Without a stream format there is
        no record.

        Args:
            window: bytes of the capture.
            offset: where it begins.
        """
        parts: list[bytes | bytearray] = []
        totals, position = Totals(), 0
        stop: Damage | None = None
        self.has_packet, self.packets, self.other_blocks = False, 0, 0
        try:
            position = self._check_owed_trailer(window)
            while (total := self._whole_block(window, position)) is not None:
                if position + total > len(window):
                    if position:  # a piece ends at a block: there its reading can be taken up
                        break
                    self._owed_trailer = total
                    self.other_blocks += 1
                    position += total - _TRAILER_BYTES
                    break
                packet = self._handle_block(window, position, total, offset)
                position += total
                if packet is None or self._stream is None:
                    position = self._skip_following(window, position)
                else:
                    if record := self._convert(window, packet, self._stream):
                        parts += record[:2]
                        totals += record[2]
                    blocks = self._convert_following(window, position, self._stream)
                    totals, position = totals + blocks.totals, blocks.end
                    parts += blocks.parts
        except CaptureError as damage:
            stop = Damage(damage.reason)
        self.packets += totals.packets
        return ConvertedRecords(position, totals, stop, b"".join(parts))

    def _convert_following(self, window: bytes, position: int, stream: StreamFormat) -> ConvertedBlocks:
        """Return the good enhanced packet blocks after a packet; none if this section needs the slow way."""
        if self.section.order == ">" and has_host_order(stream.linktype):
            return ConvertedBlocks(position, Totals(), [])
        blocks = convert_enhanced_blocks(
            window, position, self.section.order, self.section.interfaces, stream
        )
        self._skip(blocks.linktype, blocks.skipped)
        return blocks

    def _skip_following(self, window: bytes, position: int) -> int:
        """Skip the good enhanced packet blocks that the stream does not accept; return where another begins.

        A file may consist of them; this is ten times as fast as block by block.
        """
        fields_at = struct.Struct(self.section.order + "III8xI").unpack_from
        trailer_at, interfaces = struct.Struct(self.section.order + "I").unpack_from, self.section.interfaces
        found: dict[int, int] = {}
        while position + _MIN_PACKET_BYTES <= len(window):
            kind, total, number, captured = fields_at(window, position)
            if kind != _ENHANCED_PACKET or captured > min(total - _MIN_PACKET_BYTES, MAX_CAPTURED_BYTES):
                break
            after = position + total
            if total % 4 or after > len(window) or trailer_at(window, after - _TRAILER_BYTES)[0] != total:
                break
            if number >= len(interfaces):
                break
            linktype = interfaces[number].linktype
            if linktype not in found and self._stream is not None and accepts(self._stream, linktype):
                break
            found[linktype] = found.get(linktype, 0) + 1
            position = after
        for linktype, packets in found.items():
            self._skip(linktype, packets)
        return position

    @property
    def is_done(self) -> bool:
        """Report whether a walk without a stream format has found a packet."""
        return self._stream is None and bool(self.skipped)

    @property
    def is_inside_block(self) -> bool:
        """Report whether the latest window ends inside a skipped block, which the next one goes on with."""
        return self._owed_trailer is not None

    @property
    def native(self) -> StreamFormat | None:
        """The link type of most packets skipped and the finest resolution; None without an interface.

        On a tie, or without packets, it is Ethernet if an interface is; else that of the first one.
        """
        if self._first_linktype is None:
            return None
        most = max(self.skipped.values(), default=0)
        found = [linktype for linktype, packets in self.skipped.items() if packets == most]
        if len(found) != 1:
            found = [ETHERNET] if self._has_ethernet else found or [self._first_linktype]
        return StreamFormat(found[0], nanosecond=self._is_finer_than_us)

    def cut_off(self, rest: bytes) -> str | None:
        """Return how a file is cut off that ends with `rest`, from a block on; None if it is complete."""
        if self._owed_trailer is None and not rest:
            return None
        return "file ends inside a block"

    def _check_owed_trailer(self, window: bytes) -> int:
        """Check the trailer of the block that the previous window cut off; return where the next begins."""
        owed, has_trailer = self._owed_trailer, len(window) >= _TRAILER_BYTES
        if owed is None or not has_trailer:
            return 0
        self._owed_trailer = None
        self._check_trailer(window, 0, owed)
        return _TRAILER_BYTES

    def _check_trailer(self, window: bytes, position: int, total: int) -> None:
        (trailer,) = struct.unpack_from(self.section.order + "I", window, position)
        if trailer != total:
            raise CaptureError(f"block of {total} bytes has a different length at its end: {trailer}")

    def _whole_block(self, window: bytes, position: int) -> int | None:
        """Return the length of the block that begins here; None if the window does not hold enough of it."""
        if self._owed_trailer is not None or position + _MIN_BLOCK_BYTES > len(window):
            return None
        (kind,) = struct.unpack_from(self.section.order + "I", window, position)
        if kind == _SECTION:
            self.section.order = _section_order(window, position)
        (total,) = struct.unpack_from(self.section.order + "4xI", window, position)
        if not kind and not total:
            raise CaptureError(ZEROS.format("block"))
        if total < _MIN_BLOCK_BYTES or total % 4:
            raise CaptureError(f"block has an invalid length of {counted(total, 'byte')}")
        if position + total <= len(window):
            self._check_trailer(window, position + total - _TRAILER_BYTES, total)
            return int(total)
        if kind not in _PARSED:
            return int(total)
        if total > MAX_BLOCK_BYTES:
            raise CaptureError(f"block of {total} bytes, more than the maximum of {MAX_BLOCK_BYTES}")
        return None

    def needed_bytes(self, window: bytes) -> int:
        """Return how long the block at the window's start is; 0: too little of it is there."""
        if self._owed_trailer is not None or len(window) < _MIN_BLOCK_BYTES:
            return 0
        return int(struct.unpack_from(self.section.order + "4xI", window)[0])

    def _handle_block(self, window: bytes, position: int, total: int, offset: int) -> PacketBlock | None:
        """Update the section's state from a whole block; return its packet if it has one for the stream."""
        (kind,) = struct.unpack_from(self.section.order + "I", window, position)
        body, end = position + 8, position + total - _TRAILER_BYTES
        if kind == _SECTION:
            self._start_section(window, body, total)
            self.section.start, self.section.interfaces_end = offset + position, offset + position + total
        elif kind == _INTERFACE:
            self._add_interface(window, body, end)
            self.section.interfaces_end = offset + position + total
        elif kind in _PARSED:
            self.has_packet = True
            return self._accepted(self._packet(kind, window, body, end))
        self.other_blocks += 1
        return None

    def _start_section(self, window: bytes, body: int, total: int) -> None:
        if total < _MIN_SECTION_BYTES:
            raise CaptureError(
                f"section header of {total} bytes, less than the minimum of {_MIN_SECTION_BYTES}"
            )
        major, minor = struct.unpack_from(self.section.order + "4xHH", window, body)
        if (major, minor) == _SWAPPED_VERSION:
            raise CaptureError(
                f"pcapng version {major}.{minor} is a draft of 2005 (.ntar) with a swapped version field:"
                " it is not supported, and editcap does not read it either"
            )
        if major != _MAJOR or minor not in _MINORS:
            raise CaptureError(f"pcapng version {major}.{minor} is not supported; supported: 1.0 and 1.2")
        self.section.interfaces = SectionInterfaces()

    def _add_interface(self, window: bytes, body: int, end: int) -> None:
        interface = parse_interface(window[body:end], self.section.order)
        self.section.interfaces.add(interface)
        if self._first_linktype is None:
            self._first_linktype = interface.linktype
        self._has_ethernet |= interface.linktype == ETHERNET
        self._is_finer_than_us |= interface.is_finer_than_us

    def _packet(self, kind: int, window: bytes, body: int, end: int) -> PacketBlock:
        """Return a packet block's contents, checked against the block's length and the interfaces."""
        fields = {_ENHANCED_PACKET: "IIIII", _OBSOLETE_PACKET: "HxxIIII", _SIMPLE_PACKET: "I"}[kind]
        header = struct.Struct(self.section.order + fields)
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
            raise CaptureError(f"packet block has {captured} captured bytes, more than fit into it")
        return PacketBlock(interface, ticks, start, captured, length)

    def _interface(self, number: int) -> Interface:
        if number >= len(self.section.interfaces):
            raise CaptureError(
                f"packet of interface {number}, but the section defines only {len(self.section.interfaces)}"
            )
        return self.section.interfaces[number]

    def _accepted(self, packet: PacketBlock) -> PacketBlock | None:
        """Return the packet if the stream accepts its link type; else count it as skipped."""
        if self._stream is None or not accepts(self._stream, packet.interface.linktype):
            self._skip(packet.interface.linktype)
            return None
        return packet

    def _convert(
        self, window: bytes, packet: PacketBlock, stream: StreamFormat
    ) -> tuple[bytes, bytes, Totals] | None:
        record = convert_packet(packet, window, stream, big_endian=self.section.order == ">")
        if record is None:
            self._skip(packet.interface.linktype)
        return record

    def _skip(self, linktype: int, packets: int = 1) -> None:
        if packets:
            self.has_packet = True
            self.packets += packets
            if linktype not in self.skipped and len(self.skipped) >= _MOST_LINKTYPES:
                linktype = OTHER_LINKTYPES
            self.skipped[linktype] = self.skipped.get(linktype, 0) + packets


def _section_order(window: bytes, position: int) -> str:
    order = _BYTE_ORDERS.get(window[position + 8 : position + 12])
    if order is None:
        raise CaptureError("section header has an invalid byte-order magic")
    return order
