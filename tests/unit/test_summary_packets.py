"""The decoding of frames."""

import struct

import dpkt
import pytest
from support.frames import ACK, CLIENT, PSH, SERVER, ethernet, ip_packet, tcp_frame, tcp_segment
from support.rows import each_row

from pcapdj.summary.packets import Packet, UndecodableError, decode, decode_with_dpkt

V4 = ip_packet(CLIENT, SERVER, 6, tcp_segment(1, 80, 7, ACK | PSH, b"hello"))
V6 = ip_packet("2001:db8::1", "2001:db8::2", 6, tcp_segment(1, 80, 7, ACK | PSH, b"hello"))
SLL = struct.pack(">HHH8sH", 0, 1, 6, b"", 0x0800)
SLL2 = struct.pack(">HHIHBB8s", 0x86DD, 0, 1, 1, 0, 6, b"")


@each_row(
    ("linktype", "frame"),
    [
        pytest.param(1, ethernet(V4), id="ethernet"),
        pytest.param(1, ethernet(V4 + bytes(9)), id="ethernet with padding"),
        pytest.param(1, ethernet(V6, 0x86DD), id="ethernet, IPv6"),
        pytest.param(1, ethernet(b"\x00\x07\x08\x00" + V4, 0x8100), id="VLAN"),
        pytest.param(1, ethernet(b"\x00\x07\x81\x00\x00\x08\x86\xdd" + V6, 0x88A8), id="two VLANs"),
        pytest.param(1, ethernet(b"\x00\x01\x01\x40" + V4, 0x8847), id="MPLS"),
        pytest.param(101, V4, id="raw IPv4"),
        pytest.param(101, V6, id="raw IPv6"),
        pytest.param(228, V4, id="LINKTYPE_IPV4"),
        pytest.param(229, V6, id="LINKTYPE_IPV6"),
        pytest.param(113, SLL + V4, id="cooked"),
        pytest.param(276, SLL2 + V6, id="cooked v2"),
        pytest.param(0, b"\x02\x00\x00\x00" + V4, id="loopback, little-endian"),
        pytest.param(0, b"\x00\x00\x00\x1e" + V6, id="loopback, big-endian"),
        pytest.param(108, b"\x00\x00\x00\x02" + V4, id="OpenBSD loopback"),
        pytest.param(9, b"\xff\x03\x00\x21" + V4, id="PPP"),
    ],
)
def test_the_same_segment_is_found_after_every_link_header(linktype: int, frame: bytes) -> None:
    """Ports, sequence number, flags and payload are the same."""
    packet = decode(linktype, frame)

    assert packet is not None
    assert packet[3:] == (1, 80, 7, ACK | PSH, b"hello", False)


def test_only_tcp_packets_have_a_payload_here() -> None:
    """Others are only counted in their flow."""
    udp = dpkt.udp.UDP(sport=5, dport=53, ulen=9, data=b"x")

    assert decode(1, ethernet(ip_packet(CLIENT, SERVER, 17, udp))) == Packet(
        17, b"\xc0\x00\x02\x01", b"\xc6\x33\x64\x02", 5, 53
    )
    assert decode(1, ethernet(ip_packet(CLIENT, SERVER, 1, b"\x08\x00")))[3:5] == (0, 0)  # type: ignore[index]  # a packet


def test_extension_headers_are_skipped() -> None:
    """The protocol is that after the last extension header."""
    hop_by_hop = b"\x06\x00\x01\x04\x00\x00\x00\x00"
    frame = ip_packet("2001:db8::1", "2001:db8::2", 0, hop_by_hop + bytes(tcp_segment(1, 80, 7)))

    packet = decode(101, frame)

    assert packet is not None
    assert (packet.protocol, packet.destination_port) == (6, 80)


@pytest.mark.parametrize("frame", [ethernet(bytes(28), 0x0806), ethernet(b"\x42\x42\x03" + bytes(35), 38)])
def test_frames_without_ip_are_valid(frame: bytes) -> None:
    """ARP and spanning tree are not damage."""
    assert decode(1, frame) is None


def test_fragments_are_marked_and_not_decoded_further() -> None:
    """First and later fragments, in IPv4 and IPv6."""
    first = bytearray(V4)
    first[6] |= 0x20
    later = bytearray(V4)
    later[7] = 1
    sixth = ip_packet("2001:db8::1", "2001:db8::2", 44, b"\x06\x00\x00\x09\x00\x00\x00\x01" + bytes(20))

    packets = [decode(101, bytes(frame)) for frame in (first, later, sixth)]

    assert [(each and (each.is_fragment, each.protocol, each.source_port)) for each in packets] == [
        (True, 6, 0)
    ] * 3


def test_a_length_of_zero_means_offloaded_segmentation() -> None:
    """The network card would fill it in: the length of the frame counts."""
    packet = bytearray(V4)
    packet[2:4] = b"\x00\x00"

    decoded = decode(1, ethernet(bytes(packet)))

    assert decoded is not None
    assert decoded.payload == b"hello"


@each_row(
    ("linktype", "frame"),
    [
        pytest.param(147, ethernet(V4), id="unknown link type"),
        pytest.param(1, b"", id="nothing"),
        pytest.param(1, ethernet(V4)[:20], id="cut in the IP header"),
        pytest.param(1, ethernet(V4)[:40], id="cut in the TCP header"),
        pytest.param(1, ethernet(V6), id="IPv6 where IPv4 is announced"),
        pytest.param(1, ethernet(V4[:32] + b"\xf0" + V4[33:]), id="TCP header longer than the packet"),
        pytest.param(1, ethernet(V4[:32] + b"\x40" + V4[33:]), id="TCP header shorter than itself"),
        pytest.param(1, ethernet(b"\x00\x01\x01\x40", 0x8847), id="MPLS around nothing"),
        pytest.param(1, (b"\x01\x00\x0c\x00\x00" + bytes(21)) * 2600, id="Cisco ISL without end"),
        pytest.param(101, b"", id="raw, nothing"),
        pytest.param(9, b"\xff\x03\x00", id="PPP cut short"),
    ],
)
def test_invalid_packets_are_undecodable(linktype: int, frame: bytes) -> None:
    """Whatever error the parser raises."""
    with pytest.raises(UndecodableError):
        decode(linktype, frame)


def test_the_fast_decoder_gives_the_same_as_dpkt() -> None:
    """For TCP without fragments."""
    frame = tcp_frame(to_server=True, seq=5, payload=b"abc")

    assert decode(1, frame) == decode_with_dpkt(1, frame)


@each_row("kind", [0, 43, 44, 60])
@each_row(("count", "is_decoded"), [(16, True), (17, False), (8000, False)])
def test_a_packet_with_many_extension_headers_is_not_decoded(
    *, kind: int, count: int, is_decoded: bool
) -> None:
    """Dpkt copies the rest of the packet for each of them: 8,000 take as long as 3,000 packets."""
    headers = bytes([kind, 0, 0, 0, 0, 0, 0, 0]) * (count - 1) + bytes([6, 0, 0, 0, 0, 0, 0, 0])
    payload = headers + bytes(tcp_segment(1, 80, 7, ACK, b"x"))
    packet = V6[:4] + struct.pack(">HB", len(payload) & 0xFFFF, kind) + V6[7:40] + payload

    if is_decoded:
        assert decode(101, packet) is not None
        return
    with pytest.raises(UndecodableError, match="more than 16 IPv6 extension headers"):
        decode(101, packet)
