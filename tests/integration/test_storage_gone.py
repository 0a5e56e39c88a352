"""Storage that goes away is not the file's fault: it is waited for, and every packet arrives once."""

import gzip
import json
import os
import shutil
import signal
import time
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support import forkserver
from support.captures import Record, classic
from support.cases import some_long
from support.dispatcher_rig import (
    Dispatchers,
    Reader,
    authorize,
    dispatchers_in,
    journal,
    listed,
    packets,
    queue,
    stream_of,
)
from support.fuse import FuseMount
from support.mounts import MemoryMount, memory_mount
from support.roles_rig import Trio, numbered, places, places_in
from support.waiting import scaled, wait_until

from pcapdj.capture.files import Identity
from pcapdj.capture.identity import QueuedFile, digest_of
from pcapdj.console.status_lines import snapshot_lines
from pcapdj.runtime.mount_list import boot_id
from pcapdj.runtime.mounts import mount_of
from pcapdj.store.client import Store
from pcapdj.store.enqueue import Outcome, enqueue_new

STOP_LIMIT_S = 1.0
PACKETS = 4000
OLD = (1_600_000_000, 1_600_000_000)


@pytest.fixture
def disk(short_path: Path) -> Iterator[MemoryMount]:
    """Return a file system that can be unmounted and mounted again."""
    (short_path / "mounts").mkdir()
    with memory_mount(short_path / "mounts") as disk:
        yield disk


def put(folder: Path, number: int, count: int = 50) -> Path:
    """Write a numbered capture that counts as complete."""
    path = folder / f"{number}.pcap"
    path.write_bytes(classic(numbered(number, count)))
    os.utime(path, OLD)
    return path


