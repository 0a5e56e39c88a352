"""The lines of the status screen, from whole and partial snapshots: `pcapdj.console.status_lines`."""

from typing import Any

import pytest
from support.rows import each_row

from pcapdj.console.dispatcher_lines import (
    anomaly_rows,
    jumps_text,
    progress_text,
    rates_between,
    short_names,
)
from pcapdj.console.screen import Line, Tone
from pcapdj.console.status_lines import gate_lines, snapshot_lines

EMPTY = {
    "lane": "",
    "queued": 0,
    "current": [],
    "processed": 0,
    "failed": 0,
    "gate": None,
    "dispatchers": [],
    "consumer": None,
    "importer": None,
    "suspended": [],
}


def text_of(lines: list[Line]) -> str:
    """Return all lines as one text."""
    return "\n".join(f"{line.label}: {line.text}" for line in lines)


def line(lines: list[Line], label: str) -> Line:
    """Return the line with this label."""
    return next(each for each in lines if each.label == label)


def test_an_empty_lane_shows_who_has_not_reported() -> None:
    """Nothing runs yet: the screen shows that, instead of being empty."""
    assert snapshot_lines(EMPTY, [], now_s=0) == [
        Line("Files", "0 queued, 0 current, 0 processed, 0 failed"),
        Line("Gate", "no controller has reported yet", Tone.ATTENTION),
        Line("Analyzer", "no launcher has reported yet"),
        Line("Dispatcher", "none has reported yet"),
    ]


def test_a_busy_lane_fills_the_screen() -> None:
    """Every line of a lane in which something of everything is going on."""
    snapshot = {
        "lane": "", "queued": 12, "processed": 3456, "failed": 1,
        "current": [{"dispatcher": "/run/a.pcap", "name": "/in/7.pcap", "state": "feeding", "attempt": 1}],
        "gate": {
            "state": "hold", "since_s": 940.0, "reason": "'/out' has 1.0 GiB (1,073,741,824 bytes) free.",
            "free_bytes": 1 << 30, "needed_bytes": 2 << 30, "path": "/out", "heartbeat_age_s": 9.0,
            "stale": True,
        },
        "suspended": ["gate", "operator"],
        "consumer": {
            "state": "reading", "stream": "ab12", "pid": 77, "last_exit": "exited 0", "restarts": 2,
            "command": "suricata -r {pipe}", "logdir": "/out/1-ab12", "last_stream": "aa11",
            "last_verdict": "crashed", "heartbeat_age_s": 700.0, "stale": True,
        },
        "dispatchers": [
            {
                "id": "/run/a.pcap", "state": "Feeding fifo buffer", "files": 3, "packets": 4000,
                "cap_lengths": 5 << 20, "suspensions": 1, "jumps": 1, "last_jump": "begins 2 h later",
                "last_jump_name": "/in/6.pcap", "stalled_s": 61, "name": "/in/7.pcap", "done_bytes": 256,
                "total_bytes": 1024, "heartbeat_age_s": 0.1, "stale": False,
            },
            {"id": "/run/b.pcap", "state": "Running", "waiting_for": "The pipe is missing.", "stale": True,
             "heartbeat_age_s": None},
        ],
    }  # fmt: skip

    assert snapshot_lines(snapshot, [{"name": "/in/2.pcap", "reason": "it is damaged"}], now_s=1000) == [
        Line("Files", "12 queued, 1 current, 3,456 processed, 1 failed"),
        Line("Waits for", "'pcapdj resume': feeding is suspended by the operator", Tone.ATTENTION),
        Line("", "the gate to open: the controller is silent for 9 s", Tone.BAD),
        Line("", "b.pcap: the dispatcher, which is silent", Tone.BAD),
        Line("Gate", "hold for 60 s: '/out' has 1.0 GiB free.", Tone.ATTENTION),
        Line("", "the controller is silent for 9 s", Tone.BAD),
        Line("Analyzer", "reading, stream ab12, pid 77, the previous one exited 0, 2 restarts"),
        Line("", "runs suricata -r {pipe}"),
        Line("", "writes to /out/1-ab12"),
        Line(
            "", "stream aa11 broke off; to feed its files again: pcapdj requeue --stream aa11", Tone.ATTENTION
        ),
        Line("", "the launcher is silent for 12 min", Tone.BAD),
        Line("Dispatcher", "a.pcap: Feeding fifo buffer"),
        Line("", "3 files, 4,000 packets, 5.0 MiB captured, 1 suspension"),
        Line("", "timestamps: 1 jump, '6.pcap' begins 2 h later", Tone.ATTENTION),
        Line("", "'/in/7.pcap' (feeding)"),
        Line("", "[######..................] 25% of 1.0 KiB"),
        Line("Dispatcher", "b.pcap: Running, silent", Tone.ATTENTION),
        Line("Reported", "controller 9 s, launcher 12 min, dispatcher a.pcap 0 s ago; not yet: importer"),
        Line("Failed last", "'/in/2.pcap': it is damaged", Tone.BAD),
    ]


