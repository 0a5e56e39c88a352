"""What commands show: labelled lines, and a progress bar over files.

The lines are aligned. A terminal wraps and colours them; without a terminal each line stays whole. Their text
is never read as markup, and no character of it acts on a terminal, wherever it comes from. rich is imported
only for a terminal: it takes a tenth of a second.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from enum import Enum
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final, TextIO

from pcapdj.console.folding import broken, folded
from pcapdj.runtime.safe_text import printable_sentence
from pcapdj.runtime.streams import discard, environment_of_terminal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


_AS_TERMINAL: Final = frozenset(
    {"FORCE_COLOR", "TTY_COMPATIBLE"}
)  # with these rich may write colours into a pipe


_LINE_LIMIT_CHARS: Final = 16_000  # a sentence, and the fields of an event after it
_LEAST_TEXT_COLUMNS: Final = 10  # beside the labels; rich leaves out what has no column
_LABEL_GAP: Final = 2
_BAR_EVERY_S: Final = 0.1


class Tone(Enum):
    """How much a line matters; the value is its colour."""

    PLAIN = ""
    GOOD = "green"
    ATTENTION = "yellow"
    BAD = "red"


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its label (empty: it belongs to the line above), its text, its tone."""

    label: str
    text: str
    tone: Tone = Tone.PLAIN


@contextmanager
def keep_going_if_closed(stream: TextIO) -> Iterator[None]:
    """Write to the stream in this block; the command goes on if its reader is gone, or its disk is full.

    From then on what is written to it is lost.
    """
    try:
        yield
        stream.flush()
    except OSError:
        discard(stream)


