"""Streams to an analyzer that a user started by hand on the other end of the pipe: `suricata -r PIPE`.

No other process has the sources here: a stream that a dead dispatcher tore is never continued. Its analyzer
reads what is left, sees the end, and exits. Only then may the pipe be opened for the next stream, since
opening it earlier would hide that end from the old reader. The same holds after a stream that was ended.
"""

import ctypes
import os
import secrets
import stat
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from pcapdj.feed.analyzer_link import AnalyzerLink
from pcapdj.runtime import fifo
from pcapdj.runtime.errors import CannotCreate
from pcapdj.runtime.log import EventLog
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.signals import Waits, between

events = EventLog("dispatcher")

_POLL_S: Final = 0.1
_STATX_BYTES, _MODE_OFFSET, _DEVICE = 256, 28, slice(136, 144)  # of struct statx; the inode follows the mode
_CURRENT_FOLDER, _NO_FOLLOW, _DONT_SYNC, _TYPE_AND_INODE = -100, 0x100, 0x4000, 0x101
_libc: Final = ctypes.CDLL(None)


class ManualLink(AnalyzerLink):
    """One pipe, read by any analyzer that a user starts.

    Raises:
        CannotCreate: something else than a pipe of this user is at the path.
    """

    outlives_dispatcher = False

    def __init__(self, path: Path, waits: Waits) -> None:
        self._path = path
        self._waits = waits
        self._write_end: int | None = None
        self._old_readers: list[int] = []
        make_pipe(path)

    def wait_for_peer(self) -> None:
        """Wait until a reader has the pipe open, and hold it for `open`.

        Raises:
            Stopped: a stop signal arrived.
            CannotCreate: the pipe was replaced by something else.
        """
        if self._write_end is None:
            self._write_end = self._wait_for_reader()

    def wait_for_readers_to_close(self) -> None:
        """Wait until those that have the pipe open now have closed it: they read a torn stream.

        Raises:
            Stopped: a stop signal arrived.
        """
        self.remember_readers()
        self._wait_for_old_readers()

    def open(self) -> tuple[str, int]:
        """Return a new stream's id and write end.

        Raises:
            Stopped, CannotCreate: as `wait_for_peer`.
        """
        write_end, self._write_end = self._write_end, None
        if write_end is None:
            write_end = self._wait_for_reader()
        return f"by-hand-{secrets.token_hex(4)}", write_end

    def remember_readers(self) -> None:
        """Note the processes that have the pipe open.

        Raises:
            Stopped: a stop signal arrived.
        """
        self._old_readers = processes_with(self._path, self._waits)

    def _wait_for_reader(self) -> int:
        self._wait_for_old_readers()
        while (write_end := open_if_read(self._path)) is None:
            sentence = f"Waiting for an analyzer to read {quoted(str(self._path))}."
            self._waits.wait(_POLL_S, waiting_for=sentence)
        return write_end

    def _wait_for_old_readers(self) -> None:
        while self._old_readers:
            self._old_readers = processes_with(self._path, self._waits, self._old_readers)
            if self._old_readers:
                sentence = (
                    f"The stream is over; waiting until its reader (pid {self._old_readers[0]}) is gone."
                )
                self._waits.wait(_POLL_S, waiting_for=sentence)


def make_pipe(path: Path) -> None:
    """Make the pipe, unless it is there; a pipe that other users may read is used, with a warning.

    Raises:
        CannotCreate: it cannot be made, or is not a pipe that only this user can write to.
    """
    try:
        fifo.make(path)
    except FileExistsError:
        _check(path, found := os.lstat(path))
        if found.st_mode & (stat.S_IRGRP | stat.S_IROTH):  # a pipe that the user made is as the umask was
            events.warning(
                "pipe_not_private", "Other users may read the stream; chmod 600 keeps it private.", pipe=path
            )


def open_if_read(path: Path) -> int | None:
    """Return a non-blocking write end; None while no analyzer reads.

    Raises:
        CannotCreate: the path cannot be opened, or is not a pipe that only this user can write to.
    """
    fd = fifo.open_if_read(path)
    if fd is None:
        return None
    try:
        _check(path, os.fstat(fd))
    except CannotCreate:
        os.close(fd)
        raise
    return fd


def _check(path: Path, found: os.stat_result) -> None:
    fifo.check(path, found)
    fifo.check_writers(path, found)


def processes_with(path: Path, waits: Waits | None = None, pids: Iterable[int] | None = None) -> list[int]:
    """Return the pids of other processes that have the file open, as far as this user may see.

    Args:
        path: of the file.
        waits: looks for stop signals: other users may have a million open files each.
        pids: who is looked at; None: all processes.

    Raises:
        Stopped: a stop signal arrived.
    """
    wanted = _pipe_at(os.fsencode(path), follows_links=False)
    if wanted is None:  # removed, out of reach, or replaced, which is refused at the next opening
        return []
    if pids is None:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - names
    return [pid for pid in pids if pid != os.getpid() and _has_open(pid, wanted, waits)]


def _has_open(pid: int, wanted: bytes, waits: Waits | None) -> bool:
    with suppress(OSError), os.scandir(f"/proc/{pid}/fd") as opened:  # another user's, or gone
        for descriptor in between(opened, waits):
            if _pipe_at(os.fsencode(descriptor.path), follows_links=True) == wanted:
                return True
    return False


def _pipe_at(path: bytes, *, follows_links: bool) -> bytes | None:
    """Return what identifies the pipe at a path; None: there is none.

    The server of its file system is not asked: another user's may never answer, and stat(2) waits for it.

    Source: statx(2), AT_STATX_DONT_SYNC and the offsets of its structure.
    """
    found = ctypes.create_string_buffer(_STATX_BYTES)
    flags = _DONT_SYNC if follows_links else _DONT_SYNC | _NO_FOLLOW
    if _libc.statx(_CURRENT_FOLDER, path, flags, _TYPE_AND_INODE, found):
        return None
    mode, inode = struct.unpack_from("=H2xQ", found, _MODE_OFFSET)
    return struct.pack("Q8s", inode, found[_DEVICE]) if stat.S_ISFIFO(mode) else None
