"""`pcapdj restart`: stop and start roles of the service in this folder."""

from pathlib import Path

import typer

from pcapdj.commands.down import STOP_S
from pcapdj.commands.supervised import Supervisord, shown, unless_running
from pcapdj.commands.up import Roles
from pcapdj.runtime.command import new_app
from pcapdj.runtime.errors import ExitCode

app = new_app()


@app.command()
def restart(roles: Roles = None) -> None:
    """Restart the roles of the service in this folder, so that they read changed settings; all or some.

    Feeding continues at the packet where it stopped. A restart of the consumer begins a new stream.
    """
    supervisord = Supervisord(Path())
    supervisord.check_files()
    unless_running(supervisord)
    supervisord.check_redis_may_end(roles or [])
    supervisord.stop(roles or [])
    supervisord.settled(roles or [], STOP_S)
    supervisord.start(roles or [])
    if not shown(supervisord.settled(roles or [])):
        raise typer.Exit(ExitCode.ERROR)
