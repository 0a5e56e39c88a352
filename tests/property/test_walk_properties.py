"""The loops give the same as a simple walk, one record after the other."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.captures import Record, record

from pcapdj.capture.convert import rewrite_headers, rewrite_window
from pcapdj.capture.pcap import Layout, StreamFormat
from pcapdj.capture.walk import GoodRecords, good_records, totals_of

pytestmark = pytest.mark.usefixtures("both_forms")

SNAPLEN = 300

u32 = st.integers(0, 0xFFFF_FFFF)
times = st.lists(
    st.tuples(st.integers(9, 10) | u32, st.integers(0, 2) | st.integers(999_999, 1_000_001) | u32), min_size=1
)
runs = st.lists(
    st.tuples(st.integers(0, SNAPLEN + 20), st.integers(1, 150), st.lists(u32, min_size=1), times), max_size=4
)
Runs = list[tuple[int, int, list[int], list[tuple[int, int]]]]


def records_in_runs(found: Runs, order: str) -> bytes:
    """Return rows of records with the same captured length, with wire lengths and times that repeat."""
    return b"".join(
        record(Record(*times[i % len(times)], bytes(captured), lengths[i % len(lengths)]), order)
        for captured, count, lengths, times in found
        for i in range(count)
    )


def one_by_one(window: bytes, layout: Layout) -> GoodRecords:
    """Return the good records, found by a simple walk."""
    position = last = packets = lengths_bytes = beyond = 0
    steps, seconds_seen, before_ns = [0], 0, 0
    while position + 16 <= len(window):
        seconds, fraction, captured, length = struct.unpack_from(layout.byte_order + "IIII", window, position)
        if not captured or position + 16 + captured > len(window):
            break
        packets, lengths_bytes = packets + 1, lengths_bytes + length
        beyond += captured > SNAPLEN
        ts_ns = seconds * 10**9 + fraction * (1 if layout.nanosecond else 1000)
        if ts_ns < before_ns:
            steps.append(before_ns - ts_ns)
        before_ns, seconds_seen = ts_ns, max(seconds, seconds_seen)
        last, position = position, position + 16 + captured
    step_counts = len(steps) - 1, max(steps)
    return GoodRecords(position, last, packets, lengths_bytes, beyond, *step_counts, seconds_seen >= 1 << 31)


@given(runs, st.booleans(), st.booleans(), st.integers(0, 400))
def test_good_records_equal_those_of_a_simple_walk(
    found: Runs,
    big_endian: bool,  # noqa: FBT001 - drawn
    nanosecond: bool,  # noqa: FBT001 - drawn
    cut: int,
) -> None:
    """Whatever rows of equal lengths there are, however their times step, and wherever the window ends."""
    layout = Layout(big_endian=big_endian, nanosecond=nanosecond, linktype=1, snaplen=SNAPLEN)
    content = records_in_runs(found, layout.byte_order)
    window = content[: max(len(content) - cut, 0)]

    assert good_records(window, 0, layout) == one_by_one(window, layout)


@given(
    runs,
    st.sampled_from([(True, False, False), (True, True, True), (False, True, False)]),
    st.integers(0, 99),
)
def test_rewrite_window_equals_rewrite_headers(found: Runs, case: tuple[bool, bool, bool], cut: int) -> None:
    """Big to little endian, and nanoseconds to microseconds."""
    big_endian, nanosecond, to_nanosecond = case
    layout = Layout(big_endian=big_endian, nanosecond=nanosecond, linktype=1, snaplen=SNAPLEN)
    stream = StreamFormat(1, nanosecond=to_nanosecond)
    content = records_in_runs(found, layout.byte_order)
    window = content[: max(len(content) - cut, 0)]

    batch = rewrite_window(window, layout, stream)

    expected = one_by_one(window, layout)
    assert batch.end == expected.end
    assert batch.totals == totals_of(expected, window, 0, layout)
    assert bytes(batch.data) == bytes(rewrite_headers(window[: batch.end], layout, stream)[0])
