"""`pcapdj up`: start the service of this folder, or roles of it that do not run."""

import os
from pathlib import Path
from typing import Annotated

import typer

from pcapdj.commands.supervised import Supervisord, shown
from pcapdj.runtime.command import new_app
from pcapdj.runtime.errors import ConfigError, ExitCode
from pcapdj.service import CONF, INBOX

Roles = Annotated[
    list[str] | None,
    typer.Argument(metavar="ROLE..", help="as in supervisord.conf [default: all]", show_default=False),
]

app = new_app()


@app.command()
def up(
    roles: Roles = None,
    *,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="stay in the foreground, as systemd and containers need it")
    ] = False,
) -> None:
    """Start supervisord with all roles of the service in this folder; if it runs, the roles that do not."""
    supervisord = Supervisord(Path())
    if foreground:
        _become(supervisord, roles or [])
    if not supervisord.pid():
        supervisord.begin()
    supervisord.start(roles or [])
    is_well = shown(supervisord.settled(roles or []))
    if changed := supervisord.changed_programs():
        typer.echo(
            f"{CONF} has changed since the service was started ({', '.join(changed)}):"
            " 'pcapdj down' and 'pcapdj up' make it count."
        )
    if not is_well:
        raise typer.Exit(ExitCode.ERROR)
    typer.echo(f"The service runs: captures go into {INBOX}/, results into out/, logs into var/log/.")


def _become(supervisord: Supervisord, roles: list[str]) -> None:
    """Run supervisord in the place of this process."""
    if roles:
        raise ConfigError("--foreground starts all roles.", hint="Name none.")
    if pid := supervisord.pid():
        raise ConfigError(f"The service runs already: supervisord has the pid {pid}.")
    command = [*supervisord.command, "-n"]
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted
