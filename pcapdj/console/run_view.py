"""What a person sees while `pcapdj run` works: a progress bar on a terminal, a line per file elsewhere."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

from pcapdj.runtime.log import printable_sentence
from pcapdj.runtime.names import printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_NAME_WIDTH: Final = 40  # characters of a file's name beside the bar


class View(Protocol):
    """Where a run shows how far it is."""

    def progress(self, done_bytes: int, name: str, hold: str) -> None:
        """Show how much of all files' bytes is fed, which file is being fed, and why nothing moves."""

    def finished(self, name: str, packets: int, reason: str) -> None:
        """Say that a file is done with; the reason is why it failed, else empty."""


@contextmanager
def view(total_bytes: int) -> Iterator[View]:
    """Yield the view that fits stderr, for files of so many bytes together."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield _Bar(progress, progress.add_task("starting", total=total_bytes))


class _Bar:
    def __init__(self, progress: "Progress", task: "TaskID") -> None:
        self._progress = progress
        self._task = task

    def progress(self, done_bytes: int, name: str, hold: str) -> None:
        shown = hold or printable(name.rpartition("/")[2])[-_NAME_WIDTH:] or "finishing"
        self._progress.update(self._task, completed=done_bytes, description=shown)

    def finished(self, name: str, packets: int, reason: str) -> None:
        if reason:
            self._progress.console.print(_line(name, packets, reason), markup=False, highlight=False)


class _Lines:
    def __init__(self) -> None:
        self._hold = ""

    def progress(self, done_bytes: int, name: str, hold: str) -> None:  # noqa: ARG002 - only bars move
        if hold != self._hold:
            self._hold = hold
            _print(hold or "going on")

    def finished(self, name: str, packets: int, reason: str) -> None:
        _print(_line(name, packets, reason))


def hold_of(board: Mapping[str, Any]) -> str:
    """Return why nothing is being fed now, from a lane's board; empty if nothing holds it."""
    gate, consumer = board.get("gate") or {}, board.get("consumer") or {}
    others = [str(member) for member in board.get("suspended") or () if member != "gate"]
    if others:
        return f"suspended by {', '.join(others)}"
    if gate.get("state") not in (None, "open"):
        return printable_sentence(f"the gate holds: {gate.get('reason', '')}")
    if consumer.get("state") in ("starting", "failing", "flushing"):
        reason = consumer.get("reason")
        return printable_sentence(f"the analyzer is {consumer['state']}" + (f": {reason}" if reason else ""))
    return ""


def _line(name: str, packets: int, reason: str) -> str:
    return f"{printable(name)}: {'failed: ' + printable_sentence(reason) if reason else f'{packets} packets'}"


def _print(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
