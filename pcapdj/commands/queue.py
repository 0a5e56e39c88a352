"""`pcapdj queue`: the queue in order, with sizes and what is in flight; names removed, moved to an end.

A removed file does not come back at the importer's next look. It is read and changed page by page: a queue of
a million names costs no more memory than one of a thousand.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final

import typer

from pcapdj.console.screen import print_json, print_lines
from pcapdj.console.slow_work import slow_work
from pcapdj.runtime.command import new_app
from pcapdj.runtime.errors import ConfigError, PcapdjError
from pcapdj.runtime.numbers import counted
from pcapdj.runtime.safe_text import command_about, quoted, to_name, to_text
from pcapdj.runtime.units import human_size
from pcapdj.store.bounded import read_page
from pcapdj.store.client import Store
from pcapdj.store.events import record_event
from pcapdj.store.name_search import find_names, matcher
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store
from pcapdj.store.queue import (
    PAGE,
    Edit,
    QueuedName,
    edit_queue,
    name_pages,
    queue_length,
    queued_occurrences,
    read_queue,
    with_identities,
)
from pcapdj.store.queue_check import compare_now
from pcapdj.store.snapshot import read_snapshot

_LIST: Final = "list"
_MOST_SHOWN: Final = 50
_MOST_MOVED: Final = 10_000
_MOST_IN_JOURNAL: Final = 1000  # of one command: the journal is for what was fed
_MOST_NAMED: Final = 10
_PAST: Final = {Edit.REMOVE: "removed", Edit.FIRST: "moved to the beginning", Edit.LAST: "moved to the end"}

app = new_app()


@app.command()
def queue(  # noqa: PLR0913 - an option each
    action: Annotated[str, typer.Argument(help="what to do", metavar="list|remove|first|last")] = _LIST,
    names: Annotated[
        list[str] | None,
        typer.Argument(help="names, last parts of names, or patterns such as '*.pcap'", metavar="NAME"),
    ] = None,
    *,
    first: Annotated[int, typer.Option("--from", min=1, help="list: begin at this place in the queue")] = 1,
    most: Annotated[
        int, typer.Option("--most", min=0, help="list: show at most this many names; 0 = all")
    ] = _MOST_SHOWN,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="show which names match, and change nothing")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="list: print JSON lines")] = False,
    redis_url: RedisUrl = "",
    redis_password_file: PasswordFile = None,
    lane: Lane = "",
) -> None:
    """Show the queue in order; remove names from it, or move them to its beginning or end."""
    if action not in (_LIST, *Edit):
        hint = "Write list, remove NAME.., first NAME.. or last NAME..."
        raise ConfigError(f"Unknown action {quoted(action[:80])}.", hint=hint)
    if (action == _LIST) == bool(names):
        raise ConfigError("Name the files to remove or to move." if not names else "list takes no names.")
    store = open_store(redis_url, redis_password_file, lane)
    if action == _LIST:
        _list(store, first - 1, most or None, as_json=as_json)
    else:
        _edit(store, Edit(action), [to_name(name) for name in names or []], dry_run=dry_run)


def _list(store: Store, first: int, most: int | None, *, as_json: bool) -> None:
    length, current = queue_length(store), _in_flight(store)
    if as_json:
        print_json({"queued": length, "current": current})
    else:
        print_lines(f"{length:,} queued, {len(current)} in flight")
        for each in current:
            print_lines(_line("in flight", to_name(each["name"]), each["size_bytes"], each["state"]))
    shown = 0
    for page in read_queue(store, first, most):
        for item in page:
            place = item.place + 1
            if as_json:
                fields = {"place": place, "name": to_text(item.name), "size_bytes": item.size_bytes}
                print_json(fields)
            else:
                print_lines(_line(f"{place:,}", item.name, item.size_bytes))
        shown += len(page)
    if not as_json and (more := length - first - shown) > 0:
        command = command_about(store.keys.lane, "queue", "--from", str(first + shown + 1))
        print_lines(f"and {more:,} more: {command}")


def _line(label: str, name: bytes, size_bytes: int | None, state: str = "") -> str:
    size = "" if size_bytes is None else human_size(size_bytes)
    return f"{label:>9}  {size:>10}  {quoted(name)}{f', {state}' if state else ''}"


def _in_flight(store: Store) -> list[dict[str, Any]]:
    """Return the files that dispatchers have taken."""
    snapshot = read_snapshot(store, time.time())
    totals = {each["id"]: each.get("total_bytes") for each in snapshot["dispatchers"]}
    sizes = {each: total for each, total in totals.items() if isinstance(total, int)}
    fields = ("name", "dispatcher", "state")
    return [
        {**{name: each.get(name) for name in fields}, "size_bytes": sizes.get(each["dispatcher"])}
        for each in snapshot["current"]
    ]


def _edit(store: Store, edit: Edit, words: Sequence[bytes], *, dry_run: bool) -> None:
    def known(names: Sequence[bytes]) -> list[bytes]:
        return [each.name for each in queued_occurrences(store, names)]

    def pages() -> Iterator[list[bytes]]:
        with slow_work("queued names to look at", queue_length(store)) as work:
            for _, names in name_pages(store):
                yield names
                work.add(len(names))

    with slow_work("queued names to compare", queue_length(store)) as work:
        compare_now(store, work.add)  # a name that another program pushed is found, too
    found = find_names(words, known, pages, "in the queue", has_patterns=True)
    report = _Report(store, edit, dry_run=dry_run)
    _edit_names(store, report, found.names)
    if found.patterns:
        _edit_matching(store, report, found.patterns)
    report.end()


def _edit_names(store: Store, report: "_Report", names: Sequence[bytes]) -> None:
    """Edit names that are queued: each once; a removed one as often as it is there."""
    occurrences = queued_occurrences(store, names)
    while report.edit(occurrences) and report.edits_again:
        pass


def _edit_matching(store: Store, report: "_Report", patterns: Sequence[bytes]) -> None:
    """Edit all names that match; those to move are collected first."""
    fits, place, chosen = matcher(patterns), 0, list[QueuedName]()
    with slow_work("queued names to look at", queue_length(store)) as work:
        while page := read_page(store, store.keys.in_queue, place, PAGE):
            places = [place + index for index, name in enumerate(page) if fits(name)]
            wanted = with_identities(store, [page[each - place] for each in places], places)
            work.add(len(page))
            place += len(page)
            if report.edits_at_once:
                place -= report.edit(wanted)
            else:
                chosen += wanted
                if len(chosen) > _MOST_MOVED:
                    raise PcapdjError(
                        f"More than {_MOST_MOVED:,} names match: at most that many are moved at once."
                    )
    report.edit(chosen)


class _Report:
    """Edits names, or only counts them, and shows how many there were.

    Args:
        dry_run: nothing is changed.
    """

    def __init__(self, store: Store, edit: Edit, *, dry_run: bool) -> None:
        self._store = store
        self._edit = edit
        self._dry_run = dry_run
        self._done = 0
        self._named = list[bytes]()

    @property
    def edits_at_once(self) -> bool:
        """Report whether names are edited while others are looked for."""
        return self._edit is Edit.REMOVE

    @property
    def edits_again(self) -> bool:
        """Report whether other occurrences of the same names are edited, too."""
        return self._edit is Edit.REMOVE and not self._dry_run

    def edit(self, names: Sequence[QueuedName]) -> int:
        """Edit some occurrences; return by how many the queue is shorter before the next name."""
        if self._dry_run:
            done = len(names)
        else:
            in_journal = self._done + len(names) <= _MOST_IN_JOURNAL
            done = edit_queue(self._store, self._edit, names, in_journal=in_journal)
        self._done += done
        self._named += [each.name for each in names[: min(done, _MOST_NAMED - len(self._named))]]
        return 0 if self._dry_run else done

    def end(self) -> None:
        """Show what was done; record it.

        Raises:
            PcapdjError: no name was there.
        """
        if not self._done:
            raise PcapdjError("No queued name matches.")
        for name in self._named:
            print_lines(quoted(name))
        if (more := self._done - len(self._named)) > 0:
            print_lines(f"and {more:,} more")
        names = counted(self._done, "name")
        if self._dry_run:
            print_lines(f"{names} would be {_PAST[self._edit]}.")
            return
        sentence = f"{names} {_PAST[self._edit]} of the queue.".replace("removed of", "removed from")
        print_lines(sentence)
        kind = "removed" if self._edit is Edit.REMOVE else "reordered"
        fields = {"name": to_text(self._named[0])} if self._done == 1 else {}
        record_event(self._store, kind, sentence, role="queue", fields=fields)
