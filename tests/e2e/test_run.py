"""`pcapdj run` with everything real: what it shows, what it leaves, and how it ends."""

import json
import os
import pty
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from support import forkserver
from support.captures import Record, classic
from support.cases import some_long
from support.forkserver import DEVNULL, PIPE, Process
from support.mounts import memory_mount
from support.programs import missing, require_program
from support.sample import sample_in
from support.service_rig import COPYING, environment, processes_about
from support.waiting import wait_until

from pcapdj.runtime.full_disks import SUSPECT_MARK
from pcapdj.runtime.interpreter import pcapdj_command
from pcapdj.summary.sample import EXPECTED_NAME

pytestmark = pytest.mark.timeout(150)

MEMORY_DISK = "/dev/shm"  # noqa: S108 - only looked at
PROCESSES = 7  # the command, its service, Redis, dispatcher, controller, launcher, analyzer
ROOM = ("--min-free", "1MiB", "--resume-after", "0", "--suspend-free", "0", "--min-free-inodes", "0")


@pytest.fixture
def home(short_path: Path) -> Path:
    """Return a folder whose `tmp` takes the private service, so that leftovers can be seen."""
    (short_path / "tmp").mkdir()
    return short_path


def start(home: Path, arguments: Sequence[str | Path], *, is_real: bool = False, **variables: str) -> Process:
    """Start `pcapdj run` in this folder; its processes are forks where they are not the point."""
    env = environment(TMPDIR=str(home / "tmp"), RIG=str(home), **variables)
    streams: dict[str, Any] = {"stdin": DEVNULL, "stdout": PIPE, "stderr": PIPE, "text": True}
    return forkserver.start(
        "pcapdj", "run", *arguments, cwd=home, env=env, is_real=is_real, forks=not is_real, **streams
    )


def run(home: Path, *arguments: str | Path, is_real: bool = False, **variables: str) -> tuple[int, str, str]:
    """Run `pcapdj run` to its end; return exit code, stdout and stderr. It leaves nothing behind."""
    with start(home, arguments, is_real=is_real, **variables) as process:
        stdout, stderr = process.communicate(120)
    assert not list((home / "tmp").iterdir()), "its folder is left behind"
    assert "Traceback" not in stderr
    return process.wait(), stdout, stderr


def capture(path: Path, packets: int = 10, size_bytes: int = 100, *, seconds: int = 0) -> Path:
    """Write a small capture, a packet a second; its packets have its name, so no two files are the same."""
    times, data = range(seconds, seconds + packets), path.name.encode().ljust(size_bytes, b"x")
    path.write_bytes(classic([Record(seconds=number, data=data) for number in times]))
    return path


def copying(home: Path) -> list[str]:
    """Return the command of an analyzer that copies its stream."""
    (home / "copying.py").write_text(COPYING)
    return ["--", sys.executable, str(home / "copying.py"), "{pipe}", "{logdir}"]


def test_the_summary_finds_the_download_that_five_files_cut(home: Path) -> None:
    """One whole object with the expected sha256, a record of what was fed, exit 0."""
    sample_in(home / "s")

    code, stdout, _ = run(
        home,
        *("s", "--preset", "summary", "--logdir", "o", "--expect", home / "s" / EXPECTED_NAME, *ROOM),
        is_real=True,
    )

    record = json.loads((home / "o" / "pcapdj.json").read_text())
    assert code == 0, stdout
    assert "whole" in stdout
    assert "the same" in stdout
    assert record["complete"]
    assert [file["verdict"] for file in record["files"]] == ["processed"] * 5


def test_what_a_run_prints(home: Path) -> None:
    """On stderr the plan and a line per file, on stdout the summary; not one line more."""
    capture(home / "a.pcap", 3)

    _, stdout, stderr = run(home, "a.pcap", "--logdir", "o", *ROOM, *copying(home))

    analyzer = f"{sys.executable} {home}/copying.py {{pipe}} {{logdir}}"
    [stream] = [path for path in (home / "o").iterdir() if path.is_dir() and not path.is_symlink()]
    lines = [line.rstrip() for line in stdout.splitlines()]
    assert stderr == f"1 file into {analyzer}; output in '{home}/o'.\n{home}/a.pcap: 3 packets\n"
    assert [*lines[:3], *lines[4:]] == [
        "files     1 fed",
        "packets   3",
        "bytes     372 B of capture files",
        f"analyzer  {analyzer}, exited 0",
        f"output    {stream}",
        "verdict   complete: each file was fed whole, and the analyzer ended well",
    ]
    assert re.fullmatch(r"time      \d+\.\d s \(\d.* B/s, start and end included\)", lines[3])


@pytest.mark.usefixtures("suricata")
def test_suricata_stores_the_object_whole_as_one_stream(home: Path) -> None:
    """The point of it all: the five files as one stream hold the object."""
    files = sample_in(home / "s")
    digest = (home / "s" / EXPECTED_NAME).read_text().split()[0]

    code, stdout, stderr = run(home, *files, "--preset", "suricata-extract", "--logdir", "one", *ROOM)

    assert code == 0, stderr
    stored = list((home / "one" / "latest" / "filestore").rglob(digest))
    assert [file.stat().st_size for file in stored] == [3_145_728]
    assert digest in stdout


@pytest.mark.long
def test_suricata_shows_no_whole_object_of_one_file_alone(home: Path) -> None:
    """As with `suricata -r` for each file, which test_summary_sample.py runs."""
    require_program("suricata")
    (first, *_) = sample_in(home / "s")
    digest = (home / "s" / EXPECTED_NAME).read_text().split()[0]

    code, stdout, stderr = run(home, first, "--preset", "suricata-extract", "--logdir", "o", *ROOM)

    assert code == 0, stderr
    assert ", whole" not in stdout
    assert not list((home / "o").rglob(digest))


