"""Link types: their names, and how a packet of each gets into a stream. Pure.

Numbers are LINKTYPE_ values as they stand in capture files (https://www.tcpdump.org/linktypes.html).

**Rewriting to Ethernet.** The pseudo-header in front of a packet is replaced by the 14 bytes of an Ethernet
header:

    0             6             12           14
    | destination | source      | type       | packet ..
      zeros         cooked: the    EtherType, or the packet's length (802.3) if it begins with an LLC header
                    sender's, if   or is Novell's raw IPX
                    6 bytes long

    12, 14, 101, 228, 229   raw IP: no pseudo-header, the packet begins with its IP version
                            https://www.tcpdump.org/linktypes/LINKTYPE_RAW.html (.._IPV4.html, .._IPV6.html)

    0       BSD loopback    0                4
    108     OpenBSD's       | address family | packet ..
                            https://www.tcpdump.org/linktypes/LINKTYPE_NULL.html, LINKTYPE_LOOP.html

    113     Linux cooked    0             2         4                6         14         16
                            | packet type | ARPHRD_ | address length | address | protocol | packet ..
                            https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL.html

    276     Linux cooked v2 0          2      4       8         10            11               12        20
                            | protocol | zero | index | ARPHRD_ | packet type | address length | address |
                            https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL2.html

Rules (all other packets are skipped: a frame with a guessed type would be false evidence):
- raw IP: the packet's version, 4 or 6, decides the type, whatever the link type is, as in tcpdump and
  Suricata. 12 and 14 are LINKTYPE_RAW in the kernels of BSD and OpenBSD; old programs wrote them to files.
- loopback: 2 is IPv4; 10 (Linux), 24 (NetBSD, OpenBSD, Npcap), 28 (FreeBSD), 30 (Darwin) are IPv6. The family
  is accepted in either byte order, as in tcpdump: link type 0 has the byte order of the capturing host, which
  may differ from that of the file.
- cooked: the protocol is the EtherType, from 0x0600 on; smaller ones would read as a length. 0x0004 (LLC) and
  0x0001 (Novell) become 802.3 lengths if they are at most 1500 and the packet looks like it: Novell's begins
  with ffff, LLC never does. 0x0003 has many meanings; CAN and the others do not exist on Ethernet.
- cooked: on ARPHRD_FRAD, _IEEE80211_RADIOTAP and _NETLINK devices the protocol is not an EtherType. On GRE
  devices it is one.
- a packet shorter than its pseudo-header is skipped. A packet that ends with it is an empty frame; raw IP
  without a byte is skipped.

**Byte order inside packets.** Four link types put a header of the capturing kernel in front of the packet and
keep the byte order of that host. A stream is little endian, so these headers are swapped in packets of a
big-endian file, as libpcap does on reading.
"""

import struct
from collections.abc import Iterator
from typing import Final

from pcapdj.capture.pcap import MAX_CAPTURED_BYTES, StreamFormat

ETHERNET: Final = 1
LINUX_SLL, USB_LINUX, USB_LINUX_MMAPPED, NFLOG, LINUX_SLL2 = 113, 189, 220, 239, 276
_RAW_IP: Final = (12, 14, 101, 228, 229)
_LOOPBACKS: Final = (0, 108)  # BSD's, OpenBSD's
_PSEUDO_HEADER_BYTES: Final = {
    **dict.fromkeys(_RAW_IP, 0),
    **dict.fromkeys(_LOOPBACKS, 4),
    LINUX_SLL: 16,
    LINUX_SLL2: 20,
}
REWRITABLE: Final = frozenset(_PSEUDO_HEADER_BYTES)  # link types that can become Ethernet

_ETHERNET_HEADER_BYTES, _MAC_BYTES = 14, 6
_NO_ADDRESS: Final = bytes(_MAC_BYTES)
_IPV4, _IPV6, _FIRST_ETHERTYPE, _MAX_802_3_BYTES = 0x0800, 0x86DD, 0x0600, 1500

_BY_VERSION: Final = {4: _IPV4, 6: _IPV6}
_FAMILIES: Final = {2: _IPV4, 10: _IPV6, 24: _IPV6, 28: _IPV6, 30: _IPV6}
_BY_FAMILY: Final = {
    family.to_bytes(4, order): ethertype
    for order in ("little", "big")
    for family, ethertype in _FAMILIES.items()
}

