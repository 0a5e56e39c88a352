"""The short way for what nearly all pcapng files consist of: enhanced packet blocks, one after the other.

It takes only blocks that are good beyond doubt, and stops in front of all others: what is wrong with a block,
and what is odd about it, is decided in `pcapng` alone. Its loop is in `loops`.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from pcapdj.capture.interfaces import Interface, Seconds
from pcapdj.capture.loops import enhanced_records
from pcapdj.capture.pcap import StreamFormat
from pcapdj.capture.totals import Totals


@dataclass(frozen=True, slots=True)
class EnhancedRun:
    """Blocks up to `end` (excluding) as records, in parts."""

    end: int
    totals: Totals
    parts: list[bytes]


def enhanced_run(
    window: bytes, position: int, order: str, interfaces: Sequence[Interface], stream: StreamFormat
) -> EnhancedRun:
    """Return the run of good enhanced packet blocks that begins at `position`; it may be empty.

    Args:
        window: bytes of a section.
        position: of a block, behind another one.
        order: struct's sign for the section's byte order.
        interfaces: of the section so far.
        stream: blocks of interfaces with another link type end the run.
    """
    taken = enhanced_records(window, position, order, Seconds(interfaces, stream))
    if not taken.packets:
        return EnhancedRun(position, Totals(), [])
    first_ns, last_ns = (_ts_ns(window, place, order, interfaces) for place in (position, taken.last))
    totals = Totals(taken.packets, taken.cap_bytes, taken.lengths_bytes, first_ns, last_ns)
    return EnhancedRun(taken.end, totals, taken.parts)


def _ts_ns(window: bytes, position: int, order: str, interfaces: Sequence[Interface]) -> int:
    """Return the time of the enhanced packet block at `position`, in ns since 1970."""
    number, high, low = struct.unpack_from(order + "8xIII", window, position)
    interface: Interface = interfaces[number]
    return interface.ts_ns(high << 32 | low)
