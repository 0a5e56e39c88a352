"""One mutant in a worker's copy of the tree: does one of the tests that run its block notice it?

The worker has imported what takes long, and forks a pytest for each try. Only tests that ran the mutant's
block when they were recorded are tried, the quickest and most specific ones first, until one fails; a
time-out counts, if the same tests are in time without the mutant. A test that notices a mutant for the first
time runs once more without it. If it fails then, too, it is left out from then on.
"""

import ctypes
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Final, NoReturn

import psutil
import pytest

from mutants.blocks import SOURCE
from mutants.operators import Mutant
from mutants.recording import RecordedTest, copy_tree, environment_in

CAP_S: Final = 120.0  # of tests for each mutant, as long as they took when they were recorded: the default
_QUICK_S: Final = 3.0  # the first tests, which notice most mutants
_TIME_OUT: Final = "a time-out"
_GRACE_S: Final = 30.0  # for whatever takes longer with a mutant, beside a multiple of its recorded time
_SLOWER: Final = 5
_NAMED: Final = 10  # how much sooner a test is tried whose file has the module's name
_HEAVY: Final = (
    "hypothesis", "redis", "rich.progress", "typer.testing", "dpkt",
    "supervisor.supervisord", "pytest_timeout", "isal.igzip_threaded",
)  # fmt: skip
_OPTIONS: Final = (
    "-x", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:xdist",
    "-W", "ignore::pytest.PytestAssertRewriteWarning",
)  # fmt: skip
_PR_SET_CHILD_SUBREAPER: Final = 36
_left_out: Final[set[str]] = set()


@dataclass(frozen=True, slots=True)
class Trial:
    """A mutant, its module (a path inside the package), and the tests that may notice it, in order.

    `left_out` is how many tests more run its block, for which there is no time.
    """

    module: str
    mutant: Mutant
    tests: Sequence[RecordedTest]
    left_out: int


def trial(
    module: str, mutant: Mutant, blocks: Iterable[str], tests: Iterable[RecordedTest], cap_s: float = CAP_S
) -> Trial:
    """Choose the tests that run one of these blocks or read the source, the quickest first, up to the cap."""
    wanted, words = {SOURCE, *blocks}, re.split("[/_]", module.removesuffix(".py"))
    found = _in_order([test for test in tests if wanted & test.blocks], words)
    total_s = 0.0
    chosen: list[RecordedTest] = []
    for test in found:
        if not chosen or total_s + test.duration_s <= cap_s:
            total_s += test.duration_s
            chosen.append(test)
    return Trial(module, mutant, chosen, len(found) - len(chosen))


def prepare(folder: str) -> None:
    """Make this worker's copy of the tree; what its tests leave behind becomes its child, to be killed."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    copy = Path(folder, f"{os.getpid()}", "tree")
    copy_tree(copy)
    os.chdir(copy)
    for module in _HEAVY:
        __import__(module)


def tried(trial: Trial) -> tuple[str, float]:
    """Return the test that notices the mutant (empty: none does), and how many seconds that took."""
    path, started_s = Path("pcapdj", trial.module), time.monotonic()
    original = path.read_text("utf-8")
    noticed_by = ""
    for group in _groups(trial.tests):
        while not noticed_by:
            _write(path, trial.mutant.applied_to(original))
            try:
                noticed_by = _first_failure([test for test in group if test.name not in _left_out])
            finally:  # else the next mutants of this worker are tried on top of this one
                _write(path, original)
            culprit = next((test for test in group if test.name == noticed_by), None)
            if noticed_by == _TIME_OUT and _first_failure(group) == _TIME_OUT:  # the machine is busy
                noticed_by = ""
                break
            if culprit is None or not _fails_without_mutant(culprit):
                break
            _left_out.add(noticed_by)
            noticed_by = ""
    return noticed_by, time.monotonic() - started_s


class Ordered:
    """The pytest plugin of a try: these tests and no other, in this order, each with a limit of its own."""

    def __init__(self, tests: Sequence[RecordedTest]) -> None:
        self._places = {test.name: place for place, test in enumerate(tests)}
        self._tests = tests

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Iterator[None]:
        """Choose and order, after everything else has."""
        yield
        items[:] = sorted(
            (item for item in items if item.nodeid in self._places),
            key=lambda item: self._places[item.nodeid],
        )
        for item in items:
            limit_s = _limit_s([self._tests[self._places[item.nodeid]]])
            item.add_marker(pytest.mark.timeout(limit_s), append=False)


def _in_order(tests: Iterable[RecordedTest], words: Sequence[str]) -> list[RecordedTest]:
    """Sort tests by cost; each further test of a file costs more, since it mostly looks at the same."""
    seen, costs = Counter[str](), dict[str, float]()
    found = sorted(tests, key=partial(_cost, words))
    for test in found:
        seen[test.file] += 1
        costs[test.name] = _cost(words, test) * seen[test.file]
    return sorted(found, key=lambda test: costs[test.name])


def _cost(words: Sequence[str], test: RecordedTest) -> float:
    """Return how late a test is tried: quick ones of few blocks first, and those with the module's name."""
    is_named = any(word in test.file for word in words)
    return (test.duration_s + 0.01) * len(test.blocks) / (_NAMED if is_named else 1)


