"""A service on disks that are full, read-only or not mounted: it works within two seconds of their return."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.captures import Record, classic
from support.mounts import MemoryMount, fill, memory_mount
from support.service_rig import Service, programs_in
from support.waiting import scaled, wait_until

from pcapdj.runtime.errors import PcapdjError

pytestmark = pytest.mark.timeout(150)

ROLES = ("redis", "consumer", "dispatcher", "controller", "importer")
REPORTING = ("gate", "consumer", "importer")  # of a snapshot; and the dispatchers
SOON_S = 2.0
LIMITS: dict[str, Any] = {
    "PCAPDJ_MIN_FREE": "100K",
    "PCAPDJ_RESUME_AFTER": "0",
    "PCAPDJ_MIN_FREE_INODES": "0",
}


@pytest.fixture
def disk(short_path: Path) -> Iterator[MemoryMount]:
    """Yield a disk of eight megabytes."""
    with memory_mount(short_path, "8m", short_path / "disk") as mount:
        yield mount


@contextmanager
def service_in(folder: Path) -> Iterator[Service]:
    """Yield a service in a new folder; stopped afterwards, whatever happened."""
    folder.mkdir(0o700)
    rig = Service(folder)
    try:
        yield rig
    finally:
        rig.stop()


@pytest.fixture
def service(short_path: Path) -> Iterator[Service]:
    """Yield a service; stopped afterwards, whatever happened."""
    with service_in(short_path / "s") as rig:
        yield rig


@pytest.fixture
def small_service(disk: MemoryMount) -> Iterator[Service]:
    """Yield a service whose whole folder is on that disk."""
    with service_in(disk.folder / "s") as rig:
        yield rig


def states(service: Service) -> dict[str, str]:
    """Return the state of each program."""
    return {name: str(each["statename"]) for name, each in programs_in(service.folder).items()}


def pids(service: Service) -> dict[str, int]:
    """Return the process of each program."""
    return {name: int(each["pid"]) for name, each in programs_in(service.folder).items()}


def age_s(service: Service, program: str) -> int:
    """Return for how many seconds a program has run."""
    found = programs_in(service.folder)[program]
    return int(found["now"]) - int(found["start"])


def reports_since(service: Service, begun_s: float) -> bool:
    """Report whether each role has published its state since then; seconds since the epoch."""
    try:
        snapshot = service.snapshot()
    except PcapdjError:
        return False
    found = [snapshot[name] or {} for name in REPORTING] + list(snapshot["dispatchers"][:1] or [{}])
    return all(each.get("heartbeat_s", 0.0) > begun_s for each in found)


def deliver(service: Service) -> int:
    """Move another capture into the inbox; return how many there are now."""
    number = len(list((service.folder / "inbox").iterdir()))
    written = service.folder / "written.pcap"
    written.write_bytes(classic([Record(number, 0)]))
    shutil.move(written, service.folder / "inbox" / f"{number}.pcap")
    return number + 1


def seconds_to_work(service: Service, make_room: Callable[[], object]) -> float:
    """Make room; return how long it takes until all roles have reported and a new capture is fed."""
    begun_s, begun_wall_s = time.monotonic(), time.time()
    make_room()
    captures = deliver(service)
    wait_until(lambda: reports_since(service, begun_wall_s), "all roles to report")
    service.await_processed(captures)
    return time.monotonic() - begun_s


def is_refused(service: Service) -> bool:
    """Report whether Redis refuses a write."""
    try:
        service.store.call(lambda client: client.set("refused", "1"))
    except PcapdjError:
        return True
    return False


def is_suspended(service: Service) -> bool:
    """Report whether the gate suspends feeding because a disk is mounted read-only."""
    gate = service.snapshot()["gate"] or {"state": ""}
    return gate["state"] == "suspended" and "read-only" in gate["reason"]


@pytest.mark.slow
@pytest.mark.long
def test_all_roles_work_soon_after_redis_can_write(service: Service) -> None:
    """Its disk was full, read-only or not mounted at its start, or got full later."""
    data, took_s = service.folder / "var/redis", dict[str, float]()

    def take_time(case: str, break_disk: Callable[[], object], mend: Callable[[], object]) -> None:
        service.control("stop", "redis")
        break_disk()
        service.control("start", "redis")
        wait_until(lambda: age_s(service, "redis") >= 1, "Redis to wait for its disk")
        took_s[case] = seconds_to_work(service, mend)

    with memory_mount(service.folder, "8m", data) as disk:
        data.chmod(0o700)
        service.start(**LIMITS)
        before = pids(service)
        seconds_to_work(service, lambda: None)  # and an analyzer runs

        take_time("full", lambda: fill(data), (data / "fills").unlink)
        take_time("read-only", lambda: disk.set_writable(False), lambda: disk.set_writable(True))
        take_time("not mounted", disk.unmount, disk.mount)
        filling = fill(data)
        wait_until(lambda: is_refused(service), "Redis to refuse writes")
        took_s["full later"] = seconds_to_work(service, filling.unlink)
        after = pids(service)
        service.stop()

    assert {name for name in ROLES if after[name] != before[name]} == {"redis"}
    assert max(took_s.values()) < scaled(SOON_S), took_s


@pytest.mark.long
@pytest.mark.slow
def test_an_analyzer_starts_soon_after_its_disk_can_be_written_to(
    service: Service, disk: MemoryMount
) -> None:
    """A disk that is mounted read-only counts as full; the next measurement opens the gate."""
    logs = disk.folder / "out"
    service.start(PCAPDJ_LOGDIR=str(logs), **LIMITS)
    disk.set_writable(False)
    captures = deliver(service)
    wait_until(lambda: is_suspended(service), "the gate to suspend feeding")

    begun_s = time.monotonic()
    disk.set_writable(True)
    service.await_processed(captures)

    assert time.monotonic() - begun_s < scaled(SOON_S)
    assert len([path for path in logs.iterdir() if not path.is_symlink()]) == 1


@pytest.mark.long
@pytest.mark.slow
def test_a_service_that_starts_without_room_works_soon_after_there_is_some(small_service: Service) -> None:
    """No role has ended for good: neither Redis, whose data cannot be written, nor those that wait for it."""
    service = small_service
    command = service.analyzer
    filling = fill(service.folder)
    service.begin(has_analyzer=False, PCAPDJ_CONSUMER_COMMAND=command, **LIMITS)
    wait_until(lambda: states(service) == dict.fromkeys(ROLES, "RUNNING"), "all roles to wait for room")

    took_s = seconds_to_work(service, filling.unlink)

    assert took_s < scaled(SOON_S)
    assert states(service) == dict.fromkeys(ROLES, "RUNNING")
    assert "files_queued" in service.log_of("importer")  # supervisord goes on writing its logs


@pytest.mark.long
@pytest.mark.slow
def test_a_disk_that_gets_full_meanwhile_ends_no_role(small_service: Service) -> None:
    """Redis refuses writes, the gate suspends, and all that was queued is fed once there is room."""
    service = small_service
    service.start(**LIMITS)
    before = pids(service)
    filling = fill(service.folder)
    service.control("restart", "redis")
    wait_until(lambda: age_s(service, "redis") >= 2, "the second Redis to wait for room")

    took_s = seconds_to_work(service, filling.unlink)

    after = pids(service)
    assert took_s < scaled(SOON_S)
    assert {name for name in ROLES if after[name] != before[name]} == {"redis"}
