"""Frames and streams for the tests of the summary analyzer, small enough to read in a test."""

import struct
from ipaddress import ip_address

import dpkt

from support import captures
from support.captures import ETHERNET, MICRO, Record

CLIENT, SERVER = "192.0.2.1", "198.51.100.2"
FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10


def ip_packet(source: str, destination: str, protocol: int, transport: dpkt.Packet | bytes) -> bytes:
    """Return an IP packet of the version that the addresses have."""
    src, dst = ip_address(source), ip_address(destination)
    if src.version == 6:
        size = len(bytes(transport))
        return bytes(
            dpkt.ip6.IP6(src=src.packed, dst=dst.packed, nxt=protocol, p=protocol, plen=size, data=transport)
        )
    return bytes(dpkt.ip.IP(src=src.packed, dst=dst.packed, p=protocol, data=transport))


def tcp_segment(sport: int, dport: int, seq: int, flags: int = ACK, payload: bytes = b"") -> dpkt.tcp.TCP:
    """Return a TCP segment without options."""
    return dpkt.tcp.TCP(sport=sport, dport=dport, seq=seq % (1 << 32), flags=flags, data=payload)


def ethernet(packet: bytes, kind: int = dpkt.ethernet.ETH_TYPE_IP) -> bytes:
    """Return an Ethernet frame around it."""
    return b"\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02" + struct.pack(">H", kind) + packet


def tcp_frame(
    *, to_server: bool, seq: int, flags: int = ACK, payload: bytes = b"", port: int = 4000
) -> bytes:
    """Return one Ethernet frame between the client's port and the server's port 80."""
    ends = (CLIENT, SERVER, port, 80) if to_server else (SERVER, CLIENT, 80, port)
    return ethernet(ip_packet(ends[0], ends[1], 6, tcp_segment(ends[2], ends[3], seq, flags, payload)))


def header(linktype: int = ETHERNET, *, order: str = "<", magic: int = MICRO) -> bytes:
    """Return the file header of a classic capture."""
    return captures.file_header(magic, order, linktype=linktype)


def record(frame: bytes, time_s: int = 1, fraction: int = 0, *, order: str = "<") -> bytes:
    """Return the frame as a record."""
    return captures.record(Record(time_s, fraction, frame), order)


def stream(*frames: bytes, linktype: int = 1) -> bytes:
    """Return the frames as a capture stream, one second apart."""
    return header(linktype) + b"".join(record(frame, number) for number, frame in enumerate(frames, start=1))


def exchange(request: bytes, response: bytes, *, port: int = 4000) -> list[bytes]:
    """Return a whole connection: handshake, request, response in one segment, both FINs."""
    return [
        tcp_frame(to_server=True, seq=99, flags=SYN, port=port),
        tcp_frame(to_server=False, seq=499, flags=SYN | ACK, port=port),
        tcp_frame(to_server=True, seq=100, payload=request, port=port),
        tcp_frame(to_server=False, seq=500, payload=response, port=port),
        tcp_frame(to_server=False, seq=500 + len(response), flags=FIN | ACK, port=port),
        tcp_frame(to_server=True, seq=100 + len(request), flags=FIN | ACK, port=port),
    ]
