"""Redis, dispatcher, controller and launcher as real processes in one folder, and a copying analyzer."""

import os
import signal
import struct
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from pcapdj.store.client import Store
from pcapdj.store.keys import Keys
from pcapdj.store.snapshot import Snapshot, read_snapshot
from support import forkserver
from support.captures import Record, classic, records_of
from support.forkserver import Process, clean_environment
from support.fuse import FuseMount
from support.redis_server import DURABLE, PrivateRedis
from support.waiting import scaled, wait_until

HEADER_BYTES: Final = 24
ROLES: Final = {
    "dispatcher": "pcapdj.dispatcher",
    "controller": "pcapdj.controller",
    "consumer": "pcapdj.consumer_launcher",
    "importer": "pcapdj.importer",
}

# Copies the stream into LOGDIR/copy; reads 4 KiB at a time and waits while there is a file `brake`.
COPYING: Final = """
import os, sys, time
pipe, logdir, brake = sys.argv[1:]
with open(pipe, "rb", 0) as stream, open(os.path.join(logdir, "copy"), "wb", 0) as copy:
    while True:
        while os.path.exists(brake) and copy.tell() > 30_000:
            time.sleep(0.005)
        data = stream.read(4096 if os.path.exists(brake) else 1 << 20)
        if not data:
            break
        copy.write(data)
"""


class Trio:
    """The roles of one lane; `start` starts one, `stop_all` leaves none.

    Args:
        folder: short enough for unix sockets.
        url: where Redis is.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.run = folder / "run"
        self.out = folder / "out"
        self.brake = folder / "brake"
        self.pipe = self.run / "stream.pcap"
        self.socket = self.run / "launcher.sock"
        self.captures = folder / "captures"
        self.processes: dict[str, Process] = {}
        self.environment: dict[str, str] = {"PCAPDJ_REDIS_URL": url, "PCAPDJ_WATCH": f"{folder}=1"}
        self.environment |= {"PCAPDJ_RESUME_AFTER": "0", "PCAPDJ_SUSPEND_FREE": "0"}
        self.environment |= {"PCAPDJ_MIN_FREE_INODES": "0", "PCAPDJ_RESTART_PAUSE": "100ms"}
        self.store = Store(url, Keys(), timeout_s=scaled(2))
        self.run.mkdir(mode=0o700)
        self.captures.mkdir()
        (folder / "copying.py").write_text(COPYING)

    def start(
        self,
        role: str,
        *options: str,
        environment: Mapping[str, str] | None = None,
        cwd: Path = forkserver.ROOT,
    ) -> None:
        """Start a role; its log is `logged(role)`."""
        fixed = {
            "dispatcher": ["-b", str(self.pipe), "--launcher", str(self.socket), "--follow"],
            "controller": [],
            "consumer": ["-b", str(self.pipe), "--socket", str(self.socket), "--logdir", str(self.out)],
            "importer": ["--watch", str(self.captures)],
        }
        arguments = [*fixed[role], *options]
        if role == "consumer" and "--" not in options and "--preset" not in options:
            arguments += ["--", sys.executable, "-IS", str(self.folder / "copying.py"), "{pipe}", "{logdir}"]
            arguments += [str(self.brake)]
        env = clean_environment(**(self.environment | dict(environment or {})))
        with self.log_of(role).open("ab") as log:
            self.processes[role] = forkserver.start(
                ROLES[role], *arguments, env=env, cwd=cwd, stdout=log, stderr=log
            )

    def start_all(self) -> None:
        """Start the trio."""
        for role in ("consumer", "dispatcher", "controller"):
            self.start(role)

    def log_of(self, role: str) -> Path:
        """Return the log file of a role."""
        return self.folder / f"{role}.log"

    def logged(self, role: str) -> str:
        """Return what a role has logged."""
        return self.log_of(role).read_text() if self.log_of(role).exists() else ""

    def wait_logged(self, role: str, words: str, times: int = 1) -> None:
        """Wait until a role has logged these words so often."""
        wait_until(lambda: self.logged(role).count(words) >= times, f"the {role} to log {words!r}")

    def kill(self, role: str, number: int = signal.SIGKILL) -> int:
        """Signal a role and wait for its end; return how it ended."""
        process = self.processes.pop(role)
        process.send_signal(number)
        return process.wait()

    def working_pid(self, role: str) -> int:
        """Return the pid of the process that does a role's work: its child where its calls may hang."""
        pid = self.processes[role].pid
        return next(iter(children_of(pid)), pid) if role == "importer" else pid

    def capture(self, name: str, number: int, packets: int = 50, size: int = 900) -> Path:
        """Write a capture whose packets contain their file and place; old enough to count as complete."""
        path = self.captures / name
        path.write_bytes(_content(number, packets, size))
        os.utime(path, (1_600_000_000, 1_600_000_000))
        return path

    def queue(self, *paths: Path | bytes) -> None:
        """Queue files, as any producer does."""
        names = [path if isinstance(path, bytes) else os.fsencode(path) for path in paths]
        self.store.redis.rpush(self.store.keys.in_queue, *names)
        self.store.notify("queued")

    def snapshot(self) -> Snapshot:
        """Return what `status` shows."""
        return read_snapshot(self.store, 0)

    def statistics(self) -> dict[str, Any]:
        """Return the dispatcher's statistics."""
        return next(iter(self.snapshot()["dispatchers"]), {})

    def await_processed(self, count: int) -> None:
        """Wait until so many files are in PROCESSED, and the analyzer has written what it read."""
        key = self.store.keys.processed
        wait_until(lambda: self.store.redis.llen(key) == count, f"{count} files processed")
        wait_until(self._is_copied, "the analyzer to write the last file's bytes")

    def _is_copied(self) -> bool:
        """Report whether the last file fed is in its stream's copy; analyzers without a copy have none."""
        entries: Any = self.store.redis.xrevrange(self.store.keys.journal, count=1)
        fields = entries[0][1] if entries else {}
        copies = list(self.out.glob(f"*-{fields.get(b'stream', b'').decode()}/copy"))
        return not copies or copies[0].stat().st_size >= int(fields[b"stream_end"])

    def await_copied(self, size_bytes: int) -> None:
        """Wait until the analyzer of the latest stream has copied so much."""
        copy = self.out / "latest" / "copy"
        wait_until(lambda: copy.exists() and copy.stat().st_size >= size_bytes, "the analyzer to read")

    def streams(self) -> list[bytes]:
        """Return every stream as its analyzer saw it, oldest first."""
        return [path.read_bytes() for path in sorted(self.out.glob("2*/copy"), key=_made)]

    def alive(self) -> list[str]:
        """Return the roles that run."""
        return [role for role, process in self.processes.items() if process.poll() is None]

    def stop_all(self) -> None:
        """Kill what still runs; the analyzers die with their launcher."""
        for process in self.processes.values():
            process.kill()
        self.store.close()


