"""A real dispatcher as a process, and a reader that reads as much as a test wants."""

import json
import os
import select
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from pcapdj.capture.fed_before import first_bytes_of
from pcapdj.capture.files import Identity, OpenFile, open_regular
from pcapdj.capture.identity import QueuedFile, digest_of
from pcapdj.store.client import Store
from pcapdj.store.enqueue import enqueue_new, last_lines
from support import forkserver
from support.captures import Record, classic, record
from support.forkserver import Process, clean_environment
from support.waiting import wait_until


class Reader:
    """An analyzer by hand: has the pipe open and reads on request.

    Args:
        pipe: the named pipe; must be there.
    """

    def __init__(self, pipe: Path) -> None:
        self._fd = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self.stream = bytearray()

    def read(self, at_least_bytes: int) -> bytes:
        """Read on until the stream has so many bytes; return what there is."""
        wait_until(lambda: self._some() and len(self.stream) >= at_least_bytes, "bytes in the pipe")
        return bytes(self.stream)

    def read_to_end(self) -> bytes:
        """Read until the dispatcher has closed the stream; return all of it."""
        wait_until(lambda: not self._some(), "the end of the stream")
        return bytes(self.stream)

    def close(self) -> None:
        """Go, whatever is unread."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _some(self) -> bool:
        """Read what is there; report whether the stream is still open."""
        try:
            part = os.read(self._fd, 1 << 16)
        except BlockingIOError:
            return True
        self.stream += part
        return bool(part) or not self.stream


class Dispatchers:
    """Dispatchers of one pipe in one lane, one after another; `stop_all` leaves no process behind.

    Args:
        folder: of the pipe and of their output.
        store: the lane.
    """

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder = folder
        self.store = store
        self.pipe = folder / "pipe"
        self.processes: list[Process] = []
        self._readers: list[Reader] = []

    def start(self, *options: str, environment: Mapping[str, str] | None = None) -> Process:
        """Run a dispatcher with these options beside pipe, Redis and lane."""
        place = ["--redis-url", self.store.url, "--lane", self.store.keys.lane]
        return self.run("-b", str(self.pipe), *place, *options, environment=environment)

    def run(self, *options: str, environment: Mapping[str, str] | None = None) -> Process:
        """Run a dispatcher with these options and nothing else."""
        env = clean_environment(**(environment or {}))
        with self._log("stdout").open("ab") as stdout, self._log("stderr").open("ab") as stderr:
            process = forkserver.start("pcapdj.dispatcher", *options, env=env, stdout=stdout, stderr=stderr)
        self.processes.append(process)
        return process

    def reader(self) -> Reader:
        """Return a new reader, once the pipe is there."""
        wait_until(self.pipe.exists, "the pipe to be made")
        self._readers.append(Reader(self.pipe))
        return self._readers[-1]

    def logged(self, name: str = "stderr") -> str:
        """Return what all dispatchers have logged so far."""
        return self._log(name).read_text()

    def wait_for(self, words: str, times: int = 1) -> None:
        """Wait until that stands in the log so often."""
        try:
            wait_until(lambda: self.logged().count(words) >= times, f"{words!r} in the log {times} times")
        except pytest.fail.Exception as exc:
            pytest.fail(f"{exc}; its log:\n{self.logged()[-4000:]}")

    def stop_all(self) -> None:
        """Kill what still runs, close what is still open."""
        for reader in self._readers:
            reader.close()
        for process in self.processes:
            process.kill()

    def _log(self, name: str) -> Path:
        return self.folder / f"dispatcher.{name}"


@contextmanager
def dispatchers_in(folder: Path, store: Store) -> Iterator[Dispatchers]:
    """Return dispatchers that are stopped afterwards."""
    rig = Dispatchers(folder, store)
    try:
        yield rig
    finally:
        rig.stop_all()


def stopped(process: Process, number: int = signal.SIGTERM) -> tuple[int, float]:
    """Send a stop signal; return the exit code and how many seconds it took."""
    started_s = time.monotonic()
    process.send_signal(number)
    return process.wait(), time.monotonic() - started_s


def written(folder: Path, name: str | bytes, content: bytes) -> bytes:
    """Write a capture; return its absolute name."""
    path = os.path.join(os.fsencode(folder), os.fsencode(name))  # noqa: PTH118 - bytes
    with open(path, "wb") as file:  # noqa: PTH123 - bytes
        file.write(content)
    return path


def packets(first: int, count: int, size_bytes: int = 60) -> list[Record]:
    """Return packets that differ: their number is in time and content."""
    return [
        Record(number, number % 1000, number.to_bytes(4, "big") * (size_bytes // 4))
        for number in range(first, first + count)
    ]


def stream_of(*captures: Sequence[Record]) -> bytes:
    """Return the stream that these captures make: one header, whole records."""
    return classic([each for capture in captures for each in capture])


def records(capture: Sequence[Record]) -> bytes:
    """Return the capture's records alone."""
    return b"".join(record(each) for each in capture)


def queue(store: Store, *names: bytes) -> None:
    """Queue the names."""
    store.redis.rpush(store.keys.in_queue, *names)


def queue_as_imported(store: Store, *names: bytes, again: bool = False, mount: bytes = b"/") -> None:
    """Queue the names with which files they are, as importer and `run` do; also those that are queued."""
    files, lines = dict[bytes, Identity](), dict[bytes, str]()
    for name in names:
        with closing(OpenFile(open_regular(name))) as file:
            files[name], first = file.identity(), first_bytes_of(file)
        queued = QueuedFile(files[name], len(first), digest_of(first), os.fsdecode(mount), "boot").as_fields()
        lines[name] = json.dumps(queued | ({"again": True} if again else {}), separators=(",", ":"))
    behind = {name: line.seq for name, line in last_lines(store, names).items()}
    enqueue_new(store, files, again=True, lines=lines, behind=behind)


def authorize(store: Store, *names: bytes) -> None:
    """Grant one pass of each name, in the set form, asked for or not."""
    store.redis.sadd(store.keys.auth, *names)


def queue_authorized(rig: Dispatchers, contents: Mapping[str, bytes]) -> list[bytes]:
    """Write, queue and authorize these captures; return their names."""
    names = [written(rig.folder, name, content) for name, content in contents.items()]
    queue(rig.store, *names)
    authorize(rig.store, *names)
    return names


def listed(store: Store, key: str) -> list[bytes]:
    """Return a list's elements."""
    return cast("list[bytes]", store.redis.lrange(key, 0, -1))


def current(store: Store, dispatcher: str) -> dict[str, bytes]:
    """Return what a dispatcher has taken."""
    fields = cast("dict[bytes, bytes]", store.redis.hgetall(store.keys.current(dispatcher)))
    return {name.decode(): value for name, value in fields.items()}


def journal(store: Store) -> list[dict[str, bytes]]:
    """Return the journal's entries."""
    entries = cast("list[Any]", store.redis.xrange(store.keys.journal))
    return [{name.decode(): value for name, value in fields.items()} for _, fields in entries]


def is_full(pipe: Path) -> bool:
    """Report whether nothing more fits into the pipe."""
    fd = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        poller = select.poll()
        poller.register(fd, select.POLLOUT)
        return not poller.poll(0)
    finally:
        os.close(fd)
