"""The companion process: syncs the embedded server's files to the disk once a second, beside the server.

Why. With `appendfsync everysec` Redis itself syncs. While its fsync runs, it delays acknowledged writes for
up to two seconds, because write(2) might block. A `kill -9` in that moment loses them (measured: in 30 of 30
such kills). With `no` it writes before each reply, so the kernel has every acknowledged write however the
server ends. But the kernel takes up to 30 s to bring it to the disk, and a power loss loses that much. So the
server runs with `no`, and this process syncs. With `always` the server would exit when its disk is full.

How. `start_beside` is called by the process that becomes the server. It runs this module in a new
interpreter, which forks and exits, so that the companion is not a child of the server (measured: Redis leaves
a child that it did not start a zombie until its next rewrite, and then warns about it). The companion has its
own session, and three descriptors: stderr, a pidfd of the server, and the data folder. `lock_data` has locked
that folder: the lock shows `is_synced` that there is a companion, and makes a second server of the folder
wait. The companion sleeps on the pidfd. Each second it compares size and time of every append-only file and
its folder, and syncs those that changed; a rewrite makes new inodes, so it counts as a change. When the
server has ended, the companion unlocks the folder, syncs once more and exits. A failed sync is logged, at
most once a minute, and tried again. One that does not return after ten seconds is logged by a thread, which
also leaves the reason beside the server's socket (`start_problem`), where every screen finds it.

If only the companion is killed, it is missing until the server is started again. Until then a power loss may
lose 30 s, and `pcapdj check` reports it. If it cannot be started, the server runs with everysec.

Cost. 10 MB of memory, 6.7 of them its own, since it imports no typer; at rest no measurable CPU. Redis
answered 500 SET of 200 bytes a second, each waited for (7.0.15, ext4 on a virtual disk, seven runs of 15 to
20 s), in ms: median 0.17 to 0.22 with everysec, 0.14 to 0.24 with this; 99 % within 0.4 to 3.4, 0.5 to 4.6;
worst 5 to 16, 4 to 201, the latter while other programs kept the disk busy: then write(2) waits for the file
system's journal, which everysec avoids. The feeding never waits for Redis.
"""

import fcntl
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NoReturn

from pcapdj.runtime.command import run_command
from pcapdj.runtime.environment import own_environment
from pcapdj.runtime.errors import CannotCreate, ConfigError
from pcapdj.runtime.interpreter import module_command
from pcapdj.runtime.lock import held_by_another_user, holder_of, locked
from pcapdj.runtime.log import EventLog, Reminder
from pcapdj.runtime.safe_text import quoted
from pcapdj.store.start_problem import clear_problem, write_problem

PERIOD_S: Final = 1.0
_START_LIMIT_S: Final = 10.0
_LONGEST_SYNC_S: Final = 10.0
_HANGS: Final = (
    "The disk with the data of Redis has not finished a sync for more than 10 s. Until it has, a power loss"
    " may lose names; a kill does not. Check that disk."
)
_MODULE: Final = "pcapdj.store.syncing"
_FOLDER: Final = "appendonlydir"  # of Redis 7 and Valkey; before that one file in the data folder
_READ: Final = os.O_RDONLY | os.O_CLOEXEC

Stamp = tuple[int, int, int]

_events: Final = EventLog("redis")


class AppendOnlyFiles:
    """The append-only files in a server's data folder, and their state at the last sync."""

    def __init__(self, data: Path, sync: Callable[[int], None] = os.fsync) -> None:
        self._data = data
        self._sync = sync
        self._synced: dict[Path, Stamp] = {}

    def sync_changed(self) -> OSError | None:
        """Sync the files that changed since the last call; return a failure, which the next call retries."""
        try:
            stamps = _stamps(self._data)
        except OSError as exc:
            return exc
        failure: OSError | None = None
        for path in changed(self._synced, stamps):
            try:
                self._sync_file(path)
            except FileNotFoundError:  # the server has replaced it meanwhile
                pass
            except OSError as exc:
                failure = exc
                del stamps[path]
        self._synced = stamps
        return failure

    def _sync_file(self, path: Path) -> None:
        descriptor = os.open(path, _READ)
        try:
            self._sync(descriptor)
        finally:
            os.close(descriptor)


def changed(synced: Mapping[Path, Stamp], now: Mapping[Path, Stamp]) -> list[Path]:
    """Return the files that are new or have changed since they were synced."""
    return [path for path, stamp in now.items() if synced.get(path) != stamp]


def is_append_only(name: str) -> bool:
    """Report whether a file has to be synced; a rewritten one the server syncs before it renames it."""
    return name.endswith((".aof", ".manifest")) and not name.startswith("temp")