_SLL_FIELDS: Final = struct.Struct(">2xHH8sH")
_SLL2_FIELDS: Final = struct.Struct(">H6xHxB8s")
_HARDWARE_WITHOUT_ETHERTYPE: Final = {770, 803, 824}  # ARPHRD_FRAD, _IEEE80211_RADIOTAP, _NETLINK
_NOVELL, _LLC, _NOVELL_MARK = 0x0001, 0x0004, b"\xff\xff"

_SLL_HEADER_BYTES, _SLL_PROTOCOL = 16, slice(14, 16)
_CAN_PROTOCOLS = {b"\x00\x0c", b"\x00\x0d"}  # CAN and CAN FD: the id after the header is in host order

# Offset and size of each number of more than one byte in the USB header.
_USB_FIELDS = ((0, 8), (12, 2), (16, 8), (24, 4), (28, 4), (32, 4), (36, 4))
_USB_TRANSFER_TYPE, _USB_ISOCHRONOUS = 9, 0
_USB_ISOCHRONOUS_FIELDS = ((40, 4), (44, 4))  # elsewhere the device's own setup packet
_USB_MMAPPED_FIELDS = ((48, 4), (52, 4), (56, 4), (60, 4))
_USB_DESCRIPTORS, _USB_DESCRIPTOR_BYTES = 64, 16
_USB_DESCRIPTOR_COUNT = slice(60, 64)

_NFLOG_HEADER_BYTES, _NFLOG_TLV_BYTES = 4, 4

_NAMES: Final = {
    0: "BSD loopback",
    1: "Ethernet",
    6: "Token Ring",
    8: "SLIP",
    9: "PPP",
    10: "FDDI",
    12: "raw IP",  # as BSD numbers it
    14: "raw IP",  # as OpenBSD does
    50: "PPP in HDLC framing",
    51: "PPPoE",
    100: "ATM RFC 1483",
    101: "raw IP",
    104: "Cisco HDLC",
    105: "802.11",
    107: "Frame Relay",
    108: "OpenBSD loopback",
    113: "Linux cooked",
    117: "PFLOG",
    119: "802.11 with Prism header",
    127: "802.11 with radiotap header",
    143: "DOCSIS",
    187: "Bluetooth HCI H4",
    189: "Linux USB",
    195: "802.15.4 with FCS",
    197: "ERF",
    201: "Bluetooth HCI H4 with direction",
    220: "Linux USB, padded header",
    227: "SocketCAN",
    228: "raw IPv4",
    229: "raw IPv6",
    230: "802.15.4 without FCS",
    239: "NFLOG",
    249: "USBPcap",
    253: "Linux netlink",
    271: "vsock",
    276: "Linux cooked v2",
}


def linktype_name(linktype: int) -> str:
    """Return the name and number, `Ethernet (1)`, or `link type 147` for a type without a name here."""
    name = _NAMES.get(linktype)
    return f"{name} ({linktype})" if name else f"link type {linktype}"


def packet_for_stream(
    packet: bytes, length: int, linktype: int, stream: StreamFormat, *, big_endian: bool
) -> tuple[bytes, int] | None:
    """Return a packet's bytes and its length on the wire as they go into the stream.

    Args:
        packet: the captured bytes.
        length: on the wire, in bytes.
        linktype: one that the stream accepts.
        stream: the stream's format.
        big_endian: the capture file is big endian.

    Returns:
        None if the packet cannot be rewritten to the stream's link type.
    """
    if linktype != stream.linktype:
        return to_ethernet(linktype, packet, length)
    return to_little_endian(linktype, packet) if big_endian else packet, length


def to_ethernet(linktype: int, packet: bytes, length: int) -> tuple[bytes, int] | None:
    """Return the Ethernet frame of a packet, and its length on the wire.

    Both lengths change by the same number of bytes, but neither exceeds what a record may have: programs that
    are built on libpcap refuse a longer one.

    Args:
        linktype: one of `REWRITABLE`.
        packet: the captured bytes, with the pseudo-header.
        length: on the wire, with the pseudo-header, in bytes.

    Returns:
        None if none of the rules applies to the packet.
    """
    size_bytes = _PSEUDO_HEADER_BYTES[linktype]
    if len(packet) < size_bytes:
        return None
    source, kind = _NO_ADDRESS, None
    if linktype in _RAW_IP:
        kind = _BY_VERSION.get(packet[0] >> 4) if packet else None
    elif linktype in _LOOPBACKS:
        kind = _BY_FAMILY.get(packet[:size_bytes])
    else:
        source, kind = _source_and_type(linktype, packet, max(length, len(packet)) - size_bytes)
    if kind is None:
        return None
    frame = b"".join((_NO_ADDRESS, source, kind.to_bytes(2, "big"), packet[size_bytes:]))
    wire_bytes = max(length - size_bytes, 0) + _ETHERNET_HEADER_BYTES
    return frame[:MAX_CAPTURED_BYTES], min(wire_bytes, MAX_CAPTURED_BYTES)


