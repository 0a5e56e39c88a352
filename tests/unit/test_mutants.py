"""`make mutants`: what it changes in a source text, and which tests it runs for a module."""

from pathlib import Path

import pytest
from mutants.operators import is_python, mutants_of
from mutants.relevance import files_for, room_of

ROOT = Path(__file__).resolve().parent.parent.parent
MODULES = sorted(path.relative_to(ROOT / "pcapdj") for path in (ROOT / "pcapdj").rglob("[!_]*.py"))


def changed(text: str) -> set[str]:
    """Return the texts of all mutants."""
    return {mutant.applied_to(text) for mutant in mutants_of(text)}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = a < b", "x = a <= b"),
        ("x = a is not b", "x = a is b"),
        ("x = a not  in b", "x = a in b"),
        ("x = (a) == (b)", "x = (a) != (b)"),
        ("x = a + b", "x = a - b"),
        ("x = a and b", "x = a or b"),
        ("x = not a", "x = a"),
        ("x = 7", "x = (7 + 1)"),
        ("x = 7", "x = (7 - 1)"),
        ("x = True", "x = False"),
        ("x = 'a'", 'x = ""'),
        ("x = b''", 'x = b"mutant"'),
        ("x = f'{a}'", 'x = ""'),
        ("f(a)", "pass"),
        ("f(a, b=c)", "f(a)"),
        ("x += y", "pass"),
        ("self.x = y", "pass"),
        ("raise X", "pass"),
        ("while a:\n    break", "while a:\n    pass"),
        ("while a:\n    break", "while (not (a)):\n    break"),
        ("def f():\n    return a", "def f():\n    return None"),
        ("x: int = 'ä' < a", "x: int = 'ä' <= a"),
    ],
)
def test_every_operator_changes_what_it_is_for(before: str, after: str) -> None:
    """One part of the text is replaced, and everything around it stays."""
    assert after in changed(before)


@pytest.mark.parametrize(
    "text",
    [
        '"""Head."""\nclass A:\n    """A."""\n\n    def f(self):\n        """F."""',
        "@dataclass(frozen=True)\nclass A:\n    x: int",
        "def f(x: 'int') -> 'int':\n    pass",
        "__all__ = ['a']",
        "if TYPE_CHECKING:\n    import a",
        "if __name__ == '__main__':\n    main()",
    ],
)
def test_what_no_test_can_notice_is_left_alone(text: str) -> None:
    """Docstrings, types, frozen dataclasses and the start by `python -m` give no mutants."""
    assert changed(text) == set()


def test_options_inside_annotations_are_changed() -> None:
    """With typer, an annotation holds the limits and variables of an option."""
    text = "def f(x: Annotated[int, typer.Option(min=1)] = 2):\n    pass"

    assert "def f(x: Annotated[int, typer.Option(min=(1 + 1))] = 2):\n    pass" in changed(text)


def test_texts_and_logging_are_changed_less_often_than_comparisons() -> None:
    """A sample shows what the code decides, not only what it writes."""
    weights = {each.old: each.weight for each in mutants_of("log.info('two words')\nx = a < b")}

    assert weights["'two words'"] < weights["log.info('two words')"] < weights["<"] == 1


@pytest.mark.parametrize("module", ["dispatcher.py", "commands/gate.py", "runtime/units.py"])
def test_a_mutant_replaces_exactly_the_text_that_it_names(module: str) -> None:
    """What the list of survivors shows is what was changed, in the line that it shows."""
    text = (ROOT / "pcapdj" / module).read_text("utf-8")

    for mutant in mutants_of(text):
        assert text.startswith(mutant.old, mutant.start)
        assert mutant.line == text.count("\n", 0, mutant.start) + 1
        assert mutant.old != mutant.new
        assert mutant.weight > 0


def test_nearly_all_mutants_are_python() -> None:
    """The others are not drawn, so they must be rare."""
    text = (ROOT / "pcapdj" / "feed" / "job.py").read_text("utf-8")
    valid = [is_python(mutant.applied_to(text)) for mutant in mutants_of(text)]

    assert sum(valid) >= 0.95 * len(valid) > 10


def test_every_module_has_tests_that_run_for_it() -> None:
    """Without them each of its mutants would survive."""
    assert [module for module in MODULES if not any(files_for(module, ROOT / "tests"))] == []


def test_every_test_of_processes_runs_for_some_module() -> None:
    """A test whose file was renamed, or is new, is not forgotten."""
    used = {path for module in MODULES for group in files_for(module, ROOT / "tests") for path in group}
    there = {path for part in ("integration", "e2e") for path in (ROOT / "tests" / part).glob("test_*.py")}

    assert {path.name for path in there - used if not path.name.startswith("test_support_")} == set()


def test_a_test_that_imports_the_module_runs_before_those_of_its_room() -> None:
    """The sooner a mutant is noticed, the shorter the run."""
    direct, of_room = files_for(Path("feed/progress.py"), ROOT / "tests")

    assert "test_feed_progress.py" in {path.name for path in direct}
    assert direct[0].parent.name in ("unit", "property")
    assert {path.parent.name for path in of_room} >= {"integration"}
    assert not set(direct) & set(of_room)


def test_a_role_belongs_to_its_room() -> None:
    """The dispatcher is tested by the tests of feed/."""
    assert room_of(Path("dispatcher.py")) == "feed"
    assert room_of(Path("controller.py")) == "disk"
    assert room_of(Path("disk/gate.py")) == "disk"
