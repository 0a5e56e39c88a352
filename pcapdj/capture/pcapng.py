"""pcapng: the walk over a file's blocks, and the reader of its packets as classic records.

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
from collections.abc import Iterator

from pcapdj.capture.linktypes import ETHERNET, has_host_order
from pcapdj.capture.packet_blocks import (
    ConvertedBlocks,
    Interface,
    PacketBlock,
    convert_enhanced_blocks,
    convert_packet,
    parse_interface,
)
from pcapdj.capture.pcap import MAX_CAPTURED_BYTES, StreamFormat, Totals
from pcapdj.capture.reader import Piece, Source
from pcapdj.capture.stream_options import accepts, linktype_mismatch
from pcapdj.capture.walk import ZEROS, Batch, Damage
from pcapdj.runtime.errors import CaptureError

# A block that is parsed has to fit into a window; the longest packet with 700 KiB of options does.
MAX_BLOCK_BYTES = 1 << 20
# Each takes a few bytes of memory until its section ends.
MAX_INTERFACES = 1 << 20

_SECTION, _INTERFACE, _OBSOLETE_PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET = 0x0A0D0D0A, 1, 2, 3, 6
_PARSED = {_SECTION, _INTERFACE, _OBSOLETE_PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET}
_MIN_BLOCK_BYTES, _MIN_PACKET_BYTES, _TRAILER_BYTES, _MIN_SECTION_BYTES = 12, 32, 4, 28
_BYTE_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_MAJOR, _MINORS = 1, (0, 2)  # some programs write 1.2 for 1.0
_SWAPPED_VERSION = (_MAJOR << 8, 0)


class BlockWalk:
    """Walks a file's blocks, window after window, each starting where the previous one ended.

    Args:
        stream: the format to convert packets to; None: count all as skipped.

    Attributes:
        skipped: number of packets by link type.
    """

    def __init__(self, stream: StreamFormat | None = None) -> None:
        self._stream = stream
        self._order = "<"
        self._interfaces: list[Interface] = []
        self._kinds: dict[Interface, Interface] = {}  # a million equal interfaces share one object
        self._owed_trailer: int | None = None  # the length of a block whose trailer is still to be checked
        self.skipped: dict[int, int] = {}

    def batch(self, window: bytes) -> Batch:
        """Return the records of a window's whole blocks.

        `end` lies beyond the window if the last block is skipped and longer. Without a stream format there is
        no record.
        """
        parts: list[bytes | bytearray] = []
        totals, position = Totals(), 0
        stop: Damage | None = None
        try:
            position = self._check_owed_trailer(window)
            while (total := self._whole_block(window, position)) is not None:
                if position + total > len(window):
                    self._owed_trailer = total
                    position += total - _TRAILER_BYTES
                    break
                packet = self._handle_block(window, position, total)
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
        return Batch(position, totals, stop, b"".join(parts))

    def _convert_following(self, window: bytes, position: int, stream: StreamFormat) -> ConvertedBlocks:
        """Return the good enhanced packet blocks after a packet; none if this section needs the slow way."""
        if self._order == ">" and has_host_order(stream.linktype):
            return ConvertedBlocks(position, Totals(), [])
        blocks = convert_enhanced_blocks(window, position, self._order, self._interfaces, stream)
        self._skip(blocks.linktype, blocks.skipped)
        return blocks

    def _skip_following(self, window: bytes, position: int) -> int:
        """Skip the good enhanced packet blocks that the stream does not accept; return where another begins.

        A file may consist of them; this is ten times as fast as block by block.
        """
        fields_at = struct.Struct(self._order + "III8xI").unpack_from
        trailer_at, interfaces = struct.Struct(self._order + "I").unpack_from, self._interfaces
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
    def native(self) -> StreamFormat | None:
        """The link type of most packets skipped and the finest resolution; None without an interface.

        On a tie, or without packets, it is Ethernet if an interface is; else that of the first one.
        """
        if not self._kinds:
            return None
        most = max(self.skipped.values(), default=0)
        found = [linktype for linktype, packets in self.skipped.items() if packets == most]
        linktypes = [interface.linktype for interface in self._kinds]
        if len(found) != 1:
            found = [ETHERNET] if ETHERNET in linktypes else found or linktypes
        return StreamFormat(found[0], nanosecond=any(each.is_finer_than_us for each in self._kinds))

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
        (trailer,) = struct.unpack_from(self._order + "I", window, position)
        if trailer != total:
            raise CaptureError(f"block of {total} bytes has a different length at its end: {trailer}")

    def _whole_block(self, window: bytes, position: int) -> int | None:
        """Return the length of the block that begins here; None if the window does not hold enough of it."""
        if self._owed_trailer is not None or position + _MIN_BLOCK_BYTES > len(window):
            return None
        (kind,) = struct.unpack_from(self._order + "I", window, position)
        if kind == _SECTION:
            self._order = _section_order(window, position)
        (total,) = struct.unpack_from(self._order + "4xI", window, position)
        if not kind and not total:
            raise CaptureError(ZEROS.format("block"))
        if total < _MIN_BLOCK_BYTES or total % 4:
            raise CaptureError(f"block has an invalid length of {total} bytes")
        if position + total <= len(window):
            self._check_trailer(window, position + total - _TRAILER_BYTES, total)
            return int(total)
        if kind not in _PARSED:
            return int(total)
        if total > MAX_BLOCK_BYTES:
            raise CaptureError(f"block of {total} bytes, more than the maximum of {MAX_BLOCK_BYTES}")
        return None

    def _handle_block(self, window: bytes, position: int, total: int) -> PacketBlock | None:
        """Update the section's state from a whole block; return its packet if it has one for the stream."""
        (kind,) = struct.unpack_from(self._order + "I", window, position)
        body, end = position + 8, position + total - _TRAILER_BYTES
        if kind == _SECTION:
            self._start_section(window, body, total)
        elif kind == _INTERFACE:
            self._add_interface(window, body, end)
        elif kind in _PARSED:
            return self._accepted(self._packet(kind, window, body, end))
        return None

    def _start_section(self, window: bytes, body: int, total: int) -> None:
        if total < _MIN_SECTION_BYTES:
            raise CaptureError(
                f"section header of {total} bytes, less than the minimum of {_MIN_SECTION_BYTES}"
            )
        major, minor = struct.unpack_from(self._order + "4xHH", window, body)
        if (major, minor) == _SWAPPED_VERSION:
            raise CaptureError(
                f"pcapng version {major}.{minor} is a draft of 2005 (.ntar) with a swapped version field:"
                " it is not supported, and editcap does not read it either"
            )
        if major != _MAJOR or minor not in _MINORS:
            raise CaptureError(f"pcapng version {major}.{minor} is not supported; supported: 1.0 and 1.2")
        self._interfaces.clear()

    def _add_interface(self, window: bytes, body: int, end: int) -> None:
        if len(self._interfaces) >= MAX_INTERFACES:
            raise CaptureError(f"section has more than {MAX_INTERFACES} interfaces")
        interface = parse_interface(window[body:end], self._order)
        self._interfaces.append(self._kinds.setdefault(interface, interface))

    def _packet(self, kind: int, window: bytes, body: int, end: int) -> PacketBlock:
        """Return a packet block's contents, checked against the block's length and the interfaces."""
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
            raise CaptureError(f"packet block has {captured} captured bytes, more than fit into it")
        return PacketBlock(interface, ticks, start, captured, length)

    def _interface(self, number: int) -> Interface:
        if number >= len(self._interfaces):
            raise CaptureError(
                f"packet of interface {number}, but the section defines only {len(self._interfaces)}"
            )
        return self._interfaces[number]

    def _accepted(self, packet: PacketBlock) -> PacketBlock | None:
        """Return the packet if the stream accepts its link type; else count it as skipped."""
        if self._stream is None or not accepts(self._stream, packet.interface.linktype):
            self._skip(packet.interface.linktype)
            return None
        return packet

    def _convert(
        self, window: bytes, packet: PacketBlock, stream: StreamFormat
    ) -> tuple[bytes, bytes, Totals] | None:
        record = convert_packet(packet, window, stream, big_endian=self._order == ">")
        if record is None:
            self._skip(packet.interface.linktype)
        return record

    def _skip(self, linktype: int, packets: int = 1) -> None:
        if packets:
            self.skipped[linktype] = self.skipped.get(linktype, 0) + packets


