"""`pcapdj events`: what happened in a lane: one story of all roles, the commands, and each file."""

import os
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Final

import typer

from pcapdj.console.event_lines import event_line, event_object
from pcapdj.console.screen import print_fitted, print_json
from pcapdj.console.slow_work import slow_work
from pcapdj.runtime.command import new_app
from pcapdj.runtime.errors import PcapdjError, StoreUnavailable
from pcapdj.runtime.safe_text import printable, printable_sentence, quoted, to_name
from pcapdj.runtime.units import parse_time, utc_text
from pcapdj.store.bounded import read_list
from pcapdj.store.client import Store
from pcapdj.store.events import Event
from pcapdj.store.history import NOWHERE, FileNow, History, file_now
from pcapdj.store.journal import Conditions, journal_length, read_journal
from pcapdj.store.name_search import find_names
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store
from pcapdj.store.queue import queue_length
from pcapdj.store.snapshot import read_snapshot

_EVERY_S: Final = 0.5
_DAY_S: Final = 86_400.0

app = new_app()


@app.command()
def events(  # noqa: PLR0913 - typer makes options of arguments
    *,
    since: Annotated[
        str,
        typer.Option(
            "--since", help="events since a time, or how long ago (2h, 3d); default: 1d; with --file: all"
        ),
    ] = "",
    file: Annotated[
        str,
        typer.Option("--file", help="only events of this file, by name or last part; show also where it is"),
    ] = "",
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", help="only events of this kind, such as gate or analyzer_failing; repeatable"),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="keep showing new events until Ctrl-C")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print each event as a line of JSON")] = False,
    redis_url: RedisUrl = "",
    redis_password_file: PasswordFile = None,
    lane: Lane = "",
) -> None:
    """Show what happened: gate, analyzer, storage, Redis, commands, and what became of each file."""
    since_s = (
        parse_time(since or ("0" if file else "1d"), time.time(), "--since") if since or not file else 0.0
    )
    store = open_store(redis_url, redis_password_file, lane)
    name = _name_of(store, file) if file else None
    history = History(store, since_s, name)
    if name is not None and not as_json:
        for line in _now_lines(file_now(store, name), name):
            print_fitted(line)
    try:
        for event in _followed(history, kind) if follow else _so_far(history, kind):
            if as_json:
                print_json(event_object(event))
            else:
                print_fitted(event_line(event))
    except KeyboardInterrupt:  # the documented way to end --follow
        return


def _so_far(history: History, kinds: Collection[str] | None) -> Iterator[Event]:
    """Yield what happened, of these kinds; None: of all."""
    with slow_work("events and journal entries to look at", history.length()) as work:
        for event in history.read(work.add):
            if _is_of(event, kinds):
                work.clear()
                yield event


def _followed(history: History, kinds: Collection[str] | None) -> Iterator[Event]:
    """Yield what happened, and what happens; a Redis that does not answer is waited for."""
    yield from _so_far(history, kinds)
    while True:
        time.sleep(_EVERY_S)
        try:
            yield from (event for event in history.read() if _is_of(event, kinds))
        except StoreUnavailable:
            continue


def _is_of(event: Event, kinds: Collection[str] | None) -> bool:
    return not kinds or event.kind in kinds or event.fields.get("event") in kinds


def _name_of(store: Store, text: str) -> bytes:
    """Return the name under which the file is in Redis: as typed, its absolute path, or what ends so.

    Raises:
        PcapdjError: it is no path, and the last part of no name, or of several.
    """
    word = to_name(text)
    absolute = os.path.abspath(word)  # noqa: PTH100 - of bytes

    def known(names: Sequence[bytes]) -> Iterator[bytes]:
        yield from (name for name in names if file_now(store, name) != NOWHERE)

    def pages() -> Iterator[Sequence[bytes]]:
        yield [to_name(str(each["name"])) for each in read_snapshot(store, time.time())["current"]]
        total = queue_length(store) + journal_length(store)
        with slow_work("queued names and journal entries to look at", total) as work:
            for names in read_list(store, store.keys.in_queue):
                yield names
                work.add(len(names))
            for part in read_journal(store, Conditions(name_end=b"/" + word)):
                yield [file.name for file in part.files]
                work.add(part.looked_at)

    if b"/" in word:
        return next(iter([*known([word]), absolute]))
    try:
        return find_names([word], known, pages, "in the queue or the journal").names[0]
    except PcapdjError as exc:
        if exc.hint or not os.path.lexists(absolute):  # it is not unique, or nowhere
            raise
        return absolute  # it may be queued soon


def _now_lines(now: FileNow, name: bytes) -> Iterator[str]:
    """Yield where the file is."""
    yield f"File: {quoted(name)}"
    places = [f"queued {now.queued} times" if now.queued > 1 else "queued"] if now.queued else []
    places += [f"current of dispatcher {quoted(now.current)}"] if now.current else []
    places += [f"failed: {printable_sentence(now.failed)}"] if now.failed else []
    yield f"Now:  {'; '.join(places) if places else 'neither queued, current nor failed'}"
    if result := now.fed.get("result"):
        time_s, stream = now.fed.get("time_s"), str(now.fed.get("stream", ""))
        when = f" at {utc_text(time_s)}" if isinstance(time_s, int | float) and time_s >= 0 else ""
        yield f"Fed:  {printable(str(result))}{when}, stream {quoted(stream)}"
