"""The format of a file, identified by its first bytes."""

import struct

import pytest
from support.captures import MICRO, MODIFIED, NANO, file_header, section
from support.rows import each_row

from pcapdj.capture.formats import Kind, identify


def commview(month: int) -> bytes:
    """Return the header of a record of CommView."""
    date, time = (2023, month, 14), (22, 13, 20, 5)
    return struct.pack("<HHBHBBBBBIBB6x", 60, 60, 0, *date, *time, 0, 40)


@each_row("order", ["<", ">"])
@each_row("magic", [MICRO, NANO, MODIFIED])
def test_every_classic_variant_is_a_classic_capture(magic: int, order: str) -> None:
    """The magic has byte order and time unit; all variants are read."""
    assert identify(file_header(magic, order)).kind is Kind.CLASSIC


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_section_header_is_a_pcapng_capture(order: str) -> None:
    """The block type is the same in both byte orders."""
    assert identify(section(order)).kind is Kind.PCAPNG


def test_a_text_that_begins_like_a_section_header_is_unknown() -> None:
    """The block type consists of line ends: the byte-order magic decides."""
    assert identify(b"\n\r\r\n" + b"some text").kind is Kind.UNKNOWN


@each_row(
    ("first", "name"),
    [
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"BZh9", "bzip2"),
        (b"\xfd7zXZ\x00", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\x50\x2a\x4d\x18", "zstd"),
        (b"\x5f\x2a\x4d\x18", "zstd"),
    ],
)
def test_compressions_are_identified_by_content(first: bytes, name: str) -> None:
    """Without the file's name."""
    found = identify(first)

    assert (found.kind, found.name) == (Kind.COMPRESSED, name)


@each_row(
    ("first", "name"),
    [
        (b"snoop\x00\x00\x00\x00\x00\x00\x02", "snoop"),
        (b"\xa1\x2b\x3c\x4d", "Navtel pcap"),
        (b"PK\x03\x04", "zip archive"),
        (b"a" * 257 + b"ustar\x00", "tar archive"),
        (struct.pack("<QBB", 1, 2, 4) + struct.pack(">HHH", 32, 0, 60) + bytes(16)
         + struct.pack("<QBB", 2, 2, 4) + struct.pack(">HHH", 32, 0, 60) + bytes(16), "ERF"),
        (b"TR\x00d" + bytes(7) + b"\x80" + b"/tmp/trace", "HP-UX nettl"),
        (bytes.fromhex("000000010000000000 07d000"), "HP-UX nettl"),
        (b"\x01\x10\x4c\x00\x01\x05Trace Display Trace File", "LANalyzer"),
        (b"+---------+---------------+----------+\r\n22:13:20,000,000   ETHER\r\n", "K12 text"),
        (b"EyeSDN" + bytes(12), "EyeSDN"),
        (2 * (struct.pack("<HBBII", 4, 1, 0, 1, 2) + b"\x04\x0e\x01\x00"), "Bluetooth hcidump"),
        (commview(month=11), "CommView"),
        (b"\x07\x3f\x00\x00\x00\x06\x01\x01\x00\x05~\xff\x7d\x23\xc0", "pppd record"),
        (b"\x5d\x00\x00\x80\x00" + b"\xff" * 8 + b"\x00\x6a", "lzma"),
        (b" COMMUNICATIONS TRACE       Title: x", "iSeries communications trace"),
        (" COMMUNICATIONS TRACE       Title: x".encode("utf-16"), "iSeries communications trace"),
        (b"\r\nRECV-iguana:241:(task: B02614C0, time: 1975432.85) 49 octets @ 8003BD94", "Ascend text"),
        (b"\r\n\r\r\r\n\x1c\x00\x00\x00", "pcapng after a text-mode transfer (CR LF for LF)"),
    ],
)  # fmt: skip
def test_unsupported_formats_are_identified_by_name(first: bytes, name: str) -> None:
    """The operator reads which format the file has."""
    found = identify(first)

    assert (found.kind, found.name) == (Kind.UNSUPPORTED, name)


@each_row(
    ("first", "reason"),
    [
        (b"XCP\x00", "is NetXRay, which is not a supported format: 'editcap -F pcapng IN OUT' converts it"),
        (b"PK\x03\x04", "is zip archive, which is not a supported format: 'unzip' unpacks it"),
        (b"\xa1\x2b\x3c\x4d", "is Navtel pcap, which is not a supported format"),
        (b"hello", "is not a supported capture format"),
    ],
)  # fmt: skip
def test_a_refusal_names_format_and_remedy(first: bytes, reason: str) -> None:
    """The operator reads what to do next, where it is known."""
    assert str(identify(first).refusal) == reason


@each_row(
    "first",
    [
        struct.pack("<HBBII", 4, 1, 0, 1, 2) + b"\x04\x0e\x01\x00",  # one record may be chance
        commview(month=13),
        b"\x5d\x00\x00\x81\x00" + b"\xff" * 8 + b"\x00",
        b"\x07\x3f\x00\x00\x00\x01\x00\x00~",
        b"a mail about RECV-iguana:241:(task: B0)",
    ],
)
def test_what_nearly_looks_like_a_format_without_magic_is_unknown(first: bytes) -> None:
    """A wrong name would mislead more than none."""
    assert identify(first).kind is Kind.UNKNOWN


@each_row("first", [b"", b"\xd4", b"hello world", bytes(512), bytes(range(256)) * 2])
def test_anything_else_is_unknown(first: bytes) -> None:
    """Zeros, text and short files."""
    assert identify(first).kind is Kind.UNKNOWN
