"""The end of a run: the summary for people, the fields of pcapdj.json and the exit code for programs.

The summary shows what was fed, what was extracted, and whether that is what was expected.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pcapdj.console.dispatcher_lines import anomaly_rows, jumps_text
from pcapdj.console.screen import Line, keep_going_if_closed, show
from pcapdj.run.extracted import ExtractedObject, ExtractedObjects
from pcapdj.run.follow import AbortReason, RunProgress
from pcapdj.run.interrupted import STOPPED
from pcapdj.run.private_service import KEPT_LOGS, RoleEnd
from pcapdj.run.record import RECORD, FileResult, RunRecord
from pcapdj.runtime.errors import ExitCode
from pcapdj.runtime.numbers import counted
from pcapdj.runtime.safe_text import printable, printable_sentence, quoted
from pcapdj.runtime.units import human_size
from pcapdj.summary.results import read_unread_connections

if TYPE_CHECKING:
    from pcapdj.run.plan import RunPlan

_SUMS: Final = ("wrapped_times", "steps_back", "beyond_snaplen")
_MOST_KNOWN: Final = 10
_MOST_FAILURES: Final = 10
_MOST_MISSING: Final = 10
_MOST_REPLAYED: Final = 3
_MOST_SUSPECTS: Final = 3


@dataclass(frozen=True, slots=True)
class Summary:
    """The numbers and names that the last screen shows.

    Args:
        fed, failed, fed_before, not_fed: numbers of files: delivered whole by this run, not delivered whole,
            delivered by an earlier run, not reached.
        packets: delivered.
        fed_bytes: the size of the files fed, without what was fed of them before.
        analyzer: the preset or command, and how it ended.
        logdir: the folder of its output.
        elapsed_s: since the command started.
        objects: what it extracted, where that can be read.
        expected: sha256 to name of the objects that the user expects.
        jumps: the sentence about timestamps that jump between files; empty: none do.
        anomalies: label and text of each kind of anomaly inside files.
        has_losses: packets were left out, or times wrapped.
        known: names of files that were not fed again, and of the files fed that are the same captures.
        suspects: stream to why its output may be incomplete, and the number of its files.
        write_error: why the complete pcapdj.json could not be written; empty: it was.
        unwritten: the number of files whose results are not on the disk, at most.
        failures: name and reason of each file that was not fed whole.
        partly_fed_bytes: of the packets of files that failed, or in which the run was stopped.
        replayed: names of the files that were fed again, since their stream broke off.
        role_ends: how processes of the private service ended that were started again, each way once.
        logs: the folder with their logs.
        unread_connections: how many our analyzer did not read to their end, for their many small messages.
        verdict: in words, whether the run is complete; empty: it is not shown.
    """

    fed: int
    failed: int
    packets: int
    fed_bytes: int
    analyzer: str
    logdir: str
    elapsed_s: float = 0.0
    objects: ExtractedObjects = field(default_factory=ExtractedObjects)
    expected: Mapping[str, str] = field(default_factory=dict)
    fed_before: int = 0
    not_fed: int = 0
    jumps: str = ""
    anomalies: Sequence[tuple[str, str]] = ()
    has_losses: bool = False
    known: Sequence[tuple[str, str]] = ()
    suspects: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    write_error: str = ""
    unwritten: int = 0
    failures: Sequence[tuple[str, str]] = ()
    partly_fed_bytes: int = 0
    replayed: Sequence[str] = ()
    role_ends: Sequence[str] = ()
    logs: str = ""
    unread_connections: int = 0
    verdict: str = ""

    @property
    def missing(self) -> list[str]:
        """The names of expected objects that were not extracted whole; none, if not all was read."""
        if self.objects.is_cut:
            return []
        return [name for sha256, name in self.expected.items() if sha256 not in self.objects.whole]


def summarize(plan: "RunPlan", record: RunRecord, progress: RunProgress) -> Summary:
    """Return the summary of a run that has ended, without time and objects."""
    fed = [each for each in progress.results if each.is_processed and not each.known_as]
    failed = [each for each in record.results.values() if not each.is_processed and each.verdict != STOPPED]
    sent = [*progress.results, *([progress.interrupted] if progress.interrupted else ())]
    earlier = plan.continued
    before = earlier if earlier and earlier.name in {each.name for each in sent} else None
    partly = [each for each in sent if not each.is_processed]
    partly_before = before if before and before.name in {each.name for each in partly} else None
    folders = stream_folders(record)
    jumping = [each for each in progress.results if each.jump]
    counts = anomaly_counts(record.results.values())
    return Summary(
        fed=len(fed),
        failed=len(failed),
        packets=sum(each.packets for each in sent) - (before.packets if before else 0),
        fed_bytes=sum(_fed_size_bytes(each, before) for each in fed),
        analyzer=f"{plan.analyzer}, {analyzer_end(progress)}",
        logdir=str(folders[0] if len(folders) == 1 else record.logdir),
        fed_before=plan.processed_before,
        not_fed=len(plan.files) - len(progress.results),
        jumps=jumps_text(len(jumping), jumping[-1].name, jumping[-1].jump) if jumping else "",
        anomalies=list(anomaly_rows(counts)),
        has_losses=bool(counts["left_out"] or counts["wrapped_times"]),
        known=[(each.name, each.known_as) for each in progress.results if each.known_as],
        suspects=suspect_streams(record),
        failures=[(each.name, _failure_text(each)) for each in failed],
        partly_fed_bytes=sum(map(_packet_bytes, partly)) - _packet_bytes(partly_before),
        replayed=[each.name for each in fed if each.numbers.get("attempt", 1) > 1],
        role_ends=role_end_texts(progress.role_ends),
        logs=str(record.logdir / KEPT_LOGS),
        unread_connections=sum(map(read_unread_connections, folders)),
    )


def _fed_size_bytes(result: FileResult, before: FileResult | None) -> int:
    """Return how much of a file this run has fed, measured on disk; of a compressed one it is its share."""
    begin = before.begin.get("offset") if before and before.name == result.name else None
    begin_bytes = begin if isinstance(begin, int) else result.numbers.get("begin_bytes", 0)
    length_bytes = result.numbers.get("length_bytes") or result.size_bytes
    if not 0 < begin_bytes <= length_bytes:
        return result.size_bytes
    return result.size_bytes - result.size_bytes * begin_bytes // length_bytes


def _packet_bytes(result: FileResult | None) -> int:
    return result.numbers.get("cap_lengths", 0) if result else 0


def role_end_texts(ends: Iterable[RoleEnd]) -> list[str]:
    """Return how each process ended, in the order of the first time: `launcher (exited 1, 3 times)`."""
    return [
        f"{end.shown_role} ({end.status}{f', {times:,} times' if times > 1 else ''})"
        for end, times in Counter(ends).items()
    ]


def _failure_text(result: FileResult) -> str:
    return f"{result.reason} ({counted(result.packets, 'packet')} delivered)"


def verdict_of(code: ExitCode, *, has_files: bool = True) -> str:
    """Return in words whether a run with this exit code is complete; it may have found no files."""
    if code is ExitCode.OK and not has_files:
        return "nothing was fed: no given path is or has a capture file (folders inside need --recursive)"
    if code is ExitCode.OK:
        return "complete: each file was fed whole, and the analyzer ended well"
    return f"NOT complete (exit code {int(code)})"


def suspect_streams(record: RunRecord) -> dict[str, tuple[str, int]]:
    """Return stream to why its output may be incomplete, and how many files it has."""
    found: dict[str, tuple[str, int]] = {}
    for each in record.results.values():
        if each.suspect:
            found[each.stream] = (each.suspect, found.get(each.stream, ("", 0))[1] + 1)
    return found


def anomaly_counts(results: Iterable[FileResult]) -> dict[str, int]:
    """Return the counts that `anomaly_rows` shows, of all files of a run and of those that it resumes."""
    counts = dict.fromkeys(("left_out", "largest_step_back_ns", *_SUMS, "after_2038_stream"), 0)
    for each in results:
        counts["left_out"] += sum(each.left_out.values())
        for name in _SUMS:
            counts[name] += each.numbers.get(name, 0)
        largest_ns = each.numbers.get("largest_step_back_ns", 0)
        counts["largest_step_back_ns"] = max(counts["largest_step_back_ns"], largest_ns)
        counts["after_2038_stream"] |= each.numbers.get("after_2038", 0)
    return counts


def print_summary(summary: Summary) -> None:
    """Print the summary's lines to stdout."""
    with keep_going_if_closed(sys.stdout):
        show("", [Line(label, value) for label, value in summary_rows(summary)])


