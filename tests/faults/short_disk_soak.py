"""`python -m faults.short_disk_soak --minutes 60`: the service with an output disk that is mostly short.

A service on supervisord feeds captures as fast as it may. Its analyzer copies the stream onto a disk of
24 MB. Somebody reads the copy, checks it and gives its blocks back, at random times. In the first half of the
time random roles are killed. At the end: each packet of each file arrived, in order and once in the stream
that has the file last; the disk never reached its end; the gate went through all of its states, and the log
and PCAPDJ_EVENTS have that; memory and descriptors of all roles are flat. A file may be in two streams, or
lack packets, only if analyzer or launcher was killed while it was fed or just before; its stream is then in
PCAPDJ_SUSPECT.

Needs root, for the disk.
"""

import argparse
import ctypes
import os
import random
import shutil
import signal
import statistics
import struct
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import psutil
from support import forkserver
from support.captures import classic
from support.mounts import memory_mount
from support.roles_rig import numbered
from support.service_rig import Service, programs_in

from faults.campaign import print_text
from pcapdj.runtime.errors import PcapdjError
from pcapdj.store.events import read_events

ROLES: Final = ("dispatcher", "controller", "importer", "consumer", "redis")
STATES: Final = ("open", "hold", "suspended")
DISK: Final = "24m"
SETTINGS: Final = {
    "PCAPDJ_MIN_FREE": "14MiB",  # more than one file: the disk takes it also while no controller runs
    "PCAPDJ_RESUME_FREE": "18MiB",
    "PCAPDJ_SUSPEND_FREE": "6MiB",
    "PCAPDJ_RESUME_AFTER": "0",
    "PCAPDJ_MIN_FREE_INODES": "0",
    "PCAPDJ_RESTART_PAUSE": "100ms",
}
PACKET_BYTES: Final = 1400
SMALLEST, LARGEST = 500, 9_000  # packets of a file: 0.7 to 12.6 MB
QUEUED: Final = 4  # files that are always there to be fed
KILL_EVERY_S: Final = 20.0
ANALYZER_SHARE: Final = 0.1  # of the kills
SAMPLE_S: Final = 2.0
WARM_S: Final = 30.0  # of a process, until caches are filled
MOST_BYTES: Final = 4 << 20  # how much a role may grow
MOST_DESCRIPTORS: Final = 2.0
DRAIN_LIMIT_S: Final = 120.0
# Copies the stream into LOGDIR/copy, at most 20 MB a second.
COPYING: Final = """
import os, sys, time
with open(sys.argv[1], "rb", 0) as stream, open(os.path.join(sys.argv[2], "copy"), "wb", 0) as copy:
    while data := stream.read(1 << 16):
        copy.write(data)
        time.sleep(len(data) / 20e6)
"""
_HEADER_BYTES: Final = 24
_RECORD: Final = struct.Struct("<IIII")
_libc: Final = ctypes.CDLL(None, use_errno=True)


@dataclass(slots=True)
class Pass:
    """Packets of one file in one stream, from `first` on, each the successor of the one before."""

    stream: str
    file: int
    first: int
    count: int = 0


@dataclass(slots=True)
class Copy:
    """What was read of the copy of one stream."""

    offset: int = 0
    rest: bytes = b""


