"""The short way for what nearly all pcapng files consist of: enhanced packet blocks, one after the other.

It takes only blocks that are good beyond doubt, and stops in front of all others: what is wrong with a block,
and what is odd about it, is decided in `pcapng` alone. Its loop is in `loops`. Where packets are rewritten to
Ethernet, that is done to the records the loop has made.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pcapdj.capture.ethernet import carries, to_ethernet
from pcapdj.capture.interfaces import Interface, Seconds
from pcapdj.capture.loops import Blocks, enhanced_records
from pcapdj.capture.pcap import StreamFormat
from pcapdj.capture.totals import Tally, Totals

_FIELDS_BYTES: Final = 28  # of a block, in front of its packet
_LENGTHS: Final = struct.Struct("<II")


@dataclass(frozen=True, slots=True)
class EnhancedRun:
    """Blocks up to `end` (excluding) as records, in parts.

    `skipped` packets of `linktype` could not be rewritten.
    """

    end: int
    totals: Totals
    parts: list[bytes]
    linktype: int = 0
    skipped: int = 0


def enhanced_run(
    window: bytes, position: int, order: str, interfaces: Sequence[Interface], stream: StreamFormat
) -> EnhancedRun:
    """Return the run of good enhanced packet blocks that begins at `position`; it may be empty.

    Args:
        window: bytes of a section.
        position: of a block, behind another one.
        order: struct's sign for the section's byte order.
        interfaces: of the section so far.
        stream: a block of an interface that it does not carry, or not as it carries the first, ends the run.
    """
    linktype = _linktype(window, position, order, interfaces)
    if linktype is None or not carries(stream, linktype):
        return EnhancedRun(position, Totals(), [])
    seconds = Seconds(interfaces, StreamFormat(linktype, stream.nanosecond))
    taken = enhanced_records(window, position, order, seconds)
    if not taken.packets:
        return EnhancedRun(position, Totals(), [])
    if linktype != stream.linktype:
        times_ns = _times_ns(window, position, order, interfaces)
        return _rewritten(taken, linktype, times_ns)
    first_ns, last_ns = (_ts_ns(window, place, order, interfaces) for place in (position, taken.last))
    totals = Totals(taken.packets, taken.cap_bytes, taken.lengths_bytes, first_ns, last_ns)
    return EnhancedRun(taken.end, totals, taken.parts)


def _linktype(window: bytes, position: int, order: str, interfaces: Sequence[Interface]) -> int | None:
    """Return what the block at `position` holds, if it is a packet's; None if that cannot be."""
    if position + _FIELDS_BYTES > len(window):
        return None
    (number,) = struct.unpack_from(order + "8xI", window, position)
    return interfaces[number].linktype if number < len(interfaces) else None


def _rewritten(taken: Blocks, linktype: int, times_ns: Iterator[int]) -> EnhancedRun:
    """Return the run of these blocks, with their packets rewritten to Ethernet.

    Args:
        taken: good ones.
        linktype: of all of them.
        times_ns: of the blocks, in order.
    """
    parts: list[bytes] = []
    tally, skipped = Tally(), 0
    each = iter(taken.parts)
    for second, fraction, rest, ts_ns in zip(each, each, each, times_ns, strict=False):
        packet = to_ethernet(linktype, rest[_LENGTHS.size :], _LENGTHS.unpack_from(rest)[1])
        if packet is None:
            skipped += 1
            continue
        frame, length = packet
        parts += second, fraction, _LENGTHS.pack(len(frame), length), frame
        tally.add(len(frame), length, ts_ns)
    return EnhancedRun(taken.end, tally.totals, parts, linktype, skipped)


def _times_ns(window: bytes, position: int, order: str, interfaces: Sequence[Interface]) -> Iterator[int]:
    """Yield the times of the blocks from `position` on; asked for good ones only."""
    while True:
        yield _ts_ns(window, position, order, interfaces)
        position += struct.unpack_from(order + "4xI", window, position)[0]


def _ts_ns(window: bytes, position: int, order: str, interfaces: Sequence[Interface]) -> int:
    """Return the time of the enhanced packet block at `position`, in ns since 1970."""
    number, high, low = struct.unpack_from(order + "8xIII", window, position)
    interface: Interface = interfaces[number]
    return interface.ts_ns(high << 32 | low)
