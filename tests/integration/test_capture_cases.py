"""Public captures of the kinds that used to be misread, and what each must give."""

import os
import subprocess
from pathlib import Path

import pytest
from support.captures import ETHERNET, Record, classic, delivered, records_of
from support.forkserver import run
from support.programs import missing, require_program

from pcapdj.capture.first_records import TEXT_MODE
from pcapdj.capture.opening import open_capture
from pcapdj.capture.pcap import MAX_CAPTURED_BYTES, StreamFormat
from pcapdj.inbox.listing import list_captures
from pcapdj.runtime.errors import CaptureError

SHARED = Path(os.environ.get("PCAPDJ_SHARED", Path(__file__).parents[3] / "shared"))
CASES = SHARED / "cases" / "captures"


def case(name: str) -> bytes:
    """Return the path of a case file; without the folder the test is skipped, and fails in CI."""
    path = CASES / name
    if not path.is_file():
        missing(f"no case file {path}")
    return os.fsencode(path)


def schemes() -> list[tuple[str, list[str]]]:
    """Return each rotation scheme with its file names in the order of time; none without the file."""
    table = SHARED / "cases" / "order.tsv"
    lines = table.read_text(encoding="utf-8").splitlines() if table.is_file() else []
    return [(line.split("\t")[0], line.split("\t")[1:]) for line in lines]


@pytest.mark.parametrize(("scheme", "names"), schemes() or [("none", [])])
def test_each_rotation_scheme_is_fed_in_the_order_of_its_packets(
    scheme: str, names: list[str], tmp_path: Path
) -> None:
    """Whatever the names are; one packet each, a minute apart. `cat`, `run` and `import` list in this way."""
    if not names:
        missing(f"no table of {scheme} rotation schemes")
    for minute, name in enumerate(names):
        (tmp_path / name).write_bytes(classic([Record(seconds=60 * minute)]))

    listing = list_captures([os.fsencode(tmp_path)], recursive=False)

    assert [Path(os.fsdecode(each.name)).name for each in listing.files] == names


def records_and_damage(name: str) -> tuple[list[Record], CaptureError | None]:
    """Return what a stream of the file's own format gets, and what ended it."""
    with open_capture(case(name), refuse_written=False) as capture:
        return delivered(capture)


EDITCAP = "which is not a supported format: 'editcap -F pcap IN OUT' converts it"
DRAFT = (
    "pcapng version 256.0 is a draft of 2005 (.ntar) with a swapped version field: it is not supported,"
    " and editcap does not read it either"
)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("one.nokiapcap", f"is Nokia pcap, {EDITCAP}"),
        ("one.rh6_1pcap", f"is Red Hat 6.1 pcap, {EDITCAP}"),
        ("old-ntar-bigendian.ntar", DRAFT),
    ],
)
def test_a_refused_variant_is_named_with_its_remedy(name: str, reason: str) -> None:
    """Before any packet of it is delivered."""
    with pytest.raises(CaptureError) as caught:
        records_and_damage(name)

    assert caught.value.reason == reason


def test_a_text_mode_transfer_is_suspected() -> None:
    """The good record before the damage is delivered."""
    records, damage = records_and_damage("ftp-ascii-mode.pcap")

    assert len(records) == 1
    assert damage is not None
    assert damage.reason == (
        f"record header has 6684672 captured bytes, more than the maximum of 262144; {TEXT_MODE}"
    )


@pytest.mark.parametrize("name", ["empty-rawip.pcap", "empty-wifi.pcap"])
def test_a_file_without_packets_is_never_at_fault(name: str) -> None:
    """Not even in a stream of another link type."""
    with open_capture(case(name), refuse_written=False) as capture:
        assert list(capture.pieces(StreamFormat(ETHERNET, nanosecond=False))) == []


def test_rewriting_to_ethernet_keeps_lengths_that_tcpdump_reads() -> None:
    """262144 + 14 would be refused."""
    rewriting = StreamFormat(ETHERNET, nanosecond=False, rewrites=True)
    with open_capture(case("rawip-len-262144.pcap"), refuse_written=False) as capture:
        records, damage = delivered(capture, rewriting)

    assert damage is None
    assert [record.length for record in records] == [MAX_CAPTURED_BYTES]


def test_tcpdump_reads_what_cat_rewrites_to_ethernet(tmp_path: Path) -> None:
    """The record whose length on the wire was at the limit already."""
    out = tmp_path / "out.pcap"
    with out.open("wb") as stream:
        done = run(
            "pcapdj",
            "cat",
            "--on-linktype",
            "ethernet",
            os.fsdecode(case("rawip-len-262144.pcap")),
            stdout=stream,
        )
    assert (done.returncode, done.stderr) == (0, "")

    read = subprocess.run(
        [require_program("tcpdump"), "-nr", out], capture_output=True, text=True, check=True
    )

    assert len(read.stdout.splitlines()) == 1


