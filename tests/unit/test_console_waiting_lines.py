"""What a lane waits for, from whole and partial snapshots: `pcapdj.console.waiting_lines`."""

from typing import Any

from support.rows import each_row

from pcapdj.console import dispatcher_lines
from pcapdj.console import waiting_lines as screen
from pcapdj.console.screen import Line, Tone
from pcapdj.console.waiting_lines import suspenders_text, waiting_lines
from pcapdj.dispatcher import WAITING_FOR_FILES
from pcapdj.feed import statistics
from pcapdj.feed.launcher_client import OPENING
from pcapdj.store.grants import SUSPENDER
from pcapdj.store.keys import SIGUSR1_MEMBER
from pcapdj.store.operate import OPERATOR

NOW_S = 1000.0
FEEDING = {"id": "/run/a.pcap", "state": "Feeding fifo buffer", "stale": False}
REQUESTING = {"id": "/run/a.pcap", "state": "Waiting for authorization", "stale": False}
IDLE = {"id": "/run/a.pcap", "state": "Running", "waiting_for": "Waiting for files in the queue."}
FILE = {"dispatcher": "/run/a.pcap", "name": "/in/7.pcap", "state": "asked"}
DISK = {
    "name": "out",
    "unit": "bytes",
    "state": "hold",
    "free": 3 << 30,
    "total": 70 << 30,
    "open_from": 10 << 30,
    "hold_below": 7 << 30,
}
INODES = DISK | {"name": "out (inodes)", "unit": "inodes", "free": 900, "hold_below": 1000, "total": 90_000}
GATE = {
    "state": "hold",
    "cause": "resources",
    "disks": [DISK, DISK | {"name": "roomy", "state": "open"}],
    "short": {"out": "hold"},
    "stale": False,
}


def texts(dispatchers: Any = (), gate: Any = None, **others: Any) -> list[str]:
    """Return what a lane with one taken file waits for."""
    snapshot = {"dispatchers": [*dispatchers], "gate": gate, "current": [FILE], **others}
    return [each.text for each in waiting_lines(snapshot, NOW_S)]


def test_a_lane_that_feeds_waits_for_nothing() -> None:
    """Also while the gate holds: the running file is fed to its end."""
    assert texts([FEEDING], GATE, consumer={"state": "reading", "since_s": 1.0}, finish="") == []


def test_the_first_line_has_the_label_and_nothing_stands_twice() -> None:
    """Each line is one thing that is waited for."""
    snapshot = {
        "dispatchers": [REQUESTING, REQUESTING | {"id": "b"}],
        "current": [FILE, FILE | {"dispatcher": "b"}],
        "gate": GATE,
        "finish": "now",
    }

    assert [*waiting_lines(snapshot, NOW_S)] == [
        Line("Waits for", "room at 'out': 3.0 GiB free; new files start from 10.0 GiB", Tone.ATTENTION),
        Line("", "the end of the current file: then the stream ends ('pcapdj finish')"),
    ]