@pytest.mark.long
def test_files_are_fed_in_the_order_given_and_folders_in_that_of_their_packets(home: Path) -> None:
    """The stream holds the records of the files in that order."""
    (home / "d").mkdir()
    for name, packets in (("d/a.pcap", 3), ("d/b.pcap", 2), ("z.pcap", 1)):
        capture(home / name, packets, seconds=10 - packets)

    code, _, stderr = run(home, "z.pcap", "d", "--logdir", "o", *ROOM, *copying(home))

    record = json.loads((home / "o" / "pcapdj.json").read_text())
    assert code == 0, stderr
    assert [Path(file["name"]).name for file in record["files"]] == ["z.pcap", "a.pcap", "b.pcap"]
    assert [file["packets"] for file in record["files"]] == [1, 3, 2]


def test_what_a_folder_has_beside_captures_is_shown(home: Path) -> None:
    """An empty file is a failed capture, as by its name: exit 1; what is no capture is skipped and named."""
    (home / "d").mkdir()
    capture(home / "d" / "a.pcap")
    (home / "d" / "b.pcap").touch()
    (home / "d" / "notes.txt").write_text("no capture")

    code, stdout, stderr = run(home, "d", "--logdir", "o", *ROOM, *copying(home))

    record = json.loads((home / "o" / "pcapdj.json").read_text())
    verdicts = {Path(file["name"]).name: file["verdict"] for file in record["files"]}
    assert code == 1
    assert verdicts == {"a.pcap": "processed", "b.pcap": "failed"}
    assert f"{home}/d/b.pcap: is empty: 0 bytes" in stderr
    assert f"Skipped: '{home}/d/notes.txt' is not a supported capture format." in stderr
    assert "1 fed, 1 failed" in stdout


def test_a_file_that_cannot_be_fed_is_named_and_the_others_are_fed(home: Path) -> None:
    """Exit 1; the reason on stderr and in the record."""
    good = capture(home / "a.pcap")
    cut = capture(home / "b.pcap")
    os.truncate(cut, cut.stat().st_size - 5)

    code, stdout, stderr = run(home, "missing.pcap", cut, good, "--logdir", "o", *ROOM, *copying(home))

    record = json.loads((home / "o" / "pcapdj.json").read_text())
    verdicts = {Path(file["name"]).name: file["verdict"] for file in record["files"]}
    assert code == 1
    assert verdicts == {"missing.pcap": "failed", "b.pcap": "failed", "a.pcap": "processed"}
    assert "missing.pcap" in stderr
    assert "does not exist" in stderr
    assert "2 failed" in stdout
    assert not record["complete"]


def test_a_run_that_can_feed_nothing_leaves_no_folder(home: Path) -> None:
    """It shows why and exits 1; a folder that the user names has the record."""
    (home / "empty.pcap").touch()

    code, stdout, stderr = run(home, "missing.pcap", "empty.pcap", *ROOM, *copying(home))
    recorded, _, _ = run(home, "missing.pcap", "--logdir", "o", *ROOM, *copying(home))

    assert (code, stdout) == (1, "")
    assert stderr.splitlines() == [
        f"{home}/missing.pcap: does not exist",
        f"{home}/empty.pcap: is empty: 0 bytes",
    ]
    assert recorded == 1
    assert {path.name for path in home.iterdir()} == {"copying.py", "empty.pcap", "o", "tmp"}


@pytest.mark.long
def test_timestamps_that_jump_are_shown_at_the_end_and_change_nothing(home: Path) -> None:
    """How many and the last one, in the summary; each in the record; exit 0. `--max-gap` sets the limit."""
    for name, first_s in (("a", 1000), ("b", 500), ("c", 600)):
        packets = [Record(first_s + number, data=b"x" * 100) for number in range(10)]
        (home / f"{name}.pcap").write_bytes(classic(packets))
    files = ("a.pcap", "b.pcap", "c.pcap")

    code, stdout, stderr = run(home, *files, "--logdir", "o", "--max-gap", "90s", *ROOM, *copying(home))
    again, quiet, _ = run(home, "b.pcap", "c.pcap", "--logdir", "p", *ROOM, *copying(home))

    record = json.loads((home / "o" / "pcapdj.json").read_text())
    words = "begins 1 min 31 s after the end of the previous file"
    assert (code, again) == (0, 0), stderr
    assert f"2 jumps; last: 'c.pcap' {words}" in stdout
    assert [(file.get("step_ns"), file.get("jump")) for file in record["files"]] == [
        (None, None),
        (-509_000_000_000, "begins 8 min 29 s before the end of the previous file"),
        (91_000_000_000, words),
    ]
    assert "timestamps" not in quiet


def test_headers_without_packets_start_no_analyzer(home: Path) -> None:
    """Nothing to feed is nothing wrong: exit 0 without a stream."""
    empty = home / "a.pcap"
    empty.write_bytes(classic([]))

    code, stdout, stderr = run(home, empty, "--logdir", "o", *ROOM, *copying(home))

    assert code == 0, stderr
    assert "not started" in stdout
    assert not list((home / "o").glob("*/copy"))


def test_an_analyzer_that_is_not_installed_is_refused_before_anything_is_created(home: Path) -> None:
    """Exit 69 and one sentence."""
    capture(home / "a.pcap")

    code, stdout, stderr = run(home, "a.pcap", "--logdir", "o", *ROOM, "--", "no-such-analyzer", "{pipe}")

    assert code == 69
    assert not stdout
    assert len(stderr.splitlines()) == 1
    assert "'no-such-analyzer' is not installed" in stderr
    assert not (home / "o").exists()


@pytest.mark.long
def test_an_analyzer_may_be_named_by_its_path_from_here(home: Path) -> None:
    """The roles work in a folder of their own, and look for it where the person does."""
    capture(home / "a.pcap")
    (home / "mine.sh").write_text('#!/bin/sh\nexec cat "$1" > copy\n')
    (home / "mine.sh").chmod(0o755)

    code, _, stderr = run(home, "a.pcap", "--logdir", "o", *ROOM, "--", "./mine.sh", "{pipe}")

    assert code == 0, stderr
    assert (home / "o" / "latest" / "copy").stat().st_size > 24


