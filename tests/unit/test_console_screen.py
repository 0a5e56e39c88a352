"""Labelled lines as they are printed, on a terminal and without one: `pcapdj.console.screen`."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import tracemalloc
from contextlib import redirect_stdout, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from support.forkserver import clean_environment
from support.rows import each_row
from support.waiting import wait_until

from pcapdj.console.folding import folded
from pcapdj.console.screen import (
    ClosableStream,
    Line,
    Tone,
    keep_showing,
    print_fitted,
    print_json,
    print_json_with,
    print_lines,
    progress_bar,
    show,
)
from pcapdj.runtime.safe_text import quoted

LINES = [Line("Gate", "open"), Line("", "20.0 GiB free"), Line("Analyzer", "[b]failing[/b]", Tone.BAD)]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Print as to a terminal of 24 columns."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "24")


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the printed lines without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_list_of_any_length_is_printed_as_a_part_of_its_object(
    capsys: pytest.CaptureFixture[str], count: int
) -> None:
    """The same line as from the whole object."""
    value, items = {"a": None, "b": "\xff\n"}, [{"name": f"{number}é"} for number in range(count)]

    print_json_with("files", iter(items), value)
    print_json({**value, "files": items})

    first, second = capsys.readouterr().out.splitlines()
    assert first == second


def test_a_long_list_is_not_kept_while_it_is_printed() -> None:
    """An answer may have a hundred thousand files with names of 4 KiB."""
    items = ({"name": "x" * 4000, "number": number} for number in range(5000))
    tracemalloc.start()
    try:
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
            print_json_with("files", items, {"a": 1})
        most_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert most_bytes < 1 << 20


def test_without_a_terminal_lines_are_aligned_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """No markup is read, no blanks end a line; a title stands above, if there is one."""
    show("What there is", [*LINES, Line("", "")])
    show("", LINES[:1])
    show("", [])

    assert capsys.readouterr().out.splitlines() == [
        "What there is",
        "Gate      open",
        "          20.0 GiB free",
        "Analyzer  [b]failing[/b]",
        "",
        "Gate  open",
        "",
    ]


@pytest.mark.parametrize("is_terminal", [False, True], ids=["pipe", "terminal"])
def test_no_text_acts_on_a_terminal(
    is_terminal: bool,  # noqa: FBT001
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What an analyzer or a file of others has written may have come into any line."""
    if is_terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    show("", [Line("sha256", "a\x1b]0;title\x07\x9b31m\u202eb\nc")])

    shown = capsys.readouterr().out
    assert not [part for part in ("\x1b]", "\x07", "\x9b", "\u202e", "\nc") if part in shown]
    assert r"a\x1b]0;title" in shown


def test_titles_labels_and_lines_do_not_act_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """The escape stands for the character, and no text adds a line; what was escaped before stays."""
    hostile = "a\x1b[2J\nb"

    show(hostile, [Line(hostile, "c")])
    print_lines(hostile, "", quoted(hostile))
    print_fitted(hostile, to_stderr=True)
    print_json({"a": hostile})

    printed = capsys.readouterr()
    escaped = r"a\x1b[2J\nb"
    quoted_once = r"$'a\x1b[2J\x0ab'"
    assert printed.out.splitlines() == [
        *(escaped, f"{escaped}  c", escaped, "", quoted_once),
        r'{"a": "a\u001b[2J\nb"}',
    ]
    assert printed.err == f"{escaped}\n"


@pytest.mark.usefixtures("terminal")
def test_on_a_terminal_long_texts_are_folded_beside_their_labels(capsys: pytest.CaptureFixture[str]) -> None:
    """Labels and title stand at the left; a path is longer than the terminal, and can be copied."""
    show("What", [*LINES, Line("Disk", "is below /an/output/folder")])

    assert printed(capsys) == [
        "What",
        "Gate      open",
        "          20.0 GiB free",
        "Analyzer  [b]failing[/b]",
        "Disk      is below",
        "          /an/output/folder",
    ]


@pytest.mark.parametrize("columns", [24, 40, 78, 90, 100, 120])
def test_no_line_end_is_put_into_an_offered_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    """A shell would take what follows for another command: an id, which another program chose."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    command = "pcapdj requeue --lane taps --stream /tmp/program"
    show("", [Line("Analyzer", f"stream /tmp/program broke off; to feed its files again: {command}")])

    assert command in printed(capsys)[-1]
    hint = f"chmod o-w {'x' * 200}, or wait"
    assert [*folded(f"'/in' can be changed by all users. Remove that with {hint}", columns)][-1].endswith(
        hint
    )


def test_the_name_before_a_message_begins_no_command() -> None:
    """`pcapdj run: ..` is broken as any other line."""
    assert [*folded("pcapdj run: " + "word " * 8, 40)] == [
        "pcapdj run: " + " ".join(["word"] * 5),
        "    word word word",
    ]


def test_a_watched_screen_breaks_no_command_and_is_as_high_as_the_terminal() -> None:
    """What has no row is left out with a sign; the cursor goes up as many rows as were shown."""
    long = "word " * 20 + "pcapdj status " + "x" * 70
    program = f"""
