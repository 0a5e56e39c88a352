"""SECURITY.md names a test for each of its promises, and these tests are there."""

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent
SECURITY: Final = (ROOT / "SECURITY.md").read_text()


def test_every_test_that_is_named_is_there() -> None:
    """A promise whose test was renamed or removed is noticed."""
    named = set(re.findall(r"`(test_\w+\.py)`", SECURITY))

    assert len(named) > 10
    assert named <= {path.name for path in (ROOT / "tests").rglob("test_*.py")}


def test_every_promise_names_a_test_or_has_a_reason() -> None:
    """No row of the table is empty."""
    table = SECURITY.split("| threat |")[1].split("\n\n")[0].splitlines()[2:]

    assert len(table) > 12
    assert [row for row in table if "test" not in row.split("|")[3] and "make" not in row.split("|")[3]] == []
