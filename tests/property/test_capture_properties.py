"""Properties of reading captures, for any bytes and any way to cut them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.captures import (
    MICRO,
    MODIFIED,
    NANO,
    Record,
    as_read,
    block,
    classic,
    delivered,
    enhanced,
    file_header,
    interface,
    record,
    records_of,
    section,
    simple,
)

from pcapdj.capture.formats import identify
from pcapdj.capture.opening import open_capture
from pcapdj.capture.pcap import Layout, StreamFormat, Totals
from pcapdj.capture.pcapng import BlockWalk
from pcapdj.capture.walk import Damage, walk
from pcapdj.runtime.errors import CaptureError

pytestmark = pytest.mark.usefixtures("both_forms")

PLAIN = Layout(big_endian=False, nanosecond=False, linktype=1)
STREAM = StreamFormat(1, nanosecond=False)

u32 = st.integers(0, 0xFFFF_FFFF)
# Second 0 and no bytes could be the zeros of a preallocated file, 2055-12-20 a file header.
seconds = st.integers(1, 2**31)
packets = st.lists(
    st.builds(Record, seconds, st.integers(0, 999_999), st.binary(max_size=80), u32), max_size=20
)
blocks = st.lists(
    st.one_of(
        st.builds(enhanced, st.integers(0, 2**52), st.binary(max_size=40)),
        st.builds(simple, st.binary(max_size=40)),
        st.builds(block, st.sampled_from([4, 5, 10, 0xBAD]), st.binary(max_size=200)),
        st.just(interface(101)),
        st.just(section() + interface()),
    ),
    max_size=12,
)


@pytest.fixture
def capture_of(tmp_path: Path) -> Callable[[bytes], bytes]:
    """Return a function that writes a capture and returns its name."""

    def to_file(content: bytes) -> bytes:
        name = os.fsencode(tmp_path / "capture")
        Path(os.fsdecode(name)).write_bytes(content)
        return name

    return to_file


@given(packets, st.sampled_from([MICRO, NANO]), st.sampled_from("<>"))
def test_built_captures_are_read(
    capture_of: Callable[[bytes], bytes], records: list[Record], magic: int, order: str
) -> None:
    """In every classic format, through the whole reader."""
    with open_capture(capture_of(classic(records, magic, order))) as capture:
        assert delivered(capture) == (as_read(records), None)


@given(packets)
def test_every_format_gives_the_same_packets(
    capture_of: Callable[[bytes], bytes], records: list[Record]
) -> None:
    """Classic, modified, pcapng in both byte orders."""
    forms = [
        file_header(MODIFIED) + b"".join(record(r, extra=b"extra123") for r in records),
        *(
            section(order) + interface(order=order)
            + b"".join(enhanced(r.seconds * 10**6 + r.fraction, r.data, 0, order, r.length) for r in records)
            for order in "<>"
        ),
    ]  # fmt: skip
    for content in forms:
        with open_capture(capture_of(content)) as capture:
            assert delivered(capture, STREAM) == (as_read(records), None)


@given(packets, st.binary(max_size=30), st.integers(1, 200))
def test_windows_do_not_change_the_walk(records: list[Record], tail: bytes, size: int) -> None:
    """One window or many: the same end, the same totals."""
    data = b"".join(map(record, records)) + tail
    whole = walk(data, PLAIN, is_last=True)
    position, totals = 0, Totals()
    while True:
        window = data[position : position + max(size, 96)]
        is_last = position + len(window) == len(data)
        run = walk(window, PLAIN, is_last=is_last)
        totals += run.totals
        position += run.end
        if not run.end or isinstance(run.stop, Damage):
            break

    assert position == whole.end
    assert totals == whole.totals
    assert type(run.stop) is type(whole.stop)


@given(blocks, st.integers(300, 600))
def test_windows_do_not_change_the_block_walk(parts: list[bytes], size: int) -> None:
    """One window or many: the same records and totals, the same skipped packets."""
    data = section() + interface() + b"".join(parts)
    whole, cut = BlockWalk(STREAM), BlockWalk(STREAM)
    expected = whole.records(data)
    position, out, totals = 0, b"", Totals()
    while (batch := cut.records(data[position : position + size])).end:
        position += batch.end
        out += batch.data
        totals += batch.totals

    assert (position, out) == (expected.end, expected.data) == (len(data), expected.data)
    assert totals == expected.totals
    assert cut.skipped == whole.skipped


@given(st.binary(max_size=400))
def test_a_walk_over_any_bytes_ends_within_them(data: bytes) -> None:
    """The end is the end of a record, and every record is validated."""
    run = walk(data, PLAIN, is_last=True)

    assert 0 <= run.end <= len(data)
    found = records_of(data[: run.end])
    assert len(found) == run.totals.packets
    assert sum(r.wire_bytes for r in found) == run.totals.lengths_bytes
    identify(data)


@given(
    st.sampled_from(
        [file_header(), file_header(NANO, ">"), file_header(MODIFIED), section() + interface(), b""]
    ),
    st.binary(max_size=300),
)
def test_any_file_gives_only_whole_records(
    capture_of: Callable[[bytes], bytes], start: bytes, rest: bytes
) -> None:
    """A valid beginning, then any bytes: records, or a reason."""
    try:
        with open_capture(capture_of(start + rest)) as capture:
            delivered(capture)
    except CaptureError:
        return


@given(st.sampled_from(["pcap", "pcapng"]), st.data())
def test_flipped_bits_leave_whole_records(
    capture_of: Callable[[bytes], bytes], kind: str, data: st.DataObject
) -> None:
    """Whole records or a reason, whichever bits are wrong."""
    small = [Record(1, 2, b"abcdefgh"), Record(3, 4, b""), Record(5, 6, b"x" * 40)]
    content = bytearray(classic(small))
    if kind == "pcapng":
        content = bytearray(section() + interface() + b"".join(enhanced(9, r.data) for r in small))
    for bit in data.draw(st.sets(st.integers(0, len(content) * 8 - 1), min_size=1, max_size=5)):
        content[bit // 8] ^= 1 << bit % 8

    try:
        with open_capture(capture_of(bytes(content))) as capture:
            delivered(capture)
    except CaptureError:
        return


@pytest.mark.parametrize("kind", ["pcap", "modified", "pcapng"])
def test_every_cut_of_a_small_file_keeps_its_whole_records(
    capture_of: Callable[[bytes], bytes], kind: str
) -> None:
    """Never an incomplete one, and a reason wherever the cut is inside a record."""
    small = [Record(0, i, bytes(range(i))) for i in range(1, 9)]
    pieces = {
        "pcap": [file_header(), *map(record, small)],
        "modified": [file_header(MODIFIED), *(record(r, extra=bytes(8)) for r in small)],
        "pcapng": [section(), interface(), *(enhanced(r.fraction, r.data) for r in small)],
    }[kind]
    content = b"".join(pieces)
    ends = {sum(map(len, pieces[: i + 1])) for i in range(len(pieces))}
    for cut in range(1, len(content) + 1):
        try:
            with open_capture(capture_of(content[:cut])) as capture:
                found, damage = delivered(capture)
        except CaptureError as refused:
            found, damage = [], refused

        assert found == as_read(small)[: len(found)]
        assert len(found) == max(0, sum(end <= cut for end in ends) - (len(pieces) - len(small)))
        assert (damage is None) == (cut in ends)
