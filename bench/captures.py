"""Builds the captures that the benchmark reads: always the same bytes for the same size.

The packets are UDP datagrams between a few hundred hosts, with valid checksums, because an analyzer checks
them. Their payload is half text and half noise, so that it compresses like real captures (1.9 : 1). Repeated
bytes are farther apart than the windows of gzip and zstd.

`python -m bench.captures FOLDER MEGABYTES` runs as a process of its own: else its memory would count as the
peak of the programs that the benchmark starts.
"""

import random
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

IMIX: Final = (64,) * 7 + (570,) * 4 + (1514,)
SMALL: Final = (64,)
LARGE: Final = (1514,)

_START_S: Final = 1_700_000_000
_GAP_NS: Final = 7_000  # from packet to packet
_TILE_BYTES: Final = 32 << 20  # of different frames; after them the same frames with later times
_CHUNK_BYTES: Final = 4 << 20
_HEADERS_BYTES: Final = 42  # Ethernet, IPv4, UDP
_WORDS: Final = (
    "GET ",
    "/index.html ",
    "HTTP/1.1\r\n",
    "Host: ",
    "example.org\r\n",
    "Accept: */*\r\n",
    "Cookie: ",
)

Record = Callable[[int, bytes], bytes]  # (time in ns, frame) -> its bytes in the file


