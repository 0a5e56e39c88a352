"""Copies that replace captures: compressed beside them, or on another disk. On real Redis and files."""

import errno
import gzip
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.captures import Record, classic
from support.cases import some_long
from support.feeding import content_of, identity_of
from support.forkserver import clean_environment, start
from support.mounts import MemoryMount, memory_mount
from support.reclaiming import at, feed, make_room, names_in, reclaimed, selected, write_capture
from support.waiting import scaled, wait_until

from pcapdj.inbox.listing import look_at_capture
from pcapdj.inbox.queueing import outcomes_by_name, queue_captures
from pcapdj.reclaim.copying import COMPRESSED, GONE, NO_SPACE, NOT_COPIED, NOT_SMALLER, SAME_DISK, TAKEN
from pcapdj.runtime.signals import Signals
from pcapdj.store.client import Store
from pcapdj.store.enqueue import Outcome

MANY = 3000  # packets, 2.7 MB


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[MemoryMount]:
    """Return a small disk."""
    with memory_mount(tmp_path) as mount:
        mount.folder.chmod(0o700)
        yield mount


def test_a_compressed_copy_is_the_same_capture_and_is_not_fed_again(
    store: Store, root: Path, signals: Signals
) -> None:
    """Content, mode and time are those of the capture; an importer knows it without reading it."""
    path = write_capture(root / "1.pcap", packets=MANY)
    path.chmod(0o640)
    before, content = path.stat(), path.read_bytes()
    feed(store, path)

    done = make_room(store, selected(root, "compress"), signals, root)

    copy = root / "1.pcap.zst"
    assert names_in(root) == [copy.name]
    assert (copy.stat().st_mtime_ns, copy.stat().st_mode) == (before.st_mtime_ns, before.st_mode)
    assert decompressed(copy) == content
    assert done.freed_bytes == (before.st_blocks - copy.stat().st_blocks) * 512
    assert reclaimed(store)["1.pcap"]["to"] == str(copy)
    name = os.fsencode(copy)
    assert outcomes_by_name(store, {name: identity_of(name)}) == {name: Outcome.FED}
    store.redis.delete(store.keys.fed)  # then by its content
    report = queue_captures(store, [look_at_capture(name, refuse_written=False)])
    assert report.outcomes == {name: Outcome.FED}


def decompressed(path: Path) -> bytes:
    """Return the content of a zstd file."""
    from backports import zstd

    return bytes(zstd.decompress(path.read_bytes()))


def test_a_compressed_copy_may_go_later(store: Store, root: Path, signals: Signals) -> None:
    """It stands for the capture: with `delete` it is removed, with its own record."""
    feed(store, write_capture(root / "1.pcap", packets=MANY))
    make_room(store, selected(root, "compress"), signals, root)

    make_room(store, selected(root), signals, root)

    assert names_in(root) == []
    assert {name: fields["how"] for name, fields in reclaimed(store).items()} == {
        "1.pcap": "compressed",
        "1.pcap.zst": "removed",
    }


def test_what_cannot_be_compressed_stays(store: Store, root: Path, signals: Signals) -> None:
    """Captures that are compressed, do not get smaller, or whose copy would need another file's name."""
    packed = root / "1.pcap.gz"
    packed.write_bytes(gzip.compress(write_capture(root / "1.pcap", 1).read_bytes()))
    (root / "1.pcap").unlink()
    small = write_capture(root / "2.pcap", 2, packets=1)
    taken = write_capture(root / "3.pcap", 3, packets=MANY)
    (root / "3.pcap.zst").write_bytes(b"another file")
    feed(store, packed, small, taken)
    before = {each: each.read_bytes() for each in root.iterdir()}

    done = make_room(store, selected(root, "compress"), signals, root)

    assert dict(done.refused) == {COMPRESSED: 1, NOT_SMALLER: 1, TAKEN: 1}
    assert {each: each.read_bytes() for each in root.iterdir()} == before
    assert not store.redis.exists(store.keys.reclaiming)


def test_a_moved_capture_is_below_the_same_folders(
    store: Store, root: Path, mount: MemoryMount, signals: Signals
) -> None:
    """Its copy has its time; what is there already is never replaced."""
    (root / "a" / "b").mkdir(parents=True)
    path, taken = write_capture(root / "a" / "b" / "1.pcap", 1), write_capture(root / "2.pcap", 2)
    content, time_ns = path.read_bytes(), path.stat().st_mtime_ns
    (mount.folder / "2.pcap").write_bytes(b"another file")
    feed(store, path, taken)

    done = make_room(store, selected(root, "move", mount.folder), signals, root)

    moved = mount.folder / "a" / "b" / "1.pcap"
    assert (moved.read_bytes(), moved.stat().st_mtime_ns) == (content, time_ns)
    assert not path.exists()
    assert (dict(done.refused), taken.exists()) == ({TAKEN: 1}, True)
    assert (mount.folder / "2.pcap").read_bytes() == b"another file"


