"""Opening a capture file: its format, its pieces, and what is refused."""

import bz2
import gzip
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.captures import (
    MODIFIED,
    NANO,
    RAW_IP,
    Record,
    as_read,
    block,
    classic,
    delivered,
    enhanced,
    file_header,
    interface,
    option,
    record,
    records_of,
    section,
)
from support.descriptors import open_descriptors

from pcapdj.capture.anomalies import Anomaly, anomalies_of
from pcapdj.capture.decompress import STEP_BYTES
from pcapdj.capture.opening import StillWritten, first_packet_time_ns, open_capture
from pcapdj.capture.pcap import StreamFormat, Totals
from pcapdj.capture.reader import PIECE_BYTES, Piece
from pcapdj.runtime.errors import CaptureError, Stopped

pytestmark = pytest.mark.usefixtures("both_forms")

ETHERNET_US, ETHERNET_NS = StreamFormat(1, nanosecond=False), StreamFormat(1, nanosecond=True)
PACKETS = [Record(1, 2, b"abc"), Record(3, 4, b"defg", 99), Record(5, 6, b"")]
MANY = [Record(i, i, bytes(i % 1500)) for i in range(3000)]
REWRITING = StreamFormat(1, nanosecond=False, rewrites=True)
# every hundredth packet is not IP
MANY_RAW = [Record(i, i, (b"\x45" if i % 100 else b"\x50") + bytes(i % 1500)) for i in range(3000)]

