"""A FUSE file system that a test can bring to hang, and whose process it can kill, so that reads fail.

It is mounted with mount(2), and `fuse_server` speaks the kernel's protocol itself: neither fusermount nor
libfuse is needed, only root.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from support.programs import missing
from support.waiting import wait_until

DEVICE: Final = Path("/dev/fuse")
SERVER: Final = Path(__file__).with_name("fuse_server.py")
TYPE: Final = b"fuse.pcapdj-test"
_MNT_DETACH, _MS_NOSUID, _MS_NODEV = 2, 2, 4
_libc = ctypes.CDLL(None, use_errno=True)


class FuseMount:
    """A mounted folder.

    Args:
        source: the folder whose files it shows; its commands are there.
        folder: the mount point.
        user: who mounted it, as the kernel has it.
    """

    def __init__(self, source: Path, folder: Path, user: int = 0) -> None:
        self.source = source
        self.folder = folder
        self._user = user
        self._process = self._mounted()

    def _mounted(self) -> "subprocess.Popen[bytes]":
        """Mount it, and return its process."""
        device = os.open(DEVICE, os.O_RDWR)
        options = f"fd={device},rootmode=40000,user_id={self._user},group_id=0,allow_other".encode()
        failed = _libc.mount(b"pcapdj-test", os.fsencode(self.folder), TYPE, _MS_NOSUID | _MS_NODEV, options)
        if failed:
            os.close(device)
            missing(f"a FUSE file system cannot be mounted: {os.strerror(ctypes.get_errno())}")
        command = [sys.executable, str(SERVER), str(device), str(self.source)]
        process = subprocess.Popen(command, pass_fds=[device])
        os.close(device)
        return process

    def hang(self, *, everything: bool = False, behind_bytes: int = 0) -> None:
        """Answer no READ behind this place of a file from now on, or no request at all."""
        (self.source / ("hang-all" if everything else "hang")).write_text(str(behind_bytes))

    def go_on(self) -> None:
        """Answer everything again, also what waits."""
        for name in ("hang", "hang-all"):
            (self.source / name).unlink(missing_ok=True)

    @property
    def has_hung(self) -> bool:
        """Report whether a request waits for an answer."""
        return (self.source / "hung").exists()

    def kill(self) -> None:
        """Kill its process: every call about a file fails at once."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def mount_again(self) -> None:
        """After `kill`, mount it again."""
        _libc.umount2(os.fsencode(self.folder), _MNT_DETACH)
        self.go_on()
        self._process = self._mounted()

    def close(self) -> None:
        """Kill its process and unmount."""
        self.kill()
        _libc.umount2(os.fsencode(self.folder), _MNT_DETACH)


@contextmanager
def fuse_in(folder: Path, mounted: Path | None = None, user: int = 0) -> Iterator[FuseMount]:
    """Return a mount in a folder; skip where only root could, fail in CI where the device is missing.

    Args:
        folder: where its files are.
        mounted: the mount point; None: a new one below the folder.
        user: who mounted it, as the kernel has it.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can mount a FUSE file system")
    if not DEVICE.exists():
        missing(f"{DEVICE} is not there")
    source, mounted = folder / "behind", mounted or folder / "mounted"
    source.mkdir()
    mounted.mkdir(exist_ok=True)
    mount = FuseMount(source, mounted, user)
    try:
        wait_until(lambda: os.path.ismount(mounted), "the file system")
        yield mount
    finally:
        mount.close()
