"""Tables of the results, and their place in docs/performance.md between the two marks."""

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from bench.queue import LongQueue
from bench.service import CAT, DIRECTORY, PLAIN, RUN, Analysis, Service
from bench.streaming import OTHER_PROGRAMS, PEAK_LIMIT_BYTES, Measured, Peak, targets_of

_BEGIN, _END = "<!-- measured by `make bench`: begin -->", "<!-- measured: end -->"
_NAMES: Final = {
    "mergecap": "mergecap -a",
    "dpkt": "dpkt loop",
    "cat": "cat",
    "zstd": "zstd -dc into mergecap",
}
_CHECK_LIMIT_MS = 1.0
_LONG_IMPORT_LIMIT_S: Final = 5.0
_STATUS_LIMIT_S: Final = 1.0
_SCRIPT_LIMIT_MS: Final = 20.0
_GAP_LIMIT_MS, _IMPORT_LIMIT_S, _READ_AGAIN_LIMIT_MB = 5.0, 2.0, 4.0
_CAT_LIMIT, _RUN_LIMIT, _DISPATCHER_LIMIT = 1.05, 1.08, 1.5
_WAYS: Final = {
    DIRECTORY: "`-r DIRECTORY`",
    RUN: "`pcapdj run`",
    CAT: "named pipe from `pcapdj cat`",
    PLAIN: "named pipe from cat",
}


def beside_limit(value: float, limit: float, form: str = "{:.2f}") -> str:
    """Return `value of limit`, with a mark if the value exceeds the limit."""
    return f"{form.format(value)} of {form.format(limit)}" + ("" if value <= limit else " **missed**")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table that is also readable as text."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    )


def streaming_table(results: Sequence[Measured]) -> str:
    """Return the first table: medians in seconds, and ratios of medians beside their goals."""
    head = [
        "work",
        "pcapdj cat",
        "min to max",
        "peak",
        "loops in Python",
        *(f"{_NAMES[name]}" for name in OTHER_PROGRAMS),
    ]
    return table(head, [_streaming_row(each) for each in results])


def _streaming_row(each: Measured) -> list[str]:
    shortest, longest = each.ours.spread
    cells = [each.work.what, f"{each.ours.median_s:.2f} s", f"{shortest:.2f} to {longest:.2f}"]
    cells.append(f"{each.ours.peak_bytes / 1e6:.0f} MB")
    cells.append(_python_cell(each))
    targets = targets_of(each.work)
    for name in OTHER_PROGRAMS:
        if name not in each.others:
            cells.append("")
            continue
        ratio, median = each.ratio(name), each.others[name].median_s
        cell = beside_limit(ratio, targets[name]) if name in targets else f"{ratio:.2f}"
        cells.append(f"{median:.2f} s: {cell}")
    return cells


def _python_cell(each: Measured) -> str:
    """Return the time with the loops in Python, and its ratio to mergecap's, beside a goal."""
    median_s = each.in_python.median_s
    if "mergecap" not in each.others:
        return f"{median_s:.2f} s"
    ratio, goal = median_s / each.others["mergecap"].median_s, each.work.python_target
    return f"{median_s:.2f} s: {f'{ratio:.2f}' if goal is None else beside_limit(ratio, goal)}"


def peak_table(peaks: Sequence[Peak]) -> str:
    """Return the table of peak memory."""
    rows = [
        [
            each.what,
            f"{each.wall_s:.1f} s",
            beside_limit(each.bytes / 1e6, PEAK_LIMIT_BYTES / 1e6, "{:.0f}") + " MB",
        ]
        for each in peaks
    ]
    return table(["input", "time", "peak memory"], rows)


def service_table(service: Service) -> str:
    """Return the table of the service; without the rows of programs that are not installed."""
    rows = [*_analyzer_rows(service)] if service.five else []
    median = beside_limit(statistics.median(service.gaps_ms), _GAP_LIMIT_MS, "{:.1f}")
    cell = f"{median} ms; 95 % within {_percentile(service.gaps_ms):.1f} ms"
    rows.append(["drained pipe to the next file's first byte, median", cell])
    if service.import_s is not None:
        rows.append(
            ["import of 10,000 names", f"{beside_limit(service.import_s, _IMPORT_LIMIT_S, '{:.1f}')} s"]
        )
    again = beside_limit(service.read_again_bytes / 1e6, _READ_AGAIN_LIMIT_MB, "{:.1f}")
    rows.append(
        [f"read again after a kill of the dispatcher, {service.read_bytes / 1e6:.0f} MB", f"{again} MB"]
    )
    return table(["what", "measured"], rows)


