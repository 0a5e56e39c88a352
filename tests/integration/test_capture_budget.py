"""What a capture file may make us do without giving a packet: every loop over a file's bytes has an end."""

import bz2
import gzip
import json
import lzma
import os
import signal
import struct
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from support.captures import (
    MODIFIED,
    NANO,
    RAW_IP,
    Record,
    as_read,
    block,
    classic,
    delivered,
    enhanced,
    file_header,
    interface,
    record,
    section,
    simple,
)
from support.cases import some_long
from support.dispatcher_rig import listed, stopped
from support.forkserver import PIPE, start
from support.holes import EMPTY_ZSTD_BLOCKS, bytes_read, with_hole
from support.roles_rig import Trio
from support.waiting import scaled, wait_until

from pcapdj.capture import budget
from pcapdj.capture.budget import MOST_BLOCKS, MOST_BYTES, MOST_MEMBERS, PACKETS_PER_BYTE
from pcapdj.capture.files import OpenFile, open_regular
from pcapdj.capture.opening import capture_of, first_packet_time_ns, open_capture
from pcapdj.capture.pcap import Place, StreamFormat
from pcapdj.capture.reader import WINDOW_BYTES
from pcapdj.runtime.errors import CaptureError, ExitCode

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": partial(lzma.compress, preset=0),  # others take 10 ms to begin
    "zstd": zstd.compress,
}
PACKETS = [Record(1, 2, b"first", 5), Record(2, 3, b"second", 6)]
PCAP = classic(PACKETS)
PCAPNG = section() + interface() + enhanced(1_000_002, b"first") + enhanced(2_000_003, b"second")
OTHER = 0x0BAD  # a block that is no packet
SKIPPABLE = b"\x50\x2a\x4d\x18"  # a zstd frame without data; its length follows
BYTES = f"has more than {MOST_BYTES} bytes without a packet"
DECOMPRESSED = f"decompresses to more than {MOST_BYTES} bytes without a packet"
FEW_MEMBERS, FEW_BLOCKS = MOST_MEMBERS // 16, MOST_BLOCKS // 8  # limits that are reached sooner
FEW_PACKETS = 5000
MEMBERS = f"has more than {FEW_MEMBERS} compressed members without a packet"
BLOCKS = f"has more than {FEW_BLOCKS} blocks without a packet"
ZERO_RECORD = "zeros instead of a record: the file was preallocated and never filled to its end"
ZERO_BLOCK = "zeros instead of a block: the file was preallocated and never filled to its end"


class CountedFile(OpenFile):
    """An open file that counts the bytes read of it."""

    read_bytes = 0

    def read(self, length_bytes: int, offset: int) -> bytes:
        """Return bytes of the file."""
        data = super().read(length_bytes, offset)
        self.read_bytes += len(data)
        return data


def read_all(path: Path) -> tuple[list[Record], str]:
    """Return the records that a file gives and its fault; fail if more of it is read than it may cost."""
    file = CountedFile(open_regular(os.fsencode(path)))
    try:
        with capture_of(os.fsencode(path), file) as capture:
            found, fault = delivered(capture)
    except CaptureError as exc:
        found, fault = [], exc
    assert file.read_bytes <= min(2 * MOST_BYTES + (16 << 20), 4 * path.stat().st_size)
    return found, fault.reason if fault else ""


def old_version(packets: list[Record]) -> bytes:
    """Return a pcap of version 2.2, whose records have their lengths the other way round."""
    return file_header(version=(2, 2)) + b"".join(record(each, swapped=True) for each in packets)


