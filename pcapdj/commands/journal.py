"""`pcapdj journal`: the files that were fed, when, and what was unusual about them.

The journal is read part by part, so that it costs the same memory however long it is; what fits is shown at
once. The newest entries are found without reading the others.
"""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Annotated, Final

import typer

from pcapdj.capture.roots import Roots
from pcapdj.console.screen import fitted
from pcapdj.console.slow_work import slow_work
from pcapdj.runtime.command import new_app
from pcapdj.runtime.errors import ConfigError, PcapdjError
from pcapdj.runtime.safe_text import to_name, without_effect
from pcapdj.store.client import Store
from pcapdj.store.journal import Conditions, FedFile, FileVerdict, journal_length, read_journal
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store
from pcapdj.trace.journal_lines import COLUMNS, lines_of, object_of, row_of
from pcapdj.trace.presence import READABLE, Presences, reading_roots
from pcapdj.trace.time_range import Since, TimeOf, Times, Until, in_time_range

_MOST_LAST: Final = 10_000  # they are kept, to be shown in order

Form = Callable[[Iterable[FedFile]], Iterator[bytes]]

app = new_app()


@app.command()
def journal(  # noqa: PLR0913 - an option each
    name: Annotated[str, typer.Argument(metavar="NAME", help="only files whose names end with this")] = "",
    *,
    since: Since = "",
    until: Until = "",
    times: Times = TimeOf.FED,
    stream: Annotated[str, typer.Option("--stream", help="only files with packets in this stream")] = "",
    verdict: Annotated[
        FileVerdict | None, typer.Option("--verdict", help="only files with this verdict")
    ] = None,
    last: Annotated[
        int,
        typer.Option(
            "--last",
            min=0,
            max=_MOST_LAST,
            help="only the newest entries, at most this many",
            show_default=False,
        ),
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON lines")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="print comma-separated values")] = False,
    print0: Annotated[
        bool,
        typer.Option("--print0", help="print only paths, for xargs -0: those of files that are unchanged"),
    ] = False,
    roots: Roots = None,
    redis_url: RedisUrl = "",
    redis_password_file: PasswordFile = None,
    lane: Lane = "",
) -> None:
    """Show which files were fed: times, packets, bytes, rate, and what was unusual."""
    if as_json + as_csv + print0 > 1:
        raise ConfigError("--json, --csv and --print0 exclude each other.")
    wanted = Conditions(stream=stream, verdict=verdict or "", name_end=to_name(name))
    wanted = in_time_range(wanted, since, until, times)
    store = open_store(redis_url, redis_password_file, lane)
    files = _newest(store, wanted, last) if last else _all(store, wanted, shows_all=not print0)
    form: Form = _json if as_json else _csv if as_csv else _text
    count = 0
    if print0:
        form = partial(_paths, Presences(store, reading_roots(roots)))
    is_terminal = sys.stdout.isatty()
    for data in form(files):
        count += 1
        sys.stdout.buffer.write(_for_terminal(data) if is_terminal else data)
    sys.stdout.flush()
    if not count:
        raise PcapdjError(
            "The journal has no files yet." if wanted == Conditions() else "The journal has no such file."
        )


def _all(store: Store, wanted: Conditions, *, shows_all: bool) -> Iterator[FedFile]:
    with slow_work("journal entries to look at", journal_length(store)) as work:
        for part in read_journal(store, wanted):
            if part.files:
                work.clear()
                yield from part.files
                sys.stdout.flush()  # the next ones may be far away
            if not (part.files and shows_all):  # what is shown needs no other sign of work
                work.add(part.looked_at)


def _newest(store: Store, wanted: Conditions, most: int) -> list[FedFile]:
    found = list[FedFile]()
    with slow_work("journal entries to look at", journal_length(store)) as work:
        for part in read_journal(store, wanted, is_newest_first=True):
            found += part.files
            if len(found) >= most:
                break
            work.add(part.looked_at)
    return found[:most][::-1]


def _text(files: Iterable[FedFile]) -> Iterator[bytes]:
    for file in files:
        yield "".join(f"{fitted(line)}\n" for line in lines_of(file)).encode()


def _json(files: Iterable[FedFile]) -> Iterator[bytes]:
    for file in files:
        yield json.dumps(object_of(file)).encode() + b"\n"


def _csv(files: Iterable[FedFile]) -> Iterator[bytes]:
    """Yield rows. The head comes with the first one."""
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(COLUMNS)
    for file in files:
        rows.writerow(row_of(file))
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()


def _for_terminal(data: bytes) -> bytes:
    """Return what programs get in a form that cannot act on a terminal; line ends stay."""
    return without_effect(data.decode("utf-8", "surrogateescape"), kept="\r\n").encode()


def _paths(presences: Presences, files: Iterable[FedFile]) -> Iterator[bytes]:
    """Yield the paths of the files that have not changed since they were fed."""
    for file in files:
        if (presence := presences.of(file)).state in READABLE:
            is_option = presence.path.startswith(b"-")  # for the program that xargs gives it to
            yield (b"./" if is_option else b"") + presence.path + b"\0"
