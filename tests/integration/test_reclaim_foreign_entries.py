"""What any program may have written into PCAPDJ_RECLAIMING removes no capture, and stops no round."""

import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fuse import FuseMount
from support.mounts import MemoryMount, bound, memory_mount
from support.reclaiming import feed, make_room, names_in, selected, write_capture
from support.waiting import scaled

from pcapdj.reclaim.lanes import WANTED, interest_of
from pcapdj.reclaim.recovery import recover
from pcapdj.reclaim.selection import Candidate, FedRecord, Present
from pcapdj.runtime.errors import Stopped
from pcapdj.runtime.signals import Signals
from pcapdj.store.client import Store
from pcapdj.store.lanes import fed_values, lanes_of


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[MemoryMount]:
    """Return another disk, to which captures are moved."""
    with memory_mount(tmp_path) as mount:
        mount.folder.chmod(0o700)
        yield mount


def claim_copy(store: Store, capture: Path, copy: Path, state: str, **more: Any) -> None:
    """Write, as another program, that this file is the copy of a capture that is being removed."""
    fields = {"state": state, "copy": {"inode": copy.stat().st_ino}, **more}
    store.redis.hset(store.keys.reclaiming, os.fsencode(capture), json.dumps(fields))


@pytest.mark.parametrize("state", ["copying", "begun"])
def test_a_capture_that_was_moved_for_good_stays(
    store: Store, root: Path, archive: MemoryMount, signals: Signals, state: str
) -> None:
    """The archive has the only copy: an entry that names its inode does not remove it."""
    feed(store, path := write_capture(root / "1.pcap"))
    chosen = selected(root, "move", archive.folder)
    make_room(store, chosen, signals, root)
    assert names_in(archive.folder) == ["1.pcap"]

    claim_copy(store, path, archive.folder / "1.pcap", state)
    make_room(store, chosen, signals, root)

    assert names_in(archive.folder) == ["1.pcap"]


@pytest.mark.parametrize("was_fed", ["never", "other bytes"])
def test_a_capture_that_is_kept_hidden_stays(
    store: Store, root: Path, signals: Signals, was_fed: str
) -> None:
    """An entry with its inode does not remove it once its name is taken: it is not what was fed whole."""
    path = write_capture(root / "1.pcap")
    if was_fed == "other bytes":
        feed(store, path)
        status = path.stat()
        with path.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"!")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    hidden = path.rename(root / ".pcapdj-reclaim.1.pcap")
    path.write_bytes(b"new")
    found = hidden.stat()
    identity = [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns]
    fields = {"state": "removing", "identity": identity}
    store.redis.hset(store.keys.reclaiming, os.fsencode(path), json.dumps(fields))

    done = make_room(store, selected(root), signals, root)

    assert names_in(root) == [".pcapdj-reclaim.1.pcap", "1.pcap"]
    assert len(done.notes) == 1


def test_a_capture_beside_another_one_stays(store: Store, root: Path, signals: Signals) -> None:
    """A compressed capture, never fed, is no copy of the plain one because an entry has its inode."""
    plain, other = write_capture(root / "1.pcap"), root / "1.pcap.zst"
    other.write_bytes(b"another capture")

    claim_copy(store, plain, other, "copying")
    make_room(store, selected(root), signals, root)

    assert names_in(root) == ["1.pcap", "1.pcap.zst"]


@pytest.mark.parametrize("how", ["compress", "move"])
def test_a_copy_that_a_person_has_made_stays(
    store: Store, root: Path, archive: MemoryMount, signals: Signals, how: str
) -> None:
    """With the times of the capture that is still there, and named by an entry with its inode."""
    capture = write_capture(root / "1.pcap")
    copy = root / "1.pcap.zst" if how == "compress" else archive.folder / "1.pcap"
    shutil.copy2(capture, copy)

    for state in ("copying", "begun"):
        claim_copy(store, capture, copy, state, identity=[0, capture.stat().st_ino, 0, 0])
        make_room(store, selected(root, how, archive.folder if how == "move" else None), signals, root)

    assert copy.read_bytes() == capture.read_bytes()


@pytest.mark.parametrize("planted", ["another file", "a link"])
def test_a_hidden_name_that_is_not_the_copys_removes_no_file(
    store: Store, root: Path, signals: Signals, planted: str
) -> None:
    """Only a second name of the very same file shows that a copy is one of a process that died."""
    capture = write_capture(root / "1.pcap")
    shutil.copy2(capture, copy := root / "1.pcap.zst")
    hidden = root / ".pcapdj-copy.1.pcap.zst"
    if planted == "a link":
        hidden.symlink_to(copy)
    else:
        shutil.copy2(capture, hidden)

    claim_copy(store, capture, copy, "begun", identity=[0, capture.stat().st_ino, 0, 0])
    make_room(store, selected(root, "compress"), signals, root)

    assert names_in(root) == ["1.pcap", "1.pcap.zst"]


