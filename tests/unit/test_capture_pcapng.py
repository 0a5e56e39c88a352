"""The walk over pcapng blocks, and the records of their packets."""

import struct

import pytest
from support.captures import Record, block, enhanced, interface, option, records_of, section, simple
from support.rows import each_row

from pcapdj.capture.pcap import StreamFormat
from pcapdj.capture.pcapng import BlockWalk
from pcapdj.capture.walk import Damage

pytestmark = pytest.mark.usefixtures("both_forms")

MICRO, NANO = StreamFormat(1, nanosecond=False), StreamFormat(1, nanosecond=True)
TSRESOL, TSOFFSET = 9, 14
ORDERS = pytest.mark.parametrize("order", ["<", ">"])


def records_in(data: bytes, stream: StreamFormat = MICRO) -> list[Record]:
    """Return the records of a complete file; the walk must read every byte."""
    batch = BlockWalk(stream).records(data)
    assert (batch.end, batch.stop) == (len(data), None)
    assert batch.totals.packets == len(records_of(batch.data))
    return records_of(batch.data)


def damage_in(data: bytes) -> tuple[list[Record], str]:
    """Return the records before the damage, and the reason."""
    batch = BlockWalk(MICRO).records(data)
    assert isinstance(batch.stop, Damage)
    return records_of(batch.data), batch.stop.reason


@ORDERS
def test_enhanced_packets_become_classic_records(order: str) -> None:
    """In both byte orders, without padding and options."""
    data = section(order) + interface(order=order) + enhanced(3_000_007, b"12345", order=order, length=99)

    assert records_in(data) == [Record(3, 7, b"12345", 99)]


@ORDERS
def test_simple_packets_have_no_time_and_the_interfaces_snaplen(order: str) -> None:
    """Their captured length is the smaller of snaplen and length."""
    data = section(order) + interface(snaplen=4, order=order) + simple(b"1234", order, length=80)

    assert records_in(data) == [Record(0, 0, b"1234", 80)]


@ORDERS
def test_obsolete_packets_are_read(order: str) -> None:
    """Their interface number has 16 bits."""
    body = struct.pack(order + "HHIIII", 1, 9, 0, 5, 3, 3) + b"abc"
    data = section(order) + interface(101, order=order) + interface(order=order) + block(2, body, order)

    assert records_in(data) == [Record(0, 5, b"abc", 3)]


def test_other_blocks_are_skipped() -> None:
    """Name resolution, statistics, secrets, custom and unknown ones."""
    others = b"".join(block(kind, b"whatever") for kind in (4, 5, 10, 0xBAD, 0x40000BAD, 0x7777))

    assert len(records_in(section() + others + interface() + others + enhanced(1) + others)) == 1


def test_a_section_may_change_the_byte_order_and_has_its_own_interfaces() -> None:
    """Each section has its own."""
    first = section("<") + interface(101) + interface() + enhanced(1, number=1)
    second = section(">") + interface(order=">") + enhanced(2, order=">")

    assert [r.fraction for r in records_in(first + second)] == [1, 2]
    assert "interface 1" in damage_in(first + section() + interface() + enhanced(1, number=1))[1]


@each_row(
    ("resolution", "ticks", "expected"),
    [
        (6, 1_000_001, (1, 1000)),
        (9, 1_000_000_001, (1, 1)),
        (3, 1_001, (1, 1_000_000)),
        (0, 7, (7, 0)),
        (12, 1_999_999_999_999, (1, 999_999_999)),
        (0x80 | 10, 1024 + 512, (1, 500_000_000)),
        (0x80 | 32, (1 << 32) + 1, (1, 0)),
        (0x80, 5, (5, 0)),
    ],
)
def test_every_resolution_is_converted(resolution: int, ticks: int, expected: tuple[int, int]) -> None:
    """Powers of ten and of two, truncated to nanoseconds."""
    data = section() + interface(options=option(TSRESOL, bytes([resolution]))) + enhanced(ticks)

    [found] = records_in(data, NANO)

    assert (found.seconds, found.fraction) == expected


def test_an_offset_shifts_the_seconds() -> None:
    """Signed, in seconds."""
    for offset_s in (100, -1):
        options = option(TSOFFSET, struct.pack("<q", offset_s))
        [found] = records_in(section() + interface(options=options) + enhanced(5_000_001))
        assert (found.seconds, found.fraction) == (5 + offset_s, 1)