def summary_rows(summary: Summary) -> list[tuple[str, str]]:
    """Return the table's lines: label and value."""
    all_bytes = summary.fed_bytes + summary.partly_fed_bytes
    rate = human_size(all_bytes / summary.elapsed_s) if summary.elapsed_s > 0 else "0 B"
    numbers = (
        (summary.failed, "failed"),
        (summary.fed_before, "fed before"),
        (len(summary.known), "known already"),
        (summary.not_fed, "not fed"),
    )
    others = "".join(f", {number:,} {label}" for number, label in numbers if number)
    lines = [
        ("files", f"{summary.fed:,} fed{others}"),
        *_known_rows(summary),
        ("packets", f"{summary.packets:,}"),
        *([("timestamps", summary.jumps)] if summary.jumps else []),
        *summary.anomalies,
        ("bytes", _bytes_text(summary)),
        ("time", f"{summary.elapsed_s:.1f} s ({rate}/s, start and end included)"),
        ("analyzer", printable_sentence(summary.analyzer)),
        ("output", printable_sentence(summary.logdir)),
    ]
    lines += _object_rows(summary)
    if summary.unread_connections:
        unread = counted(summary.unread_connections, "connection was", "connections were")
        lines.append(("UNREAD", f"{unread} not read to the end as HTTP: too many small messages"))
    if summary.write_error:
        lines.append(("RECORD", f"{RECORD} could not be written: {summary.write_error}"))
    if summary.unwritten:
        lines.append(("", f"--resume feeds what it lacks again: {counted(summary.unwritten, 'file')}."))
    lines += _suspect_rows(summary)
    if summary.role_ends:
        ended = f"{', '.join(summary.role_ends)}; logs: {quoted(summary.logs)}"
        lines.append(("RESTARTED", printable_sentence(ended)))
    lines += _replayed_rows(summary)
    lines += _missing_rows(summary)
    lines += _failure_rows(summary)
    return lines + ([("verdict", summary.verdict)] if summary.verdict else [])


