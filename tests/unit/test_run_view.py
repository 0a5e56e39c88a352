"""What a run shows: the reason why nothing moves, names that fit, a line per file where nobody watches."""

from typing import Any

import pytest

from pcapdj.run.view import Hold, News, hold_of, shortened, view

FULL = "'/out' has {} ({} bytes) free; it holds below 900.0 TiB (989560464998400 bytes)."


def held(free: str) -> dict[str, Any]:
    """Return the board of a lane whose gate holds with so much free space."""
    return {"gate": {"state": "hold", "reason": FULL.format(free, 81009463296)}}


@pytest.mark.parametrize(
    ("board", "hold"),
    [
        ({}, None),
        ({"gate": {"state": "open"}, "consumer": {"state": "reading"}}, None),
        ({"suspended": ["gate", "operator"]}, Hold("suspended", "suspended by operator")),
        ({"gate": {"state": "hold"}}, Hold("the gate holds", "the gate holds")),
        ({"consumer": {"state": "starting"}}, Hold("the analyzer is starting")),
        (
            {"consumer": {"state": "failing", "reason": "x exited 1."}},
            Hold("the analyzer fails", "the analyzer fails: x exited 1.", is_failure=True),
        ),
        (
            {"suspended": ["operator"], "consumer": {"state": "failing"}},
            Hold("the analyzer fails", "the analyzer fails", is_failure=True),
        ),
    ],
)
def test_why_nothing_moves_is_found_on_the_board(board: dict[str, Any], hold: Hold | None) -> None:
    """People before the gate before the analyzer; what passes in a moment has no sentence."""
    assert hold_of(board) == hold


def test_a_reason_is_told_in_human_sizes() -> None:
    """The exact bytes are for the log."""
    hold = hold_of(held("75.4 GiB"))

    assert hold is not None
    assert hold.sentence == "the gate holds: '/out' has 75.4 GiB free; it holds below 900.0 TiB."


def test_where_nobody_watches_a_hold_is_said_once_and_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    """The free space changes with every look; a log is not filled with that."""
    with view(1000, 2) as shown:
        for free in ("75.4 GiB", "75.5 GiB", "1023 B"):
            shown.progress(0, "", hold_of(held(free)))
        shown.progress(0, "", Hold("the analyzer is starting"))
        shown.progress(500, "/in/a.pcap", None)
        shown.finished("/in/a.pcap", 12345, "")
        shown.finished("/in/\x1b[2J", 7, "it is damaged")

    first, *rest = capsys.readouterr().err.splitlines()

    assert first.startswith("the gate holds: '/out' has 75.4 GiB free")
    assert rest == ["going on", "/in/a.pcap: 12,345 packets", "/in/\\x1b[2J: failed: it is damaged"]


def test_a_failure_is_said_again_only_after_a_file_got_through() -> None:
    """The next analyzer starts in a moment: it is no news that it fails as well, in another folder."""
    news, died = News(over="going on"), "the analyzer fails: x exited {}. It said: no room in '/o/2024-{}'"
    failures = [Hold("", died.format(number, number * "a"), is_failure=True) for number in (1, 2, 3)]

    first = [news.of(each) for hold in failures for each in (hold, None)]
    news.file_fed()
    again = [news.of(each) for each in (failures[0], None)]

    assert first == [failures[0].sentence, "", "", "", "", ""]
    assert again == [failures[0].sentence, ""]


@pytest.mark.parametrize(
    ("name", "shown"), [("a.pcap", "2/9 a.pcap"), ("x" * 50 + "-00017.pcap", "2/9 …00017.pcap"), ("", "2/9 ")]
)
def test_of_a_long_name_the_end_is_shown(name: str, shown: str) -> None:
    """Rotation counts there."""
    assert shortened("2/9 ", name, 15) == shown
