"""Packet blocks as records: the loop converts the good enhanced packet blocks and stops at all others."""

import struct

import pytest
from support.captures import Record, as_read, block, enhanced, option, records_of, simple
from support.rows import each_row

from pcapdj.capture.interfaces import Interface, parse_interface
from pcapdj.capture.packet_blocks import convert_enhanced_blocks
from pcapdj.capture.pcap import StreamFormat
from pcapdj.runtime.errors import CaptureError

pytestmark = pytest.mark.usefixtures("both_forms")

IF_TSRESOL = 9
STREAM = StreamFormat(1, nanosecond=False)
INTERFACES = [
    Interface(1, 262_144),
    Interface(1, 262_144, 10**9, 100),
    Interface(101, 262_144),
    Interface(1, 96, 1),
    Interface(1, 96, 10**6, -1),
    Interface(1, 96, 10**6, 1 << 40),
]
BEFORE = {order: simple(order=order) for order in "<>"}  # a run is always behind another block


@pytest.mark.parametrize("order", ["<", ">"])
def test_good_blocks_of_several_interfaces_are_converted(order: str) -> None:
    """Each with its own resolution and offset."""
    three = (
        enhanced(1_000_002, b"a", order=order)
        + enhanced(3_000_004_999, b"bcdef", 1, length=99, order=order)
        + enhanced(5_000_006, b"", order=order)
    )

    blocks = convert_enhanced_blocks(
        BEFORE[order] + three * 3 + BEFORE[order], len(BEFORE[order]), order, INTERFACES, STREAM
    )

    expected = [Record(1, 2, b"a"), Record(103, 4, b"bcdef", 99), Record(5, 6, b"")]
    assert records_of(b"".join(blocks.parts)) == as_read(expected) * 3
    assert blocks.end == len(BEFORE[order]) + len(three) * 3
    totals = blocks.totals
    assert (totals.packets, totals.cap_lengths_bytes, totals.lengths_bytes) == (9, 18, 300)
    assert (totals.first_ts_ns, totals.last_ts_ns) == (1_000_002_000, 5_000_006_000)


@each_row(
    "other",
    [
        enhanced(2)[:-4] + b"what",
        enhanced(2, number=2),
        enhanced(2, number=9),
        enhanced(1 << 32, number=3),
        enhanced(1, number=4),
        enhanced(1, number=5),
        simple(),
        block(5, bytes(40)),
        block(6, struct.pack("<IIIII", 0, 0, 0, 9, 9)),
        struct.pack("<IIIIIII", 6, 34, 0, 0, 0, 0, 0) + bytes(99),
        struct.pack("<IIIIIII", 6, 0, 0, 0, 0, 0, 0) + bytes(99),
        block(6, struct.pack("<IIIII", 0, 0, 0, 262_145, 9) + bytes(262_148)),
    ],
)
def test_conversion_stops_at_every_other_block(other: bytes) -> None:
    """Incomplete, damaged, another link type or kind, beyond 32 bits of seconds or 64 bits of time."""
    start = BEFORE["<"] + enhanced(1) * 2

    blocks = convert_enhanced_blocks(
        start + other + enhanced(1) + simple(), len(BEFORE["<"]), "<", INTERFACES, STREAM
    )

    assert (blocks.end, blocks.totals.packets) == (len(start), 2)


def test_an_incomplete_block_is_not_converted() -> None:
    """Wherever the window ends."""
    start, one = BEFORE["<"], enhanced(1)
    for cut in range(len(one) + 4):
        window = start + one * 3
        window = window[: len(window) - cut]

        blocks = convert_enhanced_blocks(window, len(start), "<", INTERFACES, STREAM)

        whole = (len(window) - len(start)) // len(one)
        assert (blocks.end, blocks.totals.packets) == (len(start) + whole * len(one), whole)
        assert records_of(b"".join(blocks.parts)) == as_read([Record(0, 1)] * whole)
        assert blocks.totals.cap_lengths_bytes == blocks.totals.lengths_bytes == whole * len(Record().data)


