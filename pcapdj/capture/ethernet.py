"""Rewrites packets of other link types to Ethernet: which ones can be, and what becomes of each.

The pseudo-header in front of a packet gives way to the 14 bytes of an Ethernet header:

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

Rules; a packet that none of them takes is left out, since a frame with a guessed type would be an invention:
- raw IP: the version, 4 or 6, says the type, whatever the link type promises, as in tcpdump and Suricata. 12
  and 14 are what LINKTYPE_RAW is inside of BSD's and OpenBSD's kernels; old programs wrote them into files.
- loopback: 2 is IPv4; 10 (Linux), 24 (NetBSD, OpenBSD, Npcap), 28 (FreeBSD), 30 (Darwin) are IPv6. The family
  is taken in either byte order, as tcpdump does: 0 has the capturing host's, which the file need not share.
- cooked: the protocol is the EtherType, from 0x0600 on; smaller ones would read as a length. 0x0004 (LLC) and
  0x0001 (Novell) become 802.3 lengths if they are at most 1500 and the packet looks it: Novell's begins with
  ffff, LLC never does. 0x0003 means many things; CAN and the others are none of Ethernet's.
- cooked: the protocol of ARPHRD_FRAD, _IEEE80211_RADIOTAP and _NETLINK is none. That of GRE is an EtherType.
- too short for its pseudo-header: left out. Nothing behind it: an empty frame; not for raw IP.
"""

import struct
from typing import Final

from pcapdj.capture.pcap import MAX_CAPTURED_BYTES, StreamFormat

ETHERNET: Final = 1
_RAW_IP: Final = (12, 14, 101, 228, 229)
_LOOPBACKS: Final = (0, 108)  # BSD's, OpenBSD's
_COOKED, _COOKED_2 = 113, 276
_PSEUDO_HEADER_BYTES: Final = {
    **dict.fromkeys(_RAW_IP, 0),
    **dict.fromkeys(_LOOPBACKS, 4),
    _COOKED: 16,
    _COOKED_2: 20,
}
REWRITABLE: Final = frozenset(_PSEUDO_HEADER_BYTES)

_ETHERNET_HEADER_BYTES, _MAC_BYTES = 14, 6
_MAX_LENGTH: Final = 0xFFFF_FFFF  # what a record's field holds
_NO_ADDRESS: Final = bytes(_MAC_BYTES)
_IPV4, _IPV6, _FIRST_ETHERTYPE, _MAX_802_3_BYTES = 0x0800, 0x86DD, 0x0600, 1500

_BY_VERSION: Final = {4: _IPV4, 6: _IPV6}
_FAMILIES: Final = {2: _IPV4, 10: _IPV6, 24: _IPV6, 28: _IPV6, 30: _IPV6}
_BY_FAMILY: Final = {
    family.to_bytes(4, order): ethertype
    for order in ("little", "big")
    for family, ethertype in _FAMILIES.items()
}

_COOKED_FIELDS: Final = struct.Struct(">2xHH8sH")
_COOKED_2_FIELDS: Final = struct.Struct(">H6xHxB8s")
_HARDWARE_WITHOUT_ETHERTYPE: Final = {770, 803, 824}  # ARPHRD_FRAD, _IEEE80211_RADIOTAP, _NETLINK
_NOVELL, _LLC, _NOVELL_MARK = 0x0001, 0x0004, b"\xff\xff"


def carries(stream: StreamFormat, linktype: int) -> bool:
    """Report whether packets of this link type go into the stream, as they are or rewritten."""
    return linktype == stream.linktype or (stream.rewrites and linktype in REWRITABLE)


def rewriting(stream: StreamFormat, *, is_wanted: bool) -> StreamFormat:
    """Return the stream's format with this wish, which only an Ethernet stream can fulfil."""
    return stream._replace(rewrites=is_wanted and stream.linktype == ETHERNET)


def format_of_first(native: StreamFormat, *, rewrites: bool) -> StreamFormat:
    """Return the format of the stream that a capture of this format begins."""
    linktype = ETHERNET if rewrites and native.linktype in REWRITABLE else native.linktype
    return rewriting(native._replace(linktype=linktype), is_wanted=rewrites)


def to_ethernet(linktype: int, packet: bytes, length: int) -> tuple[bytes, int] | None:
    """Return the frame for a packet, and its length on the wire; None if it cannot be one.

    Both lengths grow or shrink by as much, unless the frame would be longer than a record may be.

    Args:
        linktype: a rewritable one.
        packet: with its pseudo-header, as captured.
        length: of both on the wire.
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
    return frame[:MAX_CAPTURED_BYTES], min(wire_bytes, _MAX_LENGTH)


def _source_and_type(linktype: int, packet: bytes, payload_bytes: int) -> tuple[bytes, int | None]:
    """Return a cooked packet's sender, and its EtherType or 802.3 length; None if it has neither."""
    if linktype == _COOKED:
        hardware, address_bytes, address, protocol = _COOKED_FIELDS.unpack_from(packet)
    else:
        protocol, hardware, address_bytes, address = _COOKED_2_FIELDS.unpack_from(packet)
    source = address[:_MAC_BYTES] if address_bytes == _MAC_BYTES else _NO_ADDRESS
    if hardware in _HARDWARE_WITHOUT_ETHERTYPE:
        return source, None
    begins_as_novell = packet.startswith(_NOVELL_MARK, _PSEUDO_HEADER_BYTES[linktype])
    return source, _type_or_length(protocol, payload_bytes, begins_as_novell=begins_as_novell)


def _type_or_length(protocol: int, payload_bytes: int, *, begins_as_novell: bool) -> int | None:
    if protocol >= _FIRST_ETHERTYPE:
        return protocol
    wanted = _NOVELL if begins_as_novell else _LLC
    return payload_bytes if protocol == wanted and payload_bytes <= _MAX_802_3_BYTES else None
