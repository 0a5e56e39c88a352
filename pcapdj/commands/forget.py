"""`pcapdj forget`: remove a dispatcher that is out of service from its lane.

A dispatcher stays registered after its death, since the next one of its id continues with its file. If none
comes, screens and monitoring show it as silent until this command removes it. A suspension by its signal
ends, too. Its file, if it has one, must not be lost: it goes back to the head of the queue, or the command
refuses.
"""

from typing import Annotated, Any, Final

import typer

from pcapdj.console.dispatcher_lines import short_names
from pcapdj.console.screen import print_lines
from pcapdj.runtime.command import new_app
from pcapdj.runtime.errors import PcapdjError
from pcapdj.runtime.safe_text import quoted, to_text
from pcapdj.store import operate
from pcapdj.store.bounded import read_hash
from pcapdj.store.client import Store
from pcapdj.store.events import record_event
from pcapdj.store.keys import IN_QUEUE
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store
from pcapdj.store.snapshot import is_recent, read_snapshot

_MOST_SHOWN: Final = 10

app = new_app()


@app.command()
def forget(
    dispatcher: Annotated[
        str, typer.Argument(metavar="DISPATCHER", help="its name or id, as `status` shows it")
    ],
    *,
    requeue: Annotated[
        bool, typer.Option("--requeue", help="put its current file at the head of the queue")
    ] = False,
    redis_url: RedisUrl = "",
    redis_password_file: PasswordFile = None,
    lane: Lane = "",
) -> None:
    """Remove a dispatcher that is out of service, so that nothing waits for it or shows it as silent."""
    store = open_store(redis_url, redis_password_file, lane)
    chosen = _chosen(read_snapshot(store, 0)["dispatchers"], dispatcher)
    fields = read_hash(store, store.keys.stats(chosen), ("heartbeat_s", "queue"))
    heartbeat, queue = (to_text(fields.get(name, b"")) for name in (b"heartbeat_s", b"queue"))
    if is_recent(heartbeat):
        raise _is_alive(chosen)
    answer, *name = operate.forget_dispatcher(store, chosen, queue or IN_QUEUE, heartbeat, requeue=requeue)
    match answer:
        case b"alive":
            raise _is_alive(chosen)
        case b"taken":
            raise PcapdjError(
                f"The dispatcher {quoted(chosen)} has taken {quoted(name[0])}.",
                hint="A dispatcher with the same pipe or --id continues with it; --requeue puts it back"
                " to the head of the queue, and it is fed from its first packet.",
            )
    _report(store, chosen, b"".join(name))


def _report(store: Store, dispatcher: str, name: bytes) -> None:
    sentence = f"The dispatcher {quoted(dispatcher)} is forgotten."
    if name:
        sentence += f" {quoted(name)} is at the head of the queue and is fed from its first packet."
    record_event(
        store, "dispatcher_forgotten", sentence, role="forget", fields={"name": to_text(name)} if name else {}
    )
    print_lines(sentence)


def _chosen(dispatchers: list[dict[str, Any]], wanted: str) -> str:
    """Return the id of the dispatcher that is meant."""
    names = short_names([str(each["id"]) for each in dispatchers])
    for each, name in names.items():
        if wanted in (each, name):
            return each
    shown = ", ".join(map(quoted, list(names.values())[:_MOST_SHOWN])) or "none"
    raise PcapdjError(
        f"No dispatcher {quoted(wanted)} is registered in this lane.", hint=f"Registered: {shown}."
    )


def _is_alive(dispatcher: str) -> PcapdjError:
    return PcapdjError(
        f"The dispatcher {quoted(dispatcher)} reported less than five seconds ago.", hint="Stop it first."
    )
