"""Measures `pcapdj run` with a real analyzer, and the cost of the processes around it."""

import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import psutil

from bench.runs import environment, ours

HERE: Final = Path(__file__).parent.resolve()
# what ps shows -> the process
TITLES: Final = {
    "pcapdj service": "service",
    "pcapdj dispatch": "dispatcher",
    "pcapdj control": "controller",
    "pcapdj consume": "launcher",
}
# A nearly full disk must not hold a benchmark.
_ROOM: Final = ("--min-free", "1MiB", "--resume-after", "0", "--suspend-free", "0", "--min-free-inodes", "0")
_POLL_S: Final = 0.05
_HEADER_BYTES: Final = 24
_QUIET: Final[dict[str, Any]] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
# How Suricata gets the captures: by itself with -r DIRECTORY, in a run, through a named pipe from one of two.
DIRECTORY, RUN, CAT, PLAIN = WAYS = ("directory", "run", "pcapdj cat", "cat")
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
        writer_cpu_s: of the command that wrote the named pipe, if one did.
        roles: pcapdj's processes; empty without a service.
    """

    wall_s: float
    cpu_s: float
    whole_s: float
    writer_cpu_s: float
    roles: "Mapping[str, Role]"


@dataclass(slots=True)
class Role:
    """One of pcapdj's processes, at its last measurement.

    Args:
        cpu_s: user and system.
        peak_bytes: resident memory, also that which it shares with the process that forked it.
        read_bytes: by read(2) and the like.
    """

    cpu_s: float = 0
    peak_bytes: int = 0
    read_bytes: int = 0


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


def analyze(captures: Path, way: str) -> Analysis:
    """Run Suricata over a folder of captures.

    Args:
        captures: the folder.
        way: one of `WAYS`.
    """
    with scratch() as folder:
        result, logdir, pipe = folder / "times.json", folder / "log", folder / "pipe"
        logdir.mkdir()
        source = str(captures if way == DIRECTORY else pipe)
        command = timed(result, suricata(source, str(logdir)))
        if way == RUN:
            command = run(captures, logdir, timed(result, suricata("{pipe}", "{logdir}")))
        written = folder / "writer.json"
        writer = None
        if way in (CAT, PLAIN):
            os.mkfifo(pipe)
            line = _written_by(way, sorted(map(str, captures.iterdir())), pipe)
            writer = subprocess.Popen(timed(written, ["sh", "-c", line]), env=environment())
        whole_s, roles = run_measured(command)
        if writer and writer.wait():
            raise RuntimeError(f"{writer.args!r} ended with {writer.returncode}")
        times = json.loads(result.read_text(encoding="utf-8"))
        writer_cpu_s = json.loads(written.read_text(encoding="utf-8"))["cpu_s"] if writer else 0.0
    return Analysis(times["wall_s"], times["cpu_s"], whole_s, writer_cpu_s, roles)


def _written_by(way: str, captures: Sequence[str], pipe: Path) -> str:
    """Return the shell command that writes the captures into the pipe, as one capture."""
    if way == CAT:
        return f"exec {shlex.join(ours(*captures))} >{shlex.quote(str(pipe))}"
    rest = f"tail -q -c +{_HEADER_BYTES + 1} {shlex.join(captures[1:])}"
    return f"(cat {shlex.quote(captures[0])} && {rest}) >{shlex.quote(str(pipe))}"


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
    """Measure the command and, by their titles, the processes that it forked."""
    try:
        command = psutil.Process(pid)
        found = {"command": command}
        for each in command.children(recursive=True):
            if role := TITLES.get(" ".join(each.cmdline()).strip()):
                found[role] = each
        for role, each in found.items():
            cpu_s, read_bytes = sum(each.cpu_times()[:2]), each.io_counters().read_chars
            roles[role] = Role(cpu_s, _peak_bytes(each.pid), read_bytes)
    except (psutil.Error, OSError):  # it ended meanwhile
        return


def _peak_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    peaks = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")]
    if not peaks:
        raise ProcessLookupError(pid)  # it has ended, and its parent has not looked yet
    return peaks[0]


def gaps_ms(captures: Path) -> list[float]:
    """Return how long the pipe stays empty between one small file and the next."""
    file_bytes = (captures / "00000.pcap").stat().st_size - 24
    with scratch() as folder:
        result = folder / "gaps.json"
        command = [sys.executable, str(HERE / "gap_reader.py"), "{pipe}", str(result), str(file_bytes)]
        run_measured(run(captures, folder / "log", command))
        found: list[float] = json.loads(result.read_text(encoding="utf-8"))
    return found


def read_again_bytes(capture: Path) -> int:
    """Return how many bytes of a capture a dispatcher reads again whose predecessor was killed half-way."""
    with scratch() as folder:
        script, size_bytes = HERE / "half_reader.py", capture.stat().st_size
        reader = [sys.executable, str(script), "{pipe}", str(folder), str(size_bytes // 2)]
        roles: dict[str, Role] = {}
        with subprocess.Popen(run(capture, folder / "log", reader), env=environment(), **_QUIET) as process:
            while not (folder / "half").exists() and process.poll() is None:
                time.sleep(_POLL_S)
            killed = _dispatcher_below(process.pid)
            killed.kill()
            while process.poll() is None and _dispatcher_below(process.pid, killed) == killed:
                time.sleep(_POLL_S)
            (folder / "go").touch()
            while process.poll() is None:
                _measure_roles(process.pid, roles)
                time.sleep(_POLL_S)
        if process.returncode:
            raise RuntimeError(f"the run with a killed dispatcher ended with {process.returncode}")
        taken_bytes = int((folder / "half").read_text(encoding="ascii"))
    return max(0, roles["dispatcher"].read_bytes - (size_bytes - taken_bytes))


def _dispatcher_below(pid: int, missing: psutil.Process | None = None) -> psutil.Process:
    """Return the process that dispatches below this one; `missing` while there is none."""
    for each in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.Error):
            if TITLES.get(" ".join(each.cmdline()).strip()) == "dispatcher":
                return each
    if missing is None:
        raise RuntimeError("there is no dispatcher")
    return missing


def import_s(captures: Path) -> float:
    """Return how long `pcapdj import` takes for a folder of captures, into an empty Redis of its own."""
    with scratch() as folder, redis_in(folder) as url:
        command = [sys.executable, "-m", "pcapdj", "import", "--redis-url", url, str(captures)]
        started_s = time.monotonic()
        subprocess.run(command, check=True, env=environment(), capture_output=True)
        return time.monotonic() - started_s


@contextmanager
def redis_in(folder: Path) -> Iterator[str]:
    """Yield the URL of an empty Redis, which ends with the block."""
    socket = folder / "redis.sock"
    server = [shutil.which("redis-server") or "redis-server", "--port", "0", "--unixsocket", str(socket)]
    with subprocess.Popen([*server, "--save", "", "--dir", str(folder)], stdout=subprocess.DEVNULL) as redis:
        while not socket.exists() and redis.poll() is None:
            time.sleep(_POLL_S)
        try:
            yield f"unix://{socket}"
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
        runs: Suricata's, by the way it gets the captures.
        five: those of `pcapdj run` on five small captures.
        gaps_ms: between files.
        import_s: of 10,000 names.
        read_again_bytes: by the successor of a killed dispatcher.
        read_bytes: the size of the capture that these two read.
    """

    runs: "Mapping[str, list[Analysis]]"
    five: list[Analysis]
    gaps_ms: list[float]
    import_s: float | None
    read_again_bytes: int
    read_bytes: int

    @property
    def cat_ratio(self) -> float:
        """Suricata's time through a named pipe from `pcapdj cat`, divided by that of its directory mode."""
        mine, its_own = ([run.wall_s for run in self.runs[way]] for way in (CAT, DIRECTORY))
        return _median(mine) / _median(its_own)

    @property
    def run_ratio(self) -> float:
        """The time of `pcapdj run`, less that on five small captures, divided by that of directory mode."""
        five_s = _median(run.whole_s for run in self.five)
        directory_s = _median(run.whole_s for run in self.runs[DIRECTORY])
        return (_median(run.whole_s for run in self.runs[RUN]) - five_s) / directory_s

    @property
    def dispatcher_ratio(self) -> float:
        """The dispatcher's CPU time, less that on five small captures, divided by that of `cat`."""
        five_s = _median(run.roles["dispatcher"].cpu_s for run in self.five)
        feeding_s = _median(run.roles["dispatcher"].cpu_s for run in self.runs[RUN])
        return (feeding_s - five_s) / _median(run.writer_cpu_s for run in self.runs[PLAIN])

    @property
    def peaks(self) -> "Mapping[str, int]":
        """The highest resident memory of each of pcapdj's processes."""
        names = self.runs[RUN][0].roles
        return {name: max(run.roles[name].peak_bytes for run in self.runs[RUN]) for name in sorted(names)}


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def measure_service(folder: Path, rounds: int) -> Service:
    """Measure everything; Suricata gets the captures in each way in turn."""
    runs: dict[str, list[Analysis]] = {way: [] for way in WAYS}
    five: list[Analysis] = []
    if shutil.which("suricata"):
        for number in range(rounds + 1):
            measured = {way: analyze(folder / "rotated", way) for way in WAYS}
            small = analyze(folder / "five", RUN)
            if number:
                five.append(small)
                for way, analysis in measured.items():
                    runs[way].append(analysis)
    names_s = import_s(folder / "10000") if shutil.which("redis-server") else None
    whole = folder / "imix.pcap"
    again = read_again_bytes(whole)
    return Service(runs, five, gaps_ms(folder / "gaps"), names_s, again, whole.stat().st_size)
