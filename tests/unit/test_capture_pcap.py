"""Classic pcap: file headers, record headers, and totals of records."""

import struct

import pytest
from support.captures import MODIFIED, NANO, file_header
from support.rows import each_row

from pcapdj.capture.pcap import (
    LengthOrder,
    RunningTotals,
    StreamFormat,
    Totals,
    captured_and_length,
    parse_file_header,
)
from pcapdj.runtime.errors import CaptureError


@pytest.mark.parametrize("nanosecond", [False, True])
def test_the_header_of_a_stream_has_its_format(nanosecond: bool) -> None:  # noqa: FBT001 - a case
    """24 bytes, little endian, version 2.4, snaplen 262144."""
    stream = StreamFormat(linktype=113, nanosecond=nanosecond)

    layout = parse_file_header(stream.header())

    assert len(stream.header()) == 24
    assert layout.native == stream
    assert (layout.big_endian, layout.snaplen, layout.is_plain) == (False, 262_144, True)


def test_a_big_endian_header_is_read() -> None:
    """All fields have the byte order of the magic."""
    layout = parse_file_header(file_header(NANO, ">", snaplen=96, linktype=101))

    assert (layout.big_endian, layout.nanosecond, layout.linktype, layout.snaplen) == (True, True, 101, 96)


@each_row("snaplen", [0, 0x8000_0000, 0xFFFF_FFFF, 300_000, 262_144])
def test_snaplens_of_zero_and_beyond_the_maximum_mean_262144(snaplen: int) -> None:
    """As in libpcap."""
    assert parse_file_header(file_header(snaplen=snaplen)).snaplen == 262_144


def test_fcs_bits_are_no_part_of_the_link_type() -> None:
    """They are the upper six bits of the field."""
    assert parse_file_header(file_header(linktype=0x3000_0001)).linktype == 1


def test_the_modified_format_has_longer_record_headers() -> None:
    """By 8 bytes each."""
    assert parse_file_header(file_header(MODIFIED)).header_bytes == 24


@each_row(
    ("version", "order"),
    [
        ((2, 4), LengthOrder.CAPTURED_FIRST),
        ((2, 3), LengthOrder.SMALLER_IS_CAPTURED),
        ((2, 2), LengthOrder.CAPTURED_LAST),
        ((2, 0), LengthOrder.CAPTURED_LAST),
        ((543, 0), LengthOrder.CAPTURED_LAST),
    ],
)
def test_old_versions_have_another_order_of_lengths(version: tuple[int, int], order: LengthOrder) -> None:
    """As libpcap reads them."""
    assert parse_file_header(file_header(version=version)).length_order is order


@each_row("version", [(1, 9), (2, 5), (3, 0), (543, 1), (0, 0)])
def test_other_versions_are_refused_with_their_number(version: tuple[int, int]) -> None:
    """As in libpcap."""
    with pytest.raises(CaptureError, match=rf"version {version[0]}\.{version[1]} "):
        parse_file_header(file_header(version=version))


@pytest.mark.parametrize("length", [4, 23])
def test_a_cut_off_header_is_refused(length: int) -> None:
    """The reason has its length."""
    with pytest.raises(CaptureError, match=f"{length} of 24"):
        parse_file_header(file_header()[:length])


def test_the_captured_length_is_found_in_each_order() -> None:
    """Version 2.3 wrote both orders: the smaller one is the captured length."""
    assert captured_and_length(LengthOrder.CAPTURED_FIRST, 9, 5) == (9, 5)
    assert captured_and_length(LengthOrder.CAPTURED_LAST, 9, 5) == (5, 9)
    assert captured_and_length(LengthOrder.SMALLER_IS_CAPTURED, 9, 5) == (5, 9)
    assert captured_and_length(LengthOrder.SMALLER_IS_CAPTURED, 5, 9) == (5, 9)


def test_timestamps_are_nanoseconds_since_1970() -> None:
    """Microseconds are scaled; fractions beyond a second are added to the seconds."""
    window = struct.pack("<IIII", 3, 5_000_001, 0, 0)

    assert parse_file_header(file_header()).ts_ns(window, 0) == 8_000_001_000
    assert parse_file_header(file_header(NANO)).ts_ns(window, 0) == 3_005_000_001


def test_totals_of_pieces_add_up_in_order() -> None:
    """Counts are summed; first and last timestamp follow the order of the pieces; so may a step back."""
    first = Totals(1, 60, 100, 9, 10, steps_back=2, largest_step_back_ns=3, beyond_snaplen=1, wrapped_times=1)
    second = Totals(2, 120, 120, 5, 7, steps_back=1, beyond_snaplen=2, has_times_after_2038=True)

    assert first + second == Totals(3, 180, 220, 9, 7, 4, 5, 3, 1, has_times_after_2038=True)
    assert second + first == Totals(3, 180, 220, 5, 10, 3, 3, 3, 1, has_times_after_2038=True)


def test_totals_without_records_change_nothing() -> None:
    """On either side of a sum."""
    some = Totals(1, 60, 100, first_ts_ns=0, last_ts_ns=0)

    assert some + Totals() == Totals() + some == some


def test_running_totals_are_those_of_adding_one_by_one() -> None:
    """Also without any record."""
    running, added = RunningTotals(), Totals()
    assert running.totals == added
    for captured, length, ts_ns, is_beyond in ((60, 100, 9, True), (0, 7, 5, False), (60, 60, 0, True)):
        running.add(captured, length, ts_ns, 1, is_beyond_snaplen=is_beyond)
        added += Totals(1, captured, length, ts_ns, ts_ns, beyond_snaplen=is_beyond)

    assert running.totals == added
    assert (added.steps_back, added.largest_step_back_ns, added.beyond_snaplen) == (2, 5, 2)


@each_row(
    ("seconds", "wrapped", "is_late"),
    [
        (-1, 1, True),
        (0, 0, False),
        (0x7FFF_FFFF, 0, False),
        (0x8000_0000, 0, True),
        (0xFFFF_FFFF, 0, True),
        (0x1_0000_0000, 1, False),
    ],
)
def test_running_totals_count_wrapped_times_and_notice_those_after_2038(
    seconds: int, wrapped: int, *, is_late: bool
) -> None:
    """A wrapped time is judged by what stands in the record."""
    running = RunningTotals()
    running.add(1, 1, seconds * 10**9, seconds)

    assert running.totals.wrapped_times == wrapped
    assert running.totals.has_times_after_2038 is is_late