def test_an_analyzer_that_cannot_begin_ends_the_run(home: Path) -> None:
    """Exit 69 and the reason, instead of waiting for ever."""
    capture(home / "a.pcap")
    command = ["--", sys.executable, "-c", "raise SystemExit(3)", "{pipe}"]

    code, _, stderr = run(home, "a.pcap", "--logdir", "o", *ROOM, *command)

    assert code == 69
    assert "exited 3" in stderr


POISONED = """
import sys
stream, seen = open(sys.argv[1], "rb", 0), b""
while part := stream.read(1 << 16):
    seen += part
    if b"b.pcap" in seen:
        sys.exit(1)
"""


def test_a_last_file_that_kills_the_analyzer_ends_the_run_too(home: Path) -> None:
    """It has no packet in a stream; the stream of the file before is not the last one of the launcher."""
    files = [capture(home / "a.pcap", 300), capture(home / "b.pcap", 3000, 1400, seconds=300)]

    code, stdout, _ = run(
        home, *files, "--logdir", "o", *ROOM, "--", sys.executable, "-c", POISONED, "{pipe}"
    )

    assert code == 1
    assert "1 fed, 1 failed" in stdout


@pytest.mark.long
def test_an_analyzer_that_dies_on_every_file_ends_the_run(home: Path) -> None:
    """Exit 69 and where to look, in words that fit a run; --resume feeds all of them to a better one."""
    for number in range(5):
        capture(home / f"{number}.pcap")
    dying = "import sys; open(sys.argv[1], 'rb', 0).read(30); sys.exit('I cannot stand this')"
    files = ["0.pcap", "1.pcap", "2.pcap", "3.pcap", "4.pcap", "--logdir", "o", *ROOM]

    code, stdout, stderr = run(home, *files, "--", sys.executable, "-c", dying, "{pipe}")
    resumed, _, again = run(home, *files, "--resume", *copying(home))

    end = stderr.splitlines()[-1]
    record = json.loads((home / "o" / "pcapdj.json").read_text())
    assert code == 69
    assert "the analyzer is at fault" in end.lower()
    assert "analyzer.log': I cannot stand this" in end
    assert Path(end.split("'")[-2]).read_text() == "I cannot stand this\n"
    assert "0 fed, 2 failed, 3 not fed" in stdout
    assert not [word for word in ("operator", "pcapdj resume", "feeding continues") if word in stderr]
    assert stderr.count("the analyzer fails") <= 1
    assert resumed == 0, again
    assert [file["verdict"] for file in record["files"]] == ["processed"] * 5


@pytest.mark.long
def test_ctrl_c_stops_everything_and_resume_goes_on_after_the_files_done(home: Path) -> None:
    """Exit 130, no process left; with the same folder and --resume only the rest is fed."""
    small, large = capture(home / "a.pcap", 3), capture(home / "b.pcap", 4000, 1400)
    (home / "o").mkdir()
    (home / "o" / "brake").touch()
    process = start(home, [small, large, "--logdir", "o", *ROOM, *copying(home)])
    record = home / "o" / "pcapdj.json"

    wait_until(lambda: record.exists() and "a.pcap" in record.read_text(), "the first file to be fed")
    wait_until(lambda: len(processes_about(home)) >= PROCESSES, "all processes to be seen")
    process.send_signal(signal.SIGINT)
    wait_until(lambda: "pcapdj dispatch" not in titles(home), "the dispatcher to stop")
    release(home)
    _, stderr = process.communicate()
    wait_until(lambda: not processes_about(home), "every process to be gone")
    code, stdout, again = run(home, small, large, "--logdir", "o", "--resume", *ROOM, *copying(home))

    assert process.returncode == 130
    assert "--resume" in stderr
    assert code == 0, again
    assert again.splitlines()[0].startswith("1 file into ")
    assert f", 1 fed by an earlier run, '{large}' from packet " in again.splitlines()[0]
    assert "1 fed, 1 fed before" in stdout
    assert [file["packets"] for file in json.loads(record.read_text())["files"]] == [3, 4000]


@pytest.mark.long
@pytest.mark.parametrize("stops", some_long([1, 2], quick=(2,)))
def test_ctrl_c_in_mid_file_and_resume_feed_each_packet_once(home: Path, stops: int) -> None:
    """Four files and a slow analyzer: the second goes on where a run was stopped, also where two were."""
    packets = [numbered(number, 3000 if number > 1 else 50) for number in (1, 2, 3, 4)]
    files = [home / f"{number}.pcap" for number in (1, 2, 3, 4)]
    for file, content in zip(files, packets, strict=True):
        file.write_bytes(classic(content))
    (home / "o").mkdir()
    for stop in range(stops):
        options = ["--resume"] if stop else []
        arguments: list[str | Path] = [*files, "--logdir", "o", *options, *ROOM, *copying(home)]
        stderr = stopped_in_the_second_file(home, arguments, stop + 1)
    stopped = file_in_record(home, "2.pcap")
    code, stdout, again = run(home, *files, "--logdir", "o", "--resume", *ROOM, *copying(home))

    copies = [path.read_bytes() for path in sorted((home / "o").glob("2*/copy"), key=made)]
    assert b"".join(copy[24:] for copy in copies) == classic([each for file in packets for each in file])[24:]
    assert [len(copy) > 50_000 for copy in copies] == [True] * (stops + 1)
    assert stopped["verdict"] == "stopped"
    assert f"It goes on with packet {stopped['packets'] + 1:,} of '{files[1]}'." in stderr
    assert code == 0, again
    assert (
        f", 1 fed by an earlier run, '{files[1]}' from packet {stopped['packets'] + 1:,} on; output in"
        in again
    )
    assert f"packets     {9000 - stopped['packets']:,}\n" in stdout
    whole = file_in_record(home, "2.pcap")
    assert (whole["verdict"], whole["packets"], len(whole["earlier_streams"])) == ("processed", 3000, stops)
    assert "begin" not in whole


