"""`pcapdj status`: one screen of what a lane is doing, or the same as JSON for programs."""

import json
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from pcapdj.console.progress import rates_between
from pcapdj.console.screen import keep_showing, show
from pcapdj.console.status_lines import Line, Tone, snapshot_lines
from pcapdj.runtime.command import new_app
from pcapdj.runtime.errors import PcapdjError
from pcapdj.runtime.safe_text import to_text
from pcapdj.store.client import Store
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store
from pcapdj.store.snapshot import Snapshot, read_failures, read_snapshot

_LAST_FAILURES = 3

app = new_app()


@app.command()
def status(
    *,
    watch: Annotated[bool, typer.Option("--watch", help="show it anew each second until Ctrl-C")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object instead of the screen")] = False,
    redis_url: RedisUrl = "",
    redis_password_file: PasswordFile = None,
    lane: Lane = "",
) -> None:
    """Show queue, current file, disk gate, dispatchers, analyzer, and the last failures."""
    store = open_store(redis_url, redis_password_file, lane, patient=False)
    look = _Look(store)
    if not watch:
        _print_json(look.board()) if as_json else show(_title(lane), look.lines())
        return
    try:
        _watch(look, lane, as_json=as_json)
    except KeyboardInterrupt:  # the announced way to end it
        return


class _Look:
    """Reads the board again and again, and remembers the last one for the rates."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last: Snapshot = {}

    def board(self) -> Snapshot:
        return read_snapshot(self._store, time.time())

    def lines(self) -> list[Line]:
        board, last = self.board(), self._last
        self._last = board
        return snapshot_lines(board, _failures(self._store), time.time(), rates_between(last, board))

    def lines_or_why_not(self) -> list[Line]:
        try:
            return self.lines()
        except PcapdjError as exc:  # on a screen that stays, an outage is something to show
            return [Line("Redis", str(exc), Tone.BAD)]


def _watch(look: _Look, lane: str, *, as_json: bool) -> None:
    if as_json:
        _repeat(lambda: _print_json(look.board()))
    look.board()  # a Redis that is not there at all ends the command
    keep_showing(_title(lane), look.lines_or_why_not)


def _repeat(act: Callable[[], None]) -> None:
    while True:
        act()
        time.sleep(1)


def _failures(store: Store) -> list[dict[str, Any]]:
    return [
        {"name": "?" if failure.name is None else to_text(failure.name), "reason": failure.reason}
        for failure in read_failures(store, _LAST_FAILURES)
    ]


def _title(lane: str) -> str:
    return f"pcapdj, lane {lane}" if lane else "pcapdj"


def _print_json(board: Snapshot) -> None:
    typer.echo(json.dumps(board))
