"""Public captures of the kinds that used to be misread, and what each must give."""

import os
from pathlib import Path

import pytest
from support.captures import ETHERNET, Record, delivered
from support.programs import missing

from pcapdj.capture.first_records import TEXT_MODE
from pcapdj.capture.opening import open_capture
from pcapdj.capture.pcap import MAX_CAPTURED_BYTES, StreamFormat
from pcapdj.runtime.errors import CaptureError

SHARED = Path(os.environ.get("PCAPDJ_SHARED", Path(__file__).parents[3] / "shared"))
CASES = SHARED / "cases" / "captures"


def case(name: str) -> bytes:
    """Return the path of a case file; without the folder the test is skipped, and fails in CI."""
    path = CASES / name
    if not path.is_file():
        missing(f"no case file {path}")
    return os.fsencode(path)


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


def test_records_beyond_a_wrong_snaplen_are_whole() -> None:
    """And the file is reported, once."""
    with open_capture(case("snaplen-68-records-1442.pcap"), refuse_written=False) as capture:
        records, damage = delivered(capture)

        assert damage is None
        assert [len(record.data) for record in records] == [1442] * 4
        assert capture.snaplen_message == "snaplen 68 is wrong: 4 packets are longer"


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
