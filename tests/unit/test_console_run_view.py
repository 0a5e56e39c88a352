"""What a run shows: the reason why nothing moves, names that fit, a line per file where nobody watches."""

from typing import Any

import pytest

from pcapdj.console.run_view import Hold, hold_of, shortened, view

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
            Hold("the analyzer fails", "the analyzer fails: x exited 1."),
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


@pytest.mark.parametrize(
    ("name", "shown"), [("a.pcap", "2/9 a.pcap"), ("x" * 50 + "-00017.pcap", "2/9 …00017.pcap"), ("", "2/9 ")]
)
def test_of_a_long_name_the_end_is_shown(name: str, shown: str) -> None:
    """Rotation counts there."""
    assert shortened("2/9 ", name, 15) == shown
