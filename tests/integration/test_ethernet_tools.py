"""Captures before and after they were rewritten to Ethernet, compared by tshark and tcpdump."""

import json
import os
import struct
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.captures import (
    MICRO,
    MODIFIED,
    NANO,
    Record,
    classic,
    cooked,
    cooked_2,
    enhanced,
    file_header,
    interface,
    record,
    section,
)
from support.frames import ACK, PSH, ip_packet, tcp_segment
from support.programs import require_program

from pcapdj.capture.concatenate import concatenate

SHARED = Path(os.environ.get("PCAPDJ_SHARED", Path(__file__).parents[3] / "shared"))
CORPUS = SHARED / "captures"
PUBLIC_LINKTYPES = (0, 12, 113, 228, 229)
# _ws.col.Info is what a person sees of everything above
FIELDS = [
    *("frame.time_epoch", "frame.protocols", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst"),
    *("tcp.srcport", "tcp.dstport", "tcp.seq_raw", "tcp.len", "udp.srcport", "udp.dstport"),
    *("arp.opcode", "vlan.id", "_ws.col.Info"),
]
# the protocols that tshark shows before the packet itself
LINKS = {"raw", "null", "sll", "eth", "ethertype"}

# Public captures that tshark decodes differently, and why.
UNLIKE = {
    "LINKTYPE_IPV6_invalid.pcap",  # contains IPv4; tcpdump, Suricata and pcapdj read it as IPv4
    "extract_read2_asan.pcap",  # longer on the wire than an IP packet can be; the frame has a trailer then
}

UDP = struct.pack(">HHHH", 4000, 53, 12, 0) + b"data"
V4 = [
    ip_packet("192.0.2.1", "198.51.100.2", 6, tcp_segment(4000, 80, 7, PSH | ACK, b"GET / HTTP/1.1\r\n\r\n")),
    ip_packet("192.0.2.1", "198.51.100.2", 17, UDP),
    ip_packet("192.0.2.1", "198.51.100.2", 1, b"\x08\0\xf7\xff\0\0\0\0"),
]
V6 = [
    ip_packet("2001:db8::1", "2001:db8::2", 6, tcp_segment(4000, 80, 7, ACK, b"payload")),
    ip_packet("2001:db8::1", "2001:db8::2", 17, UDP),
]
ARP = bytes.fromhex("0001 0800 06 04 0001 020102030405 c0000201 000000000000 c6336402")
STP = bytes.fromhex("424203 0000000000 8000020000000001 00000000 8000020000000001 8001 0000 1400 0200 0f00")
IPX = bytes.fromhex("ffff 0022 00 11 00000000 ffffffffffff 0452 00000000 020102030405 4003 0003 0004")


def cooked_packets(cook: Callable[..., bytes]) -> list[bytes]:
    """Return packets of a capture on all interfaces of a Linux host."""
    return [
        *(cook(0x0800, packet) for packet in V4),
        *(cook(0x86DD, packet, address_bytes=0, hardware=65534) for packet in V6),
        cook(0x0806, ARP),
        cook(0x8100, b"\0\x05\x08\0" + V4[0]),
        cook(0x0004, STP),
        cook(0x0001, IPX),
        cook(0x0800, V4[1], hardware=778, address_bytes=4),
    ]


def loopback_packets(order: str) -> list[bytes]:
    """Return packets of BSD's loopback interfaces; tshark does not know Linux's value for IPv6."""
    families = [2] * len(V4) + [24, 28]
    return [
        struct.pack(order + "I", family) + packet for family, packet in zip(families, V4 + V6, strict=True)
    ]


KINDS = {
    "raw IP": (101, V4 + V6),
    "raw IP, BSD's number": (12, V4 + V6),
    "raw IP, OpenBSD's number": (14, V4 + V6),
    "raw IPv4": (228, V4),
    "raw IPv6": (229, V6),
    "loopback": (0, loopback_packets("<")),
    "loopback of a big-endian host": (0, loopback_packets(">")),
    "OpenBSD loopback": (108, loopback_packets(">")),
    "cooked": (113, cooked_packets(cooked)),
    "cooked v2": (276, cooked_packets(cooked_2)),
}


def written_as(form: str, linktype: int, packets: list[bytes]) -> bytes:
    """Return the packets as a capture of this form."""
    each = [
        Record(1_700_000_000 + i, 123_456, data, len(data) + 9 * (i % 3 == 0))
        for i, data in enumerate(packets)
    ]
    match form:
        case "nanoseconds":
            fine = [Record(r.seconds, r.fraction * 1000 + 789, r.data, r.length) for r in each]
            return classic(fine, NANO, linktype=linktype)
        case "modified":
            header = file_header(MODIFIED, linktype=linktype)
            return header + b"".join(record(r, extra=bytes(8)) for r in each)
        case "pcapng":
            blocks = (enhanced(r.seconds * 10**6 + r.fraction, r.data, length=r.length) for r in each)
            return section() + interface(linktype) + b"".join(blocks)
    return classic(each, MICRO, ">" if form == "big endian" else "<", linktype)


def rewritten(capture: Path) -> tuple[Path, str]:
    """Return the Ethernet capture made of this one, and the messages about it."""
    messages: list[str] = []
    out = capture.with_name("ethernet.pcap")
    with out.open("wb") as file:
        concatenate(
            [os.fsencode(capture)],
            file.fileno(),
            precision=None,
            report=lambda _, damage, __, anomalies: messages.extend(
                [str(damage or ""), *(each.sentence for each in anomalies if each.is_loss)]
            ),
            rewrites=True,
        )
    return out, "".join(messages)


def run(*command: str) -> list[str]:
    """Run a program; return the lines it prints."""
    done = subprocess.run(
        [require_program(command[0]), *command[1:]], check=True, capture_output=True, text=True
    )
    return done.stdout.splitlines()


def dissected(captures: list[Path]) -> list[list[list[str]]]:
    """Return the fields of each packet of each capture, without those of the link layer.

    One tshark reads all of them, since its start takes longer than the packets: each is an interface of a
    merged file.
    """
    merged = captures[0].with_name("merged.pcapng")
    run("mergecap", "-a", "-I", "none", "-w", str(merged), *map(str, captures))
    fields = [argument for name in ("frame.interface_id", *FIELDS) for argument in ("-e", name)]
    # no state between packets: a skipped packet must not change how others are decoded
    plain = ["-o", "tcp.analyze_sequence_numbers:FALSE", "-o", "tcp.desegment_tcp_streams:FALSE"]
    plain += ["-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE"]
    found: list[list[list[str]]] = [[] for _ in captures]
    for line in run("tshark", "-n", *plain, "-r", str(merged), "-T", "fields", *fields):
        number, *row = line.split("\t")
        protocols = row[1].split(":")
        while protocols and protocols[0] in LINKS:
            protocols.pop(0)
        row[1] = ":".join(protocols)
        found[int(number)].append(row)
    return found


@dataclass(frozen=True)
class Compared:
    """What tshark shows of a capture and of the Ethernet capture made of it, and the messages about that."""

    before: list[list[str]]
    after: list[list[str]]
    messages: str
    ethernet: Path


def compared(folder: Path, contents: Mapping[str, bytes]) -> dict[str, Compared]:
    """Rewrite each capture, and let tshark show all of them, before and after."""
    originals = [folder / f"{number}" / "original" for number in range(len(contents))]
    for original, content in zip(originals, contents.values(), strict=True):
        original.parent.mkdir()
        original.write_bytes(content)
    made = [rewritten(original) for original in originals]
    before, after = dissected(originals), dissected([ethernet for ethernet, _ in made])
    return {
        name: Compared(before[number], after[number], messages, ethernet)
        for number, (name, (ethernet, messages)) in enumerate(zip(contents, made, strict=True))
    }


CASES = [
    *((kind, "little endian") for kind in KINDS),
    *(("cooked", form) for form in ("big endian", "nanoseconds", "modified", "pcapng")),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Compared]:
    """Return what tshark shows of each case."""
    contents = {f"{kind}, {form}": written_as(form, *KINDS[kind]) for kind, form in CASES}
    return compared(tmp_path_factory.mktemp("built"), contents)


@pytest.mark.parametrize(("kind", "form"), CASES)
def test_tshark_decodes_the_same_of_every_packet(built: dict[str, Compared], kind: str, form: str) -> None:
    """Addresses, ports, payloads, times and all protocols above the link layer; no packet is missing."""
    case = built[f"{kind}, {form}"]

    assert case.after == case.before
    assert len(case.after) == len(KINDS[kind][1])
    assert all(row[1] for row in case.after)
    assert case.messages == ""
    assert int.from_bytes(case.ethernet.read_bytes()[20:24], "little") == 1


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind not in {"raw IP, OpenBSD's number", "cooked v2"}]
)
def test_tcpdump_prints_the_same_of_every_packet(tmp_path: Path, kind: str) -> None:
    """Libpcap does not read link type 14; tcpdump prints the interface of cooked v2 packets."""
    capture = tmp_path / "original"
    capture.write_bytes(
        classic([Record(i, i, data) for i, data in enumerate(KINDS[kind][1])], linktype=KINDS[kind][0])
    )

    ethernet, _ = rewritten(capture)

    lines = run("tcpdump", "-n", "-tttt", "-vv", "-r", str(ethernet))
    assert [line.replace("ethertype IPv4, ", "") for line in lines] == [
        line.replace("ethertype IPv4, ", "")
        for line in run("tcpdump", "-n", "-tttt", "-vv", "-r", str(capture))
    ]
    assert lines