Write = Callable[[bytes], bytes]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a capture and returns its name."""

    def to_file(content: bytes) -> bytes:
        path = tmp_path / "some.capture"
        path.write_bytes(content)
        return os.fsencode(path)

    return to_file


def refused(name: bytes) -> str:
    """Return why a capture is refused on opening."""
    with pytest.raises(CaptureError) as caught:
        open_capture(name)
    return caught.value.reason


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (classic(PACKETS), "pcap, little endian"),
        (classic(PACKETS, order=">"), "pcap, big endian"),
        (gzip.compress(classic(PACKETS)), "pcap, little endian, gzip"),
        (bz2.compress(section() + interface() + enhanced(1)), "pcapng, bzip2"),
    ],
    ids=["little", "big", "gzip", "bzip2"],
)
def test_a_capture_is_identified_by_its_content(write: Write, content: bytes, name: str) -> None:
    """Also inside a compressed file."""
    with open_capture(write(content)) as capture:
        assert capture.format_name == name


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"hello", "not a supported capture format"),
        (file_header()[:10], "10 of 24"),
        (b"snoop\x00\x00\x00" + bytes(20), "is snoop"),
        (gzip.compress(gzip.compress(classic(PACKETS))), "compressed twice: gzip inside another"),
        (gzip.compress(b"text"), "not a supported capture format"),
        (gzip.compress(b""), "an empty gzip file"),
        (gzip.compress(classic(PACKETS))[:12], "cut off"),
        (section() + b"\x01\x00\x00\x00\x08\x00\x00\x00" + bytes(8), "invalid length"),
    ],
    ids=[
        "empty",
        "text",
        "half header",
        "snoop",
        "compressed twice",
        "compressed text",
        "compressed nothing",
        "cut off",
        "damage",
    ],
)
def test_a_file_that_is_not_a_capture_is_refused_with_a_reason(
    write: Write, content: bytes, reason: str
) -> None:
    """When it is opened, before any piece."""
    assert reason in refused(write(content))


def test_a_file_that_is_open_for_writing_is_refused_unless_that_is_allowed(write: Write) -> None:
    """`pcapdj cat` reads it up to its present size."""
    name = write(classic(PACKETS))
    with Path(os.fsdecode(name)).open("ab"):
        with pytest.raises(StillWritten):
            open_capture(name)
        with open_capture(name, refuse_written=False) as capture:
            assert delivered(capture) == (as_read(PACKETS), None)


def test_a_file_in_the_format_of_the_stream_is_read_as_it_is(write: Write) -> None:
    """Piece by piece, each of which fits into a batch; the position of the descriptor stays at 0."""
    with open_capture(write(classic(MANY))) as capture:
        pieces = list(capture.pieces(ETHERNET_US))

        assert capture.native == ETHERNET_US
        assert ETHERNET_US.takes_unchanged(capture.native)
        assert b"".join(bytes(piece.data) for piece in pieces) == classic(MANY)[24:]
        assert pieces[-1].source_end == capture.identity.size_bytes
        assert len(pieces) > 1
        assert os.lseek(capture.fd, 0, os.SEEK_CUR) == 0
        assert delivered(capture) == (as_read(MANY), None)


@pytest.mark.parametrize(
    "content",
    [
        classic(MANY, order=">"),
        gzip.compress(classic(MANY), 1),
        gzip.compress(classic(MANY[:50]), 1) + gzip.compress(b"".join(map(record, MANY[50:])), 1),
        section()
        + interface()
        + b"".join(enhanced(r.seconds * 1_000_000 + r.fraction, r.data) for r in MANY),
        file_header(MODIFIED) + b"".join(record(r, extra=bytes(8)) for r in MANY),
        file_header(version=(2, 2)) + b"".join(record(r, swapped=True) for r in MANY),
    ],
    ids=["big endian", "gzip", "two gzips", "pcapng", "modified", "version 2.2"],
)
def test_all_other_formats_are_converted_window_by_window(write: Write, content: bytes) -> None:
    """The same records, and the same pieces on every run."""
    with open_capture(write(content)) as capture:
        pieces = list(capture.pieces(ETHERNET_US))

        assert pieces
        assert all(len(piece.data) <= PIECE_BYTES for piece in pieces)
        assert pieces == list(capture.pieces(ETHERNET_US))
        assert delivered(capture) == (as_read(MANY), None)


THREE_SECTIONS = b"".join(
    section(order)
    + interface(order=order)
    + enhanced(n, bytes(9), 0, order)
    + block(0xBAD, bytes(300_000), order)
    + interface(RAW_IP, order=order)
    + enhanced(n, b"raw", 1, order) * 20
    + enhanced(n, bytes(900), 0, order) * 300
    for n, order in enumerate("<><")
)


@pytest.mark.parametrize(
    "content",
    [classic(MANY), classic(MANY, order=">"), gzip.compress(classic(MANY), 1), THREE_SECTIONS],
    ids=["pcap", "big endian", "gzip", "pcapng with three sections"],
)
def test_reading_goes_on_at_the_place_behind_each_piece(write: Write, content: bytes) -> None:
    """As another process does it: the same pieces follow, with the same counts."""
    name = write(content)
    with open_capture(name) as capture:
        pieces = list(capture.pieces(ETHERNET_US))
        assert len(pieces) > 2
        for number, piece in enumerate(pieces, 1):
            with open_capture(name) as other:
                assert list(other.pieces(ETHERNET_US, piece.after)) == pieces[number:]
                assert other.skipped == capture.skipped


def test_timestamps_get_the_resolution_of_the_stream(write: Write) -> None:
    """Microseconds become nanoseconds, and nanoseconds microseconds."""
    with open_capture(write(classic([Record(1, 5)]))) as capture:
        assert delivered(capture, ETHERNET_NS)[0] == as_read([Record(1, 5000)])
    with open_capture(write(classic([Record(1, 5999)], NANO))) as capture:
        assert capture.native == ETHERNET_NS
        assert delivered(capture, ETHERNET_US)[0] == as_read([Record(1, 5)])


def test_another_link_type_is_refused_before_any_piece(write: Write) -> None:
    """The reason names both link types."""
    with (
        open_capture(write(classic(PACKETS, linktype=RAW_IP))) as capture,
        pytest.raises(CaptureError, match=r"raw IP.*Ethernet"),
    ):
        next(capture.pieces(ETHERNET_US))


def test_a_stream_with_rewriting_leaves_ethernet_files_as_they_are(write: Write) -> None:
    """The pieces are those of a stream without rewriting."""
    with open_capture(write(classic(MANY))) as capture:
        assert list(capture.pieces(REWRITING)) == list(capture.pieces(ETHERNET_US))


@pytest.mark.parametrize(
    "content",
    [
        classic(MANY_RAW, linktype=RAW_IP),
        section()
        + interface(RAW_IP)
        + b"".join(enhanced(r.seconds * 1_000_000 + r.fraction, r.data) for r in MANY_RAW),
    ],
    ids=["pcap", "pcapng"],
)
def test_rewritten_pieces_are_the_same_on_every_run(write: Write, content: bytes) -> None:
    """Each run counts the skipped packets from 0."""
    with open_capture(write(content)) as capture:
        for _ in range(2):
            pieces = list(capture.pieces(REWRITING))
            assert len(pieces) > 1
            assert capture.skipped == {RAW_IP: 30}
            assert [each.sentence for each in anomalies_of(Totals(), capture)] == [
                "packets skipped because they cannot be rewritten to Ethernet: 30 of raw IP (101)"
            ]

        assert pieces == list(capture.pieces(REWRITING))
        found, damage = delivered(capture, REWRITING)
        good = [each for each in MANY_RAW if each.data[0] >> 4 == 4]
        header = bytes(12) + b"\x08\x00"
        assert (found, damage) == (
            as_read([Record(r.seconds, r.fraction, header + r.data) for r in good]),
            None,
        )


def test_only_rewritable_link_types_go_into_an_ethernet_stream(write: Write) -> None:
    """802.11 is always refused, all other link types without rewriting."""
    for linktype, stream in ((105, REWRITING), (RAW_IP, ETHERNET_US)):
        with (
            open_capture(write(classic(PACKETS, linktype=linktype))) as capture,
            pytest.raises(CaptureError, match="but the stream is Ethernet"),
        ):
            next(capture.pieces(stream))


def test_a_file_gives_every_packet_that_fits(write: Write) -> None:
    """Whatever its first packet is; if none fits, it fails and names the link type of most of its packets."""
    start = section() + interface(105) + interface() + interface(RAW_IP)
    usual = start + enhanced(1) * 3 + enhanced(1, b"fits", 1)
    other = start + enhanced(1, number=2) + enhanced(1) * 3

    with open_capture(write(usual)) as capture:
        assert delivered(capture, ETHERNET_US) == (as_read([Record(0, 1, b"fits")]), None)
        assert capture.skipped == {105: 3}
    with (
        open_capture(write(other)) as capture,
        pytest.raises(CaptureError, match=r"802\.11 \(105\), but the stream is Ethernet"),
    ):
        next(capture.pieces(ETHERNET_US))


def test_a_file_with_only_skipped_packets_gives_no_piece(write: Write) -> None:
    """It is not damaged: it was read to its end."""
    with open_capture(write(classic([Record(1, 1, b"\x50")] * 3, linktype=RAW_IP))) as capture:
        assert list(capture.pieces(REWRITING)) == []
        assert capture.skipped == {RAW_IP: 3}


def test_a_capture_without_packets_gives_no_piece(write: Write) -> None:
    """It is valid; without an interface it has no link type."""
    with open_capture(write(file_header())) as capture:
        assert (capture.native, delivered(capture)) == (ETHERNET_US, ([], None))
    with open_capture(write(section() + interface(RAW_IP))) as capture:
        assert (capture.native, delivered(capture)) == (StreamFormat(RAW_IP, nanosecond=False), ([], None))
    with open_capture(write(section())) as capture:
        assert capture.native is None
        assert list(capture.pieces(ETHERNET_US)) == []


@pytest.mark.parametrize("compressed", [False, True])
def test_good_records_before_damage_are_delivered(write: Write, compressed: bool) -> None:  # noqa: FBT001 - a case
    """Then the reason is raised, with the offset in the uncompressed capture."""
    content = classic(MANY) + b"\xff" * 100

    with open_capture(write(gzip.compress(content, 1) if compressed else content)) as capture:
        found, damage = delivered(capture)

    assert found == as_read(MANY)
    assert damage is not None
    assert damage.offset == len(content) - 100
    assert "4294967295 captured bytes" in str(damage)


@pytest.mark.parametrize("cut", [1, 8, 100_000])
def test_a_compressed_file_that_is_cut_off_delivers_all_that_it_holds(write: Write, cut: int) -> None:
    """The only reason reported is the cut-off compression, not the cut-off capture inside."""
    packets = [Record(i, i, os.urandom(900)) for i in range(1000)]
    compressed = gzip.compress(classic(packets), 1)

    with open_capture(write(compressed[:-cut])) as capture:
        found, damage = delivered(capture)

    assert damage is not None
    assert damage.reason == "compressed data is cut off"
    assert found == as_read(packets)[: len(found)]
    assert len(found) * 916 > len(compressed) - cut - 40_000 - 100_000 * (cut > 8)


class StopAtLook:
    """Sees a stop signal when it is asked for the nth time."""

    def __init__(self, number: int) -> None:
        self.left = number

    def wait(self, timeout_s: float, *_readable: object, stops: int = 1, waiting_for: str = "") -> None:
        """Raise from then on; it only looks."""
        assert (timeout_s, stops, waiting_for) == (0, 1, "")
        self.left -= 1
        if self.left <= 0:
            raise Stopped("A stop signal arrived.")


def without_fitting() -> bytes:
    """Return a capture without a packet of an Ethernet stream."""
    return section() + interface(RAW_IP) + enhanced(1, bytes(60_000)) * 80


WITHOUT_PACKETS: dict[str, Callable[[], bytes]] = {
    "other link types": without_fitting,
    "the same in gzip": lambda: gzip.compress(without_fitting(), 1),
    "padding": lambda: gzip.compress(classic(PACKETS)) + bytes(1 << 21),
    "blocks without packets": lambda: section() + interface() + block(0xBAD, bytes(1 << 16)) * 80,
    "a long block in gzip": lambda: gzip.compress(section() + interface() + block(0xBAD, bytes(6 << 20)), 1),
}


@pytest.mark.parametrize("content", WITHOUT_PACKETS)
def test_a_stop_signal_ends_reading_where_no_packet_comes(write: Write, content: str) -> None:
    """It is looked for at least once per MiB, wherever reading is."""
    name = write(WITHOUT_PACKETS[content]())
    for look in range(1, 7):
        with pytest.raises(Stopped), open_capture(name, stops=StopAtLook(look)) as capture:
            list(capture.pieces(ETHERNET_US))


def test_a_stop_signal_ends_the_second_try_of_a_damaged_archive(write: Write) -> None:
    """It decompresses all in small steps, and gives nothing until it is where the first try ended."""
    compressed = bytearray(gzip.compress(section() + block(0xBAD, os.urandom(3 << 20)), 1))
    compressed[-100:] = b"\xff" * 100
    stops = StopAtLook(1 << 30)

    with pytest.raises(CaptureError), open_capture(write(bytes(compressed)), stops=stops) as capture:
        list(capture.pieces(ETHERNET_US))

    assert (1 << 30) - stops.left > (3 << 20) // STEP_BYTES


def test_packets_beyond_the_snaplen_are_whole(write: Write) -> None:
    """They are sent like all others; the message has their number."""
    packets = [Record(1, 1, b"1234"), Record(2, 2, b"12345678"), Record(3, 3, b"1")]

    with open_capture(write(file_header(snaplen=4) + b"".join(map(record, packets)))) as capture:
        pieces = list(capture.pieces(ETHERNET_US))
        assert delivered(capture) == (as_read(packets), None)

        assert anomalies_of(pieces[0].totals, capture) == [
            Anomaly("snaplen_wrong", "snaplen 4 is wrong: 1 packet is longer")
        ]


def test_skipped_packets_are_counted_by_link_type(write: Write) -> None:
    """Each run counts from 0."""
    content = section() + interface() + interface(RAW_IP) + enhanced(1) + enhanced(2, number=1)

    with open_capture(write(content)) as capture:
        for _ in range(2):
            assert delivered(capture) == (as_read([Record(0, 1)]), None)
            assert capture.skipped == {RAW_IP: 1}


def test_timestamps_beyond_a_classic_record_wrap(write: Write) -> None:
    """After 2106 the seconds need more than 32 bits."""
    with open_capture(write(section() + interface() + enhanced((1 << 32) * 1_000_000))) as capture:
        found, _ = delivered(capture)

        assert found[0].seconds == 0


def test_the_time_of_the_first_packet_is_in_nanoseconds(write: Write) -> None:
    """Whatever the resolution of the file; None without a good packet."""
    fine = interface(options=option(9, b"\x09"))

    with open_capture(write(classic([Record(7, 8)]))) as capture:
        assert first_packet_time_ns(capture) == 7_000_008_000
    with open_capture(write(section() + fine + enhanced(7_000_000_008))) as capture:
        assert first_packet_time_ns(capture) == 7_000_000_008
    for nothing in (file_header(), section(), file_header() + b"\xff" * 40):
        with open_capture(write(nothing)) as capture:
            assert first_packet_time_ns(capture) is None


@pytest.mark.parametrize(
    "padding", [0, 1 << 14, 1 << 20], ids=["at the start", "beyond 16 KiB", "in the next window"]
)
def test_the_time_of_the_first_packet_is_found_wherever_it_is(write: Write, padding: int) -> None:
    """A long first packet, or a long block before it, is read completely."""
    records = classic([Record(7, 8, b"x" * min(padding, 200_000)), *[Record(9, 9)] * 2000])
    unknown_block = block(0xBAD, b"x" * padding)
    blocks = section() + interface() + unknown_block + enhanced(7_000_008) + enhanced(9_000_000) * 2000

    for content in (records, blocks):
        with open_capture(write(content)) as capture:
            assert first_packet_time_ns(capture) == 7_000_008_000


def test_a_change_of_the_file_is_noticed(write: Write) -> None:
    """Of its size, or only of its modification time."""
    name = write(classic(PACKETS))
    with open_capture(name) as capture:
        assert capture.change_since_opened() is None
        os.utime(name, ns=(0, 0))
        assert str(capture.change_since_opened()) == "changed while it was read"
        with Path(os.fsdecode(name)).open("ab") as grown:
            grown.write(b"more")
        assert "became" in str(capture.change_since_opened())


def test_a_file_that_grows_is_read_up_to_its_size_when_opened(write: Write) -> None:
    """Later records are not read, and the change is reported."""
    content, more = classic(PACKETS), record(PACKETS[0])
    name = write(content)
    with open_capture(name) as capture:
        with Path(os.fsdecode(name)).open("ab") as grown:
            grown.write(more)

        found, damage = delivered(capture)

    assert found == as_read(PACKETS)
    sizes = f"{len(content)} bytes became {len(content + more)}"
    assert str(damage) == f"changed while it was read: {sizes}"


def test_a_file_that_shrinks_gives_its_last_whole_record(write: Write) -> None:
    """It became shorter between two windows, inside a record."""
    name = write(classic(MANY))
    with open_capture(name) as capture:
        pieces = capture.pieces(ETHERNET_US)
        first = next(pieces)
        os.truncate(name, first.source_end + 5000)

        rest: list[Piece] = []
        with pytest.raises(CaptureError, match="changed while it was read"):
            rest += pieces

        found = records_of(b"".join(bytes(piece.data) for piece in [first, *rest]))
        assert found == as_read(MANY)[: len(found)]
        assert sum(16 + len(each.data) for each in found) > len(first.data) + 3000


def test_closing_twice_does_nothing(write: Write) -> None:
    """The number of the descriptor may already be that of another file."""
    capture = open_capture(write(classic(PACKETS)))

    capture.close()
    capture.close()

    assert capture.fd == -1


def test_files_outside_of_the_root_are_refused(write: Write, tmp_path: Path) -> None:
    """Files below it are opened."""
    name = write(classic(PACKETS))

    open_capture(name, root=os.fsencode(tmp_path)).close()
    with pytest.raises(CaptureError, match="outside"):
        open_capture(name, root=b"/usr")


def test_a_damaged_compressed_file_delivers_almost_all_data_before_the_damage(write: Write) -> None:
    """The large step that fails is repeated in small ones."""
    records = [Record(seconds, data=os.urandom(500).hex().encode()) for seconds in range(3000)]
    compressed = bytearray(gzip.compress(classic(records), 1))
    compressed[-8] ^= 1  # the checksum: found wrong with the last bytes

    with open_capture(write(bytes(compressed))) as capture:
        found, damage = delivered(capture)

    assert damage is not None
    assert "damaged" in damage.reason
    assert found == as_read(records)[: len(found)]
    assert len(found) >= 3000 - 17


def test_closing_stops_decompression_in_advance(write: Write) -> None:
    """No thread reads a descriptor whose number may already be that of another file."""
    before = threading.active_count()
    capture = open_capture(write(gzip.compress(classic(MANY), 1)))
    pieces = capture.pieces(ETHERNET_US)
    next(pieces)
    next(pieces)

    capture.close()

    assert threading.active_count() == before


def test_refused_captures_leave_no_descriptor_open(tmp_path: Path) -> None:
    """200 of all kinds: refused by name, by state, by format, and for damage found while opening."""
    contents = {
        "empty": b"",
        "text": b"hello",
        "half header": file_header()[:10],
        "version": file_header(version=(3, 0)),
        "snoop": b"snoop\x00\x00\x00" + bytes(20),
        "compressed twice": gzip.compress(gzip.compress(classic(PACKETS))),
        "compressed text": bz2.compress(b"text"),
        "cut off": gzip.compress(classic(PACKETS))[:12],
        "damaged": gzip.compress(classic(PACKETS))[:10] + b"\xff" * 40,
        "pcapng": section() + b"\x01\x00\x00\x00\x08\x00\x00\x00" + bytes(8),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "growing").write_bytes(classic(PACKETS))
    outside = [b"/etc/passwd", os.fsencode(tmp_path / "missing" / "file")]
    names = [*map(os.fsencode, sorted(tmp_path.iterdir())), *outside]
    before = open_descriptors()

    with (tmp_path / "growing").open("ab"):
        for number in range(200):
            with pytest.raises(CaptureError):
                open_capture(names[number % len(names)], root=os.fsencode(tmp_path))

    assert not open_descriptors() - before


TWO_OPENINGS = """
import resource, sys
from pcapdj.capture.opening import open_capture
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    open_capture(sys.argv[1].encode()).close()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_the_first_capture_costs_no_more_memory_than_the_next(write: Write) -> None:
    """What the C library shall keep is allocated and freed once, and none of its 2048 pages is written.

    In a new process: where a large block was freed before, the C library takes and clears that.
    """
    command = [sys.executable, "-c", TWO_OPENINGS, os.fsdecode(write(classic(PACKETS)))]
    first, second = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()

    assert int(first) < int(second) + 500
