"""A neighbour exchanges a folder of captures for a link to a file system that hangs, all the time.

A call by a path of several parts then follows the link between two looks, and never returns. What would hang
runs in a process of its own; it is let go at the end, when the file system is unmounted.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Final

import pytest
from support.cases import some_long
from support.exchanging import exchanging
from support.fuse import FuseMount, fuse_in
from support.reclaiming import feed, write_capture
from support.waiting import is_met

from pcapdj.runtime.mount_list import present_mounts
from pcapdj.runtime.mounts import MountPoint, any_may_hang, followed, mount_of
from pcapdj.store.client import Store

# Each gets a name behind the folder that is exchanged.
LOOKS: Final = {
    "mount": """
from pcapdj.runtime.mounts import mount_of
for _ in range(3_000):
    mount_of(name)
""",
    "mounts of several": """
from pcapdj.runtime.mounts import any_may_hang
for _ in range(1_500):
    any_may_hang([name, name + b".1"])
""",
    "inbox around": """
from pcapdj.inbox.watcher import Inbox
inbox = Inbox(root, recursive=True, roots=[root])
for minutes in range(2):
    inbox.refresh(minutes * 61.0)
    inbox.take_complete(minutes * 61.0 + 30)
""",
    "inbox itself": """
from pcapdj.inbox.watcher import Inbox
inbox = Inbox(os.path.dirname(name), recursive=False, roots=[root])
for second in range(1_500):
    inbox.refresh(float(second))
""",
    "one import": """
from pcapdj.inbox.listing import list_captures
from pcapdj.inbox.watcher import states_of
for _ in range(400):
    states_of([name], [root])
    list_captures([name, name], recursive=False, roots=[root])
""",
}
OPENS: Final = """
from pcapdj.capture.reading_process import FileOpener
from pcapdj.runtime.signals import handled

captures, link, left = os.path.dirname(name), os.path.join(root, b"link"), [True]
def before(event, arguments):
    if event == "open" and os.fsencode(arguments[0]).startswith((name, b"/proc/self/fd/")) and left:
        left.clear()
        os.rename(captures, captures + b".1")
        os.rename(link, captures)

sys.addaudithook(before)
with handled() as signals:
    file = FileOpener(signals).open(name, root=None, refuse_written=False)
assert file.is_local and file.read(4, 0) and not left
"""
PLANS: Final = """
from pcapdj.reclaim.planning import plan
from pcapdj.reclaim.selection import Need, Needs, Selected
from pcapdj.store.client import Store
from pcapdj.store.keys import Keys
store = Store(sys.argv[3], Keys(sys.argv[4]), timeout_s=60)
selected = Selected("delete", "", (root,), keep_last=0, keep_within_s=0.0, keep_free={})
needs = Needs({os.stat(root).st_dev: Need(1 << 60, 0)})
for _ in range(20):
    found = plan(store, selected, needs, time.time())
    assert os.path.join(root, b"1.pcap") in {each.name for each in found.files}
"""


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[FuseMount]:
    """Return a file system that answers nothing."""
    with fuse_in(tmp_path) as mount:
        mount.hang(everything=True)
        yield mount


@pytest.fixture
def root(tmp_path: Path, hanging: FuseMount) -> Path:
    """Return a folder of captures, with a link to that file system."""
    root = tmp_path / "root"
    (root / "captures").mkdir(parents=True)
    for number in range(50):
        write_capture(root / "captures" / f"{number}.pcap")
    (root / "link").symlink_to(hanging.folder)
    return root


def look(script: str, root: Path, hanging: FuseMount, *words: str, exchanged: bool = True) -> None:
    """Look at a name while its folder is exchanged; fail if the file system is asked for something."""
    begin = "import os, sys, time\nroot, name = map(os.fsencode, sys.argv[1:3])\n"
    command: list[str | Path] = [sys.executable, "-c", begin + script, root, root / "captures/0.pcap", *words]
    with exchanging(root / "captures", root / "link") if exchanged else nullcontext():
        looking = subprocess.Popen(command)
        try:
            assert is_met(lambda: looking.poll() is not None or hanging.has_hung)
            assert not hanging.has_hung
            assert looking.returncode == 0
        finally:
            looking.kill()


@pytest.mark.parametrize("kind", some_long(LOOKS, quick=("mount", "inbox itself", "one import")))
def test_no_look_follows_the_link(kind: str, root: Path, hanging: FuseMount) -> None:
    """It sees the folder or the link, and asks the file system nothing."""
    look(LOOKS[kind], root, hanging)


def test_without_a_root_the_file_that_was_found_is_opened(root: Path, hanging: FuseMount) -> None:
    """Links are followed then; one that takes the place of a folder at the last moment is not."""
    look(OPENS, root, hanging, exchanged=False)


@pytest.mark.parametrize("state", ["queued", "fed"])
def test_making_room_goes_on(store: Store, root: Path, hanging: FuseMount, state: str) -> None:
    """It looks at each queued and each fed name; a capture beside the folder may go."""
    feed(store, write_capture(root / "1.pcap"))
    paths = [*(root / "captures").iterdir()]
    if state == "fed":
        feed(store, *paths)
    else:
        store.redis.rpush(store.keys.in_queue, *map(os.fsencode, paths))

    look(PLANS, root, hanging, store.url, store.keys.lane)


def test_a_file_system_that_was_mounted_since_the_list_was_read_is_asked_nothing(tmp_path: Path) -> None:
    """Its mount point is a folder in the list: the kernel says where the way has come to."""
    before = present_mounts()
    with fuse_in(tmp_path) as mount:
        mount.hang(everything=True)
        place = os.fsencode(mount.folder)

        found = [mount_of(each, before) for each in (place, place + b"/a/b.pcap", place + b"/../mounted/a")]

        assert found == [MountPoint(place, may_hang=True)] * 3
        assert not mount.has_hung


def test_a_link_to_it_among_many_files_is_found_without_a_call_about_it(tmp_path: Path) -> None:
    """The other files are on a disk."""
    with fuse_in(tmp_path) as mount:
        mount.hang(everything=True)
        (tmp_path / "link").symlink_to(mount.folder / "a.pcap")
        names = [os.fsencode(tmp_path / f"{number}.pcap") for number in range(100)]

        assert not any_may_hang(names)
        assert any_may_hang([*names, os.fsencode(tmp_path / "link")])
        assert not mount.has_hung


def test_a_way_is_open_where_it_may_be_asked(tmp_path: Path) -> None:
    """On a disk, and on a file system that may hang, if the caller asks that one anyway."""
    with fuse_in(tmp_path) as mount:
        (tmp_path / "link").symlink_to(mount.folder)
        place, link = os.fsencode(mount.folder), os.fsencode(tmp_path / "link")

        with followed(os.fsencode(tmp_path)) as (_, near), followed(link) as (_, far):
            assert near.descriptor >= 0 > far.descriptor
        with followed(link, entered=[place]) as (found, asked):
            assert found == MountPoint(place, may_hang=True)
            assert os.fstat(asked.descriptor).st_dev == mount.folder.stat().st_dev
