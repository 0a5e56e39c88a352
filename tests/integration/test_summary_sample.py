"""The sample captures, read by other programs and by our own analyzer."""

import subprocess
from pathlib import Path

import pytest
from support.analysis import Collected
from support.cases import some_long
from support.programs import require_program

from pcapdj.runtime.errors import CannotCreate
from pcapdj.summary.analysis import Analysis
from pcapdj.summary.results import Ended, HttpObject, StreamSummary
from pcapdj.summary.sample import BODY_BYTES, EXPECTED_NAME, FILE_COUNT, write_sample
from pcapdj.summary.stream import HEADER_BYTES

SURICATA_CONFIG = Path("/etc/suricata/suricata.yaml")


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return the five sample captures."""
    return write_sample(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="session")
def expected(sample: list[Path]) -> str:
    """Return the download's digest as written beside the captures."""
    return (sample[0].parent / EXPECTED_NAME).read_text().split()[0]


@pytest.fixture(scope="session")
def merged(sample: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the five captures as one, made by mergecap."""
    path = tmp_path_factory.mktemp("merged") / "merged.pcap"
    run(require_program("mergecap"), "-a", "-F", "pcap", "-w", str(path), *map(str, sample))
    return path


def run(*command: str) -> str:
    """Return what a command prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def analyzed(*captures: Path) -> tuple[StreamSummary, list[HttpObject]]:
    """Return what our analyzer finds when these captures are one stream."""
    found = Collected()
    analysis = Analysis(found)
    for number, path in enumerate(captures):
        analysis.feed(path.read_bytes()[HEADER_BYTES if number else 0 :])
    return analysis.finish(Ended.CLEAN), found.objects


def suricata_objects(capture: Path, logdir: Path) -> dict[str, int]:
    """Return digest and size of every payload that Suricata extracts from a capture."""
    suricata = require_program("suricata")
    dump = run(suricata, "-c", str(SURICATA_CONFIG), "--dump-config")
    store = next(line.split(" = ")[0] for line in dump.splitlines() if line.endswith(" = file-store"))
    settings = [
        f"{store}.file-store.enabled=yes",
        f"{store}.file-store.force-filestore=yes",
        "stream.reassembly.depth=0",
        "app-layer.protocols.http.libhtp.default-config.response-body-limit=0",
    ]
    options = [word for setting in settings for word in ("--set", setting)]
    logdir.mkdir()
    config = ("-c", str(SURICATA_CONFIG), "-S", "/dev/null", "-l", str(logdir))
    run(suricata, *config, "-r", str(capture), "-k", "all", *options)
    stored = [path for path in (logdir / "filestore").rglob("*") if len(path.name) == 64]
    return {path.name: path.stat().st_size for path in stored}


@pytest.mark.long
def test_the_same_seed_gives_the_same_bytes(sample: list[Path], tmp_path: Path) -> None:
    """Every demo shows the same digest; another seed gives another one."""
    again = write_sample(tmp_path / "again")
    other = write_sample(tmp_path / "other", seed=2)

    assert [path.name for path in again] == [path.name for path in sample] == sorted(map(_name, again))
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in sample]
    assert (other[0].parent / EXPECTED_NAME).read_text() != (again[0].parent / EXPECTED_NAME).read_text()


def _name(path: Path) -> str:
    return path.name


def test_the_sample_is_five_files_of_three_to_four_megabytes(sample: list[Path]) -> None:
    """Small enough for a demo, large enough for several files."""
    assert len(sample) == FILE_COUNT
    assert 3_000_000 < sum(path.stat().st_size for path in sample) < 4_000_000


def test_a_folder_that_cannot_be_written_is_reported_in_one_sentence(tmp_path: Path) -> None:
    """Here a file has the folder's name."""
    (tmp_path / "file").touch()

    with pytest.raises(CannotCreate, match="file' is not a folder"):
        write_sample(tmp_path / "file")