TROUBLE: dict[str, Any] = {
    "lane": "a b", "queued": 2, "processed": 3, "failed": 1, "redis_problem": "Redis keeps nothing.",
    "current": [{"dispatcher": "/run/a.pcap", "name": "/in/7.pcap", "state": "feeding", "attempt": 2}],
    "gate": {
        "state": "hold", "since_s": 940.0, "free_bytes": 1 << 30, "needed_bytes": 2 << 30, "path": "/out",
        "lost": "the hold is lost", "refused": "min-free is too large", "heartbeat_age_s": 0.5,
        "reclaim": {"how": "delete", "removed": 1, "freed_bytes": 1 << 20, "time_s": 400.0,
            "problem": "too little", "notes": ["stays", ""]},
        "disks": [
            {"name": f"/{n}", "unit": "bytes", "free": n << 30, "total": 9 << 30, "hold_below": 1 << 30}
            for n in range(1, 8)
        ],
    },
    "importer": {
        "state": "watching", "waiting": 1, "written": 2, "known": 3, "skipped": {"empty": 4, "hidden": 5},
        "last_event": "took 1.pcap", "last_event_s": 990.0, "problem": "cannot look", "overlaps": ["a in b"],
        "restored": 1, "lost_names": 1, "stale": True, "heartbeat_age_s": 8.0,
    },
    "consumer": {
        "state": "failing", "reason": "it is not installed", "last_exit": "exited 1", "paused_s": 5.0,
        "heartbeat_age_s": 1.0,
    },
    "suspects": {f"s{n}": f"reason {n}" for n in range(5)},
    "dispatchers": [
        {"id": "/run/a.pcap", "state": "Feeding fifo buffer", "files": 1, "known": 2, "packets": 1,
         "cap_lengths": 60, "left_out": 1, "wrapped_times": 2, "steps_back": 2, "beyond_snaplen": 1,
         "largest_step_back_ns": 10**9, "after_2038_stream": "s1", "last_anomaly": "is odd", "stale": False,
         "last_anomaly_name": "/in/6.pcap", "restored": 2, "lost_names": 3,
         "name": "/in/7.pcap", "done_bytes": 512, "total_bytes": 1024, "heartbeat_age_s": 0.1},
    ],
}  # fmt: skip
AFTER_2038 = "timestamps: after 2038-01-19, which programs built on libpcap read as negative"
LACKS = "may lack output; to feed its files again: pcapdj requeue --lane 'a b' --stream"


def test_a_lane_in_trouble_shows_all_of_it() -> None:
    """Every line that the other screen does not have, with its label and its tone."""
    failures = [{"reason": "x"}, {"name": "/in/2"}]

    assert snapshot_lines(TROUBLE, failures, 1000.0, {"/run/a.pcap": 64.0}, 4096) == [
        Line("Redis", "Redis keeps nothing.", Tone.BAD),
        Line("Files", "2 queued (4.0 KiB), 1 current, 3 processed, 1 failed"),
        Line("", "all of them are read in 72 s, at 64 B/s"),
        Line("Waits for", "the next start of the analyzer, which fails", Tone.BAD),
        Line("Inbox", "1 waiting, 2 still written, 3 known already, 9 skipped: 4 empty, 5 hidden"),
        Line("", "took 1.pcap, 10 s ago"),
        Line("", "Redis lost its registration once; it was restored", Tone.ATTENTION),
        Line("", "Redis lost 1 name of the queue: import the files again", Tone.BAD),
        Line("", "the importer is silent for 8 s", Tone.BAD),
        Line("", "cannot look", Tone.BAD),
        Line("", "a in b", Tone.ATTENTION),
        Line("Gate", "hold for 60 s", Tone.ATTENTION),
        Line("", "1.0 GiB free, 2.0 GiB needed at '/out'"),
        Line("", "--reclaim, 10 min ago: 1 file, 1.0 MiB freed"),
        Line("", "too little", Tone.ATTENTION),
        Line("", "stays", Tone.ATTENTION),
        Line("", "the hold is lost", Tone.BAD),
        Line("", "refused: min-free is too large", Tone.ATTENTION),
        Line("Disks", "'/1' 1.0 GiB of 9.0 GiB free, holds below 1.0 GiB", Tone.ATTENTION),
        Line("", "'/2' 2.0 GiB of 9.0 GiB free, holds below 1.0 GiB"),
        Line("", "'/3' 3.0 GiB of 9.0 GiB free, holds below 1.0 GiB"),
        Line("", "'/4' 4.0 GiB of 9.0 GiB free, holds below 1.0 GiB"),
        Line("", "'/5' 5.0 GiB of 9.0 GiB free, holds below 1.0 GiB"),
        Line("", "'/6' 6.0 GiB of 9.0 GiB free, holds below 1.0 GiB"),
        Line("", "and 1 more; 'pcapdj limits' shows all"),
        Line("Analyzer", "failing, paused by the gate: it is not installed", Tone.BAD),
        Line("Suspect", f"stream s0 {LACKS} s0", Tone.BAD),
        Line("", "reason 0", Tone.BAD),
        Line("Suspect", f"stream s1 {LACKS} s1", Tone.BAD),
        Line("", "reason 1", Tone.BAD),
        Line("Suspect", f"stream s2 {LACKS} s2", Tone.BAD),
        Line("", "reason 2", Tone.BAD),
        Line("", "and 2 more streams; all of them: pcapdj status --lane 'a b' --json", Tone.BAD),
        Line("Dispatcher", "a.pcap: Feeding fifo buffer"),
        Line("", "1 file, 2 known already, 1 packet, 60 B captured"),
        Line("", "left out: 1 packet, because of their link type", Tone.ATTENTION),
        Line("", "wrapped: the times of 2 packets from before 1970 or after 2106", Tone.ATTENTION),
        Line("", "timestamps: 2 steps back in time, the largest 1 s, inside files", Tone.ATTENTION),
        Line(
            "",
            "timestamps: after 2038-01-19, which programs built on libpcap read as negative",
            Tone.ATTENTION,
        ),
        Line("", "snaplen: 1 packet is longer than that of the file, and whole", Tone.ATTENTION),
        Line("", "last: '6.pcap' is odd", Tone.ATTENTION),
        Line("", "Redis lost its registration 2 times; it was restored", Tone.ATTENTION),
        Line("", "Redis lost 3 names of the queue: import the files again", Tone.BAD),
        Line("", "'/in/7.pcap' (feeding, attempt 2)"),
        Line("", "[############............] 50% of 1.0 KiB, 64 B/s, 8 s left"),
        Line("Reported", "controller 0 s, launcher 1 s, importer 8 s, dispatcher 0 s ago"),
        Line("Failed last", "'?': x", Tone.BAD),
        Line("", "'/in/2': ", Tone.BAD),
    ]