class Reader(threading.Thread):
    """Reads the copies at random times, gives their blocks back, and notes what is in them.

    Attributes:
        passes: all of them, in the order in which they were read.
        lowest_free_bytes: of the disk, looked at every 5 ms.
    """

    def __init__(self, disk: Path, chosen: random.Random) -> None:
        super().__init__(daemon=True)
        self.passes: list[Pass] = []
        self.lowest_free_bytes = 1 << 62
        self.read_bytes = 0
        self._disk = disk
        self._random = chosen
        self._copies: dict[Path, Copy] = {}
        self._is_over = threading.Event()

    def run(self) -> None:
        """Read until `close`."""
        next_s = 0.0
        while not self._is_over.wait(0.005):
            found = os.statvfs(self._disk)
            self.lowest_free_bytes = min(self.lowest_free_bytes, found.f_bavail * found.f_frsize)
            if time.monotonic() >= next_s:
                self.read()
                next_s = time.monotonic() + self._random.uniform(0.5, 5.0)

    def close(self) -> None:
        """Read what is left."""
        self._is_over.set()
        self.join()
        self.read()

    def read(self) -> None:
        """Read what was written since the last time, the oldest stream first."""
        for path in sorted(self._disk.glob("out/2*/copy"), key=lambda path: path.parent.stat().st_ctime_ns):
            copy = self._copies.setdefault(path, Copy())
            with path.open("r+b") as file:
                file.seek(copy.offset)
                while data := file.read(1 << 20):
                    self._add(path.parent.name.rpartition("-")[2], copy, data)
                _free(file.fileno(), copy.offset)

    def _add(self, stream: str, copy: Copy, data: bytes) -> None:
        content, at = copy.rest + data, 0 if copy.offset else _HEADER_BYTES
        copy.offset += len(data)
        self.read_bytes += len(data)
        while at + _RECORD.size <= len(content):
            end = at + _RECORD.size + _RECORD.unpack_from(content, at)[2]
            if end > len(content):
                break
            self._note(stream, *struct.unpack_from("<II", content, at + _RECORD.size))
            at = end
        copy.rest = content[at:]

    def _note(self, stream: str, file: int, number: int) -> None:
        last = self.passes[-1] if self.passes else None
        if last is None or (last.stream, last.file, last.first + last.count) != (stream, file, number):
            last = Pass(stream, file, number)
            self.passes.append(last)
        last.count += 1


def _free(descriptor: int, end: int) -> None:
    """Give the whole blocks before a place back to the disk."""
    if whole := end // 4096 * 4096:
        _libc.fallocate(descriptor, 3, ctypes.c_long(0), ctypes.c_long(whole))


@dataclass(slots=True)
class ProcessSamples:
    """Memory and descriptors of one process of a role, from `WARM_S` on."""

    since_s: float
    memory_bytes: list[float] = field(default_factory=list)
    descriptors: list[float] = field(default_factory=list)


