"""How a run ended: for people on the screen, for programs in pcapdj.json and the exit code."""

from collections.abc import Mapping
from pathlib import Path

from pcapdj.console.run_summary import Summary
from pcapdj.console.statistics import jumps_told
from pcapdj.extracted import extracted_from
from pcapdj.run_plan import Plan
from pcapdj.run_record import RunRecord
from pcapdj.running import GaveUp, Progress
from pcapdj.runtime.errors import ExitCode


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
        jumps=jumps_told(len(jumps), jumps[-1].name, jumps[-1].jump) if jumps else "",
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
