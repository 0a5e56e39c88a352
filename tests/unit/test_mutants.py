"""`make mutants`: what it changes in a source text, and which tests it tries."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mutants import hits
from mutants.blocks import CONSTANTS, SIGNATURES, SOURCE, Package, instrumented
from mutants.operators import Mutant, is_python, mutants_of
from mutants.recording import RecordedTest
from mutants.trial import CAP_S, trial
from support.rows import each_row

ROOT = Path(__file__).resolve().parent.parent.parent
MUTANT = Mutant(1, 0, "<", "<=", "operator", 1.0)
RULES = '''\
LIMIT = 7
DOUBLE = 2 * LIMIT

class Rule:
    limit: int = 9

    def applies(self, x, least=3):
        """Report whether it applies."""
        y = x + 1
        if y > least:
            return True
        return y < 0
'''
USERS = """\
from pcapdj.rules import DOUBLE

def use_double():
    return DOUBLE

def use_rule(rule):
    return rule.limit
"""


def changed(text: str) -> set[str]:
    """Return the texts of all mutants."""
    return {mutant.applied_to(text) for mutant in mutants_of(text)}


@each_row(
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


@each_row(
    "text",
    [
        '"""Head."""\nclass A:\n    """A."""\n\n    def f(self):\n        """F."""',
        "@dataclass(frozen=True)\nclass A:\n    x: int",
        "def f(x: 'int') -> 'int':\n    pass",
        "__all__ = ['a']",
        "T = TypeVar('T')",
        "Form = Literal['a', 'b']",
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


@pytest.mark.long
def test_nearly_all_mutants_are_python() -> None:
    """The others are not drawn, so they must be rare."""
    text = (ROOT / "pcapdj" / "feed" / "job.py").read_text("utf-8")
    valid = [is_python(mutant.applied_to(text)) for mutant in mutants_of(text)]

    assert sum(valid) >= 0.95 * len(valid) > 10


@each_row(
    ("line", "blocks"),
    [
        (9, {"rules.py:9"}),
        (10, {"rules.py:9"}),
        (11, {"rules.py:11"}),
        (12, {"rules.py:12"}),
        (7, {"rules.py:9", SIGNATURES}),
        (1, {"users.py:4", CONSTANTS}),
        (5, {"users.py:7", CONSTANTS}),
    ],
)
def test_a_line_is_noticed_by_the_tests_that_run_its_block_or_use_its_name(
    line: int, blocks: set[str]
) -> None:
    """A signature belongs to its function, a constant to the functions that use it or what is made of it."""
    others = "def use_another():\n    return DOUBLE\n"
    package = Package({"rules.py": RULES, "users.py": USERS, "others.py": others})

    assert package.blocks_at("rules.py", line) == blocks


def test_every_line_of_a_module_has_a_block() -> None:
    """Without one no test would be tried, and its mutants would survive."""
    paths = sorted((ROOT / "pcapdj" / "commands").glob("*.py"))
    texts = {path.name: path.read_text("utf-8") for path in paths}
    package = Package(texts)
    lines = {(module, mutant.line) for module, text in texts.items() for mutant in mutants_of(text)}

    assert len(lines) > 100
    assert [(module, line) for module, line in lines if not package.blocks_at(module, line)] == []


def test_blocks_are_noted_for_the_test_even_by_a_process_that_is_killed(tmp_path: Path) -> None:
    """Each first sight is written at once; a docstring stays one."""
    package, notes = tmp_path / "tree" / "pcapdj", tmp_path / "hits"
    package.mkdir(parents=True)
    notes.mkdir()
    shutil.copy(str(hits.__file__), package / "_hits.py")
    (package / "__init__.py").touch()
    (package / "rules.py").write_text(instrumented("rules.py", RULES))
    code = (
        "import os; from pcapdj.rules import Rule; assert Rule.applies.__doc__; Rule().applies(9); "
        f"Rule().applies(9); os.kill(os.getpid(), {signal.SIGKILL:d})"
    )
    for name in ("a.py::test_one (call)", "a.py::test_two (setup)"):
        env = {"PYTEST_CURRENT_TEST": name}
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "tree", env=env, check=False)

    assert [path.read_text() for path in notes.iterdir()] == ["rules.py:9\nrules.py:11\n"] * 2


def test_the_quickest_and_most_specific_tests_are_tried_first_up_to_a_limit() -> None:
    """A mutant that no test notices costs two minutes at most; tests that read the source may notice each."""
    tests = [
        RecordedTest("a.py::slow", CAP_S - 1, frozenset({"m.py:1", "m.py:2"})),
        RecordedTest("a.py::slower", CAP_S, frozenset({"m.py:1", "m.py:2"})),
        RecordedTest("a.py::broad", 0.1, frozenset({"m.py:1", "m.py:2", "m.py:3", "m.py:4"})),
        RecordedTest("a.py::specific", 0.1, frozenset({"m.py:1", "m.py:2"})),
        RecordedTest("a.py::elsewhere", 0.1, frozenset({"m.py:10", "m.py:2"})),
        RecordedTest("a.py::reader", 0.1, frozenset({SOURCE})),
    ]
    chosen = trial("m.py", MUTANT, {"m.py:1"}, tests)

    names = [test.name.removeprefix("a.py::") for test in chosen.tests]
    assert names == ["reader", "specific", "broad", "slow"]
    assert chosen.left_out == 1


def test_a_test_that_is_longer_than_the_limit_is_tried_if_there_is_no_other() -> None:
    """Its mutants do not survive untried."""
    chosen = trial("m.py", MUTANT, {"m.py:1"}, [RecordedTest("a.py::slow", 2 * CAP_S, frozenset({"m.py:1"}))])

    assert len(chosen.tests) == 1
