"""`pcapdj status`: one screen of what a lane is doing, or the same as JSON for programs."""

import socket
import time
from typing import Annotated, Any

import typer

from pcapdj import __version__
from pcapdj.commands.monitor import layout_of
from pcapdj.console.dispatcher_lines import rates_between
from pcapdj.console.screen import Line, Tone, keep_showing, print_json, show
from pcapdj.console.status_lines import snapshot_lines
from pcapdj.runtime.command import new_app
from pcapdj.runtime.errors import PcapdjError
from pcapdj.runtime.safe_text import printable_sentence, to_text
from pcapdj.store.client import Store
from pcapdj.store.failures import newest_failures
from pcapdj.store.lane_totals import queue_size
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store
from pcapdj.store.redis_url import safe_url
from pcapdj.store.samples import rates_of
from pcapdj.store.snapshot import Snapshot, read_snapshot

_LAST_FAILURES = 3
_EVERY_S = 1.0
_AVERAGED_S = 120.0
_MOST_RATES = 20  # dispatchers

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
    store = open_store(redis_url, redis_password_file, lane)
    try:
        if as_json:
            _print_json(store, repeat=watch)
        elif watch:
            read_snapshot(
                store, time.time()
            )  # without a Redis the command ends here; later it shows the error
            keep_showing(lambda: _title_of(store), StatusScreen(store).lines_or_error)
        else:
            show(_title_of(store), StatusScreen(store).lines())
    except KeyboardInterrupt:  # the documented way to end --watch
        return


class StatusScreen:
    """Reads what the screen shows, at a cost that does not grow with the queue."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._before: Snapshot = {}

    def lines(self) -> list[Line]:
        """Return the lines of the screen as of now.

        Raises:
            As `Store.call`.
        """
        now_s = time.time()
        snapshot = read_snapshot(self._store, now_s)
        rates = rates_between(self._before, snapshot) | self._averaged_rates(snapshot, now_s)
        self._before = snapshot
        size_bytes = queue_size(self._store).size_bytes
        return snapshot_lines(snapshot, _last_failures(self._store), now_s, rates, size_bytes)

    def _averaged_rates(self, snapshot: Snapshot, now_s: float) -> dict[str, float]:
        """Return bytes per second over the last two minutes, of the dispatchers that have a file."""
        feeding = [str(each["dispatcher"]) for each in snapshot["current"]][:_MOST_RATES]
        keys = {each: self._store.keys.samples_of(each) for each in feeding}
        found = {each: rates_of(self._store, key, _AVERAGED_S, now_s) for each, key in keys.items()}
        return {each: rates["read_bytes"] for each, rates in found.items() if rates.get("read_bytes", 0) > 0}

    def lines_or_error(self) -> list[Line]:
        """Return the lines; of a Redis that does not answer, one line with the error."""
        try:
            return self.lines()
        except PcapdjError as exc:
            return [Line("Redis", str(exc), Tone.BAD)]


def _title_of(store: Store) -> str:
    """Return version, host, folder of the service or Redis, lane and time."""
    folder = layout_of(store.url)
    where = f"{socket.gethostname()}:{folder.parent if folder else safe_url(store.url)}"
    lane = f"  lane {store.keys.lane}" if store.keys.lane else ""
    clock = time.strftime("%Y-%m-%d %H:%M:%S %z")
    return printable_sentence(f"pcapdj {__version__}  {where}{lane}  {clock}")


def _last_failures(store: Store) -> list[dict[str, Any]]:
    return [
        {"name": "?" if failure.name is None else to_text(failure.name), "reason": failure.reason}
        for failure in newest_failures(store, _LAST_FAILURES)
    ]


def _print_json(store: Store, *, repeat: bool) -> None:
    print_json(read_snapshot(store, time.time()))
    while repeat:
        time.sleep(_EVERY_S)
        print_json(read_snapshot(store, time.time()))
