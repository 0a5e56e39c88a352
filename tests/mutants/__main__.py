"""`python -m mutants`: put small random bugs into the product, one at a time; list those no test notices.

    PYTHONPATH=.:tests python -m mutants --seed 7 --count 150 --workers 2 feed commands roles console

The same seed and tree give the same mutants. Each worker has its own copy of the tree. It runs only the tests
that belong to the changed module (`relevance.py`), until one fails; a time-out counts as noticed. A test that
notices a mutant for the first time runs once more without it. If it fails then, too, it is left out.

This is a script of our own because the maintained tools do not fit (looked at in 2026). mutmut 3.8 does not
change decorated functions and module constants, and finds the tests of a function by its calls inside the
pytest process, but our roles are separate processes. cosmic-ray 8.7 runs one test command for all modules,
has no sample by seed and removes no statements. mutatest has had no release since 2022.
"""

import argparse
import ctypes
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import psutil

from mutants.operators import Mutant, is_python, mutants_of
from mutants.relevance import ROLES, files_for

ROOT: Final = Path(__file__).resolve().parent.parent.parent
_DEFAULT_PLACES: Final = ("feed", "commands", "roles", "console")
_PYTEST: Final = ("-m", "pytest", "-x", "-q", "-p", "no:randomly", "-p", "no:cacheprovider")
_LIMIT_S: Final = 900.0  # for all tests of a module together; pytest-timeout ends a single one after 60 s
_TIME_OUT: Final = "a time-out"
_PR_SET_CHILD_SUBREAPER: Final = 36


@dataclass(frozen=True, slots=True)
class Trial:
    """A mutant, where it is, and the groups of test files that may notice it, in order."""

    module: Path
    mutant: Mutant
    groups: tuple[tuple[str, ...], ...]


def main() -> int:
    """Draw the mutants, try each, print the survivors and a table; 0 whatever survived."""
    options = _options()
    modules = _modules_in(options.places)
    drawn = _drawn(modules, random.Random(options.seed), options.count)  # noqa: S311 - repeatable, not secret
    trials = [_trial(module, mutant) for module, mutant in drawn]
    _print(f"{len(trials)} mutants in {len(modules)} modules, seed {options.seed}")
    with tempfile.TemporaryDirectory(prefix="mu-") as folder, _pool(options.workers, folder) as pool:
        verdicts = []
        for trial, (noticed_by, duration_s) in zip(trials, pool.map(_tried, trials), strict=True):
            verdicts.append(bool(noticed_by))
            word = f"noticed by {noticed_by}" if noticed_by else "SURVIVED"
            _print(f"{len(verdicts)}/{len(trials)} {_shown(trial)}: {word} ({duration_s:.0f} s)")
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
        "places",
        nargs="*",
        default=_DEFAULT_PLACES,
        help="rooms, `roles`, `all`, or modules such as feed/pipe.py",
    )
    return parser.parse_args()


def _modules_in(places: Iterable[str]) -> list[Path]:
    """Return the modules of these rooms, as paths inside the package."""
    package = ROOT / "pcapdj"
    every = sorted(path.relative_to(package) for path in package.rglob("*.py") if path.name[0] != "_")
    found: set[Path] = set()
    for place in places:
        wanted = place.removeprefix("pcapdj/").rstrip("/")
        names = {f"{role}.py" for role in ROLES} if wanted == "roles" else {wanted}
        matching = {path for path in every if wanted == "all" or {str(path), path.parts[0]} & names}
        if not matching:
            raise SystemExit(f"mutants: there is no room or module {place!r} in pcapdj/")
        found |= matching
    return sorted(found)


def _drawn(modules: Iterable[Path], rng: random.Random, count: int) -> list[tuple[Path, Mutant]]:
    """Draw mutants by their weights, at most one for each line; return them sorted by place."""
    texts = {module: (ROOT / "pcapdj" / module).read_text("utf-8") for module in modules}
    keyed = [
        (rng.random() ** (1 / mutant.weight), module, mutant)
        for module, text in texts.items()
        for mutant in mutants_of(text)
    ]
    drawn: dict[tuple[Path, int], Mutant] = {}
    for _, module, mutant in sorted(keyed, key=lambda each: -each[0]):
        if len(drawn) == count:
            break
        if (module, mutant.line) not in drawn and is_python(mutant.applied_to(texts[module])):
            drawn[module, mutant.line] = mutant
    return [(module, mutant) for (module, _), mutant in sorted(drawn.items(), key=lambda each: each[0])]


