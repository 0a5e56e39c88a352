"""Measures `pcapdj cat`, and the programs that one would use instead."""

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.runs import Argv, Series, ours, run_in_turn, run_once

MERGECAP, DPKT, CAT, ZSTD = OTHER_PROGRAMS = ("mergecap", "dpkt", "cat", "zstd")
COMPILED, PYTHON = "compiled", "python"  # the two forms of the loops over records
PEAK_LIMIT_BYTES: Final = 80_000_000
_DPKT_TARGET: Final = 0.2


@dataclass(frozen=True, slots=True)
class Work:
    """One capture, and the goals: the highest ratio of times to other programs.

    Args:
        what: for people.
        file: its name.
        targets: with the compiled loops.
        options: of `pcapdj cat`.
        python_target: that of the Python loops to mergecap; None: no goal.
    """

    what: str
    file: str
    targets: dict[str, float]
    options: tuple[str, ...] = ()
    python_target: float | None = None


WORKS: Final = (
    Work("pcap, IMIX", "imix.pcap", {MERGECAP: 0.5}),
    Work("pcap, 64-byte packets", "64.pcap", {MERGECAP: 0.25}, python_target=0.35),
    Work("pcap, 1514-byte packets", "1514.pcap", {MERGECAP: 0.5, CAT: 0.4}, python_target=0.55),
    Work("pcapng, IMIX", "imix.pcapng", {MERGECAP: 0.7}),
    Work(
        "nanosecond pcap to microseconds, IMIX",
        "imix-nanosecond.pcap",
        {MERGECAP: 0.8},
        ("--precision", "us"),
    ),
    Work("byte-swapped pcap, IMIX", "imix-swapped.pcap", {MERGECAP: 0.8}),
    Work("gzip, IMIX", "imix.pcap.gz", {MERGECAP: 0.7}, python_target=0.75),
    Work("zstd, IMIX", "imix.pcap.zst", {}),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """The runs of one work: ours with the compiled loops and with those in Python, and other programs'."""

    work: Work
    ours: Series
    in_python: Series
    others: dict[str, Series]

    def ratio(self, other: str) -> float:
        """Our median divided by the other's."""
        return self.ours.median_s / self.others[other].median_s


def other_programs(work: Work, folder: Path) -> dict[str, Argv]:
    """Return the other programs that are installed and can do this work."""
    path = str(folder / work.file)
    found: dict[str, Argv] = {DPKT: (sys.executable, "-m", "bench.dpkt_loop", path)}
    if CAT in work.targets:
        found[CAT] = (CAT, path)
    if MERGECAP in work.targets and shutil.which(MERGECAP):
        found[MERGECAP] = (MERGECAP, "-a", "-F", "pcap", "-w", "-", path)
    if work.file.endswith(".zst") and shutil.which("zstd") and shutil.which(MERGECAP):
        line = 'zstd -dc "$0" | mergecap -a -F pcap -w - -'
        found[ZSTD] = ("sh", "-c", line, path)
    return found


def targets_of(work: Work) -> dict[str, float]:
    """Return the goal for each other program: the highest ratio of times."""
    return {**work.targets, DPKT: _DPKT_TARGET}


def measure_all(folder: Path, rounds: int) -> Iterator[Measured]:
    """Run every work; yield each as it is done."""
    for work in WORKS:
        mine = ours(*work.options, str(folder / work.file))
        forms = {form: {"PCAPDJ_LOOPS": form} for form in (COMPILED, PYTHON)}
        programs = {**dict.fromkeys(forms, mine), **other_programs(work, folder)}
        series = run_in_turn(programs, rounds, forms)
        yield Measured(work, series.pop(COMPILED), series.pop(PYTHON), series)


@dataclass(frozen=True, slots=True)
class Peak:
    """Time and peak memory of an input that could need much memory."""

    what: str
    wall_s: float
    bytes: int


def peaks(folder: Path) -> Iterator[Peak]:
    """Run the inputs that could need much memory."""
    sparse = folder / "sparse.pcap"
    gigabytes = sparse.stat().st_size / 1e9
    for what, path in (
        (f"a sparse capture of {gigabytes:.0f} GB", sparse),
        ("20,000 captures of one packet", folder / "20000"),
    ):
        run = run_once(ours(str(path)))
        yield Peak(what, run.wall_s, run.peak_bytes)