def _source_and_type(linktype: int, packet: bytes, payload_bytes: int) -> tuple[bytes, int | None]:
    """Return a cooked packet's sender address, and its EtherType or 802.3 length; None if it has neither."""
    if linktype == LINUX_SLL:
        hardware, address_bytes, address, protocol = _SLL_FIELDS.unpack_from(packet)
    else:
        protocol, hardware, address_bytes, address = _SLL2_FIELDS.unpack_from(packet)
    source = address[:_MAC_BYTES] if address_bytes == _MAC_BYTES else _NO_ADDRESS
    if hardware in _HARDWARE_WITHOUT_ETHERTYPE:
        return source, None
    begins_as_novell = packet.startswith(_NOVELL_MARK, _PSEUDO_HEADER_BYTES[linktype])
    return source, _type_or_length(protocol, payload_bytes, begins_as_novell=begins_as_novell)


def _type_or_length(protocol: int, payload_bytes: int, *, begins_as_novell: bool) -> int | None:
    if protocol >= _FIRST_ETHERTYPE:
        return protocol
    expected = _NOVELL if begins_as_novell else _LLC
    return payload_bytes if protocol == expected and payload_bytes <= _MAX_802_3_BYTES else None


def has_host_order(linktype: int) -> bool:
    """Report whether packets of this link type have a header in the byte order of the capturing host."""
    return linktype in {LINUX_SLL, USB_LINUX, USB_LINUX_MMAPPED, NFLOG}


def to_little_endian(linktype: int, packet: bytes) -> bytes:
    """Return a packet from a big-endian capture as a little-endian host would have captured it."""
    if not has_host_order(linktype):
        return packet
    swapped = bytearray(packet)
    for start, size in _fields(linktype, packet):
        if start + size <= len(packet):
            swapped[start : start + size] = packet[start : start + size][::-1]
    return bytes(swapped)


def _fields(linktype: int, packet: bytes) -> Iterator[tuple[int, int]]:
    """Yield offset and size of the fields to swap; they may lie beyond the end of a cut packet."""
    if linktype == LINUX_SLL:
        if packet[_SLL_PROTOCOL] in _CAN_PROTOCOLS:
            yield _SLL_HEADER_BYTES, 4
    elif linktype == NFLOG:
        yield from _nflog_fields(packet)
    else:
        yield from _usb_fields(packet, mmapped=linktype == USB_LINUX_MMAPPED)


def _nflog_fields(packet: bytes) -> Iterator[tuple[int, int]]:
    """Yield offset and size of every attribute's type and length; only version 0 exists."""
    position = _NFLOG_HEADER_BYTES
    while packet[1:2] == b"\0" and position + _NFLOG_TLV_BYTES <= len(packet):
        yield position, 2
        yield position + 2, 2
        padded = -(-int.from_bytes(packet[position + 2 : position + 4], "big") // 4) * 4
        if padded < _NFLOG_TLV_BYTES:
            return
        position += padded


def _usb_fields(packet: bytes, *, mmapped: bool) -> Iterator[tuple[int, int]]:
    yield from _USB_FIELDS
    isochronous = packet[_USB_TRANSFER_TYPE : _USB_TRANSFER_TYPE + 1] == bytes([_USB_ISOCHRONOUS])
    if isochronous:
        yield from _USB_ISOCHRONOUS_FIELDS
    if not mmapped:
        return
    yield from _USB_MMAPPED_FIELDS
    if isochronous:
        announced = int.from_bytes(packet[_USB_DESCRIPTOR_COUNT], "big")
        captured = max(len(packet) - _USB_DESCRIPTORS, 0) // _USB_DESCRIPTOR_BYTES + 1
        for index in range(min(announced, captured)):
            start = _USB_DESCRIPTORS + index * _USB_DESCRIPTOR_BYTES
            yield from ((start, 4), (start + 4, 4), (start + 8, 4))
