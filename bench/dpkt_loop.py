"""A simple loop with dpkt: every packet of a capture through a Reader and a Writer, to stdout.

The benchmark compares pcapdj with it. dpkt is Python, too, and most scripts use it for captures.
"""

import gzip
import sys
from collections.abc import Callable
from typing import IO, Any, Final, Literal, cast

import dpkt


def _zstd(name: str, mode: Literal["rb"]) -> IO[bytes]:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return cast("IO[bytes]", zstd.open(name, mode))


_OPENERS: Final[dict[str, Callable[..., Any]]] = {".gz": gzip.open, ".zst": _zstd}


def copy(name: str, out: IO[bytes]) -> None:
    """Write the capture's packets to `out` as classic pcap."""
    opener = next((opener for suffix, opener in _OPENERS.items() if name.endswith(suffix)), open)
    reader = dpkt.pcapng.Reader if name.endswith(".pcapng") else dpkt.pcap.Reader
    with opener(name, "rb") as capture:
        writer = dpkt.pcap.Writer(out)
        for ts_s, packet in reader(capture):
            writer.writepkt(packet, ts_s)


if __name__ == "__main__":
    copy(sys.argv[1], sys.stdout.buffer)
