"""Inputs that are damaged, strange, or no captures at all, and what of each has to arrive all the same."""

import gzip
import lzma
import os
import random
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from support.holes import with_hole

from faults.packets import RECORD, STREAM_HEADER, body_of, frame, pcapng, plain, records_in

_NOISE: Final = random.Random(7).randbytes(5000)  # noqa: S311 - it has to be the same every time
_HEADER: Final = struct.Struct("<IHHiIII")
Make = Callable[[Path], object]  # puts the input at the path


@dataclass(frozen=True, slots=True)
class Hostile:
    """One input.

    Args:
        label: what is wrong with it.
        make: puts it at a path.
        good: the records that have to arrive, at least and first.
        name: where it is not the path itself.
    """

    label: str
    make: Make
    good: bytes = b""
    name: bytes | None = None


def _header(
    magic: int = 0xA1B2C3D4, version: tuple[int, int] = (2, 4), snaplen: int = 262_144, linktype: int = 1
) -> bytes:
    return _HEADER.pack(magic, *version, 0, 0, snaplen, linktype)


def _odd(seconds: int = 1, micros: int = 2, captured: int = 60, length: int = 60) -> bytes:
    """Return a record whose numbers are what they are asked to be, before 60 bytes."""
    return RECORD.pack(seconds, micros, captured, length) + frame(99, 0, 60)[:60]


def content(data: bytes) -> Make:
    """Return what makes a file of these bytes."""
    return lambda path: path.write_bytes(data)


