"""What the user sees while `pcapdj run` works: a progress bar on a terminal, else a line per file."""

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final, cast

from pcapdj.console.screen import ClosableStream, keep_going_if_closed
from pcapdj.console.status_lines import without_exact_bytes
from pcapdj.console.waiting_lines import GATE, OPERATOR, suspenders_text
from pcapdj.disk.reserve import ANYWAY
from pcapdj.run.record import FileResult
from pcapdj.runtime.numbers import counted
from pcapdj.runtime.safe_text import printable, printable_sentence, quoted
from pcapdj.runtime.streams import environment_of_terminal
from pcapdj.runtime.units import human_size

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_BESIDE_NAME: Final = 62  # columns for a short bar, the sizes, the rate and the time left
_NAME_WIDTHS: Final = (16, 48)  # the least and the most columns for the name of the current file
_NUMBERS: Final = re.compile(r"\d+(?:\.\d+)?(?: [KMGTP]?i?B)?")
_WORDS_WITH_DIGITS: Final = re.compile(r"(?<!\S)[^\s\d]*+\d\S*")  # looks at a character once


@dataclass(frozen=True, slots=True)
class WaitReason:
    """Why nothing is being fed.

    Args:
        label: a few words, beside the bar.
        sentence: the reason, where the label is not enough.
        is_analyzer_failure: the analyzer failed; the next one starts in a moment, and may fail again.
    """

    label: str
    sentence: str = ""
    is_analyzer_failure: bool = False

    @property
    def without_numbers(self) -> str:
        """The sentence without what changes all the time: numbers; in a failure, each word with a digit."""
        changing = _WORDS_WITH_DIGITS if self.is_analyzer_failure else _NUMBERS
        return changing.sub("", self.sentence)


class WaitMessages:
    """Decides when a reason is shown: when it begins; the same failure again only after a file was fed.

    Args:
        end_message: shown when the reason is gone.
    """

    def __init__(self, end_message: str = "") -> None:
        self._end_message = end_message
        self._shown = ""
        self._is_failure_shown = False
        self._known_failures: set[str] = set()

    def next_message(self, reason: WaitReason | None) -> str:
        """Return what to show now; empty: nothing."""
        wanted = reason.without_numbers if reason else ""
        if wanted == self._shown:
            return ""
        was_failure_shown, self._shown = self._is_failure_shown, wanted
        self._is_failure_shown = bool(reason and reason.is_analyzer_failure)
        if reason is None or not wanted:
            return "" if was_failure_shown else self._end_message
        if not reason.is_analyzer_failure:
            return reason.sentence
        is_known = wanted in self._known_failures
        self._known_failures.add(wanted)
        return "" if is_known else reason.sentence

    def file_fed(self) -> None:
        """Show a known failure again: a file was fed since."""
        self._known_failures.clear()


class ProgressView:
    """Shows a run's progress, here as a line for each finished file."""

    def __init__(self) -> None:
        self._messages = WaitMessages(end_message="feeding continues")

    def show_progress(self, done_bytes: int, name: str, reason: WaitReason | None) -> None:  # noqa: ARG002 - only bars move
        """Show how many bytes of all files are fed, the current file, and why nothing is fed."""
        if message := self._messages.next_message(reason):
            self.show_warning(message)

    def show_result(self, result: FileResult) -> None:
        """Show that a file is finished."""
        if not result.reason:
            self._messages.file_fed()
        self.show_warning(_result_line(result))

    def show_warning(self, sentence: str) -> None:
        """Show a warning."""
        with keep_going_if_closed(sys.stderr):
            sys.stderr.write(printable_sentence(sentence) + "\n")


@contextmanager
def progress_view(total_bytes: int, total_files: int) -> Iterator[ProgressView]:
    """Yield the view that fits stderr, for so many files of so many bytes in all."""
    if not sys.stderr.isatty():
        yield ProgressView()
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
    stream = cast("IO[str]", ClosableStream(sys.stderr))
    console = Console(file=stream, _environ=environment_of_terminal())
    # no thread of rich: on a stopped terminal (Ctrl-S) it would wait for a key, and the end for the thread
    with Progress(*columns, console=console, transient=True, expand=True, auto_refresh=False) as progress:
        task = progress.add_task("starting", total=total_bytes, sizes="", rate="")
        yield _BarView(progress, task, total_files)