def test_the_senders_address_is_kept(tmp_path: Path) -> None:
    """Where the packet has one; else the source is zeros."""
    capture = tmp_path / "original"
    capture.write_bytes(classic([Record(data=data) for data in cooked_packets(cooked)], linktype=113))

    addresses = run(
        "tshark", "-r", str(rewritten(capture)[0]), "-T", "fields", "-e", "eth.src", "-e", "eth.dst"
    )

    no_address = "00:00:00:00:00:00"
    known = {f"02:01:02:03:04:05\t{no_address}", f"{no_address}\t{no_address}"}
    assert set(addresses) == known


def public_captures(linktype: int) -> list[bytes]:
    """Return the complete public captures of this link type."""
    found = []
    for listing in sorted(CORPUS.glob("*/facts.jsonl")):
        for facts in map(json.loads, listing.read_text().splitlines()):
            is_whole = facts["linktype"] == linktype and facts["error"] is None
            if is_whole and facts["file"] not in UNLIKE:
                found.append(os.fsencode(listing.parent / facts["file"]))
    return found


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Compared]:
    """Return what tshark shows of the public captures of each link type, in one capture for each."""
    folder = tmp_path_factory.mktemp("public")
    contents = {}
    for linktype in PUBLIC_LINKTYPES:
        with (folder / "joined").open("wb") as file:
            concatenate(public_captures(linktype), file.fileno(), precision=None, report=lambda *_: None)
        contents[str(linktype)] = (folder / "joined").read_bytes()
    return compared(folder, contents)


@pytest.mark.long
@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no capture corpus at {CORPUS}")
@pytest.mark.parametrize("linktype", PUBLIC_LINKTYPES)
def test_tshark_decodes_the_same_of_public_captures(public: dict[str, Compared], linktype: int) -> None:
    """Written by many programs, some of them hostile; skipped packets are counted."""
    case = public[str(linktype)]

    skipped = int(case.messages.split("Ethernet: ")[1].split()[0]) if case.messages else 0
    assert len(case.after) == len(case.before) - skipped > 0
    assert [row for row in case.after if row not in case.before] == []
