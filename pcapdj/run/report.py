"""The table at the end of a run: what was fed, what came out, and whether that is what was expected.

How a run ended: for people on the screen, for programs in pcapdj.json and the exit code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pcapdj.console.status_lines import jumps_text
from pcapdj.run.extracted import ExtractedObject, extracted_from
from pcapdj.run.follow import GaveUp, Progress
from pcapdj.run.plan import Plan
from pcapdj.run.record import RunRecord
from pcapdj.runtime.errors import ExitCode
from pcapdj.runtime.safe_text import printable, printable_sentence
from pcapdj.runtime.units import human_size


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


def summary_of(plan: Plan, progress: Progress, expected: Mapping[str, str], elapsed_s: float) -> Summary:
    """Return what the screen shows at the end of a run."""
    fed = [each for each in progress.files if each.verdict == "processed"]
    failed = [each for each in plan.record.files.values() if each.verdict != "processed"]
    folders = stream_folders(plan.record)
    jumps = [each for each in progress.files if each.jump]
    return Summary(
        fed=len(fed),
        failed=len(failed),
        packets=sum(each.packets for each in progress.files),
        fed_bytes=sum(each.numbers.get("size_bytes", 0) for each in fed),
        elapsed_s=elapsed_s,
        analyzer=f"{plan.analyzer}, {how_it_ended(progress)}",
        logdir=str(folders[0] if len(folders) == 1 else plan.record.logdir),
        objects=[found for folder in folders for found in extracted_from(folder)],
        expected=dict(expected),
        done=plan.done,
        left=len(plan.files) - len(progress.files),
        jumps=jumps_text(len(jumps), jumps[-1].name, jumps[-1].jump) if jumps else "",
    )


def stream_folders(record: RunRecord) -> list[Path]:
    """Return the log folders of the streams that files went into, in this run and those it resumed."""
    streams = {each.stream for each in record.files.values() if each.stream}
    return sorted(folder for stream in streams for folder in record.logdir.glob(f"*-{stream}"))


def how_it_ended(progress: Progress) -> str:
    """Return the analyzer's end in words; with several streams, the different ends there were."""
    analyzer = progress.analyzer
    if not analyzer.get("last_exit"):
        return "stopped with the run" if analyzer.get("stream") else "not started"
    restarts = int(analyzer.get("restarts") or 0)
    ends = ", ".join(dict.fromkeys(progress.exits.values())) or str(analyzer["last_exit"])
    times = "1 restart" if restarts == 1 else f"{restarts:,} restarts"
    return ends + (f" after {times}" if restarts else "")


def ended_well(progress: Progress) -> bool:
    """Report whether each analyzer ended by itself, without an error; true too if none was needed."""
    analyzer = progress.analyzer
    if not progress.streams:
        return not analyzer.get("restarts")
    exits = {*progress.exits.values(), str(analyzer.get("last_exit"))}
    return analyzer.get("last_verdict") == "ended" and exits == {"exited 0"} and not analyzer.get("restarts")


def exit_code_of(summary: Summary, progress: Progress, gave_up: GaveUp | None) -> ExitCode:
    """Return 0 only if every file was fed whole, the analyzer ended by itself, and nothing is missing."""
    if gave_up:
        return gave_up.exit_code
    is_good = not summary.failed and ended_well(progress) and not summary.missing
    return ExitCode.OK if is_good else ExitCode.ERROR


def write_end(plan: Plan, progress: Progress, code: ExitCode) -> None:
    """Complete pcapdj.json."""
    logdir = plan.record.logdir
    folders = [str(path.relative_to(logdir)) for path in stream_folders(plan.record)]
    plan.record.write(
        {
            "complete": code is ExitCode.OK,
            "analyzer": plan.analyzer,
            "analyzer_end": how_it_ended(progress),
            "folders": folders,
        }
    )
