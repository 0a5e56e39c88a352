"""A file that changes or goes while its dispatcher is dead: no stream goes on in the middle of a record."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.cases import some_long
from support.redis_server import PrivateRedis
from support.roles_rig import (
    HEADER_BYTES,
    Trio,
    places,
    places_in,
    trio_in,
)
from support.waiting import wait_until

PACKETS = 4000
Rigs = tuple[PrivateRedis, Trio]


@pytest.fixture
def rigs(short_path: Path) -> Iterator[Rigs]:
    """Return a Redis, and a trio whose dispatcher was killed in the middle of the first of two files."""
    with trio_in(short_path) as (server, trio):
        trio.brake.touch()
        trio.queue(trio.capture("1.pcap", 1, PACKETS), trio.capture("2.pcap", 2, 20))
        trio.start_all()
        trio.await_copied(30_000)
        wait_until(lambda: trio.statistics().get("stalled_s", 0) or is_torn(trio), "the pipe to be full")
        trio.kill("dispatcher")
        yield server, trio


def is_torn(trio: Trio) -> bool:
    """Report whether the analyzer's part of the stream stands still."""
    return (trio.out / "latest" / "copy").stat().st_size > 30_000


CHANGES: dict[str, Callable[[Path], object]] = {
    "emptied": lambda path: os.truncate(path, 0),
    "cut in its header": lambda path: os.truncate(path, 10),
    "cut behind its header": lambda path: os.truncate(path, HEADER_BYTES),
    "cut in what was sent": lambda path: os.truncate(path, 500_000),
    "overwritten": lambda path: path.write_bytes(b"no capture any more"),
    "removed": lambda path: path.unlink(),
    "replaced": lambda path: path.with_name("2.pcap").rename(path),
}


@pytest.mark.parametrize("how", some_long(CHANGES, quick=("overwritten",)))
def test_a_file_that_changed_meanwhile_leaves_whole_records(rigs: Rigs, how: str) -> None:
    """The next dispatcher completes the record, or gives the stream up; the next file is fed whole."""
    _, trio = rigs
    CHANGES[how](trio.captures / "1.pcap")
    if how == "replaced":
        trio.capture("2.pcap", 2, 20)

    trio.start("dispatcher")
    trio.brake.unlink()

    trio.wait_logged("dispatcher", "name=" + str(trio.captures / "2.pcap"), times=1)
    trio.await_processed(2 if how in ("removed", "replaced") else 1)
    streams = trio.streams()
    assert places(2, 20) == [place for stream in streams[-1:] for place in places_in(stream)][-20:]
    first = places_in(streams[0]) if len(streams) == 1 else []
    assert [place for place in first if place[0] == 1] == places(1, len(first) - 20)[: len(first) - 20]


@pytest.mark.long
def test_after_a_flushall_the_record_in_the_pipe_is_completed(rigs: Rigs) -> None:
    """Redis has nothing about the file any more; the analyzer sees whole records, then the next file."""
    server, trio = rigs
    server.client.flushall()
    trio.start("dispatcher")
    trio.queue(trio.captures / "2.pcap")
    trio.brake.unlink()

    trio.await_processed(1)
    (stream,) = trio.streams()
    seen = places_in(stream)
    assert seen[-20:] == places(2, 20)
    assert seen[:-20] == places(1, len(seen) - 20)
    assert trio.logged("dispatcher").count("stream_resumed") == 1


@pytest.mark.long
def test_a_flushall_under_a_running_dispatcher_ends_with_the_file(short_path: Path) -> None:
    """The file is fed to its end and written down; the next file follows in the stream."""
    with trio_in(short_path) as (server, trio):
        trio.brake.touch()
        trio.queue(trio.capture("1.pcap", 1, PACKETS))
        trio.start_all()
        trio.await_copied(30_000)
        server.client.flushall()
        trio.brake.unlink()
        trio.wait_logged("dispatcher", "registration_restored")
        trio.queue(trio.capture("2.pcap", 2, 20))

        trio.await_processed(2)
        assert [places_in(stream) for stream in trio.streams()] == [places(1, PACKETS) + places(2, 20)]
        assert trio.kill("dispatcher", signal.SIGTERM) == 0


@pytest.mark.parametrize("regrows", some_long([False, True], quick=(True,)))
def test_a_capture_cut_under_a_running_dispatcher_costs_only_itself(
    short_path: Path, *, regrows: bool
) -> None:
    """Also where it grows to its old size with other bytes: the others arrive once, its count is exact."""
    with trio_in(short_path) as (_, trio):
        trio.brake.touch()
        counts = {1: 20, 2: 4000, 3: 400, 4: 400}
        paths = {number: trio.capture(f"{number}.pcap", number, count) for number, count in counts.items()}
        trio.queue(*paths.values())
        trio.start_all()
        trio.await_copied(30_000)
        size_bytes = paths[2].stat().st_size
        os.truncate(paths[2], 1000)
        if regrows:
            with paths[2].open("ab") as file:
                file.write(b"\xa5" * (size_bytes - 1000))
        trio.brake.unlink()

        trio.await_processed(3)
        [failure] = map(json.loads, trio.store.redis.lrange(trio.store.keys.failed, 0, -1))
        assert failure["reason"].startswith("changed while it was read")
        expected = [place for number in (1, 3, 4) for place in places(number, counts[number])]
        [stream] = trio.streams()
        seen = places_in(stream)
        assert [place for place in seen if place[0] != 2] == expected
        assert [place for place in seen if place[0] == 2] == places(2, failure["packets"])
