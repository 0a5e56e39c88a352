"""Conversion of classic records: byte order, resolution, unusual headers, cut packets."""

import pytest
from support.captures import Record, as_read, record, records_of

from pcapdj.capture.convert import needs_rebuilding, rebuild_records, rescale, rewrite_headers, rewrite_window
from pcapdj.capture.pcap import Layout, LengthOrder, StreamFormat
from pcapdj.capture.walk import Damage

pytestmark = pytest.mark.usefixtures("both_forms")

MICRO, NANO = StreamFormat(1, nanosecond=False), StreamFormat(1, nanosecond=True)
BIG = Layout(big_endian=True, nanosecond=False, linktype=1)
PACKETS = [Record(1, 2, b"abc"), Record(3, 999_999, b"", 60), Record(0xFFFF_FFFF, 0, b"d" * 99, 1)]


def test_byte_order_is_swapped_in_the_headers_only() -> None:
    """The packets do not change."""
    big = b"".join(record(packet, ">") for packet in PACKETS)

    assert records_of(bytes(rewrite_headers(big, BIG, MICRO)[0])) == as_read(PACKETS)


def test_microseconds_become_nanoseconds_and_back() -> None:
    """Exact to nanoseconds, truncated to microseconds."""
    little = Layout(big_endian=False, nanosecond=False, linktype=1)
    nano = Layout(big_endian=False, nanosecond=True, linktype=1)

    up, _ = rewrite_headers(record(Record(7, 123_456)), little, NANO)
    down, _ = rewrite_headers(record(Record(7, 123_456_999)), nano, MICRO)

    assert records_of(bytes(up)) == as_read([Record(7, 123_456_000)])
    assert records_of(bytes(down)) == as_read([Record(7, 123_456)])


def test_microseconds_beyond_a_second_are_added_to_the_seconds() -> None:
    """As nanoseconds they would not fit into 32 bits."""
    assert rescale(7, 5_000_001, to_nanosecond=True) == (12, 1000)
    assert rescale(0xFFFF_FFFF, 1_000_000, to_nanosecond=True) == (1 << 32, 0)
    assert rescale(7, 0xFFFF_FFFF, to_nanosecond=False) == (7, 4_294_967)


@pytest.mark.parametrize("header_bytes", [16, 24])
def test_seconds_that_wrap_in_a_conversion_are_counted(header_bytes: int) -> None:
    """Of 2106-02-07 06:28:15 and a million microseconds; whichever way the record is converted."""
    little = Layout(big_endian=False, nanosecond=False, linktype=1, header_bytes=header_bytes)
    extra = bytes(header_bytes - 16)
    window = b"".join(record(Record(0xFFFF_FFFF, each), extra=extra) for each in (999_999, 1_000_000))

    if little.is_plain:
        data, wrapped_times = rewrite_headers(window, little, NANO)
    else:
        batch = rebuild_records(window, little, NANO, is_last=True)
        data, wrapped_times = batch.data, batch.totals.wrapped_times

    assert records_of(data) == as_read([Record(0xFFFF_FFFF, 999_999_000), Record(0, 0)])
    assert wrapped_times == 1


def test_records_in_the_format_of_the_stream_are_not_copied() -> None:
    """Decompressed captures in that format go through unchanged."""
    little = Layout(big_endian=False, nanosecond=False, linktype=1)
    data = record(PACKETS[0])

    assert rewrite_headers(data, little, MICRO)[0] is data


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_modified_format_loses_its_extra_header_bytes(order: str) -> None:
    """24-byte headers become 16-byte ones."""
    layout = Layout(big_endian=order == ">", nanosecond=False, linktype=1, header_bytes=24)
    window = b"".join(record(packet, order, extra=b"12345678") for packet in PACKETS)

    batch = rebuild_records(window, layout, MICRO, is_last=True)

    assert needs_rebuilding(layout, layout.native)
    assert records_of(batch.data) == as_read(PACKETS)
    assert (batch.end, batch.totals.packets, batch.totals.cap_lengths_bytes) == (len(window), 3, 102)


def test_exchanged_lengths_are_put_in_order() -> None:
    """Of versions before 2.3."""
    layout = Layout(big_endian=False, nanosecond=False, linktype=1, length_order=LengthOrder.CAPTURED_LAST)
    window = b"".join(record(packet, swapped=True) for packet in PACKETS)

    assert records_of(rebuild_records(window, layout, MICRO, is_last=True).data) == as_read(PACKETS)


def test_packets_beyond_the_snaplen_are_whole_and_counted() -> None:
    """Rebuilt, or with headers changed in place; the length on the wire stays."""
    layout = Layout(big_endian=True, nanosecond=False, linktype=1, snaplen=4)
    packets = [Record(1, 2, b"abcdefgh", 80), Record(1, 2, b"abcd")]
    window = b"".join(record(packet, ">") for packet in packets)

    for batch in (
        rebuild_records(window, layout, MICRO, is_last=True),
        rewrite_window(window, layout, MICRO),
    ):
        assert records_of(batch.data) == as_read(packets)
        assert batch.totals.cap_lengths_bytes == 12
        assert batch.totals.beyond_snaplen == 1


def test_an_incomplete_record_is_left_for_the_next_window() -> None:
    """The batch ends where the last whole record ends."""
    layout = Layout(big_endian=False, nanosecond=False, linktype=1, header_bytes=24)
    whole = record(PACKETS[0], extra=bytes(8))

    for cut in range(len(whole)):
        batch = rebuild_records(whole + whole[:cut], layout, MICRO, is_last=False)
        assert (batch.end, batch.stop, batch.totals.packets) == (len(whole), None, 1)


def test_damage_ends_a_batch() -> None:
    """The batch has the records before it."""
    layout = Layout(big_endian=False, nanosecond=False, linktype=1, header_bytes=24)
    good = record(PACKETS[0], extra=bytes(8))

    batch = rebuild_records(good + b"\xff" * 64, layout, MICRO, is_last=True)

    assert batch.totals.packets == 1
    assert isinstance(batch.stop, Damage)


def test_big_endian_netfilter_packets_need_more_than_new_headers() -> None:
    """The headers inside the packets have the byte order of the capturing host."""
    big = Layout(big_endian=True, nanosecond=False, linktype=239)
    little = Layout(big_endian=False, nanosecond=False, linktype=239)

    assert needs_rebuilding(big, big.native)
    assert not needs_rebuilding(little, little.native)
    assert not needs_rebuilding(BIG, BIG.native)
