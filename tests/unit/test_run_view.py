"""What a run shows: why nothing is fed, names that fit, a line per file where stderr is no terminal."""

import io
import re
import threading
from contextlib import redirect_stderr
from typing import Any

import pytest
from support.rows import each_row
from support.waiting import wait_until

from pcapdj.disk.reserve import ExpectedFile, Fit, OutputDisk, ReserveNumbers, reserve_sentence
from pcapdj.run.record import FileResult
from pcapdj.run.view import WaitMessages, WaitReason, progress_view, shortened, wait_reason

FULL = "'/out' has {} ({:,} bytes) free; it holds below 900.0 TiB (989,560,464,998,400 bytes)."


def held(free: str) -> dict[str, Any]:
    """Return the snapshot of a lane whose gate holds with so much free space."""
    return {"gate": {"state": "hold", "reason": FULL.format(free, 81009463296)}}


@each_row(
    ("snapshot", "reason"),
    [
        ({}, None),
        ({"gate": {"state": "open"}, "consumer": {"state": "reading"}}, None),
        ({"suspended": ["gate", "operator"]}, WaitReason("suspended", "suspended by operator")),
        (
            {"dispatchers": [{"storage": "/mnt/a"}], "gate": {"state": "hold"}},
            WaitReason("waiting for storage", "'/mnt/a' is away; waiting for it"),
        ),
        ({"gate": {"state": "hold"}}, WaitReason("the gate holds", "the gate holds")),
        ({"consumer": {"state": "starting"}}, WaitReason("the analyzer is starting")),
        (
            {"consumer": {"state": "failing", "reason": "x exited 1."}},
            WaitReason("the analyzer fails", "the analyzer fails: x exited 1.", is_analyzer_failure=True),
        ),
        (
            {"suspended": ["operator"], "consumer": {"state": "failing"}},
            WaitReason("the analyzer fails", "the analyzer fails", is_analyzer_failure=True),
        ),
    ],
)
def test_the_snapshot_has_the_reason_why_nothing_is_fed(
    snapshot: dict[str, Any], reason: WaitReason | None
) -> None:
    """People before the gate before the analyzer; what passes in a moment has no sentence."""
    assert wait_reason(snapshot) == reason


def test_a_reason_has_sizes_for_people() -> None:
    """The exact bytes are for the log."""
    reason = wait_reason(held("75.4 GiB"))

    assert reason is not None
    assert reason.sentence == "the gate holds: '/out' has 75.4 GiB free; it holds below 900.0 TiB."


def test_the_reason_of_a_file_that_waits_for_room_has_no_commands_of_a_service() -> None:
    """The limits of a run cannot be changed while it waits."""
    numbers = ReserveNumbers(ExpectedFile(b"/in/1.pcap", 1000), Fit.WAITS, 2.0, 0, 2000, 500)
    sentence = reserve_sentence(numbers, OutputDisk("/out", 600, 100, 10_000))

    reason = wait_reason({"gate": {"state": "hold", "reason": sentence}})

    assert "pcapdj limits" in sentence
    assert reason is not None
    assert reason.sentence == (
        "the gate holds: The next file '1.pcap' (1000 B) needs about 2.0 KiB for its output (2 x its size);"
        " 500 B are above min-free on '/out'. It is authorized from 2.1 KiB free."
    )


def test_without_a_terminal_a_reason_is_printed_once_and_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    """The free space changes with every look; a log is not filled with that."""
    with progress_view(1000, 2) as view:
        for free in ("75.4 GiB", "75.5 GiB", "1023 B"):
            view.show_progress(0, "", wait_reason(held(free)))
        view.show_progress(0, "", WaitReason("the analyzer is starting"))
        view.show_progress(500, "/in/a.pcap", None)
        view.show_result(FileResult("/in/a.pcap", "processed", numbers={"packets": 12345}))
        view.show_result(FileResult("/in/\x1b[2J", "failed", "it is damaged", numbers={"packets": 7}))

    first, *rest = capsys.readouterr().err.splitlines()

    assert first.startswith("the gate holds: '/out' has 75.4 GiB free")
    assert rest == [
        "feeding continues",
        "/in/a.pcap: 12,345 packets",
        "/in/\\x1b[2J: failed: it is damaged; 7 packets delivered",
    ]


def test_a_failure_is_shown_again_only_after_a_file_was_fed() -> None:
    """The next analyzer starts in a moment; that it fails as well, in another folder, is not shown again."""
    messages = WaitMessages(end_message="feeding continues")
    died = "the analyzer fails: x exited {}. It said: no room in '/o/2024-{}'"
    failures = [
        WaitReason("", died.format(number, number * "a"), is_analyzer_failure=True) for number in (1, 2, 3)
    ]

    first = [messages.next_message(each) for reason in failures for each in (reason, None)]
    messages.file_fed()
    again = [messages.next_message(each) for each in (failures[0], None)]

    assert first == [failures[0].sentence, "", "", "", "", ""]
    assert again == [failures[0].sentence, ""]


