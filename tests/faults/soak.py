"""`python -m faults.soak --hours 8`: parts of the campaign in random order, for as long as wanted.

Ctrl-C stops it between two legs; the same command goes on where it stopped, from the state file. Beside the
parts, which kill everything, one scenario is never killed but for its Redis: its processes are fed in every
leg, and their memory and descriptors have to stay what they are.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from faults import report
from faults.campaign import PARTS, print_text, run_part
from faults.figures import Figures
from faults.kills import FORMS, Schedule
from faults.scenario import COPY, Scenario

_ROLES: Final = ("dispatcher", "controller", "consumer_launcher")
_WARM_LEGS: Final = 5  # until caches are filled and every path was taken once
_REDIS_EVERY: Final = 3
MEMORY_SLOPE_BYTES: Final = 1 << 20  # an hour


@dataclass(slots=True)
class State:
    """Where a soak is.

    Args:
        seed: decides all legs.
        legs: how many are done.
        figures: what they found.
    """

    seed: int
    legs: int = 0
    figures: Figures = field(default_factory=Figures)

    def save(self, path: Path) -> None:
        """Write it, at once or not at all."""
        fresh, figures = path.with_suffix(".new"), path.with_suffix(".figures")
        self.figures.save(figures)
        fresh.write_text(json.dumps({"seed": self.seed, "legs": self.legs}), encoding="utf-8")
        fresh.replace(path)

    @classmethod
    def load(cls, path: Path, seed: int) -> "State":
        """Read what `save` wrote, or begin anew."""
        if not path.exists():
            return cls(seed)
        found = json.loads(path.read_text(encoding="utf-8"))
        return cls(found["seed"], found["legs"], Figures.load(path.with_suffix(".figures")))


class Steady:
    """The scenario that lives on: what its processes hold, leg after leg.

    Args:
        figures: where what it breaks is counted.
    """

    def __init__(self, figures: Figures) -> None:
        self._scenario = Scenario(COPY)
        self._scenario.start_all()
        self._schedule = Schedule(self._scenario, figures, "steady")
        self._samples: list[dict[str, Any]] = []

    def leg(self, number: int) -> None:
        """Feed files of all forms, kill Redis now and then, and see what the processes hold."""
        self._scenario.add_files(12, 500, forms=FORMS)
        if number % _REDIS_EVERY == 0:
            self._scenario.kill_redis()
            self._scenario.start_redis()
        self._schedule.round()
        held = {role: _held(self._scenario.roles[role].pid) for role in _ROLES}
        self._samples.append({"at_s": time.monotonic(), **held})

    def slopes(self) -> dict[str, tuple[float, float]]:
        """Return for each role how many bytes of memory, and how many descriptors, an hour adds."""
        samples = self._samples[_WARM_LEGS:]
        hours = [sample["at_s"] / 3600 for sample in samples]
        return {
            role: (
                slope(hours, [sample[role][0] for sample in samples]),
                slope(hours, [sample[role][1] for sample in samples]),
            )
            for role in _ROLES
        }

    def close(self) -> None:
        """End it."""
        self._scenario.close()


def _held(pid: int) -> tuple[int, int]:
    process = psutil.Process(pid)
    return process.memory_info().rss, process.num_fds()


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Return by how much the values grow per unit of time: least squares."""
    if len(times) < 2:
        return 0.0
    mean_time, mean_value = sum(times) / len(times), sum(values) / len(values)
    spread = sum((at - mean_time) ** 2 for at in times)
    together = sum((at - mean_time) * (value - mean_value) for at, value in zip(times, values, strict=True))
    return together / spread if spread else 0.0


def soak(state: State, path: Path, hours: float) -> dict[str, tuple[float, float]]:
    """Run legs until the time is over; return what `Steady.slopes` returns."""
    until_s = time.monotonic() + hours * 3600
    with closing(Steady(state.figures)) as steady:
        while time.monotonic() < until_s:
            chosen = random.Random(f"{state.seed} {state.legs}")  # noqa: S311 - the same legs for the same seed
            name = chosen.choice(list(PARTS))
            count = max(1, round(PARTS[name].count * chosen.uniform(0.02, 0.1)))
            found = run_part(name, chosen.randrange(1 << 30), count)
            steady.leg(state.legs)
            state.figures.add(found)
            state.legs += 1
            state.save(path)
            print_text(f"leg {state.legs}: {name}, {count}: {len(found.violations)} violations")
        return steady.slopes()


def main() -> int:
    """Soak; 1 if a promise was broken or memory or descriptors grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--state", type=Path, default=Path("soak.state"))
    arguments = parser.parse_args()
    begun_s, state = time.monotonic(), State.load(arguments.state, arguments.seed)
    try:
        slopes = soak(state, arguments.state, arguments.hours)
    except KeyboardInterrupt:
        print_text(f"Stopped after leg {state.legs}; the same command goes on.")
        return 130
    print_text(report.text(state.figures, time.monotonic() - begun_s, state.seed))
    print_text("\n| process | memory grows by | descriptors by |\n|---|---|---|")
    for role, (memory_bytes, descriptors) in slopes.items():
        print_text(f"| {role} | {memory_bytes / (1 << 20):+.2f} MiB/h | {descriptors:+.2f} /h |")
    is_long = arguments.hours >= 1  # in minutes a cache that fills looks like a leak
    grew = any(memory > MEMORY_SLOPE_BYTES or descriptors > 1 for memory, descriptors in slopes.values())
    return 1 if state.figures.violations or (is_long and grew) else 0


if __name__ == "__main__":
    sys.exit(main())