WITH_HOLE = {
    "pcap": (PCAP, 2, ZERO_RECORD),
    "big endian": (classic(PACKETS, order=">"), 2, ZERO_RECORD),
    "nanoseconds": (classic(PACKETS, NANO), 2, ZERO_RECORD),
    "modified": (file_header(MODIFIED) + record(PACKETS[0], extra=bytes(8)), 1, ZERO_RECORD),
    "old version": (old_version(PACKETS), 2, ZERO_RECORD),
    "header alone": (file_header(), 0, ZERO_RECORD),
    "pcapng": (PCAPNG, 2, ZERO_BLOCK),
    "pcapng without a packet": (section() + interface(), 0, ZERO_BLOCK),
    "half a record": (PCAP[:-3], 2, ZERO_RECORD),
    **{name: (compress(PCAP), 2, BYTES) for name, compress in COMPRESS.items()},
    **{f"{name} of pcapng": (compress(PCAPNG), 2, BYTES) for name, compress in COMPRESS.items()},
    **{f"{name} of nothing": (compress(b""), 0, BYTES) for name, compress in COMPRESS.items()},
    "zstd of empty blocks": (EMPTY_ZSTD_BLOCKS, 0, BYTES),
    "zstd of long skippable frames": (SKIPPABLE + b"\xff\xff\xff\xff", 0, BYTES),
    "damaged zstd": (zstd.compress(PCAP)[:-1] + b"\0garbage", 0, "compressed data cannot be decompressed"),
    "garbage behind gzip": (gzip.compress(PCAP) + b"garbage", 2, "compressed data is damaged"),
    "nothing": (b"", 0, "is not a supported capture format"),
}
ONE_OF_EACH = {"pcap", "pcapng", "half a record", "gzip of pcapng", "xz of nothing", "zstd of empty blocks"}


@pytest.mark.parametrize("name", some_long(WITH_HOLE, quick=ONE_OF_EACH))
def test_a_hole_of_8_tib_behind_a_file_costs_a_bounded_read(tmp_path: Path, name: str) -> None:
    """The packets before it are delivered, and the reason has the number, or names the zeros."""
    content, packets, reason = WITH_HOLE[name]

    found, fault = read_all(with_hole(tmp_path / "capture", content))

    assert len(found) == packets
    assert fault.startswith(reason)


def skipped_blocks(body_bytes: int) -> bytes:
    """Return a block without a packet that has this many zeros."""
    return block(OTHER, bytes(body_bytes))


def with_empty_members(compress: Callable[[bytes], bytes]) -> bytes:
    """Return a compressed capture and one empty member too many."""
    return compress(PCAP) + compress(b"") * (FEW_MEMBERS + 1)


