"""Captures in which each packet contains the number of its file and its own number."""

import gzip
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

STREAM_HEADER: Final = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1)
RECORD: Final = struct.Struct("<IIII")
_TAG: Final = struct.Struct(">6sII")
_MAGIC: Final = b"pcapdj"
_HEADERS_BYTES: Final = 14 + 20 + 8  # Ethernet, IPv4, UDP: whole and valid, so that real analyzers count them
_START_S: Final = 1_700_000_000


@cache
def _headers(payload_bytes: int) -> bytes:
    """Return Ethernet, IPv4 and UDP headers in front of so many bytes."""
    ip = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 28 + payload_bytes, 0, 0, 64, 17, 0, b"\x0a\0\0\1", b"\x0a\0\0\2"
    )
    total = sum(struct.unpack(">10H", ip))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~(total + (total >> 16)) & 0xFFFF
    udp = struct.pack(">HHHH", 40_000, 40_001, 8 + payload_bytes, 0)
    return b"\2\0\0\0\0\1\2\0\0\0\0\2\x08\0" + ip[:10] + struct.pack(">H", checksum) + ip[12:] + udp


def frame(file: int, number: int, size_bytes: int) -> bytes:
    """Return packet `number` of a file; sizes vary a little, so that no border falls on a round number."""
    payload_bytes = max(_TAG.size, size_bytes - _HEADERS_BYTES + number * 37 % 61)
    tag = _TAG.pack(_MAGIC, file, number)
    return _headers(payload_bytes) + tag + bytes([number & 255]) * (payload_bytes - _TAG.size)


def tag_of(data: bytes, offset: int) -> tuple[int, int] | None:
    """Return file and number of the packet whose captured bytes begin there; None: it is none of ours."""
    if len(data) < offset + _HEADERS_BYTES + _TAG.size:
        return None
    magic, file, number = _TAG.unpack_from(data, offset + _HEADERS_BYTES)
    return (file, number) if magic == _MAGIC else None


def record(number: int, data: bytes) -> bytes:
    """Return the record as the stream has to bring it."""
    return RECORD.pack(_START_S + number // 1000, number % 1000, len(data), len(data)) + data


@dataclass(frozen=True, slots=True)
class Numbered:
    """A capture on disk, and what the analyzer has to see of it.

    Args:
        body: its records as they have to arrive.
        packets: how many.
    """

    path: Path
    number: int
    body: bytes
    packets: int


def body_of(file: int, packets: int, size_bytes: int) -> bytes:
    """Return the records of a file as they have to arrive."""
    return b"".join(record(number, frame(file, number, size_bytes)) for number in range(packets))


def records_in(body: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield seconds, microseconds and bytes of whole records."""
    position = 0
    while position < len(body):
        seconds, micros, captured, _ = RECORD.unpack_from(body, position)
        position += RECORD.size + captured
        yield seconds, micros, body[position - captured : position]


def plain(body: bytes) -> bytes:
    """Return a file that is spliced as it is."""
    return STREAM_HEADER + body


def big_endian(body: bytes) -> bytes:
    """Return a file of the other byte order: it is converted."""
    head = struct.pack(">IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1)
    return head + b"".join(
        struct.pack(">IIII", seconds, micros, len(data), len(data)) + data
        for seconds, micros, data in records_in(body)
    )


def nanoseconds(body: bytes) -> bytes:
    """Return a file with nanoseconds."""
    head = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262_144, 1)
    return head + b"".join(
        RECORD.pack(seconds, micros * 1000, len(data), len(data)) + data
        for seconds, micros, data in records_in(body)
    )


def pcapng(body: bytes) -> bytes:
    """Return a pcapng file with one interface."""
    parts = [struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)]
    parts.append(struct.pack("<IIHHII", 1, 20, 1, 0, 0, 20))
    for seconds, micros, data in records_in(body):
        ticks, padded = seconds * 1_000_000 + micros, len(data) + -len(data) % 4
        head = struct.pack(
            "<IIIIIII", 6, padded + 32, 0, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data)
        )
        parts.append(head + data.ljust(padded, b"\0") + struct.pack("<I", padded + 32))
    return b"".join(parts)


def gzipped(body: bytes) -> bytes:
    """Return a compressed file."""
    return gzip.compress(plain(body), 1)


FORMS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "plain.pcap": plain,
    "ns.pcap": nanoseconds,
    "be.pcap": big_endian,
    "ng.pcapng": pcapng,
    "plain.pcap.gz": gzipped,
}


def write_numbered(
    folder: Path, file: int, packets: int, *, size_bytes: int = 1000, form: str = "plain.pcap"
) -> Numbered:
    """Write a capture that no process writes to any more, and return it."""
    body = body_of(file, packets, size_bytes)
    path = folder / f"{file:06d}-{form}"
    path.write_bytes(FORMS[form](body))
    return Numbered(path, file, body, packets)
