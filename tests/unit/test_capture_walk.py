"""Where the walk over classic records stops, and why."""

import struct

import pytest
from support.captures import Record, file_header, record
from support.rows import each_row

from pcapdj.capture.pcap import Layout, LengthOrder, Totals
from pcapdj.capture.walk import Damage, WalkResult, cut_off, record_bytes, record_end, walk

pytestmark = pytest.mark.usefixtures("both_forms")

PLAIN = Layout(big_endian=False, nanosecond=False, linktype=1)
ONE = record(Record(data=b"x" * 60, length=100))


def walked(window: bytes, layout: Layout = PLAIN) -> WalkResult:
    """Walk a window that is the whole file."""
    return walk(window, layout, is_last=True)


def test_whole_records_are_counted_and_summed() -> None:
    """Captured and wire lengths, first and last timestamp."""
    later = record(Record(seconds=4, fraction=5, data=b"y" * 10))

    result = walked(ONE + later)

    assert result == WalkResult(len(ONE + later), Totals(2, 70, 110, 1_000_002_000, 4_000_005_000), None)


@each_row("cut", [1, 15, 16, 17, len(ONE) - 1])
def test_an_incomplete_record_is_not_counted(cut: int) -> None:
    """The walk ends where the last whole record ends."""
    assert walked(ONE + ONE[:cut]).end == len(ONE)


def test_a_captured_length_above_the_maximum_is_damage() -> None:
    """All programs that use libpcap stop at more than 262144 bytes."""
    result = walked(ONE + struct.pack("<IIII", 1, 2, 262_145, 262_145) + bytes(99))

    assert result.end == len(ONE)
    assert isinstance(result.stop, Damage)
    assert "262145" in result.stop.reason


@each_row(
    "unusual",
    [
        Record(data=b""),
        Record(data=b"abc", length=1),
        Record(fraction=5_000_000),
        Record(seconds=0, fraction=0, data=b"x"),
        Record(seconds=0xFFFF_FFFF, fraction=0xFFFF_FFFF),
        Record(length=0xFFFF_FFFF),
    ],
)
def test_unusual_records_are_passed_on_as_by_libpcap(unusual: Record) -> None:
    """No captured bytes, more captured than on the wire, invalid fractions, all times."""
    assert walked(record(unusual) + ONE).totals.packets == 2


def test_zeros_to_the_end_of_the_file_are_damage() -> None:
    """A preallocated file that was not filled."""
    for tail in (16, 48, 64, 4096):
        result = walked(ONE + bytes(tail))

        assert (result.totals.packets, result.end) == (1, len(ONE))
        assert isinstance(result.stop, Damage)
        assert "zeros" in result.stop.reason


def test_few_zeros_at_the_end_of_a_window_are_not_damage_yet() -> None:
    """They may be a packet: the next window decides."""
    result = walk(ONE + bytes(48), PLAIN, is_last=False)

    assert (result.end, result.stop) == (len(ONE), None)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_second_file_header_is_damage(order: str) -> None:
    """Files joined with cat: libpcap would read the header as a packet, and garbage after it."""
    result = walked(ONE + file_header(order=order) + ONE)

    assert result.end == len(ONE)
    assert isinstance(result.stop, Damage)
    assert "second file header" in result.stop.reason


def test_records_longer_than_the_snaplen_are_whole_and_counted() -> None:
    """Also in rows of equal records, which are counted at once."""
    layout = Layout(big_endian=False, nanosecond=False, linktype=1, snaplen=60)
    data = ONE + record(Record(data=b"z" * 61)) * 30 + ONE + record(Record(data=b"z" * 262_144))

    result = walked(data, layout)

    assert (result.end, result.stop, result.totals.beyond_snaplen) == (len(data), None, 31)


@pytest.mark.parametrize("row", [0, 30])
def test_steps_back_in_time_are_counted_from_record_to_record(row: int) -> None:
    """In rows of equal records, too; a fraction of more than a second counts as what it is."""
    times = [(5, 0), (5, 1), (5, 0), (4, 999_999), (4, 999_999), (4, 2_000_000), (5, 0), (9, 0), (1, 0)]
    data = ONE * row + b"".join(record(Record(*time, data=b"y" * 60)) for time in times)

    totals = walked(data).totals

    assert (totals.steps_back, totals.largest_step_back_ns) == (4, 8_000_000_000)


def test_steps_back_to_and_from_records_without_captured_bytes_are_counted() -> None:
    """The walk goes on behind each of them."""
    data = b"".join(record(Record(seconds, 0, data)) for seconds, data in ((5, b"y"), (4, b""), (3, b"y")))

    totals = walked(data).totals

    assert (totals.packets, totals.steps_back, totals.largest_step_back_ns) == (3, 2, 1_000_000_000)


@each_row("data", [b"", b"y"])
@each_row(("seconds", "is_late"), [(0x7FFF_FFFF, False), (0x8000_0000, True)])
def test_times_after_2038_are_noticed(data: bytes, seconds: int, *, is_late: bool) -> None:
    """From 2038-01-19 03:14:08 on, and whatever follows."""
    totals = walked(record(Record(seconds, 0, data)) + ONE).totals

    assert totals.has_times_after_2038 is is_late


def test_a_record_that_is_not_good_does_not_count() -> None:
    """Neither its time nor its length."""
    result = walked(ONE + struct.pack("<IIII", 0x8000_0000, 0, 262_145, 0))

    assert result.totals == Totals(1, 60, 100, 1_000_002_000, 1_000_002_000)


def test_the_reason_of_a_cut_off_file_has_its_numbers() -> None:
    """Cut inside a record header, or inside a packet."""
    assert "7 of 16 bytes" in cut_off(ONE[:7], PLAIN)
    assert "0 of 60 captured" in cut_off(ONE[:16], PLAIN)
    assert "5 of 60 captured" in cut_off(ONE[:21], PLAIN)
    swapped = Layout(big_endian=False, nanosecond=False, linktype=1, length_order=LengthOrder.CAPTURED_LAST)
    assert "5 of 100 captured" in cut_off(ONE[:21], swapped)


@each_row(
    ("position", "end"),
    [
        (0, 0),
        (1, len(ONE)),
        (17, len(ONE)),
        (len(ONE), len(ONE)),
        (len(ONE) + 4, 2 * len(ONE)),
        (2 * len(ONE), 2 * len(ONE)),
    ],
)
def test_the_end_of_the_record_at_a_position_is_known(position: int, end: int) -> None:
    """In its header, in its data, and between two records."""
    assert record_end(ONE * 2, position) == end


def test_a_records_length_is_known_from_its_header() -> None:
    """With either order of its two lengths; less than a header tells nothing."""
    swapped = Layout(big_endian=False, nanosecond=False, linktype=1, length_order=LengthOrder.CAPTURED_LAST)
    assert record_bytes(ONE[:16], PLAIN) == len(ONE)
    assert record_bytes(ONE[:16], swapped) == 16 + 100
    assert record_bytes(ONE[:15], PLAIN) == 0
