"""The format of a file, identified by its first bytes."""

import struct

import pytest
from support.captures import MICRO, MODIFIED, NANO, file_header, section

from pcapdj.capture.formats import Kind, identify


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("magic", [MICRO, NANO, MODIFIED])
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


@pytest.mark.parametrize(
    ("first", "name"),
    [
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"BZh9", "bzip2"),
        (b"\xfd7zXZ\x00", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
    ],
)
def test_compressions_are_identified_by_content(first: bytes, name: str) -> None:
    """Without the file's name."""
    found = identify(first)

    assert (found.kind, found.name) == (Kind.COMPRESSED, name)


@pytest.mark.parametrize(
    ("first", "name"),
    [
        (b"snoop\x00\x00\x00\x00\x00\x00\x02", "snoop"),
        (b"\xa1\x2b\x3c\x4d", "Navtel pcap"),
        (b"PK\x03\x04", "zip archive"),
        (b"a" * 257 + b"ustar\x00", "tar archive"),
        (struct.pack("<QBB", 1, 2, 4) + struct.pack(">HHH", 32, 0, 60) + bytes(16)
         + struct.pack("<QBB", 2, 2, 4) + struct.pack(">HHH", 32, 0, 60) + bytes(16), "ERF"),
    ],
)  # fmt: skip
def test_unsupported_formats_are_identified_by_name(first: bytes, name: str) -> None:
    """The operator reads which format the file has."""
    found = identify(first)

    assert (found.kind, found.name) == (Kind.UNSUPPORTED, name)


@pytest.mark.parametrize("first", [b"", b"\xd4", b"hello world", bytes(512), bytes(range(256)) * 2])
def test_anything_else_is_unknown(first: bytes) -> None:
    """Zeros, text and short files."""
    assert identify(first).kind is Kind.UNKNOWN