@pytest.mark.long
def test_a_file_that_a_suspect_stream_has_in_part_is_fed_again_from_its_first_packet(home: Path) -> None:
    """As the whole files of that stream: what the analyzer wrote of them may be lost."""
    packets = [numbered(number, 3000 if number > 1 else 50) for number in (1, 2)]
    files = [home / f"{number}.pcap" for number in (1, 2)]
    for file, content in zip(files, packets, strict=True):
        file.write_bytes(classic(content))
    (home / "o").mkdir()
    arguments: list[str | Path] = [*files, "--logdir", "o", *ROOM, *copying(home)]
    stopped_in_the_second_file(home, arguments, 1)
    (suspect,) = (home / "o").glob("2*")
    (suspect / SUSPECT_MARK).touch()

    code, _, again = run(home, "--resume", *arguments)

    latest = max((home / "o").glob("2*/copy"), key=made)
    assert code == 0, again
    assert again.splitlines()[0].startswith("2 files into ")
    assert "from packet" not in again
    assert latest.read_bytes() == classic([each for file in packets for each in file])


def stopped_in_the_second_file(home: Path, arguments: Sequence[str | Path], streams: int) -> str:
    """Run, press Ctrl-C while the second file is fed, and return stderr."""
    (home / "o" / "brake").touch()  # it reads 100,000 bytes; the first file has less
    with start(home, arguments) as process:
        wait_until(lambda: is_read(home, streams), "the analyzer to read")
        process.send_signal(signal.SIGINT)
        wait_until(lambda: "pcapdj dispatch" not in titles(home), "the dispatcher to stop")
        release(home)
        stdout, stderr = process.communicate()
    assert process.returncode == 130
    assert " of packets of files that were not fed whole\n" in stdout
    return str(stderr)


def is_read(home: Path, streams: int) -> bool:
    """Report whether so many analyzers have read as far as the brake lets them."""
    return sum(path.stat().st_size > 100_000 for path in (home / "o").glob("2*/copy")) == streams


def numbered(file: int, packets: int) -> list[Record]:
    """Return packets of a file, each with its number."""
    return [Record(file, n % 1000, struct.pack("<II", file, n) + b"x" * 892) for n in range(packets)]


def file_in_record(home: Path, name: str) -> dict[str, Any]:
    """Return what pcapdj.json has of a file."""
    files: list[dict[str, Any]] = json.loads((home / "o" / "pcapdj.json").read_text())["files"]
    return next(each for each in files if each["name"].endswith(name))


def made(path: Path) -> int:
    """Return when the folder of a stream's output was made."""
    return path.parent.stat().st_ctime_ns


def test_a_closed_terminal_stops_everything(home: Path) -> None:
    """As Ctrl-C does: no process and no temporary folder stay."""
    capture(home / "a.pcap", 4000, 1400)
    (home / "o").mkdir()
    (home / "o" / "brake").touch()
    process = start(home, ["a.pcap", "--logdir", "o", *ROOM, *copying(home)])

    wait_until(lambda: list((home / "o").glob("*/copy")), "the analyzer to read")
    wait_until(lambda: len(processes_about(home)) >= PROCESSES, "all processes to be seen")
    process.send_signal(signal.SIGHUP)
    (home / "o" / "brake").unlink()
    process.communicate()

    assert process.returncode == 130
    assert not list((home / "tmp").iterdir())
    wait_until(lambda: not processes_about(home), "every process to be gone")


def test_what_nohup_and_a_shells_background_have_it_ignore_stops_nothing(home: Path) -> None:
    """The terminal is closed, or Ctrl-C is meant for another program of the script."""
    capture(home / "a.pcap", 4000, 1400)
    (home / "o").mkdir()
    (home / "o" / "brake").touch()
    ignoring = ["env", "--ignore-signal=HUP", "--ignore-signal=INT", *pcapdj_command("run")]
    words = [*ignoring, "a.pcap", "--logdir", "o", *ROOM, *copying(home)]
    env = environment(TMPDIR=str(home / "tmp"), RIG=str(home))
    with subprocess.Popen(words, cwd=home, env=env, stderr=PIPE, process_group=0) as process:
        wait_until(lambda: list((home / "o").glob("*/copy")), "the analyzer to read")
        for number in (signal.SIGHUP, signal.SIGINT):
            os.killpg(process.pid, number)
        (home / "o" / "brake").unlink()
        stderr = process.communicate()[1].decode()

    assert process.returncode == 0, stderr
    assert "Stopped" not in stderr


@pytest.mark.long
def test_killed_itself_it_leaves_no_process_behind(home: Path) -> None:
    """A kill -9 of the command ends its service, the roles, Redis and the analyzer, without a pause.

    The next run removes its temporary folder.
    """
    capture(home / "a.pcap", 4000, 1400)
    (home / "o").mkdir()
    (home / "o" / "brake").touch()
    process = start(home, ["a.pcap", "--logdir", "o", *ROOM, *copying(home)])

    wait_until(lambda: list((home / "o").glob("*/copy")), "the analyzer to read")
    process.kill()
    process.communicate()
    (home / "o" / "brake").unlink()

    wait_until(lambda: not processes_about(home), "every process to be gone", limit_s=8)
    assert len(list((home / "tmp").iterdir())) == 1

    assert run(home, "a.pcap", "--logdir", "p", *ROOM, *copying(home))[0] == 0
    assert not list((home / "tmp").iterdir())


def test_a_full_disk_is_shown_while_the_gate_holds(home: Path) -> None:
    """The gate's reason is on the screen; Ctrl-C ends the wait."""
    capture(home / "a.pcap")
    disk = os.statvfs(home)
    wanted_bytes = (disk.f_bavail + disk.f_blocks) // 2 * disk.f_frsize  # less than it has, more than is free
    limits = ["--min-free", str(wanted_bytes), "--watch", "."]
    process = start(home, ["a.pcap", "--logdir", "o", *limits, *copying(home)])

    shown = next(line for line in process.stderr if "gate" in line)
    process.send_signal(signal.SIGINT)
    process.communicate()

    assert "holds" in shown
    assert "no new file starts" in shown or "the running file is paused" in shown
    assert "never" not in shown
    assert process.returncode == 130


