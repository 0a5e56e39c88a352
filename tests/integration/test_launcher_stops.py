"""A stop of the launcher while its dispatcher waits for something else: the analyzer sees its end of input.

It has the results of whole files then, and writes them only there; and the dispatcher waits on.
"""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.captures import classic
from support.cases import some_long
from support.fuse import FuseMount
from support.redis_server import PrivateRedis
from support.roles_rig import Trio, numbered, places, places_in, restart_dispatcher_in_hang, trio_in
from support.waiting import wait_until

PACKETS = 4000
FEW = 20

Change = Callable[[PrivateRedis], object]
OUTAGES: dict[str, tuple[Change, Change]] = {
    "takes no writes": (
        lambda server: server.client.config_set("min-replicas-to-write", "1"),
        lambda server: server.client.config_set("min-replicas-to-write", "0"),
    ),
    "is down": (lambda server: server.kill(), lambda server: server.start()),
    "does not answer": (
        lambda server: server.signal(signal.SIGSTOP),
        lambda server: server.signal(signal.SIGCONT),
    ),
}


@pytest.fixture
def rigs(short_path: Path) -> Iterator[tuple[PrivateRedis, Trio]]:
    """Return a Redis of the test's own, and roles that use it."""
    with trio_in(short_path) as rigs:
        yield rigs


def stop_launcher(trio: Trio) -> None:
    """Stop it; its analyzer ends by itself, at the end of its input."""
    assert trio.kill("consumer", signal.SIGTERM) == 0
    log = trio.logged("consumer")
    assert "dispatcher_stays" not in log
    assert log.count("stream_ended") == log.count("exit='exited 0'") == 1


@pytest.mark.parametrize("kind", some_long(OUTAGES, quick=("takes no writes",)))
def test_the_analyzer_gets_its_end_while_redis_is_waited_for(
    rigs: tuple[PrivateRedis, Trio], kind: str
) -> None:
    """The file whose result Redis does not have yet is finished as it was fed, and not fed again."""
    server, trio = rigs
    begin, end = OUTAGES[kind]
    trio.brake.touch()
    trio.queue(trio.capture("1.pcap", 1, PACKETS), trio.capture("2.pcap", 2, FEW))
    trio.start_all()
    trio.await_copied(30_000)
    begin(server)
    trio.brake.unlink()
    trio.wait_logged("dispatcher", "waiting_for_redis")
    trio.await_copied(24 + PACKETS * 916)

    stop_launcher(trio)
    end(server)
    trio.start("consumer")

    trio.await_processed(2)
    assert [places_in(stream) for stream in trio.streams()] == [places(1, PACKETS), places(2, FEW)]
    assert "file_replayed" not in trio.logged("dispatcher")
    assert trio.snapshot()["suspects"] == {}


def put(mount: FuseMount, name: str, number: int, packets: int) -> Path:
    """Write a capture that the file system has."""
    path = mount.source / name
    path.write_bytes(classic(numbered(number, packets)))
    return mount.folder / name


def test_the_analyzer_gets_its_end_while_a_file_cannot_be_opened(trio: Trio, mount: FuseMount) -> None:
    """That file is fed into the next stream, once its file system answers."""
    trio.start_all()
    trio.queue(trio.capture("1.pcap", 1, FEW))
    trio.await_processed(1)
    path = put(mount, "2.pcap", 2, FEW)
    mount.hang(everything=True)
    trio.queue(path)
    wait_until(lambda: mount.has_hung, "a call to hang")

    stop_launcher(trio)
    mount.go_on()
    trio.start("consumer")

    trio.await_processed(2)
    assert [places_in(stream) for stream in trio.streams()] == [places(1, FEW), places(2, FEW)]


@pytest.mark.parametrize(
    "is_resumed", [False, pytest.param(True, marks=pytest.mark.long)], ids=["read", "opened again"]
)
def test_the_analyzer_gets_its_end_while_a_read_hangs(
    trio: Trio, mount: FuseMount, *, is_resumed: bool
) -> None:
    """In the middle of a file; the next stream goes on behind what this one has, as after any stop."""
    trio.brake.touch()
    trio.queue(put(mount, "1.pcap", 1, PACKETS), trio.capture("2.pcap", 2, FEW))
    trio.start_all()
    trio.await_copied(30_000)
    mount.hang()
    trio.brake.unlink()
    wait_until(lambda: mount.has_hung, "a read to hang")
    if is_resumed:
        restart_dispatcher_in_hang(trio, mount)

    stop_launcher(trio)
    mount.go_on()
    trio.start("consumer")

    trio.await_processed(2)
    first, second = [places_in(stream) for stream in trio.streams()]
    assert first
    assert first + second == [*places(1, PACKETS), *places(2, FEW)]
    assert trio.logged("dispatcher").count("file_continues") == 1
