"""Rotated captures of HTTP downloads: work for an analyzer that extracts files.

Sessions of one download each, one after the other; objects of 2 kB to 500 kB, so that every rotation cuts
some.
"""

import random
import struct
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Final

from bench.captures import classic

FILES: Final = 12

_OBJECT_BYTES: Final = (2_000, 8_000, 30_000, 120_000, 500_000)
_SEGMENT_BYTES: Final = 1460
_SYN, _ACK, _PUSH, _FIN = 2, 16, 8, 1
_START_NS, _GAP_NS = 1_700_000_000 * 1_000_000_000, 10_000
_REQUEST: Final = b"GET /object/%d HTTP/1.1\r\nHost: example.org\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
_ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n"


class _Session:
    """Both ends of one TCP connection."""

    def __init__(self, number: int) -> None:
        client, server = struct.pack(">I", 0x0A000000 + number), bytes([192, 0, 2, number % 250 + 1])
        client_port = struct.pack(">H", 10_000 + number % 50_000)
        self._headers = {
            True: (client + server, client_port + b"\0\x50"),
            False: (server + client, b"\0\x50" + client_port),
        }
        self._next = {True: 1000, False: 2000}

    def frame(self, flags: int, payload: bytes = b"", *, from_client: bool) -> bytes:
        """Return the next frame of one end."""
        addresses, ports = self._headers[from_client]
        sequence, seen = self._next[from_client], self._next[not from_client]
        self._next[from_client] += len(payload) + bool(flags & (_SYN | _FIN))
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 40 + len(payload), 0, 0x4000, 64, 6, 0) + addresses
        tcp = ports + struct.pack(">IIBBHHH", sequence, seen, 0x50, flags, 65_535, 0, 0)
        return b"\x02\0\0\0\0\1\x02\0\0\0\0\2\x08\0" + ip + tcp + payload


def _download(number: int, content: bytes) -> Iterator[bytes]:
    """Yield the frames of one download."""
    session = _Session(number)
    yield session.frame(_SYN, from_client=True)
    yield session.frame(_SYN | _ACK, from_client=False)
    yield session.frame(_ACK, from_client=True)
    yield session.frame(_PUSH | _ACK, _REQUEST % number, from_client=True)
    answer = _ANSWER % len(content) + content
    for start in range(0, len(answer), _SEGMENT_BYTES):
        yield session.frame(_ACK, answer[start : start + _SEGMENT_BYTES], from_client=False)
        if start // _SEGMENT_BYTES % 2:
            yield session.frame(_ACK, from_client=True)
    yield session.frame(_FIN | _ACK, from_client=False)
    yield session.frame(_FIN | _ACK, from_client=True)
    yield session.frame(_ACK, from_client=False)


def _records() -> Iterator[bytes]:
    """Yield records without end."""
    dice = random.Random(7)  # noqa: S311 - the same bytes on every run
    noise, record, ts_ns = dice.randbytes(4 << 20), classic()[1], _START_NS
    for number in count():
        size_bytes = _OBJECT_BYTES[number % len(_OBJECT_BYTES)]
        start = dice.randrange(len(noise) - size_bytes)
        for frame in _download(number, noise[start : start + size_bytes]):
            yield record(ts_ns, frame)
            ts_ns += _GAP_NS


def rotate(folder: Path, size_bytes: int) -> None:
    """Write captures as a sensor rotates them: each continues where the previous one ended."""
    folder.mkdir()
    records = _records()
    for number in range(FILES):
        with (folder / f"{number:02}.pcap").open("wb") as out:
            out.write(classic()[0])
            while out.tell() < size_bytes:
                out.write(next(records))