def frames(lengths: Sequence[int]) -> list[bytes]:
    """Return different frames of these lengths in a random order, _TILE_BYTES in all."""
    dice = random.Random(7)  # noqa: S311 - the same bytes on every run
    text = "".join(dice.choices(_WORDS, k=1 << 20)).encode()
    noise = dice.randbytes(1 << 24)
    mixed = list(lengths) * (_TILE_BYTES // sum(lengths))
    dice.shuffle(mixed)
    return [_frame(length, dice, text, noise) for length in mixed]


def _frame(length: int, dice: random.Random, text: bytes, noise: bytes) -> bytes:
    """Return one Ethernet frame with a UDP datagram of text and noise."""
    payload_bytes = length - _HEADERS_BYTES
    half = payload_bytes // 2
    at, also_at = dice.randrange(len(text) - half), dice.randrange(len(noise) - length)
    payload = text[at : at + half] + noise[also_at : also_at + payload_bytes - half]
    flow = dice.randrange(500)
    udp = struct.pack(">HHHH", 10_000 + flow, 9_000, payload_bytes + 8, 0)
    ip = struct.pack(">BBHHHBBH", 0x45, 0, length - 14, flow, 0, 64, 17, 0) + bytes(
        [10, 0, flow >> 8, flow & 255]
    )
    ip += bytes([10, 1, 0, flow % 7])
    return b"\x02\0\0\0\0\1\x02\0\0\0\0\2\x08\0" + _with_checksum(ip) + udp + payload


def _with_checksum(ip: bytes) -> bytes:
    total = sum(struct.unpack(">10H", ip))
    total = (total & 0xFFFF) + (total >> 16)
    return ip[:10] + struct.pack(">H", ~(total + (total >> 16)) & 0xFFFF) + ip[12:]


def classic(order: str = "<", *, nanosecond: bool = False) -> tuple[bytes, Record]:
    """Return file header and record maker of a classic capture."""
    magic, unit_ns = (0xA1B23C4D, 1) if nanosecond else (0xA1B2C3D4, 1000)
    pack = struct.Struct(order + "IIII").pack

    def record(ts_ns: int, frame: bytes) -> bytes:
        seconds, fraction_ns = divmod(ts_ns, 1_000_000_000)
        return pack(seconds, fraction_ns // unit_ns, len(frame), len(frame)) + frame

    return struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262_144, 1), record


def pcapng() -> tuple[bytes, Record]:
    """Return the first blocks, and the maker of enhanced packet blocks, as dumpcap writes them."""
    section = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    interface = struct.pack("<IIHHII", 1, 20, 1, 0, 262_144, 20)
    pack = struct.Struct("<7I").pack

    def block(ts_ns: int, frame: bytes) -> bytes:
        ticks, length, padding = ts_ns // 1000, len(frame), -len(frame) % 4
        total = 32 + length + padding
        header = pack(6, total, 0, ticks >> 32, ticks & 0xFFFFFFFF, length, length)
        return header + frame + bytes(padding) + total.to_bytes(4, "little")

    return section + interface, block


def write(path: Path, *, size_bytes: int, lengths: Sequence[int], form: tuple[bytes, Record]) -> None:
    """Write a capture of about this size; it gets its name when it is complete."""
    header, record = form
    unfinished = path.with_suffix(".partial")
    with unfinished.open("wb") as out:
        out.write(header)
        for chunk in _chunks(frames(lengths), record):
            out.write(chunk)
            if out.tell() >= size_bytes:
                break
    unfinished.rename(path)


def _chunks(tile: list[bytes], record: Record) -> Iterator[bytes]:
    """Yield about _CHUNK_BYTES of records at a time, without end."""
    per_chunk = _CHUNK_BYTES * len(tile) // _TILE_BYTES
    ts_ns, frames_left = _START_S * 1_000_000_000, iter(tile)
    while True:
        parts = []
        for frame in islice(frames_left, per_chunk):
            parts.append(record(ts_ns, frame))
            ts_ns += _GAP_NS
        if not parts:
            frames_left = iter(tile)
        yield b"".join(parts)


def compress_with(compressor: str, source: Path, target: Path) -> None:
    """Compress a file as `gzip -6` or `zstd -3` does."""
    stream = zlib.compressobj(6, wbits=31) if compressor == "gzip" else _zstd()
    unfinished = target.with_suffix(".partial")
    with source.open("rb") as plain, unfinished.open("wb") as out:
        while chunk := plain.read(_CHUNK_BYTES):
            out.write(stream.compress(chunk))
        out.write(stream.flush())
    unfinished.rename(target)


def _zstd() -> "zlib._Compress":
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd.ZstdCompressor(3)  # type: ignore[return-value]  # it has the same methods


def sparse(path: Path, size_bytes: int) -> None:
    """Write a sparse capture: a record header every 256 KiB, and packets without data on disk."""
    packet_bytes = 262_144
    header = struct.pack("<IIII", _START_S, 0, packet_bytes, packet_bytes)
    with path.open("wb") as out:
        out.write(classic()[0])
        while out.tell() < size_bytes:
            out.write(header)
            out.seek(packet_bytes, 1)
        out.truncate()


def many(folder: Path, count: int, packets: int = 1) -> None:
    """Write `count` captures of a few packets each."""
    folder.mkdir()
    header, record = classic()
    frame = frames(SMALL)[0]
    for number in range(count):
        start_ns = (_START_S + number) * 1_000_000_000
        records = (record(start_ns + i * _GAP_NS, frame) for i in range(packets))
        (folder / f"{number:05}.pcap").write_bytes(header + b"".join(records))


def build(folder: Path, megabytes: int) -> None:
    """Build all captures that do not exist yet."""
    from bench.downloads import rotate

    size_bytes = megabytes * 1_000_000
    folder.mkdir(parents=True, exist_ok=True)
    plain: dict[str, tuple[Sequence[int], tuple[bytes, Record]]] = {
        "imix.pcap": (IMIX, classic()),
        "64.pcap": (SMALL, classic()),
        "1514.pcap": (LARGE, classic()),
        "imix.pcapng": (IMIX, pcapng()),
        "imix-nanosecond.pcap": (IMIX, classic(nanosecond=True)),
        "imix-swapped.pcap": (IMIX, classic(">")),
    }
    for name, (lengths, form) in plain.items():
        _once(folder / name, partial(write, size_bytes=size_bytes, lengths=lengths, form=form))
    _once(folder / "imix.pcap.gz", lambda path: compress_with("gzip", folder / "imix.pcap", path))
    _once(folder / "imix.pcap.zst", lambda path: compress_with("zstd", folder / "imix.pcap", path))
    _once(folder / "sparse.pcap", lambda path: sparse(path, size_bytes * 25))
    _once(folder / "20000", lambda path: many(path, 20_000))
    _once(folder / "10000", lambda path: many(path, 10_000))
    _once(folder / "five", lambda path: many(path, 5, packets=50))
    _once(folder / "gaps", lambda path: many(path, 300, packets=50))
    _once(folder / "rotated", lambda path: rotate(path, size_bytes * 5 // 8))


def _once(path: Path, make: Callable[[Path], None]) -> None:
    if not path.exists():
        make(path)


def build_in_process(folder: Path, megabytes: int) -> None:
    """Build all captures in another process."""
    subprocess.run([sys.executable, "-m", "bench.captures", folder, str(megabytes)], check=True)


if __name__ == "__main__":
    build(Path(sys.argv[1]), int(sys.argv[2]))
