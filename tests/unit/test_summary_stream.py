"""The cutting of a capture stream into records."""

import pytest
from support.frames import header, record, stream
from support.rows import each_row

from pcapdj.runtime.errors import CaptureError
from pcapdj.summary.stream import Record, RecordCutter


def cut(*chunks: bytes) -> list[Record]:
    """Return all records of a stream that comes in these chunks and then ends."""
    cutter = RecordCutter()
    records = [record for chunk in chunks for record in cutter.feed(chunk)]
    cutter.close()
    return records


def test_records_are_the_same_whole_or_byte_by_byte() -> None:
    """The cuts between reads change nothing."""
    whole = stream(b"one", b"", b"three")

    by_byte = cut(*(whole[at : at + 1] for at in range(len(whole))))

    assert by_byte == cut(whole)
    assert [each.frame for each in by_byte] == [b"one", b"", b"three"]


@each_row("order", ["<", ">"])
@each_row(("magic", "time_ns"), [(0xA1B2C3D4, 7_000_005_000), (0xA1B23C4D, 7_000_000_005)])
def test_both_byte_orders_and_resolutions_are_read(order: str, magic: int, time_ns: int) -> None:
    """The magic decides both."""
    data = header(113, order=order, magic=magic) + record(b"x", 7, 5, order=order)
    cutter = RecordCutter()

    records = list(cutter.feed(data))

    assert records == [Record(time_ns, b"x", 1)]
    assert cutter.linktype == 113


def test_frame_check_bits_do_not_hide_the_link_type() -> None:
    """They are in the upper bits of the same field."""
    cutter = RecordCutter()

    list(cutter.feed(header(0x2400_0001)))

    assert cutter.linktype == 1


@pytest.mark.parametrize("data", [b"", header()])
def test_a_stream_without_records_is_valid(data: bytes) -> None:
    """No byte at all, or only a header."""
    assert cut(data) == []


@each_row(
    ("data", "message"),
    [
        (b"GET / HTTP/1.1\r\n\r\n and more", "not a capture stream"),
        (b"\x0a\x0d\x0d\x0a" + bytes(60), "pcapng"),
        (header()[:11], "11 of 24 header bytes"),
        (b"\x1f\x8b", "not a capture stream"),
        (header() + record(b"whole") + record(b"torn")[:-1], "19 bytes into a record"),
        (header() + record(b"whole") + b"\x00" * 5, "5 bytes into a record"),
        (header() + record(b"whole") + b"\xff" * 16, "has 4294967295 captured bytes"),
    ],
)
def test_a_torn_stream_is_an_error_with_its_fault(data: bytes, message: str) -> None:
    """Not a capture, or cut off."""
    with pytest.raises(CaptureError, match=message):
        cut(data)


def test_records_before_the_damage_are_delivered() -> None:
    """Then the error is raised."""
    records = RecordCutter().feed(header() + record(b"good") + b"\xff" * 16)

    assert next(records).frame == b"good"
    with pytest.raises(CaptureError) as caught:
        next(records)
    assert caught.value.offset == 24 + 16 + 4