class ClosableStream:
    """A stream for rich, whose thread writes to it too; the terminal may close meanwhile."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write the text, or lose it."""
        with keep_going_if_closed(self._stream):
            self._stream.write(text)

    def flush(self) -> None:
        """Do nothing: each write flushes."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def show(title: str, lines: Sequence[Line]) -> None:
    """Print the lines below a title, if there is one; without a terminal, nothing is wrapped."""
    if sys.stdout.isatty() or os.environ.keys() & _AS_TERMINAL:
        from rich.console import Console

        if (console := Console(_environ=environment_of_terminal())).is_terminal:
            for each in _screen(title, lines, console.width):
                console.print(each, soft_wrap=True)
            return
    print_lines(*([title] if title else []), *_whole_lines(lines))


def show_as_known(title: str, parts: Iterable[Iterable[Line]], label_chars: int) -> None:
    """Print parts of one screen, each once it is known, with the texts of all of them in one column.

    Args:
        title: above the first line.
        parts: some may have no line.
        label_chars: the length of the longest label.
    """
    for part in parts:
        if lines := [replace(line, label=line.label.ljust(label_chars)) for line in part]:
            show(title, lines)
            title = ""


def print_lines(*lines: str, to_stderr: bool = False) -> None:
    """Print an answer for people; no character of a line acts on a terminal, and none adds a line."""
    _print("\n".join(map(_shown, lines)), to_stderr=to_stderr)


def print_fitted(line: str, *, to_stderr: bool = False) -> None:
    """Print a line as `print_lines` does; on a terminal in parts that fit, each on a line of its own."""
    _print(fitted(_shown(line), to_stderr=to_stderr), to_stderr=to_stderr)


def print_json(value: object, *, to_stderr: bool = False) -> None:
    """Print a value for programs, on one line of ASCII."""
    _print(json.dumps(value), to_stderr=to_stderr)


def print_json_with(
    name: str, items: Iterable[object], value: Mapping[str, object], *, to_stderr: bool = False
) -> None:
    """Print an object as `print_json` does, and as its last member a list of any length, item by item."""
    file = sys.stderr if to_stderr else sys.stdout
    file.write(f"{json.dumps(value)[:-1]}, {json.dumps(name)}: [")
    for number, item in enumerate(items):
        file.write(f"{', ' if number else ''}{json.dumps(item)}")
    _print("]}", to_stderr=to_stderr)


def _shown(line: str) -> str:
    return printable_sentence(line, limit_chars=_LINE_LIMIT_CHARS)


def _print(text: str, *, to_stderr: bool, end: str = "\n") -> None:
    """Print at once: a reader behind a pipe sees each answer when it is there."""
    print(text, end=end, file=sys.stderr if to_stderr else sys.stdout, flush=True)


def keep_showing(
    read_title: Callable[[], str], read_lines: Callable[[], Sequence[Line]], every_s: float = 1.0
) -> None:
    """Show the lines in place, read again every second, until Ctrl-C.

    Without a terminal, print them again every second, with an empty line between.

    Raises:
        Whatever `read_lines` raises.
    """
    from rich.console import Console

    console = Console(_environ=environment_of_terminal())
    while not console.is_terminal or console.is_dumb_terminal:
        show(read_title(), read_lines())
        print_lines("")
        time.sleep(every_s)
    shown_rows = 0
    console.show_cursor(False)
    try:
        while True:
            shown_rows = _show_in_place(console, read_title(), read_lines(), shown_rows)
            time.sleep(every_s)
    finally:
        console.show_cursor()


def _show_in_place(console: "Console", title: str, lines: Sequence[Line], rows_before: int) -> int:
    """Print a screen over the one before; return how many rows of the terminal it has.

    Args:
        console: the terminal.
        title: as `show`.
        lines: as `show`; those for which the terminal has no row are left out, with a sign.
        rows_before: that the screen before has.
    """
    rows = 0
    with console.capture() as capture:
        for each in _screen(title, lines, console.width):
            needed = max(1, -(-each.cell_len // console.width))
            if rows + needed > console.height - 2:
                console.print("...")
                rows += 1
                break
            console.print(each, soft_wrap=True)
            rows += needed
    up = f"\x1b[{rows_before}A" if rows_before else ""
    _print(f"{up}\r\x1b[J{capture.get()}", to_stderr=False, end="")
    return rows


def shows_blocks() -> bool:
    """Report whether stdout is a terminal that can show block elements, as its encoding has them."""
    return sys.stdout.isatty() and sys.stdout.encoding.lower().replace("-", "") == "utf8"


def fitted(line: str, *, to_stderr: bool = False) -> str:
    """Return the line as stdout or stderr takes it: on a terminal in parts that fit, each on a line."""
    stream = sys.stderr if to_stderr else sys.stdout
    if not stream.isatty():
        return line
    return "\n".join(folded(line, _columns_of(stream)))


def _columns_of(stream: TextIO) -> int:
    """Return the columns of stdout's terminal, else of this stream's: COLUMNS comes first."""
    fallback = (80, 24)
    with suppress(OSError):  # the terminal was closed
        fallback = os.get_terminal_size(stream.fileno())
    return shutil.get_terminal_size(fallback).columns


@contextmanager
def progress_bar() -> Iterator[Callable[[Sequence[bytes]], Iterable[bytes]]]:
    """Yield a function that returns an iterable of names; on a terminal a bar on stderr follows them.

    The bar disappears at the end of the block.
    """
    if not sys.stderr.isatty():
        yield iter
        return
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True, _environ=environment_of_terminal())
    # no thread of rich: on a stopped terminal (Ctrl-S) it would wait for a key, and the end for the thread
    with Progress(console=console, transient=True, auto_refresh=False) as bar:

        def track(names: Sequence[bytes]) -> Iterator[bytes]:
            task, shown_s = bar.add_task("Looking at files", total=len(names)), 0.0
            for name in names:
                yield name
                bar.advance(task)
                if (now_s := time.monotonic()) - shown_s > _BAR_EVERY_S:
                    shown_s = now_s
                    bar.refresh()

        yield track


def _whole_lines(lines: Sequence[Line]) -> list[str]:
    width = max((len(line.label) for line in lines), default=0)
    return [f"{line.label:{width}}  {printable_sentence(line.text)}".rstrip() for line in lines]


def _screen(title: str, lines: Sequence[Line], columns: int) -> "list[Text]":
    """Return the lines of a terminal: texts beside their labels, or whole where there is no room for that.

    A line that cannot be broken is longer than the terminal, which breaks it; copied, it is one line.
    """
    from rich.text import Text

    shown = [Text(printable_sentence(title), style="bold")] if title else []
    width = max((len(line.label) for line in lines), default=0) + _LABEL_GAP
    if columns < width + _LEAST_TEXT_COLUMNS:
        return [*shown, *map(Text, map(_shown, _whole_lines(lines)))]
    for line in lines:
        parts = broken(printable_sentence(line.text), columns - width)
        for label, part in zip_longest([printable_sentence(line.label)], parts, fillvalue=""):
            shown.append(Text.assemble((label.ljust(width), "bold"), (part, line.tone.value)))
    return shown