def test_what_is_unusual_in_files_has_a_line_for_each_kind_and_the_last_file() -> None:
    """Whatever the dispatcher has counted; nothing where there is nothing."""
    dispatcher = {
        "id": "main", "state": "Running", "stale": False, "left_out": 1200, "wrapped_times": 1,
        "steps_back": 2,
        "largest_step_back_ns": 86_399 * 10**9, "beyond_snaplen": 1, "after_2038_stream": "s1",
        "last_anomaly": "1 step back in time, 3 s", "last_anomaly_name": "/in/7.pcap",
    }  # fmt: skip

    lines = snapshot_lines(EMPTY | {"dispatchers": [dispatcher]}, [], now_s=0)

    assert lines[-6:] == [
        Line("", text, Tone.ATTENTION)
        for text in (
            "left out: 1,200 packets, because of their link type",
            "wrapped: the times of 1 packet from before 1970 or after 2106",
            "timestamps: 2 steps back in time, the largest 86,399 s, inside files",
            "timestamps: after 2038-01-19, which programs built on libpcap read as negative",
            "snaplen: 1 packet is longer than that of the file, and whole",
            "last: '7.pcap' 1 step back in time, 3 s",
        )
    ]
    assert list(anomaly_rows({"beyond_snaplen": 2})) == [
        ("snaplen", "2 packets are longer than that of the file, and whole")
    ]
    assert list(anomaly_rows({"left_out": 0, "wrapped_times": "x", "after_2038_stream": ""})) == []


def test_a_dispatcher_has_the_last_part_of_its_pipes_path_for_a_name() -> None:
    """The whole path only where two pipes would have the same name."""
    assert short_names(["/a/stream.pcap", "main"]) == {"/a/stream.pcap": "stream.pcap", "main": "main"}
    assert short_names(["/a/pipe", "/b/pipe", "/c/"]) == {
        each: each for each in ("/a/pipe", "/b/pipe", "/c/")
    }


def test_a_gate_without_a_reason_has_its_numbers() -> None:
    """A controller of another program may publish no sentence."""
    gate = {"state": "open", "free_bytes": 2048, "needed_bytes": 1024, "path": "/out"}

    lines = snapshot_lines(EMPTY | {"gate": gate}, [], now_s=0)

    assert Line("", "2.0 KiB free, 1.0 KiB needed at '/out'") in lines
    del gate["path"]
    lines = snapshot_lines(EMPTY | {"gate": gate}, [], now_s=0)
    assert lines[1:3] == [Line("Gate", "open", Tone.GOOD), Line("", "2.0 KiB free, 1.0 KiB needed")]


