"""The analyzer's last word, for people: the totals, and the first HTTP objects. Text only; no output here.

Host, URI and content type come from the network: whatever could act on a terminal is escaped.

The report on a terminal; apart, because rich takes longer to load than a small capture to read.
"""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pcapdj.runtime.safe_text import printable
from pcapdj.runtime.units import human_size
from pcapdj.summary.report import OBJECTS_NAME
from pcapdj.summary.results import HttpObject, Totals

SHOWN_OBJECTS = 20  # one screen; the file has them all
SHOWN_URI = 60  # characters
OBJECT_COLUMNS = ("status", "size", "whole", "sha256", "what")


def total_rows(totals: Totals) -> list[tuple[str, str]]:
    """Return (what, how much) for each line above the objects."""
    captured, original = human_size(totals.captured_bytes), human_size(totals.original_bytes)
    rows = [
        ("packets", f"{totals.packets:,} ({captured} captured, {original} on the wire)"),
        ("flows", f"{totals.flows:,}"),
        ("HTTP objects", f"{totals.objects:,} ({totals.complete_objects:,} whole)"),
        ("not IP", f"{totals.other_packets:,}"),
        ("fragments", f"{totals.fragments:,}"),
        ("undecodable", f"{totals.undecodable_packets:,}"),
    ]
    if totals.first_time:
        rows.append(("time", f"{totals.first_time} to {totals.last_time}"))
    return [*rows, ("stream", f"{totals.ended}: {totals.error}" if totals.error else str(totals.ended))]


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


def as_text(totals: Totals, objects: Sequence[HttpObject]) -> str:
    """Return the report as plain text.

    Args:
        totals: of the whole stream.
        objects: the first ones, at most `SHOWN_OBJECTS`.
    """
    parts = [_columns(total_rows(totals))]
    if objects:
        parts.append(_columns([OBJECT_COLUMNS, *object_rows(objects)]))
    return "\n".join([*parts, *more_line(totals, objects)])


def more_line(totals: Totals, objects: Sequence[HttpObject]) -> list[str]:
    """Return the line that names what is not shown; none if all is."""
    hidden = totals.objects - len(objects)
    return [f"and {hidden:,} more in {OBJECTS_NAME}\n"] if hidden > 0 else []


def _what(each: HttpObject) -> str:
    name = printable(f"{each.host or each.server}{each.uri or ''}")
    shown = name if len(name) <= SHOWN_URI else name[: SHOWN_URI - 1] + "…"
    return shown if each.complete else f"{shown} ({printable(each.reason)})"


def _columns(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def show(totals: Totals, objects: Sequence[HttpObject]) -> None:
    """Print totals and objects; cells are texts, never markup."""
    console = Console()
    overview = Table(show_header=False, box=None)
    for row in total_rows(totals):
        overview.add_row(*map(Text, row))
    console.print(overview)
    if objects:
        details = Table(*OBJECT_COLUMNS)
        for cells in object_rows(objects):
            details.add_row(*map(Text, cells))
        console.print(details)
    for line in more_line(totals, objects):
        console.print(Text(line.rstrip()))