@each_row(
    ("gate", "expected"),
    [
        (GATE, ["room at 'out': 3.0 GiB free; new files start from 10.0 GiB"]),
        (GATE | {"short": {}}, ["room at 'out': 3.0 GiB free; new files start from 7.0 GiB"]),
        (
            GATE | {"disks": [DISK | {"free": 11 << 30}], "limits": {"resume-after": "30s"}},
            ["room at 'out': 11.0 GiB free; new files start if that lasts 30s"],
        ),
        (
            GATE | {"disks": [DISK | {"open_from": 80 << 30}]},
            ["room at 'out': 3.0 GiB free; 80.0 GiB are needed, more than it has: see 'pcapdj limits'"],
        ),
        (
            GATE | {"disks": [INODES], "short": {}},
            ["room at 'out (inodes)': 900 free; new files start from 1,000"],
        ),
        (
            GATE | {"disks": [{"name": "gone", "state": "hold", "failure": "is not there"}]},
            ["'gone': it is not there, which counts as full"],
        ),
        (GATE | {"disks": "text", "short": "text"}, ["the gate to open"]),
        (GATE | {"disks": ["text"]}, ["the gate to open"]),
        (
            GATE | {"cause": "operator"},
            ["'pcapdj gate auto': the gate is held by the operator"],
        ),
        (
            GATE | {"cause": "reserve", "path": "out"},
            ["room at 'out' for the output of the next file"],
        ),
        (
            GATE | {"disks": [DISK | {"free": 10 << 30}], "limits": {"resume-after": "30s"}},
            ["room at 'out': 10.0 GiB free; new files start if that lasts 30s"],
        ),
        ({"state": "open", "stale": False}, ["the authorization of '7.pcap'"]),
        ({"state": "open", "cause": "operator"}, ["the authorization of '7.pcap'"]),
        ({"state": "open", "disks": [DISK | {"state": "open"}]}, ["the authorization of '7.pcap'"]),
        (
            {"state": "open", "between": {"state": "running", "name": "/in/7.pcap", "since_s": 985.0}},
            ["the command of --between, which has been running for 15 s before '7.pcap'"],
        ),
        (
            {"state": "hold", "between": {"state": "failed", "name": "/in/7.pcap", "again_in_s": 7.6}},
            ["the command of --between, which failed and runs again in 8 s"],
        ),
        ({"state": "open", "between": {"state": "failed"}}, ["the authorization of '7.pcap'"]),
        (None, ["the authorization of '7.pcap': the controller has not reported"]),
        (
            GATE | {"stale": True, "heartbeat_age_s": 9.0},
            ["the authorization of '7.pcap': the controller is silent for 9 s"],
        ),
    ],
    ids=str,
)  # fmt: skip
def test_a_requested_file_waits_for_what_the_gate_waits_for(gate: Any, expected: list[str]) -> None:
    """Which disk or command, with its number and limit; of a controller that does not run only that."""
    assert texts([REQUESTING], gate) == expected


def test_a_dispatcher_that_is_silent_or_waits_for_more_has_requested_nothing() -> None:
    """Its file is not what the gate is waited for."""
    silent = REQUESTING | {"stale": True, "heartbeat_age_s": 9.0}

    assert texts([silent], GATE) == ["the dispatcher, which is silent for 9 s"]
    assert texts([REQUESTING | {"waiting_for": "Waiting for a reader."}], GATE) == ["a reader"]
    other = IDLE | {"id": "/run/b.pcap"}
    assert texts([IDLE, other]) == ["a.pcap: files in the queue", "b.pcap: files in the queue"]


def test_a_suspended_file_waits_for_the_disk_and_for_who_suspends_it() -> None:
    """From the limit at which feeding goes on, or a file starts; without a file the disk stops nothing."""
    gate = GATE | {"state": "suspended", "disks": [DISK | {"state": "suspended"}]}
    suspended = FEEDING | {"state": "Suspended", "stalled_s": 99}
    members = ["gate", "operator", "usr1:/run/a.pcap"]

    found = texts([suspended], gate, suspended=members, current=[FILE | {"state": "feeding"}])

    assert found == [
        "'pcapdj resume': feeding is suspended by the operator",
        "the end of the suspension by SIGUSR1 to the dispatcher a.pcap",
        "room at 'out': 3.0 GiB free; feeding goes on from 7.0 GiB",
    ]
    assert texts([suspended], gate, suspended=["gate"]) == [
        "room at 'out': 3.0 GiB free; new files start from 10.0 GiB"
    ]
    assert texts([IDLE], gate, suspended=["gate"], current=[]) == ["files in the queue"]


def test_a_suspended_file_that_is_not_authorized_waits_for_both() -> None:
    """Whoever resumes learns what comes next; a file that is authorized waits for no gate."""
    held, suspended = GATE | {"cause": "operator"}, FEEDING | {"state": "Suspended"}
    resume = "'pcapdj resume': feeding is suspended by the operator"

    assert texts([suspended], held, suspended=["operator"]) == [
        resume,
        "'pcapdj gate auto': the gate is held by the operator",
    ]
    current = [FILE | {"state": "authorized"}]
    assert texts([suspended], held, suspended=["operator"], current=current) == [resume]


def test_the_queue_is_waited_for_while_a_stream_stays_open() -> None:
    """What ends it is beside it, until that was requested; this is no trouble."""
    reading = {"state": "reading", "stream": "ab12"}

    assert texts([IDLE], GATE) == ["files in the queue"]
    assert texts([IDLE], consumer=reading) == [
        "files in the queue; stream ab12 stays open until 'pcapdj finish'"
    ]
    assert texts([IDLE], consumer=reading, lane="tap")[0].endswith("until 'pcapdj finish --lane tap'")
    assert texts([IDLE], consumer=reading, finish="empty")[0] == "files in the queue"
    assert [each.tone for each in waiting_lines({"dispatchers": [IDLE]}, 0)] == [Tone.PLAIN]