MIB_OF_ZEROS = gzip.compress(bytes(1 << 20), 1)
MANY: dict[str, tuple[Callable[[], bytes], int, str]] = {
    **{
        f"empty members of {name}": (partial(with_empty_members, compress), 2, MEMBERS)
        for name, compress in COMPRESS.items()
    },
    "skippable frames": (lambda: (SKIPPABLE + bytes(4)) * (FEW_MEMBERS + 1), 0, MEMBERS),
    "blocks": (lambda: zstd.compress(PCAPNG + skipped_blocks(0) * (FEW_BLOCKS + 60_000)), 2, BLOCKS),
    "interfaces": (lambda: zstd.compress((section() + interface() * 9) * (FEW_BLOCKS // 10 + 1)), 0, BLOCKS),
    "sections": (lambda: zstd.compress(PCAPNG + section() * (FEW_BLOCKS + 30_000)), 2, BLOCKS),
    "a long block in an archive": (
        lambda: gzip.compress(PCAPNG + struct.pack("<II", OTHER, 1 << 30)) + MIB_OF_ZEROS * 80,
        2,
        DECOMPRESSED,
    ),
}


@pytest.mark.parametrize(
    "name", some_long(MANY, quick=("empty members of gzip", "skippable frames", "sections"))
)
def test_parts_without_a_packet_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A megabyte of empty archives, or a few kilobytes of archive with a million blocks."""
    monkeypatch.setattr(budget, "MOST_MEMBERS", FEW_MEMBERS)
    monkeypatch.setattr(budget, "MOST_BLOCKS", FEW_BLOCKS)
    content, packets, reason = MANY[name]
    path = tmp_path / "capture"
    path.write_bytes(content())

    found, fault = read_all(path)

    assert (len(found), fault) == (packets, reason)


@pytest.mark.long
def test_a_member_for_each_byte_is_no_capture(tmp_path: Path) -> None:
    """As many members as are allowed give what the format is recognized by."""
    path = tmp_path / "capture"
    path.write_bytes(gzip.compress(b"n") * (MOST_MEMBERS + 1))

    assert read_all(path) == ([], "is not a supported capture format")


def test_long_blocks_in_a_sparse_file_are_counted(tmp_path: Path) -> None:
    """Each costs a read of its head only, but there may be thousands of them."""
    path = with_hole(tmp_path / "capture", PCAPNG)
    total = 0xFFFF_FFFC
    with path.open("r+b") as file:
        for position in range(len(PCAPNG), path.stat().st_size - total, total):
            file.seek(position)
            file.write(struct.pack("<II", OTHER, total))
            file.seek(position + total - 4)
            file.write(struct.pack("<I", total))

    found, fault = read_all(path)

    assert (len(found), fault) == (2, BYTES)


EMPTY: dict[str, Callable[[], bytes]] = {
    "header": file_header,
    "blocks": lambda: section() + interface() + skipped_blocks(0) * 50_000,
    "members": lambda: gzip.compress(file_header()) + gzip.compress(b"") * 10_000,
    "padding": lambda: gzip.compress(file_header()) + bytes(32 << 20),
    "long block": lambda: section() + interface() + skipped_blocks(32 << 20),
}


@pytest.mark.parametrize("name", some_long(EMPTY, quick=("header", "blocks")))
def test_an_empty_capture_is_no_fault(tmp_path: Path, name: str) -> None:
    """It ends within its budget."""
    path = tmp_path / "capture"
    path.write_bytes(EMPTY[name]())

    assert read_all(path) == ([], "")


def test_each_packet_renews_the_budget(tmp_path: Path) -> None:
    """Also one that is skipped because of its link type: it is counted, so it must be read."""
    half = gzip.compress(b"") * (MOST_MEMBERS * 2 // 3)
    window = gzip.compress(b"".join(map(record, PACKETS * 8000)))  # more than is read at once
    plain = tmp_path / "members"
    plain.write_bytes(half + gzip.compress(PCAP) + window + half + window)
    long_block = struct.pack("<II", OTHER, 48 << 20), struct.pack("<I", 48 << 20)
    zeros = MIB_OF_ZEROS * 47 + gzip.compress(bytes((1 << 20) - 12), 1)
    blocks = b"".join((gzip.compress(long_block[0]), zeros, gzip.compress(long_block[1])))
    raw = gzip.compress(enhanced(1, number=1))
    skipping = tmp_path / "blocks"
    skipping.write_bytes(gzip.compress(PCAPNG + interface(RAW_IP)) + (blocks + raw) * 2)

    assert read_all(plain) == (as_read(PACKETS) * 16_001, "")
    found, fault = read_all(skipping)
    assert (found, fault) == (as_read(PACKETS), "")


# by compression: what is between two packets, and why a file with 99 more of it behind its last one fails
BETWEEN: dict[str, tuple[bytes, str]] = {
    "gzip": (gzip.compress(b"") * 100, MEMBERS),
    "xz": (COMPRESS["xz"](b"") * 100, MEMBERS),
    "zstd": (SKIPPABLE + struct.pack("<I", 40_000) + bytes(40_000), f"has more than {2 << 20} bytes without"),
}


@pytest.mark.parametrize("compression", BETWEEN)
@pytest.mark.parametrize("is_pcapng", [False, True])
def test_packets_that_are_read_at_once_renew_the_budget_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: str, *, is_pcapng: bool
) -> None:
    """A sensor with little traffic appends a member now and then; only what is behind the last one counts."""
    monkeypatch.setattr(budget, "MOST_MEMBERS", FEW_MEMBERS)
    monkeypatch.setattr(budget, "MOST_BYTES", 2 << 20)
    compress, (between, reason) = COMPRESS[compression], BETWEEN[compression]
    header, packet = file_header(), record(PACKETS[0])
    if is_pcapng:
        header, packet = section() + interface(), enhanced(1_000_002, b"first")
    path = tmp_path / "capture"
    content = compress(header) + (compress(packet) + between) * 100
    path.write_bytes(content)

    assert read_all(path) == (as_read(PACKETS[:1]) * 100, "")
    path.write_bytes(content + between * 99)
    found, fault = read_all(path)
    assert found == as_read(PACKETS[:1]) * 100
    assert fault.startswith(reason)


@pytest.mark.long
@pytest.mark.parametrize(
    "other",
    [
        pytest.param(interface(), id="i"),
        pytest.param(section() + interface(), id="s"),
        pytest.param(struct.pack("<III", OTHER, 12, 12), id="o"),
    ],
)
def test_an_archive_has_not_more_blocks_than_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: bytes
) -> None:
    """A packet now and then does not help: 5 KB could cost half a minute. A plain file may have any."""
    monkeypatch.setattr(budget, "MOST_BLOCKS", FEW_BLOCKS)
    content = PCAPNG + (other * (FEW_BLOCKS * 2 // 3) + interface() + enhanced(1)) * 6
    archive, plain = tmp_path / "archive", tmp_path / "plain"
    archive.write_bytes(zstd.compress(content))
    plain.write_bytes(content)

    found, fault = read_all(archive)

    assert len(found) in range(3, 7)
    assert fault == f"has more than {2 * FEW_BLOCKS} blocks that are no packets, and fewer bytes than blocks"
    found, fault = read_all(plain)
    assert (len(found), fault) == (8, "")


TINY = {
    "empty": file_header() + record(Record(5, 0, b"")) * 40_000,
    "of a byte": file_header(order=">") + record(Record(5, 0, b"x"), ">") * 40_000,
    "empty and of a byte": file_header(NANO) + (record(Record(5)) + record(Record(5, 0, b"x"))) * 20_000,
    "simple blocks": section() + interface() + simple(b"") * 40_000,
    "left out": PCAPNG + interface(RAW_IP) + enhanced(1, number=1) * 40_000,
}


@pytest.mark.parametrize("name", some_long(TINY, quick=("empty", "left out")))
def test_an_archive_has_not_more_packets_than_its_bytes_allow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A megabyte could have sixty million packets of a few bytes, and hold a lane for an hour."""
    monkeypatch.setattr(budget, "MOST_PACKETS", FEW_PACKETS)
    archive, plain = tmp_path / "archive", tmp_path / "plain"
    archive.write_bytes(zstd.compress(TINY[name]))
    plain.write_bytes(TINY[name])
    most = FEW_PACKETS + PACKETS_PER_BYTE * archive.stat().st_size

    given, fault = packets_of(archive)

    assert most < given < most + WINDOW_BYTES // 16 + 1  # each window is counted when it was read
    assert fault == (
        f"has more than {FEW_PACKETS} packets, and {PACKETS_PER_BYTE} more for each of its bytes:"
        " refused as a decompression bomb"
    )
    assert packets_of(plain) == (40_000 + 2 * (name == "left out"), "")


def packets_of(path: Path) -> tuple[int, str]:
    """Return how many packets a file has for an Ethernet stream and beside it, and its fault."""
    with capture_of(os.fsencode(path), OpenFile(open_regular(os.fsencode(path)))) as capture:
        packets, fault = 0, ""
        try:
            for piece in capture.pieces(StreamFormat(1, nanosecond=False)):
                packets += piece.totals.packets
        except CaptureError as exc:
            fault = exc.reason
        return packets + sum(capture.skipped.values()), fault


@pytest.mark.parametrize("is_pcapng", [False, True])
def test_what_gave_packets_before_costs_nothing_when_it_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_pcapng: bool
) -> None:
    """A dispatcher that goes on in the middle of an archive decompresses all before that place."""
    packets = [Record(number, 0, os.urandom(1000), 1000) for number in range(4000)]
    content = classic(packets)
    if is_pcapng:
        content = section() + interface() + b"".join(enhanced(p.seconds * 10**6, p.data) for p in packets)
    path = tmp_path / "capture"
    path.write_bytes(gzip.compress(content, 1))
    monkeypatch.setattr(budget, "MOST_BYTES", 3 << 19)
    with open_capture(os.fsencode(path), refuse_written=False) as capture:
        stream = StreamFormat(1, nanosecond=False)
        pieces = list(capture.pieces(stream))
        assert pieces[-1].after.offset > 2 * budget.MOST_BYTES

    assert records_after(path, pieces[-2].after) == pieces[-1].totals.packets


def records_after(path: Path, place: Place) -> int:
    """Return how many records a file gives from a place on."""
    with open_capture(os.fsencode(path), refuse_written=False) as capture:
        return sum(piece.totals.packets for piece in capture.pieces(StreamFormat(1, nanosecond=False), place))


def test_the_time_of_the_first_packet_is_looked_for_within_the_budget(tmp_path: Path) -> None:
    """That is what `--order time` reads of each file."""
    path = with_hole(tmp_path / "capture", gzip.compress(section() + interface()))
    file = CountedFile(open_regular(os.fsencode(path)))

    with capture_of(os.fsencode(path), file) as capture:
        assert first_packet_time_ns(capture) is None

    assert file.read_bytes < 3 * MOST_BYTES


def test_the_dispatcher_fails_such_a_file_and_feeds_the_next_one(trio: Trio) -> None:
    """The packets before the hole are in the stream, and counted; a file without one is not authorized."""
    holes = {"1.pcap.gz": gzip.compress(PCAP), "2.pcap.gz": gzip.compress(b"")}
    for name, content in holes.items():
        trio.queue(with_hole(trio.captures / name, content))
    trio.queue(trio.capture("3.pcap", 3, 20))
    trio.start_all()

    trio.await_processed(1)

    failures = [json.loads(entry) for entry in listed(trio.store, trio.store.keys.failed)]
    assert [entry["reason"] for entry in failures] == [BYTES, BYTES]
    assert [entry["packets"] for entry in failures] == [2, 0]
    assert trio.logged("controller").count("file_authorized") == 2


@pytest.mark.parametrize("command", ["cat", "run"])
def test_ctrl_c_ends_a_command_that_looks_for_the_first_packet(tmp_path: Path, command: str) -> None:
    """`run` reads the beginning of each file before it starts anything."""
    path = with_hole(tmp_path / "1.pcap.zst", EMPTY_ZSTD_BLOCKS)
    with start("pcapdj", command, path, cwd=tmp_path, stdout=PIPE, stderr=PIPE) as process:
        wait_until(lambda: bytes_read(process.pid) > 4 << 20, "some of the hole to be read")

        assert stopped(process, signal.SIGINT)[0] == ExitCode.INTERRUPTED


def test_ctrl_c_ends_cat_among_packets_that_are_skipped(tmp_path: Path) -> None:
    """They may be many gigabytes, and are read in a thread."""
    skipped = gzip.compress(enhanced(1, number=1) * 25_000, 1)
    path = tmp_path / "1.pcapng.gz"
    path.write_bytes(gzip.compress(PCAPNG + interface(RAW_IP)) + skipped * 2000)
    assert path.stat().st_size > 4 << 20
    other = tmp_path / "0.pcap"
    other.write_bytes(PCAP)
    with start("pcapdj", "cat", other, path, stdout=PIPE, stderr=PIPE) as process:
        wait_until(lambda: bytes_read(process.pid) > 300_000, "some of the file to be read")

        code, took_s = stopped(process, signal.SIGINT)

        assert code == ExitCode.INTERRUPTED
        assert took_s < scaled(3)