from pcapdj.console.screen import Line, keep_showing
shown = [[Line("", {long!r})], [Line("A", "text")] * 30, [Line("B", "last")]]
def lines():
    if not shown: raise SystemExit
    return shown.pop(0)
keep_showing(str, lines, every_s=0)
"""
    printed, _ = on_terminal(program, "stdout")

    first, second, last = re.split(r"\x1b\[\d+A", re.sub(r"\x1b\[[\d;?]*[hmlJ]", "", printed))
    assert "pcapdj status " + "x" * 70 in first
    assert second.split() == [*["A", "text"] * 22, "..."]
    assert last.split() == ["B", "last"]
    assert re.findall(r"\x1b\[(\d+)A", printed) == ["6", "23"]


@pytest.mark.parametrize("columns", ["1", "9", "15"])
def test_nothing_is_left_out_where_there_is_no_room_beside_the_labels(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    """Rich shows a part of the labels there, and no text."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", columns)
    show("What", LINES)

    found = re.sub(r"\s", "", "".join(printed(capsys)))
    assert found == re.sub(r"\s", "", "What" + "".join(each.label + each.text for each in LINES))


@pytest.mark.parametrize("columns", ["0", "\u00b2", "\u0663", "9" * 12, "-1"])
def test_columns_that_no_terminal_has_are_those_of_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    """With 0 rich shows nothing; a superscript is an error there, and 10**12 the memory of the machine."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    for name in ("COLUMNS", "LINES"):
        monkeypatch.setenv(name, columns)
    show("", LINES)

    assert [line.rstrip() for line in printed(capsys)] == [
        "Gate      open",
        "          20.0 GiB free",
        "Analyzer  [b]failing[/b]",
    ]
    with progress_bar() as track:
        assert list(track([b"a"])) == [b"a"]


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(
    ("tone", "escape"), [(Tone.GOOD, "\x1b[32m"), (Tone.ATTENTION, "\x1b[33m"), (Tone.BAD, "\x1b[31m")]
)
def test_on_a_terminal_tones_have_colours(
    capsys: pytest.CaptureFixture[str], tone: Tone, escape: str
) -> None:
    """Green, yellow, red; labels are bold, an ordinary text has none."""
    show("", [Line("A", "text", tone), Line("B", "plain")])

    first, second = capsys.readouterr().out.splitlines()
    assert f"{escape}text" in first
    assert first.startswith("\x1b[1mA")
    assert "\x1b[3" not in second


@pytest.mark.usefixtures("terminal")
def test_on_a_terminal_a_title_is_bold(capsys: pytest.CaptureFixture[str]) -> None:
    """Without one, no line is left for it."""
    show("What", LINES[:1])
    title, *_ = capsys.readouterr().out.splitlines()
    show("", LINES[:1])

    assert "\x1b[1mWhat" in title
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_reader_behind_a_pipe_sees_each_screen_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an empty line below it; a pipe is written to in large blocks otherwise."""
    reader, writer = os.pipe2(os.O_NONBLOCK)
    seen: list[bytes] = []

    def read_lines() -> list[Line]:
        if len(seen) == 2:
            raise KeyboardInterrupt
        with suppress(BlockingIOError):
            seen.append(os.read(reader, 1 << 16))
        seen.extend([b""] * (not seen))
        return LINES[:1]

    with open(writer, "w") as pipe:  # noqa: PTH123 - a descriptor
        monkeypatch.setattr(sys, "stdout", pipe)
        with pytest.raises(KeyboardInterrupt):
            keep_showing(str, read_lines, every_s=0)
    os.close(reader)

    assert seen == [b"", b"Gate  open\n\n"]


