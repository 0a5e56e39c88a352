"""Our streams and conversions, compared with those of the programs of Wireshark and tcpdump."""

import os
import subprocess
from pathlib import Path

import pytest
from support.captures import Record, as_read, classic, delivered, records_of
from support.programs import require_program

from pcapdj.capture.concatenate import concatenate
from pcapdj.capture.opening import open_capture
from pcapdj.capture.pcap import StreamFormat
from pcapdj.runtime.errors import CaptureError

ETHERNET_US = StreamFormat(1, nanosecond=False)
PACKETS = [Record(1_700_000_000 + i, i * 37 % 1_000_000, os.urandom(14 + i % 900)) for i in range(500)]


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """Return a classic capture of 500 packets."""
    path = tmp_path / "original.pcap"
    path.write_bytes(classic(PACKETS))
    return path


def read(path: Path) -> tuple[list[Record], CaptureError | None]:
    """Return a file's records, and its fault."""
    try:
        with open_capture(os.fsencode(path)) as capture:
            return delivered(capture)
    except CaptureError as refused:
        return [], refused


def run(*command: str) -> str:
    """Run a program that must succeed; return what it prints."""
    return subprocess.run(
        [require_program(command[0]), *command[1:]], check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.parametrize("format_name", ["pcap", "nsecpcap", "modpcap", "pcapng"])
def test_captures_written_by_editcap_are_read(original: Path, format_name: str) -> None:
    """In all formats that we support and editcap writes."""
    converted = original.with_name(f"converted.{format_name}")
    run("editcap", "-F", format_name, str(original), str(converted))

    with open_capture(os.fsencode(converted)) as capture:
        assert delivered(capture, ETHERNET_US) == (as_read(PACKETS), None)


@pytest.mark.parametrize("format_name", ["snoop", "netmon2", "ngsniffer", "k12text", "nokiapcap"])
def test_other_formats_written_by_editcap_are_refused(original: Path, format_name: str) -> None:
    """Nokia's variant has the magic of pcap: reading stops at its first records, as in libpcap."""
    converted = original.with_name("converted")
    run("editcap", "-F", format_name, str(original), str(converted))

    found, damage = read(converted)

    assert damage is not None
    assert len(found) < 3


@pytest.mark.parametrize(
    "program", [["gzip", "-k"], ["bzip2", "-k"], ["xz", "-k"], ["zstd", "-q"], ["zstd", "-q", "--rsyncable"]]
)
def test_files_of_the_compression_programs_are_decompressed(original: Path, program: list[str]) -> None:
    """With the checksums, block sizes and frames of the real programs."""
    run(*program, str(original))
    [compressed] = [path for path in original.parent.iterdir() if path != original]
    name = compressed.rename(compressed.with_name("no-suffix"))

    with open_capture(os.fsencode(name)) as capture:
        assert delivered(capture) == (as_read(PACKETS), None)


def test_the_stream_equals_that_of_mergecap(original: Path, tmp_path: Path) -> None:
    """Record for record, compared with `mergecap -a -F pcap` of the same files."""
    ng, merged = tmp_path / "a.pcapng", tmp_path / "merged.pcap"
    run("editcap", "-F", "pcapng", str(original), str(ng))
    run("mergecap", "-a", "-F", "pcap", "-w", str(merged), str(original), str(ng))

    with (tmp_path / "ours.pcap").open("wb") as out:
        names = [os.fsencode(original), os.fsencode(ng)]
        assert concatenate(names, out.fileno(), precision=None, report=lambda *_: None)

    ours = (tmp_path / "ours.pcap").read_bytes()
    assert records_of(ours[24:]) == records_of(merged.read_bytes()[24:])


def test_tcpdump_reads_the_stream_to_its_end(original: Path, tmp_path: Path) -> None:
    """Also if damaged and unsupported files are among the good ones."""
    cut_off, text = tmp_path / "torn.pcap", tmp_path / "text"
    cut_off.write_bytes(original.read_bytes()[:-3])
    text.write_bytes(b"no capture")

    with (tmp_path / "ours.pcap").open("wb") as out:
        names = [os.fsencode(name) for name in (original, cut_off, text, original)]
        assert not concatenate(names, out.fileno(), precision="ns", report=lambda *_: None)

    assert run("tcpdump", "-n", "--count", "-r", str(tmp_path / "ours.pcap")).split()[0] == "1499"