def test_timestamps_beyond_32_bits_of_seconds_wrap() -> None:
    """A classic record ends in 2106."""
    walk = BlockWalk(MICRO)

    batch = walk.records(section() + interface() + enhanced((1 << 32) * 1_000_000 + 3) + enhanced(1))

    assert [(r.seconds, r.fraction) for r in records_of(batch.data)] == [(0, 3), (0, 1)]
    assert (batch.totals.wrapped_times, batch.totals.steps_back) == (1, 1)
    assert batch.totals.largest_step_back_ns == (1 << 32) * 10**9 + 2000


def test_packets_of_another_link_type_are_skipped_and_counted() -> None:
    """All others of the file are delivered."""
    walk = BlockWalk(MICRO)
    data = section() + interface(101) + interface() + enhanced(1, number=0) * 2 + enhanced(2, number=1)

    batch = walk.records(data)

    assert (batch.totals.packets, walk.skipped) == (1, {101: 2})


@pytest.mark.parametrize("first", [block(4, bytes(4)), b""])
def test_a_window_with_skipped_packets_has_a_packet(first: bytes) -> None:
    """Also behind a block that is none: otherwise a file of good packets would exceed its budget."""
    walk = BlockWalk(MICRO)
    walk.records(section() + interface(1) + interface(101))

    walk.records(first + enhanced(1, number=1) * 2)

    assert (walk.has_packet, walk.packets) == (True, 2)


@ORDERS
def test_every_kind_of_packet_block_is_rewritten(order: str) -> None:
    """Enhanced, simple and obsolete ones; those that cannot be rewritten are counted by link type."""
    raw = struct.pack(order + "HHIIII", 1, 0, 0, 5, 4, 9) + b"\x45raw"
    data = (
        section(order)
        + interface(0, order=order)
        + interface(101, order=order)
        + simple(b"\2\0\0\0null", order)
        + block(2, raw, order)
        + enhanced(7, b"\x60six", 1, order) * 3
        + enhanced(8, b"\x50", 1, order)
        + enhanced(9, b"\x45", 1, order)
        + simple(b"\7\0\0\0osi", order)
    )
    walk = BlockWalk(StreamFormat(1, nanosecond=False, rewrites=True))

    batch = walk.records(data)

    v4, v6 = bytes(12) + b"\x08\0", bytes(12) + b"\x86\xdd"
    assert records_of(batch.data) == [
        Record(0, 0, v4 + b"null", 18),
        Record(0, 5, v4 + b"\x45raw", 23),
        *[Record(0, 7, v6 + b"\x60six", 18)] * 3,
        Record(0, 9, v4 + b"\x45", 15),
    ]
    assert (batch.end, batch.totals.packets, batch.totals.cap_lengths_bytes) == (len(data), 6, 105)
    assert (batch.totals.lengths_bytes, batch.totals.first_ts_ns, batch.totals.last_ts_ns) == (110, 0, 9000)
    assert walk.skipped == {0: 1, 101: 1}


FINE = interface(113, options=option(TSRESOL, b"\x09"))
WIRELESS, COOKED = interface(105), interface(113)


@each_row(
    ("blocks", "linktype"),
    [
        (interface() + COOKED + enhanced(1) + enhanced(1, number=1) * 2, 113),
        (interface() + COOKED + enhanced(1) * 2 + enhanced(1, number=1) + block(5, b"") + enhanced(1), 1),
        (COOKED + interface() + enhanced(1) + simple() + enhanced(1, number=1), 113),
        (COOKED + interface() + enhanced(1) + enhanced(1, number=1), 1),
        (COOKED + WIRELESS + enhanced(1, number=1) + enhanced(1), 105),
        (COOKED + interface(), 1),
        (COOKED + WIRELESS, 113),
        (COOKED + enhanced(1) + section() + interface() + enhanced(1) * 2, 1),
    ],
    ids=["most", "in rows", "simple", "tie", "tie without", "no packet", "no packet without", "sections"],
)
def test_most_packets_decide_the_link_type(blocks: bytes, linktype: int) -> None:
    """On a tie, and without packets, an Ethernet interface does."""
    walk = BlockWalk()

    batch = walk.records(section() + blocks)

    assert walk.native == StreamFormat(linktype, nanosecond=False)
    assert batch.data == b""


@pytest.mark.parametrize("order", ["<", ">"])
def test_damage_among_skipped_packets_is_found(order: str) -> None:
    """They are passed over in rows, and checked all the same."""
    start = section(order) + interface(105, order=order)
    row = enhanced(1, order=order) * 3
    bad = [
        enhanced(1, order=order)[:-4] + bytes(4),
        enhanced(1, number=1, order=order),
        block(6, struct.pack(order + "IIIII", 0, 0, 0, 99, 99), order),
    ]

    for damaged in bad:
        walk = BlockWalk(MICRO)
        batch = walk.records(start + row + damaged + row)

        assert isinstance(batch.stop, Damage)
        assert batch.end == len(start + row)
        assert walk.skipped == {105: 3}


