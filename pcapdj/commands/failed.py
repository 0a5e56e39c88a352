"""`pcapdj failed`: lists the files that could not be fed whole, and why; queues them again."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from typing import Annotated, Final

import typer

from pcapdj.console.screen import print_fitted, print_json, print_lines
from pcapdj.console.slow_work import slow_work
from pcapdj.runtime.command import new_app
from pcapdj.runtime.errors import ConfigError, PcapdjError, StoreUnavailable
from pcapdj.runtime.numbers import counted
from pcapdj.runtime.safe_text import printable_sentence, quoted, to_name, to_text
from pcapdj.store.client import Store
from pcapdj.store.failures import (
    Failure,
    all_failures,
    failures_length,
    failures_of,
    forget_lost,
    index_failures,
    requeue_all_failures,
    requeue_failures,
)
from pcapdj.store.name_search import find_names
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store

_WHAT: Final = "failed files to look at"

app = new_app()


@app.command()
def failed(  # noqa: PLR0913 - typer makes options of arguments
    names: Annotated[list[str] | None, typer.Argument(help="only these files", metavar="NAME")] = None,
    *,
    retry: Annotated[bool, typer.Option("--retry", help="queue the files again")] = False,
    forget: Annotated[
        bool,
        typer.Option(
            "--forget", help="remove the entries about captures that were overwritten before they were fed"
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the entries as JSON lines")] = False,
    redis_url: RedisUrl = "",
    redis_password_file: PasswordFile = None,
    lane: Lane = "",
) -> None:
    """List the files that failed, with the reason and how much was delivered."""
    if retry and forget:
        raise ConfigError("--retry and --forget exclude each other.")
    store = open_store(redis_url, redis_password_file, lane)
    with nullcontext() if retry or forget else suppress(StoreUnavailable):  # without writes it can be read
        _index(store)
    chosen = _whole_names(store, names or [])
    if retry:
        _retry(store, chosen)
    elif forget:
        _forget(store, chosen)
    else:
        with slow_work(_WHAT, failures_length(store)) as work:
            for failure in _chosen(all_failures(store, work.add), chosen):
                fields = failure.fields or {"reason": failure.reason}
                work.clear()
                if as_json:
                    print_json(fields)
                else:
                    print_fitted(_sentence(failure))


def _index(store: Store) -> None:
    with slow_work(_WHAT, failures_length(store)) as work:
        for looked_at in index_failures(store):
            work.add(looked_at)


def _whole_names(store: Store, words: Sequence[str]) -> list[str]:
    """Return words that are the last parts of failed files' names as whole names; others stay.

    Raises:
        PcapdjError: a word is the last part of several.
    """

    def pages() -> Iterator[Sequence[bytes]]:
        with slow_work(_WHAT, failures_length(store)) as work:
            for failure in all_failures(store, work.add):
                yield [failure.name] if failure.name else []

    short = [
        to_name(word) for word in words if "/" not in word and not failures_of(store, [*_wanted([word])])
    ]
    if not short:
        return list(words)
    found = find_names(short, lambda _: (), pages, "among the failed files")
    whole = dict(zip(short, found.names, strict=True))
    return [to_text(whole.get(to_name(word), to_name(word))) for word in words]


def _retry(store: Store, names: Sequence[str]) -> None:
    """Queue all failed files, or these, again; an unknown name is an error before anything is queued."""
    if names:
        chosen = list(_chosen(failures_of(store, [*_wanted(names)]), names))
        moved, count = requeue_failures(store, chosen), len(chosen)
    else:
        with slow_work("failed files to queue", failures_length(store)) as work:
            moved, count = requeue_all_failures(store, work.add)
    print_lines(f"{moved:,} of {count:,} queued again.")
    if left := count - moved:
        raise PcapdjError(f"{counted(left, 'failed file')} could not be queued again.")


def _forget(store: Store, names: Sequence[str]) -> None:
    with slow_work(_WHAT, failures_length(store)) as work:
        removed = forget_lost(store, [*_wanted(names)] or None, work.add)
    print_lines(f"{counted(removed, 'entry', 'entries')} about lost captures removed.")
    if names and not removed:
        shown = ", ".join(quoted(name) for name in names)
        raise PcapdjError(
            f"No failed entry of {shown} is about a lost capture.", hint="Queue a failed file with --retry."
        )


def _chosen(failures: Iterable[Failure], names: Sequence[str]) -> Iterator[Failure]:
    """Yield the failures of these files, without names all; an unknown name is an error at the end."""
    wanted, found = _wanted(names), set[str]()
    for failure in failures:
        if not names or failure.name in wanted:
            found.add(wanted.get(failure.name or b"", ""))
            yield failure
    if missing := [name for name in names if name not in found]:
        raise PcapdjError(f"Not among the failed files: {', '.join(quoted(name) for name in missing)}.")


def _wanted(names: Sequence[str]) -> dict[bytes, str]:
    """Return the names under which these files may have failed, and how each was typed."""
    typed = {to_name(name): name for name in names}
    absolute = {os.path.abspath(name): text for name, text in typed.items()}  # noqa: PTH100 - as at import
    return typed | {name: text for name, text in absolute.items() if name not in typed}


def _sentence(failure: Failure) -> str:
    name = "?" if failure.name is None else quoted(failure.name)
    details = [
        f"{word} {failure.fields[field]}"
        for field, word in (("offset", "at byte"), ("packets", "packets delivered:"), ("attempt", "attempt"))
        if isinstance(failure.fields.get(field), int)
    ]
    shown = f" ({', '.join(details)})" if details else ""
    return f"{name}: {printable_sentence(failure.reason)}{shown}"
