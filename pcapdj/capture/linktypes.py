"""Names of link types for messages, and what is said when two of them meet in one stream.

Numbers are LINKTYPE_ values as they stand in files (https://www.tcpdump.org/linktypes.html).
"""

_NAMES = {
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
    """Return a name with its number, `Ethernet (1)`, or only the number of an uncommon type."""
    name = _NAMES.get(linktype)
    return f"{name} ({linktype})" if name else f"link type {linktype}"


def mismatch(linktype: int, stream_linktype: int) -> str:
    """Return why a capture of one link type cannot go into a stream of another."""
    return f"is {linktype_name(linktype)}, but the stream is {linktype_name(stream_linktype)}"


def skipped_packets(skipped: dict[int, int], *, rewrites: bool) -> str:
    """Return what was left out of a capture, as counted by link type.

    Args:
        skipped: how many packets of which link type.
        rewrites: the stream takes other link types, too, if they can be rewritten to Ethernet.
    """
    counts = (f"{count} of {linktype_name(linktype)}" for linktype, count in sorted(skipped.items()))
    why = "that cannot be rewritten to Ethernet" if rewrites else "because of their link type"
    return f"packets left out {why}: {', '.join(counts)}"
