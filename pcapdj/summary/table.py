"""The analyzer's report for people: the summary and the first HTTP objects, as text or as a table.

Host, URI and content type come from the network: control characters in them are escaped. Imported only at the
end, because rich takes longer to load than a small capture takes to read.
"""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pcapdj.runtime.numbers import counted
from pcapdj.runtime.safe_text import printable
from pcapdj.runtime.streams import environment_of_terminal
from pcapdj.runtime.units import human_size
from pcapdj.summary.results import OBJECTS_NAME, HttpObject, StreamSummary

SHOWN_OBJECTS = 20  # one screen; the file has all
SHOWN_URI_CHARS = 60
OBJECT_COLUMNS = ("status", "size", "complete", "sha256", "what")


def summary_rows(summary: StreamSummary) -> list[tuple[str, str]]:
    """Return (label, value) for each line above the objects."""
    captured, original = human_size(summary.captured_bytes), human_size(summary.original_bytes)
    unread = counted(summary.unread_connections, "connection")
    rows = [
        ("packets", f"{summary.packets:,} ({captured} captured, {original} on the wire)"),
        ("flows", f"{summary.flows:,}"),
        ("HTTP objects", f"{summary.objects:,} ({summary.complete_objects:,} complete)"),
        *([("not read", f"{unread} with too many small messages")] if summary.unread_connections else []),
        ("not IP", f"{summary.other_packets:,}"),
        ("fragments", f"{summary.fragments:,}"),
        ("undecodable", f"{summary.undecodable_packets:,}"),
    ]
    if summary.first_time:
        rows.append(("time", f"{summary.first_time} to {summary.last_time}"))
    return [*rows, ("stream", f"{summary.ended}: {summary.error}" if summary.error else str(summary.ended))]


def object_rows(objects: Sequence[HttpObject]) -> list[tuple[str, ...]]:
    """Return the cells below `OBJECT_COLUMNS` for each object."""
    return [
        (
            str(each.status),
            human_size(each.size_bytes),
            "yes" if each.complete else "no",
            each.sha256,
            _what(each),
        )
        for each in objects
    ]


def as_text(summary: StreamSummary, objects: Sequence[HttpObject]) -> str:
    """Return the report, with the first objects, as plain text."""
    parts = [_columns(summary_rows(summary))]
    if objects:
        parts.append(_columns([OBJECT_COLUMNS, *object_rows(objects)]))
    return "\n".join([*parts, *more_line(summary, objects)])


def more_line(summary: StreamSummary, objects: Sequence[HttpObject]) -> list[str]:
    """Return the line about objects that are not shown; none if all are."""
    hidden = summary.objects - len(objects)
    return [f"and {hidden:,} more in {OBJECTS_NAME}\n"] if hidden > 0 else []


def _what(each: HttpObject) -> str:
    name = printable(f"{each.host or each.server}{each.uri or ''}")
    shown = name if len(name) <= SHOWN_URI_CHARS else name[: SHOWN_URI_CHARS - 1] + "…"
    return shown if each.complete else f"{shown} ({printable(each.reason)})"


def _columns(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def show(summary: StreamSummary, objects: Sequence[HttpObject]) -> None:
    """Print the summary and the objects as tables; cells are texts, never markup."""
    console = Console(_environ=environment_of_terminal())
    overview = Table(show_header=False, box=None)
    for row in summary_rows(summary):
        overview.add_row(*map(Text, row))
    console.print(overview)
    if objects:
        details = Table(*OBJECT_COLUMNS)
        for cells in object_rows(objects):
            details.add_row(*map(Text, cells))
        console.print(details)
    for line in more_line(summary, objects):
        console.print(Text(line.rstrip()))
