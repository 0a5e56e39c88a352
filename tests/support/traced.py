"""Captures whose packets Suricata names in all its ways: by number, by the packet around, by flow times."""

import struct
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from support.captures import Record, classic
from support.frames import ACK, PSH, SYN, ethernet, ip_packet, tcp_segment

START_S: Final = 1_700_000_001
FILES: Final = 5
RULES: Final = """\
alert ip any any -> any any (msg:"content"; content:"ATTACK"; sid:1;)
alert pkthdr any any -> any any (msg:"runt"; decode-event:ethernet.pkt_too_small; sid:3;)
"""
_MORE_FRAGMENTS: Final = 0x2000


def _ipv4(source: str, destination: str, protocol: int, payload: bytes, fragment: int = 0) -> bytes:
    """Return an IPv4 packet; `fragment` is the field with flags and offset."""
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 77, fragment, 64, protocol, 0)
    return head + ip_address(source).packed + ip_address(destination).packed + payload


def _udp(source: int, destination: int, payload: bytes) -> bytes:
    return struct.pack(">HHHH", source, destination, 8 + len(payload), 0) + payload


def _tagged(frame: bytes, vlan: int) -> bytes:
    return frame[:12] + struct.pack(">HH", 0x8100, vlan) + frame[12:]


def _tcp(*, to_server: bool, seq: int, ack: int, flags: int, payload: bytes = b"") -> bytes:
    segment = tcp_segment(*((4000, 80) if to_server else (80, 4000)), seq, flags, payload)
    segment.ack = ack
    ends = ("10.0.1.1", "10.0.1.2") if to_server else ("10.0.1.2", "10.0.1.1")
    return ethernet(ip_packet(*ends, 6, segment))


def frames() -> list[bytes]:
    """Return the packets, one second apart; of the last two each two hours after the one before."""
    datagram = _udp(1113, 2222, b"A" * 1000 + b"ATTACK in fragments")
    inner = [_ipv4(f"192.168.1.{n}", "192.168.1.2", 17, _udp(1114, 2222, b"ATTACK inside")) for n in (1, 5)]
    arp = struct.pack(">HHBBH", 1, 0x800, 6, 4, 1) + bytes(20)
    return [
        ethernet(_ipv4("10.0.0.1", "10.0.0.2", 17, _udp(1111, 2222, b"ATTACK on the wire"))),
        _tagged(ethernet(_ipv4("10.0.0.3", "10.0.0.4", 17, _udp(1112, 2222, b"ATTACK behind a tag"))), 7),
        ethernet(_ipv4("10.0.0.5", "10.0.0.6", 17, datagram[:504], _MORE_FRAGMENTS)),
        ethernet(_ipv4("10.0.0.5", "10.0.0.6", 17, datagram[504:], 504 // 8)),
        ethernet(_ipv4("10.0.0.7", "10.0.0.8", 4, inner[0])),
        ethernet(_ipv4("10.0.0.9", "10.0.0.10", 47, struct.pack(">HH", 0, 0x800) + inner[1])),
        _tcp(to_server=True, seq=99, ack=0, flags=SYN),
        _tcp(to_server=False, seq=499, ack=100, flags=SYN | ACK),
        _tcp(to_server=True, seq=100, ack=500, flags=ACK),
        _tcp(to_server=True, seq=100, ack=500, flags=PSH | ACK, payload=b"ATTACK never acknowledged"),
        ethernet(arp, 0x806),
        b"\1\2\3",
        ethernet(_ipv4("10.0.9.1", "10.0.9.2", 17, _udp(1, 2, b"later"))),
        ethernet(_ipv4("10.0.9.1", "10.0.9.2", 17, _udp(1, 2, b"later"))),
    ]


def records() -> list[Record]:
    """Return the packets as records."""
    return [
        Record(START_S + place + 7200 * max(0, place - 11), 0, frame) for place, frame in enumerate(frames())
    ]


def write_captures(folder: Path) -> list[Path]:
    """Write the packets into five files, three in each: the fragments and the TCP session cross a border."""
    folder.mkdir()
    packets, paths = records(), []
    for number in range(FILES):
        paths.append(folder / f"{number}.pcap")
        paths[-1].write_bytes(classic(packets[3 * number : 3 * number + 3]))
    return paths
