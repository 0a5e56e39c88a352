"""Captures that are made of many small parts of one or a few kinds, as an attacker would choose them.

A file is a beginning and a number of parts, so that the same file is there in any size: what it costs to read
must grow with its size and no faster.
"""

import bz2
import gzip
import lzma
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from backports import zstd
from support.captures import (
    MICRO,
    NANO,
    Record,
    block,
    enhanced,
    file_header,
    interface,
    option,
    record,
    section,
    simple,
)
from support.frames import ethernet, header, ip_packet, tcp_frame
from support.frames import record as stream_record

Part = Callable[[int], bytes]
Traffic = tuple[str, Callable[[int], list[bytes]]]  # its name, and the frames of each part
Compress = Callable[[bytes], bytes]
COMPRESSIONS: Final[dict[str, Compress]] = {
    "gzip": lambda data: gzip.compress(data, 1),
    "bzip2": lambda data: bz2.compress(data, 1),
    "xz": lambda data: lzma.compress(data, preset=0),
    "zstd": zstd.compress,
}
_SAMPLE: Final = 32  # parts whose size is that of all
_SIZES: Final = (0, 1, 4, 17, 60, 200, 1500, 9000)
_TCP, _FRAGMENT, _HOP_BY_HOP, _OPTIONS = 6, 44, 0, 60  # IANA protocol numbers


