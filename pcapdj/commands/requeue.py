"""`pcapdj requeue`: queues processed or failed files again: by name, of a stream, or of a time range.

A time range is shown first: which files, and how many streams they were in. Packets of another time are not
mixed into an open stream unless that is wanted.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer

from pcapdj.capture.roots import Roots
from pcapdj.console.screen import print_lines
from pcapdj.console.slow_work import slow_work
from pcapdj.runtime.command import new_app
from pcapdj.runtime.errors import ConfigError, PcapdjError
from pcapdj.runtime.numbers import counted
from pcapdj.runtime.safe_text import command_about, quoted, shell_path, to_name
from pcapdj.runtime.units import human_size, utc_text_ns
from pcapdj.store import operate
from pcapdj.store.bounded import read_list
from pcapdj.store.client import Store
from pcapdj.store.failures import all_failures, failures_length
from pcapdj.store.journal import Conditions, journal_length
from pcapdj.store.name_search import find_names
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store
from pcapdj.store.reclaims import reclaimed
from pcapdj.trace.presence import reading_roots
from pcapdj.trace.second_look import (
    SecondLook,
    StreamInUse,
    look_again,
    mixes_times,
    open_stream,
    run_command,
)
from pcapdj.trace.time_range import Since, TimeOf, Times, Until, in_time_range

_AT_ONCE: Final = 100
_MOST_NAMED: Final = 10

app = new_app()


@app.command()
def requeue(  # noqa: PLR0913 - an option each
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="the names under which the files were fed, or the last parts of names", metavar="NAME"
        ),
    ] = None,
    *,
    stream: Annotated[
        str,
        typer.Option(
            "--stream", help="all processed files of this stream, for example after its analyzer died"
        ),
    ] = "",
    since: Since = "",
    until: Until = "",
    times: Times = TimeOf.PACKETS,
    yes: Annotated[
        bool, typer.Option("--yes", help="with --since or --until: queue the files; else they are only shown")
    ] = False,
    into_open_stream: Annotated[
        bool, typer.Option("--into-open-stream", help="allow packets of another time in the open stream")
    ] = False,
    roots: Roots = None,
    redis_url: RedisUrl = "",
    redis_password_file: PasswordFile = None,
    lane: Lane = "",
) -> None:
    """Queue processed or failed files again, at the end of the queue."""
    has_range = bool(since or until)
    if bool(names) + bool(stream) + has_range != 1:
        raise ConfigError("Name either files, a stream with --stream, or a time range with --since, --until.")
    if (yes or into_open_stream) and not has_range:
        raise ConfigError("--yes and --into-open-stream belong to --since and --until.")
    store = open_store(redis_url, redis_password_file, lane)
    if has_range:
        wanted = in_time_range(Conditions(), since, until, times)
        look = partial(_look, store, wanted, reading_roots(roots))
        command = run_command(since, until, times.value, store.keys.lane, [*map(str, roots or ())])
        finish = command_about(store.keys.lane, "finish")
        hint = f"End it first with '{finish}', use --into-open-stream, or feed them by themselves: {command}"
        _look_again(look, open_stream(store), hint, queues=yes, mixes=into_open_stream)
        return
    if stream:
        _requeue_stream(store, stream)
    else:
        _requeue_names(store, [to_name(name) for name in names or []])


def _requeue_names(store: Store, names: Sequence[bytes]) -> None:
    gone = list[str]()  # where files went that were reclaimed
    missing = _requeue_endings(store, [name for name in names if not _requeue(store, name, gone)], gone)
    print_lines(f"{len(names) - len(missing) - len(gone)} of {len(names)} queued again.")
    if missing:
        names_shown = ", ".join(quoted(name) for name in missing)
        gone.append(f"Not among the processed or failed files: {names_shown}.")
    _refuse(gone)


def _requeue_stream(store: Store, stream: str) -> None:
    gone, moved = list[str](), 0
    with slow_work("processed files to look at", operate.processed_length(store)) as work:
        for names in operate.processed_in(store, stream, work.add):
            for start in range(0, len(names), _AT_ONCE):
                some = names[start : start + _AT_ONCE]
                sentences = {name: _where_it_went(store, name) for name in some}
                gone += filter(None, sentences.values())
                moved += operate.requeue_all(store, [name for name in some if not sentences[name]])
                work.add(0)
    if not moved and not gone:
        raise PcapdjError(f"No processed file was last fed into stream {quoted(stream)}.")
    print_lines(f"{moved} of {moved + len(gone)} queued again.")
    operate.forget_suspect(store, stream)
    _refuse(gone)


def _refuse(sentences: Sequence[str]) -> None:
    """Fail with the reasons why files could not be queued, if there are any."""
    if sentences:
        more = [f"And {len(sentences) - _MOST_NAMED:,} more."] if len(sentences) > _MOST_NAMED else []
        raise PcapdjError(" ".join([*sentences[-_MOST_NAMED:], *more]))


def _requeue(store: Store, name: bytes, gone: list[str]) -> bool:
    """Queue the file again by its name as given, else by its absolute path.

    Args:
        store: the lane.
        name: of the file.
        gone: gets where it went, if it was reclaimed: it cannot be fed from there under this name.
    """
    names = dict.fromkeys([name, os.path.abspath(name)])  # noqa: PTH100 - of bytes
    for each in names:
        if sentence := _where_it_went(store, each):
            gone.append(sentence)
            return True
        if operate.requeue(store, each):
            return True
    return False


def _where_it_went(store: Store, name: bytes) -> str:
    """Return what became of a file that was reclaimed, and what feeds it again; empty: it was not."""
    if os.path.lexists(name) or (record := reclaimed(store, name)) is None:
        return ""
    to = str(record.get("to") or "")
    if not to:
        return f"{quoted(name)} was removed to make room."
    how = "compressed" if record.get("how") == "compressed" else "moved"
    command = f"{command_about(store.keys.lane, 'import', '--again')} {shell_path(Path(to))}"
    return f"{quoted(name)} was {how} to {quoted(to)} to make room: {command}"


def _requeue_endings(store: Store, words: Sequence[bytes], gone: list[str]) -> list[bytes]:
    """Queue the files again of whose names these words are the last parts; return the words of no file.

    Raises:
        PcapdjError: a word stands for several names.
    """

    def pages() -> Iterator[Sequence[bytes]]:
        total = operate.processed_length(store) + failures_length(store)
        with slow_work("processed and failed files to look at", total) as work:
            for names in read_list(store, store.keys.processed):
                yield names
                work.add(len(names))
            for failure in all_failures(store, work.add):
                yield [failure.name] if failure.name else []

    missing = []
    for word in words:
        try:
            found = find_names([word], lambda _: (), pages, "among the processed or failed files")
        except PcapdjError as exc:
            if exc.hint:  # it is not unique
                raise
            found = None
        if found is None or not _requeue(store, found.names[0], gone):
            missing.append(word)
    return missing


def _look(store: Store, wanted: Conditions, roots: Sequence[bytes], *, queues: bool) -> SecondLook:
    with slow_work("journal entries to look at", journal_length(store)) as work:
        return look_again(store, wanted, roots, queues=queues, track=work.add)


def _look_again(
    look: Callable[..., SecondLook],
    stream: StreamInUse | None,
    hint: str,
    *,
    queues: bool,
    mixes: bool,
) -> None:
    """Show which files of a time range would be queued again; queue them, if that is wanted.

    Args:
        look: looks which these are, with `queues`.
        stream: that is open; None: none is.
        hint: what to do if they do not fit into it.
        queues: queue them.
        mixes: also into a stream whose packets are of another time.
    """
    found = look(queues=False)
    if not found.files:
        left_out = "".join(f" {each}" for each in _left_out(found, ""))
        raise PcapdjError(f"No file of that time can be fed again.{left_out}")
    if not queues:
        _show(found)
    if stream and not mixes and mixes_times(found, stream):
        sentence = f"Stream {stream.id} is open: packets of another time would be mixed into it."
        if queues:
            raise PcapdjError(sentence, hint=hint)
        print_lines(f"{sentence} {hint}")
    if not queues:
        print_lines("Nothing was queued: add --yes to queue them.")
        return
    done = look(queues=True)
    print_lines(f"{done.queued:,} of {done.files:,} queued again.")
    if done.queued < done.files:
        raise PcapdjError(
            f"{done.files - done.queued:,} are not in PCAPDJ_PROCESSED or PCAPDJ_FAILED any more."
        )


def _show(found: SecondLook) -> None:
    for file in found.named:
        size = "" if file.size_bytes is None else human_size(file.size_bytes)
        print_lines(f"{size:>10}  {quoted(file.name)}")
    if (more := found.files - len(found.named)) > 0:
        print_lines(f"and {more:,} more")
    streams = counted(len(found.streams), "stream")
    files = counted(found.files, "file")
    times = ""
    if found.first_ns is not None and found.last_ns is not None:
        times = f", packets from {utc_text_ns(found.first_ns)} to {utc_text_ns(found.last_ns)}"
    print_lines(f"{files}, {human_size(found.size_bytes)}, from {streams}{times}.")
    for sentence in _left_out(found, " more"):
        print_lines(sentence)


def _left_out(found: SecondLook, more: str) -> Iterator[str]:
    """Yield how many files cannot be fed again, and why."""
    if found.gone:
        yield f"{found.gone:,}{more} changed since they were fed, or are missing."
    if found.outside:
        yield f"{found.outside:,}{more} are outside of the roots, or behind a link."
