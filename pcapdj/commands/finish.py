"""`pcapdj finish`: end the stream, so that the analyzer completes its output."""

import time
from typing import Annotated

import typer

from pcapdj.console.screen import print_lines
from pcapdj.runtime.command import new_app
from pcapdj.store import operate
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store
from pcapdj.store.snapshot import Snapshot, read_snapshot

app = new_app()


@app.command()
def finish(
    *,
    now: Annotated[
        bool, typer.Option("--now", help="end it after the current file, even if more files are queued")
    ] = False,
    redis_url: RedisUrl = "",
    redis_password_file: PasswordFile = None,
    lane: Lane = "",
) -> None:
    """End the stream when no file is queued or current; files that come later begin a new one."""
    store = open_store(redis_url, redis_password_file, lane)
    if not _is_needed(read_snapshot(store, time.time()), now=now):
        print_lines("No stream is open: there is nothing to end.")
        return
    operate.finish(store, "now" if now else "empty")
    when = "after the current file" if now else "as soon as no file is queued or current"
    print_lines(f"The stream ends {when}; files that come later begin a new one.")


def _is_needed(lane: Snapshot, *, now: bool) -> bool:
    """Report whether a stream is open, or a file will be in one; without a launcher, assume so."""
    consumer = lane["consumer"] or {}
    is_known = bool(consumer) and not consumer["stale"]
    is_open = bool(consumer.get("stream")) or consumer.get("state") == "starting"
    return not is_known or is_open or bool(lane["current"]) or bool(lane["queued"] and not now)