@dataclass(frozen=True, slots=True)
class Input:
    """A file of any size.

    Args:
        name: what it is made of.
        beginning: of the file.
        part: its part of this number.
        compress: None: it is not compressed.
        is_joined: beginning and parts are compressed each, and joined.
    """

    name: str
    beginning: bytes
    part: Part
    compress: Compress | None = None
    is_joined: bool = False

    def parts_for(self, size_bytes: int) -> int:
        """Return how many parts a file of about this size has, before its compression."""
        sample_bytes = sum(len(self.part(number)) for number in range(_SAMPLE))
        return max(1, _SAMPLE * size_bytes // max(1, sample_bytes))

    def content(self, parts: int) -> tuple[bytes, int]:
        """Return the file with so many parts, and the size that it had before its compression."""
        compress, pieces = self.compress, [self.beginning, *map(self.part, range(parts))]
        whole = b"".join(pieces)
        if compress is None:
            return whole, len(whole)
        return b"".join(map(compress, pieces)) if self.is_joined else compress(whole), len(whole)


def capture(rng: random.Random) -> Input:
    """Return a capture file in any of the formats, perhaps damaged, perhaps compressed."""
    made = rng.choice([_classic, _pcapng])(rng)
    if not rng.randrange(4):
        made = _damaged(made, rng)
    if not rng.randrange(3):
        made = _compressed(made, rng)
    return made


def traffic(rng: random.Random) -> Input:
    """Return a stream of packets that an analyzer puts together: connections, messages, headers."""
    name, frames = rng.choice(TRAFFIC)(rng)
    return Input(name, header(), lambda number: b"".join(map(stream_record, frames(number))))


def _classic(rng: random.Random) -> Input:
    order, size = rng.choice("<>"), rng.choice(_SIZES)
    snaplen = rng.choice([0, 60, 262_144])
    magic = rng.choice([MICRO, NANO])
    beginning = file_header(magic, order, snaplen=snaplen, linktype=rng.choice([1, 101, 113, 276]))
    seconds = [rng.randrange(1 << 32) if not rng.randrange(4) else 9 + number for number in range(8)]
    length = [rng.choice([size, size, size, rng.choice(_SIZES)]) for _ in range(8)]

    def part(number: int) -> bytes:
        packet = Record(data=bytes([number % 256]) * length[number % 8], seconds=seconds[number % 8])
        return record(packet, order)

    return Input(f"classic of {size} bytes, {order}, snaplen {snaplen}", beginning, part)


def _pcapng(rng: random.Random) -> Input:
    order = rng.choice("<>")
    size, options = rng.choice(_SIZES), rng.choice([0, 0, 1, 40])
    body = bytes(size)
    values = [(rng.choice([1, 2, 2988]), b"x" * rng.choice([0, 1, 5])) for _ in range(options)]
    many = b"".join(option(code, value, order) for code, value in values)
    kinds: dict[str, bytes] = {
        "enhanced": enhanced(1, body, order=order),
        "simple": simple(body, order),
        "interface": interface(rng.choice([1, 101]), rng.choice([0, 60]), many, order),
        "section": section(order) + interface(order=order),
        "names": block(4, many + bytes(-len(many) % 4), order),
        "statistics": block(5, struct.pack(order + "III", 0, 1, 1) + many, order),
        "unknown": block(0x0BAD + rng.randrange(9), b"", order),
        "custom": block(0xBAD, struct.pack(order + "I", 32473) + body + bytes(-size % 4), order),
    }
    chosen = rng.sample(sorted(kinds), rng.randrange(1, 4))
    row = [name for name in chosen for _ in range(rng.choice([1, 1, 30]))]
    name = f"pcapng of {', '.join(chosen)}, {size} bytes, {options} options, {order}"
    return Input(name, section(order) + interface(order=order), lambda number: kinds[row[number % len(row)]])


def _damaged(made: Input, rng: random.Random) -> Input:
    place, value, period = rng.randrange(64), rng.randrange(256), rng.choice([1, 7, 100])

    def part(number: int) -> bytes:
        data = bytearray(made.part(number))
        if data and not number % period:
            data[place % len(data)] = value
        return bytes(data)

    return Input(f"{made.name}; byte {place} is {value} in each {period}th", made.beginning, part)


def _compressed(made: Input, rng: random.Random) -> Input:
    name, is_joined = rng.choice(sorted(COMPRESSIONS)), not rng.randrange(3)
    form = "each part" if is_joined else "whole"
    compress = COMPRESSIONS[name]
    return replace(made, name=f"{made.name}; {name}, {form}", compress=compress, is_joined=is_joined)


def one_byte_segments(rng: random.Random) -> Traffic:
    """Return one connection in segments of one byte each: a head that is too long, or none."""
    request = b"GET /x HTTP/1.1\r\n" + b"a: b\r\n" * 2700
    first = rng.choice([b"GET /" + b"a" * 15_000, request, b"\r\n" * 8000, b"x" * 16_000])
    whole = first + b" HTTP/1.1\r\n\r\n"

    def frames(number: int) -> list[bytes]:
        at = number % len(whole)
        return [tcp_frame(to_server=True, seq=number, payload=whole[at : at + 1])]

    return f"segments of one byte: {first[:20]!r}", frames


def _segments_out_of_order(rng: random.Random) -> Traffic:
    step, size = rng.choice([-1, 2, -2, 3, 1000]), rng.choice([1, 2, 40])

    def frames(number: int) -> list[bytes]:
        return [tcp_frame(to_server=True, seq=(1 << 20) + step * number * size, payload=b"y" * size)]

    return f"segments of {size} bytes, each {step} behind the one before", frames


def _overlaps(rng: random.Random) -> Traffic:
    size = rng.choice([10, 1400])
    gap = rng.choice([0, 1])

    def frames(number: int) -> list[bytes]:
        return [tcp_frame(to_server=True, seq=gap + number, payload=b"z" * size)]

    return f"segments of {size} bytes, one byte apart, {gap} missing before", frames


def _small_messages(rng: random.Random) -> Traffic:
    request = b"GET / HTTP/1.1\r\n\r\n"
    answer = rng.choice([b"HTTP/1.1 200\nContent-Length:1\n\nx", b"HTTP/1.1 204\n\n"])
    count, has_answers = rng.choice([1, 70, 1800]), rng.randrange(2)

    def frames(number: int) -> list[bytes]:
        sent = [tcp_frame(to_server=True, seq=number * count * len(request), payload=request * count)]
        if has_answers:
            seq = number * count * len(answer)
            sent.append(tcp_frame(to_server=False, seq=seq, payload=answer * count))
        return sent

    return f"{count} requests in a segment, {'with' if has_answers else 'without'} answers", frames


def _many_fields(rng: random.Random) -> Traffic:
    line = rng.choice([b"a:\n", b"a: b\r\n", b" \n", b"\t\r\n", b"a\n", b":\n", b"a: b\r\n c\r\n"])
    head = b"GET / HTTP/1.1\r\n" + line * ((16_000 - 20) // len(line)) + b"\r\n\r\n"
    pieces = [head[at : at + 1400] for at in range(0, len(head), 1400)]

    def frames(number: int) -> list[bytes]:
        seq = number // len(pieces) * len(head) + number % len(pieces) * 1400
        return [tcp_frame(to_server=True, seq=seq, payload=pieces[number % len(pieces)])]

    return f"heads with lines {line!r}", frames


def _chunks(rng: random.Random) -> Traffic:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = rng.choice([b"1\r\nx\r\n", b"1;" + b"e" * 4000 + b"\r\nx\r\n", b"\r\n", b"000000000001\nx"])
    size = rng.choice([1, 1400])
    body = chunk * (1400 // len(chunk) + 1)

    def frames(number: int) -> list[bytes]:
        if not number:
            return [tcp_frame(to_server=False, seq=0, payload=head)]
        at = (number - 1) * size % len(body)
        seq = len(head) + (number - 1) * size
        return [tcp_frame(to_server=False, seq=seq, payload=(body + body)[at : at + size])]

    return f"chunks {chunk[:9]!r} in segments of {size} bytes", frames


def _flows(rng: random.Random) -> Traffic:
    payload = rng.choice([b"", b"G", b"GET /" + b"a" * 1000])

    def frames(number: int) -> list[bytes]:
        return [tcp_frame(to_server=True, seq=7, payload=payload, port=1024 + number % 60_000)]

    return f"a flow for each segment of {len(payload)} bytes", frames


def _tags(rng: random.Random) -> Traffic:
    kind, rest = rng.choice([(0x8100, b"\x81\x00"), (0x88A8, b"\x88\xa8"), (0x8847, b"\x00\x40")])
    tag = b"\x00\x01" + rest
    size = rng.choice([40, 1400, 65_000])
    frame = ethernet(tag * (size // 4) + b"\x08\x00" + bytes(40), kind)
    return f"{size} bytes of tags {kind:#x}", lambda _: [frame]


def _extension_headers(rng: random.Random) -> Traffic:
    kind, size = rng.choice([_HOP_BY_HOP, _OPTIONS, _FRAGMENT]), rng.choice([40, 1400, 65_000])
    count = size // 8
    body = bytes([kind, 0, 0, 0, 0, 0, 0, 0]) * count + bytes([_TCP, 0, 0, 0, 0, 0, 0, 0]) + bytes(20)
    packet = b"\x60\x00\x00\x00" + struct.pack(">HBB", len(body) & 0xFFFF, kind, 64) + bytes(32) + body
    frame = ethernet(packet, 0x86DD)
    return f"{count} IPv6 headers of the kind {kind}", lambda _: [frame]


def _fragments(rng: random.Random) -> Traffic:
    size = rng.choice([8, 1400])
    packet = bytearray(ip_packet("10.0.0.1", "10.0.0.2", _TCP, bytes(size)))
    packet[6:8] = b"\x20\x01"
    frame = ethernet(bytes(packet))
    return f"fragments of {size} bytes", lambda _: [frame]


TRAFFIC: Final = (
    *(one_byte_segments, _segments_out_of_order, _overlaps, _small_messages, _many_fields, _chunks),
    *(_flows, _tags, _extension_headers, _fragments),
)
