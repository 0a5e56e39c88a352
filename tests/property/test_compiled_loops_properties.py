"""The compiled loops give what the Python form gives, on captures that are nearly right."""

import struct
from collections.abc import Callable
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from support.loops import loops

from pcapdj.capture.interfaces import Interface
from pcapdj.capture.packet_blocks import GoodBlocks, SecondLookup, enhanced_records
from pcapdj.capture.pcap import Layout, StreamFormat
from pcapdj.capture.walk import good_records, scale_to_microseconds, swap_headers

u32 = st.integers(0, 0xFFFF_FFFF)
odd_u32 = st.sampled_from([0, 1, 27, 28, 31, 32, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFF0, 0xFFFF_FFFF, 262_145])
changes = st.lists(
    st.tuples(st.integers(0, 4000), odd_u32 | u32, st.sampled_from(["<I", ">I", "B"])), max_size=4
)
interfaces = st.builds(
    Interface,
    linktype=st.sampled_from([1, 1, 1, 101]),
    snaplen=st.sampled_from([262_144, 262_144, 60]),
    ticks_per_s=st.sampled_from([1, 1000, 10**6, 10**9, 10**19, 1024, 2**63]),
    offset_s=st.sampled_from([0, 0, 0, 1, -1, 3600, 2**32, -(2**63), 2**63 - 1]),
)


def changed(window: bytes, changed_at: list[tuple[int, int, str]], cut: int) -> bytes:
    """Return the window with numbers written over some places, and cut."""
    data = bytearray(window)
    for place, number, form in changed_at:
        if place + struct.calcsize(form) <= len(data):
            struct.pack_into(form, data, place, number & (0xFF if form == "B" else 0xFFFF_FFFF))
    return bytes(data[: max(len(data) - cut, 0)])


def both(call: Callable[[], Any]) -> tuple[Any, Any]:
    """Return what the call gives in Python and compiled."""
    with loops("python"):
        python = call()
    with loops("compiled"):
        return python, call()


@st.composite
def record_windows(draw: st.DrawFn, order: str) -> bytes:
    """Records of many lengths, some in a row of one length, damaged and cut."""
    lengths = draw(
        st.lists(
            st.tuples(st.integers(0, 301) | st.sampled_from([39, 40, 41, 300]), st.integers(1, 30)),
            max_size=6,
        )
    )
    times = draw(
        st.lists(st.tuples(st.integers(9, 10) | u32, st.integers(0, 2) | u32), min_size=1, max_size=9)
    )
    window = b"".join(
        struct.pack(order + "IIII", *times[index % len(times)], captured, captured + index % 3)
        + bytes([index % 256]) * captured
        for captured, count in lengths
        for index in range(count)
    )
    return changed(window, draw(changes), draw(st.integers(0, 40)))


@st.composite
def block_windows(draw: st.DrawFn, order: str) -> bytes:
    """A block, and enhanced packet blocks behind it, damaged and cut."""
    window = struct.pack(order + "III", 5, 12, 12)
    for captured in draw(st.lists(st.integers(0, 120), max_size=20)):
        number, high, low = draw(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 3) | u32))
        claimed = captured + draw(st.sampled_from([0, 0, 0, 0, 1, 4]))
        body = struct.pack(order + "IIIII", number, high, low, claimed, 7)
        body += bytes(range(captured)) + bytes(-captured % 4 + draw(st.sampled_from([0, 0, 0, 0, 4, 1])))
        total = struct.pack(order + "I", len(body) + 12)
        window += struct.pack(order + "I", 6) + total + body + total
    return changed(window, draw(changes), draw(st.integers(0, 40)))


@given(st.data(), st.booleans(), st.booleans(), st.sampled_from([40, 300, 262_144]))
def test_good_records_are_the_same(
    data: st.DataObject,
    big_endian: bool,  # noqa: FBT001 - drawn
    nanosecond: bool,  # noqa: FBT001 - drawn
    snaplen: int,
) -> None:
    """Where they end, their number, lengths and times."""
    window = data.draw(record_windows(">" if big_endian else "<"))
    layout = Layout(big_endian=big_endian, nanosecond=nanosecond, linktype=1, snaplen=snaplen)

    python, compiled = both(lambda: good_records(window, 0, layout))

    assert python == compiled


@given(st.data(), st.booleans(), st.sampled_from([40, 300, 262_144]))
def test_headers_changed_in_place_are_the_same(
    data: st.DataObject,
    to_microseconds: bool,  # noqa: FBT001 - drawn
    snaplen: int,
) -> None:
    """Swapped or scaled, to the byte, and nothing behind the last good record is touched."""
    change = scale_to_microseconds if to_microseconds else swap_headers
    window = data.draw(record_windows("<" if to_microseconds else ">"))
    layout = Layout(big_endian=not to_microseconds, nanosecond=to_microseconds, linktype=1, snaplen=snaplen)

    def call() -> tuple[object, bytes]:
        records = bytearray(window)
        return change(window, records, layout), bytes(records)

    python, compiled = both(call)

    assert python == compiled


@given(st.data(), st.sampled_from("<>"), st.lists(interfaces, max_size=3), st.booleans())
def test_blocks_become_the_same_records(
    data: st.DataObject,
    order: str,
    described: list[Interface],
    nanosecond: bool,  # noqa: FBT001 - drawn
) -> None:
    """Every second, fraction, length and byte, and the counts; the first block not taken is the same."""
    window = data.draw(block_windows(order))
    lookup = SecondLookup(described, StreamFormat(1, nanosecond))
    if len(window) < 12:
        return

    python, compiled = both(lambda: as_bytes(enhanced_records(window, 12, order, lookup)))

    assert python == compiled


def as_bytes(blocks: GoodBlocks) -> tuple[object, ...]:
    """Return the blocks with their records joined; without blocks, `last` is undefined."""
    last = blocks.last if blocks.packets else None
    return blocks._replace(last=cast("int", last), parts=[b"".join(blocks.parts)])
