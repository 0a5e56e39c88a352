"""Where a file goes on: what Redis keeps of it, and what of the launcher's file and of the capture counts."""

import base64
import gzip
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.captures import classic
from support.dispatcher_rig import packets
from support.logs import logged

from pcapdj.analyzer.orderly_end import write_ended_stream
from pcapdj.capture.opening import Identity, open_capture
from pcapdj.capture.pcap import Place, StreamFormat, Totals
from pcapdj.feed.note import BatchNote, encode_note
from pcapdj.feed.start_point import (
    FIRST_PACKET,
    StartPoint,
    start_point_after,
    start_point_behind,
    start_point_from,
    start_point_or_first,
)
from pcapdj.launcher_protocol import (
    EndedStream,
    decode_ended_stream,
    encode_ended_stream,
    ended_stream_path,
    read_ended_stream,
)

counts = st.integers(0, 2**64 - 1)
skipped = st.dictionaries(st.integers(0, 2**31), counts, max_size=3)
crc32s = st.none() | st.integers(0, 2**32 - 1)
places = st.builds(Place, counts, counts, counts, skipped, crc32s)
totals = st.builds(Totals, *[counts] * 9, st.booleans())
points = st.builds(
    StartPoint,
    places,
    totals,
    st.none() | st.builds(StreamFormat, st.integers(0, 300), st.booleans(), st.booleans()),
    st.builds(Identity, counts, counts, counts, counts),
    st.text("0123456789abcdef", max_size=64),
    st.lists(st.text("0123456789abcdef", min_size=8, max_size=8), max_size=3).map(tuple),
    counts,
    st.lists(st.tuples(counts, counts), max_size=3).map(tuple),
)
SENT = Totals(3, 60, 60, 5, 7)
ENDED = EndedStream(
    stream="feed0123",
    token="t",  # noqa: S106 - of a queue entry
    record=base64.b64encode(
        encode_note(BatchNote(7, "t", 1, 50, 24, Place(90, skipped={113: 2}), Totals(), SENT))[0]
    ).decode(),
    header={"linktype": 1, "nanosecond": True},
    file={
        "identity": [1, 2, 3, 4],
        "digest": "d",
        "rewrites": False,
        "earlier_streams": ["cafe0123"],
        "before": {"packets": 40},
        "earlier_parts": [[11, 1]],
        "earlier_packets": 1,
    },
)


@given(points)
def test_redis_keeps_all_of_it(point: StartPoint) -> None:
    """As text, which a person can read, without a blank."""
    text = point.as_json()

    assert start_point_from(text) == point
    assert len(text.split()) == 1


def test_a_place_without_a_checksum_stays_valid() -> None:
    """A dispatcher of an older version wrote it: the file goes on there, and is not kept as known."""
    point = start_point_after(ENDED)
    assert point is not None
    fields = json.loads(point.as_json())
    del fields["crc32"]

    assert start_point_from(json.dumps(fields)) == point
    assert point.place.crc32 is None


@pytest.mark.parametrize("text", ["nonsense", "{}", "[]", "7", '{"skipped":3}', "[" * 100_000])
def test_what_is_not_valid_is_none(text: str) -> None:
    """Another program may have written it; without any text a file begins at its first packet."""
    assert start_point_from(text) is None
    assert start_point_from("") is FIRST_PACKET


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("", "offset", "x"),
        ("", "offset", -1),
        ("", "offset", 1.5),
        ("", "section", 2**64),
        ("", "crc32", 2**32),
        ("", "crc32", "x"),
        ("", "begin_bytes", -1),
        ("", "begin_bytes", None),
        ("", "parts", [[1]]),
        ("", "parts", ["ab"]),
        ("", "skipped", {"113": "x"}),
        ("totals", "packets", None),
        ("totals", "first_ts_ns", "x"),
        ("totals", "largest_step_back_ns", 2**200),
        ("stream_format", "linktype", "x"),
        ("identity", "size_bytes", "x"),
        ("identity", "mtime_ns", None),
        ("identity", "ino", [1]),
        ("", "identity", "abcd"),
        ("", "identity", None),
    ],
)
def test_a_number_that_is_none_is_not_valid(part: str, field: str, value: object) -> None:
    """It ended each dispatcher that took the file, at a place far from the cause."""
    point = start_point_after(ENDED)
    assert point is not None
    fields = json.loads(point.as_json())
    assert start_point_from(json.dumps(fields)) == point
    (fields[part] if part else fields)[field] = value

    assert start_point_from(json.dumps(fields)) is None