def lock_data(data: Path) -> int:
    """Return a descriptor of the data folder that locks it; wait until no other server has it.

    Two servers would write into one file. A server that ends also removes its socket, even if another server
    has made a new one there: after a `kill -9` of supervisord the old server may still be ending when the
    next one starts.

    Raises:
        CannotCreate: the folder cannot be opened.
        AlreadyRunning: a process of another user has locked it.
    """
    try:
        folder = os.open(data, _READ | os.O_DIRECTORY)
    except OSError as exc:
        raise CannotCreate(f"The folder {quoted(str(data))} cannot be used: {exc.strerror}.") from exc
    if not _is_ours(folder):
        if error := held_by_another_user(data, holder_of(folder)):
            os.close(folder)
            raise error
        _events.info(
            "waiting_for_data",
            "Another server has this folder; this one starts when that one ends.",
            folder=data,
        )
        fcntl.flock(folder, fcntl.LOCK_EX)
    return folder


def start_beside(data: Path, folder: int, socket: Path) -> bool:
    """Start the companion of this process, which then becomes the server; False if that fails.

    Args:
        data: the server's folder.
        folder: of `lock_data`; closed here, since the companion has the lock from now on.
        socket: the absolute path where the server will listen.
    """
    try:
        watched = os.pidfd_open(os.getpid())
        try:
            started = subprocess.run(
                module_command(_MODULE, str(data), str(watched), str(folder), str(socket)),
                env=own_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[watched, folder],
                start_new_session=True,
                timeout=_START_LIMIT_S,
                check=False,
            )
        finally:
            os.close(watched)
    except (OSError, subprocess.TimeoutExpired):  # a kernel or sandbox without pidfds, no memory, ..
        return False
    finally:
        os.close(folder)
    return started.returncode == 0


def is_synced(data: Path) -> bool:
    """Report whether a companion process syncs this folder."""
    try:
        folder = os.open(data, _READ | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        return not _is_ours(folder)
    finally:
        os.close(folder)


class HangWatch(threading.Thread):
    """Reports a sync that does not return, and its end.

    Args:
        socket: of the server, beside which the reason is left.
        limit_s: how long a sync may take.
    """

    def __init__(self, socket: Path, limit_s: float = _LONGEST_SYNC_S) -> None:
        super().__init__(name="sync watch", daemon=True)
        self._socket = socket
        self._limit_s = limit_s
        self._began_s: float | None = None
        self._has_reported = False

    @contextmanager
    def syncing(self) -> Iterator[None]:
        """Watch the sync in this block."""
        self._began_s = time.monotonic()
        yield
        self._began_s = None

    def run(self) -> None:
        """Look every second, until the process ends."""
        while True:
            self._look(self._began_s, time.monotonic())
            time.sleep(min(PERIOD_S, self._limit_s))

    def _look(self, began_s: float | None, now_s: float) -> None:
        is_late = began_s is not None and now_s - began_s > self._limit_s
        if is_late == self._has_reported:
            return
        self._has_reported = is_late
        if is_late:
            _events.warning("sync_hangs", _HANGS)
            write_problem(self._socket, _HANGS)
        else:
            _events.info("sync_returned", "The disk of the data of Redis answers again.")
            clear_problem(self._socket)


def keep_synced(files: AppendOnlyFiles, server: int, folder: int, watch: HangWatch) -> None:
    """Sync once a second until the server has ended, and then once more.

    Args:
        files: the server's files.
        server: a pidfd of the server.
        folder: of `lock_data`; unlocked before the last sync, which may take long.
        watch: sees how long each sync takes.
    """
    reminder = Reminder()
    watching = select.poll()
    watching.register(server, select.POLLIN)
    has_ended = False
    while not has_ended:
        has_ended = bool(watching.poll(PERIOD_S * 1000))
        if has_ended:
            os.close(folder)
        with watch.syncing():
            failure = files.sync_changed()
        if failure and reminder.is_due(failure.errno, time.monotonic()):
            _events.warning(
                "sync_failed", f"{failure}. A power loss may lose names; the sync is tried again."
            )


def main() -> NoReturn:
    """Start the companion in the background; arguments: data folder, pidfd of the server, lock, socket."""
    sys.exit(run_command(f"python -m {_MODULE}", lambda: _start_in_background(sys.argv[1:])))


def _start_in_background(arguments: Sequence[str]) -> int:
    try:
        data, server, folder, socket = Path(arguments[0]), *map(int, arguments[1:3]), Path(arguments[3])
    except (IndexError, ValueError) as exc:
        raise ConfigError("Only the embedded Redis starts this program.") from exc
    if os.fork() == 0:
        watch = HangWatch(socket)
        watch.start()
        keep_synced(AppendOnlyFiles(data), server, folder, watch)
    return 0


def _is_ours(folder: int) -> bool:
    """Lock the folder; False if another process has the lock. Without lock support it is always ours."""
    try:
        return locked(folder)
    except OSError:
        return True


def _stamps(data: Path) -> dict[Path, Stamp]:
    stamps: dict[Path, Stamp] = {}
    for path in _paths(data):
        with suppress(FileNotFoundError):
            found = path.stat()
            stamps[path] = (found.st_ino, found.st_size, found.st_mtime_ns)
    return stamps


def _paths(data: Path) -> Iterator[Path]:
    """Yield the append-only files and the folders that list them."""
    for folder in (data, data / _FOLDER):
        yield folder
        with suppress(FileNotFoundError):
            yield from (path for path in folder.iterdir() if is_append_only(path.name))


if __name__ == "__main__":
    main()
