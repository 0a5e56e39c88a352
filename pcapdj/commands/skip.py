"""`pcapdj skip`: give up the file that a dispatcher waits for because its storage is away.

The request names the queue entry, not the file: a dispatcher that goes on meanwhile keeps its file.
"""

import time
from typing import Annotated, Final

import typer

from pcapdj.runtime.command import new_app
from pcapdj.runtime.errors import PcapdjError
from pcapdj.runtime.safe_text import quoted, to_name
from pcapdj.store import operate
from pcapdj.store.bounded import read_hash
from pcapdj.store.client import Store
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store
from pcapdj.store.snapshot import read_snapshot

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="only this file, as `status` names it", show_default=False)
]
_TAKEN: Final = ("name", "token")

app = new_app()


@app.command()
def skip(
    name: Name = "", redis_url: RedisUrl = "", redis_password_file: PasswordFile = None, lane: Lane = ""
) -> None:
    """Give up a file that a dispatcher waits for because its storage is away; it fails."""
    store = open_store(redis_url, redis_password_file, lane, is_role=False)
    wanted = to_name(name) if name else None
    found = {each: file for each, file in _waited_for(store).items() if wanted in (None, file[0])}
    if not found:
        what = quoted(wanted) if wanted else "storage"
        raise PcapdjError(f"No dispatcher waits for {what}.")
    for dispatcher, (file, token) in found.items():
        operate.request_skip(store, dispatcher, token)
        typer.echo(f"{quoted(file)} is skipped; `pcapdj failed` lists it.")


def _waited_for(store: Store) -> dict[str, tuple[bytes, bytes]]:
    """Return name and token of each file that is waited for, by dispatcher."""
    found = {}
    for each in read_snapshot(store, time.time())["dispatchers"]:
        if each.get("storage") and not each["stale"]:
            taken = read_hash(store, store.keys.current(each["id"]), _TAKEN)
            if len(taken) == len(_TAKEN):
                found[each["id"]] = (taken[b"name"], taken[b"token"])
    return found
