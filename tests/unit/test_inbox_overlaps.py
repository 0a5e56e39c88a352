"""Captures that overlap in time: which pairs are compared, and what is shown."""

import gzip
import os
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.captures import NANO, Record, classic
from support.waiting import scaled

from pcapdj.capture.files import OpenFile, open_regular
from pcapdj.capture.last_packet import last_packet_time_ns
from pcapdj.inbox import recent_captures
from pcapdj.inbox.listing import list_captures
from pcapdj.inbox.overlaps import Overlap, Span, closest_pairs, longest_overlap, series_of

SECOND_NS = 1_000_000_000


def overlap_of(*spans: Span) -> Overlap | None:
    """Return the longest overlap among these captures."""
    return longest_overlap(spans, closest_pairs(spans))


def minutes(series: str, *, after_s: int = 0, count: int = 3, ends: bool = True) -> list[Span]:
    """Return captures of a minute each, one after the other."""
    firsts = [(after_s + 60 * number) * SECOND_NS for number in range(count)]
    return [
        Span(f"/in/{series}-{number}.pcap".encode(), first, first + 60 * SECOND_NS if ends else None)
        for number, first in enumerate(firsts)
    ]


@pytest.mark.parametrize("most", [1, 3])
def test_pairs_of_series_that_overlapped_are_remembered_up_to_a_number(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """Each pair is shown once; the names of ever more of them would fill the importer's memory."""
    monkeypatch.setattr(recent_captures, "_MOST_PAIRS", most)
    recent, taps = recent_captures.RecentCaptures(), iter("abcdefgh")

    def add_pair(one: str, other: str, after_s: int) -> str:
        sentence = recent.add(minutes(one, after_s=after_s, count=1))
        return sentence + recent.add(minutes(other, after_s=after_s + 5, count=1))

    assert "overlap" in add_pair("x", "y", 0)
    assert add_pair("x", "y", 1000) == ""
    for number in range(most):
        assert "overlap" in add_pair(next(taps), next(taps), 2000 + 1000 * number)
    assert "overlap" in add_pair("x", "y", 90_000)


def test_one_rotation_does_not_overlap() -> None:
    """Also not if a second of each file is in the next one, too."""
    overlapping = [span._replace(last_ns=span.first_ns + 61 * SECOND_NS) for span in minutes("a")]

    assert overlap_of(*minutes("a")) is None
    assert overlap_of(*overlapping) is None
    assert overlap_of(*minutes("a", count=1)) is None
    assert overlap_of() is None


def test_two_taps_overlap() -> None:
    """One file of each is enough; the pair with the longest overlap is shown."""
    pair = overlap_of(*minutes("in", count=1), *minutes("out", after_s=1, count=1))
    rotation = overlap_of(*minutes("in"), *minutes("out", after_s=1))

    assert pair == Overlap(b"/in/in-0.pcap", b"/in/out-0.pcap", 59 * SECOND_NS)
    assert rotation
    assert rotation.duration_ns == 59 * SECOND_NS
    assert rotation.series == {b"/in/in-#.pcap", b"/in/out-#.pcap"}


def test_without_the_ends_the_names_of_a_series_show_them() -> None:
    """A file ends where the next one of its series begins; with one file of each nothing is known."""
    interleaved = overlap_of(*minutes("in", ends=False), *minutes("out", after_s=1, ends=False))

    assert interleaved
    assert interleaved.duration_ns == 59 * SECOND_NS
    assert overlap_of(*minutes("in", ends=False)) is None
    single = (*minutes("in", ends=False, count=1), *minutes("out", after_s=1, ends=False, count=1))
    assert overlap_of(*single) is None


def test_a_third_tap_is_found_beside_two_that_are_closer() -> None:
    """Among the files that are new, whatever those before them do."""
    spans = [
        *minutes("in", count=20),
        *minutes("out", after_s=1, count=20),
        *minutes("other", after_s=620, count=1),
    ]

    found = longest_overlap(spans, closest_pairs(spans, {b"/in/other-0.pcap"}))

    assert found
    assert b"/in/other-#.pcap" in found.series


def test_a_series_is_what_names_have_in_common_beside_their_numbers() -> None:
    """And beside a compression."""
    names = (b"/d1/cap-0001_20240101.pcap", b"/d1/cap-2_3.pcap.gz", b"/d2/cap-1_1.pcap", b"/d1/tap-1_1.pcap")

    assert [series_of(name) for name in names] == [
        b"/d1/cap-#_#.pcap",
        b"/d1/cap-#_#.pcap",
        b"/d2/cap-#_#.pcap",
        b"/d1/tap-#_#.pcap",
    ]


def test_the_sentence_has_names_and_duration() -> None:
    """And what to do."""
    sentence = Overlap(b"/in-1", b"/out-1", 59 * SECOND_NS).sentence

    assert sentence == (
        "'/in-1' and '/out-1' overlap by 59 s: the analyzer gets the packets of one after those of the other."
        " Feed two taps in two lanes, or merge their captures first (mergecap)."
    )


def packets(first_s: int, count: int, data: bytes = b"x" * 900) -> list[Record]:
    """Return packets, one a second."""
    return [Record(first_s + number, number, data) for number in range(count)]


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "compressed"])
def test_two_taps_in_a_folder_are_in_the_notes_of_its_listing(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    """Whatever their size and form."""
    for number in range(2):
        for tap, after_s in (("in", 0), ("out", 1)):
            content = classic(packets(1000 + after_s + 200 * number, 200))
            (tmp_path / f"{tap}-{number}").write_bytes(compress(content))

    listing = list_captures([os.fsencode(tmp_path)], recursive=False)

    assert listing.overlap
    assert 198 * SECOND_NS < listing.overlap.duration_ns <= 199 * SECOND_NS
    assert listing.overlap.sentence in listing.notes


def test_one_rotation_in_a_folder_is_not(tmp_path: Path) -> None:
    """The end of each file is before the beginning of the next one."""
    for number in range(5):
        (tmp_path / f"cap-{number}").write_bytes(classic(packets(1000 + 200 * number, 200)))

    listing = list_captures([os.fsencode(tmp_path)], recursive=False)

    assert listing.overlap is None
    assert listing.notes == ()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("magic", [0xA1B2C3D4, NANO])
@pytest.mark.parametrize("count", [2, 200, 1000])
def test_the_last_packet_of_a_plain_capture_is_found_from_its_end(
    tmp_path: Path, count: int, magic: int, order: str
) -> None:
    """In both byte orders and resolutions, however long the file is."""
    (tmp_path / "x").write_bytes(classic(packets(1000, count), magic, order))
    file = OpenFile(open_regular(os.fsencode(tmp_path / "x")))

    found = last_packet_time_ns(file, 1000 * SECOND_NS)
    file.close()

    fraction_ns = 1 if magic == NANO else 1000
    assert found == (999 + count) * SECOND_NS + (count - 1) * fraction_ns


@pytest.mark.parametrize(
    "content",
    [
        classic(packets(1000, 200))[:-1],
        classic(packets(1000, 200)) + b"\0",
        classic(packets(1000, 1)),
        gzip.compress(classic(packets(1000, 200)), mtime=0),
        b"",
        classic([]),
    ],
    ids=["cut off", "one byte more", "one packet", "compressed", "empty", "no packet"],
)
def test_where_no_row_of_records_reaches_the_end_none_is_found(tmp_path: Path, content: bytes) -> None:
    """Then the names decide."""
    (tmp_path / "x").write_bytes(content)
    file = OpenFile(open_regular(os.fsencode(tmp_path / "x")))

    assert last_packet_time_ns(file, 1000 * SECOND_NS) is None
    file.close()


def last_time_of(content: bytes) -> int | None:
    """Return the time of the last record of the first row of two or more that reaches the end."""
    for begin in range(24, len(content)):
        position, times = begin, list[int]()
        while position + 16 <= len(content):
            seconds, micros, captured, length = struct.unpack_from("<IIII", content, position)
            if micros >= 1_000_000 or captured > length or captured > 262_144 or seconds > 366 * 86_400:
                break
            times.append(seconds * SECOND_NS + micros * 1000)
            position += 16 + captured
        if position == len(content) and len(times) > 1:
            return times[-1]
    return None


WORDS = st.sampled_from([0, 1, 2, 4, 8, 15, 16, 32, 0xFFFFFFFF])


@given(st.lists(WORDS, max_size=60), st.binary(max_size=3))
@example([1, 0, 8, 8, 1, 2, 0, 0], b"")  # a record in another one's bytes
def test_the_row_that_begins_first_counts(words: list[int], rest: bytes) -> None:
    """Of all that reach the end: the others begin inside of a packet's bytes."""
    content = classic([Record(0, 0, b"")])[:24] + struct.pack(f"<{len(words)}I", *words) + rest
    with tempfile.NamedTemporaryFile() as path:
        path.write(content)
        path.flush()
        file = OpenFile(open_regular(os.fsencode(path.name)))
        found = last_packet_time_ns(file, 0)
        file.close()

    assert found == last_time_of(content)


@pytest.mark.parametrize("ends", [True, False], ids=["rows", "no row"])
def test_each_place_is_looked_at_once(tmp_path: Path, ends: bool) -> None:  # noqa: FBT001
    """In zeros a record may begin everywhere; a row from each place to the end took a minute."""
    zeros = bytes(1 << 16) if ends else bytes((1 << 16) - 8) + b"\xff" * 8
    (tmp_path / "x").write_bytes(classic([Record(1, 0, zeros)]))
    file = OpenFile(open_regular(os.fsencode(tmp_path / "x")))
    began_s = time.process_time()

    assert last_packet_time_ns(file, SECOND_NS) == (0 if ends else None)
    assert time.process_time() - began_s < scaled(5)
    file.close()
