"""The sample captures: one HTTP download, cut over five rotated files, among other traffic.

Only the five files fed as one stream give the complete download: every border is inside the transfer, and
three of the four are at difficult places.

    border  1  between two segments
            2  between two segments in the wrong order: the later one before the border, the earlier one after
            3  between a segment and one that repeats its second half and continues after it
            4  between a segment and its retransmission

The same seed gives the same bytes. The files have names and times like those of
`tcpdump -G 60 -w sample-%Y%m%d-%H%M%S.pcap`.
"""

import hashlib
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from itertools import count
from pathlib import Path

import dpkt

from pcapdj.runtime.errors import CannotCreate
from pcapdj.runtime.places import make_folder
from pcapdj.runtime.trust import calling_user
from pcapdj.runtime.whole_file import write_whole
from pcapdj.summary.packets import ACK, FIN, SYN, TCP, UDP
from pcapdj.summary.stream import CAPTURED_LIMIT_BYTES
from pcapdj.summary.tcp import SEQUENCE_SPACE, TcpDirection

BODY_BYTES = 3 << 20
SEGMENT_BYTES = 1448  # what fits into an Ethernet frame beside the usual TCP options
FILE_COUNT = 5
FILE_S = 60  # time between two rotations
START_S = 1_704_110_400  # 2024-01-01 12:00:00 UTC
DOWNLOAD_NAME = "download.bin"
EXPECTED_NAME = "expected.sha256"

PSH = 0x08
WINDOW = 0xFFFF  # times 2^7 by the option below: more than the transfer ever has unacknowledged
SYN_OPTIONS = struct.pack(">BBH", dpkt.tcp.TCP_OPT_MSS, 4, 1460) + bytes(
    (dpkt.tcp.TCP_OPT_NOP, dpkt.tcp.TCP_OPT_WSCALE, 3, 7)
)


@dataclass(frozen=True, slots=True)
class Host:
    """One endpoint: address, port, and the last byte of its MAC address."""

    address: str
    port: int
    mac: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A range of a byte stream."""

    offset: int
    size_bytes: int


class Endpoint:
    """One end of a TCP connection: what it sends, and what it has received.

    Args:
        isn: initial sequence number; the first byte of the stream has the next one.
        stream: all bytes that it sends.
    """

    def __init__(self, here: Host, there: Host, isn: int, stream: bytes) -> None:
        self.isn = isn
        self._here = here
        self._there = there
        self._stream = stream
        self._received = TcpDirection()
        self._ack = 0
        self._next = 0  # offset after all bytes sent so far

    def syn(self, *, answer: bool) -> bytes:
        """Return the SYN of this end, as the first one or as the answer to the other's."""
        return self._frame(-1, SYN | ACK if answer else SYN, options=SYN_OPTIONS)

    def payload(self, segment: Segment) -> bytes:
        """Return the bytes of this segment."""
        return self._stream[segment.offset : segment.offset + segment.size_bytes]

    def send(self, segment: Segment) -> bytes:
        """Return the frame with this segment."""
        payload = self.payload(segment)
        self._next = max(self._next, segment.offset + len(payload))
        return self._frame(segment.offset, ACK | PSH, payload)

    def acknowledge(self) -> bytes:
        """Return a frame that acknowledges all bytes received without a gap."""
        return self._frame(self._next, ACK)

    def finish(self) -> bytes:
        """Return the FIN of this end."""
        self._next += 1
        return self._frame(self._next - 1, FIN | ACK)

    def receive_syn(self, isn: int) -> None:
        """Receive the other end's initial sequence number."""
        self._received.open(isn)
        self._ack = isn + 1

    def receive(self, seq: int, payload: bytes) -> None:
        """Receive bytes of the other end's stream."""
        pieces = self._received.add(seq, payload)
        self._ack += sum(len(piece) for piece in pieces if isinstance(piece, bytes))

    def receive_fin(self) -> None:
        """Receive the other end's FIN."""
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


