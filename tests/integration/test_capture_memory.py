"""The memory that a capture takes while it is read: 64 MiB whatever it has, and 128 more for an archive."""

import gzip
import os
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from support.captures import Record, block, classic, enhanced, file_header, interface, option, record, section
from support.cases import some_long
from support.forkserver import ROOT, clean_environment

from pcapdj.capture.budget import MOST_MEMBERS
from pcapdj.capture.interfaces import MAX_INTERFACE_KINDS

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MOST_BYTES: Final = 64 << 20
MOST_ARCHIVE_BYTES: Final = MOST_BYTES + (128 << 20)
SECTIONS: Final = 10_000
SECTIONS_BYTES: Final = 8 << 20  # if all of their 60,000 interfaces were kept, these took more


def read(path: Path) -> tuple[str, int]:
    """Return how a capture ended in a new process that read it, and the memory which that took."""
    env = clean_environment(PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / "tests")]))
    first = path.with_name("first")
    first.write_bytes(classic([Record()]))  # it makes the stream one of Ethernet
    command = [sys.executable, "-m", "support.peak_memory", os.fspath(first), os.fspath(path)]
    output = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout
    _, ended, memory_bytes = output.splitlines()
    return ended, int(memory_bytes)


def kinds(count: int, first: int = 1) -> bytes:
    """Return so many interface blocks that differ, with options that make them large."""
    return b"".join(
        interface(snaplen=number, options=option(9, b"\x12") + option(14, struct.pack("<q", number << 40)))
        for number in range(first, first + count)
    )


def many_sections() -> bytes:
    """Return sections, each with interfaces of its own, and a packet now and then."""
    parts = (section() + kinds(6, first=6 * number + 1) for number in range(SECTIONS))
    return b"".join(part + enhanced(1) * (number % 100 == 0) for number, part in enumerate(parts))


def many_linktypes() -> bytes:
    """Return a section with each link type that there is, and two packets of each."""
    described = b"".join(map(interface, range(1 << 16)))
    return section() + described + b"".join(enhanced(1, number=number) * 2 for number in range(1 << 16))


def of_record(data: bytes) -> bytes:
    """Return a record of the classic format."""
    return record(Record(1, 0, data))


def long_window(before: bytes = file_header(), packet: Callable[[bytes], bytes] = of_record) -> bytes:
    """Return an archive that needs the longest window: its packets are like those 100 MiB before.

    Args:
        before: what it has before its packets.
        packet: makes one of its bytes.
    """
    chance = random.Random(1)  # noqa: S311 - content
    part = b"".join(packet(chance.randbytes(60_000)) for _ in range(20))
    filler = packet(bytes(60_000)) * 1700
    options = {
        int(zstd.CompressionParameter.window_log): 27,
        int(zstd.CompressionParameter.enable_long_distance_matching): 1,
    }
    return bytes(zstd.compress(before + part + filler + part, options=options))


def many_options() -> bytes:
    """Return an interface block that has nothing but options."""
    options = b"".join(option(100 + number % 60_000, b"") for number in range(250_000))
    return section() + interface(options=options) + enhanced(1)


# how it is made, how it ends, and the memory that it may take
PLAIN: Final[dict[str, tuple[Callable[[], bytes], str, int]]] = {
    "sections": (many_sections, "100 packets", SECTIONS_BYTES),
    "as many different interfaces as allowed": (
        lambda: section() + kinds(MAX_INTERFACE_KINDS) + enhanced(1),
        "1 packets",
        MOST_BYTES,
    ),
    "more different interfaces": (
        lambda: section() + kinds(MAX_INTERFACE_KINDS + 1),
        f"section has more than {MAX_INTERFACE_KINDS} different interfaces",
        MOST_BYTES,
    ),
    "equal interfaces": (
        lambda: section() + interface() * 60_000 + enhanced(1) * 9,
        "9 packets",
        SECTIONS_BYTES,
    ),
    "link types": (many_linktypes, "2 packets", MOST_BYTES),
    "options": (many_options, "1 packets", MOST_BYTES),
    "the longest block": (
        lambda: section() + interface() + block(6, struct.pack("<5I", 0, 0, 1, 9, 9) + bytes(1_000_000)),
        "1 packets",
        MOST_BYTES,
    ),
}
ARCHIVES: Final[dict[str, tuple[Callable[[], bytes], str, int]]] = {
    "sections": (lambda: zstd.compress(many_sections()), "100 packets", SECTIONS_BYTES + (12 << 20)),
    "long window": (long_window, "1740 packets", MOST_ARCHIVE_BYTES),
    "long window, and as many different interfaces as allowed": (
        lambda: long_window(section() + kinds(MAX_INTERFACE_KINDS), lambda data: enhanced(1, data)),
        "1740 packets",
        MOST_ARCHIVE_BYTES,
    ),
    "members of two bytes": (
        lambda: (
            gzip.compress(section() + struct.pack("<II", 0x0BAD, 1 << 20))
            + gzip.compress(b"ab") * (MOST_MEMBERS + 9)
        ),
        "has more than 65536 compressed members without a packet",
        MOST_BYTES,
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("name", some_long(PLAIN, quick=("sections",)))
def test_a_capture_takes_64_mib_at_most(tmp_path: Path, name: str) -> None:
    """Whatever it describes, counts or repeats."""
    make, ended, most_bytes = PLAIN[name]
    path = tmp_path / "capture"
    path.write_bytes(make())

    found, memory_bytes = read(path)

    assert found.startswith(ended)
    assert memory_bytes < most_bytes


@pytest.mark.long
@pytest.mark.parametrize("name", some_long(ARCHIVES, quick=("long window",)))
def test_an_archive_takes_128_mib_more_at_most(tmp_path: Path, name: str) -> None:
    """That is what the longest window of zstd and `xz -9` takes; without a window it is not taken."""
    make, ended, most_bytes = ARCHIVES[name]
    path = tmp_path / "capture"
    path.write_bytes(make())

    found, memory_bytes = read(path)

    assert found == ended
    assert memory_bytes < most_bytes
