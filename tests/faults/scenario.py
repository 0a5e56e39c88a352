"""A whole pcapdj to be killed: Redis, launcher, analyzer, controller, dispatcher, in a folder of its own."""

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import redis
from support import forkserver
from support.forkserver import DEVNULL, Process, clean_environment
from support.loops import Form
from support.waiting import is_met

from faults.packets import Numbered, write_numbered
from pcapdj.store.client import Store
from pcapdj.store.keys import Keys

COPY: Final = ("dd", "if={pipe}", "of=copy", "bs=64k", "status=none")
# Reads slowly, so that a file is in flight for some milliseconds.
_SLOWLY: Final = """
import os, sys, time
pipe, copy = os.open(sys.argv[1], os.O_RDONLY), os.open("copy", os.O_WRONLY | os.O_CREAT)
while data := os.read(pipe, 65536):
    os.write(copy, data)
    time.sleep(0.001)
"""
SLOW_COPY: Final = (sys.executable, "-ISc", _SLOWLY, "{pipe}")
HANG_S: Final = 10.0
_UNLIMITED: Final = (
    *("--min-free", "1MiB", "--resume-free", "2MiB", "--resume-after", "0"),
    *("--suspend-free", "0", "--min-free-inodes", "0"),
)


class Scenario:
    """A folder with everything in it; `close` ends and removes it.

    Args:
        command: the analyzer; it writes what it reads to `copy` in its log folder.
        options: more arguments, by role.
        loops: the form of the loops over records; None: compiled, if that is built.
    """

    def __init__(
        self,
        command: Sequence[str] = COPY,
        *,
        options: Mapping[str, Sequence[str]] | None = None,
        loops: Form | None = None,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pcapdj-"))
        self.out, self.captures = self.folder / "out", self.folder / "in"
        self.pipe, self.socket = self.folder / "run/stream.pcap", self.folder / "run/launcher.sock"
        for part in (self.out, self.captures, self.folder / "redis", self.folder / "run"):
            part.mkdir()
        self.url = f"unix://{self.folder}/redis.sock"
        self.store = Store(self.url, Keys(), timeout_s=2)
        self.files: dict[int, Numbered] = {}
        self.accepted: list[bytes] = []
        self.killed: set[str] = set()
        self.roles: dict[str, Process] = {}
        self._options = dict(options or {})
        self._loops = {"PCAPDJ_LOOPS": loops} if loops else {}
        self._command = tuple(command)
        self._redis: Process | None = None
        self._started: list[Process] = []

    # Starting and killing

    def start_all(self, *, is_real: bool = False) -> None:
        """Start everything that does not run."""
        if self._redis is None:
            self.start_redis()
        for role in ("consumer_launcher", "controller", "dispatcher"):
            if role not in self.roles or self.roles[role].poll() is not None:
                self.start(role, is_real=is_real)

    def start(self, role: str, *more: str, fault: str = "", is_real: bool = False) -> Process:
        """Start a role, with more arguments and a fault if they are wanted."""
        self.roles[role] = self._begin(role, [*self._arguments(role), *more], fault, is_real=is_real)
        return self.roles[role]

    def start_redis(self) -> None:
        """Start Redis as the service does, with its companion, and wait until it has its data."""
        # its ends are counted there: a server that keeps ending is started only after a pause
        (self.folder / "redis.starts").unlink(missing_ok=True)
        command = [str(self.folder / "redis"), "--socket", str(self.folder / "redis.sock")]
        self._redis = self._begin("store.embedded", command)
        if not is_met(self._redis_answers, HANG_S):
            raise AssertionError("redis-server does not start: " + self.log_of("store.embedded")[-2000:])

    def kill_redis(self) -> None:
        """Kill Redis with SIGKILL."""
        if self._redis is not None:
            self._redis.kill()
            self._redis = None

    def stop_redis(self) -> None:
        """Stop Redis as the service does: it saves what it has."""
        if self._redis is not None:
            self._redis.terminate()
            self._redis.wait()
            self._redis = None

    def kill_analyzer(self) -> int | None:
        """Kill the analyzer, if there is one; return its pid."""
        pid = self.analyzer_pid()
        if pid is not None:
            self.mark_stream_killed()
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
        return pid

    def kill_launcher(self) -> None:
        """Kill the launcher; its analyzer has to die with it."""
        self.mark_stream_killed()
        pid = self.analyzer_pid()
        self.roles["consumer_launcher"].kill()
        if pid is not None and not is_met(lambda: not _runs(pid), 1):
            raise AssertionError("the analyzer outlived its launcher by a second")

    def mark_stream_killed(self) -> None:
        """Remember that the latest stream may break off anywhere."""
        with suppress(OSError):
            self.killed.add((self.out / "latest").resolve().name.rpartition("-")[2])

    def analyzer_pid(self) -> int | None:
        """Return the pid of the launcher's child."""
        pid = self.roles["consumer_launcher"].pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            return None
        return int(children[0]) if children else None

    # Files

    def add_files(
        self, count: int, packets: int, *, size_bytes: int = 1000, forms: Sequence[str] = ("plain.pcap",)
    ) -> list[Numbered]:
        """Write captures and queue them, as anybody's script would."""
        first = max(self.files, default=0) + 1
        added = [
            write_numbered(
                self.captures, number, packets, size_bytes=size_bytes, form=forms[number % len(forms)]
            )
            for number in range(first, first + count)
        ]
        self.files |= {file.number: file for file in added}
        self.queue(*[os.fsencode(file.path) for file in added])
        return added

    def queue(self, *names: bytes) -> None:
        """Queue names; only what Redis has acknowledged counts as accepted."""
        self.store.redis.rpush(self.store.keys.in_queue, *names)
        self.accepted += names
        self.store.notify("queued")

    # What is going on

    def done_count(self) -> int:
        """Return how many names are in PROCESSED and FAILED."""
        client, keys = self.store.redis, self.store.keys
        return int(client.llen(keys.processed)) + int(client.llen(keys.failed))

    def is_done(self) -> bool:
        """Report whether every accepted name is in PROCESSED or FAILED; False while Redis is away."""
        with suppress(redis.RedisError):
            return self.done_count() >= len(self.accepted)
        return False

    # Ending

    def end_stream(self, timeout_s: float = HANG_S) -> bool:
        """End the stream as an operator does; report whether its analyzer is gone in time."""
        self.store.redis.set(self.store.keys.finish, "empty")
        self.store.notify("finish")
        return is_met(lambda: not self.store.redis.exists(self.store.keys.finish), timeout_s) and is_met(
            lambda: self.analyzer_pid() is None, timeout_s
        )

    def clear(self) -> None:
        """Forget what has been checked: captures, copies, lists. Nothing may be in flight."""
        keys = self.store.keys
        self.store.redis.delete(keys.processed, keys.failed, keys.journal, keys.fed)
        for file in self.files.values():
            file.path.unlink(missing_ok=True)
        kept = max(self.files, default=0)
        self.files = {number: file for number, file in self.files.items() if number == kept}
        self.accepted.clear()
        for folder in self.out.iterdir():
            if folder.is_dir() and not folder.is_symlink():
                shutil.rmtree(folder)

    def log_of(self, role: str) -> str:
        """Return what a role has logged."""
        with suppress(FileNotFoundError):
            return (self.folder / f"{role}.log").read_text(errors="replace")
        return ""

    def close(self, *, keep: bool = False) -> None:
        """Kill what runs and remove the folder, unless it shall be looked at."""
        for process in self._started:
            process.kill()
        self.store.close()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _arguments(self, role: str) -> list[str]:
        common = ["--redis-url", self.url]
        own = {
            "dispatcher": [
                "-b",
                str(self.pipe),
                "--launcher",
                str(self.socket),
                "--follow",
                "--precision",
                "us",
            ],
            "controller": ["--logdir", str(self.out), *_UNLIMITED],
            "consumer_launcher": [
                "--socket",
                str(self.socket),
                "-b",
                str(self.pipe),
                "--logdir",
                str(self.out),
            ],
            "importer": [],
        }[role]
        command = ["--", *self._command] if role == "consumer_launcher" else []
        return [*own, *common, *self._options.get(role, ()), *command]

    def _begin(
        self, role: str, arguments: Sequence[str], fault: str = "", *, is_real: bool = False
    ) -> Process:
        env = clean_environment(**self._loops, **({"PCAPDJ_FAULT": fault} if fault else {}))
        with (self.folder / f"{role}.log").open("ab") as log:
            process = forkserver.start(
                f"pcapdj.{role}", *arguments, env=env, stdin=DEVNULL, stdout=log, stderr=log, is_real=is_real
            )
        self._started.append(process)
        return process

    def _redis_answers(self) -> bool:
        with suppress(redis.RedisError):
            return bool(self.store.redis.ping())
        return False


def _runs(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False
