"""The filter by which tcpdump finds the packets of sessions. Pure.

A packet of a session may have VLAN tags, which move everything behind them, or be a fragment, of which only
the first one has ports. So for a session F the filter is `F or (vlan and (F or (vlan and F)))`, and F has
the fragments between its hosts, too. In an expression `vlan` moves the offsets of all that follows it: it has
to be the last alternative.

Source: pcap-filter(7), "vlan"; RFC 791, 3.1 (fragment offset); RFC 8200, 4.5 (fragment header, 44).
"""

from collections.abc import Iterable
from typing import Final

from pcapdj.trace.events import Addresses

MOST_SESSIONS: Final = 50  # in one filter: a longer one is beyond what tcpdump compiles
_ETHERNET: Final = 1
_PORT_PROTOCOLS: Final = ("tcp", "udp", "sctp")
# the protocol's number in an IP header, by the names of Suricata and Zeek
_NUMBERS: Final = {
    "icmp": 1,
    "igmp": 2,
    "ip-in-ip": 4,
    "ipip": 4,
    "tcp": 6,
    "udp": 17,
    "ipv6": 41,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "ipv6-icmp": 58,
    "icmpv6": 58,
    "icmp6": 58,
    "sctp": 132,
}
_ICMP: Final = {4: 1, 6: 58}  # Zeek calls both icmp


def session_filter(sessions: Iterable[Addresses], linktype: int) -> str:
    """Return the filter for the packets of sessions, at most `MOST_SESSIONS`.

    Args:
        sessions: whose packets are wanted.
        linktype: of the capture; only Ethernet has VLAN tags.
    """
    plain = " or ".join(f"({_filter_of(each)})" for each in dict.fromkeys(sessions))
    if linktype != _ETHERNET:
        return plain
    return f"{plain} or (vlan and ({plain} or (vlan and ({plain}))))"


def _filter_of(session: Addresses) -> str:
    version = 6 if ":" in session.hosts[0] else 4
    family = "ip6" if version == 6 else "ip"  # noqa: PLR2004 - of IP
    parts = [f"{family} host {host}" for host in dict.fromkeys(session.hosts)]
    number = _ICMP[version] if session.protocol == "icmp" else _NUMBERS.get(session.protocol)
    if number is None:
        return " and ".join(parts)
    fragments = "ip6[6] = 44" if family == "ip6" else f"(ip proto {number} and ip[6:2] & 0x1fff != 0)"
    whole = f"{family} proto {number}"
    if session.ports and session.protocol in _PORT_PROTOCOLS:
        ports = [f"{session.protocol} port {port}" for port in dict.fromkeys(session.ports)]
        whole = f"({' and '.join(ports)})"
    return " and ".join([*parts, f"({whole} or {fragments})"])