def _trial(module: Path, mutant: Mutant) -> Trial:
    groups = files_for(module, ROOT / "tests")
    return Trial(
        module,
        mutant,
        tuple(tuple(str(path.relative_to(ROOT)) for path in group) for group in groups if group),
    )


def _pool(workers: int, folder: str) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, get_context("fork"), initializer=partial(_prepare, folder))


def _prepare(folder: str) -> None:
    """Make this worker's copy of the tree; what its tests leave behind becomes its child, to be killed."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    copy = Path(folder, f"{os.getpid()}", "tree")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    os.chdir(copy)


def _tried(trial: Trial) -> tuple[str, float]:
    """Return the test that notices the mutant (empty: none does), and how many seconds that took."""
    path, started_s = Path("pcapdj", trial.module), time.monotonic()
    original = path.read_text("utf-8")
    noticed_by = ""
    for group in trial.groups:
        left_out: set[str] = set()
        while not noticed_by:
            _write(path, trial.mutant.applied_to(original))
            noticed_by = _first_failure(group, left_out)
            _write(path, original)
            if not noticed_by or not _fails_without_mutant(noticed_by):
                break
            left_out.add(noticed_by)
            noticed_by = ""
    return noticed_by, time.monotonic() - started_s


@cache
def _fails_without_mutant(test: str) -> bool:
    return test != _TIME_OUT and bool(_first_failure([test], ()))


def _write(path: Path, text: str) -> None:
    """Write a module. Its compiled form goes: Python would trust one of the same second and size."""
    path.write_text(text, "utf-8")
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
        compiled.unlink()


def _first_failure(tests: Iterable[str], left_out: Iterable[str]) -> str:
    """Run tests in this worker's copy; return the first one that fails, empty if none does."""
    scratch = Path("../t").resolve()
    scratch.mkdir()
    process = subprocess.Popen(
        [sys.executable, *_PYTEST, *tests, *(f"--deselect={test}" for test in left_out)],
        env=os.environ
        | {"PYTHONPATH": str(Path.cwd()), "TMPDIR": str(scratch), "PCAPDJ_TEST_EXAMPLES": "100"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        output = process.communicate(timeout=_LIMIT_S)[0].decode(errors="replace")
    except subprocess.TimeoutExpired:
        output = f"FAILED {_TIME_OUT}"
    _end_descendants()
    shutil.rmtree(scratch, ignore_errors=True)
    found = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", output, re.MULTILINE)
    return found.group(1) if found else "pytest itself" if process.wait() else ""


def _end_descendants() -> None:
    """Kill what the tests started and left, however deep; its orphans are this process's children."""
    while left := psutil.Process().children(recursive=True):
        for child in left:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(left, timeout=1)


def _summarize(trials: Sequence[Trial], verdicts: Sequence[bool]) -> None:
    survivors = [trial for trial, is_noticed in zip(trials, verdicts, strict=True) if not is_noticed]
    _print(f"\nSurvivors: {len(survivors)}")
    for trial in survivors:
        _print(f"  {_shown(trial)}")
    total = Counter(_place_of(trial.module) for trial in trials)
    noticed = Counter(
        _place_of(trial.module) for trial, is_noticed in zip(trials, verdicts, strict=True) if is_noticed
    )
    total["all"], noticed["all"] = len(trials), sum(verdicts)
    _print(f"\n{'place':<20}{'noticed':>8}{'of':>5}{'share':>8}")
    for place, count in total.items():
        _print(f"{place:<20}{noticed[place]:>8}{count:>5}{noticed[place] / count:>8.0%}")


def _place_of(module: Path) -> str:
    return "roles" if module.stem in ROLES else module.parts[0].removesuffix(".py")


def _shown(trial: Trial) -> str:
    old, new = (" ".join(text.split()) for text in (trial.mutant.old, trial.mutant.new))
    return f"pcapdj/{trial.module}:{trial.mutant.line} {old} -> {new or 'nothing'}"


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - its result


if __name__ == "__main__":
    sys.exit(main())
