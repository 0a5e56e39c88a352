"""An output disk that is much smaller than the output: Suricata loses no record while somebody makes room."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from support import forkserver
from support.forkserver import DEVNULL, PIPE
from support.mounts import MemoryMount, memory_mount
from support.service_rig import Service, environment
from support.short_disk import flow_captures, flow_records, shipping
from support.waiting import wait_until

pytestmark = [pytest.mark.timeout(300), pytest.mark.long]

FILES, PACKETS = 40, 7_800
SUSPEND_FREE_BYTES: Final = 8 << 20
LIMITS: Final = {"min-free": "16MiB", "suspend-free": "8MiB", "resume-after": "0", "min-free-inodes": "0"}
COMMAND: Final = "suricata -S /dev/null -k none -r {pipe} -l {logdir}"
EVERY_S: Final = 2.0  # three seconds of output would fill the disk
LIMIT_S: Final = 200.0


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return captures with 312,000 flows of one packet each: 135 MB of records."""
    return flow_captures(tmp_path_factory.mktemp("flows") / "captures", FILES, PACKETS)


@pytest.fixture
def disk(short_path: Path) -> Iterator[MemoryMount]:
    """Return a disk of 48 MB."""
    with memory_mount(short_path, "48m") as mount:
        yield mount


def variable_of(option: str) -> str:
    """Return the environment variable of an option of the controller."""
    return f"PCAPDJ_{option.upper().replace('-', '_')}"


def complaints(*folders: Path) -> list[str]:
    """Return the names of files below the folders in which somebody reports a full disk."""
    logs = [path for folder in folders for path in folder.glob("**/*.log") if path.is_file()]
    return [str(path) for path in logs if "No space left" in path.read_text(errors="replace")]


def test_a_run_loses_no_record(
    short_path: Path, suricata: str, captures: list[Path], disk: MemoryMount
) -> None:
    """The disk never reaches its end, not even while Suricata writes the flows that are open at the end."""
    assert suricata
    (short_path / "tmp").mkdir()
    options = [word for name, value in LIMITS.items() for word in (f"--{name}", value)]
    with (
        shipping(disk.folder, short_path / "shipped", EVERY_S) as shipper,
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
    assert flow_records(short_path / "shipped") == FILES * PACKETS
    assert 0 < shipper.lowest_free_bytes < SUSPEND_FREE_BYTES
    assert complaints(disk.folder) == []


def test_the_service_loses_no_record(
    short_path: Path, suricata: str, captures: list[Path], disk: MemoryMount
) -> None:
    """The same with supervisord, an inbox, and `pcapdj finish` at the end."""
    assert suricata
    service = Service(short_path)
    variables: dict[str, Any] = {variable_of(name): value for name, value in LIMITS.items()}
    variables |= {"PCAPDJ_WATCH": str(disk.folder), "PCAPDJ_LOGDIR": str(disk.folder / "out")}
    try:
        with shipping(disk.folder, short_path / "shipped", EVERY_S) as shipper:
            service.start(has_analyzer=False, PCAPDJ_CONSUMER_COMMAND=COMMAND, **variables)
            for capture in captures:
                os.link(capture, service.folder / "inbox" / capture.name)
            wait_until(lambda: service.snapshot()["processed"] == FILES, "all files to be fed", LIMIT_S)
            service.pcapdj("finish")
            wait_until(lambda: is_idle(service), "the analyzer to end", LIMIT_S)
    finally:
        service.stop()

    assert flow_records(short_path / "shipped") == FILES * PACKETS
    assert shipper.lowest_free_bytes > 0
    assert "analyzer_paused" in service.log_of("consumer")
    assert complaints(disk.folder, service.folder / "var/log") == []


def is_idle(service: Service) -> bool:
    """Report whether the stream has ended."""
    return bool((service.snapshot()["consumer"] or {}).get("state") == "idle")
