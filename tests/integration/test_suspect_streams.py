"""Streams that may have lost output: their disk was full, or their log reports it. With real full disks."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.captures import classic
from support.launcher_rig import Rig, connected, feed, feed_stream, rig_in, stop
from support.mounts import MemoryMount, memory_mount
from support.rows import each_row
from support.waiting import wait_until

from pcapdj.disk.limits import Watch
from pcapdj.disk.live_limits import LiveLimits
from pcapdj.disk.meters import DiskMeter
from pcapdj.disk.monitor import DiskMonitor
from pcapdj.runtime.full_disks import DiskAtEnd, decode_disks_at_end, encode_disks_at_end, state_at_end
from pcapdj.runtime.signals import Signals
from pcapdj.store.bounded import read_hash
from pcapdj.store.client import Store

READ = "import sys\nopen(sys.argv[1], 'rb').read()\n"
FILL = f"""{READ}
try:
    with open("data", "wb", 0) as data:
        while True:
            data.write(bytes(1 << 16))
except OSError as error:
    message = str(error)
"""
FILL_AND_REPORT = f"{FILL}\nimport os; os.unlink('data'); print('E: writer:', message)"
CRASH = f"{READ}\nraise SystemExit(3)"
WAIT = f"import os, time\n{READ}\nwhile not os.path.exists('go'): time.sleep(0.005)"


@pytest.fixture
def disk(short_path: Path) -> Iterator[MemoryMount]:
    """Return a disk of 4 MB."""
    with memory_mount(short_path, "4m") as mount:
        yield mount


@pytest.fixture
def rig(short_path: Path, disk: MemoryMount) -> Iterator[Rig]:
    """Return a launcher's folder and processes, whose streams write to the disk."""
    with rig_in(short_path) as rig:
        rig.logs = disk.folder / "out"
        yield rig


def ended_stream(rig: Rig, signals: Signals, store: Store, code: str) -> str:
    """Feed a capture without packets to an analyzer; return the stream when it has ended."""
    rig.start_python(code, environment={"PCAPDJ_REDIS_URL": store.url, "PCAPDJ_LANE": store.keys.lane})
    capture = rig.folder / "one.pcap"
    capture.write_bytes(classic([]))
    stream = feed_stream(rig, signals, capture).stream
    wait_until(lambda: consumer(store).get("last_stream") == stream, "the status to have it")
    return stream


def consumer(store: Store) -> dict[str, str]:
    """Return PCAPDJ_CONSUMER."""
    return texts(store, store.keys.consumer)


def suspects(store: Store) -> dict[str, str]:
    """Return PCAPDJ_SUSPECT."""
    return texts(store, store.keys.suspect)


def texts(store: Store, key: str) -> dict[str, str]:
    """Return a hash as text."""
    return {os.fsdecode(name): os.fsdecode(value) for name, value in read_hash(store, key).items()}


def test_a_stream_that_ends_on_a_full_disk_is_suspect(
    rig: Rig, disk: MemoryMount, signals: Signals, store: Store
) -> None:
    """Even if its analyzer reports nothing and exits with 0, as Suricata does."""
    stream = ended_stream(rig, signals, store, FILL)

    assert "exited 0" in consumer(store)["last_exit"]
    assert suspects(store) == {stream: "The disk of its folder had 0 bytes free at its end."}
    assert consumer(store)["suspect"] == suspects(store)[stream]
    assert rig.logged().count("stream_suspect") == 1
    assert disk.folder.stat().st_dev == rig.latest().stat().st_dev


def test_a_stream_whose_log_reports_a_full_disk_is_suspect(rig: Rig, signals: Signals, store: Store) -> None:
    """Also if there is room again at its end."""
    stream = ended_stream(rig, signals, store, FILL_AND_REPORT)

    log = rig.latest() / "analyzer.log"
    line = "E: writer: [Errno 28] No space left on device"
    assert suspects(store) == {stream: f"Its log '{log}' has: {line}"}


def test_a_stream_is_suspect_if_the_controller_saw_its_disk_full(
    rig: Rig, signals: Signals, store: Store
) -> None:
    """At a time between its beginning and its end; another disk, and an earlier time, do not count."""
    environment = {"PCAPDJ_REDIS_URL": store.url, "PCAPDJ_LANE": store.keys.lane}
    rig.start_python(WAIT, environment=environment)
    capture = rig.folder / "one.pcap"
    capture.write_bytes(classic([]))
    before_s = time.time()

    launcher = connected(rig, signals)
    opened = launcher.open()
    feed(launcher, opened, capture)
    os.close(opened.write_end)
    launcher.end(opened.stream)
    device = rig.latest().stat().st_dev
    seen = DiskAtEnd("/out", device, time.time(), "had 7 bytes free")
    others = [seen._replace(path="/other", device=device + 1), seen._replace(path="/a", time_s=before_s - 1)]
    publish_full(store, others)

    publish_full(store, [*others, seen])

    wait_until(lambda: suspects(store), "the stream to be suspect")
    expected = "The disk at '/out' had 7 bytes free while it was written to."
    assert suspects(store) == {opened.stream: expected}
    (rig.latest() / "go").touch()