def handshake(client: Endpoint, server: Endpoint) -> list[bytes]:
    """Return the three frames that open a connection."""
    syn = client.syn(answer=False)
    server.receive_syn(client.isn)
    syn_ack = server.syn(answer=True)
    client.receive_syn(server.isn)
    return [syn, syn_ack, client.acknowledge()]


def send_segment(sender: Endpoint, receiver: Endpoint, segment: Segment) -> bytes:
    """Return the frame with this segment of the sender's stream, and let the receiver receive it."""
    receiver.receive(sender.isn + 1 + segment.offset, sender.payload(segment))
    return sender.send(segment)


def close_connection(first: Endpoint, second: Endpoint) -> list[bytes]:
    """Return the three frames that close a connection."""
    fin = first.finish()
    second.receive_fin()
    answer = second.finish()
    first.receive_fin()
    return [fin, answer, first.acknowledge()]


def udp_frame(here: Host, there: Host, payload: bytes) -> bytes:
    """Return one datagram."""
    udp = dpkt.udp.UDP(sport=here.port, dport=there.port, ulen=8 + len(payload), data=payload)
    return _ethernet(here, there, UDP, udp)


def dns_frames(client: Host, server: Host, name: str, address: str, number: int) -> list[bytes]:
    """Return a query with this id for the IPv4 address of a name, and its answer."""
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


# Addresses are those for documentation (RFC 5737), host names those of RFC 2606.
CLIENT = Host("192.0.2.10", 49_152, 0x10)
SERVER = Host("198.51.100.80", 80, 0x80)
RESOLVER = Host("192.0.2.53", 53, 0x53)
CLOCK = Host("203.0.113.123", 123, 0x7B)
NEIGHBOUR = Host("192.0.2.20", 40_000, 0x20)
MAIL = Host("203.0.113.25", 25, 0x19)
CLIENT_ISN = 0xFFFF_FFF0  # sequence numbers wrap in both directions; those of the download in its second file
SERVER_ISN = 0xFFF0_0000

Parts = list[list[bytes]]


def write_sample(folder: Path, *, seed: int = 1) -> list[Path]:
    """Write the five captures, and `expected.sha256` in the form of sha256sum(1).

    Args:
        folder: created if it is missing; files of the same names are replaced.
        seed: of the body and of the order of the segments.

    Returns:
        The captures, in the order of their timestamps.

    Raises:
        CannotCreate: the folder or a file in it cannot be written.
    """
    rng = random.Random(seed)  # noqa: S311 - reproducible content, no secret
    body = rng.randbytes(BODY_BYTES)
    make_folder(folder, 0o755, caller=calling_user())
    try:
        digest = hashlib.sha256(body).hexdigest()
        write_whole(folder / EXPECTED_NAME, f"{digest}  {DOWNLOAD_NAME}\n".encode(), is_synced=False)
        return [_write(folder, number, frames) for number, frames in enumerate(_parts(body, rng))]
    except OSError as exc:
        raise CannotCreate(f"cannot write the sample into {str(folder)!r}: {exc.strerror}.") from exc


def _parts(body: bytes, rng: random.Random) -> Parts:
    """Return the frames of each file: the download, with other traffic in between."""
    parts = _download(body, rng)
    for number, frames in enumerate(parts):
        background = _background(number)
        # Never first or last: these are the segments at the borders.
        places = sorted(rng.randrange(1, len(frames)) for _ in background)
        for place, frame in zip(reversed(places), reversed(background), strict=True):
            frames.insert(place, frame)
    return parts