def next_place(interrupted: FileResult, record: RunRecord) -> str:
    """Return where the next run goes on in the file in which this one was stopped."""
    name = quoted(interrupted.name)
    if any(each.name == interrupted.name for each in record.unwritten):
        return f"It feeds {name} again, from where this run began it."
    known = record.results[interrupted.name]
    if known.suspect:
        place = "where the suspect stream began with it" if known.begin else "its first packet"
        return f"It feeds {name} again, from {place}."
    return f"It goes on with packet {interrupted.packets + 1:,} of {name}."


def _bytes_text(summary: Summary) -> str:
    files = f"{human_size(summary.fed_bytes)} of capture files"
    if not summary.partly_fed_bytes:
        return files
    packets = f"{human_size(summary.partly_fed_bytes)} of packets of files that were not fed whole"
    return f"{files}, {packets}" if summary.fed_bytes else packets


def _suspect_rows(summary: Summary) -> list[tuple[str, str]]:
    rows = []
    for stream, (reason, files) in islice(summary.suspects.items(), _MOST_SUSPECTS):
        rows.append(("SUSPECT", printable_sentence(f"stream {stream} may lack output: {reason}")))
        again = f"--resume feeds its {counted(files, 'file')} again"
        rows.append(("", f"Correct that, and repeat the command: {again}."))
    if (more := len(summary.suspects) - _MOST_SUSPECTS) > 0:
        rows.append(("SUSPECT", f".. and {counted(more, 'more stream')}, in {RECORD}"))
    return rows


def _replayed_rows(summary: Summary) -> list[tuple[str, str]]:
    """Return a line with the files whose first packets may be twice in the output."""
    names = ", ".join(map(quoted, summary.replayed[:_MOST_REPLAYED]))
    if (more := len(summary.replayed) - _MOST_REPLAYED) > 0:
        names += f" and {counted(more, 'more file')}"
    text = "fed again, because the stream broke off; some packets may be twice in the output"
    return [("REPLAYED", f"{names}: {text}")] if names else []


def _missing_rows(summary: Summary) -> list[tuple[str, str]]:
    missing = summary.missing
    rows = [("MISSING", f"{printable(name)} was not extracted whole") for name in missing[:_MOST_MISSING]]
    more = len(missing) - len(rows)
    return [*rows, *([("MISSING", f".. and {more:,} more expected objects")] if more else [])]


