"""`docs/gate.md` has the limits as they are in the code."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from pcapdj.controller import app
from pcapdj.disk.limits import DEFAULTS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "gate.md"


@pytest.mark.parametrize("name", DEFAULTS)
def test_the_page_has_option_variable_field_and_default(name: str) -> None:
    """One row each; option and live field have one name, and the option's help the same default."""
    option = next(each for each in get_command(app).params if f"--{name}" in each.opts)

    row = next(line for line in PAGE.read_text(encoding="utf-8").splitlines() if f"| `--{name} " in line)

    cells = [cell.strip().strip("`") for cell in re.split(r"(?<!\\)\|", row)]
    assert cells[2:4] == [option.envvar, name]
    assert f"[default: {cells[4]}]" in (getattr(option, "help", None) or "")
    assert DEFAULTS[name] in ("", cells[4])