def publish_full(store: Store, full: list[DiskAtEnd]) -> None:
    """Publish full disks as the controller does."""
    store.redis.hset(store.keys.gate, "full", encode_disks_at_end(full))
    store.notify("gate suspended")


def test_the_stream_of_a_killed_launcher_is_suspect(rig: Rig, signals: Signals, store: Store) -> None:
    """The next launcher finds it in the status; one that follows an orderly end finds none."""
    environment = {"PCAPDJ_REDIS_URL": store.url, "PCAPDJ_LANE": store.keys.lane}
    launcher = rig.start_python(WAIT, environment=environment)
    opened = connected(rig, signals).open()
    wait_until(lambda: consumer(store).get("state") == "reading", "the status to have it")

    launcher.kill()
    os.close(opened.write_end)
    rig.start_python(WAIT, environment=environment)

    wait_until(lambda: consumer(store).get("state") == "idle", "the next launcher's status")
    assert suspects(store) == {opened.stream: "Its launcher was killed, and the analyzer with it."}
    assert stop(rig.processes[1]) == 0
    store.redis.delete(store.keys.suspect)
    store.redis.hset(store.keys.consumer, mapping={"state": "flushing", "stream": "stale"})
    rig.start_python(WAIT, environment=environment)
    wait_until(lambda: consumer(store).get("state") == "idle", "the third launcher's status")
    assert suspects(store) == {}


def test_a_suspect_stream_is_kept_until_redis_has_it(rig: Rig, signals: Signals, store: Store) -> None:
    """A stop of the service ends Redis before the analyzer has written its results."""
    launcher = rig.start_python(FILL)
    capture = rig.folder / "one.pcap"
    capture.write_bytes(classic([]))
    stream = feed_stream(rig, signals, capture).stream

    assert stop(launcher) == 0
    environment = {"PCAPDJ_REDIS_URL": store.url, "PCAPDJ_LANE": store.keys.lane}
    rig.start_python(FILL, environment=environment)

    wait_until(lambda: suspects(store), "the next launcher to record it")
    assert suspects(store) == {stream: "The disk of its folder had 0 bytes free at its end."}
    kept = rig.socket.with_name(f".{rig.socket.name}.suspects")
    wait_until(lambda: not kept.exists(), "the file to be removed")


def test_a_stream_that_ended_in_order_with_room_is_not_suspect(
    rig: Rig, signals: Signals, store: Store
) -> None:
    """Neither in Redis nor in the log."""
    ended_stream(rig, signals, store, READ)

    assert suspects(store) == {}
    assert consumer(store)["suspect"] == ""
    assert "stream_suspect" not in rig.logged()


def test_the_controller_sees_when_a_disk_is_at_its_end(disk: MemoryMount) -> None:
    """And keeps when that was last, after there is room again."""
    limits = LiveLimits({"min-free": "1MiB"})
    monitor = DiskMonitor(DiskMeter([Watch(str(disk.folder))]), limits)
    assert (monitor.is_newly_full, monitor.full) == (False, {})
    data = disk.folder / "data"

    data.write_bytes(bytes(3_500_000))
    monitor.measure()
    assert monitor.is_newly_full
    monitor.measure()
    assert not monitor.is_newly_full
    seen = monitor.full[str(disk.folder)]
    data.unlink()
    monitor.measure()

    assert monitor.full == {str(disk.folder): seen}
    assert seen.device == disk.folder.stat().st_dev
    assert time.time() - 60 < seen.time_s <= time.time()
    assert decode_disks_at_end(encode_disks_at_end([seen])) == (seen,)


@each_row(
    ("free_bytes", "total_bytes", "free_inodes", "expected"),
    [
        ((1 << 20) - 1, 48 << 20, 9, "had 1,048,575 bytes free"),
        (1 << 20, 48 << 20, 9, ""),
        ((64 << 20) - 1, 1 << 50, 9, "had 67,108,863 bytes free"),
        (64 << 20, 1 << 50, 9, ""),
        (1 << 30, 48 << 30, 0, "had no inode left"),
    ],
)
def test_a_disk_is_at_its_end_below_1_mib_or_a_thousandth_up_to_64_mib_or_without_inodes(
    free_bytes: int, total_bytes: int, free_inodes: int, expected: str
) -> None:
    """File systems keep some blocks that they show as free."""
    assert state_at_end(free_bytes, total_bytes, free_inodes, 1000) == expected


@each_row("text", ["", "{", "[1]", "7", '[{"path": "/"}]', '[{"path": 1, "device": "x"}]'])
def test_what_is_no_list_of_full_disks_is_left_out(text: str) -> None:
    """Another program may write the field."""
    assert decode_disks_at_end(text) == ()
