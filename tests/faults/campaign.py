"""`python -m faults.campaign`: the fault campaign of `make faults`, and its report in docs/reliability.md.

Its parts run as processes of their own, three at a time: most of their time is waiting. `--part NAME` runs
one part alone, `--scale 0.1` a tenth of everything, without touching the document.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from support.forkserver import ROOT
from support.loops import Form

from faults import edge_cases, real_suricata, rearranged, report, stops, storms
from faults.figures import Figures
from faults.hostile import bad_inputs
from faults.kills import Schedule
from faults.mutants import mutants
from faults.scenario import COPY, SLOW_COPY, Scenario
from faults.trial import Trial

TCPDUMP: Final = ("tcpdump", "-n", "-U", "-r", "{pipe}", "-w", "copy")
DOCUMENT: Final = ROOT / "docs/reliability.md"
PART_LIMIT_S: Final = 400.0
_AT_ONCE: Final = 3
_SEED: Final = 20_260_101

Run = Callable[[Figures, str, int], None]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the campaign.

    Args:
        count: of what it does, in a whole campaign.
        run: does it.
        needs: a program without which it is left out, and named.
    """

    count: int
    run: Run
    needs: str = ""


def _dispatchers(
    command: tuple[str, ...], deepest: int, *, real_share: float = 0.0, loops: Form | None = None
) -> Run:
    def run(figures: Figures, seed: str, count: int) -> None:
        with closing(Scenario(command, loops=loops)) as scenario:
            scenario.start_redis()
            scenario.start("consumer_launcher")
            scenario.start("controller")
            Schedule(scenario, figures, seed).dispatchers(count, deepest=deepest, real_share=real_share)

    return run


def _suricata(figures: Figures, seed: str, count: int) -> None:
    with closing(Scenario(real_suricata.COMMAND)) as scenario:
        scenario.start_redis()
        scenario.start("consumer_launcher")
        scenario.start("controller")
        Schedule(scenario, figures, seed, real_suricata.check).dispatchers(count)


def _schedule(method: Callable[[Schedule, int], None], command: tuple[str, ...] = SLOW_COPY) -> Run:
    def run(figures: Figures, seed: str, count: int) -> None:
        with closing(Scenario(command)) as scenario:
            scenario.start_all()
            method(Schedule(scenario, figures, seed), count)

    return run


def _stops(figures: Figures, seed: str, count: int) -> None:
    with closing(Scenario(SLOW_COPY)) as scenario:
        scenario.start_all()
        stops.stops(Schedule(scenario, figures, seed, stops.findings), count)


def _stops_suricata(figures: Figures, seed: str, count: int) -> None:
    with closing(Scenario(real_suricata.COMMAND)) as scenario:
        scenario.start_all()
        schedule = Schedule(scenario, figures, seed, real_suricata.check_stopped)
        stops.stops(schedule, count, packets=30_000, has_kills=False)


def _storms(figures: Figures, seed: str, count: int) -> None:
    with closing(Scenario(COPY)) as scenario:
        storms.redises(scenario, figures, seed, count)


def _inputs(loops: Form | None = None) -> Run:
    def run(figures: Figures, seed: str, count: int) -> None:
        with closing(Scenario(TCPDUMP if shutil.which("tcpdump") else COPY, loops=loops)) as scenario:
            scenario.start_all()
            bad = bad_inputs(scenario.captures) if count else []
            Trial(scenario, figures).feed([*bad, *mutants(zlib.crc32(seed.encode()), count)])

    return run