def test_each_of_several_dispatchers_is_named() -> None:
    """By the last part of its pipe's path; a silent one is waited for, not what it reported last."""
    others = [
        {"id": "/run/b.pcap", "stale": False, "waiting_for": "Waiting for '/mnt/nas': it is away."},
        {"id": "/run/c.pcap", "stale": True, "heartbeat_age_s": 60.0, "waiting_for": "Waiting for files."},
        {"id": "/run/d.pcap", "stale": False, "waiting_for": "The analyzer starts.\x1b"},
    ]

    assert texts([FEEDING, *others]) == [
        "b.pcap: '/mnt/nas': it is away",
        "c.pcap: the dispatcher, which is silent for 60 s",
        "d.pcap: The analyzer starts.\\x1b",
    ]


def test_an_analyzer_that_reads_nothing_is_waited_for_after_a_minute() -> None:
    """A shorter pause is an analyzer that writes its output; one that is paused may not read."""
    stalled = [FEEDING | {"stalled_s": 60}]

    assert texts(stalled) == ["the analyzer, which has read nothing for 60 s"]
    assert texts([FEEDING | {"stalled_s": 59.9}]) == []
    assert texts(stalled, consumer={"state": "reading", "paused_s": 3.0}) == []
    assert texts(stalled, suspended=["x"]) == ["the end of the suspension by x"]


@each_row(
    ("consumer", "expected"),
    [
        ({"state": "flushing", "since_s": 988.0}, ["the analyzer, which writes its last results, for 12 s"]),
        ({"state": "starting"}, ["the analyzer, which starts"]),
        ({"state": "failing", "since_s": 940.0}, ["the next start of the analyzer, which fails"]),
        ({"state": "flushing", "stale": True}, []),
        ({"state": "idle"}, []),
    ],
    ids=str,
)
def test_an_analyzer_that_begins_ends_or_fails_is_waited_for(
    consumer: dict[str, Any], expected: list[str]
) -> None:
    """Since when it does; of a launcher that is silent nothing is certain."""
    assert texts(consumer=consumer, current=[]) == expected


def test_an_analyzer_that_does_not_open_the_pipe_is_one_line() -> None:
    """The launcher knows more about it than the dispatcher; of a silent one nothing is shown."""
    opening = [FEEDING | {"waiting_for": "Waiting for the analyzer to open the pipe."}]

    assert texts(opening, consumer={"state": "failing"}) == ["the next start of the analyzer, which fails"]
    assert texts(opening, consumer={"state": "failing", "stale": True}) == ["the analyzer to open the pipe"]
    assert texts(opening) == ["the analyzer to open the pipe"]


def test_queued_files_without_a_dispatcher_wait_for_one() -> None:
    """Without files nothing waits."""
    assert texts(queued=1, current=[]) == ["a dispatcher: none has reported yet"]
    assert texts(queued=0, current=[]) == []


def test_an_end_of_the_stream_that_was_requested_is_shown() -> None:
    """After the current file, or with the queue's end."""
    assert texts(finish="empty") == ["an empty queue: then the stream ends ('pcapdj finish')"]


def test_a_suspending_dispatcher_has_a_short_name_if_no_other_has_the_same() -> None:
    """Also one that has not reported, or is not there any more."""
    dispatchers = [{"id": "/a/pipe"}, {"id": "/a/other"}]
    members = ["usr1:/a/other", "usr1:/b/pipe", "usr1:/b/gone"]

    assert suspenders_text(members, {"dispatchers": dispatchers}) == (
        "SIGUSR1 to the dispatcher other, SIGUSR1 to the dispatcher /b/pipe, SIGUSR1 to the dispatcher gone"
    )


def test_the_screen_looks_for_the_words_that_the_roles_write() -> None:
    """Screens import no role: a word that is changed in one place only is found here."""
    assert dispatcher_lines.FEEDING == statistics.FEEDING
    assert (screen.AUTHORIZATION, screen.SUSPENDED) == (statistics.WAITING, statistics.SUSPENDED)
    assert (screen.IDLE, screen.OPENING) == (WAITING_FOR_FILES, OPENING)
    members = (screen.OPERATOR, screen.GATE, screen.SIGUSR1)
    assert members == (OPERATOR, SUSPENDER, SIGUSR1_MEMBER)
