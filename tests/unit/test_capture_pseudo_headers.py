"""Packets with a header in the byte order of the capturing host, seen from a little-endian stream."""

import struct

import pytest

from pcapdj.capture.pseudo_headers import LINUX_SLL, NFLOG, USB_LINUX, USB_LINUX_MMAPPED, to_little_endian

USB = "QBBBBHBBqiiIIiiIIII"
USB_VALUES = (0x0102030405060708, 83, 0, 1, 2, 0x0304, 0, 0, 1_600_000_000, 5, -115, 64, 16, 1, 2, 3, 4, 5, 2)


def test_other_packets_stay_as_they_are() -> None:
    """Network headers have an order of their own."""
    assert to_little_endian(1, b"\x01\x02\x03\x04") == b"\x01\x02\x03\x04"


def test_the_id_of_a_cooked_can_frame_is_swapped() -> None:
    """Only for CAN, and only if it was captured."""
    cooked = bytes(14) + b"\x00\x0c"

    assert to_little_endian(LINUX_SLL, cooked + b"\x01\x02\x03\x04rest") == cooked + b"\x04\x03\x02\x01rest"
    assert to_little_endian(LINUX_SLL, cooked + b"\x01\x02") == cooked + b"\x01\x02"
    ip = bytes(14) + b"\x08\x00\x45\x00\x00\x54"
    assert to_little_endian(LINUX_SLL, ip) == ip


def test_netfilter_attributes_are_swapped_one_after_the_other() -> None:
    """Type and length of each; their values are not."""
    big = b"\x02\x00\x00\x05" + struct.pack(">HH", 6, 3) + b"abcd"[:0] + bytes(0)
    big = b"\x02\x00\x00\x05" + struct.pack(">HH4s", 8, 7, b"abc") + struct.pack(">HH4s", 10, 8, b"mark")
    little = b"\x02\x00\x00\x05" + struct.pack("<HH4s", 8, 7, b"abc") + struct.pack("<HH4s", 10, 8, b"mark")

    assert to_little_endian(NFLOG, big) == little


def test_a_netfilter_attribute_without_length_ends_the_swapping() -> None:
    """No endless loop over a damaged packet."""
    big = b"\x02\x00\x00\x05" + struct.pack(">HH", 8, 0) + b"1234"

    assert to_little_endian(NFLOG, big) == b"\x02\x00\x00\x05" + struct.pack("<HH", 8, 0) + b"1234"


def test_a_usb_header_with_its_descriptors_is_swapped() -> None:
    """The padded header of memory-mapped captures, isochronous, two descriptors."""
    descriptors = [(1, 2, 3, 0), (4, 5, 6, 0)]
    big = struct.pack(">" + USB, *USB_VALUES) + b"".join(struct.pack(">iIII", *d) for d in descriptors)
    little = struct.pack("<" + USB, *USB_VALUES) + b"".join(struct.pack("<iIII", *d) for d in descriptors)

    assert to_little_endian(USB_LINUX_MMAPPED, big + b"data") == little + b"data"


@pytest.mark.parametrize("length", range(65))
def test_a_cut_usb_header_is_swapped_as_far_as_its_fields_are_whole(length: int) -> None:
    """Never longer, never shorter."""
    big = struct.pack(">" + USB, *USB_VALUES)[:length]

    assert len(to_little_endian(USB_LINUX, big)) == length