def test_the_file_in_flight_has_its_progress_and_rate() -> None:
    """Name, share, size and rate of the file are on the screen."""
    snapshot = EMPTY | {
        "current": [{"dispatcher": "main", "name": "/in/a.pcap", "state": "feeding", "attempt": 2}],
        "dispatchers": [
            {"id": "main", "state": "Feeding fifo buffer", "name": "/in/a.pcap", "done_bytes": 512,
             "total_bytes": 1024, "heartbeat_age_s": 0.3, "stale": False},
        ],
    }  # fmt: skip

    text = text_of(snapshot_lines(snapshot, [], now_s=0, rates={"main": 2048.0}))

    assert "'/in/a.pcap' (feeding, attempt 2)" in text
    assert "[############............] 50% of 1.0 KiB, 2.0 KiB/s, 0 s left" in text


def test_a_dispatcher_without_trouble_has_no_words_about_it() -> None:
    """No suspensions, no attempts, no wait: every line of a file in its first pass."""
    snapshot = EMPTY | {
        "current": [{"dispatcher": "main", "name": "/in/a.pcap", "state": "feeding", "attempt": 1}],
        "dispatchers": [
            {"id": "main", "state": "Feeding fifo buffer", "files": 2, "known": 7, "packets": 30,
             "cap_lengths": 400, "suspensions": 0, "jumps": 0, "name": "/in/b.pcap", "done_bytes": 0,
             "total_bytes": 9, "stalled_s": 59.9},
        ],
    }  # fmt: skip

    assert snapshot_lines(snapshot, [], now_s=0)[3:] == [
        Line("Dispatcher", "main: Feeding fifo buffer"),
        Line("", "2 files, 7 known already, 30 packets, 400 B captured"),
        Line("", "'/in/a.pcap' (feeding)"),
    ]


def test_only_the_first_failure_has_the_label() -> None:
    """The others stand below it; what is missing in an entry is left out."""
    failures = [{"name": "/a", "reason": "it is damaged"}, {"name": "/b", "reason": "gone"}, {}]

    assert snapshot_lines(EMPTY, failures, now_s=0)[4:] == [
        Line("Failed last", "'/a': it is damaged", Tone.BAD),
        Line("", "'/b': gone", Tone.BAD),
        Line("", "'?': ", Tone.BAD),
    ]


def test_a_snapshot_of_which_everything_is_missing_has_its_lines() -> None:
    """Another program may write the keys: `?` for a count that is no number, nothing for the rest."""
    snapshot: dict[str, Any] = {
        "queued": "many", "current": None, "dispatchers": [{}], "gate": {"stale": True},
        "consumer": {"stale": True, "pid": 0, "restarts": "x"},
    }  # fmt: skip

    assert snapshot_lines(snapshot, [], now_s=0) == [
        Line("Files", "? queued, 0 current, ? processed, ? failed"),
        Line("Gate", "unknown", Tone.ATTENTION),
        Line("", "the controller is silent", Tone.BAD),
        Line("Analyzer", "unknown"),
        Line("", "the launcher is silent", Tone.BAD),
        Line("Dispatcher", "None: unknown"),
    ]


def test_a_silent_dispatcher_is_highlighted() -> None:
    """With the age of its heartbeat."""
    snapshot = EMPTY | {
        "dispatchers": [{"id": "main", "state": "Running", "heartbeat_age_s": 600.0, "stale": True}]
    }

    dispatcher = line(snapshot_lines(snapshot, [], now_s=0), "Dispatcher")

    assert dispatcher == Line("Dispatcher", "main: Running, silent for 10 min", Tone.ATTENTION)


@pytest.mark.parametrize(
    ("state", "tone"), [("open", Tone.GOOD), ("hold", Tone.ATTENTION), ("suspended", Tone.BAD)]
)
def test_the_gate_is_coloured_by_its_state(state: str, tone: Tone) -> None:
    """Open is good, hold is attention, suspended is bad; since when, and why, stand beside it."""
    snapshot = EMPTY | {"gate": {"state": state, "since_s": 100.0, "reason": "so it is", "stale": False}}

    assert line(snapshot_lines(snapshot, [], now_s=112), "Gate") == Line(
        "Gate", f"{state} for 12 s: so it is", tone
    )


def test_a_refused_live_limit_is_shown() -> None:
    """The operator sees that the controller refused what was typed."""
    snapshot = EMPTY | {"gate": {"state": "open", "refused": "min-free: '98' ..", "stale": False}}

    assert Line("", "refused: min-free: '98' ..", Tone.ATTENTION) in snapshot_lines(snapshot, [], now_s=0)


def test_a_failing_analyzer_has_its_reason() -> None:
    """State, reason, command as typed, log folder; nothing twice."""
    snapshot = EMPTY | {
        "consumer": {
            "state": "failing",
            "reason": "suricata exited 1.",
            "last_exit": "exited 1",
            "command": "'my tool' -r {pipe}",
            "logdir": "/out/x",
            "stale": False,
        }
    }

    assert snapshot_lines(snapshot, [], now_s=0)[3:6] == [
        Line("Analyzer", "failing: suricata exited 1.", Tone.BAD),
        Line("", "runs 'my tool' -r {pipe}"),
        Line("", "writes to /out/x"),
    ]


