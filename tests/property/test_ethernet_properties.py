"""Properties of rewriting to Ethernet, for any packets and any format."""

import gzip
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
    classic,
    cooked,
    cooked_2,
    delivered,
    enhanced,
    file_header,
    interface,
    record,
    section,
)

from pcapdj.capture.linktypes import REWRITABLE, to_ethernet
from pcapdj.capture.opening import open_capture
from pcapdj.capture.pcap import MAX_CAPTURED_BYTES, StreamFormat
from pcapdj.runtime.errors import CaptureError

pytestmark = pytest.mark.usefixtures("both_forms")

STREAM = StreamFormat(1, nanosecond=False, rewrites=True)

u32 = st.integers(0, 0xFFFF_FFFF)
linktypes = st.sampled_from(sorted(REWRITABLE))
protocols = st.sampled_from([0x0800, 0x86DD, 0x0806, 0x8100, 1, 3, 4, 0xC, 0x5FF, 0x600])
payloads = st.one_of(
    st.binary(max_size=60), st.sampled_from([b"\xff\xff\0\x1eipx", b"\x42\x42\3", b"\x45v4", b"\x60v6"])
)
# Pseudo-headers that make sense with every link type's own, and anything.
plausible = st.one_of(
    payloads,
    st.builds(lambda family, order, rest: family.to_bytes(4, order) + rest,
              st.sampled_from([2, 7, 10, 23, 24, 28, 30]), st.sampled_from(["little", "big"]), payloads),
    st.builds(cooked, protocols, payloads, address_bytes=st.integers(0, 9)),
    st.builds(cooked_2, protocols, payloads, hardware=st.sampled_from([1, 770, 803, 824])),
)  # fmt: skip
packets = st.lists(
    st.builds(Record, st.integers(1, 2**31), st.integers(0, 999_999), plausible.filter(len), u32), max_size=20
)


@pytest.fixture
def capture_of(tmp_path: Path) -> Callable[[bytes], bytes]:
    """Return a function that writes a capture and returns its name."""

    def to_file(content: bytes) -> bytes:
        (tmp_path / "capture").write_bytes(content)
        return os.fsencode(tmp_path / "capture")

    return to_file


def expected_of(linktype: int, records: list[Record]) -> list[Record]:
    """Return the expected frames of these packets."""
    frames = [(each, to_ethernet(linktype, each.data, each.wire_bytes)) for each in records]
    return [Record(each.seconds, each.fraction, *found) for each, found in frames if found]


@given(linktypes, plausible, u32)
def test_a_frame_contains_its_packet_and_a_valid_type(linktype: int, packet: bytes, length: int) -> None:
    """Its packet follows after 14 bytes; its type is an EtherType or the length of that. Or no frame."""
    found = to_ethernet(linktype, packet, length)
    if found is None:
        return
    frame, wire_bytes = found
    payload, removed_bytes = frame[14:], len(packet) - (len(frame) - 14)
    kind = int.from_bytes(frame[12:14], "big")

    assert packet.endswith(payload)
    assert removed_bytes == {0: 4, 108: 4, 113: 16, 276: 20}.get(linktype, 0)
    assert wire_bytes == min(max(length - removed_bytes, 0) + 14, MAX_CAPTURED_BYTES)
    assert frame[:6] == bytes(6)
    assert kind >= 0x0600 or kind == max(length - removed_bytes, len(payload)) <= 1500


@given(
    linktypes, st.integers(MAX_CAPTURED_BYTES - 40, MAX_CAPTURED_BYTES), st.binary(min_size=24, max_size=24)
)
def test_no_frame_is_longer_than_a_record_may_be(linktype: int, size: int, start: bytes) -> None:
    """Raw IP and loopback packets grow."""
    for beginning in (b"\x45" + start, b"\2\0\0\0" + start, cooked(0x0800, b""), cooked_2(0x0800, b"")):
        found = to_ethernet(linktype, beginning.ljust(size, b"\0"), size)

        assert found is None or len(found[0]) <= MAX_CAPTURED_BYTES


