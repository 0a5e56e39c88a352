"""One run of the tests that records, for each test, which blocks of the product ran and how long it took.

It runs in a copy of the tree whose modules note their blocks (`blocks`, `hits`), with this module as a pytest
plugin. `build/mutants.json` keeps the result. The next time only those test files run again that changed, or
that ran a module that changed. The fault campaign's tests are left out, since each of them runs everything.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from mutants.blocks import CONSTANTS, SIGNATURES, SOURCE, instrumented

ROOT: Final = Path(__file__).resolve().parent.parent.parent
_KEPT: Final = ROOT / "build" / "mutants.json"
_ALSO: Final = {  # how the name of a test begins -> blocks that it runs as well
    "tests/unit/test_cli_options.py": {SIGNATURES},
    "tests/unit/test_commands_completion.py::test_the_scripts_and_the_page": {SIGNATURES},
    "tests/unit/test_limits_of_waits.py": {CONSTANTS},
    "tests/unit/test_operations_doc.py": {SOURCE},
    "tests/unit/test_runtime_failpoints.py": {SOURCE},
}
_LEFT_OUT: Final = {"test_mutants.py", "test_architecture.py"}  # they are about the source, not what it does


@dataclass(frozen=True, slots=True)
class RecordedTest:
    """A test, its duration, and the blocks that it runs."""

    name: str
    duration_s: float
    blocks: frozenset[str]

    @property
    def file(self) -> str:
        """The file it is in."""
        return self.name.partition("::")[0]


def recorded(workers: int) -> list[RecordedTest]:
    """Return all tests with what they run; record those of which this is not known yet."""
    kept = json.loads(_KEPT.read_text("utf-8")) if _KEPT.exists() else {}
    now = {
        str(path.relative_to(ROOT)): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in ("pcapdj", "tests")
        for path in (ROOT / folder).rglob("*.py")
    }
    files = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if path.name not in _LEFT_OUT and path.parent.name != "faults"
    ]
    valid = {
        file: kept[file] for file in files if file in kept and kept[file]["digests"].items() <= now.items()
    }
    if missing := [file for file in files if file not in valid]:
        print(f"recording {len(missing)} test files", flush=True)  # noqa: T201 - a command
        found = _record(missing, workers)
        for file in missing:
            modules = {block.partition(":")[0] for test in found[file] for block in test.blocks}
            digests = {path: now[path] for path in (file, *(f"pcapdj/{module}" for module in modules))}
            valid[file] = {
                "digests": digests,
                "tests": [(test.name, test.duration_s, sorted(test.blocks)) for test in found[file]],
            }
        _KEPT.parent.mkdir(exist_ok=True)
        _KEPT.write_text(json.dumps(valid), "utf-8")
    return [
        RecordedTest(name, duration_s, frozenset(blocks).union(*_also(name)))
        for file in files
        for name, duration_s, blocks in valid[file]["tests"]
    ]


def _also(name: str) -> list[set[str]]:
    return [blocks for begin, blocks in _ALSO.items() if name.startswith(begin)]


def copy_tree(to: Path) -> None:
    """Copy the working tree, with the compiled loops, without what git ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    for name in (*filter(None, listed.stdout.decode().split("\0")), "pcapdj/capture/_loops.so"):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)


def environment_in(copy: Path, scratch: Path) -> dict[str, str]:
    """Return the environment of tests in a copy of the tree."""
    return os.environ | {
        "PYTHONPATH": f"{copy}:{copy / 'tests'}",
        "PYTHONDONTWRITEBYTECODE": "",
        "TMPDIR": str(scratch),
    }


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    """Begin a test: a block that an earlier test ran is new to it."""
    from pcapdj import _hits  # type: ignore[attr-defined]  # only in the copy

    _hits.seen.clear()
    _hits.note(item.nodeid, json.dumps(item.nodeid))
    _hits.path_of(item.nodeid).chmod(0o666)  # a test may become another user


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Note how long this part of the test took."""
    from pcapdj import _hits  # type: ignore[attr-defined]

    _hits.note(item.nodeid, f"{call.duration:.4f}")


def _record(files: Iterable[str], workers: int) -> dict[str, list[RecordedTest]]:
    with tempfile.TemporaryDirectory(prefix="mu-") as folder:
        copy, hits, scratch = (Path(folder, name) for name in ("tree", "hits", "t"))
        copy_tree(copy)
        for path in (copy / "pcapdj").rglob("*.py"):
            module = str(path.relative_to(copy / "pcapdj"))
            path.write_text(instrumented(module, path.read_text("utf-8")), "utf-8")
        shutil.copy(Path(__file__).with_name("hits.py"), copy / "pcapdj" / "_hits.py")
        for shared, mode in ((Path(folder), 0o711), (hits, 0o777), (scratch, 0o711)):
            shared.mkdir(exist_ok=True)
            shared.chmod(mode)
        options = ("-p", "mutants.recording", "-q", "-n", str(workers), "--dist", "worksteal")
        subprocess.run(
            [sys.executable, "-m", "pytest", *options, *files],
            cwd=copy, env=environment_in(copy, scratch), check=False,
        )  # fmt: skip
        tests = defaultdict(list)
        for notes in hits.iterdir():
            test = _read(notes.read_text("utf-8").splitlines())
            tests[test.file].append(test)
    return tests


def _read(lines: list[str]) -> RecordedTest:
    names = [json.loads(line) for line in lines if line.startswith('"')]
    times = [float(line) for line in lines if line[0].isdigit()]
    blocks = frozenset(line for line in lines if ".py:" in line and not line.startswith('"'))
    return RecordedTest(names[0], sum(times), blocks)
