"""`pcapdj skip`: give up the file that a dispatcher feeds, or that waits for its storage or authorization.

The request names the queue entry, not the file: a dispatcher that finishes the file meanwhile skips no other.
A file that is fed ends behind the records that are being sent, so that the stream stays whole.
"""

import time
from dataclasses import dataclass
from typing import Annotated, Final

import typer

from pcapdj.console.screen import print_lines
from pcapdj.runtime.command import new_app
from pcapdj.runtime.errors import PcapdjError
from pcapdj.runtime.safe_text import quoted, to_name
from pcapdj.store import operate
from pcapdj.store.bounded import read_hash
from pcapdj.store.client import Store
from pcapdj.store.events import record_event
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store
from pcapdj.store.snapshot import read_snapshot

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="the file as `status` names it, or the last part of its name",
    ),
]
_TAKEN: Final = ("name", "token", "state")
_EFFECT_S: Final = 3.0  # a dispatcher looks every 0.2 s, and a piece is sent within milliseconds
_SOON_S: Final = 0.5  # where it is not expected yet
_LOOK_S: Final = 0.05

app = new_app()


@dataclass(frozen=True, slots=True)
class TakenFile:
    """A file that a dispatcher has taken.

    Args:
        dispatcher: its id.
        name: of the file.
        token: of the queue entry.
        state: asked, authorized or feeding.
        is_away: the dispatcher waits for the file's storage.
        suspended_by: who suspends feeding; empty: it goes on.
    """

    dispatcher: str
    name: bytes
    token: bytes
    state: str
    is_away: bool
    suspended_by: str


@app.command()
def skip(
    name: Name = "", redis_url: RedisUrl = "", redis_password_file: PasswordFile = None, lane: Lane = ""
) -> None:
    """Give up the file that is fed, or that waits for its storage or its authorization; it fails."""
    store = open_store(redis_url, redis_password_file, lane)
    found = chosen(taken_files(store), to_name(name) if name else None)
    for file in found:
        operate.request_skip(store, file.dispatcher, file.token)
    for file in found:
        is_done = _wait(store, file)
        sentence = _outcome(file, is_done=is_done)
        fields = {"name": name} if (name := file.name.decode("utf-8", "surrogateescape")) else {}
        record_event(store, "skipped", sentence, role="skip", fields=fields)
        print_lines(sentence)


def chosen(files: list[TakenFile], wanted: bytes | None) -> list[TakenFile]:
    """Return the files to skip.

    Args:
        files: that dispatchers have taken.
        wanted: a name, or the last part of one; None: those whose storage is away, else the only file.

    Raises:
        PcapdjError: there is none, or it is not clear which.
    """
    if wanted is None:
        found = [file for file in files if file.is_away] or files
        if len(found) > 1 and not found[0].is_away:
            names = ", ".join(quoted(file.name) for file in found)
            raise PcapdjError("Several files are fed.", hint=f"Name one of {names}.")
        if not found:
            raise PcapdjError("No dispatcher has a file.")
        return found
    found = [file for file in files if file.name == wanted]
    found = found or [file for file in files if file.name.rpartition(b"/")[2] == wanted]
    if not found:
        raise PcapdjError(
            f"No dispatcher has {quoted(wanted)}.", hint="Remove a queued file with `pcapdj queue remove`."
        )
    if len({file.name for file in found}) > 1:
        names = ", ".join(quoted(file.name) for file in found)
        raise PcapdjError(f"{quoted(wanted)} is not unique.", hint=f"Name one of {names}.")
    return found


def taken_files(store: Store) -> list[TakenFile]:
    """Return the files that living dispatchers have taken.

    Raises:
        As `Store.call`.
    """
    found = []
    for each in read_snapshot(store, time.time())["dispatchers"]:
        taken = {} if each["stale"] else read_hash(store, store.keys.current(each["id"]), _TAKEN)
        if taken.keys() >= {b"name", b"token"}:
            found.append(
                TakenFile(
                    dispatcher=each["id"],
                    name=taken[b"name"],
                    token=taken[b"token"],
                    state=taken.get(b"state", b"").decode("utf-8", "replace"),
                    is_away=bool(each.get("storage")),
                    suspended_by=str(each.get("suspended_by") or ""),
                )
            )
    return found


def _wait(store: Store, file: TakenFile) -> bool:
    """Wait until the dispatcher has given the file up; report whether it has."""
    is_delayed = bool(file.suspended_by) and file.state == "feeding"
    deadline_s = time.monotonic() + (_SOON_S if is_delayed else _EFFECT_S)
    while time.monotonic() < deadline_s:
        if read_hash(store, store.keys.current(file.dispatcher), ["token"]).get(b"token") != file.token:
            return True
        time.sleep(_LOOK_S)
    return False


def _outcome(file: TakenFile, *, is_done: bool) -> str:
    if is_done:
        return f"{quoted(file.name)} is skipped; `pcapdj failed` lists it."
    reason = "behind the records that are being sent"
    if file.state == "authorized":
        reason = "behind its first records: they are sent once an analyzer reads"
    elif file.state != "feeding":
        reason = "before its first packet"
    elif file.suspended_by:
        reason = f"once feeding goes on: it is suspended by {file.suspended_by}"
    return f"{quoted(file.name)} will be skipped {reason}."
