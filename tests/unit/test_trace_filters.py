"""The filters by which tcpdump finds sessions: `pcapdj.trace.filters`."""

from pcapdj.trace.events import Addresses
from pcapdj.trace.filters import session_filter

UDP = Addresses(("10.0.0.5", "10.0.0.6"), (1113, 2222), "udp")
RAW_IP = 101


def test_a_session_has_both_directions_and_its_fragments() -> None:
    """Later fragments have no ports: those between the same hosts are let pass."""
    assert session_filter([UDP], RAW_IP) == (
        "(ip host 10.0.0.5 and ip host 10.0.0.6 and"
        " ((udp port 1113 and udp port 2222) or (ip proto 17 and ip[6:2] & 0x1fff != 0)))"
    )


def test_ipv6_has_a_fragment_header() -> None:
    """By its number, in the first header."""
    session = Addresses(("::1", "::2"), (1, 1), "tcp")

    assert session_filter([session], RAW_IP) == (
        "(ip6 host ::1 and ip6 host ::2 and ((tcp port 1) or ip6[6] = 44))"
    )


def test_protocols_without_ports_are_numbers() -> None:
    """Zeek calls both versions icmp; an unknown protocol leaves the hosts."""
    sessions = [
        Addresses(("10.0.0.5", "10.0.0.6"), (8, 0), "icmp"),
        Addresses(("::1", "::2"), (), "icmp"),
        Addresses(("::1", "::2"), (), "ipv6-icmp"),
        Addresses(("10.0.0.5",), (), "unknown"),
    ]

    assert session_filter(sessions, RAW_IP) == (
        "(ip host 10.0.0.5 and ip host 10.0.0.6 and (ip proto 1 or (ip proto 1 and ip[6:2] & 0x1fff != 0)))"
        " or (ip6 host ::1 and ip6 host ::2 and (ip6 proto 58 or ip6[6] = 44))"
        " or (ip6 host ::1 and ip6 host ::2 and (ip6 proto 58 or ip6[6] = 44))"
        " or (ip host 10.0.0.5)"
    )


def test_ethernet_may_have_one_or_two_vlan_tags() -> None:
    """`vlan` moves the offsets of all that follows, so it comes last."""
    host = Addresses(("10.0.0.5",))

    assert session_filter([host, host], 1) == (
        "(ip host 10.0.0.5) or (vlan and ((ip host 10.0.0.5) or (vlan and ((ip host 10.0.0.5)))))"
    )
