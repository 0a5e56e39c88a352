"""The limits' options: one name for flag, variable and live field."""

from collections.abc import Mapping

import typer
from support.rows import each_row
from typer.main import get_command

from pcapdj.controller import app as control_app
from pcapdj.disk.limits import DEFAULTS
from pcapdj.disk.options import variable_of, with_limits
from pcapdj.run.command import app as run_app
from pcapdj.runtime.command import exit_code_of, new_app


def test_every_limit_has_an_option_of_its_name() -> None:
    """A command receives what is typed under the name of the live field."""
    received: dict[str, str] = {}

    def command(limits: Mapping[str, str]) -> None:
        received.update(limits)

    app = new_app()
    app.command()(with_limits(command))
    exit_code_of(app, "command", [f"--{name}=value of {name}" for name in DEFAULTS])

    assert received == {name: f"value of {name}" for name in DEFAULTS}


@each_row("name", DEFAULTS)
@each_row("app", [control_app, run_app], ids=["control", "run"])
def test_the_variable_is_the_one_that_the_option_reads(app: typer.Typer, name: str) -> None:
    """`run` hands the limits to its controller by these variables."""
    option = next(each for each in get_command(app).params if f"--{name}" in each.opts)

    assert option.envvar == variable_of(name)
