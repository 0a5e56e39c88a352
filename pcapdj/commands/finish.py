"""`pcapdj finish`: end the stream, so that the analyzer completes its output."""

from typing import Annotated

import typer

from pcapdj.runtime.command import new_app
from pcapdj.store import operate
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store

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
    operate.finish(open_store(redis_url, redis_password_file, lane, is_role=False), "now" if now else "empty")
    when = "after the current file" if now else "as soon as no file is queued or current"
    typer.echo(f"The stream ends {when}; files that come later begin a new one.")
