"""`pcapdj up`: start the service of this folder, or roles of it that do not run."""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final

import typer

from pcapdj.commands.supervised import Supervisord, shown
from pcapdj.console.monitor_rules import role_findings
from pcapdj.console.screen import print_fitted, print_lines
from pcapdj.console.snapshot_fields import ROLES
from pcapdj.runtime.command import new_app
from pcapdj.runtime.environment import whole_environment
from pcapdj.runtime.errors import ConfigError, ExitCode, PcapdjError
from pcapdj.runtime.settings_file import read_settings
from pcapdj.service import CONF, INBOX
from pcapdj.store.options import open_store
from pcapdj.store.snapshot import read_snapshot

_REPORT_S: Final = 30.0  # a role reports a second after its start; much later only on a very busy machine
_LOOK_S: Final = 0.1

Roles = Annotated[
    list[str] | None,
    typer.Argument(metavar="ROLE..", help="as in supervisord.conf [default: all]"),
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
    """Start the service of this folder: supervisord with all roles; if it runs, the stopped roles."""
    supervisord = Supervisord(Path())
    supervisord.check_files()
    if foreground:
        _become(supervisord, roles or [])
    wanted = roles or []
    if not supervisord.pid():
        supervisord.check_configured(wanted)
        supervisord.begin()
        wanted = []  # supervisord starts them all
    supervisord.start(wanted)
    programs = supervisord.settled(wanted)
    is_well = shown(programs)
    problem = reporting_problem(each.name for each in programs if each.state == "RUNNING")
    if problem:
        print_lines(problem)
    if changed := supervisord.changed_programs():
        print_lines(
            f"{CONF} has changed since the service was started ({', '.join(changed)}):"
            " 'pcapdj down' and 'pcapdj up' apply the change."
        )
    if problem or not is_well:
        raise typer.Exit(ExitCode.ERROR)
    print_fitted(f"The service runs: captures go into {INBOX}/, results into out/, logs into var/log/.")


def reporting_problem(running: Iterable[str], limit_s: float = _REPORT_S) -> str:
    """Wait until these roles have reported to Redis; return what is wrong then; empty: nothing.

    Args:
        running: programs of the service in the current folder; those that are no roles do not report.
        limit_s: how long to wait, in seconds.

    Raises:
        PcapdjError: the settings cannot be read, or the name of the Redis is not valid.
    """
    read_settings(Path()).apply()  # not before: supervisord must not have them in its environment
    password_file = os.environ.get("PCAPDJ_REDIS_PASSWORD_FILE")
    store = open_store("", Path(password_file) if password_file else None, os.environ.get("PCAPDJ_LANE", ""))
    expected, until_s = set(running) & set(ROLES), time.monotonic() + limit_s
    while True:
        try:
            found = role_findings(read_snapshot(store, time.time()), expected, time.time())
            problem = "; ".join(each.text for each in found)
        except PcapdjError as exc:
            problem = str(exc)
        if not problem or time.monotonic() > until_s:
            return f"{problem[0].upper()}{problem[1:]}" if problem else ""
        time.sleep(_LOOK_S)


def _become(supervisord: Supervisord, roles: list[str]) -> None:
    """Run supervisord in the place of this process."""
    if roles:
        raise ConfigError("--foreground starts all roles.", hint="Name none.")
    if pid := supervisord.pid():
        raise ConfigError(f"The service runs already: supervisord has the pid {pid}.")
    command = [*supervisord.command, "-n"]
    os.execve(command[0], command, whole_environment())  # noqa: S606 - no shell is wanted