def _limit_s(tests: Iterable[RecordedTest]) -> float:
    return _GRACE_S + _SLOWER * sum(test.duration_s for test in tests)


def _groups(tests: Sequence[RecordedTest]) -> Iterator[Sequence[RecordedTest]]:
    total_s, count = 0.0, 0
    for test in tests:
        total_s += test.duration_s
        count += total_s <= _QUICK_S
    yield from (group for group in (tests[:count], tests[count:]) if group)


@cache
def _fails_without_mutant(test: RecordedTest) -> bool:
    return bool(_first_failure([test]))


def _write(path: Path, text: str) -> None:
    """Write a module. Its compiled form goes: Python would trust one of the same second and size."""
    path.write_text(text, "utf-8")
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
        compiled.unlink()


def _first_failure(tests: Sequence[RecordedTest]) -> str:
    """Run tests in this worker's copy; return the first one that fails, empty if none does."""
    if not tests:
        return ""
    scratch, output = Path("../t").resolve(), Path("../output").resolve()
    scratch.mkdir(mode=0o711)
    pid = os.fork()
    if pid == 0:
        _become_pytest(tests, scratch, output)
    try:
        is_late = not _has_ended(pid, _limit_s(tests))
        if is_late:
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    finally:
        _end_descendants()
    _remove(scratch)
    text = output.read_text("utf-8", "replace")
    found = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", text, re.MULTILINE)
    return _TIME_OUT if is_late else found.group(1) if found else "pytest itself" if status else ""


def _remove(scratch: Path) -> None:
    """Remove what a try has left; a mount of a test that was killed is detached first, or it stays."""
    for mount in reversed(psutil.disk_partitions(all=True)):
        if scratch in Path(mount.mountpoint).parents:
            subprocess.run(["umount", "--lazy", mount.mountpoint], check=False)
    shutil.rmtree(scratch, ignore_errors=True)


def _become_pytest(tests: Sequence[RecordedTest], scratch: Path, output: Path) -> NoReturn:
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 1)
    os.dup2(1, 2)
    os.closerange(
        3, 256
    )  # the pipes of the pool: a test that reads from a descriptor's number would take work
    copy = Path.cwd()
    os.environ |= environment_in(copy, scratch)
    sys.path[:0] = [str(copy), str(copy / "tests")]
    tempfile.tempdir = None
    files = dict.fromkeys(test.file for test in tests)
    code = pytest.main([*_OPTIONS, *files], plugins=[Ordered(tests)])
    sys.stdout.flush()
    os._exit(code)


def _has_ended(pid: int, limit_s: float) -> bool:
    watched = os.pidfd_open(pid)
    try:
        return bool(select.select([watched], [], [], limit_s)[0])
    finally:
        os.close(watched)


def _end_descendants() -> None:
    """Kill what the tests started and left, however deep; its orphans are this process's children."""
    while left := psutil.Process().children(recursive=True):
        for child in left:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(left, timeout=1)