class _BarView(ProgressView):
    def __init__(self, progress: "Progress", task: "TaskID", total_files: int) -> None:
        self._progress = progress
        self._task = task
        self._total_files = total_files
        self._finished_files = self._failed_files = 0
        self._messages = WaitMessages()

    def show_progress(self, done_bytes: int, name: str, reason: WaitReason | None) -> None:
        task = next(each for each in self._progress.tasks if each.id == self._task)
        super().show_progress(done_bytes, name, reason)
        failed = f"{self._failed_files:,} failed, " if self._failed_files else ""
        self._progress.update(
            self._task,
            completed=done_bytes,
            description=reason.label if reason else self._description(name),
            sizes=f"{failed}{human_size(done_bytes)} of {human_size(task.total or 0)}",
            rate=f"{human_size(task.speed)}/s" if task.speed and not reason else "",
            refresh=True,
        )

    def show_result(self, result: FileResult) -> None:
        self._finished_files += 1
        if result.reason:
            self._failed_files += 1
            self._print(_result_line(result), "red")
        else:
            self._messages.file_fed()

    def show_warning(self, sentence: str) -> None:
        self._print(sentence, "yellow")

    def _description(self, name: str) -> str:
        if not name and self._finished_files in (0, self._total_files):
            return "finishing" if self._finished_files else "starting"
        least, most = _NAME_WIDTHS
        width = min(most, max(least, self._progress.console.width - _BESIDE_NAME))
        count = f"{self._finished_files + 1}/{self._total_files} "
        return shortened(count, name.rpartition("/")[2], width)

    def _print(self, line: str, style: str) -> None:
        self._progress.console.print(printable_sentence(line), style=style, markup=False, highlight=False)


def wait_reason(snapshot: Mapping[str, Any]) -> WaitReason | None:
    """Return why nothing is being fed now; None if the analyzer is being fed.

    In a run without an operator it is the dispatcher that suspends as `operator`, because the analyzer fails.
    """
    gate, consumer = snapshot.get("gate") or {}, snapshot.get("consumer") or {}
    is_failing = consumer.get("state") == "failing"
    own_members = (GATE, OPERATOR) if is_failing else (GATE,)
    members = snapshot.get("suspended") or ()
    others = [member for member in members if member not in own_members]
    if others:
        return WaitReason("suspended", f"suspended by {suspenders_text(others, snapshot)}")
    dispatcher: Mapping[str, Any] = next(iter(snapshot.get("dispatchers") or ()), {})
    if storage := dispatcher.get("storage"):
        return WaitReason("waiting for storage", f"{quoted(str(storage))} is away; waiting for it")
    if gate.get("state") not in (None, "open"):
        return WaitReason("the gate holds", _with_reason("the gate holds", gate))
    if is_failing:
        sentence = _with_reason("the analyzer fails", consumer)
        return WaitReason("the analyzer fails", sentence, is_analyzer_failure=True)
    if consumer.get("state") in ("starting", "flushing"):
        return WaitReason(f"the analyzer is {consumer['state']}")
    return None


def shortened(lead: str, name: str, width: int) -> str:
    """Return lead and name in at most `width` columns; a long name loses its beginning, not its number."""
    shown, room = printable(name), max(1, width - len(lead))
    return lead + (shown if len(shown) <= room else "…" + shown[len(shown) - room + 1 :])


def _with_reason(lead: str, fields: Mapping[str, Any]) -> str:
    reason = without_exact_bytes(printable_sentence(str(fields.get("reason") or "")))
    reason = reason.partition(ANYWAY)[0].strip()  # a run has no limits that could be changed
    return f"{lead}: {reason}" if reason else lead


def _result_line(result: FileResult) -> str:
    reason = printable_sentence(result.reason)
    left_out = sum(result.left_out.values())
    others = f", {left_out:,} left out because of their link type" if left_out else ""
    packets = counted(result.packets, "packet")
    text = f"failed: {reason}; {packets} delivered" if reason else packets
    if result.known_as:
        text = f"not fed again: it is the same capture as {quoted(result.known_as)}"
    if begin_bytes := result.numbers.get("begin_bytes"):
        text += f", which follow the {human_size(begin_bytes)} that were fed before"
    if result.begins_as:
        text += f"; it begins like {quoted(result.begins_as)}, which was fed, and is shorter"
    return f"{printable(result.name)}: {text}{others}"
