"""A session's time limits, with real analyzers and a clock that the test sets."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.descriptors import open_descriptors
from support.waiting import wait_until

from pcapdj.analyzer.launch import AnalyzerStarter
from pcapdj.analyzer.presets import own_command
from pcapdj.analyzer.session import AnalyzerSession, Exit, Stage, Timeouts, Verdict
from pcapdj.runtime.errors import Unavailable
from pcapdj.runtime.fifo import Fifo

READ = "import sys, time, signal; f = open(sys.argv[1], 'rb', 0); f.read(1)\n"
IGNORE_TERM = "signal.signal(15, signal.SIG_IGN); open('ignores', 'w')\n"
STAY = "while True: time.sleep(0.02)"


@pytest.fixture
def sessions() -> Iterator[list[AnalyzerSession]]:
    """Return a list for the sessions of a test; those in it are killed in the end."""
    sessions: list[AnalyzerSession] = []
    yield sessions
    for session in sessions:
        session.kill("the test is over")
        wait_until(session.analyzer.exit_status, "the analyzer to be gone")
        session.close()


def started(tmp_path: Path, code: str, sessions: list[AnalyzerSession]) -> AnalyzerSession:
    """Return a session at time 0 with Python code as its analyzer, once that has the pipe open."""
    command = own_command([sys.executable, "-c", code, "{pipe}"])
    starter = AnalyzerStarter(command, Fifo(tmp_path / "p"), tmp_path / "out", Timeouts(120.0))
    session = starter.start(0.0)
    sessions.append(session)
    wait_until(lambda: session.advance(0.0) is Stage.READING, "the pipe to be opened")
    return session


def fed(session: AnalyzerSession, folder: Path) -> None:
    """Store a file for the session and write a byte."""
    source = folder / "source"
    source.write_bytes(b"x")
    session.stored.put("file", os.open(source, os.O_RDONLY), {})
    os.write(session.write_end or -1, b"x")


def exit_of(session: AnalyzerSession, now_s: float) -> Exit:
    """Return how the session ended, with the clock at that time."""
    exits: list[Exit] = []

    def is_over() -> bool:
        exits.extend(each for each in [session.advance(now_s)] if isinstance(each, Exit))
        return bool(exits)

    wait_until(is_over, "the session to end")
    return exits[0]


def test_opening_the_pipe_is_reported_once(tmp_path: Path, sessions: list[AnalyzerSession]) -> None:
    """The launcher replies to OPEN at this step, and at no other one."""
    session = started(tmp_path, READ + STAY, sessions)

    assert session.stage is Stage.READING
    assert [session.advance(0.0) for _ in range(3)] == [None, None, None]


def test_a_start_is_polled_less_often_after_five_seconds(
    tmp_path: Path, sessions: list[AnalyzerSession]
) -> None:
    """Most analyzers open the pipe at once; Suricata with many rules takes a minute."""
    command = own_command([sys.executable, "-c", STAY.replace("while", "import time\nwhile"), "{pipe}"])
    session = AnalyzerStarter(command, Fifo(tmp_path / "p"), tmp_path / "out", Timeouts(1.0)).start(0.0)
    sessions.append(session)

    assert session.advance(4.9) is None
    assert (session.timeout_s(4.9), session.timeout_s(5.0)) == (0.005, 0.02)


def test_a_crash_has_the_time_that_the_analyzer_read(tmp_path: Path, sessions: list[AnalyzerSession]) -> None:
    """After a minute of it the pauses between restarts begin again."""
    session = started(tmp_path, READ, sessions)
    os.write(session.write_end or -1, b"x")

    ended = exit_of(session, 61.0)

    assert (ended.verdict, ended.reading_s) == (Verdict.CRASHED, 61.0)


def test_an_analyzer_that_ignores_term_is_killed_five_seconds_later(
    tmp_path: Path, sessions: list[AnalyzerSession]
) -> None:
    """Flush timeout, TERM, five seconds, KILL; the reason names the timeout."""
    session = started(tmp_path, READ + IGNORE_TERM + STAY, sessions)
    fed(session, tmp_path)
    wait_until((session.folder / "ignores").exists, "the analyzer to ignore TERM")

    session.end(10.0)
    assert session.advance(129.9) is None
    assert session.timeout_s(129.9) == pytest.approx(0.1)
    assert session.advance(130.1) is None  # TERM
    assert session.advance(135.0) is None
    assert session.analyzer.exit_status() is None
    ended = exit_of(session, 135.2)  # KILL

    assert ended.verdict is Verdict.ENDED
    assert ended.status.startswith("killed by signal 9")
    assert "120 s" in ended.reason


def test_an_analyzer_that_closed_the_pipe_has_two_seconds_to_exit(
    tmp_path: Path, sessions: list[AnalyzerSession]
) -> None:
    """It usually exits by itself and has a status then; in these seconds it is not fed."""
    session = started(tmp_path, READ + "f.close(); open('closed', 'w')\n" + STAY, sessions)
    fed(session, tmp_path)
    wait_until((session.folder / "closed").exists, "the pipe to be closed")

    assert not session.can_be_fed(20.0)
    assert session.advance(21.9) is None
    assert session.analyzer.exit_status() is None
    assert session.polled_write_end() is None  # the loop would spin on its POLLERR
    ended = exit_of(session, 22.1)

    assert ended.verdict is Verdict.CRASHED
    assert "closed the pipe and did not exit" in ended.reason


def test_an_analyzer_that_closed_the_pipe_is_killed_at_end(
    tmp_path: Path, sessions: list[AnalyzerSession]
) -> None:
    """It reads no more, so there is nothing to wait for."""
    session = started(tmp_path, READ + "f.close(); open('closed', 'w')\n" + STAY, sessions)
    fed(session, tmp_path)
    wait_until((session.folder / "closed").exists, "the pipe to be closed")
    assert not session.can_be_fed(0.0)

    session.end(1.0)

    assert exit_of(session, 1.0).status == "killed by signal 9 (it had closed the pipe)"


def test_an_analyzer_without_records_is_killed_at_end(
    tmp_path: Path, sessions: list[AnalyzerSession]
) -> None:
    """It has nothing to flush, and Suricata would wait for ever; nothing is wrong with that."""
    session = started(tmp_path, READ + STAY, sessions)
    write_end = session.write_end

    session.end(1.0)
    session.end(2.0)

    ended = exit_of(session, 2.0)
    assert (ended.verdict, ended.reason) == (Verdict.ENDED, "")
    assert ended.status == "killed by signal 9 (it had nothing to read)"
    assert session.write_end is None
    assert write_end not in open_descriptors()


# The child reads on behind its parent, as the program in bash's `tee >(PROGRAM)` does.
LEFT = (
    "import os, sys, time, signal; f = open(sys.argv[1], 'rb', 0)\n"
    "if os.fork():\n"
    "    os.read(f.fileno(), 1); os._exit(0)\n"
    "signal.signal(15, lambda *_: open('term', 'w')); open('ignores', 'w'); f.close()\n"
    "while not os.path.exists('go'): time.sleep(0.02)\n"
    "open('written', 'w')"
)


@pytest.mark.parametrize("is_in_order", [False, True])
def test_a_process_that_the_analyzer_left_running_completes_its_output(
    tmp_path: Path, sessions: list[AnalyzerSession], *, is_in_order: bool
) -> None:
    """It may have read packets that are not in its files yet. A signal meanwhile does no harm."""
    session = started(tmp_path, LEFT, sessions)
    wait_until((session.folder / "ignores").exists, "the child to run")
    fed(session, tmp_path)
    (session.end_in_order if is_in_order else session.end)(0.0)
    wait_until(lambda: state_of(session.analyzer.pid) == "Z", "the analyzer to exit")
    session.analyzer.signal(signal.SIGHUP)

    assert (session.advance(0.0), session.timeout_s(0.0)) == (None, 0.1)
    (session.folder / "go").touch()
    ended = exit_of(session, 1.0)

    assert (ended.verdict, ended.status, ended.reason) == (Verdict.ENDED, "exited 0", "")
    assert (session.folder / "written").exists()


def test_a_process_that_the_analyzer_left_running_has_the_flush_timeout(
    tmp_path: Path, sessions: list[AnalyzerSession]
) -> None:
    """The status shows that the output may be incomplete."""
    session = started(tmp_path, LEFT, sessions)
    wait_until((session.folder / "ignores").exists, "the child to run")
    fed(session, tmp_path)
    session.end(0.0)
    wait_until(lambda: state_of(session.analyzer.pid) == "Z", "the analyzer to exit")

    assert session.advance(119.9) is None
    assert session.advance(120.1) is None  # TERM
    ended = exit_of(session, 120.2)

    assert ended.status == "exited 0 (it had not exited 120 s after the end of its input)"
    assert "was stopped" in ended.reason


@pytest.mark.parametrize(
    ("end", "how"), [("sys.exit(3)", "exited 3"), ("os.kill(os.getpid(), 9)", "was killed by signal 9")]
)
@pytest.mark.parametrize("is_in_order", [False, True])
def test_the_output_of_an_analyzer_that_ends_badly_behind_its_input_may_be_incomplete(
    tmp_path: Path, sessions: list[AnalyzerSession], end: str, how: str, *, is_in_order: bool
) -> None:
    """By a fault in its last lines, or because memory was short: its results are not there."""
    session = started(tmp_path, f"import os, sys\nopen(sys.argv[1], 'rb').read(); {end}", sessions)
    fed(session, tmp_path)
    (session.end_in_order if is_in_order else session.end)(0.0)

    ended = exit_of(session, 1.0)

    assert (ended.verdict, ended.may_lack_output) == (Verdict.ENDED, True)
    assert f" {how.removeprefix('was ')} after the end of its input." in ended.reason


def state_of(pid: int) -> str:
    """Return a process's state, as in proc_pid_stat(5)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def test_processes_that_the_analyzer_started_end_with_it(
    tmp_path: Path, sessions: list[AnalyzerSession]
) -> None:
    """A wrapper's child holds neither pipe nor logs after the wrapper's exit."""
    code = (
        "import os, sys, time\n"
        "if os.fork() == 0:\n"
        "    open('child', 'w').write(str(os.getpid())); f = open(sys.argv[1], 'rb'); time.sleep(60)\n"
        "while not os.path.exists('go'): time.sleep(0.02)"
    )
    session = started(tmp_path, code, sessions)
    child = int((session.folder / "child").read_text())

    (session.folder / "go").touch()
    ended = exit_of(session, 1.0)

    assert ended.verdict is Verdict.CRASHED
    wait_until(lambda: not Path(f"/proc/{child}").exists(), "the child to be gone")


def test_a_file_that_is_not_a_program_is_unavailable(tmp_path: Path) -> None:
    """The message has the reason; nothing was started."""
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELFnothing")
    program.chmod(0o755)
    starter = AnalyzerStarter(
        own_command([str(program), "{pipe}"]), Fifo(tmp_path / "p"), tmp_path / "out", Timeouts(1.0)
    )

    with pytest.raises(Unavailable, match="does not start"):
        starter.start(0.0)


def test_a_program_named_by_a_relative_path_is_found_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The analyzer runs in its log folder; its program is searched where the operator typed it."""
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    (tmp_path / "tool").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    starter = AnalyzerStarter(
        own_command(["./tool", "{pipe}"]), Fifo(tmp_path / "p"), tmp_path / "out", Timeouts(1.0)
    )

    assert starter.program() == str(tmp_path / "tool")
