"""Link types: their names, which packets become Ethernet frames, and byte order inside packets."""

import struct
from collections.abc import Callable

import pytest
from support.captures import cooked, cooked_2
from support.rows import each_row

from pcapdj.capture.linktypes import (
    LINUX_SLL,
    NFLOG,
    USB_LINUX,
    USB_LINUX_MMAPPED,
    linktype_name,
    to_ethernet,
    to_little_endian,
)
from pcapdj.capture.pcap import MAX_CAPTURED_BYTES

Cook = Callable[..., bytes]

IPV4, IPV6 = b"\x45ipv4", b"\x60ipv6"
NO_ADDRESS, SENDER = bytes(6), b"\2\1\2\3\4\5"
USB = "QBBBBHBBqiiIIiiIIII"
USB_VALUES = (0x0102030405060708, 83, 0, 1, 2, 0x0304, 0, 0, 1_600_000_000, 5, -115, 64, 16, 1, 2, 3, 4, 5, 2)


def frame(kind: int, packet: bytes, source: bytes = NO_ADDRESS) -> tuple[bytes, int]:
    """Return an Ethernet frame and its length."""
    whole = NO_ADDRESS + source + struct.pack(">H", kind) + packet
    return whole, len(whole)


def frame_of(linktype: int, packet: bytes) -> tuple[bytes, int] | None:
    """Return the frame of a packet that was captured completely."""
    return to_ethernet(linktype, packet, len(packet))


@each_row("linktype", [12, 14, 101, 228, 229])
def test_the_version_decides_the_type_of_raw_ip(linktype: int) -> None:
    """As in tcpdump and Suricata, whatever the link type; other versions have no frame."""
    assert frame_of(linktype, IPV4) == frame(0x0800, IPV4)
    assert frame_of(linktype, IPV6) == frame(0x86DD, IPV6)
    assert frame_of(linktype, b"\x55no version of IP") is None
    assert frame_of(linktype, b"") is None


@each_row("linktype", [0, 108])
@each_row("order", ["<", ">"])
@each_row(("family", "kind"), [(2, 0x0800), (10, 0x86DD), (24, 0x86DD), (28, 0x86DD), (30, 0x86DD)])
def test_loopback_families_are_accepted_in_either_byte_order(
    linktype: int, order: str, family: int, kind: int
) -> None:
    """The capturing host may differ from the host that wrote the file."""
    assert frame_of(linktype, struct.pack(order + "I", family) + IPV6) == frame(kind, IPV6)


@pytest.mark.parametrize(
    "packet", [struct.pack("<I", 7) + IPV4, struct.pack("<I", 23), b"\2\0\0", b"", b"\0\2\0\0" + IPV4]
)
def test_other_and_incomplete_families_are_skipped(packet: bytes) -> None:
    """OSI, IPX, three bytes, no bytes, and a family in no byte order."""
    assert frame_of(0, packet) is None
    assert frame_of(108, packet) is None


COOKED = pytest.mark.parametrize(("linktype", "cook"), [(113, cooked), (276, cooked_2)])


@COOKED
@pytest.mark.parametrize("protocol", [0x0800, 0x86DD, 0x0806, 0x8100, 0x0600, 0xFFFF])
def test_the_protocol_of_a_cooked_packet_is_the_ethertype(linktype: int, cook: Cook, protocol: int) -> None:
    """And its sender address is the source of the frame."""
    assert frame_of(linktype, cook(protocol, b"data")) == frame(protocol, b"data", SENDER)


@COOKED
@pytest.mark.parametrize("address_bytes", [0, 1, 5, 7, 8, 20])
def test_only_an_address_of_six_bytes_becomes_the_source(
    linktype: int, cook: Cook, address_bytes: int
) -> None:
    """Others are not MAC addresses."""
    assert frame_of(linktype, cook(0x0800, IPV4, address_bytes=address_bytes)) == frame(0x0800, IPV4)


@COOKED
def test_llc_and_novell_packets_get_an_802_3_length(linktype: int, cook: Cook) -> None:
    """Only if they look like it: readers distinguish them in the same way."""
    llc, ipx = b"\x42\x42\x03bpdu", b"\xff\xff\x00\x22ipx"

    assert frame_of(linktype, cook(0x0004, llc)) == frame(7, llc, SENDER)
    assert frame_of(linktype, cook(0x0001, ipx)) == frame(7, ipx, SENDER)
    assert frame_of(linktype, cook(0x0004, ipx)) is None
    assert frame_of(linktype, cook(0x0001, llc)) is None


@COOKED
def test_an_802_3_length_is_the_length_on_the_wire(linktype: int, cook: Cook) -> None:
    """Also if less was captured; beyond 1500 it would read as an EtherType."""
    packet = cook(0x0004, b"\x42\x42\x03")
    pseudo_header_bytes = len(packet) - 3

    for length in (1500, 1501):
        found = to_ethernet(linktype, packet, pseudo_header_bytes + length)
        whole = (frame(1500, b"\x42\x42\x03", SENDER)[0], 1514)
        assert found == (whole if length == 1500 else None)
    assert to_ethernet(linktype, packet, 0) == (frame(3, b"\x42\x42\x03", SENDER)[0], 14)


@COOKED
@pytest.mark.parametrize("protocol", [0x0000, 0x0003, 0x000C, 0x000D, 0x000E, 0x0011, 0x00F6, 0x05DC, 0x05FF])
def test_protocols_without_ethertype_are_skipped(linktype: int, cook: Cook, protocol: int) -> None:
    """CAN, 802.15.4 and the like."""
    assert frame_of(linktype, cook(protocol, b"data")) is None


