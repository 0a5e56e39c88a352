"""`docs/gate.md` has every option of the controller as in the code: name, variable, live field, default."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.rows import each_row
from typer.main import get_command

from pcapdj.controller import app
from pcapdj.disk.limits import DEFAULTS
from pcapdj.disk.live_limits import LIMIT_FIELDS
from pcapdj.runtime.command import variable_of_parameter

PAGE = Path(__file__).resolve().parents[2] / "docs" / "gate.md"
OPTIONS = {each.opts[0].removeprefix("--"): each for each in get_command(app).params}
_DERIVED = re.compile(r"\[default: ([^]]+)\]")


def rows() -> Iterator[list[str]]:
    """Yield the cells of each row about an option, without their backticks."""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| `--"):
            yield [re.sub(r"[`\\]", "", cell).strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def default_of(option: Any) -> str:
    """Return the default as the page shows it; empty where only the page has words for it."""
    if derived := _DERIVED.search(option.help):
        return derived[1]
    if option.default is False:
        return "off"
    return "" if callable(option.default) or option.default in (None, "") else str(option.default)


def test_the_table_has_each_option_of_the_controller_once() -> None:
    """A new option gets its row, and a removed one leaves none."""
    named = [row[0].split()[0].removeprefix("--") for row in rows()]

    assert sorted(named) == sorted(OPTIONS)


@each_row("name", OPTIONS)
def test_a_row_has_variable_live_field_and_default_of_its_option(name: str) -> None:
    """A live field has the name of its option. A default that depends on the machine is described."""
    option = OPTIONS[name]

    row = next(row for row in rows() if row[0].split()[0] == f"--{name}")

    assert row[1].split(",")[0] == variable_of_parameter(option)
    assert row[2] == (name if name in LIMIT_FIELDS else "")
    assert row[3].startswith(default_of(option))
    assert all(row[3:])


@each_row("name", DEFAULTS)
def test_the_default_of_a_limit_is_that_of_the_rules(name: str) -> None:
    """The help of an option is written by hand, beside the rule that applies it."""
    assert DEFAULTS[name] in ("", default_of(OPTIONS[name]))


def test_every_live_field_has_an_option() -> None:
    """What can be changed while the service runs can be given at its start."""
    assert set(LIMIT_FIELDS) <= OPTIONS.keys()
