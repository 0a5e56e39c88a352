"""Decodes one captured frame as far as the flow table needs it. Pure.

dpkt decodes the protocols: Ethernet with VLAN, MPLS and 802.3 variants, Linux cooked v1 and v2, loopback,
PPP, raw IP, IPv4 and IPv6 with extension headers. Its classes are restricted here to those that lead to TCP
and UDP, so that no other parser reads hostile bytes. The most common frame (Ethernet, IPv4 without fragments,
TCP) is decoded by a faster function with the same result; a property test compares the two.

Not supported: reassembly of IP fragments (they are marked and counted), tunnels, checksums (a sensor captures
outgoing packets before the network card fills them in).
"""

import struct
from collections.abc import Callable
from typing import NamedTuple

import dpkt

ETHERNET_TYPE_AND_VERSION = b"\x08\x00\x45"  # IPv4 with a header of 20 bytes
ETHERNET_BYTES = 14
FRAGMENT_BITS = 0x3FFF  # more-fragments flag and fragment offset, RFC 791
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10  # RFC 9293, "Control bits"
TCP, UDP = 6, 17  # IANA protocol numbers
FRAME_LIMIT_BYTES = 70_000  # one IP packet and its link headers; limits the walk over IPv6 extension headers
EXTENSION_HEADERS_LIMIT = 16  # RFC 8200: each of six kinds once, one of them twice
_IPV6_BYTES = 40
LINKTYPES_RAW = (12, 14, 101, 228, 229)  # raw IP: BSD's two numbers, LINKTYPE_RAW, _IPV4, _IPV6

_ip_and_tcp = struct.Struct(">xxHxxHxB2x4s4sHHIxxxxBB").unpack_from


class Packet(NamedTuple):
    """One IP packet as the flow table needs it; a tuple, because one is made for each packet."""

    protocol: int  # IANA number; that after IPv6 extension headers
    source: bytes  # 4 or 16 bytes
    destination: bytes
    source_port: int  # 0 where the protocol has none, and in fragments
    destination_port: int
    seq: int = 0
    flags: int = 0
    payload: bytes = b""  # of TCP only
    is_fragment: bool = False


class UndecodableError(ValueError):
    """These bytes do not match their link type or one of their headers."""


class _IPv4(dpkt.ip.IP):  # type: ignore[misc]  # dpkt publishes no types
    _protosw = {TCP: dpkt.tcp.TCP, UDP: dpkt.udp.UDP}  # noqa: RUF012  # dpkt's own class attribute


class _IPv6(dpkt.ip6.IP6):  # type: ignore[misc]  # dpkt publishes no types
    _protosw = _IPv4._protosw  # noqa: SLF001  # the same restriction

    def unpack(self, buf: bytes) -> None:
        if _extension_headers(buf) > EXTENSION_HEADERS_LIMIT:
            raise UndecodableError(f"more than {EXTENSION_HEADERS_LIMIT} IPv6 extension headers")
        super().unpack(buf)


def _extension_headers(packet: bytes) -> int:
    """Count them up to the limit: dpkt copies the rest of the packet for each of them.

    Source: RFC 8200, "IPv6 Extension Headers"; RFC 4302 for the length of an authentication header.
    """
    count, kind, at = 0, packet[6], _IPV6_BYTES
    while kind in dpkt.ip6.EXT_HDRS and count <= EXTENSION_HEADERS_LIMIT and at + 1 < len(packet):
        length = packet[at + 1]
        step = {dpkt.ip.IP_PROTO_FRAGMENT: 8, dpkt.ip.IP_PROTO_AH: 4 * (length + 2)}.get(
            kind, 8 * (length + 1)
        )
        count, kind, at = count + 1, packet[at], at + step
    return count


_NETWORK = {dpkt.ethernet.ETH_TYPE_IP: _IPv4, dpkt.ethernet.ETH_TYPE_IP6: _IPv6}


class _Ethernet(dpkt.ethernet.Ethernet):  # type: ignore[misc]  # dpkt publishes no types
    _typesw = _NETWORK


class _Cooked(dpkt.sll.SLL):  # type: ignore[misc]  # dpkt publishes no types
    _typesw = _NETWORK


class _Cooked2(dpkt.sll2.SLL2):  # type: ignore[misc]  # dpkt publishes no types
    _typesw = _NETWORK


class _PPP(dpkt.ppp.PPP):  # type: ignore[misc]  # dpkt publishes no types
    _protosw = {dpkt.ppp.PPP_IP: _IPv4, dpkt.ppp.PPP_IP6: _IPv6}  # noqa: RUF012  # dpkt's own class attribute


def _raw(frame: bytes) -> dpkt.Packet:
    if not frame:
        raise UndecodableError("no byte of an IP packet")
    return _IPv6(frame) if frame[0] >> 4 == 6 else _IPv4(frame)  # noqa: PLR2004 - IP's version number