def test_the_progress_bar_is_gone_when_the_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is on stderr, and only on a terminal: what is printed afterwards takes its place."""
    master, slave = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    os.set_blocking(master, False)
    shown = ""

    def is_gone() -> bool:  # a terminal passes on what was written in parts, and some time later
        nonlocal shown
        with suppress(BlockingIOError):
            shown += os.read(master, 1 << 16).decode()
        return re.search(r"\x1b\[1A\x1b\[2K$", shown) is not None

    with open(slave, "w") as terminal:  # noqa: PTH123 - a descriptor
        monkeypatch.setattr(sys, "stderr", terminal)
        before = threading.active_count()
        with progress_bar() as track:
            names = list(track([b"1", b"2"]))
            # a thread that draws would hold the end of the command where the terminal is stopped (Ctrl-S)
            threads = threading.active_count() - before
        terminal.flush()
        wait_until(is_gone, "the bar to be gone")
    os.close(master)

    assert names == [b"1", b"2"]
    assert threads == 0
    assert "Looking at files" in shown
    assert "100%" in shown


def test_without_a_terminal_there_is_no_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    """A log keeps each line."""
    with progress_bar() as track:
        assert list(track([b"1", b"2"])) == [b"1", b"2"]

    assert capsys.readouterr().err == ""


def test_without_a_terminal_rich_is_not_imported() -> None:
    """It takes a tenth of a second."""
    program = (
        "import sys; from pcapdj.console.screen import Line, show; show('', [Line('A', 'text')]);"
        "sys.exit('rich' in sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=False, env=clean_environment()
    )

    assert (done.returncode, done.stdout) == (0, b"A  text\n")


def test_a_variable_of_rich_makes_a_pipe_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """CI systems show colours; releases of rich before 14 do not know the variable."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm")

    show("", [Line("A", "text", Tone.BAD)])

    assert ("\x1b[31m" in capsys.readouterr().out) == Console().is_terminal


def test_a_stream_whose_reader_is_gone_takes_what_is_written() -> None:
    """A closed terminal does not end `run`. Until then each text arrives at once."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        closable = ClosableStream(stream)
        closable.write("first")
        assert os.read(reader, 100) == b"first"
        assert closable.fileno() == stream.fileno()
        os.close(reader)

        closable.write("second")
        closable.write("third")


@each_row(
    ("line", "parts"),
    [
        ("short", ["short"]),
        ("x" * 40, ["x" * 40]),
        ("x" * 41, ["x" * 41]),
        ("a  b " + "x" * 36, ["a  b", "    " + "x" * 36]),
        ("  a " + "x" * 37 + " b", ["  a", "      " + "x" * 37, "      b"]),
        ("name='a b " + "x" * 40 + "' b", ["name='a b " + "x" * 40 + "'", "    b"]),
        ("the operator's " + "x" * 30, ["the operator's", "    " + "x" * 30]),
    ],
)
def test_a_line_is_broken_at_blanks_outside_of_quotes(line: str, parts: list[str]) -> None:
    """What is longer than the terminal without a blank stays whole; alignment inside a part stays."""
    assert list(folded(line, 40)) == parts


def test_on_a_terminal_that_is_too_narrow_nothing_is_broken() -> None:
    """The terminal does it."""
    assert list(folded("a b " * 20, 39)) == ["a b " * 20]


@given(st.lists(st.binary(min_size=1, max_size=60)), st.integers(40, 100))
def test_nothing_is_lost_and_no_quoted_name_is_broken(names: list[bytes], columns: int) -> None:
    """Whatever the names hold; parts are wider than the terminal only for a single word."""
    words = [f"name={quoted(name)}" for name in names]
    line = " ".join(["at", *words])

    parts = list(folded(line, columns))

    assert [*re.sub(r"\s", "", "".join(parts))] == [*re.sub(r"\s", "", line)]
    assert all(any(word in part for part in parts) for word in words)
    assert all(len(part) <= columns or part.strip() in [*words, "at"] for part in parts)


def on_terminal(program: str, stream: str) -> tuple[str, str]:
    """Run a program of which one stream is a terminal of 40 columns; return what that and the other got."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: slave}
    environment = clean_environment()
    environment.pop("COLUMNS", None)
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, check=True, text=True, **streams)  # type: ignore[call-overload]
    os.close(slave)
    printed = os.read(master, 4096).decode()
    os.close(master)
    return printed, f"{done.stdout or ''}{done.stderr or ''}"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_only_a_terminal_gets_folded_lines(stream: str) -> None:
    """Programs get each line whole, also beside a terminal."""
    line = " ".join(["word"] * 9)
    program = "from pcapdj.console.screen import print_fitted\n" + "".join(
        f"print_fitted({line!r}, to_stderr={to_stderr})\n" for to_stderr in (True, False)
    )

    printed, other = on_terminal(program, stream)

    assert printed.splitlines() == ["word " * 7 + "word", "    word"]
    assert other.splitlines() == [line]
