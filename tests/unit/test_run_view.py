"""What a run shows: why nothing is fed, names that fit, a line per file where stderr is no terminal."""

from typing import Any

import pytest

from pcapdj.run.record import FileResult
from pcapdj.run.view import WaitMessages, WaitReason, progress_view, shortened, wait_reason

FULL = "'/out' has {} ({} bytes) free; it holds below 900.0 TiB (989560464998400 bytes)."


def held(free: str) -> dict[str, Any]:
    """Return the snapshot of a lane whose gate holds with so much free space."""
    return {"gate": {"state": "hold", "reason": FULL.format(free, 81009463296)}}


@pytest.mark.parametrize(
    ("snapshot", "reason"),
    [
        ({}, None),
        ({"gate": {"state": "open"}, "consumer": {"state": "reading"}}, None),
        ({"suspended": ["gate", "operator"]}, WaitReason("suspended", "suspended by operator")),
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
    assert rest == ["feeding continues", "/in/a.pcap: 12,345 packets", "/in/\\x1b[2J: failed: it is damaged"]


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
