"""Log lines: one for each event, and no text from outside can forge one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.waiting import scaled

from pcapdj.runtime import log
from pcapdj.runtime.log import EventLog, Reminder, format_line

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ INFO    dispatcher ")
HEAD = "INFO    dispatcher file_finished"
anything = st.one_of(st.binary(max_size=60), st.text(max_size=60))


def test_a_line_has_time_level_role_event_and_fields() -> None:
    """In the order of the module's head; a field whose value is None is left out."""
    line = format_line(0, HEAD, "", {"name": b"/in/1.pcap", "packets": 7, "age_s": 0.25, "offset": None})

    assert (
        line == "1970-01-01T00:00:00Z INFO    dispatcher file_finished name=/in/1.pcap packets=7 age_s=0.25\n"
    )


def test_a_value_with_blanks_or_quotes_is_quoted() -> None:
    """So that a program can split the fields again."""
    line = format_line(0, HEAD, "It's done.", {"name": b"/in/a b='x'", "reason": ""})

    assert line.endswith(" name='/in/a b=\\'x\\'' reason='': It's done.\n")


@given(anything, anything, st.text(max_size=60))
def test_no_field_and_no_sentence_can_forge_a_line(
    name: bytes | str, reason: bytes | str, sentence: str
) -> None:
    """The result is one line, and every character that could act on a terminal is escaped."""
    line = format_line(0, HEAD, sentence, {"name": name, "reason": reason})

    assert LINE.match(line)
    assert line.endswith("\n")
    assert line[:-1].isprintable()


def test_lines_come_out_in_order_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """A thread writes them; `flush` waits for it."""
    events = EventLog("dispatcher")
    for number in range(50):
        events.info("counted", number=number)
    events.warning("degraded", "Waiting.")
    events.error("stopping")
    log.flush()

    *counted, degraded, stopping = capsys.readouterr().err.splitlines()
    assert [line.rpartition("=")[2] for line in counted] == [str(number) for number in range(50)]
    assert degraded.endswith("WARNING dispatcher degraded: Waiting.")
    assert stopping.endswith("ERROR   dispatcher stopping")


def test_a_reminder_is_due_at_once_then_once_a_minute_and_for_every_new_subject() -> None:
    """A long wait is not logged at each poll."""
    reminder = Reminder(60)

    due = [reminder.is_due("redis", now_s) for now_s in (0, 1, 59, 60, 61)]

    assert due == [True, False, False, True, False]
    assert reminder.is_due("the launcher", 62)
    reminder.reset()
    assert reminder.is_due("the launcher", 63)


def run(code: str, **options: object) -> "subprocess.Popen[bytes]":
    """Start a process that logs."""
    head = "import sys\nfrom pcapdj.runtime.log import EventLog, flush\nevents = EventLog('dispatcher')\n"
    return subprocess.Popen([sys.executable, "-c", head + code], stdout=subprocess.PIPE, **options)  # type: ignore[call-overload,no-any-return]  # options of Popen


def test_a_stderr_that_is_not_read_blocks_no_caller_and_lost_lines_are_counted() -> None:
    """12,000 lines of 240 characters are more than pipe and queue hold; the number of the rest is logged."""
    code = """
for number in range(12_000):
    events.info("counted", number=number, filler="x" * 200)
    if number == 2_000:
        flush()  # the pipe is full now: no line leaves the queue before the last one is logged
print("done", flush=True)
sys.stdin.readline()
for attempt in range(60):  # one flush is short; a busy machine may need several
    flush()
"""
    with run(code, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"done\n"  # type: ignore[union-attr]  # a pipe
        logged = process.communicate(b"go on\n")[1].decode().splitlines()

    (notice,) = [line for line in logged if line.startswith("(")]
    lines = [line for line in logged if " counted " in line]
    dropped = int(notice.removeprefix("(").partition(" ")[0])
    assert notice.endswith("log lines were dropped: stderr was not read)")
    assert dropped + len(lines) == 12_000


BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def test_lines_that_cannot_be_written_do_not_change_the_exit_code() -> None:
    """A full disk behind stderr, as behind supervisord's log; Python alone exits with 120 then."""
    code = (
        "from pcapdj.runtime.log import EventLog\nEventLog('importer').info('counted')\nraise SystemExit(7)"
    )

    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([sys.executable, "-c", code], stderr=full, env=BUFFERED, check=False)

    assert done.returncode == 7


@pytest.mark.parametrize("code", ["", "import os\nos.close(2)\n", "sys.stderr.close()\n"])
def test_without_a_stderr_nothing_fails(code: str) -> None:
    """Closed before the start or meanwhile: the process works, and no flush waits for its half second."""
    work = code + "for _ in range(60):\n    events.info('counted')\n    flush()\nprint('done')\n"
    closing = ["sh", "-c", 'exec "$@" 2>&-', "sh"] if not code else []
    head = "import sys\nfrom pcapdj.runtime.log import EventLog, flush\nevents = EventLog('dispatcher')\n"

    done = subprocess.run(
        [*closing, sys.executable, "-c", head + work],
        env=BUFFERED,
        capture_output=True,
        check=False,
        timeout=scaled(20),
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, b"done\n", b"")
