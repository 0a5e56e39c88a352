"""Each packet that arrives in an inbox reaches the analyzer once; with all roles as processes."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
from support.captures import classic
from support.cases import some_long
from support.mounts import memory_mount
from support.roles_rig import Trio, numbered, places, places_in
from support.waiting import wait_until

from pcapdj.store.operate import resume, suspend


def failures(trio: Trio) -> list[dict[str, Any]]:
    """Return what is in FAILED."""
    entries: Any = trio.store.redis.lrange(trio.store.keys.failed, 0, -1)
    return [json.loads(entry) for entry in entries]


def fed(trio: Trio) -> list[tuple[int, int]]:
    """Return file and place of every packet that an analyzer got, in order."""
    return [place for stream in trio.streams() for place in places_in(stream)]


def processed(trio: Trio) -> list[str]:
    """Return the names in PROCESSED, without their folder."""
    names: Any = trio.store.redis.lrange(trio.store.keys.processed, 0, -1)
    return [Path(os.fsdecode(name)).name for name in names]


def queue_length(trio: Trio) -> int:
    """Return how many names are queued."""
    length: Any = trio.store.redis.llen(trio.store.keys.in_queue)
    return int(length)


def importer_restarts(trio: Trio) -> None:
    """End the importer, and start another one: it looks at all files as if it had never seen them."""
    trio.kill("importer")
    trio.start("importer")


def old(path: Path) -> None:
    """Make a file count as complete at the first look."""
    os.utime(path, (1_600_000_500, 1_600_000_500))


def test_renamed_linked_touched_grown_and_compressed_captures_are_not_fed_again(trio: Trio) -> None:
    """Five captures of 20 packets, and five packets that one of them got afterwards: 105 packets."""
    paths = [trio.capture(f"{name}.pcap", number, 20) for number, name in enumerate("abcd")]
    part = trio.capture("e.pcap.filepart", 4, 20)
    trio.start("importer")
    trio.start_all()
    trio.await_processed(5)

    paths[0].rename(trio.captures / "renamed.pcap")
    (trio.captures / "linked.pcap").hardlink_to(paths[1])
    paths[2].write_bytes(classic(numbered(2, 25)))
    old(paths[2])
    part.rename(trio.captures / "e.pcap")
    (trio.captures / "d.pcap.gz").write_bytes(gzip.compress(paths[3].read_bytes()))
    old(trio.captures / "d.pcap.gz")
    paths[3].unlink()
    importer_restarts(trio)
    for name in ("renamed.pcap", "linked.pcap", "e.pcap", "d.pcap.gz"):
        trio.wait_logged("importer", f"{name}' was fed as ")
    trio.await_processed(6)

    assert sorted(fed(trio)) == sorted(
        [place for number in (0, 1, 3, 4) for place in places(number, 20)] + places(2, 25)
    )
    assert failures(trio) == []


def test_a_ring_of_files_that_wrapped_is_fed_in_order_and_what_is_lost_is_in_failed(trio: Trio) -> None:
    """r0 and r1 were overwritten while they waited: r2 comes first, then the newer ones."""
    ring = [trio.capture(f"r{number}", number, 20) for number in range(3)]
    trio.start("importer")
    wait_until(lambda: queue_length(trio) == 3, "the ring to be queued")
    for number in range(2):
        ring[number].unlink()
        old(trio.capture(f"r{number}", number + 3, 20))
    importer_restarts(trio)
    wait_until(lambda: queue_length(trio) == 5, "the newer captures to be queued")

    trio.start_all()
    trio.await_processed(3)

    assert fed(trio) == [*places(2, 20), *places(3, 20), *places(4, 20)]
    assert processed(trio) == ["r2", "r0", "r1"]
    lost = failures(trio)
    assert [Path(entry["name"]).name for entry in lost] == ["r0", "r1"]
    assert all(entry["lost"] and "overwritten before it was fed" in entry["reason"] for entry in lost)


@pytest.mark.long
def test_a_folder_of_fed_captures_that_is_renamed_is_not_fed_again(trio: Trio) -> None:
    """Nor after its way back."""
    inner, other = trio.captures / "day", trio.captures / "monday"
    inner.mkdir()
    for number in range(4):
        trio.capture(f"day/{number}", number, 20)
    trio.start("importer", "--recursive")
    trio.start_all()
    trio.await_processed(4)

    inner.rename(other)
    trio.kill("importer")
    trio.start("importer", "--recursive")
    trio.wait_logged("importer", "was fed as", 4)
    other.rename(inner)
    trio.kill("importer")
    trio.start("importer", "--recursive")
    marker = trio.capture("marker", 9, 1)
    trio.await_processed(5)

    assert sorted(fed(trio)) == sorted([*(place for n in range(4) for place in places(n, 20)), (9, 0)])
    assert marker.name in processed(trio)


@pytest.mark.parametrize(
    "is_suspended", some_long([True, False], quick=(True,)), ids=["suspended", "waiting for the gate"]
)
def test_an_importer_never_queues_what_is_fed_now(trio: Trio, *, is_suspended: bool) -> None:
    """Though the key of the dispatchers was lost: they register again, and it waits for them."""
    path = trio.capture("x", 0, 20)
    if is_suspended:
        suspend(trio.store)
    trio.start("consumer")
    trio.start("dispatcher")
    trio.start("importer")
    if is_suspended:
        trio.start("controller")
    wait_until(lambda: trio.snapshot()["current"], "the file to be current")

    trio.kill("importer")
    trio.store.redis.delete(trio.store.keys.dispatchers)
    trio.start("importer")
    trio.wait_logged("importer", "inbox_watched", 2)
    marker = trio.capture("y", 1, 20)
    wait_until(lambda: queue_length(trio) == 1, "the other file to be queued")
    if is_suspended:
        resume(trio.store)
    else:
        trio.start("controller")
    trio.await_processed(2)

    assert fed(trio) == [*places(0, 20), *places(1, 20)]
    assert processed(trio) == [path.name, marker.name]


@pytest.mark.long
def test_an_inbox_that_is_unmounted_and_comes_back_is_not_fed_again(trio: Trio) -> None:
    """`status` shows that it is away; what is put into the mount point meanwhile is not its own."""
    place = trio.folder / "disk"
    place.mkdir()
    with memory_mount(place) as mount:
        for number in range(3):
            trio.capture(str(number), number, 20).rename(trio.captures / f".{number}")
            (mount.folder / str(number)).write_bytes((trio.captures / f".{number}").read_bytes())
            old(mount.folder / str(number))
        trio.start("importer", str(mount.folder))
        trio.start_all()
        trio.await_processed(3)

        mount.unmount()
        (mount.folder / "stray").write_bytes(classic(numbered(7, 20)))
        wait_until(
            lambda: "is not mounted" in str((trio.snapshot()["importer"] or {}).get("problem")), "the problem"
        )
        (mount.folder / "stray").unlink()
        mount.mount()
        wait_until(lambda: (trio.snapshot()["importer"] or {}).get("problem") == "", "the inbox to be back")
        (mount.folder / "new").write_bytes(classic(numbered(8, 20)))
        trio.await_processed(4)

    assert fed(trio) == [place for number in (0, 1, 2, 8) for place in places(number, 20)]
    assert processed(trio) == ["0", "1", "2", "new"]
    assert failures(trio) == []


@pytest.mark.long
def test_a_capture_that_is_touched_while_it_is_read_goes_on_where_it_was(trio: Trio) -> None:
    """It fails, since it changed; what was read of it is proven to be there still, and is not fed again."""
    trio.brake.touch()
    path = trio.capture("x", 0, 3000)
    trio.start("importer")
    trio.start_all()
    trio.await_copied(20_000)

    old(path)
    trio.brake.unlink()
    wait_until(lambda: trio.snapshot()["failed"], "the capture to fail")
    importer_restarts(trio)
    trio.await_processed(1)

    assert fed(trio) == places(0, 3000)
    assert failures(trio) == []