def test_without_a_good_block_nothing_is_converted() -> None:
    """And nothing is counted."""
    blocks = convert_enhanced_blocks(BEFORE["<"] * 9, len(BEFORE["<"]), "<", INTERFACES, STREAM)

    assert (blocks.end, blocks.totals.packets, blocks.parts) == (len(BEFORE["<"]), 0, [])


def test_timestamps_may_go_back_and_forth() -> None:
    """Seconds in any order, and beyond 32 bits of ticks."""
    times = [5_000_001, 4_999_999, (7 << 32) + 3, 2, (7 << 32) + 1_000_003]
    window = BEFORE["<"] + b"".join(map(enhanced, times)) + simple() * 2

    blocks = convert_enhanced_blocks(window, len(BEFORE["<"]), "<", INTERFACES, STREAM)

    found = [record.seconds * 1_000_000 + record.fraction for record in records_of(b"".join(blocks.parts))]
    assert found == times
    assert (blocks.totals.steps_back, blocks.totals.largest_step_back_ns) == (2, ((7 << 32) + 1) * 1000)


def test_packets_longer_than_the_snaplen_of_their_interface_are_whole_and_counted() -> None:
    """Each interface has its own."""
    interfaces = [Interface(1, 4), Interface(1, 6)]
    window = BEFORE["<"] + enhanced(1, b"1234567") + enhanced(1, b"123456", number=1) + enhanced(1, b"1234")

    blocks = convert_enhanced_blocks(window, len(BEFORE["<"]), "<", interfaces, STREAM)

    assert (blocks.totals.packets, blocks.totals.cap_lengths_bytes, blocks.totals.beyond_snaplen) == (
        3,
        17,
        1,
    )


@pytest.mark.parametrize("stream", [STREAM, StreamFormat(1, nanosecond=True)])
def test_times_are_compared_in_nanoseconds_whatever_the_resolutions(stream: StreamFormat) -> None:
    """A step that the stream's resolution does not show counts, too; one of less than 1 ns does not."""
    interfaces = [Interface(1, 0, 10**9), Interface(1, 0, 10**10), Interface(1, 0, 10**3)]
    ticks = [(0, 10**9 + 2), (0, 10**9 + 1), (1, 10**10 + 19), (1, 10**10 + 11), (2, 1001), (0, 10**9)]
    window = BEFORE["<"] + b"".join(enhanced(each, number=number) for number, each in ticks)

    blocks = convert_enhanced_blocks(window, len(BEFORE["<"]), "<", interfaces, stream)

    assert (blocks.totals.packets, blocks.totals.steps_back) == (6, 2)
    assert blocks.totals.largest_step_back_ns == 1_000_000


def test_a_block_that_is_cut_off_counts_in_nothing() -> None:
    """Neither as a step back, nor as after 2038, nor as beyond the snaplen."""
    window = (
        BEFORE["<"] + enhanced(1 << 31) + enhanced((1 << 31) * 1_000_000, b"x" * 99) + enhanced(1, b"y" * 9)
    )
    interfaces = [Interface(1, 98)]
    starts = len(BEFORE["<"])

    found = [
        convert_enhanced_blocks(window[:-cut], starts, "<", interfaces, STREAM).totals for cut in (1, 44, 45)
    ]

    assert [(each.packets, each.steps_back, each.beyond_snaplen) for each in found] == [
        (2, 0, 1),
        (2, 0, 1),
        (1, 0, 0),
    ]
    assert [each.has_times_after_2038 for each in found] == [True, True, False]


def test_an_option_list_may_end_without_its_end_mark() -> None:
    """Unknown options are skipped; an end mark ends the list whatever follows."""
    body = struct.pack("<HHI", 1, 0, 0) + option(2, b"eth0") + option(IF_TSRESOL, b"\x09")

    assert parse_interface(body, "<") == Interface(1, 262_144, ticks_per_s=10**9)
    assert parse_interface(body + bytes(4) + b"\xff\xff\xff\xff", "<").ticks_per_s == 10**9


def test_half_an_option_header_is_damage() -> None:
    """It has fewer than four bytes."""
    with pytest.raises(CaptureError, match="inside an option"):
        parse_interface(struct.pack("<HHI", 1, 0, 0) + b"\x02\x00", "<")
