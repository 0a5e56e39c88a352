"""`pcapdj report`: the time line of captures before they are fed, or of what the journal has.

Of folders and files the captures are read whole, as they would be fed. Of the journal nothing is read but
the journal. Only files with something unusual are shown, unless `--all` is given.
"""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from pcapdj.capture.last_packet import last_packet_time_ns
from pcapdj.capture.opening import Capture, first_packet_time_ns, open_capture
from pcapdj.capture.pcap import Totals
from pcapdj.console.screen import Line, print_fitted, print_json, print_lines, progress_bar, show
from pcapdj.console.slow_work import slow_work
from pcapdj.inbox.listing import list_captures
from pcapdj.inbox.order import Order
from pcapdj.runtime.command import new_app
from pcapdj.runtime.errors import CannotCreate, CaptureError, ConfigError, PcapdjError
from pcapdj.runtime.numbers import whole_number
from pcapdj.runtime.safe_text import quoted, to_name, to_text
from pcapdj.runtime.units import human_duration, parse_duration, utc_text_ns
from pcapdj.runtime.whole_file import NewFile
from pcapdj.store.client import Store
from pcapdj.store.journal import Conditions, FedFile, journal_length, read_journal
from pcapdj.store.options import Lane, PasswordFile, RedisUrl, open_store
from pcapdj.trace.drawing import svg_of
from pcapdj.trace.time_range import Since, TimeOf, Times, Until, in_time_range
from pcapdj.trace.timeline import CaptureSpan, Remark, Timeline

_ROW: Final = "{:<27}  {:>12}  {:>11}  {}"
_MOST_SHOWN: Final = 1000  # files of the table that is not `--all`

app = new_app()


@app.command()
def report(  # noqa: PLR0913 - an option each
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH", help="capture files and folders; default: the files of the journal"),
    ] = None,
    *,
    recursive: Annotated[bool, typer.Option("--recursive", help="include folders inside folders")] = False,
    order: Annotated[Order | None, typer.Option(help="sort all files by their packets, or by name")] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="read only the first and last packets; show only gaps and overlaps"),
    ] = False,
    gap: Annotated[
        str,
        typer.Option(metavar="TIME", help="report a pause between files that is longer than this as a gap"),
    ] = "10s",
    since: Since = "",
    until: Until = "",
    times: Times = TimeOf.FED,
    stream: Annotated[
        str,
        typer.Option("--stream", help="only files of the journal that were fed into this stream"),
    ] = "",
    svg: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="draw the time line into a new file")
    ] = None,
    show_all: Annotated[bool, typer.Option("--all", help="show each file, not only unusual ones")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON lines, the sums last")] = False,
    redis_url: RedisUrl = "",
    redis_password_file: PasswordFile = None,
    lane: Lane = "",
) -> None:
    """Show gaps, overlaps, steps back and incomplete captures, of files or of the journal."""
    timeline = Timeline(int(parse_duration(gap, "--gap") * 10**9))
    if svg and os.path.lexists(svg):
        raise CannotCreate(f"{quoted(str(svg))} exists already.", hint="Name a new file.")
    if paths and (since or until or stream):
        raise ConfigError("--since, --until and --stream are about the journal: leave the paths out.")
    if not paths and (recursive or order or quick):
        raise ConfigError("--recursive, --order and --quick are about files: name them.")
    names = [os.path.abspath(to_name(path)) for path in paths or []]  # noqa: PTH100 - bytes

    if names:
        title = " ".join(map(quoted, names))
        spans = _of_files(names, recursive=recursive, order=order, is_quick=quick)
    else:
        title = f"the journal of lane {quoted(lane)}" if lane else "the journal"
        store = open_store(redis_url, redis_password_file, lane)
        wanted = in_time_range(Conditions(stream=stream), since, until, times)
        spans = _of_journal(store, wanted)
    _print(timeline, spans, show_all=show_all, as_json=as_json)
    if svg:
        _draw(svg, timeline, title)


def _of_files(
    names: Sequence[bytes], *, recursive: bool, order: Order | None, is_quick: bool
) -> Iterator[CaptureSpan]:
    """Yield the captures of paths, in the order in which they are fed, then those that cannot be fed."""
    with progress_bar() as track:
        listing = list_captures(names, recursive=recursive, order=order, track=track)
    with slow_work("files to read", len(listing.files), few=0) as work:
        for file in listing.files:
            span = _span_of(file.name, is_quick=is_quick)
            work.clear()
            yield span
            work.add(1)
    for refusal in listing.faults:
        yield CaptureSpan(refusal.name, None, None, failure=refusal.reason)


