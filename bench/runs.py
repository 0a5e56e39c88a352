"""Runs programs in turn into the same sink, and measures time and memory of each run.

In turn means A B C A B C: other load of the machine then affects all of them alike, and the ratio of two
medians is valid even on a busy machine. The first round fills the caches and is not counted.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

Argv = Sequence[str]
CHECKOUT: Final = Path(__file__).parent.parent.resolve()
SINK: Final = ("sh", "-c", "exec cat >/dev/null")


def environment(**settings: str) -> dict[str, str]:
    """Return the environment with the modules of this checkout, and of pcapdj's settings only these."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PCAPDJ_")}
    return {**clean, "PYTHONPATH": str(CHECKOUT), **settings}


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a program: from its start until it and the sink have ended.

    Args:
        wall_s: from its start, until the sink has ended.
        cpu_s: user and system, of the program only.
        peak_bytes: resident memory; that of the largest process if there are several.
    """

    wall_s: float
    cpu_s: float
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Series:
    """All counted runs of one program."""

    runs: list[Run] = field(default_factory=list)

    @property
    def median_s(self) -> float:
        """The median of the wall times."""
        return statistics.median(run.wall_s for run in self.runs)

    @property
    def spread(self) -> tuple[float, float]:
        """Shortest and longest wall time, in seconds."""
        return min(run.wall_s for run in self.runs), max(run.wall_s for run in self.runs)

    @property
    def peak_bytes(self) -> int:
        """The highest peak of all runs."""
        return max(run.peak_bytes for run in self.runs)


def run_once(argv: Argv, **settings: str) -> Run:
    """Run a program into the sink.

    Args:
        argv: its command line.
        settings: environment variables of pcapdj.

    Raises:
        RuntimeError: it failed.
    """
    with subprocess.Popen(SINK, stdin=subprocess.PIPE) as sink:
        started_s = time.monotonic()
        program = subprocess.Popen(argv, stdout=sink.stdin, env=environment(**settings))
        if sink.stdin is not None:
            sink.stdin.close()
        _, status, usage = os.wait4(program.pid, 0)
        program.returncode = os.waitstatus_to_exitcode(status)
        sink.wait()
        wall_s = time.monotonic() - started_s
    if program.returncode:
        raise RuntimeError(f"{argv[0]} ended with {program.returncode}")
    return Run(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def run_in_turn(
    programs: Mapping[str, Argv], rounds: int, settings: Mapping[str, Mapping[str, str]]
) -> dict[str, Series]:
    """Run all programs in turn, `rounds` times after one round that is not counted.

    Args:
        programs: command lines by name.
        rounds: that are counted.
        settings: environment variables of pcapdj, by the program's name.
    """
    series = {name: Series() for name in programs}
    for number in range(rounds + 1):
        for name, argv in programs.items():
            run = run_once(argv, **settings.get(name, {}))
            if number:
                series[name].runs.append(run)
    return series


def ours(*arguments: str) -> Argv:
    """Return the command line of `pcapdj cat`."""
    return (sys.executable, "-m", "pcapdj", "cat", *arguments)
