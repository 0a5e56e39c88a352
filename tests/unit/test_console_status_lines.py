"""The lines of the status screen, from boards whole and partial."""

import pytest

from pcapdj.console.progress import progress, rates_between
from pcapdj.console.status_lines import Line, Tone, snapshot_lines

EMPTY = {
    "lane": "",
    "queued": 0,
    "current": [],
    "processed": 0,
    "failed": 0,
    "gate": None,
    "dispatchers": [],
    "consumer": None,
    "suspended": [],
}


def text_of(lines: list[Line]) -> str:
    """Return all lines as one text."""
    return "\n".join(f"{line.label}: {line.text}" for line in lines)


def line(lines: list[Line], label: str) -> Line:
    """Return the line with this label."""
    return next(each for each in lines if each.label == label)


def test_an_empty_lane_says_who_has_not_spoken() -> None:
    """Nothing runs yet: the screen says so, instead of being empty."""
    text = text_of(snapshot_lines(EMPTY, [], now_s=0))

    assert "0 queued, 0 current, 0 processed, 0 failed" in text
    assert "no controller has spoken yet" in text
    assert "no launcher has spoken yet" in text


def test_the_file_in_flight_has_its_progress_and_rate() -> None:
    """Name, share, size and rate of what is being fed are on the screen."""
    board = EMPTY | {
        "current": [{"dispatcher": "main", "name": "/in/a.pcap", "state": "feeding", "attempt": 2}],
        "dispatchers": [
            {"id": "main", "state": "Feeding fifo buffer", "name": "/in/a.pcap", "done_bytes": 512,
             "total_bytes": 1024, "heartbeat_age_s": 0.3, "stale": False},
        ],
    }  # fmt: skip

    text = text_of(snapshot_lines(board, [], now_s=0, rates={"main": 2048.0}))

    assert "'/in/a.pcap' (feeding, attempt 2)" in text
    assert "[############............] 50% of 1.0 KiB, 2.0 KiB/s, 0 s left" in text


def test_a_silent_dispatcher_is_marked() -> None:
    """An old heartbeat is attention, with its age."""
    board = EMPTY | {
        "dispatchers": [{"id": "main", "state": "Running", "heartbeat_age_s": 600.0, "stale": True}]
    }

    dispatcher = line(snapshot_lines(board, [], now_s=0), "Dispatcher")

    assert dispatcher == Line("Dispatcher", "main: Running, silent 10 min", Tone.ATTENTION)


@pytest.mark.parametrize(
    ("state", "tone"), [("open", Tone.GOOD), ("hold", Tone.ATTENTION), ("suspended", Tone.BAD)]
)
def test_the_gate_is_coloured_by_its_state(state: str, tone: Tone) -> None:
    """Open is good, hold is attention, suspended is bad; since when, and why, stand beside it."""
    board = EMPTY | {"gate": {"state": state, "since_s": 100.0, "reason": "so it is", "stale": False}}

    assert line(snapshot_lines(board, [], now_s=112), "Gate") == Line(
        "Gate", f"{state} for 12 s: so it is", tone
    )


def test_a_refused_live_limit_is_shown() -> None:
    """The operator sees that the controller did not take what was typed."""
    board = EMPTY | {"gate": {"state": "open", "refused": "min-free: '98' ..", "stale": False}}

    assert "refused: min-free: '98' .." in text_of(snapshot_lines(board, [], now_s=0))


def test_who_suspends_is_named() -> None:
    """Every member of the set is on the screen."""
    board = EMPTY | {"suspended": ["gate", "operator"]}

    assert line(snapshot_lines(board, [], now_s=0), "Suspended").text == "by gate, operator"


def test_a_failing_analyzer_says_why() -> None:
    """State, reason, command as typed, log folder; nothing twice."""
    board = EMPTY | {
        "consumer": {
            "state": "failing",
            "reason": "suricata exited 1.",
            "last_exit": "exited 1",
            "command": "'my tool' -r {pipe}",
            "logdir": "/out/x",
            "stale": False,
        }
    }

    text = text_of(snapshot_lines(board, [], now_s=0))

    assert "failing: suricata exited 1." in text
    assert "runs 'my tool' -r {pipe}" in text
    assert "writes to /out/x" in text


