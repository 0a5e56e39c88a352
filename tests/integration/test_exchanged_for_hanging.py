"""A neighbour exchanges a folder of captures for a link to a file system that hangs, all the time.

A call by a path of several parts then follows the link between two looks, and never returns. What would hang
runs in a process of its own; it is let go at the end, when the file system is unmounted.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from support.exchanging import exchanging
from support.fuse import FuseMount, fuse_in
from support.waiting import is_met

from pcapdj.runtime.mounts import MountPoint, any_may_hang, followed, mount_of, present_mounts

NAME: Final = "captures/0.pcap"

# Each gets a name behind the folder that is exchanged.
LOOKS: Final = {
    "mount": """
from pcapdj.runtime.mounts import mount_of
for _ in range(20_000):
    mount_of(name)
""",
    "mounts of several": """
from pcapdj.runtime.mounts import any_may_hang
for _ in range(10_000):
    any_may_hang([name, name + b".1"])
""",
}


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[FuseMount]:
    """Return a file system that answers nothing."""
    with fuse_in(tmp_path) as mount:
        mount.hang(everything=True)
        yield mount


@pytest.fixture
def root(tmp_path: Path, hanging: FuseMount) -> Iterator[Path]:
    """Return a folder, below which the one with captures is exchanged all the time."""
    root = tmp_path / "root"
    (root / "captures").mkdir(parents=True)
    (root / NAME).write_bytes(b"")
    (root / "link").symlink_to(hanging.folder)
    with exchanging(root / "captures", root / "link"):
        yield root


@pytest.mark.parametrize("kind", LOOKS)
def test_no_look_follows_the_link(kind: str, root: Path, hanging: FuseMount) -> None:
    """It sees the folder or the link, and asks the file system nothing."""
    script = f"import sys\nname = sys.argv[1].encode()\n{LOOKS[kind]}"
    looking = subprocess.Popen([sys.executable, "-c", script, root / NAME])

    try:
        assert is_met(lambda: looking.poll() is not None or hanging.has_hung)
        assert not hanging.has_hung
        assert looking.returncode == 0
    finally:
        looking.kill()


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