def _failure_rows(summary: Summary) -> list[tuple[str, str]]:
    """Return the files that failed: among the last lines, where they are still on the screen."""
    shown = summary.failures[:_MOST_FAILURES]
    rows = [("FAILED", f"{quoted(name)}: {printable_sentence(reason)}") for name, reason in shown]
    more = len(summary.failures) - len(rows)
    return [*rows, *([("FAILED", f".. and {more:,} more, in {RECORD}")] if more else [])]


def _known_rows(summary: Summary) -> list[tuple[str, str]]:
    rows = [
        ("known", f"{quoted(name)} is the same capture as {quoted(fed)}")
        for name, fed in summary.known[:_MOST_KNOWN]
    ]
    if more := len(summary.known) - len(rows):
        rows.append(("known", f".. and {more:,} more"))
    return rows


def _object_rows(summary: Summary) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    for each in summary.objects.first:
        state = "whole" if each.is_whole else "INCOMPLETE"
        lines.append(("object", f"{printable(each.name)}, {counted(each.size_bytes, 'byte')}, {state}"))
        lines.append(("  sha256", each.sha256))
        if summary.expected:
            lines.append(("  expected", _comparison(each, summary.expected)))
    if more := summary.objects.count - len(summary.objects.first):
        lines.append(("object", f".. and {more:,} more"))
    if summary.objects.is_cut:
        lines.append(("OBJECTS", "the analyzer's output was not read to its end: stopped by the user"))
    return lines


def _comparison(found: ExtractedObject, expected: Mapping[str, str]) -> str:
    if found.sha256 in expected:
        return f"{found.sha256}  the same"
    only = next(iter(expected)) if len(expected) == 1 else "none of the expected"
    return f"{only}  NOT the same"


def stream_folders(record: RunRecord) -> list[Path]:
    """Return the output folders of the streams of this run and of those it resumes."""
    results = record.results.values()
    streams = {stream for each in results for stream in (each.stream, *each.earlier_streams) if stream}
    with suppress(FileNotFoundError):
        return sorted(each for each in record.logdir.iterdir() if each.name.rpartition("-")[2] in streams)
    return []


def analyzer_end(progress: RunProgress) -> str:
    """Return how the analyzer ended; with several streams, each different end once."""
    analyzer = progress.analyzer
    if not analyzer.get("last_exit"):
        return "stopped with the run" if analyzer.get("stream") else "not started"
    restarts = int(analyzer.get("restarts") or 0)
    ends = ", ".join(dict.fromkeys(progress.exits.values())) or str(analyzer["last_exit"])
    return ends + (f" after {counted(restarts, 'restart')}" if restarts else "")


def all_analyzers_ended_well(progress: RunProgress) -> bool:
    """Report whether each analyzer ended by itself, without an error; true too if none was needed."""
    analyzer = progress.analyzer
    if not progress.streams:
        return not analyzer.get("restarts")
    exits = {*progress.exits.values(), str(analyzer.get("last_exit"))}
    return analyzer.get("last_verdict") == "ended" and exits == {"exited 0"} and not analyzer.get("restarts")


def exit_code_of(summary: Summary, progress: RunProgress, abort: AbortReason | None) -> ExitCode:
    """Return 0 only if all files were fed whole, with all packets and times, and what came of it is whole."""
    if abort:
        return abort.exit_code
    is_good = (
        not summary.failed
        and not summary.has_losses
        and all_analyzers_ended_well(progress)
        and not summary.missing
        and not summary.suspects
        and not summary.replayed
    )
    return ExitCode.OK if is_good else ExitCode.ERROR


def end_fields(
    plan: "RunPlan", record: RunRecord, progress: RunProgress, code: ExitCode
) -> dict[str, object]:
    """Return the fields that pcapdj.json has of a run that has ended."""
    folders = [str(path.relative_to(record.logdir)) for path in stream_folders(record)]
    return {
        "complete": code is ExitCode.OK,
        "analyzer": plan.analyzer,
        "analyzer_end": analyzer_end(progress),
        "folders": folders,
        "role_ends": [
            {"role": end.role, "ended": end.status, "times": times}
            for end, times in Counter(progress.role_ends).items()
        ],
    }