def test_a_stream_that_broke_off_is_named_with_what_to_do() -> None:
    """Its analyzer may not have written all of its output."""
    snapshot = EMPTY | {"consumer": {"state": "reading", "last_stream": "ab12", "last_verdict": "crashed"}}

    text = text_of(snapshot_lines(snapshot, [], now_s=0))

    assert "stream ab12 broke off; to feed its files again: pcapdj requeue --stream ab12" in text


@each_row(
    ("stream", "lane", "end"),
    [
        ("x; touch PWNED", "", ": pcapdj requeue --stream 'x; touch PWNED'"),
        ("$(touch PWNED)'\n", "", ": pcapdj requeue --stream $'$(touch PWNED)\\'\\x0a'"),
        ("ab12", "a;b", ": pcapdj requeue --lane 'a;b' --stream ab12"),
        ("x" * 64, "", f": pcapdj requeue --stream {'x' * 64}"),
        ("x" * 65, "", "x broke off"),
        ("x" * 2_000_000, "", "… broke off"),
    ],
)
def test_a_command_that_can_be_pasted_runs_nothing_else(stream: str, lane: str, end: str) -> None:
    """Another program may have written the stream's id."""
    consumer = {"state": "reading", "last_stream": stream, "last_verdict": "crashed"}

    lines = snapshot_lines(EMPTY | {"lane": lane, "consumer": consumer}, [], now_s=0)

    (text,) = [line.text for line in lines if "broke off" in line.text]
    assert text.endswith(end)


@pytest.mark.parametrize(
    "last", [{"last_stream": "ab12", "last_verdict": "ended"}, {"last_verdict": "crashed"}]
)
def test_nothing_is_to_be_done_about_a_stream_that_ended_or_is_not_named(last: dict[str, str]) -> None:
    """A launcher of another version may not name it."""
    snapshot = EMPTY | {"consumer": {"state": "reading"} | last}

    assert "requeue" not in text_of(snapshot_lines(snapshot, [], now_s=0))


def test_one_is_not_a_plural() -> None:
    """Restarts, files, packets, suspensions."""
    snapshot = EMPTY | {
        "consumer": {"state": "reading", "restarts": 1},
        "dispatchers": [{"id": "main", "files": 1, "packets": 1, "suspensions": 1}],
    }

    text = text_of(snapshot_lines(snapshot, [], now_s=0))

    assert "reading, 1 restart" in text
    assert "1 file, 1 packet, 0 B captured, 1 suspension" in text


def test_numbers_are_grouped_and_sizes_human() -> None:
    """Millions are read at a glance; the exact bytes of a reason are for the log."""
    snapshot = EMPTY | {
        "queued": 28668,
        "gate": {"state": "hold", "reason": "'/out' has 1.0 GiB (1,073,741,824 bytes) free.", "stale": False},
        "dispatchers": [
            {"id": "main", "state": "Running", "files": 1234, "packets": 1234567, "cap_lengths": 1 << 30,
             "suspensions": 2, "heartbeat_age_s": 0.1, "stale": False},
        ],
    }  # fmt: skip

    text = text_of(snapshot_lines(snapshot, [], now_s=0))

    assert "28,668 queued" in text
    assert "'/out' has 1.0 GiB free." in text
    assert "main: Running\n: 1,234 files, 1,234,567 packets, 1.0 GiB captured, 2 suspensions" in text


def test_timestamps_that_jump_are_one_line_of_their_dispatcher() -> None:
    """How often, and the last one; nothing where there was none."""
    jumps = {
        "jumps": 2,
        "last_jump": "begins 12 s before the end of the previous file",
        "last_jump_name": "/b",
    }
    text = "timestamps: 2 jumps; last: 'b' begins 12 s before the end of the previous file"

    with_jumps = snapshot_lines(EMPTY | {"dispatchers": [{"id": "main", **jumps}]}, [], now_s=0)
    without = snapshot_lines(EMPTY | {"dispatchers": [{"id": "main", **jumps, "jumps": 0}]}, [], now_s=0)

    assert Line("", text, Tone.ATTENTION) in with_jumps
    assert "timestamps" not in text_of(without)


def test_what_a_dispatcher_of_another_version_does_not_publish_is_left_empty() -> None:
    """The screen shows the rest."""
    dispatcher = {"id": "main", "state": "Running", "jumps": 1, "last_anomaly": "1 step back in time, 3 s"}

    lines = snapshot_lines(EMPTY | {"dispatchers": [dispatcher]}, [], now_s=0)

    assert [each.text for each in lines[-2:]] == [
        "timestamps: 1 jump, '' ",
        "last: '' 1 step back in time, 3 s",
    ]