PARTS: Final = {
    "analyzers": Part(50, _schedule(Schedule.analyzers)),
    "analyzers, tcpdump": Part(50, _schedule(Schedule.analyzers, TCPDUMP), "tcpdump"),
    "dispatchers, slow analyzer": Part(350, _dispatchers(SLOW_COPY, 40)),
    "dispatchers, fast analyzer": Part(350, _dispatchers(COPY, 24)),
    "dispatchers, tcpdump": Part(250, _dispatchers(TCPDUMP, 24), "tcpdump"),
    "dispatchers, Python loops": Part(150, _dispatchers(SLOW_COPY, 40, loops="python")),
    "dispatchers, real starts": Part(60, _dispatchers(SLOW_COPY, 24, real_share=1.0)),
    "dispatchers, suricata": Part(90, _suricata, "suricata"),
    "redis": Part(200, _schedule(Schedule.redises)),
    "redis, in storms": Part(60, _storms),
    "launchers": Part(100, _schedule(Schedule.launchers)),
    "controllers": Part(100, _schedule(Schedule.controllers)),
    "stops": Part(100, _stops),
    "stops, suricata": Part(20, _stops_suricata, "suricata"),
    "everything": Part(50, _schedule(Schedule.everything)),
    "launchers, named points": Part(100, _schedule(edge_cases.launchers)),
    "inboxes, rearranged": Part(300, rearranged.run),
    "importers": Part(40, _schedule(edge_cases.importers, COPY)),
    "drained queues": Part(20, _schedule(edge_cases.drained)),
    "mutants": Part(2000, _inputs()),
    "mutants, Python loops": Part(1000, _inputs("python")),
}


def run_part(name: str, seed: int, count: int) -> Figures:
    """Run one part; what goes wrong in the campaign itself is a violation, too."""
    figures, begun_s = Figures(), time.monotonic()
    try:
        PARTS[name].run(figures, f"{seed} {name}", count)
    except Exception as exc:  # noqa: BLE001 - whatever it is: the part did not run to its end
        figures.violated(f"{type(exc).__name__}: {exc}")
    figures.violations = [f"{name}: {sentence}" for sentence in figures.violations]
    figures.counts[f"seconds of {name}"] = round(time.monotonic() - begun_s)
    return figures


def run_campaign(seed: int, scale: float) -> Figures:
    """Run all parts, three at a time, and return what they found together."""
    waiting, total = list(PARTS), Figures()
    running: dict[str, tuple[subprocess.Popen[bytes], float]] = {}
    with tempfile.TemporaryDirectory(prefix="pcapdj-") as folder:
        while waiting or running:
            while waiting and len(running) < _AT_ONCE:
                _start_part(waiting.pop(0), seed, scale, Path(folder), running, total)
            for name, (process, begun_s) in list(running.items()):
                if process.poll() is not None or time.monotonic() - begun_s > PART_LIMIT_S:
                    _collect(name, process, Path(folder), total)
                    del running[name]
            time.sleep(0.05)
    return total


def _start_part(
    name: str,
    seed: int,
    scale: float,
    folder: Path,
    running: dict[str, tuple[subprocess.Popen[bytes], float]],
    total: Figures,
) -> None:
    part = PARTS[name]
    if part.needs and not shutil.which(part.needs):
        total.counts[f"left out, because {part.needs} is not installed: {name}"] += 1
        return
    argv = [sys.executable, "-m", "faults.campaign", "--part", name, "--seed", str(seed)]
    argv += ["--scale", str(scale), "--save", str(folder / name)]
    running[name] = subprocess.Popen(argv), time.monotonic()


def _collect(name: str, process: subprocess.Popen[bytes], folder: Path, total: Figures) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()
    path = folder / name
    found = Figures.load(path) if path.exists() else Figures(violations=[f"{name}: did not come to its end"])
    total.add(found)
    state = f"{len(found.violations)} violations" if found.violations else "nothing found"
    seconds = found.counts[f"seconds of {name}"]
    print_text(f"{name}: {state}, {sum(found.kills.values())} kills, {seconds} s")


def print_text(text: str) -> None:
    """Print at once, also into a pipe."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    """Run what the arguments ask for; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=PARTS)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=_SEED)
    parser.add_argument("--save", type=Path)
    arguments = parser.parse_args()
    begun_s = time.monotonic()
    if arguments.part:
        figures = run_part(
            arguments.part, arguments.seed, max(1, round(PARTS[arguments.part].count * arguments.scale))
        )
    else:
        figures = run_campaign(arguments.seed, arguments.scale)
    if arguments.save:
        figures.save(arguments.save)
        return 0
    text = report.text(figures, time.monotonic() - begun_s, arguments.seed)
    print_text(text)
    if not arguments.part and arguments.scale == 1:
        report.put_into(DOCUMENT, text)
    return 1 if figures.violations else 0


if __name__ == "__main__":
    sys.exit(main())