@COOKED
@pytest.mark.parametrize("hardware", [770, 803, 824])
def test_devices_without_ethertypes_are_skipped(linktype: int, cook: Cook, hardware: int) -> None:
    """Frame relay, radiotap and netlink."""
    assert frame_of(linktype, cook(0x0800, IPV4, hardware=hardware)) is None


@COOKED
@pytest.mark.parametrize("hardware", [512, 772, 778, 823, 65534])
def test_tunnels_and_loopback_devices_have_ethertypes(linktype: int, cook: Cook, hardware: int) -> None:
    """PPP, lo, GRE over both IP versions, and none."""
    assert frame_of(linktype, cook(0x86DD, IPV6, hardware=hardware)) == frame(0x86DD, IPV6, SENDER)


@COOKED
def test_packets_shorter_than_their_pseudo_header_are_skipped(linktype: int, cook: Cook) -> None:
    """A packet that ends with its pseudo-header is an empty frame."""
    whole = cook(0x0800, b"")

    assert frame_of(linktype, whole) == frame(0x0800, b"", SENDER)
    assert all(frame_of(linktype, whole[:cut]) is None for cut in range(len(whole)))


def test_both_lengths_change_by_the_same_number() -> None:
    """A packet cut by the snaplen stays cut."""
    assert to_ethernet(101, IPV4, 1500) == (frame(0x0800, IPV4)[0], 1514)
    assert to_ethernet(276, cooked_2(0x0800, IPV4), 1500) == (frame(0x0800, IPV4, SENDER)[0], 1494)


def test_no_frame_is_longer_than_a_record_may_be() -> None:
    """A longer one is cut; the length on the wire stays within its 32 bits."""
    found = to_ethernet(101, b"\x45" * MAX_CAPTURED_BYTES, 0xFFFF_FFFF)

    assert found is not None
    assert found[0] == frame(0x0800, b"\x45" * (MAX_CAPTURED_BYTES - 14))[0]
    assert found[1] == MAX_CAPTURED_BYTES
    assert to_ethernet(113, cooked(0x0800, IPV4), 3) == (frame(0x0800, IPV4, SENDER)[0], 14)


def test_link_types_are_named_with_their_number() -> None:
    """Of an uncommon type the number alone."""
    assert (linktype_name(1), linktype_name(147)) == ("Ethernet (1)", "link type 147")


def test_packets_of_other_link_types_are_not_swapped() -> None:
    """Network headers have a byte order of their own."""
    assert to_little_endian(1, b"\x01\x02\x03\x04") == b"\x01\x02\x03\x04"


def test_the_id_of_a_cooked_can_frame_is_swapped() -> None:
    """Only of CAN, and only if it was captured completely."""
    cooked = bytes(14) + b"\x00\x0c"

    assert to_little_endian(LINUX_SLL, cooked + b"\x01\x02\x03\x04rest") == cooked + b"\x04\x03\x02\x01rest"
    assert to_little_endian(LINUX_SLL, cooked + b"\x01\x02") == cooked + b"\x01\x02"
    ip = bytes(14) + b"\x08\x00\x45\x00\x00\x54"
    assert to_little_endian(LINUX_SLL, ip) == ip


def test_netfilter_attributes_are_swapped() -> None:
    """Type and length of each, not their values."""
    big = b"\x02\x00\x00\x05" + struct.pack(">HH4s", 8, 7, b"abc") + struct.pack(">HH4s", 10, 8, b"mark")
    little = b"\x02\x00\x00\x05" + struct.pack("<HH4s", 8, 7, b"abc") + struct.pack("<HH4s", 10, 8, b"mark")

    assert to_little_endian(NFLOG, big) == little


def test_a_netfilter_attribute_without_length_ends_the_swapping() -> None:
    """Without an endless loop over a damaged packet."""
    big = b"\x02\x00\x00\x05" + struct.pack(">HH", 8, 0) + b"1234"

    assert to_little_endian(NFLOG, big) == b"\x02\x00\x00\x05" + struct.pack("<HH", 8, 0) + b"1234"


def test_a_usb_header_with_its_descriptors_is_swapped() -> None:
    """The padded header of memory-mapped captures, isochronous, two descriptors."""
    descriptors = [(1, 2, 3, 0), (4, 5, 6, 0)]
    big = struct.pack(">" + USB, *USB_VALUES) + b"".join(struct.pack(">iIII", *d) for d in descriptors)
    little = struct.pack("<" + USB, *USB_VALUES) + b"".join(struct.pack("<iIII", *d) for d in descriptors)

    assert to_little_endian(USB_LINUX_MMAPPED, big + b"data") == little + b"data"


def test_a_cut_usb_header_keeps_its_length() -> None:
    """Only the complete fields are swapped."""
    big = struct.pack(">" + USB, *USB_VALUES)

    lengths = range(len(big) + 1)
    assert [len(to_little_endian(USB_LINUX, big[:length])) for length in lengths] == list(lengths)


def test_a_field_that_ends_with_the_captured_bytes_is_swapped() -> None:
    """The first field of the USB header has 8 bytes."""
    assert to_little_endian(USB_LINUX, b"12345678") == b"87654321"
    assert to_little_endian(USB_LINUX, b"1234567") == b"1234567"
