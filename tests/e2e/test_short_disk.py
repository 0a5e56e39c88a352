"""An output disk that is much smaller than the output: Suricata loses no record while somebody makes room."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from support import forkserver
from support.captures import Record, classic
from support.forkserver import DEVNULL, PIPE
from support.mounts import MemoryMount, memory_mount
from support.service_rig import Service, environment
from support.short_disk import flow_captures, missing_flows, shipping
from support.waiting import scaled, wait_until

pytestmark = [pytest.mark.timeout(300), pytest.mark.long]

FILES, PACKETS = 40, 7_800
MIN_FREE_BYTES: Final = 48 << 20
# What Suricata writes within a quarter of a second, at the end of its input the most, is below suspend-free.
LIMITS: Final = {"min-free": "48MiB", "suspend-free": "32MiB", "resume-after": "0", "min-free-inodes": "0"}
COMMAND: Final = "suricata -S /dev/null -k none -r {pipe} -l {logdir}"
EVERY_S: Final = 2.0  # Suricata fills the disk in less
LIMIT_S: Final = 200.0


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return captures with 312,000 flows of one packet each: 135 MB of records."""
    return flow_captures(tmp_path_factory.mktemp("flows") / "captures", FILES, PACKETS)


@pytest.fixture
def disk(short_path: Path) -> Iterator[MemoryMount]:
    """Return a disk of 96 MB."""
    with memory_mount(short_path, "96m") as mount:
        yield mount


def variable_of(option: str) -> str:
    """Return the environment variable of an option of the controller."""
    return f"PCAPDJ_{option.upper().replace('-', '_')}"


def complaints(*folders: Path) -> list[str]:
    """Return the names of files below the folders in which somebody reports a full disk."""
    logs = [path for folder in folders for path in folder.glob("**/*") if path.is_file()]
    assert {"suricata.log", "analyzer.log"} <= {path.name for path in logs}
    return [str(path) for path in logs if is_complaint(path.read_text(errors="replace"))]


def is_complaint(text: str) -> bool:
    """Report whether somebody reports a full disk in this text, by its name or by its number."""
    return any(words in text for words in ("No space left", "ENOSPC", "errno 28", "Errno 28"))


def test_a_run_loses_no_record(
    short_path: Path, suricata: str, captures: list[Path], disk: MemoryMount
) -> None:
    """The disk never reaches its end, not even while Suricata writes the flows that are open at the end."""
    assert suricata
    (short_path / "tmp").mkdir()
    options = [word for name, value in LIMITS.items() for word in (f"--{name}", value)]
    with (
        shipping(disk.folder, short_path / "shipped", EVERY_S, MIN_FREE_BYTES) as shipper,
        forkserver.start(
            *("pcapdj", "run", str(captures[0].parent), "--logdir", str(disk.folder / "out")),
            *("--watch", str(disk.folder), *options, "--", *COMMAND.split()),
            cwd=short_path,
            env=environment(TMPDIR=str(short_path / "tmp")),
            forks=True,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            text=True,
        ) as process,
    ):
        stdout, stderr = process.communicate(LIMIT_S)

    assert process.wait() == 0, stdout + stderr
    assert missing_flows(short_path / "shipped", FILES * PACKETS) == set()
    assert 0 < shipper.lowest_free_bytes < MIN_FREE_BYTES
    assert complaints(disk.folder) == []
    assert not is_complaint(stdout + stderr)