def _loopback(frame: bytes) -> dpkt.Packet:
    # The family's number and byte order depend on the system that captured; the IP version does not.
    return _raw(frame[4:])


_LINKS: dict[int, Callable[[bytes], dpkt.Packet]] = {
    dpkt.pcap.DLT_NULL: _loopback,
    dpkt.pcap.DLT_EN10MB: _Ethernet,
    dpkt.pcap.DLT_PPP: _PPP,
    dpkt.pcap.DLT_LOOP: _loopback,
    dpkt.pcap.DLT_LINUX_SLL: _Cooked,
    276: _Cooked2,  # LINKTYPE_LINUX_SLL2
    **dict.fromkeys(LINKTYPES_RAW, _raw),
}

# The errors that dpkt raises for invalid bytes.
_DPKT_ERRORS = (
    dpkt.Error,
    struct.error,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    RecursionError,
)


def decode(linktype: int, frame: bytes) -> Packet | None:
    """Return the IP packet in a frame, or None if the frame is valid and has none (ARP, STP, LLDP).

    Raises:
        UndecodableError: unknown link type, cut off, or a header with contradictory lengths.
    """
    if linktype == dpkt.pcap.DLT_EN10MB and frame[12:15] == ETHERNET_TYPE_AND_VERSION:
        packet = _plain_tcp(frame)
        if packet is not None:
            return packet
    return decode_with_dpkt(linktype, frame)


def _plain_tcp(frame: bytes) -> Packet | None:
    """Return the packet if it is TCP without fragments or IP options, else None."""
    if len(frame) < ETHERNET_BYTES + 40:
        return None
    total, fragment, protocol, source, destination, sport, dport, seq, offset, flags = _ip_and_tcp(
        frame, ETHERNET_BYTES
    )
    start = ETHERNET_BYTES + 20 + (offset >> 4) * 4
    end = min(ETHERNET_BYTES + total, len(frame)) if total else len(frame)  # 0: segmentation offload
    if protocol != TCP or fragment & FRAGMENT_BITS or offset < 5 << 4 or start > end:
        return None
    return Packet(TCP, source, destination, sport, dport, seq, flags, frame[start:end])


def decode_with_dpkt(linktype: int, frame: bytes) -> Packet | None:
    """Return the same as `decode`, always by dpkt.

    Raises:
        UndecodableError: as `decode`.
    """
    link = _LINKS.get(linktype)
    if link is None:
        raise UndecodableError(f"link type {linktype} is not supported")
    try:
        network = link(frame[:FRAME_LIMIT_BYTES])
        if not isinstance(network, dpkt.ip.IP | dpkt.ip6.IP6):
            return _network_packet(network)
        return _packet(network)
    except _DPKT_ERRORS as exc:
        raise UndecodableError(f"link type {linktype}: {exc!r}"[:200]) from exc


def _network_packet(link: dpkt.Packet) -> Packet | None:
    """Return the IP packet after a link header; None if the link header declares another protocol."""
    if isinstance(link.data, dpkt.ip.IP | dpkt.ip6.IP6):
        return _packet(link.data)
    declared = getattr(link, "_next_type", None) or getattr(link, "ethtype", None) or getattr(link, "p", None)
    if declared in _NETWORK or declared in _PPP._protosw:  # noqa: SLF001 - our own subclass
        raise UndecodableError("the link header declares IP, but no IP packet follows")
    return None


def _packet(network: dpkt.Packet) -> Packet:
    if isinstance(network, dpkt.ip6.IP6):
        version, protocol = 6, getattr(network, "p", dpkt.ip.IP_PROTO_ESP)
        extension = network.extension_hdrs.get(dpkt.ip.IP_PROTO_FRAGMENT)
        is_fragment = extension is not None and bool(extension.frag_off or extension.m_flag)
    else:
        version, protocol = 4, network.p
        is_fragment = bool(network._flags_offset & FRAGMENT_BITS)  # noqa: SLF001 - dpkt's name for the field
    if network.v != version:
        raise UndecodableError(f"IP version {network.v} instead of {version}")
    if is_fragment:
        return Packet(protocol, network.src, network.dst, 0, 0, is_fragment=True)
    return _transport(protocol, network)


def _transport(protocol: int, network: dpkt.Packet) -> Packet:
    segment = network.data
    if isinstance(segment, dpkt.tcp.TCP):
        if len(segment.opts) != segment.off * 4 - 20:
            raise UndecodableError("the TCP header is longer than the segment")
        return Packet(
            TCP,
            network.src,
            network.dst,
            segment.sport,
            segment.dport,
            segment.seq,
            segment.flags & 0xFF,
            segment.data,
        )
    if isinstance(segment, dpkt.udp.UDP):
        return Packet(UDP, network.src, network.dst, segment.sport, segment.dport)
    if protocol in (TCP, UDP):
        raise UndecodableError(f"the header of IP protocol {protocol} is incomplete")
    return Packet(protocol, network.src, network.dst, 0, 0)
