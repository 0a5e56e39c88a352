"""A service whose whole folder is on a disk without room: it works within seconds of there being room."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.captures import Record, classic
from support.mounts import fill, memory_mount
from support.service_rig import Service, programs_in
from support.waiting import scaled, wait_until

pytestmark = pytest.mark.timeout(150)

ROLES = ("redis", "consumer", "dispatcher", "controller", "importer")
SOON_S = 5.0  # from room to work: two seconds, and a busy machine
LIMITS: dict[str, Any] = {
    "PCAPDJ_MIN_FREE": "100K",
    "PCAPDJ_RESUME_AFTER": "0",
    "PCAPDJ_MIN_FREE_INODES": "0",
}


@pytest.fixture
def service(short_path: Path) -> Iterator[Service]:
    """Yield a service on a disk of eight megabytes; stopped afterwards, whatever happened."""
    with memory_mount(short_path, "8m") as mount:
        folder = mount.folder / "s"
        folder.mkdir(0o700)
        rig = Service(folder)
        try:
            yield rig
        finally:
            rig.stop()


def states(service: Service) -> dict[str, str]:
    """Return the state of each program."""
    return {name: str(each["statename"]) for name, each in programs_in(service.folder).items()}


def age_s(service: Service, program: str) -> int:
    """Return for how many seconds a program has run."""
    found = programs_in(service.folder)[program]
    return int(found["now"]) - int(found["start"])


@pytest.mark.slow
def test_a_service_that_starts_without_room_works_soon_after_there_is_some(service: Service) -> None:
    """No role has ended for good: neither Redis, whose data cannot be written, nor those that wait for it."""
    command = service.analyzer
    filling = fill(service.folder)
    service.begin(has_analyzer=False, PCAPDJ_CONSUMER_COMMAND=command, **LIMITS)
    wait_until(lambda: states(service) == dict.fromkeys(ROLES, "RUNNING"), "all roles to wait for room")

    filling.unlink()
    began_s = time.monotonic()
    wait_until(service.is_ready, "a dispatcher to register")
    ready_s = time.monotonic() - began_s
    written = service.folder / "1.pcap"
    written.write_bytes(classic([Record()]))
    shutil.move(written, service.folder / "inbox" / "1.pcap")
    service.await_processed(1)

    assert ready_s < scaled(SOON_S)
    assert states(service) == dict.fromkeys(ROLES, "RUNNING")


@pytest.mark.slow
def test_a_disk_that_gets_full_meanwhile_ends_no_role(service: Service) -> None:
    """Redis refuses writes, the gate suspends, and all that was queued is fed once there is room."""
    service.start(**LIMITS)
    pids = {name: each["pid"] for name, each in programs_in(service.folder).items()}
    filling = fill(service.folder)
    service.control("restart", "redis")
    wait_until(lambda: age_s(service, "redis") >= 2, "the second Redis to wait for room")

    filling.unlink()
    began_s = time.monotonic()
    wait_until(service.is_ready, "Redis to answer")
    ready_s = time.monotonic() - began_s
    written = service.folder / "1.pcap"
    written.write_bytes(classic([Record()]))
    shutil.move(written, service.folder / "inbox" / "1.pcap")
    service.await_processed(1)

    after = {name: each["pid"] for name, each in programs_in(service.folder).items()}
    assert ready_s < scaled(SOON_S)
    assert {name for name in ROLES if after[name] != pids[name]} == {"redis"}
