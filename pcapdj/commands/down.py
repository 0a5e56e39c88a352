"""`pcapdj down`: end the service of this folder, or stop roles of it."""

from pathlib import Path
from typing import Final

from pcapdj.commands.supervised import Supervisord, shown, unless_running
from pcapdj.commands.up import Roles
from pcapdj.console.screen import print_lines
from pcapdj.runtime.command import new_app

STOP_S: Final = 180.0  # supervisord waits 150 s for the analyzer, and then kills the launcher

app = new_app()


@app.command()
def down(roles: Roles = None) -> None:
    """End the service of this folder, or stop some of its roles; the analyzer first writes its results.

    Queued files stay queued. 'pcapdj up' continues at the packet where feeding stopped.
    """
    supervisord = Supervisord(Path())
    unless_running(supervisord)
    supervisord.check_redis_may_end(roles or [])
    if roles:
        supervisord.stop(roles)
        shown(supervisord.settled(roles, STOP_S))
        return
    print_lines("The service ends; the analyzer writes its results first, which may take two minutes.")
    supervisord.end()
    print_lines("The service has ended.")
