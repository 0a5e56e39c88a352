"""Roles that wait use hardly any CPU: the machine's time is for the analyzer."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.dispatcher_rig import is_full
from support.roles_rig import Trio, trio_in
from support.waiting import wait_until

LARGEST_SHARE = 0.1  # of one CPU; a loop that does not wait uses all that it gets


@pytest.fixture
def trio(short_path: Path) -> Iterator[Trio]:
    """Return all four roles."""
    with trio_in(short_path) as (_, trio):
        yield trio


def shares(trio: Trio) -> dict[str, float]:
    """Return how much of a CPU each role uses during two heartbeats of the dispatcher."""
    processes = {role: psutil.Process(trio.working_pid(role)) for role in trio.processes}
    before = {role: process.cpu_times() for role, process in processes.items()}
    begun_s = beats_s = trio.statistics()["heartbeat_s"]
    for _ in range(2):
        wait_until(lambda since_s=beats_s: trio.statistics()["heartbeat_s"] > since_s, "a heartbeat")  # type: ignore[misc]
        beats_s = trio.statistics()["heartbeat_s"]
    used_s = {
        role: sum(process.cpu_times()[:2]) - sum(before[role][:2]) for role, process in processes.items()
    }
    return {role: used_s[role] / (beats_s - begun_s) for role in used_s}


def busy_roles(trio: Trio) -> dict[str, float]:
    """Return the roles that use more than they should."""
    return {role: share for role, share in shares(trio).items() if share > LARGEST_SHARE}


@pytest.mark.long
def test_roles_that_wait_for_files_for_the_gate_or_for_the_analyzer_are_idle(trio: Trio) -> None:
    """Whatever they have been told meanwhile: a message ends one wait, and no more."""
    trio.start_all()
    trio.start("importer")
    trio.wait_logged("dispatcher", "Waiting for files")
    trio.store.notify("nothing")
    assert busy_roles(trio) == {}

    trio.queue(trio.capture("a.pcap", 1, 20))
    trio.await_processed(1)  # its stream stays open, and its pipe is empty
    trio.store.redis.hset(trio.store.keys.control, "gate", "hold")
    trio.store.notify("limits")
    trio.wait_logged("controller", "gate_hold")
    trio.brake.touch()
    trio.queue(trio.capture("b.pcap", 2, 5000))
    trio.wait_logged("dispatcher", "waiting_for_authorization", times=2)
    assert busy_roles(trio) == {}

    trio.store.redis.delete(trio.store.keys.control)
    trio.store.notify("limits")
    wait_until(lambda: is_full(trio.pipe), "a full pipe")
    assert busy_roles(trio) == {}
