"""Builds capture files byte by byte, and takes streams apart, independently of the code under test."""

import struct
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from pcapdj.capture.capture import Capture
from pcapdj.capture.pcap import StreamFormat, Totals
from pcapdj.capture.reader import PIECE_BYTES
from pcapdj.runtime.errors import CaptureError

MICRO, NANO, MODIFIED = 0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34
ETHERNET, RAW_IP = 1, 101


_HEAD: Final = {order: struct.Struct(f"{order}IIII") for order in "<>"}


class Record(NamedTuple):
    """A packet as it stands in a classic capture; `length` None: as much as was captured."""

    seconds: int = 1
    fraction: int = 2
    data: bytes = b"packet"
    length: int | None = None

    @property
    def wire_bytes(self) -> int:
        """The length on the wire."""
        return len(self.data) if self.length is None else self.length


def file_header(
    magic: int = MICRO,
    order: str = "<",
    *,
    snaplen: int = 262_144,
    linktype: int = ETHERNET,
    version: tuple[int, int] = (2, 4),
) -> bytes:
    """Return a classic file header."""
    return struct.pack(order + "IHHiIII", magic, *version, 0, 0, snaplen, linktype)


def record(packet: Record, order: str = "<", *, extra: bytes = b"", swapped: bool = False) -> bytes:
    """Return a classic record; `extra` follows its header, `swapped` exchanges the lengths."""
    lengths = (len(packet.data), packet.wire_bytes)
    first, second = lengths[::-1] if swapped else lengths
    return _HEAD[order].pack(packet.seconds, packet.fraction, first, second) + extra + packet.data


def classic(
    packets: Iterable[Record], magic: int = MICRO, order: str = "<", linktype: int = ETHERNET
) -> bytes:
    """Return a whole classic capture."""
    pack, parts = _HEAD[order].pack, [file_header(magic, order, linktype=linktype)]
    for seconds, fraction, data, length in packets:  # `record`, in half the time: some have thousands
        captured = len(data)
        parts += (pack(seconds, fraction, captured, captured if length is None else length), data)
    return b"".join(parts)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """Return a pcapng block; the body is padded."""
    body += b"\0" * (-len(body) % 4)
    total = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + total + body + total


def section(order: str = "<", version: tuple[int, int] = (1, 0)) -> bytes:
    """Return a section header block."""
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, *version, -1), order)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    """Return an option, padded."""
    return struct.pack(order + "HH", code, len(value)) + value + b"\0" * (-len(value) % 4)


def interface(linktype: int = ETHERNET, snaplen: int = 0, options: bytes = b"", order: str = "<") -> bytes:
    """Return an interface description block."""
    return block(1, struct.pack(order + "HHI", linktype, 0, snaplen) + options, order)


def enhanced(
    ticks: int, data: bytes = b"packet", number: int = 0, order: str = "<", length: int | None = None
) -> bytes:
    """Return an enhanced packet block."""
    wire = len(data) if length is None else length
    return block(
        6,
        struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), wire) + data,
        order,
    )


def simple(data: bytes = b"packet", order: str = "<", length: int | None = None) -> bytes:
    """Return a simple packet block."""
    return block(3, struct.pack(order + "I", len(data) if length is None else length) + data, order)


def cooked(
    protocol: int,
    packet: bytes,
    *,
    hardware: int = 1,
    address: bytes = b"\2\1\2\3\4\5",
    address_bytes: int = 6,
) -> bytes:
    """Return a packet as Linux cooks it; hardware: of ARPHRD_."""
    return struct.pack(">HHH8sH", 0, hardware, address_bytes, address, protocol) + packet


def cooked_2(
    protocol: int,
    packet: bytes,
    *,
    hardware: int = 1,
    address: bytes = b"\2\1\2\3\4\5",
    address_bytes: int = 6,
) -> bytes:
    """Return a packet as Linux cooks it in the second version, on interface 3."""
    return struct.pack(">HHIHBB8s", protocol, 0, 3, hardware, 0, address_bytes, address) + packet


def records_of(stream: bytes | bytearray | memoryview) -> list[Record]:
    """Take whole little-endian records apart; anything torn is an error of the test."""
    found, position, size, unpack = [], 0, len(stream), _HEAD["<"].unpack_from
    while position < size:
        seconds, fraction, captured, length = unpack(stream, position)
        position += 16 + captured
        assert position <= size, "torn record"
        found.append(Record(seconds, fraction, bytes(stream[position - captured : position]), length))
    return found


def as_read(packets: Sequence[Record]) -> list[Record]:
    """Return packets with their wire length spelled out, to compare with `records_of`."""
    return [Record(p.seconds, p.fraction, p.data, p.wire_bytes) for p in packets]


def assert_times(totals: Totals, found: Sequence[Record], fraction_ns: int) -> None:
    """Assert that the totals count the steps back, and the times after 2038, of these records."""
    assert totals.has_times_after_2038 == any(each.seconds >= 1 << 31 for each in found)
    if not totals.wrapped_times:
        times = [each.seconds * 10**9 + each.fraction * fraction_ns for each in found]
        steps = [before - after for before, after in pairwise(times) if after < before]
        assert (totals.steps_back, totals.largest_step_back_ns) == (len(steps), max(steps, default=0))


def delivered(
    capture: Capture, stream: StreamFormat | None = None
) -> tuple[list[Record], CaptureError | None]:
    """Return the records that a capture gives to a stream (its own format by default), and what ended it."""
    parts: list[bytes] = []
    wanted = stream or capture.native
    if wanted is None:
        return [], None
    try:
        for piece in capture.pieces(wanted):
            assert len(piece.data) <= PIECE_BYTES
            found = records_of(bytes(piece.data))
            assert piece.totals.packets == len(found) > 0
            assert piece.totals.cap_lengths_bytes == sum(len(r.data) for r in found)
            assert piece.totals.lengths_bytes == sum(r.wire_bytes for r in found)
            if capture.native and wanted.nanosecond == capture.native.nanosecond:
                assert_times(piece.totals, found, 1 if wanted.nanosecond else 1000)
            parts.append(bytes(piece.data))
    except CaptureError as damage:
        return records_of(b"".join(parts)), damage
    return records_of(b"".join(parts)), None
