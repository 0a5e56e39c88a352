"""`pcapdj requeue`: queues processed or failed files again."""

import os
from typing import Annotated

import typer

from pcapdj.runtime.command import new_app
from pcapdj.runtime.errors import ConfigError, PcapdjError
from pcapdj.runtime.safe_text import quoted, to_name
from pcapdj.store import operate
from pcapdj.store.client import Store
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store

app = new_app()


@app.command()
def requeue(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="the names under which the files were fed", metavar="NAME"),
    ] = None,
    *,
    stream: Annotated[
        str,
        typer.Option(
            "--stream", help="all processed files of this stream, for example after its analyzer died"
        ),
    ] = "",
    redis_url: RedisUrl = "",
    redis_password_file: PasswordFile = None,
    lane: Lane = "",
) -> None:
    """Queue processed or failed files again, at the end of the queue."""
    if bool(names) == bool(stream):
        raise ConfigError("Name either files or a stream with --stream.")
    store = open_store(redis_url, redis_password_file, lane, is_role=False)
    wanted = operate.processed_in(store, stream) if stream else [to_name(name) for name in names or []]
    if not wanted:
        raise PcapdjError(f"No processed file was last fed into stream {quoted(stream)}.")
    missing = [name for name in wanted if not _requeue(store, name)]
    typer.echo(f"{len(wanted) - len(missing)} of {len(wanted)} queued again.")
    if missing:
        names_shown = ", ".join(quoted(name) for name in missing)
        raise PcapdjError(f"Not among the processed or failed files: {names_shown}.")
    if stream:
        operate.forget_suspect(store, stream)


def _requeue(store: Store, name: bytes) -> bool:
    """Queue the file again by its name as given, else by its absolute path."""
    if operate.requeue(store, name):
        return True
    absolute = os.path.abspath(name)  # noqa: PTH100 - of bytes
    return absolute != name and operate.requeue(store, absolute)
