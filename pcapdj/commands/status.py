"""`pcapdj status`: one screen of what a lane is doing, or the same as JSON for programs."""

import json
import time
from typing import Annotated, Any

import typer

from pcapdj.console.dispatcher_lines import rates_between
from pcapdj.console.screen import Line, Tone, keep_showing, show
from pcapdj.console.status_lines import snapshot_lines
from pcapdj.runtime.command import new_app
from pcapdj.runtime.errors import PcapdjError
from pcapdj.runtime.safe_text import to_text
from pcapdj.store.client import Store
from pcapdj.store.failures import newest_failures
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store
from pcapdj.store.snapshot import Snapshot, read_snapshot

_LAST_FAILURES = 3
_EVERY_S = 1.0

app = new_app()


@app.command()
def status(
    *,
    watch: Annotated[bool, typer.Option("--watch", help="show it again every second until Ctrl-C")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object instead")] = False,
    redis_url: RedisUrl = "",
    redis_password_file: PasswordFile = None,
    lane: Lane = "",
) -> None:
    """Show queue, current file, disk gate, dispatchers, analyzer, and the last failures."""
    store = open_store(redis_url, redis_password_file, lane, is_role=False)
    title = f"pcapdj, lane {lane}" if lane else "pcapdj"
    try:
        if as_json:
            _print_json(store, repeat=watch)
        elif watch:
            read_snapshot(
                store, time.time()
            )  # without a Redis the command ends here; later it shows the error
            keep_showing(title, StatusScreen(store).lines_or_error)
        else:
            show(title, StatusScreen(store).lines())
    except KeyboardInterrupt:  # the documented way to end --watch
        return


class StatusScreen:
    """Reads the lane's snapshot; from the second time on the lines have the rates."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._before: Snapshot = {}

    def lines(self) -> list[Line]:
        """Return the lines of the screen as of now.

        Raises:
            As `Store.call`.
        """
        snapshot = read_snapshot(self._store, time.time())
        rates = rates_between(self._before, snapshot)
        self._before = snapshot
        return snapshot_lines(snapshot, _last_failures(self._store), time.time(), rates)

    def lines_or_error(self) -> list[Line]:
        """Return the lines; of a Redis that does not answer, one line with the error."""
        try:
            return self.lines()
        except PcapdjError as exc:
            return [Line("Redis", str(exc), Tone.BAD)]


def _last_failures(store: Store) -> list[dict[str, Any]]:
    return [
        {"name": "?" if failure.name is None else to_text(failure.name), "reason": failure.reason}
        for failure in newest_failures(store, _LAST_FAILURES)
    ]


def _print_json(store: Store, *, repeat: bool) -> None:
    typer.echo(json.dumps(read_snapshot(store, time.time())))
    while repeat:
        time.sleep(_EVERY_S)
        typer.echo(json.dumps(read_snapshot(store, time.time())))
