"""The format of a file, identified by its first bytes, never by its name. Pure.

Only the format is decided here. The code that parses a file header decides whether it is valid.
"""

import struct
from enum import Enum, auto
from typing import NamedTuple

# The first bytes that the rules below need (a tar archive has its magic at byte 257).
IDENTIFY_BYTES = 512


class Kind(Enum):
    """How a file is handled."""

    CLASSIC = auto()  # read
    PCAPNG = auto()  # converted
    COMPRESSED = auto()  # decompressed, then identified again
    UNSUPPORTED = auto()  # refused; the message names the format
    UNKNOWN = auto()  # refused


class Format(NamedTuple):
    """A kind and the usual name of the format (for COMPRESSED: `gzip`, `bzip2`, `xz`, `zstd`)."""

    kind: Kind
    name: str


CLASSIC_MAGICS = {
    0xA1B2C3D4: "pcap",
    0xA1B23C4D: "pcap with nanoseconds",
    0xA1B2CD34: "modified pcap",
}
_PCAPNG_SECTION = b"\x0a\x0d\x0d\x0a"
_PCAPNG_ORDERS = (b"\x1a\x2b\x3c\x4d", b"\x4d\x3c\x2b\x1a")

_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x50\x2a\x4d\x18": "zstd",  # a skippable frame: files of pzstd begin with one
}

# Formats that an operator may mistake for a supported capture; libpcap refuses all of them, too.
_UNSUPPORTED = {
    b"snoop\x00\x00\x00": "snoop",
    b"btsnoop\x00": "btsnoop",
    b"RTSS": "Microsoft Network Monitor 1",
    b"GMBU": "Microsoft Network Monitor 2",
    b"XCP\x00": "NetXRay",
    b"TRSNIFF data    \x1a": "NG Sniffer",
    b"\x05VNF": "Visual Networks",
    b"\x7fver": "EtherPeek",
    b"ObserverPktBuffe": "Network Instruments Observer",
    b"\x00\x00\x02\x00\x12\x05\x00\x10": "Tektronix K12",
    b"iptrace 1.0": "AIX iptrace",
    b"iptrace 2.0": "AIX iptrace",
    b"\xaa\xaa\xaa\xaa": "5Views",
    b"LOGG": "Vector BLF",
    b"\xa1\x2b\x3c\x4d": "Navtel pcap",
    b"\x4d\x3c\x2b\xa1": "Navtel pcap",
    b"\xa1\xb2\x34\xcd": "Mesquita pcap",
    b"\xcd\x34\xb2\xa1": "Mesquita pcap",
    b"\x1c\x00\x01\xac": "Ixia lcap",
    b"\xac\x01\x00\x1c": "Ixia lcap",
    b"\x1c\x00\x01\xab": "Ixia lcap",
    b"\xab\x01\x00\x1c": "Ixia lcap",
    b"PK\x03\x04": "zip archive",
    b"7z\xbc\xaf\x27\x1c": "7-Zip archive",
    b"Rar!\x1a\x07": "RAR archive",
    b"\x04\x22\x4d\x18": "lz4",
    b"LZIP": "lzip",
    b"\x1f\x9d": "compress (.Z)",
}
_TAR_MARK = slice(257, 262)

# ERF has no magic: timestamp (8, little endian), type, flags, rlen (2, big endian), loss (2), wlen (2).
_ERF_RECORD = struct.Struct(">8xBBHHH")
_ERF_TYPES = range(1, 49)  # HDLC_POS .. ALIGNED_ANC; the top bit announces extension headers
_ERF_RECORDS_NEEDED = 2  # one plausible record may be chance


def identify(first: bytes) -> Format:
    """Return the format of a file that begins with `first`.

    Args:
        first: the file's first `IDENTIFY_BYTES` bytes, or all of a shorter file.
    """
    return _capture(first) or _by_beginning(first) or _unsupported(first) or Format(Kind.UNKNOWN, "unknown")


def _capture(first: bytes) -> Format | None:
    little, big = int.from_bytes(first[:4], "little"), int.from_bytes(first[:4], "big")
    if little in CLASSIC_MAGICS:
        return Format(Kind.CLASSIC, f"{CLASSIC_MAGICS[little]}, little endian")
    if big in CLASSIC_MAGICS:
        return Format(Kind.CLASSIC, f"{CLASSIC_MAGICS[big]}, big endian")
    if first[:4] == _PCAPNG_SECTION and first[8:12] in _PCAPNG_ORDERS:
        return Format(Kind.PCAPNG, "pcapng")
    return None


def _by_beginning(first: bytes) -> Format | None:
    for kind, magics in ((Kind.COMPRESSED, _COMPRESSED), (Kind.UNSUPPORTED, _UNSUPPORTED)):
        for magic, name in magics.items():
            if first.startswith(magic):
                return Format(kind, name)
    return None


def _unsupported(first: bytes) -> Format | None:
    if first[_TAR_MARK] == b"ustar":
        return Format(Kind.UNSUPPORTED, "tar archive")
    return Format(Kind.UNSUPPORTED, "ERF") if _looks_like_erf(first) else None


def _looks_like_erf(first: bytes) -> bool:
    """Report whether the types and lengths of the first records are valid as ERF."""
    position = 0
    for _ in range(_ERF_RECORDS_NEEDED):
        if position + _ERF_RECORD.size > len(first):
            return False
        erf_type, _flags, record_bytes, _loss, wire_bytes = _ERF_RECORD.unpack_from(first, position)
        if erf_type & 0x7F not in _ERF_TYPES or record_bytes < _ERF_RECORD.size or not wire_bytes:
            return False
        position += record_bytes
    return True