@pytest.mark.long
def test_a_run_ends_before_a_file_whose_output_never_fits(home: Path) -> None:
    """A run has no operator who could change the reserve; the files before it are fed."""
    capture(home / "a.pcap")
    os.truncate(capture(home / "b.pcap"), 1 << 30)

    arguments = ["a.pcap", "b.pcap", "--logdir", "o", *ROOM, "--reserve", "1000", *copying(home)]
    code, _, stderr = run(home, *arguments)

    assert code == 1
    assert re.search(r"The next file 'b\.pcap' \(1\.0 GiB\) needs about 1000\.0 GiB for its output", stderr)
    assert "it never fits. Feed the rest with a smaller --reserve" in stderr
    assert "pcapdj limits" not in stderr
    record = json.loads((home / "o/pcapdj.json").read_text())
    assert [(Path(each["name"]).name, each["verdict"]) for each in record["files"]] == [
        ("a.pcap", "processed")
    ]


def test_force_reaches_the_controller(home: Path) -> None:
    """A min-free of 50 % and more is refused by the command, and by the controller, unless it is forced."""
    usage = shutil.disk_usage(MEMORY_DISK)
    if usage.free < 0.7 * usage.total:
        missing(f"{MEMORY_DISK} has no 70 % free")
    capture(home / "a.pcap")
    limits = ["--watch", MEMORY_DISK, "--min-free", "55%", "--resume-free", "60%", "--resume-after", "0"]

    refused, _, reason = run(home, "a.pcap", "--logdir", "o", *limits, *copying(home))
    code, _, stderr = run(home, "a.pcap", "--logdir", "o", *limits, "--force", *copying(home))

    assert (refused, code) == (2, 0), stderr
    assert "--force" in reason


def test_a_private_redis_that_does_not_start_ends_the_run_with_its_reason(home: Path) -> None:
    """Exit 69: how it exited, the last line of its log, and all logs beside the output."""
    capture(home / "a.pcap")
    server = home / "bin" / "redis-server"
    server.parent.mkdir()
    server.write_text(
        "#!/bin/sh\n[ $1 = --version ] && exec echo Redis server v=7.0.15\necho no room; exit 1\n"
    )
    server.chmod(0o755)

    code, stdout, stderr = run(
        home, "a.pcap", "--logdir", "o", *ROOM, *copying(home), PATH=f"{server.parent}:{os.environ['PATH']}"
    )

    assert code == 69
    assert stderr.splitlines()[1:] == ["The private Redis exited 1. Last line of its log: no room"]
    assert stdout.splitlines()[0].rstrip() == "files     0 fed, 1 not fed"
    assert (home / "o" / "logs" / "redis.log").read_text().endswith("no room\n")


def test_killed_processes_are_started_again_and_the_run_goes_on(home: Path) -> None:
    """Dispatcher, controller and Redis, in mid-file: the same analyzer gets every packet once.

    They are forks of the command; ps shows what each of them is.
    """
    with braked(home) as process:
        names = {name for name, pid in titles(home).items() if pid != process.pid}
        assert {"pcapdj service", "pcapdj dispatch", "pcapdj consume", "pcapdj control"} <= names
        for title in ("pcapdj dispatch", "pcapdj control", "redis-server"):
            killed = titles(home)[title]
            os.kill(killed, signal.SIGKILL)
            wait_until(lambda: titles(home).get(title, killed) != killed, f"another {title} to start")  # noqa: B023
        release(home)
        stdout, stderr = process.communicate()

    record = json.loads((home / "o" / "pcapdj.json").read_text())
    [stream] = record["folders"]
    assert process.wait() == 0, stderr
    assert (home / "o" / stream / "copy").read_bytes() == (home / "a.pcap").read_bytes()
    for role in ("dispatcher", "controller", "private Redis"):
        assert f"The {role} was killed by signal 9 and is started again.\n" in stderr
        assert f"{role} (killed by signal 9)" in next(
            line for line in stdout.splitlines() if line.startswith("RESTARTED")
        )
    assert {"role": "dispatcher", "ended": "killed by signal 9", "times": 1} in record["role_ends"]
    assert (home / "o" / "logs" / "dispatcher.log").exists()


def test_a_private_redis_that_stands_still_for_a_moment_ends_no_run(home: Path) -> None:
    """A busy machine lets it wait for longer than a role does; the role asks again, and so does the run."""
    with braked(home) as process:
        redis = titles(home)["redis-server"]
        os.kill(redis, signal.SIGSTOP)
        threading.Event().wait(1.5)  # this is the moment
        os.kill(redis, signal.SIGCONT)
        release(home)
        _, stderr = process.communicate()

    assert process.wait() == 0, stderr
    assert "does not answer" not in stderr


@pytest.mark.long
def test_a_killed_launcher_begins_a_new_stream(home: Path) -> None:
    """Its analyzer dies with it: the file is fed again to another one, and the run ends with 1."""
    with braked(home) as process:
        os.kill(titles(home)["pcapdj consume"], signal.SIGKILL)
        wait_until(lambda: len(list((home / "o").glob("*/copy"))) == 2, "another analyzer to read")
        release(home)
        stdout, stderr = process.communicate()

    assert process.wait() == 1, stderr
    logged = (home / "o" / "logs" / "dispatcher.log").read_text()
    assert f"REPLAYED   '{home}/a.pcap': fed again, because the stream broke off" in stdout, logged
    assert file_in_record(home, "a.pcap")["attempt"] == 2
    assert (home / "o" / "latest" / "copy").read_bytes() == (home / "a.pcap").read_bytes()


