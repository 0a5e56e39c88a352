"""A progress bar over names that are looked at one by one, where a person watches."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager


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