@given(linktypes, packets)
def test_every_format_gives_the_same_frames(
    capture_of: Callable[[bytes], bytes], linktype: int, records: list[Record]
) -> None:
    """Classic, nanoseconds, modified, in both byte orders; lengths exchanged; pcapng; compressed."""
    nanoseconds = [Record(r.seconds, r.fraction * 1000 + 999, r.data, r.length) for r in records]
    forms = [
        *(classic(records, MICRO, order, linktype) for order in "<>"),
        *(classic(nanoseconds, NANO, order, linktype) for order in "<>"),
        *(
            file_header(MODIFIED, order, linktype=linktype)
            + b"".join(record(r, order, extra=b"extra123") for r in records)
            for order in "<>"
        ),
        file_header(version=(2, 2), linktype=linktype) + b"".join(record(r, swapped=True) for r in records),
        *(
            section(order) + interface(linktype, order=order)
            + b"".join(enhanced(r.seconds * 10**6 + r.fraction, r.data, 0, order, r.length) for r in records)
            for order in "<>"
        ),
        gzip.compress(classic(records, linktype=linktype), 1),
    ]  # fmt: skip
    expected = expected_of(linktype, records)
    for content in forms:
        with open_capture(capture_of(content)) as capture:
            assert delivered(capture, STREAM) == (expected, None)
            assert sum(capture.skipped.values()) == len(records) - len(expected)


@given(linktypes, packets)
def test_another_resolution_changes_nothing_else(
    capture_of: Callable[[bytes], bytes], linktype: int, records: list[Record]
) -> None:
    """Both conversions work together."""
    stream = StreamFormat(1, nanosecond=True, rewrites=True)
    expected = [
        Record(r.seconds, r.fraction * 1000, r.data, r.length) for r in expected_of(linktype, records)
    ]

    with open_capture(capture_of(classic(records, linktype=linktype))) as capture:
        assert delivered(capture, stream) == (expected, None)


@given(st.lists(st.tuples(st.integers(0, 3), plausible), min_size=1, max_size=20))
def test_a_mixed_file_gives_every_packet_that_can_be_ethernet(
    capture_of: Callable[[bytes], bytes], numbered: list[tuple[int, bytes]]
) -> None:
    """Interfaces of Ethernet, raw IP, Linux cooked and 802.11 in turn; the first packet is Ethernet."""
    kinds = [1, 101, 113, 105]
    numbered = [(0, b"first"), *numbered]
    content = section() + b"".join(map(interface, kinds))
    content += b"".join(enhanced(at, data, number) for at, (number, data) in enumerate(numbered))
    expected, skipped = [], 0
    for at, (number, data) in enumerate(numbered):
        same = (data, len(data)) if number == 0 else None
        found = same if number in {0, 3} else to_ethernet(kinds[number], data, len(data))
        expected += [Record(0, at, *found)] if found else []
        skipped += found is None

    with open_capture(capture_of(content)) as capture:
        assert delivered(capture, STREAM) == (expected, None)
        assert sum(capture.skipped.values()) == skipped


@given(linktypes, st.sampled_from("<>"), st.binary(max_size=300))
def test_any_file_of_these_link_types_gives_only_whole_records(
    capture_of: Callable[[bytes], bytes], linktype: int, order: str, rest: bytes
) -> None:
    """A valid beginning, then any bytes: frames, or a reason."""
    good = record(Record(1, 2, cooked(0x0800, b"\x45" * 30)), order)
    for start in (file_header(order=order, linktype=linktype) + good, section() + interface(linktype)):
        try:
            with open_capture(capture_of(start + rest)) as capture:
                found, _ = delivered(capture, STREAM)
                assert all(14 <= len(each.data) <= MAX_CAPTURED_BYTES for each in found)
        except CaptureError:
            continue
