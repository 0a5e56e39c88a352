"""`pcapdj run` on captures with something unusual: summary, pcapdj.json and exit code."""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from support.captures import Record, classic
from support.forkserver import DEVNULL, PIPE, start
from support.programs import missing
from support.service_rig import COPYING, environment

pytestmark = pytest.mark.timeout(150)

SHARED = Path(os.environ.get("PCAPDJ_SHARED", Path(__file__).parents[3] / "shared"))
CASES = SHARED / "cases" / "captures"
ROOM = ("--min-free", "1MiB", "--resume-after", "0", "--suspend-free", "0", "--min-free-inodes", "0")
LIBPCAP = "after 2038-01-19, which programs built on libpcap read as negative"
REFUSED = {
    "one.nokiapcap": "is Nokia pcap",
    "one.rh6_1pcap": "is Red Hat 6.1 pcap",
    "old-ntar-bigendian.ntar": "draft of 2005 (.ntar)",
}


def fed(home: Path, *names: str) -> tuple[int, dict[str, str], dict[str, dict[str, Any]], str]:
    """Run an Ethernet capture and these cases; return exit code, summary, results by name, and stderr."""
    (home / "copying.py").write_text(COPYING)
    (home / "0.pcap").write_bytes(classic([Record(0, 0)]))
    (home / "tmp").mkdir()
    for name in names:
        if not (CASES / name).is_file():
            missing(f"no case file {CASES / name}")
        shutil.copy(CASES / name, home)
    env = environment(TMPDIR=str(home / "tmp"))
    command = [sys.executable, str(home / "copying.py"), "{pipe}", "{logdir}"]
    arguments = ("0.pcap", *names, "--logdir", "o", *ROOM, "--", *command)
    streams: dict[str, Any] = {"stdin": DEVNULL, "stdout": PIPE, "stderr": PIPE, "text": True}
    with start("pcapdj", "run", *arguments, cwd=home, env=env, forks=True, **streams) as process:
        stdout, stderr = process.communicate(120)
    summary: dict[str, str] = {}
    for line in stdout.splitlines():
        label, _, text = line.partition("  ")
        summary[label] = "; ".join(filter(None, (summary.get(label), text.strip())))
    files = json.loads((home / "o" / "pcapdj.json").read_text())["files"]
    return process.wait(), summary, {Path(each["name"]).name: each for each in files}, stderr


def test_losses_are_counted_and_make_the_exit_code_1(short_path: Path) -> None:
    """Packets left out, by link type, and times that wrap; empty files are never at fault."""
    incomplete = (
        "ethernet-first-then-cooked.pcapng",
        "usb-first-then-ethernet.pcapng",
        "time-after-2106.pcapng",
    )

    code, summary, results, stderr = fed(
        short_path, *incomplete, "y2106.pcapng", "empty-rawip.pcap", "empty-wifi.pcap"
    )

    assert code == 1
    assert summary["files"] == "7 fed"
    assert summary["left out"] == "5 packets, because of their link type"
    assert summary["wrapped"] == "the times of 5 packets from before 1970 or after 2106"
    fields = {name: (each["packets"], each.get("left_out")) for name, each in results.items()}
    assert fields == {
        "0.pcap": (1, None),
        "ethernet-first-then-cooked.pcapng": (23, {"113": 2}),
        "usb-first-then-ethernet.pcapng": (6, {"220": 3}),
        "time-after-2106.pcapng": (1, None),
        "y2106.pcapng": (6, None),
        "empty-rawip.pcap": (0, None),
        "empty-wifi.pcap": (0, None),
    }
    assert [results[name]["wrapped_times"] for name in ("time-after-2106.pcapng", "y2106.pcapng")] == [1, 4]
    assert "23 packets, 2 left out because of their link type" in stderr


@pytest.mark.long
def test_what_is_only_unusual_is_shown_and_the_exit_code_is_0(short_path: Path) -> None:
    """Steps back, times after 2038, a wrong snaplen, packets without a time: nothing is lost."""
    names = ("clockstep-inside.pcap", "simple-blocks.pcapng", "snaplen-68-records-1442.pcap", "y2038.pcap")

    code, summary, results, _ = fed(short_path, *names)

    clockstep, _, snaplen, y2038 = (results[name] for name in names)
    assert code == 0, summary
    assert "1 step back in time, 86,399 s, inside files" in summary["timestamps"]
    assert LIBPCAP in summary["timestamps"]
    assert summary["snaplen"] == "4 packets are longer than that of the file, and whole"
    assert (clockstep["steps_back"], clockstep["largest_step_back_ns"]) == (1, 86_399 * 10**9)
    assert (snaplen["packets"], snaplen["beyond_snaplen"], y2038["after_2038"]) == (4, 4, 1)


@pytest.mark.long
def test_refused_variants_are_named_and_a_text_mode_transfer_is_suspected(short_path: Path) -> None:
    """With the remedy; the good packet before the damage is fed."""
    code, summary, results, _ = fed(short_path, *REFUSED, "ftp-ascii-mode.pcap")

    assert (code, summary["files"]) == (1, "1 fed, 4 failed")
    assert [name for name, reason in REFUSED.items() if reason in results[name]["reason"]] == [*REFUSED]
    damaged = results["ftp-ascii-mode.pcap"]
    assert damaged["packets"] == 1
    assert "6684672 captured bytes" in damaged["reason"]
    assert "transferred in text mode" in damaged["reason"]
