"""The table at the end of a run: what was fed, what came out, and whether that is what was expected."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pcapdj.runtime.amounts import human_size
from pcapdj.runtime.log import printable_sentence
from pcapdj.runtime.names import printable


@dataclass(frozen=True, slots=True)
class ExtractedObject:
    """A file that the analyzer took out of the traffic.

    Args:
        name: of its URI, or of the file it is stored in.
        size_bytes: of what was extracted.
        sha256: of that, in hexadecimal.
        is_whole: nothing of it is missing, as far as the analyzer knows.
    """

    name: str
    size_bytes: int
    sha256: str
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run has to say at its end.

    Args:
        fed, failed, done, left: numbers of files: by this run, not whole, by an earlier run, not reached.
        packets: delivered.
        fed_bytes: of the files fed.
        elapsed_s: from the command's start.
        analyzer: the preset or command, and how it ended.
        logdir: where its output is.
        objects: what it extracted, if that is known.
        expected: sha256 to name, of what should be among them.
        jumps: what is told of timestamps that jump between files; empty: none do.
    """

    fed: int
    failed: int
    packets: int
    fed_bytes: int
    elapsed_s: float
    analyzer: str
    logdir: str
    objects: Sequence[ExtractedObject] = ()
    expected: dict[str, str] = field(default_factory=dict)
    done: int = 0
    left: int = 0
    jumps: str = ""

    @property
    def missing(self) -> list[str]:
        """The names of expected objects that were not extracted whole."""
        whole = {each.sha256 for each in self.objects if each.is_whole}
        return [name for sha256, name in self.expected.items() if sha256 not in whole]


_SHOWN_OBJECTS = 10
_UNBROKEN = 4096  # columns where no terminal is: paths and digests stay whole


def print_summary(summary: Summary) -> None:
    """Print the table to stdout."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in rows(summary):
        table.add_row(label, Text(value))
    console = Console()
    if not console.is_terminal:
        console = Console(width=_UNBROKEN)
    console.print(table)


def rows(summary: Summary) -> list[tuple[str, str]]:
    """Return the table's lines: a label and what stands beside it."""
    rate = human_size(summary.fed_bytes / summary.elapsed_s) if summary.elapsed_s > 0 else "0 B"
    numbers = ((summary.failed, "failed"), (summary.done, "fed before"), (summary.left, "not fed"))
    others = "".join(f", {number:,} {what}" for number, what in numbers if number)
    lines = [
        ("files", f"{summary.fed:,} fed{others}"),
        ("packets", f"{summary.packets:,}"),
        *([("timestamps", summary.jumps)] if summary.jumps else []),
        ("bytes", f"{human_size(summary.fed_bytes)} of capture files"),
        ("time", f"{summary.elapsed_s:.1f} s ({rate}/s with start and end)"),
        ("analyzer", printable_sentence(summary.analyzer)),
        ("output", printable_sentence(summary.logdir)),
    ]
    return lines + _object_rows(summary) + _missing_rows(summary)


def _object_rows(summary: Summary) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    for each in summary.objects[:_SHOWN_OBJECTS]:
        state = "whole" if each.is_whole else "INCOMPLETE"
        lines += [
            ("object", f"{printable(each.name)}, {each.size_bytes:,} bytes, {state}"),
            ("  sha256", each.sha256),
        ]
        if summary.expected:
            lines.append(("  expected", _expectation(each, summary.expected)))
    if len(summary.objects) > _SHOWN_OBJECTS:
        lines.append(("object", f".. and {len(summary.objects) - _SHOWN_OBJECTS} more"))
    return lines


def _expectation(found: ExtractedObject, expected: dict[str, str]) -> str:
    if found.sha256 in expected:
        return f"{found.sha256}  the same"
    only = next(iter(expected)) if len(expected) == 1 else "none of the expected"
    return f"{only}  NOT the same"


def _missing_rows(summary: Summary) -> list[tuple[str, str]]:
    return [("MISSING", f"{printable(name)} was not extracted whole") for name in summary.missing]
