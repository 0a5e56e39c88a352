"""The checksum of what was read of a capture, at any place where reading may be taken up again."""

import bz2
import gzip
import lzma
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.captures import (
    MICRO,
    MODIFIED,
    NANO,
    RAW_IP,
    Record,
    block,
    enhanced,
    file_header,
    interface,
    record,
    section,
    simple,
)

from pcapdj.capture.capture import Capture
from pcapdj.capture.files import OpenFile
from pcapdj.capture.opening import capture_of
from pcapdj.capture.pcap import BEGINNING, Place, StreamFormat
from pcapdj.capture.reader import WINDOW_BYTES
from pcapdj.runtime.errors import CaptureError

pytestmark = pytest.mark.usefixtures("both_forms")

SHARED = Path(os.environ.get("PCAPDJ_SHARED", Path(__file__).parents[3] / "shared"))
CORPUS = [path for path in sorted(SHARED.glob("*/**/*")) if path.is_file() and "captures" in path.parts]
DECOMPRESS = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ\x00": lzma.decompress,
}
STREAMS = [
    StreamFormat(1, nanosecond=False),
    StreamFormat(1, nanosecond=True),
    StreamFormat(1, nanosecond=False, rewrites=True),
    StreamFormat(RAW_IP, nanosecond=False),
]

packets = st.builds(Record, st.integers(1, 2**31), st.integers(0, 999), st.binary(max_size=2000), st.none())
classics = st.builds(
    lambda header, records, order: header(order) + b"".join(record(each, order) for each in records),
    st.sampled_from([MICRO, NANO]).map(lambda magic: lambda order: file_header(magic, order)),
    st.lists(packets, max_size=8),
    st.sampled_from("<>"),
) | st.lists(packets, max_size=8).map(
    lambda records: file_header(MODIFIED) + b"".join(record(each, extra=bytes(8)) for each in records)
)
long_blocks = st.builds(
    lambda size, fill: block(0xBAD, bytes([fill]) * size),
    st.sampled_from([1000, WINDOW_BYTES - 12, WINDOW_BYTES, 3 * WINDOW_BYTES]),
    st.integers(0, 255),
)
pcapngs = st.lists(
    st.one_of(
        st.builds(enhanced, st.integers(0, 2**52), st.binary(max_size=400)),
        st.builds(simple, st.binary(max_size=40)),
        st.just(interface(RAW_IP)),
        st.just(section() + interface()),
        long_blocks,
    ),
    max_size=12,
).map(lambda blocks: section() + interface() + b"".join(blocks))
contents = classics | pcapngs
compressions = st.sampled_from([bytes, gzip.compress, lambda data: gzip.compress(data) + bytes(100)])


class RecordedPass:
    """What a pass gave, with the content that the file has decompressed."""

    def __init__(self, path: Path, content: bytes, stream: StreamFormat, start: Place = BEGINNING) -> None:
        self.records = b""
        self.places: list[Place] = []
        self.damage: CaptureError | None = None
        self.damaged_at: int | None = None  # not of a file whose packets do not fit
        with checksummed(path) as capture:
            try:
                for piece in capture.pieces(stream, start):
                    self.records += piece.data
                    self.places.append(piece.after)
            except CaptureError as damage:
                self.damage, self.damaged_at = damage, damage.offset
            self.end = capture.place
            self.has_records = capture.native is not None
        for place in (*self.places, self.end):
            if place != BEGINNING:
                assert place.offset <= len(content)
                assert place.crc32 == zlib.crc32(content[: place.offset]), place


def checksummed(path: Path) -> Capture:
    """Return an open capture that computes the checksum of its bytes."""
    return capture_of(b"name", OpenFile(os.open(path, os.O_RDONLY)), has_checksums=True)


