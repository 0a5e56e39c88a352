"""Which packets become Ethernet frames, and which are left out."""

import struct
from collections.abc import Callable

import pytest
from support.captures import cooked, cooked_2

from pcapdj.capture.ethernet import REWRITABLE, carries, format_of_first, rewriting, to_ethernet
from pcapdj.capture.pcap import MAX_CAPTURED_BYTES, StreamFormat

Cook = Callable[..., bytes]

IPV4, IPV6 = b"\x45ipv4", b"\x60ipv6"
NO_ADDRESS, SENDER = bytes(6), b"\2\1\2\3\4\5"
ETHERNET = StreamFormat(1, nanosecond=False, rewrites=True)


def frame(kind: int, packet: bytes, source: bytes = NO_ADDRESS) -> tuple[bytes, int]:
    """Return an Ethernet frame and its length."""
    whole = NO_ADDRESS + source + struct.pack(">H", kind) + packet
    return whole, len(whole)


def rewritten(linktype: int, packet: bytes) -> tuple[bytes, int] | None:
    """Return what becomes of a packet that was captured whole."""
    return to_ethernet(linktype, packet, len(packet))


@pytest.mark.parametrize("linktype", [12, 14, 101, 228, 229])
def test_raw_ip_is_what_its_version_says(linktype: int) -> None:
    """As in tcpdump and Suricata, whatever the link type promises; nothing else is IP."""
    assert rewritten(linktype, IPV4) == frame(0x0800, IPV4)
    assert rewritten(linktype, IPV6) == frame(0x86DD, IPV6)
    assert rewritten(linktype, b"\x55no version of IP") is None
    assert rewritten(linktype, b"") is None


@pytest.mark.parametrize("linktype", [0, 108])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("family", "kind"), [(2, 0x0800), (10, 0x86DD), (24, 0x86DD), (28, 0x86DD), (30, 0x86DD)]
)
def test_loopback_families_are_known_in_either_byte_order(
    linktype: int, order: str, family: int, kind: int
) -> None:
    """The host that captured need not be the one that wrote the file."""
    assert rewritten(linktype, struct.pack(order + "I", family) + IPV6) == frame(kind, IPV6)


@pytest.mark.parametrize(
    "packet", [struct.pack("<I", 7) + IPV4, struct.pack("<I", 23), b"\2\0\0", b"", b"\0\2\0\0" + IPV4]
)
def test_other_families_and_torn_ones_are_left_out(packet: bytes) -> None:
    """OSI, IPX, three bytes, none, and a family in no byte order."""
    assert rewritten(0, packet) is None
    assert rewritten(108, packet) is None


COOKED = pytest.mark.parametrize(("linktype", "cook"), [(113, cooked), (276, cooked_2)])


@COOKED
@pytest.mark.parametrize("protocol", [0x0800, 0x86DD, 0x0806, 0x8100, 0x0600, 0xFFFF])
def test_a_cooked_packets_protocol_is_its_ethertype(linktype: int, cook: Cook, protocol: int) -> None:
    """And its sender is the frame's source."""
    assert rewritten(linktype, cook(protocol, b"data")) == frame(protocol, b"data", SENDER)


@COOKED
@pytest.mark.parametrize("address_bytes", [0, 1, 5, 7, 8, 20])
def test_an_address_that_is_none_of_ethernets_is_not_taken(
    linktype: int, cook: Cook, address_bytes: int
) -> None:
    """Only one of six bytes is a MAC address."""
    assert rewritten(linktype, cook(0x0800, IPV4, address_bytes=address_bytes)) == frame(0x0800, IPV4)


@COOKED
def test_what_is_no_ethertype_becomes_an_802_3_length(linktype: int, cook: Cook) -> None:
    """LLC, and Novell's raw IPX if it looks like that; readers tell one from the other in the same way."""
    llc, ipx = b"\x42\x42\x03bpdu", b"\xff\xff\x00\x22ipx"

    assert rewritten(linktype, cook(0x0004, llc)) == frame(7, llc, SENDER)
    assert rewritten(linktype, cook(0x0001, ipx)) == frame(7, ipx, SENDER)
    assert rewritten(linktype, cook(0x0004, ipx)) is None
    assert rewritten(linktype, cook(0x0001, llc)) is None