def test_records_beyond_a_wrong_snaplen_are_whole() -> None:
    """And the file is reported, once."""
    with open_capture(case("snaplen-68-records-1442.pcap"), refuse_written=False) as capture:
        records, damage = delivered(capture)

        assert damage is None
        assert [len(record.data) for record in records] == [1442] * 4
        assert capture.snaplen == 68


def test_a_file_that_begins_with_usb_packets_is_read_as_what_most_of_its_packets_are() -> None:
    """As the first file of a stream, and in an Ethernet stream."""
    with open_capture(case("usb-first-then-ethernet.pcapng"), refuse_written=False) as capture:
        records, damage = delivered(capture, StreamFormat(ETHERNET, nanosecond=False))

        assert damage is None
        assert len(records) == 6
        assert sum(capture.skipped.values()) == 3
        assert capture.native is not None
        assert capture.native.linktype == ETHERNET


def test_simple_packets_have_the_time_0() -> None:
    """Their blocks have none."""
    records, damage = records_and_damage("simple-blocks.pcapng")

    assert damage is None
    assert {(record.seconds, record.fraction) for record in records} == {(0, 0)}


LIBPCAP = "has times after 2038-01-19, which programs built on libpcap read as negative"
WRAPPED = "from before 1970 or after 2106, which a pcap record cannot hold: the times wrapped"
SKIPPED = "packets skipped because of their link type"


@pytest.mark.parametrize(
    ("name", "sentences", "packets", "exit_code"),
    [
        ("ethernet-first-then-cooked.pcapng", [f"{SKIPPED}: 2 of Linux cooked (113)"], 23, 1),
        ("usb-first-then-ethernet.pcapng", [f"{SKIPPED}: 3 of Linux USB, padded header (220)"], 6, 1),
        ("empty-rawip.pcap", [], 0, 0),
        ("empty-wifi.pcap", [], 0, 0),
        ("snaplen-68-records-1442.pcap", ["snaplen 68 is wrong: 4 packets are longer"], 4, 0),
        ("time-after-2106.pcapng", [f"1 packet is {WRAPPED}"], 1, 1),
        ("y2106.pcapng", [f"4 packets are {WRAPPED}", LIBPCAP], 6, 1),
        ("y2038.pcap", [LIBPCAP], 6, 0),
        ("times-after-2038.pcapng", ["1 step back in time, 1,538,646,470.97691207 s", LIBPCAP], 41, 0),
        ("clockstep-inside.pcap", ["1 step back in time, 86,399 s"], 6, 0),
        ("simple-blocks.pcapng", [], 2, 0),
    ],
)
def test_cat_writes_each_case_and_reports_what_is_unusual(
    name: str, sentences: list[str], packets: int, exit_code: int, tmp_path: Path
) -> None:
    """After an Ethernet capture; 1 where the output lacks a packet or the upper part of a time."""
    ethernet = tmp_path / "ethernet.pcap"
    ethernet.write_bytes(classic([Record(0, 0)]))
    with (tmp_path / "out.pcap").open("wb") as out:
        done = run("pcapdj", "cat", ethernet, os.fsdecode(case(name)), stdout=out)

    lines = [line.split(": ", 2)[2] for line in done.stderr.splitlines()]
    lines = [line for line in lines if "the end of the previous file" not in line]  # the other one is of 1970
    expected = [f"{sentence}." for sentence in sentences]
    if expected:
        written = f"{packets} packet{'' if packets == 1 else 's'} written"
        expected[-1] = f"{expected[-1][:-1]}; {written}."
    assert (lines, done.returncode) == (expected, exit_code)
    assert len(records_of((tmp_path / "out.pcap").read_bytes()[24:])) == 1 + packets


def test_a_file_that_begins_with_usb_packets_gives_an_ethernet_stream_when_it_is_the_first(
    tmp_path: Path,
) -> None:
    """Of its six Ethernet packets; the three others are reported."""
    with (tmp_path / "out.pcap").open("wb") as out:
        done = run("pcapdj", "cat", os.fsdecode(case("usb-first-then-ethernet.pcapng")), stdout=out)

    stream = (tmp_path / "out.pcap").read_bytes()
    assert int.from_bytes(stream[20:24], "little") == ETHERNET
    assert len(records_of(stream[24:])) == 6
    assert done.returncode == 1
    assert f"{SKIPPED}: 3 of Linux USB, padded header (220); 6 packets written." in done.stderr