def assert_goes_on(path: Path, content: bytes, cut: bytes, stream: StreamFormat) -> None:
    """Assert that reading the cut and then, from its end, the whole gives what reading the whole gives."""
    try:
        path.write_bytes(cut)
        begun = RecordedPass(path, content, stream)
        places = (*begun.places, begun.end)
    except CaptureError:  # nothing of it can be read
        begun, places = None, (BEGINNING,)
    path.write_bytes(content)
    try:
        whole = RecordedPass(path, content, stream)
    except CaptureError:
        return
    for place in places:
        rest = RecordedPass(path, content, stream, place)
        assert (rest.end, rest.damaged_at) == (whole.end, whole.damaged_at)
        assert whole.records.endswith(rest.records)
    if begun:
        assert begun.records + rest.records == whole.records
    if whole.damage is None and whole.has_records:
        assert whole.end.offset == len(content)


@given(content=contents, stream=st.sampled_from(STREAMS), data=st.data())
def test_a_capture_goes_on_from_any_cut_with_the_checksum_of_all_its_bytes(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, stream: StreamFormat, data: st.DataObject
) -> None:
    """Also behind blocks that a reader jumps over, and behind packets that the stream does not accept."""
    cut = content[: data.draw(st.integers(0, len(content)))]
    assert_goes_on(tmp_path_factory.getbasetemp() / "capture", content, cut, stream)


@given(content=contents, compress=compressions, stream=st.sampled_from(STREAMS))
def test_a_compressed_capture_has_the_checksum_of_what_is_in_it(
    tmp_path_factory: pytest.TempPathFactory,
    content: bytes,
    compress: Callable[[bytes], bytes],
    stream: StreamFormat,
) -> None:
    """It is the same capture as the plain one."""
    path = tmp_path_factory.getbasetemp() / "capture"
    path.write_bytes(compress(content))
    found = RecordedPass(path, content, stream)
    assert found.damage or found.end.offset == len(content)
    for place in found.places:
        assert RecordedPass(path, content, stream, place).end == found.end


@pytest.mark.long
@pytest.mark.skipif(not CORPUS, reason=f"no capture corpus at {SHARED}")
def test_public_captures_have_the_checksum_of_their_bytes(tmp_path: Path) -> None:
    """In every format, whole, and where they are cut."""
    assert len(CORPUS) > 500
    for path in CORPUS:
        packed = path.read_bytes()
        unpack = next((each for magic, each in DECOMPRESS.items() if packed.startswith(magic)), bytes)
        try:
            content = unpack(packed)
            with checksummed(path) as capture:
                native = capture.native
        except (CaptureError, OSError, EOFError, ValueError, lzma.LZMAError):
            continue
        for stream in (native, STREAMS[2]):
            if stream is not None:
                RecordedPass(path, content, stream)
                assert_goes_on(tmp_path / "capture", content, content[: len(content) * 2 // 3], stream)


def test_a_hole_that_a_reader_jumps_over_is_not_read_for_the_checksum(tmp_path: Path) -> None:
    """A block of gigabytes costs nothing; the capture is only not kept as known."""
    path = tmp_path / "capture"
    total = (1 << 32) - 4
    long_block = (0xBAD).to_bytes(4, "little") + total.to_bytes(4, "little")
    with path.open("wb") as file:
        file.write(section() + interface() + enhanced(1) + long_block)
        file.seek(total - 12, os.SEEK_CUR)
        file.write(total.to_bytes(4, "little") + enhanced(2))
    with checksummed(path) as capture:
        pieces = list(capture.pieces(STREAMS[0]))
        assert [each.totals.packets for each in pieces] == [1, 1]
        assert capture.place.offset == path.stat().st_size
        assert capture.place.crc32 is None


def test_a_capture_whose_first_packets_do_not_fit_keeps_the_checksum_of_its_beginning(tmp_path: Path) -> None:
    """It was read as a header alone; then packets of a link type came that the stream does not accept."""
    header = file_header(0xA1B2C3D4, "<")
    stream = StreamFormat(RAW_IP, nanosecond=False, rewrites=False)
    assert_goes_on(tmp_path / "capture", header + bytes(16), header, stream)
