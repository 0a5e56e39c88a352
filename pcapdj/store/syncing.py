"""Brings what the embedded server has written to the disk once a second, from a process beside it.

Why. Redis with `appendfsync everysec` syncs by itself, but while its fsync runs it holds back what it has
acknowledged since, for up to two seconds: write(2) might have to wait. A `kill -9` in that moment loses it
(measured: by 30 of 30 such kills). With `no` it writes before each reply, so that the kernel has what was
acknowledged, however the server ends; but the kernel takes up to 30 s to bring it to the disk, and a loss of
power costs that much. So the server runs with `no`, and this process syncs. `always` would make the server
exit on a full disk.

How. `start_beside` is called by the process that is going to be the server. It runs this module in a new
interpreter, which forks and ends: the server has no child that it does not know (measured: Redis leaves
such a child a zombie until its next rewrite, and then warns of it). The companion has a session of its own,
and of descriptors only stderr, a pidfd of the server, and the data folder, which `lock_data` has locked: by
that `is_synced` knows of it, and a second server of one folder waits. It sleeps on the pidfd. Each second
it looks at size and time of every append-only file and its folder, and syncs what has changed; a rewrite
makes new inodes, hence other stamps. When the server is gone, however it ended, it gives the folder free,
syncs once more and ends. What cannot be synced is said, at most once a minute, and tried again.

Killed alone it stays away until the server is started again: until then a loss of power costs up to 30 s, and
`pcapdj check` says so. Where it cannot be started, the server runs with everysec.

Cost. 10 MB of memory, 6.7 of them its own (a fork of the caller would keep typer, too); of CPU too little to
be counted at rest. Redis answered 500 SET of 200 bytes a second, each waited for (7.0.15, ext4 on a virtual
disk, seven runs of 15 to 20 s), in ms: median 0.17 to 0.22 with everysec, 0.14 to 0.24 with this; 99 % within
0.4 to 3.4, 0.5 to 4.6; worst 5 to 16, 4 to 201, the latter while others kept the disk busy: then write(2)
waits for the file system's journal, which is what everysec avoids. No feeding waits for Redis.
"""

import fcntl
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

from pcapdj.runtime.command import run_command
from pcapdj.runtime.errors import CannotCreate
from pcapdj.runtime.log import EventLog, Reminder
from pcapdj.runtime.safe_text import quoted

PERIOD_S: Final = 1.0
_START_LIMIT_S: Final = 10.0
_MODULE: Final = "pcapdj.store.syncing"
_FOLDER: Final = "appendonlydir"  # of Redis 7 and Valkey; before that one file in the data folder
_READ: Final = os.O_RDONLY | os.O_CLOEXEC

Stamp = tuple[int, int, int]


class AppendOnly:
    """The append-only files in a server's data folder, and how much of them is on the disk.

    Args:
        data: the folder.
        sync: brings what a descriptor is open on to the disk.
    """

    def __init__(self, data: Path, sync: Callable[[int], None] = os.fsync) -> None:
        self._data = data
        self._sync = sync
        self._synced: dict[Path, Stamp] = {}

    def bring(self) -> OSError | None:
        """Sync what has changed since the last call; return a failure, which the next call tries again."""
        try:
            stamps = _stamps(self._data)
        except OSError as exc:
            return exc
        failure: OSError | None = None
        for path in changed(self._synced, stamps):
            try:
                self._bring(path)
            except FileNotFoundError:  # the server has replaced it meanwhile
                pass
            except OSError as exc:
                failure = exc
                del stamps[path]
        self._synced = stamps
        return failure

    def _bring(self, path: Path) -> None:
        descriptor = os.open(path, _READ)
        try:
            self._sync(descriptor)
        finally:
            os.close(descriptor)


def changed(synced: Mapping[Path, Stamp], now: Mapping[Path, Stamp]) -> list[Path]:
    """Return what is new, or is not what it was when it was synced."""
    return [path for path, stamp in now.items() if synced.get(path) != stamp]


