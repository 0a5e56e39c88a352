"""`python -m mutants`: put small random bugs into the product, one at a time; list those no test notices.

    PYTHONPATH=.:tests python -m mutants --seed 7 --count 150 --workers 2 feed commands roles console

The same seed and tree give the same mutants. One recorded run of the tests shows which of them run the code
of a mutant (`recording`); only these are tried (`trial`), each worker in its own copy of the tree.

This is a script of our own because the maintained tools do not fit (looked at in 2026). mutmut 3.8 does not
change decorated functions and module constants, and finds the tests of a function by its calls inside the
pytest process, but our roles are separate processes. cosmic-ray 8.7 runs one test command for all modules,
has no sample by seed and removes no statements. mutatest has had no release since 2022.
"""

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Final

from mutants.blocks import Package
from mutants.operators import Mutant, is_python, mutants_of
from mutants.recording import ROOT, recorded
from mutants.trial import CAP_S, Trial, prepare, trial, tried

_ROLES: Final = ("dispatcher", "controller", "consumer_launcher", "importer")
_DEFAULT_PLACES: Final = ("feed", "commands", "roles", "console")


def main() -> int:
    """Draw the mutants, try each, print the survivors and a table; 0 whatever survived."""
    options = _options()
    modules = sorted(str(path.relative_to(ROOT / "pcapdj")) for path in (ROOT / "pcapdj").rglob("*.py"))
    texts = {module: (ROOT / "pcapdj" / module).read_text("utf-8") for module in modules}
    places = [place for name in options.places for place in _places_in(texts, name)]
    drawn = _drawn(texts, places, random.Random(options.seed), options.count)  # noqa: S311 - repeatable
    _print(f"{len(drawn)} mutants in {len(places)} places, seed {options.seed}")
    package, tests = Package(texts), recorded(options.workers)
    trials = [
        trial(module, mutant, package.blocks_at(module, mutant.line), tests, options.cap)
        for module, mutant in drawn
    ]
    with tempfile.TemporaryDirectory(prefix="mu-") as folder, _pool(options.workers, folder) as pool:
        verdicts = []
        for each, (noticed_by, duration_s) in zip(trials, pool.map(tried, trials), strict=True):
            verdicts.append(bool(noticed_by))
            word = f"noticed by {noticed_by}" if noticed_by else f"SURVIVED {_tests_of(each)}"
            _print(f"{len(verdicts)}/{len(trials)} {_shown(each)}: {word} ({duration_s:.1f} s)")
    _summarize(trials, verdicts)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mutants", description="Which small bugs does no test notice?")
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(10_000), help="default: random"
    )
    parser.add_argument("--count", type=int, default=150, help="how many mutants (150)")
    parser.add_argument("--workers", type=int, default=2, help="how many at once (2)")
    parser.add_argument(
        "--cap", type=float, default=CAP_S, help=f"seconds of tests that are tried for each ({CAP_S:g})"
    )
    parser.add_argument(
        "places",
        nargs="*",
        default=_DEFAULT_PLACES,
        help="rooms, `roles`, `all`, modules such as feed/pipe.py, or lines such as feed/pipe.py:42",
    )
    return parser.parse_args()


def _places_in(modules: Iterable[str], name: str) -> list[tuple[str, int]]:
    """Return the modules of a room, or the module, each with line 0; or the module with the line."""
    wanted, _, line = name.removeprefix("pcapdj/").rstrip("/").partition(":")
    names = {f"{role}.py" for role in _ROLES} if wanted == "roles" else {wanted}
    found = [
        module
        for module in modules
        if "/_" not in f"/{module}" and (wanted == "all" or {module, module.partition("/")[0]} & names)
    ]
    if not found:
        raise SystemExit(f"mutants: there is no room or module {name!r} in pcapdj/")
    return [(module, int(line or 0)) for module in found]


def _drawn(
    texts: Mapping[str, str], places: Iterable[tuple[str, int]], rng: random.Random, count: int
) -> list[tuple[str, Mutant]]:
    """Draw mutants by their weights, at most one for each line, but all of a line that is a place.

    They are sorted by place.
    """
    keyed = [
        (rng.random() ** (1 / mutant.weight), module, mutant, mutant.start if line else 0)
        for module, line in places
        for mutant in mutants_of(texts[module])
        if line in (0, mutant.line)
    ]
    drawn: dict[tuple[str, int, int, str], Mutant] = {}
    for _, module, mutant, start in sorted(keyed, key=lambda each: -each[0]):
        place = module, mutant.line, start, mutant.new if start else ""
        if len(drawn) < count and place not in drawn and is_python(mutant.applied_to(texts[module])):
            drawn[place] = mutant
    return [(place[0], mutant) for place, mutant in sorted(drawn.items(), key=lambda each: each[0])]


def _pool(workers: int, folder: str) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, get_context("fork"), initializer=partial(prepare, folder))


def _summarize(trials: Sequence[Trial], verdicts: Sequence[bool]) -> None:
    survivors = [each for each, is_noticed in zip(trials, verdicts, strict=True) if not is_noticed]
    _print(f"\nSurvivors: {len(survivors)}")
    for each in survivors:
        _print(f"  {_shown(each)} {_tests_of(each)}")
    total = Counter(_room_of(each.module) for each in trials)
    surviving = Counter(_room_of(each.module) for each in survivors)
    total["all"], surviving["all"] = len(trials), len(survivors)
    _print(f"\n{'place':<20}{'noticed':>8}{'of':>5}{'share':>8}")
    for room, count in total.items():
        noticed = count - surviving[room]
        _print(f"{room:<20}{noticed:>8}{count:>5}{noticed / count:>8.0%}")


def _room_of(module: str) -> str:
    room = module.partition("/")[0].removesuffix(".py")
    return "roles" if room in _ROLES else room


def _tests_of(each: Trial) -> str:
    """Return how many tests were tried, in words."""
    if not each.tests:
        return "(no test runs it)"
    more = f", {each.left_out} more were beyond the limit" if each.left_out else ""
    return f"({len(each.tests)} tests run it{more})"


def _shown(each: Trial) -> str:
    old, new = (" ".join(text.split()) for text in (each.mutant.old, each.mutant.new))
    return f"pcapdj/{each.module}:{each.mutant.line} {old} -> {new or 'nothing'}"


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - its result


if __name__ == "__main__":
    sys.exit(main())