def _classic(body: bytes) -> Iterator[Hostile]:
    half = sum(RECORD.size + len(data) for *_, data in list(records_in(body))[:10])
    begin, rest = body[:half], body[half:]
    cuts = {
        "empty": b"",
        "one byte": b"\xd4",
        "header without its last byte": STREAM_HEADER[:23],
        "header only": STREAM_HEADER,
        "half a record header": STREAM_HEADER + body[:8],
        "a record header only": STREAM_HEADER + body[:16],
        "text": b"These are not the packets you are looking for.\n" * 40,
        "random bytes": _NOISE,
        "a program": Path(sys.executable).read_bytes()[:5000],
        "zeros": bytes(5000),
        "unknown magic": _header(0xA1B2C3D5) + body,
        "big-endian header, little-endian records": struct.pack(">IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 9999, 1)
        + body,
        "version 1.2": _header(version=(1, 2)) + body,
        "version 3.0": _header(version=(3, 0)) + body,
        "another link type": _header(linktype=147) + body,
    }
    yield from (Hostile(label, content(data)) for label, data in cuts.items())
    damages = {
        "ends inside a record": body[half : half + 40],
        "ends inside a record header": body[half : half + 9],
        "garbage instead of a record": b"\xde\xad\xbe\xef" * 4 + rest,
        "a tail of zeros": bytes(100),
        "a long tail of zeros": bytes(1 << 17),
        "a second file header": STREAM_HEADER + rest,
        "4 GiB captured": _odd(captured=0xFFFFFFFF) + rest,
        "one byte more than may be captured": _odd(captured=262_145) + rest,
    }
    yield from (Hostile(label, content(plain(begin) + tail), begin) for label, tail in damages.items())
    oddities = {
        "nothing captured": RECORD.pack(1, 2, 0, 60),
        "shorter on the wire than captured": _odd(length=10),
        "5 million microseconds": _odd(micros=5_000_000),
        "the year 1970": _odd(seconds=0, micros=0),
        "the year 2106": _odd(seconds=0xFFFFFFFF),
        "a day back": _odd(seconds=1_700_000_000 - 86_400),
    }
    yield from (
        Hostile(label, content(plain(begin) + odd + rest), begin + odd + rest)
        for label, odd in oddities.items()
    )
    headers = {"snaplen 0": _header(snaplen=0), "snaplen of all ones": _header(snaplen=0xFFFFFFFF)}
    yield from (Hostile(label, content(head + body), body) for label, head in headers.items())
    yield Hostile("snaplen shorter than its records", content(_header(snaplen=50) + body), body)
    yield Hostile("frame check sequences announced", content(_header(linktype=1 | 0x14000000) + body))


def _packed(body: bytes) -> Iterator[Hostile]:
    packed = gzip.compress(plain(body), 1)
    yield Hostile("gzip cut off", content(packed[: len(packed) // 2]))
    yield Hostile("gzip with a wrong sum", content(packed[:-8] + b"\1\2\3\4" + packed[-4:]), body)
    yield Hostile("gzip with something behind it", content(packed + b"trailing"), body)
    yield Hostile("gzip of two files", content(packed + gzip.compress(plain(body), 1)), body)
    yield Hostile("gzip of gzip", content(gzip.compress(packed)))
    yield Hostile("gzip of text", content(gzip.compress(b"no packets\n" * 100)))
    yield Hostile("gzip of nothing", content(gzip.compress(b"")))
    yield Hostile("gzip of 64 MiB of zeros", content(gzip.compress(plain(b"") + bytes(1 << 26), 1)))
    yield Hostile("gzip's first two bytes", content(b"\x1f\x8b"))
    yield Hostile("gzip of garbage", content(b"\x1f\x8b\x08\0" + _NOISE[:500]))
    yield Hostile("xz of garbage", content(lzma.compress(b"")[:12] + _NOISE[:500]))
    yield Hostile("zstd of garbage", content(b"\x28\xb5\x2f\xfd" + _NOISE[:500]))


def _sections(body: bytes) -> Iterator[Hostile]:
    good = pcapng(body)
    shb, idb = good[:28], good[28:48]
    packets = good[48:]
    broken = {
        "pcapng: section only": shb,
        "pcapng: half a section": shb[:14],
        "pcapng: unknown byte order": shb[:8] + b"\1\1\1\1" + shb[12:],
        "pcapng: a block of 2 GiB": shb + idb + struct.pack("<II", 6, 1 << 31) + bytes(40),
        "pcapng: a block of 7 bytes": shb + idb + struct.pack("<II", 6, 7) + bytes(40),
        "pcapng: a packet without an interface": shb + packets,
        "pcapng: options beyond their block": shb
        + struct.pack("<IIHHIHHI", 1, 24, 1, 0, 0, 9, 999, 24)
        + packets,
        "pcapng: cut in its first packet": good[:60],
    }
    yield from (Hostile(label, content(data)) for label, data in broken.items())
    number = len(packets) // 2
    yield Hostile("pcapng: cut in the middle", content(good[: 48 + number]))
    yield Hostile("pcapng: lengths that differ", content(good[:-4] + b"\0\0\0\0"))
    yield Hostile(
        "pcapng: an interface that is not there", content(shb + idb + packets[:8] + b"\7" + packets[9:])
    )
    yield Hostile("pcapng: two sections", content(good + good), body + body)
    yield Hostile(
        "pcapng: a block of an unknown type", content(good + struct.pack("<III", 0x0BAD, 12, 12)), body
    )


def _with_holes(body: bytes) -> Iterator[Hostile]:
    """Yield files that are short, and would make a reader work for hours."""
    packed, nothing = gzip.compress(plain(body), 1), gzip.compress(b"")
    good = pcapng(body)
    yield Hostile("gzip, then 8 TiB of nothing", lambda path: with_hole(path, packed), body)
    yield Hostile("gzip of nothing, then 8 TiB of nothing", lambda path: with_hole(path, nothing))
    yield Hostile("pcap, then 8 TiB of nothing", lambda path: with_hole(path, plain(body)), body)
    yield Hostile("pcapng, then 8 TiB of nothing", lambda path: with_hole(path, good), body)


def _of_many_parts(body: bytes) -> Iterator[Hostile]:
    """Yield files with more parts than are counted, which takes a reader a second each."""
    packed, nothing = gzip.compress(plain(body), 1), gzip.compress(b"")
    good = pcapng(body)
    shb, idb = good[:28], good[28:48]
    yield Hostile("70,000 empty gzip members", content(packed + nothing * 70_000), body)
    blocks = gzip.compress(good + struct.pack("<III", 0x0BAD, 12, 12) * 300_000, 1)
    yield Hostile("300,000 pcapng blocks without a packet", content(blocks), body)
    kinds = b"".join(idb[:12] + struct.pack("<II", number + 1, 20) for number in range(70_000))
    yield Hostile("70,000 different interfaces", content(gzip.compress(shb + kinds, 1)))


def _places(folder: Path) -> Iterator[Hostile]:
    """Yield things that are no regular files."""
    nothing: Make = lambda _: None  # noqa: E731 - a name for what does nothing
    yield Hostile("missing", nothing)
    yield Hostile("a directory", lambda path: path.mkdir())
    yield Hostile("a pipe without a writer", os.mkfifo)
    yield Hostile("a socket", _bind)
    yield Hostile("a link in a circle", lambda path: path.symlink_to(path))
    yield Hostile("a link to nothing", lambda path: path.symlink_to(folder / "nothing"))
    for device in ("/dev/zero", "/dev/null", "/proc/self/mem"):
        yield Hostile(device, nothing, name=device.encode())
    yield Hostile("an empty name", nothing, name=b"")
    yield Hostile("a name that is too long", nothing, name=b"/" + b"n" * 5000)
    yield Hostile("a part that is too long", nothing, name=b"/" + b"n" * 300)


def _bind(path: Path) -> None:
    before = Path.cwd()
    os.chdir(path.parent)  # a socket's path is short
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)
    finally:
        os.chdir(before)


def _names(folder: Path, body: bytes) -> Iterator[Hostile]:
    """Yield good captures whose names are meant for shells, terminals, logs and formats."""
    for name in (
        b"$(touch PWNED).pcap",
        b"; touch PWNED;.pcap",
        b"`touch PWNED`.pcap",
        b"-r",
        b"%s%n {0} {}.pcap",
        b"a\nfile_finished name=forged.pcap",
        b"\x1b[2J\x1b]0;owned\x07.pcap",
        "\u202egnp.pcap".encode(),
        b"\xff\xfe.pcap",
        b" ",
        b"'\"\\.pcap",
    ):
        path = os.fsencode(folder) + b"/" + name
        yield Hostile(f"named {name!r}", _named(path, plain(body)), body, path)


def _named(path: bytes, data: bytes) -> Make:
    def make(_: Path) -> None:
        with open(path, "wb") as file:  # noqa: PTH123 - bytes
            file.write(data)

    return make


def bad_inputs(folder: Path, *, with_many_parts: bool = True) -> list[Hostile]:
    """Return all of them; there are more than 60.

    Args:
        folder: where names that are no plain numbers may be made.
        with_many_parts: whether the slow ones are among them.
    """
    body = body_of(99, 20, 120)
    files = [*_classic(body), *_packed(body), *_sections(body), *_with_holes(body)]
    files += _of_many_parts(body) if with_many_parts else ()
    return [*files, *_places(folder), *_names(folder, body)]