def test_a_file_goes_on_where_the_noted_batch_ends() -> None:
    """In the format of the ended stream, whose id comes behind those of the streams before."""
    point = start_point_after(ENDED)

    assert point == StartPoint(
        Place(90, skipped={113: 2}),
        SENT,
        StreamFormat(1, nanosecond=True),
        Identity(1, 2, 3, 4),
        "d",
        ("cafe0123", "feed0123"),
        parts=((11, 1), (41, 2)),
    )


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)  # `decode_object` has refused these
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)


@given(st.sampled_from([*ENDED.file, "linktype", "nanosecond", "begin_bytes"]), JSON)
def test_what_the_launchers_file_has_in_any_field_is_a_valid_place_or_none(field: str, value: object) -> None:
    """Another program of the same user may have written it: it would end each dispatcher at its start."""
    is_header = field in ENDED.header
    header, file = dict(ENDED.header), dict(ENDED.file)
    (header if is_header else file)[field] = value

    point = start_point_after(replace(ENDED, header=header, file=file))

    assert point is None or start_point_from(point.as_json()) is not None


def test_a_file_that_grew_begins_behind_what_was_fed_also_after_a_stream() -> None:
    """Older files about a stream, and older places in Redis, have no such number."""
    grown = start_point_after(replace(ENDED, file=dict(ENDED.file) | {"begin_bytes": 24}))
    assert grown is not None
    fields = json.loads(grown.as_json())
    del fields["begin_bytes"]

    assert grown.begin_bytes == 24
    assert start_point_from(json.dumps(fields)) == grown._replace(begin_bytes=0)


def test_a_file_goes_on_behind_the_last_batch_of_a_stopped_pass() -> None:
    """Its stream comes behind those before, with the number of the file's first packet and of its packets."""
    start = StartPoint(Place(30), Totals(1, 20, 20), streams=("cafe0123",), parts=((11, 1),), digest="d")
    note = BatchNote(7, "t", 1, 50, 24, Place(90, skipped={113: 2}), Totals(), SENT)

    point = start_point_behind(start, note, "feed0123", 41)

    assert point == StartPoint(
        Place(90, skipped={113: 2}),
        SENT,
        digest="d",
        streams=("cafe0123", "feed0123"),
        parts=((11, 1), (41, 2)),
    )


def test_without_a_valid_place_a_file_begins_at_its_first_packet(capsys: pytest.CaptureFixture[str]) -> None:
    """An invalid one is logged."""
    point = start_point_after(ENDED)
    assert point is not None

    assert start_point_or_first(point.as_json(), b"/in/a.pcap") == point
    assert start_point_or_first("", b"/in/a.pcap") is FIRST_PACKET
    assert start_point_or_first("x", b"/in/b.pcap") is FIRST_PACKET
    [line] = logged(capsys, "begin_invalid").splitlines()
    assert line.endswith(" begin_invalid name=/in/b.pcap: The file is fed from its first packet.")


def test_the_controller_gets_how_much_of_a_file_is_left(tmp_path: Path) -> None:
    """Of a compressed one all counts: how much of it is behind a place among its packets is not known."""
    content = classic(packets(100, 20))
    plain, packed = tmp_path / "a.pcap", tmp_path / "a.pcap.gz"
    plain.write_bytes(content)
    packed.write_bytes(gzip.compress(content))
    behind = FIRST_PACKET._replace(place=Place(84))

    with open_capture(bytes(plain)) as capture:
        assert FIRST_PACKET.request_fields(capture) == {"input_bytes": len(content), "compression": ""}
        assert behind.request_fields(capture) == {"input_bytes": len(content) - 84, "compression": ""}
        beyond = FIRST_PACKET._replace(place=Place(len(content) + 1))
        assert beyond.request_fields(capture) == {"input_bytes": 0, "compression": ""}
    with open_capture(bytes(packed)) as capture:
        size_bytes = packed.stat().st_size
        assert behind.request_fields(capture) == {"input_bytes": size_bytes, "compression": "gzip"}