def _section_order(window: bytes, position: int) -> str:
    order = _BYTE_ORDERS.get(window[position + 8 : position + 12])
    if order is None:
        raise CaptureError("section header has an invalid byte-order magic")
    return order


class PcapngReader:
    """Reads the packets of a pcapng file.

    Opening walks through the first window with a packet, which decides link type and timestamp resolution.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._walk = BlockWalk()
        first = self._first_window()
        self.native, self.has_packets = first.native, first.is_done
        self.snaplen: int | None = None

    @property
    def skipped(self) -> dict[int, int]:
        """Packets that the latest `pieces` skipped, by link type."""
        return self._walk.skipped

    def pieces(self, stream: StreamFormat) -> Iterator[Piece]:
        """Yield the packets that the stream accepts, window by window."""
        self._walk = walk = BlockWalk(stream)
        has_any = False
        for piece in self._read(walk):
            has_any = True
            yield piece
        has_fitting = has_any or any(accepts(stream, linktype) for linktype in walk.skipped)
        if walk.skipped and not has_fitting and self.native is not None:
            raise CaptureError(linktype_mismatch(self.native.linktype, stream.linktype))

    def close(self) -> None:
        """Stop using the file."""
        self._source.close()

    def _first_window(self) -> BlockWalk:
        """Return a walk through the first window with a packet; `pieces` reports damage again."""
        walk = BlockWalk()
        try:
            for _ in self._read(walk):
                pass
        except CaptureError:
            if walk.native is None:
                raise
        return walk

    def _read(self, walk: BlockWalk) -> Iterator[Piece]:
        offset = 0
        while True:
            window = self._source.window(offset)
            batch = walk.batch(window.data)
            if batch.totals.packets:
                yield Piece(batch.totals, len(batch.data), None, batch.data, window.source_end)
            offset += batch.end
            if batch.stop is not None:
                raise CaptureError(batch.stop.reason, offset=offset)
            if not batch.end or walk.is_done:
                self._check_end(walk, window.data[batch.end :], offset)
                return

    def _check_end(self, walk: BlockWalk, rest: bytes, offset: int) -> None:
        if walk.is_done:
            return
        reason = self._source.fault or walk.cut_off(rest)
        if reason is not None:
            raise CaptureError(reason, offset=offset)