def queue_as_importer(trio: Trio, *paths: Path) -> None:
    """Queue files with what the importer records of them."""
    for path in paths:
        found, first = path.stat(), path.read_bytes()[: 64 << 10]
        identity = Identity(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        name = os.fsencode(path)
        file = QueuedFile(
            identity, len(first), digest_of(first), os.fsdecode(mount_of(name).place), boot_id()
        )
        lines = {name: json.dumps(file.as_fields())}
        assert enqueue_new(trio.store, {name: identity}, lines=lines) == {name: Outcome.NEW}


def waiting(trio: Trio) -> dict[str, Any]:
    """Wait until the dispatcher waits for storage; return its statistics."""
    wait_until(lambda: trio.statistics().get("storage"), "the dispatcher to wait for storage")
    return trio.statistics()


def open_first_and_die(trio: Trio) -> None:
    """Let a dispatcher open the first file, and kill it while it waits for the authorization."""
    trio.start("consumer")
    trio.start("dispatcher")
    trio.wait_logged("dispatcher", "waiting_for_authorization")
    trio.kill("dispatcher")


def failures(store: Store) -> list[Mapping[str, Any]]:
    """Return the entries of FAILED."""
    return [json.loads(each) for each in listed(store, store.keys.failed)]


def whole(counts: Mapping[int, int]) -> list[tuple[int, int]]:
    """Return what one stream of these captures has, by number and packets."""
    return [each for number, count in counts.items() for each in places(number, count)]


def test_queued_captures_on_a_disk_that_is_unmounted_are_fed_once_it_is_back(
    trio: Trio, disk: MemoryMount
) -> None:
    """None fails; where it was mounted, since when, and how many wait is shown; the packets come once."""
    queue_as_importer(trio, *[put(disk.folder, number) for number in (1, 2, 3)])
    disk.unmount()
    trio.start_all()

    shown = waiting(trio)
    lines = [line.text for line in snapshot_lines(trio.snapshot(), [], now_s=time.time())]
    disk.mount()

    trio.await_processed(3)
    assert shown["storage"] == str(disk.folder)
    assert time.time() - scaled(60) < shown["storage_since_s"] <= time.time()
    assert shown["storage_queued"] == 2
    [line] = [each for each in lines if each.startswith(f"'{disk.folder}' since ")]
    assert line.endswith("its file system is not mounted there. 2 queued files wait for it, too")
    assert [places_in(stream) for stream in trio.streams()] == [whole({1: 50, 2: 50, 3: 50})]
    assert failures(trio.store) == []
    assert [trio.logged("dispatcher").count(each) for each in ("storage_gone", "storage_back")] == [1, 1]
    wait_until(lambda: trio.statistics()["storage"] == "", "the statistics to show no wait")


def test_a_file_below_the_mount_point_is_not_taken_for_the_one_on_the_disk(
    trio: Trio, disk: MemoryMount
) -> None:
    """A sensor may write on into the folder that the disk was mounted over."""
    queue_as_importer(trio, put(disk.folder, 1))
    disk.unmount()
    (disk.folder / "1.pcap").write_bytes(classic(numbered(9, 7)))
    trio.start_all()

    waiting(trio)
    disk.mount()

    trio.await_processed(1)
    assert [places_in(stream) for stream in trio.streams()] == [places(1, 50)]


@pytest.mark.long
def test_another_disk_at_the_same_place_is_not_the_one_that_is_waited_for(
    trio: Trio, disk: MemoryMount
) -> None:
    """The file does not fail because it is missing there."""
    queue_as_importer(trio, put(disk.folder, 1))
    disk.unmount()
    disk.mount_another()
    trio.start_all()

    waiting(trio)
    disk.unmount()
    disk.mount()

    trio.await_processed(1)
    assert failures(trio.store) == []


@pytest.mark.long
@pytest.mark.parametrize("is_known", [True, False], ids=["queued by the importer", "pushed by a person"])
def test_a_folder_that_is_moved_away_and_comes_back_costs_only_time(trio: Trio, *, is_known: bool) -> None:
    """Three queued captures, the first of them taken already; each is fed once, and `failed` stays empty."""
    paths = [put(trio.captures, number) for number in (1, 2, 3)]
    (queue_as_importer if is_known else Trio.queue)(trio, *paths)
    open_first_and_die(trio)
    trio.captures.rename(trio.folder / "away")
    trio.start("dispatcher")
    trio.start("controller")

    shown = waiting(trio)
    (trio.folder / "away").rename(trio.captures)

    trio.await_processed(3)
    assert shown["storage"] == str(trio.captures)
    assert "for at most 10 min" in shown["waiting_for"]
    assert [places_in(stream) for stream in trio.streams()] == [whole({1: 50, 2: 50, 3: 50})]
    assert failures(trio.store) == []


@pytest.mark.long
def test_a_folder_that_stays_away_was_removed(trio: Trio) -> None:
    """After `--storage-timeout`; a name that nothing is recorded of, and a missing file, fail at once."""
    inner = trio.captures / "inner"
    inner.mkdir()
    queue_as_importer(trio, put(inner, 1), put(trio.captures, 2), put(trio.captures, 3))
    trio.queue(trio.folder / "nowhere" / "mistyped.pcap")
    shutil.rmtree(inner)
    (trio.captures / "2.pcap").unlink()
    trio.environment["PCAPDJ_STORAGE_TIMEOUT"] = "600ms"
    trio.start_all()

    trio.await_processed(1)
    wait_until(lambda: len(failures(trio.store)) == 3, "three failures")
    reasons = {Path(each["name"]).name: each["reason"] for each in failures(trio.store)}
    assert reasons == {
        "1.pcap": "its folder was removed",
        "2.pcap": "does not exist",
        "mistyped.pcap": "does not exist",
    }
    assert trio.logged("dispatcher").count("storage_gone") == 1


@pytest.mark.long
def test_a_dispatcher_that_waits_ends_in_time_and_its_successor_waits_too(
    trio: Trio, disk: MemoryMount
) -> None:
    """After SIGTERM and after SIGKILL; also for a file that a person pushed, once it was open."""
    trio.queue(put(disk.folder, 1))
    open_first_and_die(trio)
    disk.unmount()
    for starts in range(1, 4):
        trio.start("dispatcher")
        trio.wait_logged("dispatcher", "storage_gone", times=starts)
        begun_s = time.monotonic()
        code = trio.kill("dispatcher", 15 if starts == 2 else 9)
        assert code == (0 if starts == 2 else -9)
        assert time.monotonic() - begun_s < scaled(STOP_LIMIT_S)
    disk.mount()
    trio.start("dispatcher")
    trio.start("controller")

    trio.await_processed(1)
    assert [places_in(stream) for stream in trio.streams()] == [places(1, 50)]


@pytest.mark.long
@pytest.mark.parametrize("kills", [0, 1], ids=["one dispatcher", "killed while it waits"])
def test_a_lazy_unmount_in_mid_file_is_not_noticed(trio: Trio, disk: MemoryMount, kills: int) -> None:
    """The open file can be read on, by the next dispatcher, too; what is queued behind it is waited for."""
    queue_as_importer(trio, put(disk.folder, 1, PACKETS), put(disk.folder, 2))
    trio.brake.touch()
    trio.start_all()
    trio.await_copied(30_000)
    disk.unmount()
    if kills:
        trio.kill("dispatcher")
        trio.start("dispatcher")
    trio.brake.unlink()

    waiting(trio)
    disk.mount()

    trio.await_processed(2)
    assert [places_in(stream) for stream in trio.streams()] == [whole({1: PACKETS, 2: 50})]


@pytest.fixture
def remote(mount: FuseMount, trio: Trio) -> Trio:
    """Return roles whose first capture is on a FUSE file system, and plays until it is read no further."""
    put(mount.source, 1, PACKETS)
    queue_as_importer(trio, mount.folder / "1.pcap", put(trio.captures, 3, 20))
    return trio


def die_in_mid_file(trio: Trio, mount: FuseMount) -> None:
    """Let the analyzer read a part of the first capture, and kill its file system."""
    trio.brake.touch()
    trio.start_all()
    trio.await_copied(30_000)
    mount.hang()
    trio.brake.unlink()
    wait_until(lambda: mount.has_hung, "a read to hang")
    mount.kill()
    waiting(trio)


@pytest.mark.parametrize("death", some_long(["", "dispatcher", "analyzer"], quick=("dispatcher",)))
def test_a_file_system_that_dies_in_mid_file_costs_only_time(
    remote: Trio, mount: FuseMount, death: str
) -> None:
    """It goes on at the record where it was, in the same stream; after an analyzer's death from its start."""
    die_in_mid_file(remote, mount)
    if death == "dispatcher":
        remote.kill("dispatcher")
        remote.start("dispatcher")
        remote.wait_logged("dispatcher", "storage_gone", times=2)
    elif death == "analyzer":
        os.kill(remote.snapshot()["consumer"]["pid"], 9)
        remote.wait_logged("dispatcher", "file_replayed")
    mount.mount_again()

    remote.await_processed(2)
    *_, last = streams = [places_in(stream) for stream in remote.streams()]
    assert last == whole({1: PACKETS, 3: 20})
    assert len(streams) == (2 if death == "analyzer" else 1)
    assert failures(remote.store) == []
    content = (mount.source / "1.pcap").read_bytes()
    assert int(journal(remote.store)[0]["crc32"]) == zlib.crc32(content)  # so it is known from now on
    assert "Traceback" not in remote.logged("dispatcher")


@pytest.mark.long
@pytest.mark.parametrize("is_changed", [False, True])
def test_storage_that_goes_away_before_the_authorization_is_waited_for(
    remote: Trio, mount: FuseMount, *, is_changed: bool
) -> None:
    """The file is compared when it is back: of another one nothing is fed, only what was read before."""
    remote.start("consumer")
    remote.start("dispatcher")
    remote.wait_logged("dispatcher", "waiting_for_authorization")
    mount.kill()
    remote.start("controller")
    waiting(remote)
    if is_changed:
        path = mount.source / "1.pcap"
        path.write_bytes(classic(numbered(9, PACKETS)))
        os.utime(path, OLD)
    mount.mount_again()

    remote.await_processed(1 if is_changed else 2)
    [stream] = [places_in(stream) for stream in remote.streams()]
    count = len(stream) - 20
    assert stream == whole({1: count, 3: 20})
    assert [each["packets"] for each in failures(remote.store)] == ([count] if is_changed else [])
    assert is_changed or count == PACKETS


@pytest.mark.long
def test_a_compressed_capture_goes_on_at_its_record(trio: Trio, mount: FuseMount) -> None:
    """It is decompressed again up to there."""
    content = [each._replace(data=os.urandom(900)) for each in numbered(1, PACKETS)]
    path = mount.source / "1.pcap.gz"
    path.write_bytes(gzip.compress(classic(content), 1))
    os.utime(path, OLD)
    queue_as_importer(trio, mount.folder / path.name)
    die_in_mid_file(trio, mount)
    mount.mount_again()

    trio.await_processed(1)
    assert trio.streams() == [classic(content)]
    assert int(journal(trio.store)[0]["crc32"]) == zlib.crc32(classic(content))


@pytest.mark.long
@pytest.mark.parametrize("change", ["size", "time", "beginning"])
def test_a_capture_that_changed_meanwhile_fails_with_the_exact_count(
    remote: Trio, mount: FuseMount, change: str
) -> None:
    """Each of the three is compared; the stream stays whole."""
    die_in_mid_file(remote, mount)
    path = mount.source / "1.pcap"
    content = path.read_bytes()
    if change == "size":
        path.write_bytes(content[:-1])
    elif change == "beginning":
        path.write_bytes(content[:60] + b"other" + content[65:])
    os.utime(path, OLD if change != "time" else (OLD[0], OLD[1] + 1))
    mount.mount_again()

    remote.await_processed(1)
    [failure] = failures(remote.store)
    [stream] = [places_in(stream) for stream in remote.streams()]
    assert failure["reason"].startswith("changed while it was read")
    assert failure["packets"] == len(stream) - 20
    assert stream == [*places(1, len(stream) - 20), *places(3, 20)]


@pytest.mark.long
def test_skip_ends_the_wait_and_counts_what_arrived(remote: Trio, mount: FuseMount) -> None:
    """The next file is fed into the same stream; without a wait there is nothing to skip."""
    die_in_mid_file(remote, mount)
    url = remote.environment["PCAPDJ_REDIS_URL"]

    done = forkserver.run("pcapdj", "skip", "--redis-url", url)

    remote.await_processed(1)
    [failure] = failures(remote.store)
    [stream] = [places_in(stream) for stream in remote.streams()]
    assert (done.returncode, done.stderr) == (0, "")
    assert f"'{mount.folder}/1.pcap'" in done.stdout
    assert failure["reason"] == "skipped by the operator"
    assert failure["packets"] == len(stream) - 20
    assert stream[-20:] == places(3, 20)
    wait_until(lambda: not remote.store.redis.exists(remote.store.keys.skip), "the request to be removed")
    again = forkserver.run("pcapdj", "skip", "--redis-url", url)
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == "pcapdj skip: No dispatcher has a file.\n"


def feed_by_hand_until_it_dies(rig: Dispatchers, mount: FuseMount, capture: list[Record]) -> Reader:
    """Feed a pushed capture without a launcher, and kill its file system in the middle of it."""
    path = mount.source / "1.pcap"
    path.write_bytes(stream_of(capture))
    os.utime(path, OLD)
    name = os.fsencode(mount.folder / "1.pcap")
    queue(rig.store, name)
    authorize(rig.store, name)
    rig.start()
    reader = rig.reader()
    reader.read(30_000)
    mount.hang()
    wait_until(lambda: reader.read(len(reader.stream) + 1) and mount.has_hung, "a read to hang")
    mount.kill()
    wait_until(lambda: reader.read(0) and "storage_gone" in rig.logged(), "the dispatcher to wait")
    return reader


@pytest.mark.long
def test_by_hand_a_file_system_that_dies_in_mid_file_costs_only_time(
    short_path: Path, store: Store, mount: FuseMount
) -> None:
    """The analyzer's stream has a pause."""
    capture = packets(1, 20_000, 200)  # more than the pipe and two windows
    with dispatchers_in(short_path, store) as rig:
        reader = feed_by_hand_until_it_dies(rig, mount, capture)
        mount.mount_again()

        assert reader.read_to_end() == stream_of(capture)
        wait_until(lambda: listed(store, store.keys.processed), "the file to be processed")
        assert failures(store) == []


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_by_hand_the_next_dispatcher_waits_too(
    short_path: Path, store: Store, mount: FuseMount, number: int
) -> None:
    """Stopped in time, the file goes on in the next stream; after a kill it is fed from its start."""
    capture = packets(1, 20_000, 200)
    with dispatchers_in(short_path, store) as rig:
        reader = feed_by_hand_until_it_dies(rig, mount, capture)
        begun_s = time.monotonic()
        rig.processes[-1].send_signal(number)
        first = reader.read_to_end()
        rig.processes[-1].wait()
        assert time.monotonic() - begun_s < scaled(STOP_LIMIT_S)
        reader.close()

        rig.start()
        rig.wait_for("storage_gone", times=2)
        mount.mount_again()
        wait_until(
            lambda: "Waiting for an analyzer" in rig.logged().splitlines()[-1], "the pipe to be wanted"
        )
        second = rig.reader()
        wait_until(lambda: store.redis.llen(store.keys.next), "the file to be requested again")
        authorize(store, *listed(store, store.keys.next))
        rest = second.read_to_end()

        if number == signal.SIGKILL:
            assert rest == stream_of(capture)
        else:
            assert first + rest[24:] == stream_of(capture)
        assert failures(store) == []


@pytest.mark.slow
@pytest.mark.parametrize("is_known", [False, True], ids=["pushed", "queued by the importer"])
def test_with_a_root_a_link_to_a_file_system_that_hangs_is_refused_at_once(
    trio: Trio, mount: FuseMount, *, is_known: bool
) -> None:
    """Nothing behind it is looked at, to find out whose fault it is, either; the next file is fed."""
    sensor = trio.captures / "sensor"
    sensor.mkdir()
    queue = partial(queue_as_importer, trio) if is_known else trio.queue
    queue(put(sensor, 1), put(trio.captures, 3, 20))
    sensor.rename(trio.folder / "before")
    sensor.symlink_to(mount.folder)
    mount.hang(everything=True)
    trio.start("consumer")
    trio.start("controller")
    trio.start("dispatcher", "--root", str(trio.captures))

    trio.await_processed(1)

    [failure] = failures(trio.store)
    assert failure["reason"].startswith("is or follows a symbolic link that is not followed")
    assert not mount.has_hung
    assert [places_in(stream) for stream in trio.streams()] == [places(3, 20)]