def test_the_finest_interface_decides_the_resolution() -> None:
    """Also one without packets."""
    walk = BlockWalk()

    walk.records(section() + interface() + FINE + enhanced(1))

    assert walk.native == StreamFormat(1, nanosecond=True)
    assert walk.is_done
    assert BlockWalk().native is None
    assert not BlockWalk().is_done


@each_row(
    ("bad", "reason"),
    [
        (bytes(64), "zeros instead of a block"),
        (struct.pack("<II", 6, 8) + bytes(8), "invalid length of 8"),
        (struct.pack("<II", 6, 33) + bytes(40), "invalid length of 33"),
        (struct.pack("<II", 6, 1 << 31) + bytes(40), "2147483648 bytes"),
        (enhanced(1)[:-4] + struct.pack("<I", 99), "different length at its end: 99"),
        (enhanced(1, number=5), "interface 5, but the section defines only 1"),
        (block(6, bytes(8)), "too short"),
        (block(3, b""), "too short"),
        (block(6, struct.pack("<IIIII", 0, 0, 0, 99, 99)), "99 captured"),
        (block(6, struct.pack("<IIIII", 0, 0, 0, 262_145, 1) + bytes(262_148)), "262145 captured"),
        (simple(length=500), "500 captured"),
        (block(1, b"\0\0"), "too short"),
        (interface(options=b"\x01\x00\x63\x00"), "inside option 1"),
        (interface(options=option(TSRESOL, b"\x14")), "10^-20"),
        (interface(options=option(TSRESOL, b"\xc0")), "2^-64"),
        (interface(options=option(TSRESOL, b"12")), "2 bytes"),
        (interface(options=option(TSOFFSET, b"12")), "2 bytes"),
        (section(version=(2, 0)), "version 2.0"),
        (section(version=(1, 1)), "version 1.1"),
        (block(0x0A0D0D0A, struct.pack("<I", 0x1A2B3C4D)), "section header of 16"),
        (block(0x0A0D0D0A, b"what" * 4), "byte-order magic"),
    ],
)
def test_damage_ends_the_walk_after_the_good_packets(bad: bytes, reason: str) -> None:
    """Each kind has a reason; all packets before it are delivered."""
    good, found = damage_in(section() + interface() + enhanced(1) + bad + enhanced(2))

    assert len(good) == 1
    assert reason in found


def test_an_incomplete_block_is_left_for_the_next_window() -> None:
    """It is not damage yet."""
    start = section() + interface() + enhanced(1)
    last = enhanced(2, bytes(12))
    for cut in range(1, len(last)):
        walk = BlockWalk(MICRO)

        batch = walk.records(start + last[:cut])

        assert (batch.end, batch.stop, batch.totals.packets) == (len(start), None, 1)
        assert walk.cut_off(b"rest") == "file ends inside a block"
        assert walk.cut_off(b"") is None


def test_a_long_unknown_block_is_skipped() -> None:
    """Without its body; its second length is checked in a later window."""
    start, unknown, packet = section() + interface(), block(0x7777, bytes(5000)), enhanced(1)
    data = start + unknown + packet
    for limit in (len(start) + 12, len(start) + 999, len(start) + len(unknown) - 1):
        walk = BlockWalk(MICRO)

        before = walk.records(data[:limit])
        jump = walk.records(data[before.end : limit])
        landed = walk.records(data[before.end + jump.end :])

        assert before.end == len(start), "a walk can be taken up at the block"
        assert jump.end == len(unknown) - 4
        assert landed.totals.packets == 1
        assert before.end + jump.end + landed.end == len(data)


def test_a_skipped_block_with_a_different_second_length_is_damage() -> None:
    """And one that ends beyond the end of the file."""
    start = section() + interface()
    unknown = block(0x7777, bytes(5000))
    walk, lost = BlockWalk(MICRO), BlockWalk(MICRO)

    for each in (walk, lost):
        each.records(start)
        each.records(unknown[:200])

    assert isinstance(walk.records(b"\x01\x02\x03\x04" + enhanced(1)).stop, Damage)
    assert lost.records(b"").end == 0
    assert lost.cut_off(b"") == "file ends inside a block"
