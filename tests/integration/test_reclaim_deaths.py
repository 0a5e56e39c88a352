"""A process that removes captures dies at any step: the next one puts back or finishes what it finds."""

import os
from contextlib import closing
from pathlib import Path

import pytest
from support.forkserver import clean_environment, run
from support.mounts import memory_mount
from support.reclaiming import at, feed, make_room, names_in, reclaimed, selected, write_capture
from support.redis_server import answers
from support.waiting import wait_until

from pcapdj.capture.opening import open_capture
from pcapdj.reclaim.recovery import recover
from pcapdj.runtime.errors import StoreUnavailable
from pcapdj.runtime.failpoints import RECLAIM_POINTS
from pcapdj.runtime.signals import Signals
from pcapdj.store.client import Store

COPYING = ("reclaim.copied", "reclaim.named")  # points that only a copy reaches
STEPS = [
    (how, point)
    for how in ("delete", "compress", "move")
    for point in RECLAIM_POINTS
    if how != "delete" or point not in COPYING
]
# a full kill of each is long; these differ in what is left behind
QUICK = {("delete", "reclaim.hidden"), ("compress", "reclaim.named"), ("move", "reclaim.unlinked")}


def command(store: Store, root: Path, how: str, *, fault: str) -> int:
    """Run `pcapdj reclaim now` as a process; return its exit code, negative if a signal killed it."""
    environment = clean_environment(
        PCAPDJ_FAULT=fault, PCAPDJ_REDIS_URL=store.url, PCAPDJ_LANE=store.keys.lane
    )
    options = ["--reclaim", how, "--root", str(root), "--keep-last", "0", "--free", "100%"]
    return run("pcapdj", "reclaim", "now", *options, env=environment).returncode


@pytest.mark.parametrize(
    ("how", "point"),
    [
        pytest.param(*step, marks=[] if step in QUICK else pytest.mark.long, id="-".join(step))
        for step in STEPS
    ],
)
def test_a_kill_at_any_step_loses_nothing(
    store: Store, tmp_path: Path, signals: Signals, how: str, point: str
) -> None:
    """After the kill the capture or its copy is there; the next process leaves one of them, or none."""
    root = tmp_path / "captures"
    root.mkdir()
    path = write_capture(root / "1.pcap", packets=200)
    feed(store, path)
    with memory_mount(tmp_path) as mount:
        target = mount.folder
        target.chmod(0o700)
        setting = f"move:{target}" if how == "move" else how

        assert command(store, root, setting, fault=f"{point}:1:kill") == -9
        left = [each for each in (*root.iterdir(), *target.iterdir()) if each.stat().st_size]
        was_removed = how == "delete" and not list(root.iterdir())
        assert was_removed or any(is_whole(each) for each in left)

        make_room(store, selected(root, how, target if how == "move" else None), signals, root)

        kept = {"delete": [], "compress": ["1.pcap.zst"], "move": []}[how]
        assert names_in(root) == kept
        assert names_in(target) == (["1.pcap"] if how == "move" else [])
        assert [fields["how"] for fields in reclaimed(store).values()] == [
            {"delete": "removed", "compress": "compressed", "move": "moved"}[how]
        ]
        assert not store.redis.exists(store.keys.reclaiming)
        assert b'"reclaiming"' not in (store.redis.hget(store.keys.fed, os.fsencode(path)) or b"")


def is_whole(path: Path, packets: int = 200) -> bool:
    """Report whether a file has all packets of the capture."""
    with open_capture(os.fsencode(path), refuse_written=False) as capture:
        assert capture.native is not None
        return sum(piece.totals.packets for piece in capture.pieces(capture.native)) == packets


def test_a_name_that_another_file_has_by_now_keeps_both(
    store: Store, tmp_path: Path, signals: Signals
) -> None:
    """The sensor began a new file of that name while the hidden one was left behind: it is reported."""
    path = write_capture(tmp_path / "1.pcap")
    feed(store, path)
    assert command(store, tmp_path, "delete", fault="reclaim.hidden:1:kill") == -9
    assert names_in(tmp_path) == [".pcapdj-reclaim.1.pcap"]
    path.write_bytes(b"new")

    done = make_room(store, selected(tmp_path), signals, tmp_path)

    assert names_in(tmp_path) == [".pcapdj-reclaim.1.pcap", "1.pcap"]
    assert path.read_bytes() == b"new"
    assert len(done.notes) == 1

    path.unlink()
    make_room(store, selected(tmp_path), signals, tmp_path)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("point", ["reclaim.hidden", "reclaim.confirmed"])