def test_the_newest_hundred_streams_are_kept() -> None:
    """They have to fit into a message of the launcher."""
    file = dict(ENDED.file) | {"earlier_streams": [f"{number:08x}" for number in range(150)]}

    point = start_point_after(EndedStream(ENDED.stream, ENDED.token, ENDED.record, ENDED.header, file))

    assert point is not None
    assert point.streams == (*(f"{number:08x}" for number in range(51, 150)), "feed0123")


def test_the_launchers_file_is_read_as_it_was_written() -> None:
    """One that was cut or changed is none."""
    content = encode_ended_stream(ENDED)

    assert decode_ended_stream(content) == ENDED
    assert decode_ended_stream(content[:-1]) is None
    assert decode_ended_stream(b"[" * 100_000) is None
    assert decode_ended_stream(content.replace(b'"token"', b'"tok"')) is None
    assert decode_ended_stream(content.replace(ENDED.record[:8].encode(), b"AAAAAAAA")) is None


@pytest.mark.parametrize("place", ["nothing", "folder", "pipe", "open pipe"])
def test_something_else_in_the_place_of_the_launchers_file_is_none(tmp_path: Path, place: str) -> None:
    """A dispatcher that waited for a writer of a pipe there did not stop."""
    path = ended_stream_path(tmp_path / "s")
    if place == "folder":
        path.mkdir()
    if "pipe" in place:
        os.mkfifo(path)
    writer = os.open(path, os.O_RDWR) if place == "open pipe" else None

    assert read_ended_stream(tmp_path / "s") is None
    if writer is not None:
        os.close(writer)


def test_a_file_of_another_user_in_the_place_of_the_launchers_is_none(tmp_path: Path) -> None:
    """The socket may be in a folder of all users, and the file would have packets left out."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to another user")
    write_ended_stream(ended_stream_path(tmp_path / "s"), ENDED)

    os.chown(ended_stream_path(tmp_path / "s"), 65534, 65534)

    assert read_ended_stream(tmp_path / "s") is None


def test_the_launcher_replaces_a_pipe_in_the_place_of_its_hidden_file(tmp_path: Path) -> None:
    """It does not wait for a reader there."""
    path = ended_stream_path(tmp_path / "s")
    os.mkfifo(path.with_name(f".{path.name}"))

    write_ended_stream(path, ENDED)

    assert read_ended_stream(tmp_path / "s") == ENDED


def test_a_folder_in_the_place_of_the_launchers_hidden_file_is_in_no_way(tmp_path: Path) -> None:
    """In /tmp anyone can make it; without the file the stream is fed again."""
    path = ended_stream_path(tmp_path / "s")
    path.with_name(f".{path.name}").mkdir()

    write_ended_stream(path, ENDED)

    assert read_ended_stream(tmp_path / "s") == ENDED


@pytest.mark.parametrize("field", ["identity", "header"])
def test_a_launchers_file_without_a_field_is_none(field: str) -> None:
    """The file in flight is fed again then."""
    header = {} if field == "header" else ENDED.header
    file = {} if field == "identity" else ENDED.file

    assert start_point_after(EndedStream(ENDED.stream, ENDED.token, ENDED.record, header, file)) is None


@pytest.mark.parametrize(
    "change", ["none", "device", "mounted again", "grown", "touched", "a byte", "copied"]
)
def test_the_file_has_to_be_the_same(tmp_path: Path, change: str) -> None:
    """Its device number aside; with another one, its inode aside, too."""
    path = tmp_path / "1.pcap"
    path.write_bytes(content := classic(packets(1, 5)))
    os.utime(path, (1_600_000_000, 1_600_000_000))
    with open_capture(os.fsencode(path)) as capture:
        before = StartPoint(identity=capture.identity, digest=capture.digest())
    if change == "device":
        before = before._replace(identity=Identity(99, *capture.identity[1:]))
    if change == "mounted again":
        before = before._replace(identity=capture.identity._replace(dev=99, ino=99))
    if change == "grown":
        path.write_bytes(content + b"x")
    if change == "a byte":
        with path.open("r+b") as file:
            file.seek(50)
            file.write(b"\xff")
    if change == "copied":
        path.rename(tmp_path / "old")
        path.write_bytes(content)
    os.utime(path, (1_600_000_000, 1_600_000_000 + (change == "touched")))

    with open_capture(os.fsencode(path)) as capture:
        found = before.change(capture)

    assert (found is None) == (change in {"none", "device", "mounted again"})
    assert found is None or found.reason.startswith("changed while it was read")