def test_a_stream_that_broke_off_is_named_with_what_to_do() -> None:
    """Its analyzer may not have written what it had read."""
    board = EMPTY | {"consumer": {"state": "reading", "last_stream": "ab12", "last_verdict": "crashed"}}

    text = text_of(snapshot_lines(board, [], now_s=0))

    assert "stream ab12 broke off; 'pcapdj requeue --stream ab12' feeds its files again" in text


def test_one_of_a_kind_is_no_plural() -> None:
    """As people say it."""
    board = EMPTY | {
        "consumer": {"state": "reading", "restarts": 1},
        "dispatchers": [{"id": "main", "files": 1, "packets": 1, "suspensions": 1}],
    }

    text = text_of(snapshot_lines(board, [], now_s=0))

    assert "reading, 1 restart" in text
    assert "1 file, 1 packet, 0 B captured, 1 suspension" in text


def test_numbers_are_grouped_and_sizes_human() -> None:
    """Millions are read at a glance; the exact bytes of a reason are for the log."""
    board = EMPTY | {
        "queued": 28668,
        "gate": {"state": "hold", "reason": "'/out' has 1.0 GiB (1073741824 bytes) free.", "stale": False},
        "dispatchers": [
            {"id": "main", "state": "Running", "files": 1234, "packets": 1234567, "cap_lengths": 1 << 30,
             "suspensions": 2, "heartbeat_age_s": 0.1, "stale": False},
        ],
    }  # fmt: skip

    text = text_of(snapshot_lines(board, [], now_s=0))

    assert "28,668 queued" in text
    assert "'/out' has 1.0 GiB free." in text
    assert "main: Running\n: 1,234 files, 1,234,567 packets, 1.0 GiB captured, 2 suspensions" in text


def test_timestamps_that_jump_are_one_line_of_their_dispatcher() -> None:
    """How often, and the last one; nothing where there was none."""
    jumps = {"jumps": 2, "last_jump": "begins 12 s before the end of the file before", "last_jump_name": "/b"}
    told = "timestamps: 2 jumps; last: 'b' begins 12 s before the end of the file before"

    with_jumps = snapshot_lines(EMPTY | {"dispatchers": [{"id": "main", **jumps}]}, [], now_s=0)
    without = snapshot_lines(EMPTY | {"dispatchers": [{"id": "main", **jumps, "jumps": 0}]}, [], now_s=0)

    assert Line("", told, Tone.ATTENTION) in with_jumps
    assert "timestamps" not in text_of(without)


def test_a_long_path_is_not_cut_anywhere() -> None:
    """Its folder stands on a line of its own."""
    name = f"/in/of/the/sensor/{'x' * 60}.pcap"
    board = EMPTY | {
        "current": [{"dispatcher": "main", "name": name, "state": "feeding"}],
        "dispatchers": [{"id": "main", "stale": False}],
    }

    text = text_of(snapshot_lines(board, [], now_s=0))

    assert f"'{'x' * 60}.pcap' (feeding)\n: in '/in/of/the/sensor/'" in text


def test_names_cannot_act_on_the_terminal() -> None:
    """Escape sequences and newlines of a file name are shown escaped."""
    failures = [{"name": "/in/\x1b[2Jx\ny", "reason": "bad\x1b[2J"}]

    lines = snapshot_lines(EMPTY, failures, now_s=0)

    assert all(each.text.isprintable() for each in lines)


def test_rates_need_the_same_file_and_time_between() -> None:
    """A rate over a change of files, or over no time, would be nonsense."""
    before = {"dispatchers": [{"id": "a", "name": "x", "done_bytes": 100, "heartbeat_s": 1.0}]}
    later = {"dispatchers": [{"id": "a", "name": "x", "done_bytes": 300, "heartbeat_s": 2.0}]}
    other = {"dispatchers": [{"id": "a", "name": "y", "done_bytes": 300, "heartbeat_s": 2.0}]}

    assert rates_between(before, later) == {"a": 200.0}
    assert rates_between(before, other) == {}
    assert rates_between(before, before) == {}
    assert rates_between({}, later) == {}


def test_progress_stays_within_its_bar() -> None:
    """A file that grew or shrank meanwhile cannot break the bar."""
    assert progress(2048, 1024).startswith("[########################] 100%")
    assert progress(-1, 1024).startswith("[........................] 0%")