def test_a_kill_between_the_two_steps_of_a_rename_leaves_one_name(
    store: Store, tmp_path: Path, signals: Signals, point: str
) -> None:
    """Where renames are a link and an unlink, the capture has both names: it is put back, not another one."""
    path = write_capture(tmp_path / "1.pcap")
    feed(store, path)
    assert command(store, tmp_path, "delete", fault=f"{point}:1:kill") == -9
    path.hardlink_to(tmp_path / ".pcapdj-reclaim.1.pcap")

    assert recover(store, selected(tmp_path), signals) == []
    assert names_in(tmp_path) == ["1.pcap"]
    assert is_whole(path, 20)
    assert (store.redis.exists(store.keys.reclaiming), reclaimed(store)) == (0, {})

    make_room(store, selected(tmp_path), signals, tmp_path)
    assert names_in(tmp_path) == []


def test_a_capture_on_a_disk_that_refuses_is_reported_as_that(
    store: Store, tmp_path: Path, signals: Signals
) -> None:
    """No other file has its name; once the disk takes writes again, it is put back."""
    with memory_mount(tmp_path) as mount:
        feed(store, write_capture(mount.folder / "1.pcap"))
        assert command(store, mount.folder, "delete", fault="reclaim.hidden:1:kill") == -9

        mount.set_writable(False)
        (sentence,) = recover(store, selected(mount.folder), signals)
        assert sentence.endswith("1.pcap': its name cannot be given back: Read-only file system.")

        mount.set_writable(True)
        assert recover(store, selected(mount.folder), signals) == []
        assert names_in(mount.folder) == ["1.pcap"]


def test_a_capture_that_was_about_to_be_unlinked_is_unlinked_if_it_is_what_was_fed(
    store: Store, tmp_path: Path, signals: Signals
) -> None:
    """Another file has its name by now, and stays."""
    path = write_capture(tmp_path / "1.pcap")
    feed(store, path)
    assert command(store, tmp_path, "delete", fault="reclaim.confirmed:1:kill") == -9
    path.write_bytes(b"new")

    done = make_room(store, selected(tmp_path), signals, tmp_path)

    assert (names_in(tmp_path), path.read_bytes(), done.notes) == (["1.pcap"], b"new", [])
    assert [fields["how"] for fields in reclaimed(store).values()] == ["removed"]


@pytest.mark.parametrize(
    ("how", "point", "kept"),
    [
        ("compress", "reclaim.begun", "1.pcap"),
        ("delete", "reclaim.hidden", "1.pcap"),
        ("compress", "reclaim.hidden", "1.pcap"),
        ("compress", "reclaim.unlinked", "1.pcap.zst"),
    ],
)
def test_a_redis_that_does_not_answer_in_the_middle_loses_nothing(
    store: Store, tmp_path: Path, signals: Signals, how: str, point: str, kept: str
) -> None:
    """The capture has its name again, unless it is unlinked already; the next round completes that."""
    path = write_capture(tmp_path / "1.pcap", packets=200)
    feed(store, path)

    with (
        closing(store.another()) as impatient,
        at(point, lambda: pause(impatient)),
        pytest.raises(StoreUnavailable),
    ):
        make_room(impatient, selected(tmp_path, how), signals, tmp_path)
    assert kept in names_in(tmp_path)
    assert is_whole(tmp_path / kept)

    wait_until(lambda: answers(store), "Redis to answer")
    make_room(store, selected(tmp_path, how), signals, tmp_path)
    assert names_in(tmp_path) == (["1.pcap.zst"] if how == "compress" else [])
    assert not store.redis.exists(store.keys.reclaiming)
    assert len(reclaimed(store)) == 1


def pause(store: Store) -> None:
    """Let Redis answer nobody for longer than a call waits."""
    store.redis.client_pause(int(store.timeout_s * 2000))