@COOKED
def test_an_802_3_length_counts_what_was_on_the_wire(linktype: int, cook: Cook) -> None:
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
def test_protocols_of_no_ethernet_are_left_out(linktype: int, cook: Cook, protocol: int) -> None:
    """CAN, 802.15.4 and the like; a frame would claim to be that long."""
    assert rewritten(linktype, cook(protocol, b"data")) is None


@COOKED
@pytest.mark.parametrize("hardware", [770, 803, 824])
def test_devices_whose_protocol_is_none_are_left_out(linktype: int, cook: Cook, hardware: int) -> None:
    """Frame relay, radiotap and netlink."""
    assert rewritten(linktype, cook(0x0800, IPV4, hardware=hardware)) is None


@COOKED
@pytest.mark.parametrize("hardware", [512, 772, 778, 823, 65534])
def test_tunnels_and_loopback_devices_have_ethertypes(linktype: int, cook: Cook, hardware: int) -> None:
    """PPP, lo, GRE over both IPs, and none at all."""
    assert rewritten(linktype, cook(0x86DD, IPV6, hardware=hardware)) == frame(0x86DD, IPV6, SENDER)


@COOKED
def test_what_is_too_short_for_its_pseudo_header_is_left_out(linktype: int, cook: Cook) -> None:
    """A packet that ends with it is an empty frame."""
    whole = cook(0x0800, b"")

    assert rewritten(linktype, whole) == frame(0x0800, b"", SENDER)
    assert all(rewritten(linktype, whole[:cut]) is None for cut in range(len(whole)))


def test_both_lengths_change_by_as_much() -> None:
    """What the snaplen had cut stays cut."""
    assert to_ethernet(101, IPV4, 1500) == (frame(0x0800, IPV4)[0], 1514)
    assert to_ethernet(276, cooked_2(0x0800, IPV4), 1500) == (frame(0x0800, IPV4, SENDER)[0], 1494)


def test_no_frame_is_longer_than_a_record_may_be() -> None:
    """Then it is cut at its end; a length on the wire stays one, too."""
    found = to_ethernet(101, b"\x45" * MAX_CAPTURED_BYTES, 0xFFFF_FFFF)

    assert found is not None
    assert found[0] == frame(0x0800, b"\x45" * (MAX_CAPTURED_BYTES - 14))[0]
    assert found[1] == 0xFFFF_FFFF
    assert to_ethernet(113, cooked(0x0800, IPV4), 3) == (frame(0x0800, IPV4, SENDER)[0], 14)


@pytest.mark.parametrize("linktype", [*sorted(REWRITABLE), 1, 105, 239])
def test_a_stream_begins_as_what_its_first_packets_become(linktype: int) -> None:
    """Ethernet for all that can be; what cannot be is what it is, and then nothing is rewritten."""
    native = StreamFormat(linktype, nanosecond=True)
    becomes_ethernet = linktype in REWRITABLE | {1}

    rewriting_one = format_of_first(native, rewrites=True)

    assert rewriting_one == StreamFormat(
        1 if becomes_ethernet else linktype, nanosecond=True, rewrites=becomes_ethernet
    )
    assert format_of_first(native, rewrites=False) == native


def test_only_an_ethernet_stream_carries_what_is_rewritten() -> None:
    """And only if that is wanted."""
    raw = StreamFormat(101, nanosecond=False)

    assert all(carries(ETHERNET, linktype) for linktype in REWRITABLE | {1})
    assert not carries(ETHERNET, 105)
    assert not carries(rewriting(ETHERNET, is_wanted=False), 101)
    assert carries(rewriting(raw, is_wanted=True), 101)
    assert not carries(rewriting(raw, is_wanted=True), 228)


def test_the_wish_changes_no_ethernet_record() -> None:
    """Ethernet captures are spliced as ever."""
    assert ETHERNET.takes_unchanged(StreamFormat(1, nanosecond=False))
