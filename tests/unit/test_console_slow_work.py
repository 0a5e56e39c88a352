"""The line about work that takes longer than a moment: `pcapdj.console.slow_work`."""

import io
import math
from contextlib import redirect_stderr

import pytest

from pcapdj.console import slow_work as module
from pcapdj.console.slow_work import slow_work


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        """Report that it is one."""
        return True


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show the line at once, and each time."""
    monkeypatch.setattr(module, "_AFTER_S", 0.0)
    monkeypatch.setattr(module, "_EVERY_S", 0.0)


def test_work_of_a_moment_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer comes at once."""
    monkeypatch.setattr(module, "_STARTED_IN_S", math.inf)
    with redirect_stderr(Screen()) as screen, slow_work("entries to look at", 10_000) as work:
        work.add(10_000)

    assert screen.getvalue() == ""


def test_after_a_start_that_took_long_the_line_comes_earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command shows something within half a second, also on a machine that is busy."""
    monkeypatch.setattr(module, "_STARTED_IN_S", 0.0)
    monkeypatch.setattr(module, "_LEAST_S", 0.0)
    with redirect_stderr(Screen()) as screen, slow_work("entries to look at", 10_000) as work:
        work.add(10_000)

    assert "10,000 of 10,000 entries to look at" in screen.getvalue()


@pytest.mark.usefixtures("at_once")
def test_a_terminal_shows_how_far_it_is_and_is_cleared() -> None:
    """At most all: what is counted may be a little more than there was at the beginning."""
    with redirect_stderr(Screen()) as screen, slow_work("entries to look at", 1500, few=0) as work:
        work.add(1000)
        work.add(1000)

    clear = "\r\x1b[K"
    shown = [f"{count} of 1,500 entries to look at" for count in ("1,000", "1,500")]
    assert screen.getvalue() == f"{clear}{shown[0]}{clear}{shown[1]}{clear}"


@pytest.mark.usefixtures("at_once")
def test_the_line_makes_way_for_what_is_printed() -> None:
    """Else a row would stand behind it."""
    with redirect_stderr(Screen()) as screen, slow_work("entries to look at", 3, few=0) as work:
        work.add(1)
        work.clear()
        work.clear()
        screen.write("row\n")
        work.add(1)

    clear = "\r\x1b[K"
    shown = [f"{count} of 3 entries to look at" for count in (1, 2)]
    assert screen.getvalue() == f"{clear}{shown[0]}{clear}row\n{clear}{shown[1]}{clear}"


@pytest.mark.usefixtures("at_once")
def test_a_pipe_gets_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr: stdout is for the answer."""
    with slow_work("entries to look at", 1500, few=0) as work:
        work.add(1000)
        work.clear()
        work.add(500)

    assert capsys.readouterr() == ("", "1,500 entries to look at ..\n")


@pytest.mark.usefixtures("at_once")
def test_a_few_entries_are_never_worth_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """On a busy machine a moment may be long: a script that expects no stderr gets none."""
    with slow_work("entries to look at", 5000) as work:
        work.add(5000)

    assert capsys.readouterr() == ("", "")
