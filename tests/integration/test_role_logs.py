"""What the roles log in an ordinary life, from start to stop: operators read it, and scripts match it."""

import re
import signal
import sys
from pathlib import Path

import pytest
from support.forkserver import run
from support.roles_rig import Trio, trio_in
from support.rows import each_row

from pcapdj.runtime.errors import ExitCode

COPYING = f"{sys.executable} -IS RIG/copying.py"
OUT = "RIG/out/TIME-STREAM"
LOGS = {
    "dispatcher": [
        "INFO dispatcher started pid=PID redis=unix://RIG/redis.sock pipe=RIG/run/stream.pcap",
        "INFO dispatcher next_file name=RIG/captures/a.pcap attempt=1",
        "INFO dispatcher waiting_for_authorization name=RIG/captures/a.pcap",
        "INFO dispatcher authorized name=RIG/captures/a.pcap",
        "INFO dispatcher stream_opened stream=STREAM linktype=1 nanosecond=False",
        (
            "INFO dispatcher file_finished name=RIG/captures/a.pcap packets=20 bytes=18000 seconds=SECONDS"
            " stream=STREAM first=1970-01-01T00:00:01.000000Z last=1970-01-01T00:00:01.000019Z"
        ),
        "INFO dispatcher next_file name=RIG/captures/text attempt=1",
        "WARNING dispatcher file_failed name=RIG/captures/text packets=0: is not a supported capture format",
        "INFO dispatcher waiting: Waiting for files in the queue.",
    ],
    "consumer": [
        (
            "INFO consumer started pid=PID socket=RIG/run/launcher.sock"
            f" command='{COPYING} {{pipe}} {{logdir}} RIG/brake'"
        ),
        (
            f"INFO consumer analyzer_started stream=STREAM pid=PID logdir={OUT}:"
            f" {COPYING} RIG/run/stream.pcap {OUT} RIG/brake"
        ),
        "INFO consumer stream_open stream=STREAM pid=PID",
        "INFO consumer stopping",
        "INFO consumer stream_ended stream=STREAM exit='exited 0'",
    ],
    "controller": [
        (
            "INFO controller limits path=RIG free_bytes=SIZE hold_below_bytes=1 open_from_bytes=1"
            " suspend_below_bytes=0 resume_after_s=0"
        ),
        (
            "INFO controller gate_open path=RIG free_bytes=SIZE needed_bytes=1:"
            " 'RIG' has ROOM free; it holds below 1 B (1 byte)."
        ),
        "INFO controller file_authorized name=RIG/captures/a.pcap",
    ],
}
CHANGING = [  # what differs between two runs, and what stands above instead
    (r"pid=\d+", "pid=PID"),
    (r"seconds=\d+\.\d+", "seconds=SECONDS"),
    (r"(stream=|-)[0-9a-f]{8,16}\b", r"\1STREAM"),
    (r"\d{8}T\d{6}Z", "TIME"),
    (r"free_bytes=\d+", "free_bytes=SIZE"),
    (r"has \d+\.\d [KMGT]iB \([\d,]+ bytes\)", "has ROOM"),
]


def log_of(trio: Trio, role: str) -> list[str]:
    """Return a role's events without their times."""
    text = trio.logged(role).replace(str(trio.folder), "RIG")
    for pattern, shown in CHANGING:
        text = re.sub(pattern, shown, text)
    lines = [line.split(maxsplit=1)[1] for line in text.splitlines()]
    return [re.sub(" +", " ", line) for line in lines if line.startswith(("INFO", "WARNING", "ERROR"))]


def test_one_file_is_fed_and_one_is_refused(short_path: Path) -> None:
    """Every line of the three roles, in order, with all of its fields."""
    with trio_in(short_path) as (_, trio):
        (trio.captures / "text").write_text("hello")
        trio.queue(trio.capture("a.pcap", 1, 20), trio.captures / "text")
        trio.start_all()
        trio.await_processed(1)
        trio.wait_logged("dispatcher", "Waiting for files")
        codes = [trio.kill(role, signal.SIGTERM) for role in LOGS]
        logs = {role: log_of(trio, role) for role in LOGS}

    assert codes == [0, 0, 0]
    waits = {f"INFO dispatcher waiting: {what}" for what in ("Waiting for the launcher", "The analyzer")}
    logs["dispatcher"] = [line for line in logs["dispatcher"] if not line.startswith(tuple(waits))]
    assert logs == LOGS


@pytest.mark.long
@pytest.mark.parametrize("stops", [1, 2])
def test_a_second_stop_signal_kills_the_analyzer(short_path: Path, stops: int) -> None:
    """The first one lets it read what is in the pipe to its end; with a second one the stream is suspect."""
    with trio_in(short_path) as (_, trio):
        trio.brake.touch()
        trio.queue(trio.capture("a.pcap", 1, 100))
        trio.start_all()
        trio.await_copied(30_000)
        launcher = trio.processes["consumer"]
        for stop in range(1, stops + 1):
            launcher.send_signal(signal.SIGTERM)
            trio.wait_logged("consumer", "consumer stopping", stop)
        if stops == 1:
            trio.brake.unlink()
        code = launcher.wait()
        lines = [line for line in log_of(trio, "consumer") if "stream_" in line and "_open" not in line]
        stopping = [line for line in log_of(trio, "consumer") if "stopping" in line]

    assert code == 0
    assert stopping == ["INFO consumer stopping", "INFO consumer stopping at_once=True"][:stops]
    ended = {line.split()[2]: line for line in lines}
    assert {*ended} == {"stream_ended", *(["stream_suspect"] if stops == 2 else [])}
    assert ended["stream_ended"].startswith("INFO" if stops == 1 else "WARNING")
    assert ("killed" in ended["stream_ended"]) == (stops == 2)


@each_row(
    ("role", "command"),
    [
        ("dispatcher", "pcapdj dispatch"),
        ("consumer_launcher", "pcapdj consume"),
        ("controller", "pcapdj control"),
        ("importer", "pcapdj import"),
    ],
)
def test_a_role_that_is_refused_names_its_command(role: str, command: str) -> None:
    """However it was started: the same stands in the log of a service."""
    done = run(f"pcapdj.{role}", "--no-such-option")

    assert done.returncode == ExitCode.USAGE
    assert done.stderr == f"{command}: No such option: --no-such-option. See '{command} --help'.\n"