def test_a_target_on_the_same_disk_frees_nothing(store: Store, root: Path, signals: Signals) -> None:
    """The files stay where they are."""
    feed(store, write_capture(root / "1.pcap"))
    (target := root.parent / "target").mkdir()

    done = make_room(store, selected(root, "move", target), signals, root)

    assert (names_in(root), names_in(target), dict(done.refused)) == (["1.pcap"], [], {SAME_DISK: 1})


@pytest.mark.parametrize("how", some_long(["move", "compress"], quick=("compress",)))
def test_a_copy_that_does_not_fit_leaves_nothing_behind(
    store: Store, root: Path, mount: MemoryMount, signals: Signals, how: str
) -> None:
    """Suspend-free stays free, by the size of the capture; where it is off, the disk fills: ENOSPC."""
    where = mount.folder if how == "compress" else root
    path = write_capture(where / "1.pcap", packets=20_000 if how == "move" else 1)
    if how == "compress":
        path.write_bytes(incompressible())
        os.utime(path, (1, 1))
    feed(store, path)
    content = path.read_bytes()
    chosen = selected(where, how, mount.folder if how == "move" else None)
    device = mount.folder.stat().st_dev

    kept = make_room(store, chosen._replace(keep_free={device: 15 << 20}), signals, where)
    full = make_room(store, chosen._replace(keep_free={device: -(1 << 40)}), signals, where)

    assert dict(kept.refused) == {NO_SPACE: 1}
    assert dict(full.refused) == {f"{NOT_COPIED}: No space left on device": 1}
    assert path.read_bytes() == content
    assert names_in(mount.folder) == (["1.pcap"] if how == "compress" else [])
    assert not store.redis.exists(store.keys.reclaiming)


def incompressible() -> bytes:
    """Return a capture of 9 MB with random content."""
    source = random.Random(1)  # noqa: S311 - no secret
    return classic([Record(1, n, source.randbytes(900)) for n in range(10_000)])


@pytest.mark.parametrize("how", ["move", "compress"])
def test_a_copy_that_is_gone_keeps_its_capture(
    store: Store, root: Path, mount: MemoryMount, signals: Signals, how: str
) -> None:
    """Another program removed it in the last instant before the capture was to go."""
    path = write_capture(root / "1.pcap", packets=MANY)
    feed(store, path)
    content = path.read_bytes()
    target = mount.folder if how == "move" else None
    copy = mount.folder / "1.pcap" if how == "move" else root / "1.pcap.zst"

    with at("reclaim.confirmed", copy.unlink):
        done = make_room(store, selected(root, how, target), signals, root)

    assert dict(done.refused) == {f"{NOT_COPIED}: {GONE}": 1}
    assert (names_in(root), path.read_bytes()) == (["1.pcap"], content)
    assert names_in(mount.folder) == []
    assert not store.redis.exists(store.keys.reclaiming)


def test_another_file_with_the_number_of_the_copys_inode_is_not_the_copy(
    store: Store, root: Path, signals: Signals
) -> None:
    """Many file systems give the number of a removed file to the next one: so the copy is held open."""
    path = write_capture(root / "1.pcap", packets=MANY)
    feed(store, path)
    hidden = root / ".pcapdj-copy.1.pcap.zst"

    def replace() -> None:
        number = hidden.stat().st_ino
        hidden.unlink()
        for each in range(300):
            (new := root / f"new{each}").write_bytes(b"another file")
            if new.stat().st_ino == number:
                new.rename(hidden)
                return

    with at("reclaim.copied", replace):
        make_room(store, selected(root, "compress"), signals, root)

    assert path.exists()


def test_a_disk_without_second_names_gets_copies_all_the_same(
    store: Store, root: Path, signals: Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As FAT and some network file systems: link(2) is refused there."""
    feed(store, write_capture(root / "1.pcap", packets=MANY))

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    make_room(store, selected(root, "compress"), signals, root)

    assert names_in(root) == ["1.pcap.zst"]


@pytest.mark.long
def test_a_stop_signal_ends_a_copy_within_a_second(store: Store, root: Path) -> None:
    """What there is of the copy is removed, and the capture stays."""
    path = root / "1.pcap"
    content = incompressible()
    path.write_bytes(content + content[24:] * 30)  # 250 MB: some seconds
    os.utime(path, (1, 1))
    feed(store, path)
    options = ["--reclaim", "compress", "--root", str(root), "--keep-last", "0", "--free", "100%"]
    environment = clean_environment(PCAPDJ_REDIS_URL=store.url, PCAPDJ_LANE=store.keys.lane)
    with start("pcapdj", "reclaim", "now", *options, env=environment) as process:
        wait_until(lambda: ".pcapdj-copy.1.pcap.zst" in names_in(root), "the copy to begin")
        stopped_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(scaled(10)) == 0
        took_s = time.monotonic() - stopped_s

    assert names_in(root) == ["1.pcap"]
    assert took_s < scaled(1.0)
    assert content_of(os.fsencode(path))[:100] == content[:100]
    found: Any = store.redis.hgetall(store.keys.reclaiming)
    assert found == {}
