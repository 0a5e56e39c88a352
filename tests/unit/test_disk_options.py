"""The limits' options: one name for flag, variable and live field."""

import inspect

import pytest
import typer
from typer.main import get_command

from pcapdj.controller import app as control_app
from pcapdj.disk.limits import DEFAULTS
from pcapdj.disk.options import limit_texts, variable_of
from pcapdj.run.command import app as run_app


def test_every_limit_has_an_argument_of_its_name() -> None:
    """What is given comes back under the name of the live field."""
    arguments = {name: f"value of {name}" for name in inspect.signature(limit_texts).parameters}

    texts = limit_texts(**arguments)

    assert texts == {name: f"value of {name.replace('-', '_')}" for name in DEFAULTS}


@pytest.mark.parametrize("name", DEFAULTS)
@pytest.mark.parametrize("app", [control_app, run_app], ids=["control", "run"])
def test_the_variable_is_the_one_that_the_option_reads(app: typer.Typer, name: str) -> None:
    """`run` hands the limits to its controller by these variables."""
    option = next(each for each in get_command(app).params if f"--{name}" in each.opts)

    assert option.envvar == variable_of(name)
