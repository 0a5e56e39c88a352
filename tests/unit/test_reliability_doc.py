"""Each promise of docs/reliability.md names tests, and `make test` runs one of them; CI runs all tests."""

import ast
import re
from pathlib import Path
from typing import Final

from support.rows import each_row

ROOT: Final = Path(__file__).resolve().parent.parent.parent
PROMISES: Final = re.findall(
    r"^\| (G\d+) \| (.*)$", (ROOT / "docs/reliability.md").read_text("utf-8"), re.MULTILINE
)
FILES: Final = {path.name: path for path in (ROOT / "tests").rglob("test_*.py")}


def is_long(node: ast.Module | ast.FunctionDef) -> bool:
    """Report whether a module or a test is marked long; a case of a test that is marked does not count."""
    marks = (
        node.decorator_list
        if isinstance(node, ast.FunctionDef)
        else [
            each.value
            for each in node.body
            if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == "pytestmark"
        ]
    )
    return any("pytest.mark.long" in ast.unparse(mark).partition("parametrize")[0] for mark in marks)


def quick_tests_in(path: Path) -> list[str]:
    """Return the tests of a file that `make test` runs."""
    module = ast.parse(path.read_text("utf-8"))
    tests = [
        each for each in module.body if isinstance(each, ast.FunctionDef) and each.name.startswith("test_")
    ]
    return [] if is_long(module) else [each.name for each in tests if not is_long(each)]


@each_row(("promise", "row"), PROMISES, ids=[promise for promise, _ in PROMISES])
def test_make_test_has_a_test_of_each_promise(promise: str, row: str) -> None:
    """Only what repeats a statement in volume is marked long."""
    named = re.findall(r"`(test_\w+\.py)`", row)

    assert [name for name in named if name not in FILES] == []
    assert [name for name in named if quick_tests_in(FILES[name])] != [], promise


def test_each_promise_is_there() -> None:
    """From the first to the last, in order."""
    assert [promise for promise, _ in PROMISES] == [f"G{number}" for number in range(1, len(PROMISES) + 1)]


def test_ci_runs_the_long_tests_too() -> None:
    """No test is in neither run: one of them has what the other leaves out."""
    recipes = (ROOT / "Makefile").read_text("utf-8")
    commands = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()

    assert [recipes.count(f"{selection}\n") for selection in ('-m "not long"', "-m long")] == [1, 1]
    assert {"make test", "make test-long"} <= set(commands)
