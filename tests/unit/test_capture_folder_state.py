"""What is looked at where a capture should be, and what is not because it lies outside of the root."""

import os
from pathlib import Path

import pytest

from pcapdj.capture.folder_state import folder_state
from pcapdj.runtime.mounts import mount_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a root with a folder that has a file, and a link to a folder outside that has one, too."""
    for folder in (tmp_path / "root" / "folder", tmp_path / "outside"):
        folder.mkdir(parents=True)
        (folder / "other.pcap").write_bytes(b"other")
    (tmp_path / "root" / "link").symlink_to(tmp_path / "outside")
    return tmp_path / "root"


def looked_at(folder: Path, root: Path | None) -> tuple[bool, bool]:
    """Return what is found where a capture of this folder should be."""
    name = os.fsencode(folder / "none.pcap")
    found = folder_state(name, b"", os.fsencode(root) if root else None)
    return found.has_folder, found.has_readable_files


@pytest.mark.parametrize("place", ["link", "link/.", "../outside", "none", "folder/other.pcap"])
def test_with_a_root_a_folder_that_is_not_below_it_is_neither_listed_nor_read(root: Path, place: str) -> None:
    """It counts as gone, as one that is no folder."""
    assert looked_at(root / place, root) == (False, False)


@pytest.mark.parametrize("place", ["folder", "./folder/"])
def test_with_a_root_the_other_files_of_a_folder_below_it_are_read(root: Path, place: str) -> None:
    """So does a relative name without a root."""
    assert looked_at(root / place, root) == (True, True)
    assert looked_at(Path(os.path.relpath(root / place)), None) == (True, True)


def test_without_a_root_links_are_followed(root: Path) -> None:
    """As when the capture is opened."""
    assert looked_at(root / "link", None) == (True, True)


def test_a_recorded_mount_point_is_asked_only_if_something_is_mounted_there(root: Path) -> None:
    """The record may be of a program that writes Redis, and name any path."""
    name = os.fsencode(root / "folder" / "none.pcap")
    mount = mount_of(name).place

    assert folder_state(name, mount, None).mount_device == root.stat().st_dev
    assert folder_state(name, os.fsencode(root / "link"), None).mount_device is None
