"""The format of a file, identified by its first bytes, never by its name. Pure.

Only the format is decided here. The code that parses a file header decides whether it is valid.
"""

from enum import Enum, auto
from typing import Final, NamedTuple

from pcapdj.capture.no_magic import name_without_magic
from pcapdj.capture.pcap import CLASSIC_MAGICS
from pcapdj.runtime.errors import CaptureError, NotACapture

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
    """What a file is.

    Args:
        kind: how it is handled.
        name: the usual name of the format (for COMPRESSED: `gzip`, `bzip2`, `xz`, `zstd`).
        remedy: the command that makes a supported file of it; empty: none is known.
    """

    kind: Kind
    name: str
    remedy: str = ""

    @property
    def refusal(self) -> CaptureError:
        """Why a file of this format is not read, and the remedy."""
        if self.kind is Kind.UNKNOWN:
            return NotACapture("is not a supported capture format")
        remedy = f": {self.remedy}" if self.remedy else ""
        return CaptureError(f"is {self.name}, which is not a supported format{remedy}")


_PCAPNG_SECTION = b"\x0a\x0d\x0d\x0a"
_PCAPNG_ORDERS = (b"\x1a\x2b\x3c\x4d", b"\x4d\x3c\x2b\x1a")

_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    # skippable frames: files of pzstd begin with the first kind
    **{number.to_bytes(4, "little"): "zstd" for number in range(0x184D2A50, 0x184D2A60)},
}

# Formats that an operator may mistake for a supported capture; libpcap refuses all of them, too.
CONVERT_PCAP: Final = "'editcap -F pcap IN OUT' converts it"  # one link type, microseconds
_CONVERT: Final = "'editcap -F pcapng IN OUT' converts it"
# The link type stands in each packet: without an option editcap cannot write that.
_CONVERT_ETHERNET: Final = "'editcap -T ether -F pcapng IN OUT' converts it if it is Ethernet"
_UNSUPPORTED = {
    _CONVERT: {
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
        b"\x1c\x00\x01\xac": "Ixia lcap",
        b"\xac\x01\x00\x1c": "Ixia lcap",
        b"\x1c\x00\x01\xab": "Ixia lcap",
        b"\xab\x01\x00\x1c": "Ixia lcap",
        b"\x01\x10\x4c\x00\x01\x05Trace Display": "LANalyzer",
        b"\x07\x10\x4c\x00\x01\x05Trace Display": "LANalyzer",
        b"EyeSDN": "EyeSDN",
    },
    _CONVERT_ETHERNET: {
        b"\x00\x00\x00\x01\x00\x00\x00\x00\x00\x07\xd0\x00": "HP-UX nettl",
        b"TR\x00\x64\x00\x00\x00\x00\x00\x00\x00\x80": "HP-UX nettl",
        b"+---------+---------------+----------+": "K12 text",
    },
    "": {
        b"\xa1\x2b\x3c\x4d": "Navtel pcap",
        b"\x4d\x3c\x2b\xa1": "Navtel pcap",
        b"\xa1\xb2\x34\xcd": "Mesquita pcap",
        b"\xcd\x34\xb2\xa1": "Mesquita pcap",
    },
    "transfer it again, as binary": {b"\r\n\r\r\r\n": "pcapng after a text-mode transfer (CR LF for LF)"},
    "'unzip' unpacks it": {b"PK\x03\x04": "zip archive"},
    "'7z x' unpacks it": {b"7z\xbc\xaf\x27\x1c": "7-Zip archive"},
    "'unrar x' unpacks it": {b"Rar!\x1a\x07": "RAR archive"},
    "'lz4 -d' unpacks it": {b"\x04\x22\x4d\x18": "lz4"},
    "'lzip -d' unpacks it": {b"LZIP": "lzip"},
    "'uncompress' unpacks it": {b"\x1f\x9d": "compress (.Z)"},
}
_TAR_MARK = slice(257, 262)

_REMEDIES: Final = {"CommView": _CONVERT_ETHERNET, "lzma": "'unlzma' unpacks it"}


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
    for magic, name in _COMPRESSED.items():
        if first.startswith(magic):
            return Format(Kind.COMPRESSED, name)
    for remedy, magics in _UNSUPPORTED.items():
        for magic, name in magics.items():
            if first.startswith(magic):
                return Format(Kind.UNSUPPORTED, name, remedy)
    return None


def _unsupported(first: bytes) -> Format | None:
    if first[_TAR_MARK] == b"ustar":
        return Format(Kind.UNSUPPORTED, "tar archive", "'tar xf' unpacks it")
    name = name_without_magic(first)
    return Format(Kind.UNSUPPORTED, name, _REMEDIES.get(name, _CONVERT)) if name else None