def is_append_only(name: str) -> bool:
    """Report whether a file is the server's; one that it rewrites it syncs itself before it renames it."""
    return name.endswith((".aof", ".manifest")) and not name.startswith("temp")


def lock_data(data: Path) -> int:
    """Return a descriptor of the data folder that locks it; wait until no other server has it.

    Two servers would write into one file, and one that ends removes its socket, even if another one has made
    it anew: after a supervisord's `kill -9` its server may still be ending when the next one begins.

    Raises:
        CannotCreate: the folder cannot be opened.
    """
    try:
        folder = os.open(data, _READ | os.O_DIRECTORY)
    except OSError as exc:
        raise CannotCreate(f"The folder {quoted(str(data))} cannot be used: {exc.strerror}.") from exc
    if not _is_ours(folder):
        EventLog("redis").info(
            "waiting_for_data", "Another server has it; it begins when that ends.", folder=data
        )
        fcntl.flock(folder, fcntl.LOCK_EX)
    return folder


def start_beside(data: Path, folder: int) -> bool:
    """Start the companion of this process, which may then become the server; False if that fails.

    Args:
        data: the server's folder.
        folder: of `lock_data`; closed here, the lock is the companion's from now on.
    """
    try:
        watched = os.pidfd_open(os.getpid())
        try:
            begun = subprocess.run(
                [sys.executable, "-m", _MODULE, str(data), str(watched), str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[watched, folder],
                start_new_session=True,
                timeout=_START_LIMIT_S,
                check=False,
            )
        finally:
            os.close(watched)
    except (OSError, subprocess.TimeoutExpired):  # a kernel or a sandbox without pidfds, no memory, ..
        return False
    finally:
        os.close(folder)
    return begun.returncode == 0


def is_synced(data: Path) -> bool:
    """Report whether a companion keeps this folder."""
    try:
        folder = os.open(data, _READ | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        return not _is_ours(folder)
    finally:
        os.close(folder)


def keep_synced(files: AppendOnly, server: int, folder: int) -> None:
    """Sync once a second until the server is gone, and then once more.

    Args:
        files: the server's.
        server: a pidfd.
        folder: of `lock_data`; free for another server before the last sync, which may take long.
    """
    events, reminder = EventLog("redis"), Reminder()
    watching = select.poll()
    watching.register(server, select.POLLIN)
    is_gone = False
    while not is_gone:
        is_gone = bool(watching.poll(PERIOD_S * 1000))
        if is_gone:
            os.close(folder)
        failure = files.bring()
        if failure and reminder.is_due(failure.errno, time.monotonic()):
            events.warning("sync_failed", f"{failure}. A loss of power may cost names; it is tried again.")


def main() -> NoReturn:
    """Leave a companion behind and end; the arguments are the data folder, the server's pidfd, the lock."""
    data, server, folder = sys.argv[1:]
    sys.exit(run_command(f"python -m {_MODULE}", lambda: _leave_behind(Path(data), int(server), int(folder))))


def _leave_behind(data: Path, server: int, folder: int) -> int:
    if os.fork() == 0:
        keep_synced(AppendOnly(data), server, folder)
    return 0


def _is_ours(folder: int) -> bool:
    """Lock the folder; report whether it is nobody else's, as it always is where there are no locks."""
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        return not isinstance(exc, BlockingIOError)
    return True


def _stamps(data: Path) -> dict[Path, Stamp]:
    stamps: dict[Path, Stamp] = {}
    for path in _paths(data):
        with suppress(FileNotFoundError):
            found = path.stat()
            stamps[path] = (found.st_ino, found.st_size, found.st_mtime_ns)
    return stamps


def _paths(data: Path) -> Iterator[Path]:
    """Yield the files, and the folders that have their names."""
    for folder in (data, data / _FOLDER):
        yield folder
        with suppress(FileNotFoundError):
            yield from (path for path in folder.iterdir() if is_append_only(path.name))


if __name__ == "__main__":
    main()