def test_as_one_stream_the_download_is_complete(sample: list[Path], expected: str) -> None:
    """Our analyzer finds exactly one object, complete, with the right digest."""
    summary, (found,) = analyzed(*sample)

    assert (found.complete, found.sha256, found.size_bytes) == (True, expected, BODY_BYTES)
    assert (found.method, found.host, found.uri) == ("GET", "files.example", "/download.bin")
    assert (summary.undecodable_packets, summary.ended) == (0, Ended.CLEAN)


def test_file_by_file_the_download_is_incomplete(sample: list[Path], expected: str) -> None:
    """No single file has the object: this is the purpose of pcapdj."""
    objects = [each for path in sample for each in analyzed(path)[1]]

    assert [each.complete for each in objects] == [False]
    assert expected not in {each.sha256 for each in objects}


@pytest.mark.parametrize("missing", some_long(range(FILE_COUNT), quick=(0, FILE_COUNT - 1)))
def test_without_any_one_file_the_download_is_incomplete(sample: list[Path], missing: int) -> None:
    """Each of the five has a part of it."""
    _, objects = analyzed(*(path for number, path in enumerate(sample) if number != missing))

    assert not any(each.complete for each in objects)


def test_capinfos_accepts_the_files(sample: list[Path]) -> None:
    """As Ethernet, in time order, one after the other."""
    capinfos = require_program("capinfos")

    lines = run(capinfos, "-T", "-r", "-B", "-E", "-o", "-a", "-e", "-S", *map(str, sample)).splitlines()
    rows = [line.split("\t") for line in lines]
    times = [float(time) for row in rows for time in (row[2], row[3])]

    assert [row[1] for row in rows] == ["ether"] * FILE_COUNT
    assert [row[4] for row in rows] == ["True"] * FILE_COUNT
    assert times == sorted(times)


@pytest.mark.long
def test_tcpdump_and_tshark_count_the_same_packets(sample: list[Path], merged: Path) -> None:
    """As many as our analyzer."""
    summary, _ = analyzed(*sample)

    by_tcpdump = run(require_program("tcpdump"), "-nn", "-r", str(merged), "--count")
    by_tshark = run(require_program("tshark"), "-n", "-r", str(merged), "-T", "fields", "-e", "frame.number")

    assert by_tcpdump.split()[0] == str(summary.packets)
    assert len(by_tshark.split()) == summary.packets


def test_tshark_finds_no_wrong_checksum_and_no_malformed_packet(merged: Path) -> None:
    """With all checks of checksums on."""
    checks = [word for name in ("ip", "tcp", "udp") for word in ("-o", f"{name}.check_checksum:TRUE")]
    fault = "ip.checksum.status==0 or tcp.checksum.status==0 or udp.checksum.status==0 or _ws.malformed"

    assert run(require_program("tshark"), "-n", "-r", str(merged), *checks, "-Y", fault) == ""


@pytest.mark.long
def test_suricata_extracts_the_download_only_from_the_stream(
    sample: list[Path], merged: Path, expected: str, tmp_path: Path
) -> None:
    """With checksums checked; never from a single file."""
    require_program("suricata")

    whole = suricata_objects(merged, tmp_path / "whole")
    single = [suricata_objects(path, tmp_path / path.stem) for path in sample]

    assert whole == {expected: BODY_BYTES}
    assert not any(expected in objects for objects in single)


@pytest.mark.long
def test_tshark_counts_the_same_connections(sample: list[Path]) -> None:
    """The download and the mail session are two TCP flows."""
    found = Collected()
    analysis = Analysis(found)
    analysis.feed(sample[0].read_bytes())
    analysis.finish(Ended.CLEAN)

    streams = run(require_program("tshark"), "-n", "-r", str(sample[0]), "-T", "fields", "-e", "tcp.stream")

    assert set(streams.split()) == {"0", "1"}
    assert len([flow for flow in found.flows if flow.protocol == "tcp"]) == 2