@pytest.mark.long
def test_a_killed_service_ends_the_run(home: Path) -> None:
    """Exit 1, the reason, the logs; no process and no folder stay."""
    with braked(home) as process:
        os.kill(titles(home)["pcapdj service"], signal.SIGKILL)
        release(home)
        _, stderr = process.communicate()

    assert process.wait() == 1
    assert "The process that runs the private service died." in stderr
    assert (home / "o" / "logs" / "dispatcher.log").exists()
    assert not list((home / "tmp").iterdir())
    wait_until(lambda: not processes_about(home), "every process to be gone")


@pytest.mark.long
def test_a_second_ctrl_c_does_not_wait_for_the_analyzer(home: Path) -> None:
    """The first one waits until it has flushed, which this one never does."""
    with braked(home) as process:
        analyzer = next(pid for title, pid in titles(home).items() if title.startswith("python"))
        process.send_signal(signal.SIGINT)
        wait_until(lambda: "pcapdj dispatch" not in titles(home), "the dispatcher to stop")
        assert process.poll() is None
        assert psutil.pid_exists(analyzer)
        process.send_signal(signal.SIGINT)
        process.communicate()

    assert process.wait() == 130
    wait_until(lambda: not processes_about(home), "every process to be gone")


@pytest.mark.long
def test_a_second_stop_that_arrives_with_the_first_does_not_wait_for_the_analyzer_either(home: Path) -> None:
    """Ctrl-C and SIGTERM together: neither is lost, however late the command comes to read them."""
    with braked(home) as process:
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: process.is_stopped, "the command to stop")
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
            process.send_signal(number)
        process.communicate()

    assert process.wait() == 130
    wait_until(lambda: not processes_about(home), "every process to be gone")


@contextmanager
def braked(home: Path) -> Iterator[Process]:
    """Start a run whose analyzer has read a part of its only file, and reads on after `release`."""
    capture(home / "a.pcap", 4000, 1400)
    (home / "o").mkdir()
    (home / "o" / "brake").touch()
    with start(home, ["a.pcap", "--logdir", "o", *ROOM, *copying(home)]) as process:
        copies = (home / "o").glob
        wait_until(
            lambda: any(each.stat().st_size > 100_000 for each in copies("*/copy")), "the analyzer to read"
        )
        wait_until(lambda: "pcapdj control" in titles(home), "all processes to have their titles")
        yield process


@pytest.mark.long
@pytest.mark.parametrize("options", some_long([(), ("--resume",)], quick=[("--resume",)]))
def test_a_second_run_in_the_same_folder_is_refused(home: Path, options: Sequence[str]) -> None:
    """It would feed the same files again: exit 75. The first one goes on, and its record is whole."""
    with braked(home) as process:
        again = start(home, ["a.pcap", "--logdir", "o", *options, *ROOM, *copying(home)])
        _, refusal = again.communicate()
        release(home)
        process.communicate()

    assert refusal == (
        f"pcapdj run: Another run writes to '{home}/o'. Wait for its end, or use another --logdir.\n"
    )
    assert (again.returncode, process.returncode) == (75, 0)
    assert json.loads((home / "o" / "pcapdj.json").read_text())["complete"]
    assert len(list((home / "o").glob("2*/copy"))) == 1


def assert_all_is_fed(home: Path) -> None:
    """Assert that the record has three files of ten packets, and that nothing else is left."""
    record = json.loads((home / "o" / "pcapdj.json").read_text())
    assert record["complete"]
    assert [each["packets"] for each in record["files"]] == [10, 10, 10]
    assert len(list((home / "o").rglob("copy"))) == 1
    assert not list((home / "tmp").iterdir())


@pytest.fixture
def three_files(home: Path) -> list[str]:
    """Return the arguments of a run of three files."""
    names = [capture(home / f"{number}.pcap").name for number in range(3)]
    return ["run", *names, "--logdir", "o", *ROOM, *copying(home)]


@pytest.mark.long
@pytest.mark.parametrize("streams", [">&- 2>&-", "<&- >&- 2>&-"])
def test_all_is_fed_when_the_screen_is_closed(home: Path, three_files: list[str], streams: str) -> None:
    """The record has what the screen has not."""
    words = shlex.join([sys.executable, "-m", "pcapdj", *three_files])
    env = environment(TMPDIR=str(home / "tmp"), RIG=str(home))
    ended = subprocess.run(["bash", "-c", f"{words} {streams}"], cwd=home, env=env, check=False)

    assert ended.returncode == 0
    assert_all_is_fed(home)


@pytest.mark.parametrize(("files", "code"), [(63, 73), (64, 0)])
def test_a_run_needs_some_files(home: Path, three_files: list[str], files: int, code: int) -> None:
    """With fewer its Redis takes no more clients, and the roles would wait; nothing is made then."""
    words = shlex.join([sys.executable, "-m", "pcapdj", *three_files])
    env = environment(TMPDIR=str(home / "tmp"), RIG=str(home))
    limited = ["bash", "-c", f"ulimit -n {files}; {words}"]
    ended = subprocess.run(limited, cwd=home, env=env, check=False, text=True, capture_output=True)

    assert ended.returncode == code, ended.stderr
    if code:
        sentence = (
            f"A process may open only {files} files here; a run needs 64. Raise the limit with ulimit -n."
        )
        assert ended.stderr == f"pcapdj run: {sentence}\n"
        assert not (home / "o").exists()
    else:
        assert_all_is_fed(home)


@pytest.mark.long
@pytest.mark.parametrize("screen", ["on a full disk", "without a reader"])
def test_all_is_fed_when_the_screen_cannot_be_written(
    home: Path, three_files: list[str], screen: str
) -> None:
    """It ends nothing; the record has what the screen has not."""
    ours, theirs = os.pipe()
    os.close(ours)
    env = environment(TMPDIR=str(home / "tmp"), RIG=str(home))
    with open("/dev/full", "wb") as full, open(theirs, "wb") as unread:  # noqa: PTH123 - a descriptor
        output = full if screen == "on a full disk" else unread
        ended = forkserver.run(
            "pcapdj", *three_files, cwd=home, env=env, stdout=output, stderr=output, forks=True
        )

    assert ended.returncode == 0
    assert_all_is_fed(home)


