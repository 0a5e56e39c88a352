"""The report of a campaign: what was killed, what was lost, how soon it went on. Markdown, for people too."""

import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from faults.figures import Figures, percentile

Markers = tuple[str, str]
CAMPAIGN: Final = ("<!-- last campaign: written by make faults -->", "<!-- end of the last campaign -->")
SEEDED: Final = ("<!-- known bugs: written by make seeded-bugs -->", "<!-- end of the known bugs -->")
_KINDS: Final = ("dispatcher", "redis", "launcher", "analyzer", "controller", "importer", "everything")
_NAMES: Final = {"redis": "Redis", "everything": "everything at once"}
_PROGRAMS: Final = {
    "redis-server": r"v=(\S+)",
    "suricata": r"version (\S+)",
    "tcpdump": r"tcpdump version (\S+)",
}


def text(figures: Figures, seconds: float, seed: int) -> str:
    """Return the report."""
    return "\n".join([*_head(seconds, seed), "", *_kill_table(figures), "", *_findings(figures)])


def put_into(document: Path, report: str, markers: Markers = CAMPAIGN) -> None:
    """Put the report between the document's markers, in place of the one before."""
    begin, end = markers
    before, _, rest = document.read_text(encoding="utf-8").partition(begin)
    _, mark, after = rest.partition(end)
    if not mark:
        raise ValueError(f"{document.name} has no markers")
    document.write_text(f"{before}{begin}\n\n{report}\n\n{end}{after}", encoding="utf-8")


def bound_per_cent(kills: int) -> float:
    """Return the 95 % upper bound that so many kills without a failure allow: the rule of three."""
    return 300 / kills if kills else 100.0


def _head(seconds: float, seed: int) -> Iterator[str]:
    today = time.strftime("%Y-%m-%d", time.gmtime())
    yield f"{today}, seed {seed}, {seconds / 60:.1f} minutes on {_machine()}."


def _machine() -> str:
    kernel = re.match(r"\d+\.\d+", platform.release())
    parts = [f"{os.cpu_count()} cores", f"Linux {kernel.group() if kernel else '?'}"]
    parts.append(f"Python {platform.python_version()}")
    return ", ".join([*parts, *filter(None, map(_version, _PROGRAMS))])


def _version(program: str) -> str:
    if not shutil.which(program):
        return ""
    flag = "-V" if program == "suricata" else "--version"
    ran = subprocess.run([program, flag], capture_output=True, text=True, check=False)
    found = re.search(_PROGRAMS[program], ran.stdout + ran.stderr)
    return f"{program} {found.group(1) if found else '?'}"


def _kill_table(figures: Figures) -> Iterator[str]:
    yield "| killed with SIGKILL | times | goes on after (mean) | 95 % within | worst | 95 % bound per kill |"
    yield "|---|---|---|---|---|---|"
    for kind in _KINDS:
        kills, waits = figures.kills[kind], figures.recovery_s.get(kind)
        if not waits:
            continue
        mean = sum(waits) / len(waits)
        yield (
            f"| {_NAMES.get(kind, kind)} | {kills} | {mean:.2f} s | {percentile(waits, 95):.2f} s"
            f" | {max(waits):.2f} s | {bound_per_cent(kills):.2f} % |"
        )


def _findings(figures: Figures) -> Iterator[str]:
    points = [count for name, count in figures.counts.items() if name.startswith("at ")]
    kills = sum(figures.kills.values())
    yield "| | |"
    yield "|---|---|"
    yield f"| dispatchers killed in the middle of a file | {figures.mid_file} |"
    yield f"| .. of these in the middle of a record | {figures.mid_record} |"
    yield f"| fewest kills at one of the {len(points)} named points | {min(points, default=0)} |"
    with_kill = figures.counts["stops with a kill in them"]
    all_stops = figures.counts["orderly stops"] + with_kill
    recorded = figures.counts["stops with a recorded place"]
    yield f"| stops at any moment; .. of these with a kill on the way | {all_stops}; {with_kill} |"
    yield f"| .. after which the next stream went on in the middle of a file | {recorded} |"
    yield f"| damaged, strange and mutated inputs | {figures.counts['hostile inputs']} |"
    changes = sum(count for name, count in figures.counts.items() if name.startswith("inbox: "))
    yield f"| changes of an inbox and its files, with kills between | {changes} |"
    yield f"| packets that arrived | {figures.packets:,} in {figures.streams} streams |"
    yield f"| packets lost within a stream | {figures.lost} |"
    yield f"| packets doubled within a stream | {figures.doubled} |"
    yield f"| torn streams | {figures.torn} |"
    yield f"| names forgotten | {figures.forgotten} |"
    yield f"| stood still for more than 10 s | {figures.hangs} |"
    yield f"| 95 % upper bound on a loss per kill, all {kills} together | {bound_per_cent(kills):.2f} % |"
    for name in sorted(figures.counts):
        if name.startswith("left out"):
            yield f"| {name.replace(': ', ' | ')} |"
    if figures.violations:
        yield f"\n**{len(figures.violations)} promises broken:**\n"
        yield from (f"- {sentence}" for sentence in figures.violations[:50])