def test_a_long_path_is_shown_on_two_lines() -> None:
    """Its folder has a line of its own, so that no terminal breaks it anywhere."""
    name = f"/in/of/the/sensor/{'x' * 60}.pcap"
    snapshot = EMPTY | {
        "current": [{"dispatcher": "main", "name": name, "state": "feeding"}],
        "dispatchers": [{"id": "main", "stale": False}],
    }

    text = text_of(snapshot_lines(snapshot, [], now_s=0))

    assert f"'{'x' * 60}.pcap' (feeding)\n: in '/in/of/the/sensor/'" in text


@pytest.mark.parametrize(("total_bytes", "is_shown"), [(0, False), (1, True)])
def test_a_file_without_a_byte_has_no_progress(total_bytes: int, is_shown: bool) -> None:  # noqa: FBT001 - a parameter
    """Its size is known when it is open."""
    current = {"dispatcher": "main", "name": "/in/a", "state": "asked"}
    dispatcher = {"id": "main", "state": "Running", "name": "/in/a", "total_bytes": total_bytes}

    shown = snapshot_lines(EMPTY | {"dispatchers": [dispatcher], "current": [current]}, [], now_s=0)

    assert ("0% of" in text_of(shown)) == is_shown


@pytest.mark.parametrize(("length", "lines"), [(64, 1), (65, 2)])
def test_a_path_with_its_state_gets_64_columns(length: int, lines: int) -> None:
    """The labels of a terminal with 80 columns need the others."""
    name = "/in/" + "x" * (length - len("'/in/' (feeding)"))
    current = {"dispatcher": "main", "name": name, "state": "feeding"}
    dispatcher = {"id": "main", "state": "Feeding fifo buffer"}

    shown = snapshot_lines(EMPTY | {"dispatchers": [dispatcher], "current": [current]}, [], now_s=0)

    assert len(shown) == 4 + lines


@pytest.mark.parametrize(("cap_bytes", "text"), [((1 << 63) - 1, "8192.0 PiB"), (1 << 63, "0 B")])
def test_a_number_that_no_file_can_have_is_not_shown(cap_bytes: int, text: str) -> None:
    """Any program may write the statistics."""
    dispatcher = {"id": "main", "state": "Running", "files": 1, "packets": 1, "cap_lengths": cap_bytes}

    lines = snapshot_lines(EMPTY | {"dispatchers": [dispatcher]}, [], now_s=0)

    assert lines[-1].text == f"1 file, 1 packet, {text} captured"


def test_names_cannot_act_on_the_terminal() -> None:
    """Escape sequences and newlines of a file name are shown escaped."""
    failures = [{"name": "/in/\x1b[2Jx\ny", "reason": "bad\x1b[2J"}]

    lines = snapshot_lines(EMPTY, failures, now_s=0)

    assert all(each.text.isprintable() for each in lines)


def test_rates_need_the_same_file_and_time_between() -> None:
    """A rate over a change of files, or over no time, would be wrong."""
    before = {"dispatchers": [{"id": "a", "name": "x", "done_bytes": 100, "heartbeat_s": 1.0}]}
    later = {"dispatchers": [{"id": "a", "name": "x", "done_bytes": 500, "heartbeat_s": 3.0}]}
    shrunk = {"dispatchers": [{"id": "a", "name": "x", "done_bytes": 99, "heartbeat_s": 3.0}]}
    other = {"dispatchers": [{"id": "a", "name": "y", "done_bytes": 300, "heartbeat_s": 2.0}]}

    stalled = {"dispatchers": [{"id": "a", "name": "x", "done_bytes": 100, "heartbeat_s": 2.0}]}

    assert rates_between(before, later) == {"a": 200.0}
    assert rates_between(before, stalled) == {"a": 0.0}
    assert rates_between(before, shrunk) == {}
    assert rates_between(before, other) == {}
    assert rates_between(before, before) == {}
    assert rates_between({}, later) == {}


def test_progress_stays_within_its_bar() -> None:
    """Even of a file that grew or shrank meanwhile."""
    assert progress_text(2048, 1024).startswith("[########################] 100%")
    assert progress_text(-1, 1024).startswith("[........................] 0%")


def test_jumps_are_counted_with_the_last_one() -> None:
    """By its file's name without the folder; with one alone there is no last."""
    words = "begins 12 s before the end of the previous file"

    assert jumps_text(1, "/in/b.pcap", words) == f"1 jump, 'b.pcap' {words}"
    assert jumps_text(1234, "b.pcap", words) == f"1,234 jumps; last: 'b.pcap' {words}"


def test_the_text_of_a_jump_cannot_act_on_the_terminal() -> None:
    """Neither the name nor the sentence from Redis."""
    assert jumps_text(2, "/in/\x1b[2J\udcff\n", "begins\x1b[2J").isprintable()