def _span_of(name: bytes, *, is_quick: bool) -> CaptureSpan:
    totals, failure = Totals(), ""
    try:
        with open_capture(name, refuse_written=False) as capture:
            if is_quick:
                return _quick_span(capture)
            for piece in capture.pieces(capture.native) if capture.native else ():
                totals += piece.totals
    except CaptureError as exc:
        failure = str(exc)
    ends = [each for each in (totals.first_ts_ns, totals.last_ts_ns) if each is not None]
    spare_ns = totals.largest_step_back_ns if totals.steps_back else 0
    return CaptureSpan(
        name,
        min(ends) - spare_ns if ends else None,
        max(ends) + spare_ns if ends else None,
        totals.packets,
        totals.cap_lengths_bytes,
        totals.lengths_bytes,
        totals.steps_back,
        totals.largest_step_back_ns,
        failure,
    )


def _quick_span(capture: Capture) -> CaptureSpan:
    first_ns = first_packet_time_ns(capture)
    last_ns = None if first_ns is None else last_packet_time_ns(capture.file, first_ns)
    return CaptureSpan(capture.name, first_ns, first_ns if last_ns is None else last_ns)


def _of_journal(store: Store, wanted: Conditions) -> Iterator[CaptureSpan]:
    with slow_work("journal entries to look at", journal_length(store)) as work:
        for part in read_journal(store, wanted):
            work.clear()
            yield from (_fed_span(file) for file in part.files if file.packets or file.reason)
            sys.stdout.flush()
            work.add(part.looked_at)


def _fed_span(file: FedFile) -> CaptureSpan:
    first_ns, last_ns = file.span_ns or (None, None)
    return CaptureSpan(
        file.name,
        first_ns,
        last_ns,
        file.packets,
        file.cap_lengths,
        file.lengths,
        whole_number(file.fields.get("steps_back", "")) or 0,
        file.largest_step_back_ns,
        file.reason,
    )


def _print(timeline: Timeline, spans: Iterable[CaptureSpan], *, show_all: bool, as_json: bool) -> None:
    """Add all files to the time line; show each, or what is unusual, and the sums."""
    added = ((span, timeline.add(span)) for span in spans)
    chosen = ((span, remarks) for span, remarks in added if show_all or remarks)
    if as_json:
        for span, remarks in chosen:
            print_json(_object(span, remarks))
        if timeline.files:
            print_json({"summary": timeline.summary()})
    else:
        _print_table(chosen, most=None if show_all else _MOST_SHOWN)
        show("", [Line(label, text) for label, text in timeline.lines()])
    if not timeline.files:
        raise PcapdjError("There are no captures.")


def _print_table(files: Iterable[tuple[CaptureSpan, Sequence[Remark]]], *, most: int | None) -> None:
    """Print a line for each file, and below it what is unusual."""
    count = 0
    for count, (span, remarks) in enumerate(files, 1):
        if count == 1:
            print_lines(_ROW.format("first packet", "lasts", "packets", "file"))
        if most is None or count <= most:
            for line in [_row(span), *(f"    {each.sentence}" for each in remarks)]:
                print_fitted(line)
    if count:
        print_lines(*([f"and {count - most:,} more: --all"] if most and count > most else []), "")


def _row(span: CaptureSpan) -> str:
    first = lasts = ""
    if span.first_ns is not None and span.last_ns is not None:
        first, lasts = utc_text_ns(span.first_ns), human_duration(span.last_ns - span.first_ns)
    return _ROW.format(first, lasts, f"{span.packets:,}" if span.packets else "", quoted(span.name))


def _object(span: CaptureSpan, remarks: Sequence[Remark]) -> dict[str, object]:
    return {
        "name": to_text(span.name),
        "first_ns": span.first_ns,
        "last_ns": span.last_ns,
        "packets": span.packets,
        "cap_lengths": span.cap_lengths,
        "lengths": span.lengths,
        "remarks": [
            {"kind": each.kind.value, "amount": each.amount, "sentence": each.sentence} for each in remarks
        ],
    }


def _draw(path: Path, timeline: Timeline, title: str) -> None:
    """Write the drawing.

    Raises:
        PcapdjError: no file has packets on the time line.
        CannotCreate: the file cannot be written.
    """
    if timeline.first_ns is None:
        raise PcapdjError("No capture has packets on the time line: there is nothing to draw.")
    try:
        with NewFile(path) as new:
            new.file.writelines(
                line.encode("utf-8", "replace") for line in svg_of(timeline, f"Time line of {title}")
            )
            new.keep()
    except OSError as exc:
        raise CannotCreate(f"{quoted(str(path))} cannot be written: {exc.strerror}.") from exc
