"""Which file systems may hang: decided by the list of mounts, without a call about the file."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from support.mounts import listed_mounts

from pcapdj.runtime import mount_list
from pcapdj.runtime.mount_list import mounted_types, true_owner
from pcapdj.runtime.mounts import (
    MountPoint,
    any_may_hang,
    has_owners,
    mount_of,
    mount_that_may_hang,
)

LINE = "36 25 98:0 / {place} rw,noatime shared:1 master:2 - {kind} source rw"


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that lists file systems at folders below the test's one, beside local ones."""

    def listed(**kinds: str) -> None:
        lines = listed_mounts({tmp_path / name: kind for name, kind in kinds.items()})
        (tmp_path / "mountinfo").write_text(lines, errors="surrogateescape", newline="")

    monkeypatch.setattr(mount_list, "_MOUNTINFO", str(tmp_path / "mountinfo"))
    return listed


def found(path: Path | str) -> str | None:
    """Return the mount point that was found, as text."""
    mount = mount_that_may_hang(os.fsencode(path))
    return None if mount is None else os.fsdecode(mount)


@pytest.mark.parametrize(
    "kind", ["nfs4", "cifs", "fuse.sshfs", "fuseblk", "9p", "autofs", "not-invented-yet"]
)
def test_a_path_below_such_a_mount_may_hang(tmp_path: Path, mounted: Callable[..., None], kind: str) -> None:
    """The mount point itself, and all below it, there or not."""
    mounted(far=kind)

    assert found(tmp_path / "far") == str(tmp_path / "far")
    assert found(tmp_path / "far" / "a" / "b.pcap") == str(tmp_path / "far")
    assert found(tmp_path / "farther") is None
    assert found(tmp_path / "missing" / "a.pcap") is None


@pytest.mark.parametrize("kind", ["devpts", "ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs"])
def test_a_local_file_system_does_not(tmp_path: Path, mounted: Callable[..., None], kind: str) -> None:
    """It is read in the process itself."""
    mounted(near=kind)

    assert found(tmp_path / "near" / "a.pcap") is None


def test_links_are_followed_as_far_as_they_are_local(tmp_path: Path, mounted: Callable[..., None]) -> None:
    """Absolute ones, relative ones, links to links, and those of a loop."""
    mounted(far="nfs")
    (tmp_path / "absolute").symlink_to(tmp_path / "far" / "captures")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "relative").symlink_to("../absolute")
    (tmp_path / "loop").symlink_to("loop")

    assert found(tmp_path / "folder" / "relative" / "a.pcap") == str(tmp_path / "far")
    assert found(tmp_path / "folder" / ".." / "far") == str(tmp_path / "far")
    assert found(tmp_path / "loop" / "a.pcap") is None


