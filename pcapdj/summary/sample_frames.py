"""Frames for the sample captures: Ethernet, IPv4, UDP and TCP with right checksums. Pure.

Addresses are those set aside for documentation (RFC 5737), host names those of RFC 2606.
"""

import struct
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

import dpkt

from pcapdj.summary.packets import ACK, FIN, SYN, TCP, UDP
from pcapdj.summary.tcp import SEQUENCE_SPACE, Direction

PSH = 0x08
WINDOW = 0xFFFF  # times 2^7 by the option below: more than the transfer ever has on its way
SYN_OPTIONS = struct.pack(">BBH", dpkt.tcp.TCP_OPT_MSS, 4, 1460) + bytes(
    (dpkt.tcp.TCP_OPT_NOP, dpkt.tcp.TCP_OPT_WSCALE, 3, 7)
)


@dataclass(frozen=True, slots=True)
class Host:
    """One end: address, port, and the last byte of its MAC address."""

    address: str
    port: int
    mac: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a byte stream: where it begins, and how long it is."""

    offset: int
    size_bytes: int


class Sender:
    """One end of a TCP connection, and what it has received from the other.

    Args:
        here: who sends.
        there: who receives.
        isn: initial sequence number; the stream's first byte has the next one.
        stream: all that it will ever send.
    """

    def __init__(self, here: Host, there: Host, isn: int, stream: bytes) -> None:
        self.isn = isn
        self._here = here
        self._there = there
        self._stream = stream
        self._received = Direction()
        self._ack = 0
        self._next = 0  # offset behind all that was sent

    def syn(self, *, answer: bool) -> bytes:
        """Return the frame that opens this direction, alone or as the answer to the other's."""
        return self._frame(-1, SYN | ACK if answer else SYN, options=SYN_OPTIONS)

    def payload(self, segment: Segment) -> bytes:
        """Return this piece of the stream."""
        return self._stream[segment.offset : segment.offset + segment.size_bytes]

    def send(self, segment: Segment) -> bytes:
        """Return the frame with this piece of the stream."""
        payload = self.payload(segment)
        self._next = max(self._next, segment.offset + len(payload))
        return self._frame(segment.offset, ACK | PSH, payload)

    def acknowledge(self) -> bytes:
        """Return a frame that only says how much has come without a hole."""
        return self._frame(self._next, ACK)

    def finish(self) -> bytes:
        """Return the frame that ends this direction."""
        self._next += 1
        return self._frame(self._next - 1, FIN | ACK)

    def hear_syn(self, isn: int) -> None:
        """Take the other's initial sequence number."""
        self._received.open(isn)
        self._ack = isn + 1

    def hear(self, seq: int, payload: bytes) -> None:
        """Take bytes of the other's stream."""
        pieces = self._received.add(seq, payload)
        self._ack += sum(len(piece) for piece in pieces if isinstance(piece, bytes))

    def hear_fin(self) -> None:
        """Take note that all of the other's stream has come."""
        self._ack += 1

    def _frame(self, offset: int, flags: int, payload: bytes = b"", options: bytes = b"") -> bytes:
        tcp = dpkt.tcp.TCP(
            sport=self._here.port,
            dport=self._there.port,
            seq=(self.isn + 1 + offset) % SEQUENCE_SPACE,
            ack=self._ack % SEQUENCE_SPACE,
            flags=flags,
            off=5 + len(options) // 4,
            win=WINDOW,
            opts=options,
            data=payload,
        )
        return _ethernet(self._here, self._there, TCP, tcp)


def opened(client: Sender, server: Sender) -> list[bytes]:
    """Return the handshake's three frames."""
    syn = client.syn(answer=False)
    server.hear_syn(client.isn)
    syn_ack = server.syn(answer=True)
    client.hear_syn(server.isn)
    return [syn, syn_ack, client.acknowledge()]


def sent(sender: Sender, receiver: Sender, segment: Segment) -> bytes:
    """Return the frame with this piece of the sender's stream; the receiver has it then."""
    receiver.hear(sender.isn + 1 + segment.offset, sender.payload(segment))
    return sender.send(segment)


def closed(first: Sender, second: Sender) -> list[bytes]:
    """Return the three frames that end both directions."""
    fin = first.finish()
    second.hear_fin()
    answer = second.finish()
    first.hear_fin()
    return [fin, answer, first.acknowledge()]


def udp_frame(here: Host, there: Host, payload: bytes) -> bytes:
    """Return one datagram."""
    udp = dpkt.udp.UDP(sport=here.port, dport=there.port, ulen=8 + len(payload), data=payload)
    return _ethernet(here, there, UDP, udp)


def dns_frames(client: Host, server: Host, name: str, address: str, number: int) -> list[bytes]:
    """Return a question for a name's IPv4 address, and its answer.

    Args:
        client: its port is used for this question alone.
        server: listens on port 53.
        name: asked for.
        address: answered.
        number: the question's id, 0 to 65535.
    """
    client = replace(client, port=32768 + number % 28000)
    question = dpkt.dns.DNS.Q(name=name)
    query = dpkt.dns.DNS(id=number, op=dpkt.dns.DNS_RD, qd=[question])
    answer = dpkt.dns.DNS(id=number, op=dpkt.dns.DNS_QR | dpkt.dns.DNS_RD | dpkt.dns.DNS_RA, qd=[question])
    answer.an = [dpkt.dns.DNS.RR(name=name, ttl=300, ip=IPv4Address(address).packed)]
    answer.an[0].rdata = IPv4Address(address).packed
    return [udp_frame(client, server, bytes(query)), udp_frame(server, client, bytes(answer))]


def _ethernet(here: Host, there: Host, protocol: int, transport: dpkt.Packet) -> bytes:
    ip = dpkt.ip.IP(
        src=IPv4Address(here.address).packed,
        dst=IPv4Address(there.address).packed,
        p=protocol,
        df=1,
        data=transport,
    )
    # dpkt fills in the length and both checksums where they are 0.
    return bytes(dpkt.ethernet.Ethernet(src=_mac(here), dst=_mac(there), data=ip))


def _mac(host: Host) -> bytes:
    return bytes((0x02, 0, 0, 0, 0, host.mac))