def test_an_inbox_shows_what_waits_and_what_is_left() -> None:
    """Each number has its meaning, each skipped name its reason; what is zero is not shown."""
    importer = {
        "state": "watching", "waiting": 1200, "written": 2, "known": 5, "skipped": {"hidden": 1, "empty": 3},
        "overlaps": ["'/in/a' and '/in/b' overlap by 59 s."], "problem": "The inbox '/in' is missing.",
        "stale": True, "heartbeat_age_s": 70.0,
    }  # fmt: skip

    lines = snapshot_lines(EMPTY | {"importer": importer}, [], now_s=0)
    quiet = snapshot_lines(EMPTY | {"importer": {"state": "watching", "waiting": 0}}, [], now_s=0)

    at = lines.index(line(lines, "Inbox"))
    assert lines[at : at + 4] == [
        Line("Inbox", "1,200 waiting, 2 still written, 5 known already, 4 skipped: 1 hidden, 3 empty"),
        Line("", "the importer is silent for 70 s", Tone.BAD),
        Line("", "The inbox '/in' is missing.", Tone.BAD),
        Line("", "'/in/a' and '/in/b' overlap by 59 s.", Tone.ATTENTION),
    ]
    assert line(quiet, "Inbox").text == "0 waiting"


def test_an_importer_that_was_stopped_is_shown_as_stopped() -> None:
    """Nothing arrives any more."""
    lines = snapshot_lines(
        EMPTY | {"importer": {"state": "stopped", "waiting": 3, "stale": True}}, [], now_s=0
    )

    assert line(lines, "Inbox") == Line("Inbox", "the importer was stopped", Tone.ATTENTION)


@each_row(
    ("restored", "lost_names", "expected"),
    [
        (1, 0, ["Redis lost its registration once; it was restored"]),
        (
            2,
            1200,
            [
                "Redis lost its registration 2 times; it was restored",
                "Redis lost 1,200 names of the queue: import the files again",
            ],
        ),
        (0, 1, ["Redis lost 1 name of the queue: import the files again"]),
        (0, 0, []),
    ],
)
def test_what_redis_has_lost_is_shown(restored: int, lost_names: int, expected: list[str]) -> None:
    """Not only logged: the loss of the queue needs a person."""
    dispatcher = {"id": "/run/pipe", "state": "Running", "restored": restored, "lost_names": lost_names}

    lines = snapshot_lines({**EMPTY, "dispatchers": [dispatcher]}, [], now_s=0)

    found = [each for each in lines if "Redis lost" in each.text]
    assert [each.text for each in found] == expected
    assert {each.tone for each in found if "queue" in each.text} <= {Tone.BAD}


def test_suspect_streams_are_shown_with_the_command_that_feeds_their_files_again() -> None:
    """Three of them, and a common reason once; the last one that crashed is shown with the analyzer."""
    suspects = {f"s{number}": "The disk was full." for number in range(5)} | {"s3": "It was killed."}
    consumer = {"state": "idle", "last_stream": "s0", "last_verdict": "crashed"}

    lines = snapshot_lines({"lane": "a b", "suspects": suspects, "consumer": consumer}, [], 0.0)

    found = [(line.label, line.text) for line in lines if "s0" in line.text or line.tone is Tone.BAD]
    again = "to feed its files again: pcapdj requeue --lane 'a b' --stream"
    assert found == [
        ("", f"stream s0 broke off; {again} s0"),
        ("Suspect", f"stream s1 may lack output; {again} s1"),
        ("", "The disk was full."),
        ("Suspect", f"stream s2 may lack output; {again} s2"),
        ("Suspect", f"stream s3 may lack output; {again} s3"),
        ("", "It was killed."),
        ("", "and 1 more stream; all of them: pcapdj status --lane 'a b' --json"),
    ]


def test_a_paused_analyzer_is_shown_as_paused() -> None:
    """By the gate, which has the reason."""
    consumer = {"state": "reading", "stream": "s", "paused_s": 1.0}

    lines = snapshot_lines({"consumer": consumer}, [], 0.0)

    assert ("Analyzer", "reading, stream s, paused by the gate") in [
        (each.label, each.text) for each in lines
    ]


DISK = {
    "name": "/out",
    "unit": "bytes",
    "state": "open",
    "free": 37 << 30,
    "total": 70 << 30,
    "open_from": 10 << 30,
    "hold_below": 7 << 30,
    "suspend_below": 3 << 30,
    "fills_per_s": 10 << 20,
}