@pytest.mark.parametrize(
    ("name", "shown"), [("a.pcap", "2/9 a.pcap"), ("x" * 50 + "-00017.pcap", "2/9 …00017.pcap"), ("", "2/9 ")]
)
def test_the_end_of_a_long_name_is_shown(name: str, shown: str) -> None:
    """Rotation counts there, so the ends of names differ."""
    assert shortened("2/9 ", name, 15) == shown


class Terminal(io.StringIO):
    """Keeps what is written to a terminal."""

    def isatty(self) -> bool:
        """It is one."""
        return True

    def await_bar(self, beginning: str) -> str:
        """Wait until the bar begins so, as it is drawn ten times a second; return it without its colours."""
        wait_until(lambda: self._bar().startswith(beginning), f"a bar that begins with {beginning!r}")
        return self._bar()

    def _bar(self) -> str:
        last = self.getvalue().rpartition("\x1b[2K")[2]
        return " ".join(re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", last).split())


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Return a terminal of 100 columns."""
    for name, value in (("COLUMNS", "100"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    return Terminal()


def test_on_a_terminal_a_bar_has_the_file_its_number_and_the_bytes(terminal: Terminal) -> None:
    """What is fed, how much of all files, how fast."""
    with redirect_stderr(terminal), progress_view(4096, 3) as view:
        terminal.await_bar("starting ━")
        view.show_progress(1024, "/in/first.pcap", None)
        first = terminal.await_bar("1/3 first.pcap ━")
        view.show_result(FileResult("/in/first.pcap", "processed"))
        for done_bytes in (2048, 3072):  # the rate is that of what was shown before
            view.show_progress(done_bytes, "/in/second.pcap", None)
        second = terminal.await_bar("2/3 second.pcap ━")

    assert "1.0 KiB of 4.0 KiB" in first
    assert re.search(r"━ 3\.0 KiB of 4\.0 KiB \d\S* [KMG]?i?B/s \d:\d\d:\d\d$", second)


def test_no_thread_draws_the_bar(terminal: Terminal) -> None:
    """It would hold the end of the run where the terminal is stopped (Ctrl-S)."""
    before = threading.active_count()
    with redirect_stderr(terminal), progress_view(4096, 3) as view:
        view.show_progress(1024, "/in/first.pcap", None)
        assert threading.active_count() == before


def test_on_a_terminal_the_bar_shows_its_beginning_end_and_waits(terminal: Terminal) -> None:
    """While nothing is fed there is no rate; between two files the number is that of the next."""
    with redirect_stderr(terminal), progress_view(4096, 2) as view:
        view.show_progress(0, "", WaitReason("the analyzer is starting"))
        terminal.await_bar("the analyzer is starting ━")
        view.show_progress(1024, "", None)
        terminal.await_bar("starting ━")
        view.show_progress(2048, "/in/1.pcap", WaitReason("suspended"))
        suspended = terminal.await_bar("suspended ━")
        for bar in ("2/2 ━", "finishing ━"):
            view.show_result(FileResult("/in/1.pcap", "processed"))
            view.show_progress(4096, "", None)
            terminal.await_bar(bar)

    assert "2.0 KiB of 4.0 KiB" in suspended
    assert "/s" not in suspended


def test_on_a_terminal_failures_and_warnings_stay_above_the_bar(terminal: Terminal) -> None:
    """A file that failed leaves a line, and is counted beside the bar; the end of a wait leaves none."""
    held_up = WaitReason("the gate holds", "the gate holds: '/out' is full")
    failing = WaitReason("x", "the analyzer fails: [bold]x[/bold]", is_analyzer_failure=True)
    with redirect_stderr(terminal), progress_view(4096, 3) as view:
        view.show_result(FileResult("/in/fed.pcap", "processed"))
        terminal.await_bar("starting ━")
        view.show_result(FileResult("/in/[b]bad[/b].pcap", "failed", "it is damaged"))
        view.show_progress(1024, "/in/3.pcap", None)
        counted = terminal.await_bar("3/3 3.pcap ━")
        for reason in (held_up, held_up, None, failing, None, failing):
            view.show_progress(0, "", reason)
        view.show_result(FileResult("/in/fed.pcap", "processed"))
        for reason in (None, failing):
            view.show_progress(0, "", reason)
    text = terminal.getvalue()

    assert "━ 1 failed, 1.0 KiB of 4.0 KiB" in counted
    assert "fed.pcap" not in text
    assert text.count("\x1b[31m/in/[b]bad[/b].pcap: failed: it is damaged") == 1
    assert text.count(f"\x1b[33m{held_up.sentence}") == 1
    assert text.count(f"\x1b[33m{failing.sentence}") == 2
    assert "feeding continues" not in text
    assert text.endswith("\x1b[2K")  # the bar is gone


@pytest.mark.parametrize(("columns", "width"), [("70", 16), ("90", 28), ("300", 48)])
def test_a_wider_terminal_shows_more_of_the_name(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, columns: str, width: int
) -> None:
    """From 16 to 48 columns: the bar and the numbers need the others."""
    monkeypatch.setenv("COLUMNS", columns)
    with redirect_stderr(terminal), progress_view(4096, 3) as view:
        view.show_progress(0, "/in/" + "x" * 100, None)
        shown = terminal.await_bar("1/3 …")

    assert len(shown.partition(" ━")[0]) == width
