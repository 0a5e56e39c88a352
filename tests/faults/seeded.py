"""`python -m faults.seeded`: is the campaign worth anything? Known bugs, one by one, each has to be caught.

Each of `faults.bugs` is patched into a copy of the source tree, never into the tree itself; then a short part
of the campaign runs on the copy. A bug whose place in the source has changed is an error: it has to be
written anew. Words as arguments choose the bugs whose names hold them.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from support.forkserver import ROOT

from faults import report
from faults.bugs import BUGS, Bug, Change
from faults.campaign import DOCUMENT, print_text

_LIMIT_S: Final = 240
_AT_ONCE: Final = 2
_COPIED: Final = ("pcapdj", "tests", "pyproject.toml", "supervisord.conf")


def main() -> int:
    """Try all bugs, or those whose name contains an argument; 1 if one was not caught."""
    chosen = [bug for bug in BUGS if not sys.argv[1:] or any(word in bug.name for word in sys.argv[1:])]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        control = pool.submit(_verdict, Bug("nothing at all", "", ()))
        caught = list(pool.map(_verdict, chosen))
        control_failed = control.result()
    table = ["| bug | caught by |", "|---|---|"]
    table += [f"| {bug.name} | {by or '**nothing**'} |" for bug, by in zip(chosen, caught, strict=True)]
    table.append(f"| none | {control_failed or 'nothing, as it should be'} |")
    print_text("\n".join(table))
    if len(chosen) == len(BUGS):
        report.put_into(DOCUMENT, "\n".join(table), report.SEEDED)
    return 0 if all(caught) and not control_failed else 1


def _verdict(bug: Bug) -> str:
    """Return the test that failed with this bug; empty if none did."""
    with tempfile.TemporaryDirectory(prefix="pcapdj-") as folder:
        copy = Path(folder)
        for part in _COPIED:
            source = ROOT / part
            place = copy / part
            shutil.copytree(source, place, ignore=_CACHES) if source.is_dir() else shutil.copy(source, place)
        for change in bug.changes:
            _apply(change, copy / "pcapdj" / change.path, bug)
        return _first_failure(copy, bug.test)


_CACHES = shutil.ignore_patterns("__pycache__")


def _apply(change: Change, path: Path, bug: Bug) -> None:
    text = path.read_text(encoding="utf-8")
    if text.count(change.old) != 1:
        raise SystemExit(f"{bug.name}: {change.path} has changed; write this bug anew")
    path.write_text(text.replace(change.old, change.new), encoding="utf-8")


def _first_failure(copy: Path, test: str) -> str:
    wanted = f"tests/faults/{test}" if test else "tests/faults"
    command = f"-m pytest -x -q -p no:randomly -p no:cacheprovider --timeout 120 {wanted}"
    ran = subprocess.run(
        [sys.executable, *shlex.split(command)],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
    found = re.search(r"^(?:FAILED|ERROR) tests/(?:faults|integration)/(\S+)", ran.stdout, re.MULTILINE)
    if ran.returncode and not found:
        return f"pytest itself ({ran.stdout[-200:]!r})"
    return f"`{found.group(1).replace('::', ' ')}`" if found else ""


if __name__ == "__main__":
    sys.exit(main())