def test_a_relative_path_begins_in_the_working_folder(
    tmp_path: Path, mounted: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the kernel has it."""
    mounted(far="nfs")
    monkeypatch.chdir(tmp_path)

    assert found("./far/a.pcap") == str(tmp_path / "far")
    assert found("a.pcap") is None


def test_without_a_list_of_mounts_everything_counts_as_local(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container without /proc."""
    monkeypatch.setattr(mount_list, "_MOUNTINFO", "/nowhere")

    assert found("/a.pcap") is None


def test_mount_points_are_unescaped_and_the_one_on_top_counts() -> None:
    """Blanks are octal numbers in the list; a later line covers an earlier one of the same place."""
    lines = [LINE.format(place=r"/a\040b", kind="autofs"), LINE.format(place=r"/a\040b", kind="ext4")]

    assert mounted_types("\n".join(lines).encode()) == {b"/a b": b"ext4"}


@pytest.mark.parametrize("name", ["a\rb", "a\x0bb", "a\r"])
def test_a_mount_point_may_have_what_other_lists_take_for_a_line_end(
    tmp_path: Path, mounted: Callable[..., None], name: str
) -> None:
    """The kernel escapes blank, tab, newline and backslash only; all users see the mount points of all."""
    mounted(**{name: "fuse.sshfs"})

    assert found(tmp_path / name / "a.pcap") == str(tmp_path / name)
    assert found(tmp_path / "near" / "a.pcap") is None


def test_a_name_with_a_nul_byte_leads_to_nothing() -> None:
    """The queue may have any name; opening it is refused with the reason."""
    assert mount_that_may_hang(b"/tmp/a\0b") is None


def test_a_path_is_on_the_file_system_mounted_nearest_to_it(
    tmp_path: Path, mounted: Callable[..., None]
) -> None:
    """Links and `..` lead out of one again; one that may hang is not looked into."""
    mounted(near="ext4", far="nfs")
    (tmp_path / "link").symlink_to("near/folder")
    (tmp_path / "near").mkdir()

    places = ["a.pcap", "near", "near/folder/a.pcap", "link/a.pcap", "near/../a.pcap", "far/a/b.pcap"]
    found = [mount_of(os.fsencode(tmp_path / each)) for each in places]

    near, far = (os.fsencode(tmp_path / each) for each in ("near", "far"))
    root = mount_of(os.fsencode(tmp_path))
    inner = MountPoint(near, may_hang=False)
    assert found == [root, inner, inner, inner, root, MountPoint(far, may_hang=True)]


@pytest.mark.parametrize("place", ["link", "far", "folder/through/inner", "folder/..", "far/a.pcap"])
def test_one_of_many_files_may_hang(tmp_path: Path, mounted: Callable[..., None], place: str) -> None:
    """Wherever it is among thousands of one folder; links, mount points and `..` are followed."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "through").symlink_to("../real")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("far/a.pcap")
    mounted(**{"far": "nfs", "real/inner": "nfs"} | ({".": "nfs"} if ".." in place else {}))
    names = [os.fsencode(tmp_path / f"{number}.pcap") for number in range(1000)]

    assert ".." in place or not any_may_hang(names)
    assert any_may_hang([*names, os.fsencode(tmp_path / place)])


@pytest.mark.parametrize("kind", ["nfs4", "fuse.sshfs", "autofs"])
def test_all_but_local_file_systems_may_hang(tmp_path: Path, mounted: Callable[..., None], kind: str) -> None:
    """Those of the kernel itself do not."""
    mounted(memory="tmpfs", groups="cgroup2", queues="mqueue", trace="tracefs", far=kind)

    local = [os.fsencode(tmp_path / name) for name in ("memory", "groups", "queues", "trace")]
    assert not any_may_hang(local)
    assert any_may_hang([*local, os.fsencode(tmp_path / "far")])


@pytest.mark.parametrize("link", ["cwd", "root", "fd/0"])
def test_where_a_link_to_a_file_of_another_process_leads_is_not_known(tmp_path: Path, link: str) -> None:
    """That may be on a file system that is mounted for the other process only; our own are known."""
    with subprocess.Popen(["sleep", "60"], stdin=subprocess.DEVNULL, cwd=tmp_path) as process:
        way = tmp_path / "link"
        way.symlink_to(f"/proc/{process.pid}/{link}")
        assert mount_of(os.fsencode(way / "a.pcap")).may_hang
        process.kill()
    for own in ("/proc/self/cwd", f"/proc/{os.getpid()}/root", "/dev/null"):
        assert not mount_of(os.fsencode(own)).may_hang


DEEP: Final = """
import os, time
for _ in range(20):
    os.mkdir("d" * 240)
    os.chdir("d" * 240)
print(flush=True)
time.sleep(60)
"""


def test_a_link_whose_text_the_kernel_cannot_return_is_one_all_the_same(tmp_path: Path) -> None:
    """The folder of another process may have a path of any length."""
    with subprocess.Popen([sys.executable, "-c", DEEP], stdout=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stdout
        process.stdout.readline()
        assert mount_of(b"/proc/%d/cwd/a.pcap" % process.pid).may_hang
        process.kill()
    subprocess.run(["rm", "-rf", tmp_path / ("d" * 240)], check=True)


@pytest.mark.parametrize(
    ("kind", "options", "owner"),
    [
        ("fuse.sshfs", "rw,user_id=65534,group_id=0,allow_other", 65534),
        ("fuse", "rw,user_id=65534", 65534),
        ("fuse", "rw,user_id=0,group_id=65534", 7),
        ("fuse", f"rw,user_id={os.geteuid()}", 7),
        ("tmpfs", "rw,user_id=65534", 7),
    ],
)
def test_the_owner_of_a_file_is_who_mounted_it_where_a_program_of_theirs_names_owners(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, options: str, owner: int
) -> None:
    """Its source is a text of theirs, too; a file on a disk, or of another mount, has its own owner."""
    lines = f"1 1 0:52 / /a rw - {kind} rw,user_id=0 {options}\n2 1 0:53 / /b rw - fuse s rw,user_id=65534\n"
    (tmp_path / "mountinfo").write_text(lines)
    monkeypatch.setattr(mount_list, "_MOUNTINFO", str(tmp_path / "mountinfo"))

    def status(device: int) -> os.stat_result:
        return os.stat_result((0o100644, 1, device, 1, 7, 7, 0, 0, 0, 0))

    assert true_owner(status(os.makedev(0, 52))) == owner
    assert true_owner(status(os.makedev(8, 52))) == true_owner(status(os.makedev(0, 54))) == 7


def test_owners_mean_nothing_on_a_stick(tmp_path: Path, mounted: Callable[..., None]) -> None:
    """There every file belongs to the user who mounted it; a link is followed."""
    mounted(stick="vfat", share="cifs", disk="xfs", memory="tmpfs")
    for name in ("stick", "share", "disk", "memory"):
        (tmp_path / name).mkdir()
    (tmp_path / "disk" / "link").symlink_to(tmp_path / "stick")

    places = ("stick", "stick/folder/file", "share", "disk/link", "disk", "memory", "elsewhere")

    found = {place: has_owners(os.fsencode(tmp_path / place)) for place in places}
    without = ("stick", "stick/folder/file", "share", "disk/link")
    assert found == {place: place not in without for place in places}


@pytest.mark.parametrize("path", [b"/", b"a.pcap", b""], ids=["absolute", "relative", "itself"])
def test_a_current_folder_that_was_removed_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: bytes
) -> None:
    """A role may be started in a folder of another user; an absolute path has nothing to do with it."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    here.rmdir()

    assert mount_that_may_hang(path) == mount_that_may_hang(os.fsencode(tmp_path)) is None