def test_the_service_loses_no_record(
    short_path: Path, suricata: str, captures: list[Path], disk: MemoryMount
) -> None:
    """The same with supervisord, an inbox, and `pcapdj finish` at the end."""
    assert suricata
    service = Service(short_path)
    variables: dict[str, Any] = {variable_of(name): value for name, value in LIMITS.items()}
    variables |= {"PCAPDJ_WATCH": str(disk.folder), "PCAPDJ_LOGDIR": str(disk.folder / "out")}
    try:
        with shipping(disk.folder, short_path / "shipped", EVERY_S, MIN_FREE_BYTES) as shipper:
            service.start(has_analyzer=False, PCAPDJ_CONSUMER_COMMAND=COMMAND, **variables)
            for capture in captures:
                os.link(capture, service.folder / "inbox" / capture.name)
            wait_until(lambda: service.snapshot()["processed"] == FILES, "all files to be fed", LIMIT_S)
            service.pcapdj("finish")
            wait_until(lambda: is_idle(service), "the analyzer to end", LIMIT_S)
            suspects = service.snapshot()["suspects"]
    finally:
        service.stop()

    assert missing_flows(short_path / "shipped", FILES * PACKETS) == set()
    assert 0 < shipper.lowest_free_bytes < MIN_FREE_BYTES
    assert suspects == {}
    assert "gate_hold" in service.log_of("controller")
    assert complaints(disk.folder, service.folder / "var/log") == []


def is_idle(service: Service) -> bool:
    """Report whether the stream has ended."""
    return bool((service.snapshot()["consumer"] or {}).get("state") == "idle")


# Writes what it reads ten times, 200 MB a second, and ignores errors, as Suricata does. `fastest` gets
# the largest rate: as fast as the memory after a pause, since it then catches up.
WRITING = """
import contextlib, sys, time
with open(sys.argv[1], "rb", 0) as stream, open("eve.json", "wb", 0) as out:
    begun_s, written, fastest = time.monotonic(), 0, 0
    while data := stream.read(1 << 20):
        since_s = time.monotonic()
        for _ in range(10):
            with contextlib.suppress(OSError):
                out.write(data)
            written += len(data)
            time.sleep(max(0.0, written / 200e6 - (time.monotonic() - begun_s)))
        fastest = max(fastest, 10 * len(data) / (time.monotonic() - since_s))
open("fastest", "w").write(str(fastest))
"""
LIMIT_BYTES: Final = (2 << 30) // 20  # suspend-free by default: 5 %
LARGE_FILES, LARGE_PACKETS, LARGE_BYTES = 8, 500, 60_000


def test_an_analyzer_that_writes_200_mb_a_second_loses_nothing(short_path: Path) -> None:
    """2.4 GB through a disk of two, with the default limits: the gate suspends below 100 MB."""
    (short_path / "tmp").mkdir()
    (short_path / "in").mkdir()
    for number in range(LARGE_FILES):
        data = (bytes([number, n % 256]) * (LARGE_BYTES // 2) for n in range(LARGE_PACKETS))
        capture = short_path / "in" / f"{number}.pcap"
        capture.write_bytes(classic([Record(number, n, each) for n, each in enumerate(data)]))
    with (
        memory_mount(short_path, "2g") as disk,
        shipping(disk.folder, Path(os.devnull), EVERY_S, 2 * LIMIT_BYTES) as shipper,
    ):
        done = forkserver.run(
            *("pcapdj", "run", "in", "--logdir", str(disk.folder / "out"), "--watch", str(disk.folder)),
            *("--resume-after", "0", "--min-free-inodes", "0"),
            *("--", sys.executable, "-ISc", WRITING, "{pipe}"),
            cwd=short_path,
            env=environment(TMPDIR=str(short_path / "tmp")),
            limit_s=LIMIT_S,
        )
        [stream] = disk.folder.glob("out/2*/eve.json")
        written_bytes = stream.stat().st_size
        fastest_bytes_per_s = float(stream.with_name("fastest").read_text())

    assert done.returncode == 0, done.stdout + done.stderr
    assert written_bytes == 10 * (24 + LARGE_FILES * LARGE_PACKETS * (16 + LARGE_BYTES))
    assert fastest_bytes_per_s > 200e6 / scaled(1)
    assert 0 < shipper.lowest_free_bytes < 1.5 * LIMIT_BYTES  # it looks now and then, and frees what it sees
