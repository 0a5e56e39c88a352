"""What a person sees while `pcapdj run` works: a progress bar on a terminal, a line per file elsewhere."""

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from pcapdj.console.status_lines import without_exact_bytes
from pcapdj.runtime.safe_text import printable, printable_sentence
from pcapdj.runtime.units import human_size

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_BESIDE_NAME: Final = 62  # columns for a short bar, the sizes, the rate and the time left
_NAME_WIDTHS: Final = (16, 48)  # the least and the most for what is being fed
_NUMBERS: Final = re.compile(r"\d+(?:\.\d+)?(?: [KMGTP]?i?B)?")
_NUMBERED: Final = re.compile(r"\S*\d\S*")


@dataclass(frozen=True, slots=True)
class Hold:
    """Why nothing is being fed.

    Args:
        word: a few of them, beside the bar.
        sentence: the reason, where the words do not say it all.
        is_failure: of the analyzer, which is started again in a moment, and may fail again.
    """

    word: str
    sentence: str = ""
    is_failure: bool = False

    @property
    def gist(self) -> str:
        """The reason without what changes all the time: its numbers; of a failure every word that has one."""
        return (_NUMBERED if self.is_failure else _NUMBERS).sub("", self.sentence)


class News:
    """Decides when a reason is said: as it begins; a failure again only after a file got through.

    Args:
        over: what is said when nothing holds it any more.
    """

    def __init__(self, over: str = "") -> None:
        self._over = over
        self._gist = ""
        self._is_failure = False
        self._failures: set[str] = set()

    def of(self, hold: Hold | None) -> str:
        """Return what to say now; empty: nothing."""
        gist = hold.gist if hold else ""
        if gist == self._gist:
            return ""
        was_failure, self._gist = self._is_failure, gist
        self._is_failure = bool(hold and hold.is_failure)
        if hold is None or not gist:
            return "" if was_failure else self._over
        if not hold.is_failure:
            return hold.sentence
        is_known = gist in self._failures
        self._failures.add(gist)
        return "" if is_known else hold.sentence

    def file_fed(self) -> None:
        """Take note that a file got through."""
        self._failures.clear()


class View(Protocol):
    """Where a run shows how far it is."""

    def progress(self, done_bytes: int, name: str, hold: Hold | None) -> None:
        """Show how much of all files' bytes is fed, which file is being fed, and why nothing moves."""

    def finished(self, name: str, packets: int, reason: str) -> None:
        """Say that a file is done with; the reason is why it failed, else empty."""


@contextmanager
def view(total_bytes: int, total_files: int) -> Iterator[View]:
    """Yield the view that fits stderr, for so many files of so many bytes together."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    whole = Column(no_wrap=True)
    columns = (
        TextColumn("{task.description}", markup=False, table_column=whole),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[sizes]}", markup=False, table_column=whole),
        TextColumn("{task.fields[rate]}", markup=False, table_column=whole),
        TimeRemainingColumn(table_column=whole),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, expand=True) as progress:
        yield _Bar(progress, progress.add_task("starting", total=total_bytes, sizes="", rate=""), total_files)


class _Bar:
    def __init__(self, progress: "Progress", task: "TaskID", total_files: int) -> None:
        self._progress = progress
        self._task = task
        self._total_files = total_files
        self._files = 0
        self._news = News()

    def progress(self, done_bytes: int, name: str, hold: Hold | None) -> None:
        task = next(each for each in self._progress.tasks if each.id == self._task)
        if said := self._news.of(hold):
            self._print(said, "yellow")
        self._progress.update(
            self._task,
            completed=done_bytes,
            description=hold.word if hold else self._at(name),
            sizes=f"{human_size(done_bytes)} of {human_size(task.total or 0)}",
            rate=f"{human_size(task.speed)}/s" if task.speed and not hold else "",
        )

    def finished(self, name: str, packets: int, reason: str) -> None:
        self._files += 1
        if reason:
            self._print(_line(name, packets, reason), "red")
        else:
            self._news.file_fed()

    def _at(self, name: str) -> str:
        if not name and self._files in (0, self._total_files):
            return "finishing" if self._files else "starting"
        least, most = _NAME_WIDTHS
        width = min(most, max(least, self._progress.console.width - _BESIDE_NAME))
        return shortened(f"{self._files + 1}/{self._total_files} ", name.rpartition("/")[2], width)

    def _print(self, line: str, style: str) -> None:
        self._progress.console.print(line, style=style, markup=False, highlight=False)


class _Lines:
    def __init__(self) -> None:
        self._news = News(over="going on")

    def progress(self, done_bytes: int, name: str, hold: Hold | None) -> None:  # noqa: ARG002 - only bars move
        if said := self._news.of(hold):
            _print(said)

    def finished(self, name: str, packets: int, reason: str) -> None:
        if not reason:
            self._news.file_fed()
        _print(_line(name, packets, reason))


def hold_of(board: Mapping[str, Any]) -> Hold | None:
    """Return why nothing is being fed now, from a lane's board; None if nothing holds it.

    A run has no operator: who suspends in that name is the dispatcher, because the analyzer fails.
    """
    gate, consumer = board.get("gate") or {}, board.get("consumer") or {}
    is_failing = consumer.get("state") == "failing"
    known = ("gate", "operator") if is_failing else ("gate",)
    others = [printable(str(member)) for member in board.get("suspended") or () if member not in known]
    if others:
        return Hold("suspended", f"suspended by {', '.join(others)}")
    if gate.get("state") not in (None, "open"):
        return Hold("the gate holds", _sentence("the gate holds", gate))
    if is_failing:
        return Hold("the analyzer fails", _sentence("the analyzer fails", consumer), is_failure=True)
    if consumer.get("state") in ("starting", "flushing"):
        return Hold(f"the analyzer is {consumer['state']}")
    return None


def shortened(lead: str, name: str, width: int) -> str:
    """Return lead and name; of a long name its end, where rotation counts."""
    shown, room = printable(name), max(1, width - len(lead))
    return lead + (shown if len(shown) <= room else "…" + shown[len(shown) - room + 1 :])


def _sentence(lead: str, fields: Mapping[str, Any]) -> str:
    reason = without_exact_bytes(printable_sentence(str(fields.get("reason") or "")))
    return f"{lead}: {reason}" if reason else lead


def _line(name: str, packets: int, reason: str) -> str:
    outcome = f"failed: {printable_sentence(reason)}" if reason else f"{packets:,} packets"
    return f"{printable(name)}: {outcome}"


def _print(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
