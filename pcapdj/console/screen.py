"""A progress bar over names that are looked at one by one, where a person watches.

Labelled lines on a terminal: aligned, coloured where the terminal has colours, wrapped, never markup.

Rich is loaded only here and only when something is shown.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pcapdj.console.status_lines import Line


@contextmanager
def progress() -> Iterator[Callable[[Sequence[bytes]], Iterable[bytes]]]:
    """Give what wraps the names in a progress bar on stderr; it goes when the work is done."""
    if not sys.stderr.isatty():
        yield iter
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        yield lambda names: bar.track(names, description="Looking at files")


if TYPE_CHECKING:
    from rich.table import Table


def show(title: str, lines: Sequence[Line]) -> None:
    """Print the lines below a title."""
    from rich.console import Console

    Console(highlight=False).print(_grid(title, lines))


def keep_showing(title: str, look: Callable[[], Sequence[Line]], every_s: float = 1.0) -> None:
    """Show what `look` returns, again and again in place, until Ctrl-C.

    Raises:
        Whatever `look` raises.
    """
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    with Live(_grid(title, look()), console=console, auto_refresh=False, transient=False) as live:
        while True:
            time.sleep(every_s)
            live.update(_grid(title, look()), refresh=True)


def _grid(title: str, lines: Sequence[Line]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.title = Text(title, style="bold")
    grid.title_justify = "left"
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for line in lines:
        grid.add_row(Text(line.label), Text(line.text, style=line.tone.value))
    return grid
