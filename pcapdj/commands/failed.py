"""`pcapdj failed`: lists the files that could not be fed whole, and why; queues them again."""

import json
import os
from collections.abc import Collection, Sequence
from typing import Annotated

import typer

from pcapdj.runtime.command import new_app
from pcapdj.runtime.errors import PcapdjError
from pcapdj.runtime.safe_text import printable_sentence, quoted, to_name
from pcapdj.store.client import Store
from pcapdj.store.operate import requeue_failures
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store
from pcapdj.store.snapshot import Failure, all_failures

app = new_app()


@app.command()
def failed(  # noqa: PLR0913 - typer makes options of arguments
    names: Annotated[list[str] | None, typer.Argument(help="only these files", metavar="NAME")] = None,
    *,
    retry: Annotated[bool, typer.Option("--retry", help="queue the files again")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the entries as JSON lines")] = False,
    redis_url: RedisUrl = "",
    redis_password_file: PasswordFile = None,
    lane: Lane = "",
) -> None:
    """List the files that failed, with the reason and how much was delivered."""
    store = open_store(redis_url, redis_password_file, lane, is_role=False)
    wanted = _wanted(store, names or [])
    if retry:
        moved, chosen = requeue_failures(store, wanted)
        typer.echo(f"{moved} of {chosen} queued again.")
        if left := chosen - moved:
            raise PcapdjError(f"{left} of {chosen} failed files could not be queued again.")
        return
    for failure in all_failures(store):
        if wanted is None or failure.name in wanted:
            fields = failure.fields or {"reason": failure.reason}
            typer.echo(json.dumps(fields) if as_json else _sentence(failure))


def _wanted(store: Store, names: Sequence[str]) -> Collection[bytes] | None:
    """Return the names under which these files may have failed, None for all; an unknown one is an error."""
    if not names:
        return None
    wanted = {to_name(os.path.abspath(name)): name for name in names}  # noqa: PTH100 - links stay, as at import
    wanted |= {to_name(name): name for name in names}
    found = {wanted[failure.name] for failure in all_failures(store) if failure.name in wanted}
    if missing := [name for name in names if name not in found]:
        raise PcapdjError(f"Not among the failed files: {', '.join(quoted(name) for name in missing)}.")
    return wanted.keys()


def _sentence(failure: Failure) -> str:
    name = "?" if failure.name is None else quoted(failure.name)
    details = [
        f"{word} {failure.fields[field]}"
        for field, word in (("offset", "at byte"), ("packets", "packets delivered:"), ("attempt", "attempt"))
        if isinstance(failure.fields.get(field), int)
    ]
    shown = f" ({', '.join(details)})" if details else ""
    return f"{name}: {printable_sentence(failure.reason)}{shown}"