def children_of(pid: int) -> list[int]:
    """Return the pids of a process's children."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def numbered(file: int, packets: int, size: int = 900) -> list[Record]:
    """Return packets that contain their file and place; a file's time is behind that of the one before."""
    return list(_numbered(file, packets, size))


@lru_cache(maxsize=8)
def _numbered(file: int, packets: int, size: int) -> list[Record]:
    rest = b"x" * (size - 8)
    return [Record(file, n % 1000, struct.pack("<II", file, n) + rest) for n in range(packets)]


@lru_cache(maxsize=8)
def _content(file: int, packets: int, size: int) -> bytes:
    return classic(_numbered(file, packets, size))


def places_in(stream: bytes) -> list[tuple[int, int]]:
    """Return file and place of every packet; a torn record is an error of the test."""
    return [struct.unpack_from("<II", each.data) for each in records_of(stream[HEADER_BYTES:])]


def places(file: int, packets: int) -> list[tuple[int, int]]:
    """Return what `places_in` returns for one whole file."""
    return [(file, n) for n in range(packets)]


@contextmanager
def trio_in(folder: Path) -> Iterator[tuple[PrivateRedis, Trio]]:
    """Return a Redis that runs and roles that do not yet; both end with the block."""
    server = PrivateRedis(folder / "redis.sock", *DURABLE)
    server.start()
    trio = Trio(folder, server.url)
    try:
        yield server, trio
    finally:
        trio.stop_all()
        server.stop()


def _made(path: Path) -> float:
    return path.parent.stat().st_ctime


def restart_dispatcher_in_hang(trio: Trio, mount: FuseMount) -> None:
    """Kill a dispatcher whose read hangs, and start another one, which hangs in opening the file again."""
    trio.kill("dispatcher")
    mount.go_on()
    mount.hang(everything=True)
    trio.start("dispatcher")
    trio.wait_logged("dispatcher", "next_file", times=2)
    wait_until(lambda: mount.has_hung, "a call to hang")
