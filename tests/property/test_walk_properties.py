"""The loops give the same as a simple walk, one record after the other."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.captures import Record, record

from pcapdj.capture.convert import rewrite_headers, rewrite_window
from pcapdj.capture.pcap import Layout, StreamFormat
from pcapdj.capture.walk import GoodRecords, good_records

pytestmark = pytest.mark.usefixtures("both_forms")

SNAPLEN = 300

u32 = st.integers(0, 0xFFFF_FFFF)
runs = st.lists(
    st.tuples(st.integers(0, SNAPLEN + 20), st.integers(1, 150), st.lists(u32, min_size=1)), max_size=4
)


def records_in_runs(found: list[tuple[int, int, list[int]]], order: str) -> bytes:
    """Return rows of records with the same captured length, with wire lengths that repeat."""
    return b"".join(
        record(Record(data=bytes(captured), length=lengths[i % len(lengths)]), order)
        for captured, count, lengths in found
        for i in range(count)
    )


def one_by_one(window: bytes, order: str, room_bytes: int) -> GoodRecords:
    """Return the good records, found by a simple walk."""
    position = last = packets = lengths_bytes = beyond = 0
    while position + 16 <= len(window):
        captured, length = struct.unpack_from(order + "8xII", window, position)
        if not captured or position + 16 + captured > room_bytes:
            break
        packets, lengths_bytes = packets + 1, lengths_bytes + length
        beyond += captured > SNAPLEN
        last, position = position, position + 16 + captured
    return GoodRecords(position, last, packets, lengths_bytes, beyond)


@given(runs, st.sampled_from("<>"), st.integers(0, 400), st.integers(0, 400))
def test_good_records_equal_those_of_a_simple_walk(
    found: list[tuple[int, int, list[int]]], order: str, cut: int, beyond: int
) -> None:
    """Whatever rows of equal lengths there are, and wherever the window ends."""
    layout = Layout(big_endian=order == ">", nanosecond=False, linktype=1, snaplen=SNAPLEN)
    content = records_in_runs(found, order)
    window = content[: max(len(content) - cut, 0)]
    room_bytes = min(len(window) + beyond, len(content))

    assert good_records(window, 0, layout, room_bytes) == one_by_one(window, order, room_bytes)


@given(
    runs,
    st.sampled_from([(True, False, False), (True, True, True), (False, True, False)]),
    st.integers(0, 99),
)
def test_rewrite_window_equals_rewrite_headers(
    found: list[tuple[int, int, list[int]]], case: tuple[bool, bool, bool], cut: int
) -> None:
    """Big to little endian, and nanoseconds to microseconds."""
    big_endian, nanosecond, to_nanosecond = case
    layout = Layout(big_endian=big_endian, nanosecond=nanosecond, linktype=1, snaplen=SNAPLEN)
    stream = StreamFormat(1, nanosecond=to_nanosecond)
    content = records_in_runs(found, layout.byte_order)
    window = content[: max(len(content) - cut, 0)]

    batch = rewrite_window(window, layout, stream)

    assert batch.end == one_by_one(window, layout.byte_order, len(window)).end
    assert bytes(batch.data) == bytes(rewrite_headers(window[: batch.end], layout, stream))