def test_an_entry_makes_no_folders(store: Store, root: Path, archive: MemoryMount, signals: Signals) -> None:
    """Where the archive lacks the folder of a name, there is no copy to remove."""
    (root / "sub").mkdir()

    claim_copy(store, root / "sub/1.pcap", write_capture(root / "2.pcap"), "copying")
    make_room(store, selected(root, "move", archive.folder), signals, root)

    assert names_in(archive.folder) == []


@pytest.mark.parametrize("name", [b"1\0.pcap", b"x" * 5000, b"sub/../1.pcap", b"", b"1.pcap/2"])
def test_a_name_that_no_file_has_ends_no_round(
    store: Store, root: Path, signals: Signals, name: bytes
) -> None:
    """The captures that may go are removed all the same."""
    feed(store, write_capture(root / "1.pcap"))
    store.redis.hset(store.keys.reclaiming, os.fsencode(root) + b"/" + name, "{}")

    make_room(store, selected(root), signals, root)

    assert names_in(root) == []


@pytest.mark.parametrize(
    "claim",
    [
        ["a b", "", "/x", "", ""],
        ["{", "", "/x", "{}", '{"reclaiming": "1"}'],
        ["LANE", "", "/x", "forged", "record"],
        ["LANE", "", "/x", '{"whole": true}', "{}"],
        ["LANE", "", "/x", '{"whole": true}', '{"whole": false, "reclaiming": "1"}'],
        ["LANE", "", "/x", "", "[" * 5000],
    ],
)
def test_a_claim_changes_no_record_and_ends_no_round(
    store: Store, root: Path, signals: Signals, claim: list[str]
) -> None:
    """Only the mark of a claim is taken away, whatever lane and record the entry names."""
    feed(store, write_capture(root / "1.pcap"))
    claim = [store.keys.lane if part == "LANE" else part for part in claim]
    store.redis.hset(store.keys.fed, "/x", claim[4])
    fields = {"state": "begun", "claims": [claim]}
    store.redis.hset(store.keys.reclaiming, os.fsencode(root / "2.pcap"), json.dumps(fields))

    make_room(store, selected(root), signals, root)

    assert names_in(root) == []
    assert store.redis.hget(store.keys.fed, "/x") == claim[4].encode()


def test_of_thousands_of_entries_that_cannot_be_looked_at_the_number_is_shown(
    store: Store, root: Path, signals: Signals
) -> None:
    """Ten are named; each was a line of the screen, and kept in memory."""
    names = [b"/outside/%d" % number for number in range(2500)]
    store.redis.hset(store.keys.reclaiming, mapping=dict.fromkeys(names, "{}"))

    done = make_room(store, selected(root), signals, root)

    assert len(done.notes) == 11
    assert "was being removed, and cannot be looked at" in done.notes[0]
    assert done.notes[10] == "The same of 2,490 more files."


def test_a_stop_signal_ends_the_look_at_them(store: Store, root: Path, signals: Signals) -> None:
    """A program may have written millions."""
    store.redis.hset(store.keys.reclaiming, b"/outside/1", "{}")
    os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        recover(store, selected(root), signals)


def test_a_queued_link_to_a_file_system_that_hangs_does_not_stop_a_round(
    store: Store, root: Path, signals: Signals, mount: FuseMount
) -> None:
    """Any user who may write below a root may put one in the place of a file that waits."""
    feed(store, write_capture(root / "1.pcap"))
    (mount.source / "x").touch()
    (link := root / "link").symlink_to(mount.folder / "x")
    store.redis.rpush(store.keys.in_queue, os.fsencode(link))
    mount.hang(everything=True)
    go_on = threading.Timer(scaled(5), mount.go_on)  # a round that waits would end only then
    go_on.start()

    make_room(store, selected(root), signals, root)

    assert go_on.is_alive()
    go_on.cancel()
    assert names_in(root) == ["link"]
    assert not mount.has_hung


def test_a_file_that_is_queued_behind_a_link_stays(store: Store, root: Path, signals: Signals) -> None:
    """A lane without roots follows it."""
    feed(store, path := write_capture(root / "1.pcap"))
    (link := root / "link").symlink_to(path)
    store.redis.rpush(store.keys.in_queue, os.fsencode(link))

    make_room(store, selected(root), signals, root)

    assert "1.pcap" in names_in(root)


@pytest.mark.parametrize("through", ["mount point", "link"])
def test_a_file_on_a_file_system_that_may_hang_is_known_by_any_path(
    store: Store, mount: FuseMount, tmp_path: Path, through: str
) -> None:
    """The same share may be mounted twice; a file that waits under the other path is not removed."""
    write_capture(mount.source / "1.pcap")
    feed(store, path := mount.folder / "1.pcap")
    name, lanes = os.fsencode(path), lanes_of(store)
    fed = FedRecord.from_value(fed_values(store, lanes[0], [name])[name])
    assert fed
    file = Candidate(name, fed, Present.of(path.stat()))
    assert not interest_of(store, lanes, [file]).reasons

    with bound(mount.folder, tmp_path / "bound") as other:
        (link := tmp_path / "link").symlink_to(other)
        store.redis.rpush(store.keys.in_queue, os.fsencode((link if through == "link" else other) / "1.pcap"))

        assert interest_of(store, lanes, [file]).reasons == {name: WANTED}