class Watch:
    """Samples of all processes of the roles, grouped by process.

    Args:
        service: whose processes they are.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self.processes: dict[tuple[str, int], ProcessSamples] = {}

    def sample(self) -> None:
        """Take a sample of each role."""
        now_s = time.monotonic()
        for role, program in programs_in(self._service.folder).items():
            if not program["pid"]:
                continue
            samples = self.processes.setdefault((role, program["pid"]), ProcessSamples(now_s))
            with suppress(psutil.Error):
                process = psutil.Process(program["pid"])
                memory_bytes, descriptors = process.memory_info().rss, process.num_fds()
                if now_s - samples.since_s >= WARM_S:
                    samples.memory_bytes.append(memory_bytes)
                    samples.descriptors.append(descriptors)

    def growth(self, role: str) -> tuple[float, float, float]:
        """Return by how many bytes and descriptors the last process of a role grew, and its median memory.

        From the first third of its samples to the last one: a step while caches fill is no growth.
        """
        processes = [samples for (name, _), samples in self.processes.items() if name == role]
        samples = max(processes, key=lambda each: each.since_s, default=ProcessSamples(0.0))
        memory_bytes, descriptors = samples.memory_bytes, samples.descriptors
        return _step(memory_bytes), _step(descriptors), statistics.median(memory_bytes or [0.0])


def _step(values: Sequence[float]) -> float:
    third = len(values) // 3
    return statistics.median(values[-third:]) - statistics.median(values[:third]) if third else 0.0


class Soak:
    """One soak.

    Args:
        folder: short enough for unix sockets.
        disk: the mount point of the output's disk.
        seed: chooses sizes, times and victims.
    """

    def __init__(self, folder: Path, disk: Path, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - the same soak for the same seed
        self.service = Service(folder)
        self.reader = Reader(disk, random.Random(seed + 1))  # noqa: S311
        self.watch = Watch(self.service)
        self.kills: Counter[str] = Counter()
        self.states: Counter[str] = Counter()
        self.packets: list[int] = []  # by file
        self._disk = disk
        self._state = ""

    def run(self, minutes: float) -> float:
        """Feed and kill for this long, then let everything be fed; return how long it took, in seconds."""
        begun_s = time.monotonic()
        out = {"PCAPDJ_LOGDIR": str(self._disk / "out"), "PCAPDJ_WATCH": str(self._disk)}
        analyzer = self.service.folder / "slow.py"
        analyzer.write_text(COPYING)
        command = f"{sys.executable} -IS {analyzer} {{pipe}} {{logdir}}"
        settings: dict[str, Any] = {**SETTINGS, **out, "PCAPDJ_CONSUMER_COMMAND": command}
        self.service.start(has_analyzer=False, **settings)
        self.reader.start()
        until_s = begun_s + minutes * 60
        sample_s, kill_s = 0.0, time.monotonic() + KILL_EVERY_S
        while (now_s := time.monotonic()) < until_s:
            self._look(add=True)
            if now_s >= sample_s:
                self.watch.sample()
                sample_s = now_s + SAMPLE_S
            if kill_s <= now_s < (begun_s + until_s) / 2:
                self._kill()
                kill_s = now_s + self.random.uniform(0.5, 1.5) * KILL_EVERY_S
            time.sleep(0.05)
        return time.monotonic() - begun_s

    def finish(self) -> None:
        """Wait until all is fed and the analyzer has ended."""
        limit_s = time.monotonic() + DRAIN_LIMIT_S
        while not self._is_fed() and time.monotonic() < limit_s:
            self._look(add=False)
            time.sleep(0.05)
        self.service.pcapdj("finish")
        while not self._is_idle() and time.monotonic() < limit_s:
            time.sleep(0.05)
        self.reader.close()

    def _look(self, *, add: bool) -> None:
        """Count the gate's transitions, and add files if fewer than `QUEUED` wait; Redis may be away."""
        with suppress(PcapdjError):
            snapshot = self.service.snapshot()
            state = str((snapshot["gate"] or {}).get("state") or "")
            if state != self._state:
                self._state = state
                self.states[state] += 1
            done = snapshot["processed"] + snapshot["failed"]
            for _ in range(QUEUED - (len(self.packets) - done) if add else 0):
                self._add_file()
            self._remove_fed()

    def _add_file(self) -> None:
        number, packets = len(self.packets), self.random.randrange(SMALLEST, LARGEST)
        self.packets.append(packets)
        written = self.service.folder / "written"
        written.write_bytes(classic(numbered(number, packets, PACKET_BYTES)))
        written.rename(self.service.folder / "inbox" / f"{number:06}.pcap")

    def _remove_fed(self) -> None:
        """Remove the captures that are in PROCESSED."""
        store = self.service.store
        names = store.call(lambda client: client.lrange(store.keys.processed, -10 * QUEUED, -1))
        for name in cast("list[bytes]", names):
            Path(os.fsdecode(name)).unlink(missing_ok=True)

    def _kill(self) -> None:
        role = self.random.choice(ROLES)
        if role == "consumer" and self.random.random() > ANALYZER_SHARE * len(ROLES):
            role = "dispatcher"
        pid = self.service.pid_of(role)
        if role == "consumer" and self.random.random() < 0.5:
            with suppress(psutil.Error, PcapdjError):
                pid = int((self.service.snapshot()["consumer"] or {}).get("pid") or pid)
                role = "analyzer"
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.kills[role] += 1

    def _is_fed(self) -> bool:
        with suppress(PcapdjError):
            snapshot = self.service.snapshot()
            inbox = snapshot["queued"] + len(snapshot["current"])
            return not inbox and snapshot["processed"] + snapshot["failed"] >= len(self.packets)
        return False

    def _is_idle(self) -> bool:
        with suppress(PcapdjError):
            return bool((self.service.snapshot()["consumer"] or {}).get("state") == "idle")
        return False

    def violations(self) -> Iterator[str]:
        """Yield each promise that was broken, in a sentence."""
        snapshot = self.service.snapshot()
        if not self._is_fed() or snapshot["failed"]:
            numbers = {name: snapshot[name] for name in ("queued", "processed", "failed")}
            yield f"Not all of {len(self.packets)} files were fed: {numbers}, current {snapshot['current']}."
        if self.reader.lowest_free_bytes < 1 << 20:
            yield f"The disk was at its end: {self.reader.lowest_free_bytes} bytes free."
        logged = self.logged()
        if not all(logged.values()):
            yield f"The gate was not in all of its states: {logged}."
        if self.recorded() * 2 < sum(logged.values()):  # a killed controller has not recorded its last ones
            yield f"PCAPDJ_EVENTS has {self.recorded()} of {sum(logged.values())} transitions of the gate."
        yield from self._wrong_packets(set(snapshot["suspects"]))
        yield from self._growing_roles()

    def _growing_roles(self) -> Iterator[str]:
        for role in ROLES:
            memory_bytes, descriptors, _ = self.watch.growth(role)
            if memory_bytes > MOST_BYTES and role != "redis":  # it has more keys with each file
                yield f"The {role} grew by {memory_bytes / (1 << 20):.1f} MiB."
            if descriptors > MOST_DESCRIPTORS:  # of Redis: a connection each
                yield f"The {role} has {descriptors:.1f} descriptors more."

    def _wrong_packets(self, suspects: set[str]) -> Iterator[str]:
        """Yield the files that did not arrive whole, in order and once.

        In the stream that has a file last, it is whole, and it is in no stream before that was not cut by a
        kill of analyzer or launcher.
        """
        by_file: dict[int, list[Pass]] = {}
        for each in self.reader.passes:
            by_file.setdefault(each.file, []).append(each)
        for number, packets in enumerate(self.packets):
            passes = by_file.get(number, [])
            *earlier, last = passes or [Pass("", number, 0)]
            is_whole = (last.first, last.count) == (0, packets)
            if not is_whole and last.stream not in suspects:
                yield f"File {number} has {packets} packets, and arrived as {passes}."
            if any(each.stream not in suspects for each in earlier):
                yield f"File {number} arrived more than once: {passes}."

    def logged(self) -> dict[str, int]:
        """Return how often the controller has logged each state of the gate."""
        log = self.service.log_of("controller")
        return {state: log.count(f" gate_{state} ") for state in STATES}

    def recorded(self) -> int:
        """Return how many transitions of the gate PCAPDJ_EVENTS has."""
        return sum(event.kind == "gate" for event in read_events(self.service.store))

    def figures(self, duration_s: float) -> Iterator[str]:
        """Yield what was measured, in lines."""
        yield f"time                {duration_s / 60:.1f} min"
        yield f"fed                 {len(self.packets)} files, {sum(self.packets):,} packets"
        yield f"copied              {self.reader.read_bytes / 1e9:.2f} GB through a disk of {DISK}"
        yield f"lowest free         {self.reader.lowest_free_bytes / (1 << 20):.2f} MiB"
        yield f"gate seen           {dict(self.states)}"
        yield f"gate logged         {self.logged()}"
        yield f"gate in the events  {self.recorded()}"
        yield f"killed              {dict(self.kills)}"
        yield f"suspect streams     {len(self.service.snapshot()['suspects'])}"
        for role in ROLES:
            memory_bytes, descriptors, median_bytes = self.watch.growth(role)
            yield (
                f"{role:<19} {median_bytes / (1 << 20):.1f} MiB, {memory_bytes / (1 << 20):+.2f} MiB and"
                f" {descriptors:+.2f} descriptors"
            )


def main() -> int:
    """Soak; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", action="store_true", help="leave the folder with the logs")
    arguments = parser.parse_args()
    if os.geteuid():
        sys.stderr.write("Only root can mount the output's disk.\n")
        return 77
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    with ExitStack() as undone:
        undone.callback(forkserver.close)
        if not arguments.keep:
            undone.callback(shutil.rmtree, folder, ignore_errors=True)
        disk = undone.enter_context(memory_mount(folder, DISK))
        soak = Soak(folder, disk.folder, arguments.seed)
        undone.callback(soak.service.stop)
        print_text(f"seed {arguments.seed}, in {folder}")
        duration_s = soak.run(arguments.minutes)
        soak.finish()
        found = list(soak.violations())
        for line in [*soak.figures(duration_s), *found[:50], f"{len(found)} violations"]:
            print_text(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
