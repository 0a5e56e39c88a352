"""A file system in memory that a test mounts and unmounts, as root."""

import ctypes
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from support.programs import missing

_NEW_ID: Final = 10**9
_MNT_DETACH, _MS_RDONLY, _MS_REMOUNT, _MS_BIND = 2, 1, 32, 4096
_libc: Final = ctypes.CDLL(None, use_errno=True)


class MemoryMount:
    """A tmpfs; what is in it stays while it is not mounted at its folder.

    Args:
        folder: the mount point.
        elsewhere: where it is mounted all the time.
        size: how much fits into it, as mount(8) has it.
    """

    def __init__(self, folder: Path, elsewhere: Path, size: str = "16m") -> None:
        self.folder = folder
        self.elsewhere = elsewhere
        if _libc.mount(b"tmpfs", os.fsencode(elsewhere), b"tmpfs", 0, f"size={size}".encode()):
            missing(f"a tmpfs cannot be mounted: {os.strerror(ctypes.get_errno())}")
        self.mount()

    def mount(self) -> None:
        """Mount it at its folder."""
        assert not _libc.mount(os.fsencode(self.elsewhere), os.fsencode(self.folder), None, _MS_BIND, None)

    def unmount(self) -> None:
        """Unmount it there."""
        _libc.umount2(os.fsencode(self.folder), _MNT_DETACH)

    def mount_another(self) -> None:
        """Mount an empty one at its folder."""
        assert not _libc.mount(b"tmpfs", os.fsencode(self.folder), b"tmpfs", 0, b"size=16m")

    def set_writable(self, is_writable: bool) -> None:  # noqa: FBT001 - what it sets
        """Mount it read-only at its folder, or no longer so; a file that is open for writing refuses that."""
        flags = _MS_REMOUNT | _MS_BIND | (0 if is_writable else _MS_RDONLY)
        assert not _libc.mount(b"none", os.fsencode(self.folder), None, flags, None)

    def close(self) -> None:
        """Unmount it everywhere."""
        self.unmount()
        _libc.umount2(os.fsencode(self.elsewhere), _MNT_DETACH)


@contextmanager
def memory_mount(folder: Path, size: str = "16m", mounted: Path | None = None) -> Iterator[MemoryMount]:
    """Return a mount of this size; skip where only root could.

    Args:
        folder: below it the file system stays mounted all the time.
        size: how much fits into it.
        mounted: the mount point; None: a new one below the folder.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    mounted, elsewhere = mounted or folder / "mounted", folder / "elsewhere"
    mounted.mkdir(parents=True, exist_ok=True)
    elsewhere.mkdir()
    mount = MemoryMount(mounted, elsewhere, size)
    try:
        yield mount
    finally:
        mount.close()


@contextmanager
def bound(folder: Path, elsewhere: Path) -> Iterator[Path]:
    """Mount a folder at another place, too, which is made."""
    elsewhere.mkdir()
    assert not _libc.mount(os.fsencode(folder), os.fsencode(elsewhere), None, _MS_BIND, None)
    try:
        yield elsewhere
    finally:
        _libc.umount2(os.fsencode(elsewhere), _MNT_DETACH)


def listed_mounts(kinds: Mapping[Path, str]) -> str:
    """Return the kernel's list of mounts, as if all were local, and file systems of these types at places."""
    present = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").split("\n")[:-1]
    local = [line.partition(" - ")[0] + " - ext4 source rw" for line in present]
    more = [
        f"{_NEW_ID} 1 98:0 / {place} rw,noatime shared:1 master:2 - {kind} source rw"
        for place, kind in kinds.items()
    ]
    return "\n".join([*local, *more, ""])


def fill(folder: Path) -> Path:
    """Fill the disk of a folder to its last byte; return the file that does."""
    path = folder / "fills"
    with path.open("wb", 0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return path
