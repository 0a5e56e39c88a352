"""A process that removes captures dies at any step: the next one puts back or finishes what it finds."""

import os
import signal
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from support.forkserver import clean_environment, run, start
from support.mounts import memory_mount
from support.programs import require_program
from support.reclaiming import at, feed, make_room, names_in, reclaimed, selected, write_capture
from support.redis_server import answers
from support.waiting import wait_until

from pcapdj.capture.opening import open_capture
from pcapdj.reclaim import rounds
from pcapdj.reclaim.folder import LOCKED, hidden_moved
from pcapdj.reclaim.recovery import recover
from pcapdj.runtime.errors import ExitCode, StoreUnavailable
from pcapdj.runtime.failpoints import RECLAIM_POINTS
from pcapdj.runtime.process_tree import children_of, find_process
from pcapdj.runtime.signals import Signals
from pcapdj.store import reclaims
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


@pytest.mark.parametrize("point", ["reclaim.copied", "reclaim.named", "reclaim.hidden", "reclaim.confirmed"])
@pytest.mark.parametrize("lane", ["of the same lane", "of another lane"])
def test_another_process_takes_nothing_that_a_living_one_works_on(
    store: Store, other_lane: Store, tmp_path: Path, signals: Signals, point: str, lane: str
) -> None:
    """Not its copy, which the capture is about to be replaced by; locks of users and lanes do not show it."""
    root = tmp_path / "captures"
    root.mkdir()
    path = write_capture(root / "1.pcap")
    other = store if lane == "of the same lane" else other_lane
    for each in {store.keys.lane: store, other.keys.lane: other}.values():
        feed(each, path)
    variables = {"PCAPDJ_REDIS_URL": store.url, "PCAPDJ_LANE": store.keys.lane}
    environment = clean_environment(PCAPDJ_FAULT=f"{point}:1:stop", **variables)
    options = ["--reclaim", "compress", "--root", str(root), "--keep-last", "0", "--free", "100%"]
    with start("pcapdj", "reclaim", "now", *options, env=environment) as process:
        wait_until(lambda: stopped_of(process.pid), "it to stop in its middle")
        before = names_in(root)
        if other is not store:  # what a killed process of that lane has left
            reclaims.begin(other, os.fsencode(path), {"state": "copying"})

        done = make_room(other, selected(root, "compress"), signals, root)

        assert names_in(root) == before
        assert f"'{path}' was being removed, and is {LOCKED}." in done.notes
        os.kill(stopped_of(process.pid)[0], signal.SIGCONT)
        assert process.wait() == ExitCode.ERROR  # there is less room than was asked for
    assert names_in(root) == ["1.pcap.zst"]
    assert is_whole(root / "1.pcap.zst", 20)


def test_captures_of_two_roots_that_are_moved_to_one_name_take_nothing_of_each_other(
    store: Store, other_lane: Store, tmp_path: Path, signals: Signals
) -> None:
    """As those of two sensors, rotated in the same second: a copy is known by the path of its capture."""
    roots, packets = [tmp_path / "a", tmp_path / "b"], [20, 30]
    for lane, root, count in zip((store, other_lane), roots, packets, strict=True):
        root.mkdir()
        path = write_capture(root / "0900.pcap", packets=count)
        os.utime(path, (1_700_003_600, 1_700_003_600))
        feed(lane, path)
    with memory_mount(tmp_path) as mount:
        mount.folder.chmod(0o700)
        setting = f"move:{mount.folder}"
        assert command(store, roots[0], setting, fault="reclaim.copied:1:kill") == -9
        assert command(other_lane, roots[1], setting, fault="reclaim.unlinked:1:kill") == -9

        for lane, root in ((store, roots[0]), (other_lane, roots[1])):
            make_room(lane, selected(root, "move", mount.folder), signals, root)

        assert (names_in(roots[0]), names_in(roots[1])) == (["0900.pcap"], [])
        assert names_in(mount.folder) == ["0900.pcap"]
        assert is_whole(roots[0] / "0900.pcap", 20)
        assert is_whole(mount.folder / "0900.pcap", 30)


def test_captures_of_one_path_in_two_containers_have_copies_of_two_names(tmp_path: Path) -> None:
    """Both may be moved into one folder; a restart finds its own again."""
    folders = [tmp_path / "one", tmp_path / "two"]
    names = list[bytes]()
    for folder in (*folders, folders[0]):
        folder.mkdir(exist_ok=True)
        descriptor = os.open(folder, os.O_PATH)
        names.append(hidden_moved(b"0900.pcap", b"/inbox/0900.pcap", descriptor))
        os.close(descriptor)

    assert (names[0] == names[2], names[0] == names[1]) == (True, False)


def stopped_of(pid: int) -> list[int]:
    """Return which process of a command is stopped; some work in a child."""
    found = filter(None, map(find_process, (pid, *children_of(pid))))
    return [each.pid for each in found if each.state == "T"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")
def test_a_folder_that_another_user_has_locked_keeps_its_captures_and_names_that_user(
    store: Store, signals: Signals, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may read a folder can lock it. Captures in other folders go, however many it has."""
    monkeypatch.setattr(rounds, "_MOST_REFUSALS", 2)
    short_path.chmod(0o755)
    locked = short_path / "locked"
    for folder, names in ((locked, ("1.pcap", "2.pcap", "3.pcap")), (short_path / "other", ("4.pcap",))):
        folder.mkdir()
        for name in names:
            feed(store, write_capture(folder / name))
    command = [require_program("flock"), "--no-fork", str(locked), "sh", "-c", "echo +; exec sleep 60"]
    with subprocess.Popen(command, user=65534, group=65534, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()

        done = make_room(store, selected(short_path), signals, short_path)

        process.kill()
    assert names_in(locked) == ["1.pcap", "2.pcap", "3.pcap"]
    assert names_in(short_path / "other") == []
    assert dict(done.withheld) == {"in a folder that a process of nobody (uid 65534) has locked": 3}


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