@each_row(
    ("fields", "expected"),
    [
        ({"path": "/out", "disks": [DISK]}, "fills by 10.0 MiB/s: hold in 51 min, suspended in 58 min"),
        ({"path": "/other", "disks": [DISK]}, None),
        ({"path": "/out", "disks": [{**DISK, "free": None}]}, None),
        ({"path": "/out", "disks": ["text", {"name": "/out"}]}, None),
        ({"path": "/out", "disks": "text"}, None),
        (
            {"reclaim": {"how": "delete", "removed": 12, "freed_bytes": 3 << 30, "time_s": 900.0}},
            "--reclaim, 100 s ago: 12 files, 3.0 GiB freed",
        ),
        (
            {"reclaim": {"how": "delete", "time_s": 200.0, "problem": "too little\x1b"}},
            "too little\\x1b",
        ),
        ({"reclaim": {"how": "delete", "time_s": 50.0, "problem": "too little"}}, None),
        ({"reclaim": {"how": "delete", "removed": 0, "notes": "text"}}, None),
        ({"reclaim": ["text"]}, None),
        ({"lost": "'/out' is not a mount point any more\x1b."}, "'/out' is not a mount point any more\\x1b."),
    ],
    ids=str,
)
def test_the_gate_shows_what_comes_next(fields: dict[str, Any], expected: str | None) -> None:
    """How fast the decisive disk fills, what a command does; whatever another program wrote."""
    gate = {"state": "open", "since_s": 940.0, "reason": "x", **fields}

    lines = gate_lines(gate, 1000.0)

    assert [each.text for each in lines[1:]] == ([expected] if expected else [])


def test_the_disks_are_lines_with_the_one_nearest_to_its_limit_first() -> None:
    """One that cannot be measured comes before all; beyond six, the number of the others."""
    disks: list[Any] = [
        {"name": "/roomy", "unit": "bytes", "free": 80 << 30, "total": 100 << 30, "hold_below": 10 << 30},
        {"name": "/full", "unit": "bytes", "free": 5 << 30, "total": 100 << 30, "hold_below": 10 << 30},
        {"name": "/in (inodes)", "unit": "inodes", "free": 3000, "total": 10_000, "hold_below": 1000},
        {"name": "/gone", "unit": "bytes", "free": None, "failure": "is not there"},
        "foreign",
    ]

    lines = snapshot_lines(EMPTY | {"gate": {"state": "hold", "disks": disks}}, [], now_s=0)

    start = lines.index(line(lines, "Disks"))
    assert lines[start : start + 4] == [
        Line("Disks", "'/gone' is not there, which counts as full", Tone.ATTENTION),
        Line("", "'/full' 5.0 GiB of 100.0 GiB free, holds below 10.0 GiB", Tone.ATTENTION),
        Line("", "'/in (inodes)' 3,000 of 10,000 free, holds below 1,000"),
        Line("", "'/roomy' 80.0 GiB of 100.0 GiB free, holds below 10.0 GiB"),
    ]
    many = snapshot_lines(EMPTY | {"gate": {"state": "open", "disks": disks[:1] * 9}}, [], now_s=0)
    assert "and 3 more; 'pcapdj limits' shows all" in text_of(many)


def test_the_queue_has_its_size_and_the_time_that_it_takes() -> None:
    """At the rate of the last minutes, with what is left of the current file."""
    snapshot = EMPTY | {
        "queued": 3,
        "current": [{"dispatcher": "main", "name": "/in/1"}],
        "dispatchers": [
            {"id": "main", "state": "Feeding fifo buffer", "name": "/in/1", "total_bytes": 10 << 20,
             "done_bytes": 4 << 20},
        ],
    }  # fmt: skip

    lines = snapshot_lines(snapshot, [], 0, {"main": float(1 << 20)}, 594 << 20)

    assert lines[0].text.startswith("3 queued (594.0 MiB), 1 current")
    assert lines[1] == Line("", "all of them are read in 10 min, at 1.0 MiB/s")
    assert "all of them" not in text_of(snapshot_lines(snapshot, [], 0, {}, 594 << 20))


@pytest.mark.parametrize("change", [{"state": "Suspended"}, {"stale": True}])
def test_a_file_that_is_not_fed_now_has_no_rate_and_no_time_left(change: dict[str, Any]) -> None:
    """The rate of the last minutes is no forecast while feeding is held, or its dispatcher silent."""
    dispatcher = {"id": "main", "state": "Feeding fifo buffer", "name": "/in/1", "total_bytes": 1024}
    snapshot = EMPTY | {
        "queued": 3,
        "current": [{"dispatcher": "main", "name": "/in/1"}],
        "dispatchers": [dispatcher | change],
    }

    text = text_of(snapshot_lines(snapshot, [], 0, {"main": 100.0}, 594 << 20))

    assert "% of 1.0 KiB" in text
    assert "/s" not in text


def test_the_inbox_shows_what_happened_last() -> None:
    """And how long ago."""
    importer = {
        "state": "watching",
        "waiting": 0,
        "last_event": "2 queued, the last one '/in/2'",
        "last_event_s": 880.0,
    }

    lines = snapshot_lines(EMPTY | {"importer": importer}, [], now_s=1000)

    assert lines[2] == Line("", "2 queued, the last one '/in/2', 2 min ago")
