"""The note: what a successor reads of it, whatever its writer left half done."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcapdj.capture.pcap import OTHER_LINKTYPES, Place, Totals
from pcapdj.feed.note import BatchNote, decode_record, encode_note, latest_note
from pcapdj.launcher_protocol import CHECKSUM_BYTES, NOTE_BYTES, NOTE_HEAD, RECORD_BYTES

u64 = st.integers(0, 2**64 - 1)
times_ns = st.integers(-(2**94), 2**94)
steps_ns = st.integers(0, 2**96)
all_totals = st.just(Totals()) | st.builds(
    Totals, st.integers(1, 2**64 - 1), u64, u64, times_ns, times_ns, u64, steps_ns, u64, u64, st.booleans()
)
crc32s = st.none() | st.integers(0, 2**32 - 1)
places = st.builds(Place, u64, u64, u64, st.dictionaries(st.integers(0, 2**16 - 1), u64, max_size=9), crc32s)
notes = st.builds(
    BatchNote,
    number=st.integers(1, 2**64 - 2),
    token=st.text("0123456789abcdef\udcff", min_size=1, max_size=32),
    batch=st.integers(0, 1),
    length_bytes=st.integers(0, 2**32 - 1),
    stream_position=u64,
    after=places,
    totals_before=all_totals,
    totals=all_totals,
)


def page_with(*found: BatchNote) -> bytearray:
    """Return the page after these records were written."""
    page = bytearray(NOTE_BYTES)
    for note in found:
        record, offset = encode_note(note)
        page[offset : offset + len(record)] = record
    return page


def test_an_empty_page_has_no_note() -> None:
    """No batch was sent yet."""
    assert latest_note(bytes(NOTE_BYTES)) is None
    assert latest_note(b"") is None


@given(notes, notes)
def test_the_record_with_the_higher_number_counts(first: BatchNote, second: BatchNote) -> None:
    """Every field comes back as it was written."""
    second = second._replace(number=first.number + 1)

    assert latest_note(bytes(page_with(first))) == first
    assert latest_note(bytes(page_with(first, second))) == second


@given(notes, notes, st.data())
def test_a_record_that_was_written_in_part_does_not_count(
    first: BatchNote, second: BatchNote, data: st.DataObject
) -> None:
    """Its writer died in it; the one before is whole."""
    second = second._replace(number=first.number + 1)
    page = page_with(first)
    record, offset = encode_note(second)
    written = data.draw(st.integers(0, len(record) - 1))
    page[offset : offset + written] = record[:written]

    is_whole = not any(record[written:])  # the page had these zeros already
    assert latest_note(bytes(page)) == (second if is_whole else first)


@given(notes, st.integers(0, NOTE_BYTES * 8 - 1))
def test_a_changed_bit_is_noticed(note: BatchNote, bit: int) -> None:
    """Also one of the number or of the size."""
    page = page_with(note)
    record, offset = encode_note(note)
    page[bit // 8] ^= 1 << bit % 8
    is_inside = offset <= bit // 8 < offset + len(record)

    assert latest_note(bytes(page)) == (None if is_inside else note)


@pytest.mark.parametrize("number", [1, 2])
def test_more_link_types_than_fit_become_one_sum(number: int) -> None:
    """Nothing that was left out is lost; a record stays in its half of the page."""
    place = Place(24, skipped=dict.fromkeys(range(1000), 2))
    note = BatchNote(number, "t", 0, 1, 24, place, Totals(), Totals())
    record, offset = encode_note(note)

    found = latest_note(bytes(page_with(note)))

    assert len(record) <= NOTE_BYTES // 2
    assert offset in {0, NOTE_BYTES // 2}
    assert found is not None
    assert sum(found.after.skipped.values()) == 2000
    assert found.after.skipped[OTHER_LINKTYPES] > 2
    assert found.after.skipped[100] == 2


@given(notes)
def test_a_record_alone_is_read_as_it_was_written(note: BatchNote) -> None:
    """The launcher keeps it of a stream that ended in the middle of a file."""
    record, _ = encode_note(note)

    assert decode_record(record) == note
    assert decode_record(record[:-1]) is None
    assert note.stream_end == note.stream_position + note.length_bytes


@given(notes)
def test_the_checksum_of_the_capture_is_the_end_of_a_record(note: BatchNote) -> None:
    """A record of a dispatcher that does not compute it is the same without it, so each reads the other's."""
    without, _ = encode_note(note._replace(after=note.after._replace(crc32=None)))
    with_one, _ = encode_note(note._replace(after=note.after._replace(crc32=7)))

    assert with_one[NOTE_HEAD.size :] == without[NOTE_HEAD.size :] + (7).to_bytes(4, "little")


def test_a_valid_record_that_is_too_short_is_none() -> None:
    """The launcher checks the head alone; another program may have written it."""
    head = NOTE_HEAD.pack(0, NOTE_HEAD.size - CHECKSUM_BYTES, 0, 1, b"t", 0, 7)[CHECKSUM_BYTES:]

    assert decode_record(zlib.crc32(head).to_bytes(CHECKSUM_BYTES, "little") + head) is None
    assert decode_record(encode_note(BatchNote(1, "t", 0, 1, 24, Place(), Totals(), Totals()))[0])


def test_a_valid_record_that_says_more_link_types_than_it_has_is_none() -> None:
    """Its checksum is right: another program may have written it."""
    record = bytearray(encode_note(BatchNote(1, "t", 0, 1, 24, Place(), Totals(), Totals()))[0])
    place = NOTE_HEAD.unpack_from(record).index(0, 1)  # of the number of link types
    packed = [*NOTE_HEAD.unpack_from(record)]
    packed[place] = 500
    record[: NOTE_HEAD.size] = NOTE_HEAD.pack(*packed)
    record[:CHECKSUM_BYTES] = zlib.crc32(record[CHECKSUM_BYTES:]).to_bytes(CHECKSUM_BYTES, "little")

    assert decode_record(bytes(record)) is None


def test_a_record_has_as_many_link_types_as_fit() -> None:
    """Twelve bytes each, in half of the page."""
    lengths = []
    for kinds in range(200):
        place = Place(24, skipped=dict.fromkeys(range(kinds), 2), crc32=7)
        note = BatchNote(1, "t", 0, 1, 24, place, Totals(), Totals())
        record, _ = encode_note(note)
        lengths += [len(record)] if decode_record(record) == note else []

    assert RECORD_BYTES - 12 < max(lengths) <= RECORD_BYTES
    assert lengths[1] - lengths[0] == 12
