"""Variants of pcap with the magic of another, and files that were transferred in text mode."""

import struct
from collections.abc import Sequence

import pytest
from support.captures import MICRO, MODIFIED, NANO, Record, classic, file_header, record
from support.rows import each_row

from pcapdj.capture.first_records import TEXT_MODE, FirstRecords, look_at_records
from pcapdj.capture.pcap import parse_file_header

PACKETS = [Record(seconds=1_700_000_000 + number, data=bytes([65 + number]) * 60) for number in range(3)]


def look_at(first: bytes) -> FirstRecords:
    """Look at a capture that is built here."""
    return look_at_records(first, parse_file_header(first))


def with_headers_of(
    header_bytes: int, packets: Sequence[Record] = PACKETS, magic: int = MICRO, order: str = "<"
) -> bytes:
    """Return a capture whose record headers have this size."""
    extra = bytes(header_bytes - 16)
    return file_header(magic, order) + b"".join(record(packet, order, extra=extra) for packet in packets)


@each_row("order", ["<", ">"])
@each_row(
    ("magic", "header_bytes", "name"),
    [
        (MICRO, 20, "Nokia pcap"),
        (MICRO, 24, "Red Hat 6.1 pcap"),
        (MODIFIED, 28, "SuSE 6.3 pcap"),
    ],
)
def test_a_variant_is_recognised_by_its_first_records(
    magic: int, header_bytes: int, name: str, order: str
) -> None:
    """The magic is that of another format."""
    first = with_headers_of(header_bytes, magic=magic, order=order)

    assert look_at(first) == FirstRecords(variant=name)


@pytest.mark.parametrize(("magic", "header_bytes"), [(MICRO, 16), (NANO, 16), (MODIFIED, 24)])
def test_a_usual_capture_is_no_variant(magic: int, header_bytes: int) -> None:
    """Whether the data ends with a record or inside one."""
    whole = with_headers_of(header_bytes, magic=magic)

    assert look_at(whole) == look_at(whole[:-70]) == look_at(whole[:-5]) == FirstRecords()


def test_one_record_is_too_few_for_a_variant() -> None:
    """It may be a usual capture that was cut off."""
    assert look_at(with_headers_of(24, PACKETS[:1])) == FirstRecords()


def test_what_can_be_read_is_no_variant() -> None:
    """Empty packets, and such as are longer than on the wire, are unusual, but they are read."""
    packets = [Record(data=b"\0", length=1), Record(data=b"", length=1), Record(data=b"long", length=1)]

    assert look_at(classic(packets)) == look_at(with_headers_of(24, packets, MODIFIED)) == FirstRecords()


def test_damage_behind_good_records_is_no_variant() -> None:
    """Their packets are evidence and are delivered."""
    assert look_at(classic(PACKETS[:2]) + b"\xff" * 100) == FirstRecords()


def test_an_old_version_is_no_variant() -> None:
    """The variants have version 2.4; older ones have their lengths in another order."""
    body = b"".join(record(packet, extra=bytes(8)) for packet in PACKETS)

    assert look_at(file_header(version=(2, 2)) + body) == FirstRecords()


def test_a_text_mode_transfer_is_recognised() -> None:
    """Each LF got a CR, in packets and in headers alike."""
    packets = [Record(seconds=1, fraction=10, data=b"GET /\nHost: a\n\n")] * 3
    whole = classic(packets)

    assert look_at(whole.replace(b"\n", b"\r\n")) == FirstRecords(hint=TEXT_MODE)
    assert look_at(whole) == FirstRecords()


def test_packets_of_text_with_cr_lf_give_no_hint() -> None:
    """Also in a file that is damaged by something else."""
    whole = classic([Record(data=b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")] * 3)

    assert look_at(whole) == look_at(whole + struct.pack("<I", 9) * 30) == FirstRecords()
