"""Measures `pcapdj run` with a real analyzer, and the cost of the processes around it."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

import psutil

from bench.runs import environment

HERE: Final = Path(__file__).parent.resolve()
ROLES: Final = ("dispatcher", "controller", "consumer_launcher")
# A nearly full disk must not hold a benchmark.
_ROOM: Final = ("--min-free", "1MiB", "--resume-after", "0", "--suspend-free", "0", "--min-free-inodes", "0")
_POLL_S: Final = 0.05
# ext4 checks each recently deleted inode before it creates a file: the more extracted files of earlier runs
# were deleted, the longer Suricata takes (measured: 14 to 28 s for the same work).
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a private folder is made in it


@dataclass(frozen=True, slots=True)
class Analysis:
    """One run of Suricata.

    Args:
        wall_s: from its start to its end.
        cpu_s: user and system.
        whole_s: from start to end of the command that ran it.
        roles: pcapdj's processes; empty without pcapdj.
    """

    wall_s: float
    cpu_s: float
    whole_s: float
    roles: "Mapping[str, Role]"


@dataclass(slots=True)
class Role:
    """One of pcapdj's processes.

    Args:
        started_cpu_s: CPU time until the analyzer started: that of its own start.
        cpu_s: CPU time at the last measurement.
        peak_bytes: resident memory.
    """

    started_cpu_s: float | None = None
    cpu_s: float = 0
    peak_bytes: int = 0

    @property
    def working_cpu_s(self) -> float:
        """CPU time since the analyzer started."""
        return self.cpu_s - (self.started_cpu_s or 0)


def suricata(source: str, logdir: str) -> list[str]:
    """Return Suricata's command line, the same for pipe and folder."""
    extract = [
        "--include",
        str(files("pcapdj.analyzer") / "suricata-extract.yaml"),
        "--disable-detection",
        "-k",
        "none",
    ]
    return ["suricata", *extract, "-r", source, "-l", logdir]


def timed(result: Path, command: Sequence[str]) -> list[str]:
    """Return a command that runs this one and writes its times to a file."""
    return [sys.executable, str(HERE / "timed.py"), str(result), *command]


def run(folder: Path, logdir: Path, command: Sequence[str]) -> list[str]:
    """Return the command line of `pcapdj run` for that of an analyzer."""
    return [
        sys.executable,
        "-m",
        "pcapdj",
        "run",
        str(folder),
        "--logdir",
        str(logdir),
        *_ROOM,
        "--",
        *command,
    ]


def analyze(captures: Path, *, with_pcapdj: bool) -> Analysis:
    """Run Suricata over a folder of captures: as one stream, or with `-r DIRECTORY`."""
    with scratch() as folder:
        result, logdir = folder / "times.json", folder / "log"
        logdir.mkdir()
        command = timed(result, suricata(str(captures), str(logdir)))
        if with_pcapdj:
            command = run(captures, logdir, timed(result, suricata("{pipe}", "{logdir}")))
        whole_s, roles = run_measured(command)
        times = json.loads(result.read_text(encoding="utf-8"))
    return Analysis(times["wall_s"], times["cpu_s"], whole_s, roles)


def run_measured(command: Sequence[str]) -> tuple[float, dict[str, Role]]:
    """Run a command; return its time in seconds, and time and memory of the roles among its children."""
    started_s = time.monotonic()
    roles: dict[str, Role] = {}
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while process.poll() is None:
            _measure_roles(process.pid, roles)
            time.sleep(_POLL_S)
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}")
    return time.monotonic() - started_s, roles


def _measure_roles(pid: int, roles: dict[str, Role]) -> None:
    """Measure the roles; before the analyzer runs, as the cost of their start."""
    try:
        below = {" ".join(each.cmdline()): each for each in psutil.Process(pid).children(recursive=True)}
        is_started = any(str(HERE) in line for line in below)  # the analyzer is run by a script of ours
        for line, each in below.items():
            role = next((role for role in ROLES if f"pcapdj.{role}" in line), None)
            if role:
                cpu = sum(each.cpu_times()[:2])
                known = roles.setdefault(role, Role())
                known.cpu_s, known.peak_bytes = cpu, _peak_bytes(each.pid)
                if is_started and known.started_cpu_s is None:
                    known.started_cpu_s = cpu
    except (psutil.Error, OSError):  # it ended meanwhile
        return


def _peak_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def gaps_ms(captures: Path) -> list[float]:
    """Return how long the pipe stays empty between one small file and the next."""
    file_bytes = (captures / "00000.pcap").stat().st_size - 24
    with scratch() as folder:
        result = folder / "gaps.json"
        command = [sys.executable, str(HERE / "gap_reader.py"), "{pipe}", str(result), str(file_bytes)]
        run_measured(run(captures, folder / "log", command))
        found: list[float] = json.loads(result.read_text(encoding="utf-8"))
    return found


def import_s(captures: Path) -> float:
    """Return how long `pcapdj import` takes for a folder of captures, into an empty Redis of its own."""
    with scratch() as folder:
        socket = folder / "redis.sock"
        server = [shutil.which("redis-server") or "redis-server", "--port", "0", "--unixsocket", str(socket)]
        with subprocess.Popen(
            [*server, "--save", "", "--dir", str(folder)], stdout=subprocess.DEVNULL
        ) as redis:
            while not socket.exists() and redis.poll() is None:
                time.sleep(_POLL_S)
            try:
                command = [
                    sys.executable,
                    "-m",
                    "pcapdj",
                    "import",
                    "--redis-url",
                    f"unix://{socket}",
                    str(captures),
                ]
                started_s = time.monotonic()
                subprocess.run(command, check=True, env=environment(), capture_output=True)
                return time.monotonic() - started_s
            finally:
                redis.terminate()


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a folder with a name short enough for sockets; it is deleted afterwards."""
    place = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="pcapdj-bench-", dir=place) as folder:
        yield Path(folder)


@dataclass(frozen=True, slots=True)
class Service:
    """All measurements of the service; empty or None where a program is not installed.

    Args:
        with_pcapdj, without_pcapdj: Suricata's runs.
        gaps_ms: between files.
        import_s: of 10,000 names.
    """

    with_pcapdj: list[Analysis]
    without_pcapdj: list[Analysis]
    gaps_ms: list[float]
    import_s: float | None

    @property
    def ratio(self) -> float:
        """Suricata's median time in the stream, divided by that without pcapdj."""
        return _median(run.wall_s for run in self.with_pcapdj) / _median(
            run.wall_s for run in self.without_pcapdj
        )

    @property
    def dispatcher_share(self) -> float:
        """The dispatcher's CPU time since Suricata's start, divided by Suricata's."""
        return _median(run.roles["dispatcher"].working_cpu_s / run.cpu_s for run in self.with_pcapdj)


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def measure_service(folder: Path, rounds: int) -> Service:
    """Measure everything; Suricata in turn with and without pcapdj."""
    with_pcapdj, without_pcapdj = [], []
    if shutil.which("suricata"):
        for number in range(rounds + 1):
            pair = [analyze(folder / "rotated", with_pcapdj=each) for each in (True, False)]
            if number:
                with_pcapdj.append(pair[0])
                without_pcapdj.append(pair[1])
    names_s = import_s(folder / "10000") if shutil.which("redis-server") else None
    return Service(with_pcapdj, without_pcapdj, gaps_ms(folder / "gaps"), names_s)
