"""A stream's limits, with real analyzers and a clock that the test sets."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.waiting import wait_until

from pcapdj.analyzer.launch import AnalyzerStarter
from pcapdj.analyzer.presets import own_command
from pcapdj.analyzer.session import AnalyzerSession, Exit, Stage, Timeouts, Verdict
from pcapdj.runtime.errors import Unavailable
from pcapdj.runtime.fifo import Fifo

READ = "import sys, time, signal; f = open(sys.argv[1], 'rb', 0); f.read(1)\n"
DEAF_TO_TERM = "signal.signal(15, signal.SIG_IGN); open('deaf', 'w')\n"
STAY = "while True: time.sleep(0.02)"


@pytest.fixture
def lives() -> Iterator[list[AnalyzerSession]]:
    """Return a list for the streams of a test; what is in it is killed in the end."""
    lives: list[AnalyzerSession] = []
    yield lives
    for life in lives:
        life.kill("the test is over")
        wait_until(life.analyzer.exit, "the analyzer to be gone")
        life.close()


def started(tmp_path: Path, code: str, lives: list[AnalyzerSession]) -> AnalyzerSession:
    """Return a stream at time 0 with Python code as its analyzer, once that has the pipe open."""
    command = own_command([sys.executable, "-c", code, "{pipe}"])
    launching = AnalyzerStarter(command, Fifo(tmp_path / "p"), tmp_path / "out", Timeouts(120.0))
    life = launching.start(0.0)
    lives.append(life)
    wait_until(lambda: life.tick(0.0) is None and life.stage is Stage.READING, "the pipe to be opened")
    return life


def fed(life: AnalyzerSession, folder: Path) -> None:
    """Let the stream have a record."""
    source = folder / "source"
    source.write_bytes(b"x")
    life.keeper.put("file", os.open(source, os.O_RDONLY), {})
    os.write(life.write_end or -1, b"x")


def ending_of(life: AnalyzerSession, now_s: float) -> Exit:
    """Return how the stream ended, with the clock standing at that time."""
    endings: list[Exit] = []

    def is_over() -> bool:
        endings.extend(ending for ending in [life.tick(now_s)] if ending)
        return bool(endings)

    wait_until(is_over, "the stream to be over")
    return endings[0]


def test_one_that_ignores_term_is_killed_after_a_grace(tmp_path: Path, lives: list[AnalyzerSession]) -> None:
    """Flush timeout, TERM, five seconds, KILL; and it says that results may be missing."""
    life = started(tmp_path, READ + DEAF_TO_TERM + STAY, lives)
    fed(life, tmp_path)
    wait_until((life.folder / "deaf").exists, "the analyzer to be deaf")

    life.end(10.0)
    assert life.tick(129.9) is None
    assert life.timeout_s(129.9) == pytest.approx(0.1)
    assert life.tick(130.1) is None  # TERM
    assert life.tick(135.0) is None
    assert life.analyzer.exit() is None
    ending = ending_of(life, 135.2)  # KILL

    assert ending.verdict is Verdict.ENDED
    assert ending.exit.startswith("killed by signal 9")
    assert "120 s" in ending.reason


def test_one_that_closed_the_pipe_gets_a_moment_to_tell_its_status(
    tmp_path: Path, lives: list[AnalyzerSession]
) -> None:
    """For two seconds it is only no stream any more; then it is killed."""
    life = started(tmp_path, READ + "f.close(); open('closed', 'w')\n" + STAY, lives)
    fed(life, tmp_path)
    wait_until((life.folder / "closed").exists, "the pipe to be closed")

    assert not life.can_be_fed(20.0)
    assert life.tick(21.9) is None
    assert life.analyzer.exit() is None
    assert life.watched() is None  # its POLLERR is no news any more: the loop would spin on it
    ending = ending_of(life, 22.1)

    assert ending.verdict is Verdict.CRASHED
    assert "closed the pipe and lived on" in ending.reason


def test_one_that_closed_the_pipe_is_not_waited_for_at_a_stop(
    tmp_path: Path, lives: list[AnalyzerSession]
) -> None:
    """It reads nothing more, so there is nothing to flush."""
    life = started(tmp_path, READ + "f.close(); open('closed', 'w')\n" + STAY, lives)
    fed(life, tmp_path)
    wait_until((life.folder / "closed").exists, "the pipe to be closed")
    assert not life.can_be_fed(0.0)

    life.end(1.0)

    assert ending_of(life, 1.0).exit == "killed by signal 9 (it had closed the pipe)"


def test_what_the_analyzer_started_ends_with_it(tmp_path: Path, lives: list[AnalyzerSession]) -> None:
    """A wrapper's child holds neither pipe nor logs after the wrapper has gone."""
    code = (
        "import os, sys, time\n"
        "if os.fork() == 0:\n"
        "    open('child', 'w').write(str(os.getpid())); f = open(sys.argv[1], 'rb'); time.sleep(60)\n"
        "while not os.path.exists('go'): time.sleep(0.02)"
    )
    life = started(tmp_path, code, lives)
    child = int((life.folder / "child").read_text())

    (life.folder / "go").touch()
    ending = ending_of(life, 1.0)

    assert ending.verdict is Verdict.CRASHED
    wait_until(lambda: not Path(f"/proc/{child}").exists(), "the child to be gone")


def test_a_file_that_is_no_program_is_unavailable(tmp_path: Path) -> None:
    """The message names it; nothing was started."""
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELFnothing")
    program.chmod(0o755)
    launching = AnalyzerStarter(
        own_command([str(program), "{pipe}"]), Fifo(tmp_path / "p"), tmp_path / "out", Timeouts(1.0)
    )

    with pytest.raises(Unavailable, match="does not start"):
        launching.start(0.0)


def test_a_program_named_by_a_relative_path_is_found_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The analyzer runs in its log folder; its program is looked up where the operator typed it."""
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    (tmp_path / "tool").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    launching = AnalyzerStarter(
        own_command(["./tool", "{pipe}"]), Fifo(tmp_path / "p"), tmp_path / "out", Timeouts(1.0)
    )

    assert launching.program() == str(tmp_path / "tool")
