"""The report on a terminal; apart, because rich takes longer to load than a small capture to read."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pcapdj.summary.results import HttpObject, Totals
from pcapdj.summary.table import OBJECT_COLUMNS, more_line, object_rows, total_rows


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