@pytest.mark.long
def test_a_real_terminal_that_closes_stops_it_in_order(home: Path) -> None:
    """Writing to it fails before the signal arrives; as after Ctrl-C the exit code is 130."""
    capture(home / "a.pcap", 4000, 1400)
    (home / "o").mkdir()
    (home / "o" / "brake").touch()
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "pcapdj", "run", "a.pcap", "--logdir", "o", *ROOM, *copying(home)]
    env = environment(TMPDIR=str(home / "tmp"), RIG=str(home), TERM="xterm")
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    with subprocess.Popen(["setsid", "-c", *command], cwd=home, env=env, **streams) as process:  # type: ignore[call-overload]
        os.close(theirs)
        wait_until(lambda: list((home / "o").glob("2*/copy")), "the analyzer to read")
        os.close(ours)
        (home / "o" / "brake").unlink()
        assert process.wait() == 130

    assert not list((home / "tmp").iterdir())
    wait_until(lambda: not processes_about(home), "every process to be gone")


def test_a_temporary_folder_that_sockets_do_not_fit_into_is_refused_first(home: Path) -> None:
    """Nothing is made, so the same command may follow with another TMPDIR; a link hides no length."""
    capture(home / "a.pcap")
    deep = home / ("long" * 25)
    deep.mkdir()
    (home / "link").symlink_to(deep)
    for temporary in (deep, home / "link"):
        env = environment(TMPDIR=str(temporary), RIG=str(home))
        words = ["run", "a.pcap", "--logdir", "o", *ROOM, *copying(home)]
        ended = forkserver.run("pcapdj", *words, cwd=home, env=env, forks=True)

        assert ended.returncode == 73
        assert "unix sockets take 107. Set TMPDIR to a folder with a shorter path." in ended.stderr
        assert not (home / "o").exists()
        assert not list(deep.iterdir())


def test_a_role_that_can_never_run_ends_the_run_at_its_first_exit(home: Path) -> None:
    """The reason is the role's own sentence; nothing is tried twenty times."""
    capture(home / "a.pcap")

    code, _, stderr = run(home, "a.pcap", "--logdir", "o", *ROOM, *copying(home), PCAPDJ_FLUSH_TIMEOUT="soon")

    reason = "pcapdj consume: --flush-timeout: 'soon' is not a time."
    assert code == 1
    assert f"The launcher is not started again. {reason}" in stderr
    assert (home / "o" / "logs" / "consumer.log").read_text().count(reason) == 1


def test_a_form_of_the_loops_that_does_not_exist_is_refused_before_anything_is_made(home: Path) -> None:
    """The files are looked at first, with the same loops."""
    capture(home / "a.pcap")

    code, _, stderr = run(home, "a.pcap", "--logdir", "o", *ROOM, *copying(home), PCAPDJ_LOOPS="fast")

    assert code == 2
    assert "PCAPDJ_LOOPS: 'fast' is neither python nor compiled." in stderr
    assert not (home / "o").exists()


def test_the_settings_of_a_service_do_not_reach_a_run(home: Path) -> None:
    """The files are those of the command line, in its order."""
    names = [capture(home / f"{number}.pcap").name for number in range(3)]

    with start(
        home,
        [*names, "--logdir", "o", *ROOM, *copying(home)],
        PCAPDJ_TAKE="tail",
        PCAPDJ_ROOT="/nowhere",
        PCAPDJ_IDLE_EOF="0.01s",
    ) as process:
        _, stderr = process.communicate(120)

    files = json.loads((home / "o" / "pcapdj.json").read_text())["files"]
    starts = [each["stream_start"] for each in files]
    assert process.returncode == 0, stderr
    assert [Path(each["name"]).name for each in files] == names
    assert starts == sorted(starts)


def release(home: Path) -> None:
    """Let the analyzer read on."""
    (home / "o" / "brake").unlink()


def titles(home: Path) -> dict[str, int]:
    """Return the pids of the processes that work for the run in this folder, by their names in ps."""
    found = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # it has ended meanwhile
            if str(home) in process.cwd() and process.status() != psutil.STATUS_ZOMBIE:
                found[Path(f"/proc/{process.pid}/comm").read_text().strip()] = process.pid
    return found