def identity_table(times_ms: Sequence[float]) -> str:
    """Return the table of the comparisons with what was fed, before an authorization."""
    median = beside_limit(statistics.median(times_ms), _CHECK_LIMIT_MS)
    rows = [
        ["a file is compared with what was fed", f"{median} ms; 95 % within {_percentile(times_ms):.2f} ms"]
    ]
    return table(["before an authorization, if nothing changed", "measured"], rows)


def queue_table(queue: LongQueue) -> str:
    """Return the table of a lane with a million queued names."""
    limits = (
        ("3,000 more are queued", queue.import_s, _LONG_IMPORT_LIMIT_S, "s"),
        ("the lane's snapshot for `status`", queue.status_s, _STATUS_LIMIT_S, "s"),
        ("the longest command in Redis", queue.slowest_ms, _SCRIPT_LIMIT_MS, "ms"),
    )
    rows = [[what, f"{beside_limit(value, limit)} {unit}"] for what, value, limit, unit in limits]
    rows.append(["comparison of the queue with its lines, in slices", f"{queue.comparison_s:.1f} s"])
    return table(["with a million queued names", "measured"], rows)


def _analyzer_rows(service: Service) -> Iterator[list[str]]:
    for way, what in _WAYS.items():
        yield [f"Suricata, {what}, from start to end", _spread(service.runs[way])]
    yield ["`pcapdj run` with Suricata, five small captures", _spread(service.five)]
    yield ["`pcapdj cat` through a named pipe / directory", beside_limit(service.cat_ratio, _CAT_LIMIT)]
    yield ["`pcapdj run`, less five small captures / directory", beside_limit(service.run_ratio, _RUN_LIMIT)]
    yield [
        "CPU of the dispatcher, less five small captures / of cat",
        beside_limit(service.dispatcher_ratio, _DISPATCHER_LIMIT),
    ]
    for name, peak_bytes in service.peaks.items():
        yield [
            f"peak memory of `pcapdj run`: {name}",
            beside_limit(peak_bytes / 1e6, PEAK_LIMIT_BYTES / 1e6, "{:.0f}") + " MB",
        ]


def _spread(runs: Sequence[Analysis]) -> str:
    walls = [run.whole_s for run in runs]
    cpu_s = statistics.median(run.cpu_s for run in runs)
    return (
        f"{statistics.median(walls):.2f} s ({min(walls):.2f} to {max(walls):.2f}), {cpu_s:.2f} s of its CPU"
    )


def _percentile(values: Sequence[float]) -> float:
    return sorted(values)[int(len(values) * 0.95)]


def conditions(megabytes: int, rounds: int) -> str:
    """Return machine, versions and sizes, without names of this machine."""
    cpu = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if "model name" in line), "?")
    memory_kb = int(next(line.split()[1] for line in _lines("/proc/meminfo")))
    programs = [_first_line(argv) for argv in (["mergecap", "-v"], ["suricata", "-V"], ["cat", "--version"])]
    return (
        f"{time.strftime('%Y-%m-%d')}; {os.cpu_count()} x {cpu}, {memory_kb / 1e6:.0f} GB, "
        f"{platform.system()} {platform.release().split('-')[0]}; Python {platform.python_version()}; "
        f"dpkt {version('dpkt')}; {'; '.join(filter(None, programs))}. "
        f"Captures of {megabytes} MB, {rounds} rounds, load average at the end {os.getloadavg()[1]:.1f}."
    )


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()


def _first_line(argv: Sequence[str]) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except OSError:
        return f"{argv[0]} is not installed: its rows are missing"
    line = (done.stdout or done.stderr).strip().splitlines()[0].split("(Git")[0]
    return line.removeprefix("This is ").removesuffix(" RELEASE").strip()


def write_into(page: Path, text: str) -> None:
    """Replace the text between the marks."""
    whole = page.read_text(encoding="utf-8")
    before, rest = whole.split(_BEGIN)
    page.write_text(f"{before}{_BEGIN}\n\n{text}\n\n{_END}{rest.split(_END)[1]}", encoding="utf-8")