def _download(body: bytes, rng: random.Random) -> Parts:
    head = (
        f"HTTP/1.1 200 OK\r\nServer: sample\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode("ascii")
    request = (
        f"GET /{DOWNLOAD_NAME} HTTP/1.1\r\nHost: files.example\r\nUser-Agent: sample\r\nAccept: */*\r\n\r\n"
    ).encode("ascii")
    client = Endpoint(CLIENT, SERVER, CLIENT_ISN, request)
    server = Endpoint(SERVER, CLIENT, SERVER_ISN, head + body)
    opening = [
        *handshake(client, server),
        send_segment(client, server, Segment(0, len(request))),
        server.acknowledge(),
    ]
    parts = [
        list(_download_records(client, server, segments))
        for segments in _send_order(len(head) + len(body), rng)
    ]
    parts[0][:0] = opening
    parts[-1] += [client.acknowledge(), *close_connection(server, client)]
    return parts


def _download_records(client: Endpoint, server: Endpoint, segments: list[Segment]) -> Iterator[bytes]:
    for number, segment in enumerate(segments, start=1):
        yield send_segment(server, client, segment)
        if number % 2 == 0 and number < len(segments):
            yield client.acknowledge()


def _send_order(stream_bytes: int, rng: random.Random) -> list[list[Segment]]:
    """Return the segments of each file in the order in which the sensor captures them."""
    whole = [
        Segment(at, min(SEGMENT_BYTES, stream_bytes - at)) for at in range(0, stream_bytes, SEGMENT_BYTES)
    ]
    share = len(whole) // FILE_COUNT
    parts = [whole[n * share : (n + 1) * share] for n in range(FILE_COUNT - 1)]
    parts.append(whole[(FILE_COUNT - 1) * share :])
    for part in parts:
        _disorder(part, rng)
    parts[1][-1], parts[2][0] = parts[2][0], parts[1][-1]
    parts[3].insert(0, Segment(parts[2][-1].offset + SEGMENT_BYTES // 2, SEGMENT_BYTES))
    parts[4].insert(0, parts[3][-1])
    return parts


def _disorder(part: list[Segment], rng: random.Random) -> None:
    """Delay some segments and repeat some; the first and last ones stay in place."""
    for _ in range(4):
        late = rng.randrange(10, len(part) - 20)
        part.insert(late + rng.randrange(1, 8), part.pop(late))
        twice = rng.randrange(10, len(part) - 20)
        part.insert(twice + rng.randrange(1, 8), part[twice])


def _background(number: int) -> list[bytes]:
    neighbour = replace(NEIGHBOUR, port=NEIGHBOUR.port + number)
    client = Endpoint(neighbour, MAIL, 1000 * number, b"EHLO neighbour.example\r\nQUIT\r\n")
    server = Endpoint(MAIL, neighbour, 5000 * number, b"220 mail.example\r\n250 mail.example\r\n221 bye\r\n")
    return [
        *dns_frames(CLIENT, RESOLVER, "files.example", SERVER.address, 100 + number),
        *dns_frames(NEIGHBOUR, RESOLVER, "mail.example", MAIL.address, 200 + number),
        *handshake(client, server),
        send_segment(server, client, Segment(0, 18)),
        send_segment(client, server, Segment(0, 24)),
        send_segment(server, client, Segment(18, 18)),
        send_segment(client, server, Segment(24, 6)),
        send_segment(server, client, Segment(36, 9)),
        *close_connection(server, client),
        udp_frame(NEIGHBOUR, CLOCK, b"\x23" + bytes(47)),
    ]


def _write(folder: Path, number: int, frames: list[bytes]) -> Path:
    """Write one capture: microseconds, little endian, Ethernet; the frames have equal time steps."""
    start_s = START_S + number * FILE_S
    minute = f"12{number * FILE_S // 60:02d}00"
    path = folder / f"sample-20240101-{minute}.pcap"
    step_us = (FILE_S - 1) * 1_000_000 // len(frames)
    records = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, CAPTURED_LIMIT_BYTES, 1)]
    for time_us, frame in zip(count(step=step_us), frames, strict=False):
        seconds, fraction_us = divmod(time_us, 1_000_000)
        records += [struct.pack("<IIII", start_s + seconds, fraction_us, len(frame), len(frame)), frame]
    write_whole(path, b"".join(records), is_synced=False)
    return path