@pytest.mark.long
def test_files_are_fed_while_the_record_cannot_be_written(home: Path) -> None:
    """The folder's disk is full: it is shown once, the files are fed; exit code and summary show it."""
    for number in range(3):
        capture(home / f"{number}.pcap")
    disk = home / "o"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", disk], check=False
    ).returncode:
        missing("only root may mount a small tmpfs")
    try:
        with suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
            while ballast.write(bytes(4096)):
                pass
        reader = ["--", "sh", "-c", 'exec cat "$1" >/dev/null', "sh", "{pipe}"]
        limits = ["--min-free", "0", "--min-free-inodes", "0"]
        code, stdout, stderr = run(home, "0.pcap", "1.pcap", "2.pcap", "--logdir", disk, *limits, *reader)
    finally:
        subprocess.run(["umount", disk], check=True)

    assert code == 1
    assert "files       3 fed\n" in stdout
    assert "RECORD      pcapdj.json could not be written: No space left on device" in stdout
    assert stderr.count("cannot be written: No space left on device. Feeding continues;") == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--min-free", "lots"], "lots"),
        (["--min-free", "98%"], "free"),
        (["--max-gap", "soon"], "--max-gap: 'soon' is not a time"),
        (["--min-free", "10%", "--resume-free", "5%"], "resume"),
        (["--min-free", "900TiB"], "900.0 TiB"),
        (["--min-free", "1MiB", "--resume-free", "900TiB"], "900.0 TiB"),
        (["--watch", "nowhere"], "nowhere"),
        (["--preset", "nonsense"], "nonsense"),
        (["--no-such-option"], "--no-such-option"),
        (["--", "cat", "/dev/null"], "{pipe}"),
        (["--expect", "missing"], "missing"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_an_invalid_option_is_refused_before_anything_is_created(
    home: Path, arguments: list[str], expected: str
) -> None:
    """Exit 2, one sentence that names it, and no folder."""
    capture(home / "a.pcap")

    code, stdout, stderr = run(home, "a.pcap", *arguments)

    assert code == 2
    assert not stdout
    assert len(stderr.splitlines()) == 1
    assert expected in stderr
    assert sorted(path.name for path in home.iterdir()) == ["a.pcap", "tmp"]


@pytest.mark.long
def test_another_link_type_begins_a_new_stream_or_is_rewritten(home: Path) -> None:
    """Where that is wanted; by default it fails."""
    ethernet, raw = capture(home / "1.pcap"), home / "2.pcap"
    raw.write_bytes(classic([Record(data=b"\x45raw")], linktype=101))

    def copies(*options: str) -> tuple[int, list[int]]:
        logdir = home / f"out{options[-1] if options else ''}"
        code, _, _ = run(home, *ROOM, "--logdir", logdir, *options, ethernet, raw, *copying(home))
        record = json.loads((logdir / "pcapdj.json").read_text())
        found = [(logdir / folder / "copy").stat() for folder in record["folders"]]
        found.sort(key=lambda each: each.st_mtime_ns)  # two streams of one second have names in any order
        sizes = [each.st_size for each in found]
        assert record["complete"] is (code == 0)
        return code, sizes

    size = ethernet.stat().st_size
    assert copies() == (1, [size])
    assert copies("--on-linktype", "new-stream") == (0, [size, raw.stat().st_size])
    assert copies("--on-linktype", "ethernet") == (0, [size + 16 + 14 + 4])


@pytest.mark.long
def test_the_end_of_every_streams_analyzer_counts(home: Path) -> None:
    """One that ended with an error is shown, though the last one ended well."""
    ethernet, raw = capture(home / "1.pcap"), home / "2.pcap"
    raw.write_bytes(classic([Record(data=b"\x45raw")], linktype=101))
    analyzer = "import sys; data = open(sys.argv[1], 'rb').read(); sys.exit(3 if data[20] == 1 else 0)"

    options: list[str | Path] = [*ROOM, "--on-linktype", "new-stream", "--logdir", home / "out"]
    code, stdout, _ = run(home, *options, ethernet, raw, "--", sys.executable, "-c", analyzer, "{pipe}")

    assert code == 1
    assert "exited 3, exited 0" in stdout


@pytest.mark.long
def test_nothing_is_fed_when_an_earlier_run_fed_everything(home: Path) -> None:
    """No analyzer starts; what the earlier run extracted is shown, and compared, once more.

    Without --resume its folder is not written to: exit 2.
    """
    sample_in(home / "s")
    expected = home / "s" / EXPECTED_NAME
    arguments: list[str | Path] = ["s", "--preset", "summary", "--logdir", "o", "--expect", expected, *ROOM]
    assert run(home, *arguments)[0] == 0

    refused, _, reason = run(home, *arguments)
    code, stdout, stderr = run(home, *arguments, "--resume")

    assert refused == 2
    assert "--resume" in reason
    assert code == 0, stdout
    assert "All 5 files were fed by an earlier run, nothing to feed; output in " in stderr
    assert "0 fed, 5 fed before" in stdout
    assert "the same" in stdout
    assert len(json.loads((home / "o" / "pcapdj.json").read_text())["folders"]) == 1


def test_resume_needs_the_folder_of_an_earlier_run(home: Path) -> None:
    """A mistyped folder would feed everything again: exit 2, and nothing is made."""
    capture(home / "a.pcap")

    without, _, error = run(home, "a.pcap", "--resume")
    mistyped, _, _ = run(home, "a.pcap", "--resume", "--logdir", "nope")

    assert (without, mistyped) == (2, 2)
    assert "--logdir" in error
    assert not (home / "nope").exists()


@pytest.mark.long
def test_an_order_that_the_times_contradict_is_shown(home: Path) -> None:
    """A shell's `*` puts cap10 before cap8: sessions would be cut, and the reason would not be visible."""
    for number in (10, 8):
        capture(home / f"cap{number}.pcap", seconds=number)

    code, _, stderr = run(home, "cap10.pcap", "cap8.pcap", "--logdir", "o", *ROOM, *copying(home))

    assert code == 0
    assert (
        f"The files are fed in the order given, and '{home}/cap8.pcap' begins 2 s before '{home}/cap10.pcap',"
        " which is fed first. A folder is fed in the order of its packets.\n"
    ) in stderr


FILLING = """
import os, sys
open(sys.argv[1], "rb").read()
try:
    with open("data", "wb", 0) as data:
        while True:
            data.write(bytes(1 << 16))
except OSError as error:
    os.truncate("data", 0)
    print(error)
"""


@pytest.mark.long
def test_a_suspect_streams_files_are_fed_again_with_resume(home: Path) -> None:
    """The disk was full for a moment, and the analyzer exits with 0: the run ends with 1, the next with 0."""
    capture(home / "a.pcap")
    limits = ("--min-free", "0", "--suspend-free", "0", "--min-free-inodes", "0", "--resume-after", "0")
    with memory_mount(home, "4m") as disk:
        arguments = ("a.pcap", "--logdir", disk.folder / "o", *limits)

        code, stdout, _ = run(home, *arguments, "--", sys.executable, "-ISc", FILLING, "{pipe}")
        record = json.loads((disk.folder / "o/pcapdj.json").read_text())
        reason = record["files"][0].pop(
            "suspect"
        )  # a full disk may not take it, but has the mark in the folder
        (disk.folder / "o/pcapdj.json").write_text(json.dumps(record))
        resumed, _, stderr = run(home, *arguments, "--resume", "--", "cat", "{pipe}")
        completed = json.loads((disk.folder / "o/pcapdj.json").read_text())

    assert code == 1, stdout
    assert "SUSPECT   stream" in stdout
    assert "No space left on device" in reason
    assert "1 file into" in stderr, "it is fed again"
    assert resumed == 0
    assert "suspect" not in completed["files"][0]
