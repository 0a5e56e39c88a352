"""What `check --monitor` finds in a snapshot: level, sentence, performance data."""

import re
from typing import Any, Final

from support.rows import each_row

from pcapdj.console.monitor_rules import (
    STALE_AFTER_S,
    Finding,
    Level,
    expected_without_layout,
    findings_of,
    monitor_line,
)
from pcapdj.console.snapshot_fields import ROLES
from pcapdj.store import snapshot as store_snapshot

NOW_S: Final = 1000.0
ALIVE: Final = {"heartbeat_s": NOW_S - 0.5, "heartbeat_age_s": 0.5, "stale": False}
SILENT: Final = {"heartbeat_s": NOW_S - 12, "heartbeat_age_s": 12.0, "stale": True}
DISK: Final = {
    "name": "/out", "unit": "bytes", "free": 30, "total": 100, "suspend_below": 10, "hold_below": 20,
    "open_from": 25, "state": "open", "fills_per_s": 0, "failure": "",
}  # fmt: skip
WELL: Final[dict[str, Any]] = {
    "lane": "", "queued": 7, "processed": 5, "failed": 0, "suspended": [], "suspects": {},
    "redis_problem": "", "control": {}, "state": "",
    "current": [{"dispatcher": "/run/stream.pcap", "name": "/in/1"}],
    "gate": {"state": "open", "reason": "", "disks": [DISK], **ALIVE},
    "dispatchers": [{"id": "/run/stream.pcap", "state": "Running", **ALIVE}],
    "consumer": {"state": "reading", **ALIVE},
    "importer": {"state": "watching", **ALIVE},
}  # fmt: skip


def found(**parts: Any) -> list[Finding]:
    """Return the findings of a lane that is well but for these parts; all roles are expected."""
    merged = {
        name: {**WELL[name], **part} if isinstance(part, dict) and WELL[name] else part
        for name, part in parts.items()
    }
    return findings_of(WELL | merged, ROLES, NOW_S)


def dispatcher(**fields: Any) -> list[dict[str, Any]]:
    """Return the lane's dispatcher with these fields."""
    return [WELL["dispatchers"][0] | fields]


def test_a_lane_that_is_well() -> None:
    """What is queued, and each number with its limits as warn and crit."""
    line, level = monitor_line(found(), WELL)

    assert level is Level.OK
    assert line == (
        "PCAPDJ OK - 7 queued, 1 current, gate open | queued=7 current=1 processed=5 failed=0;0"
        " 'controller heartbeat'=0.5s;;5 'consumer heartbeat'=0.5s;;5 'importer heartbeat'=0.5s;;5"
        " 'dispatcher stream.pcap heartbeat'=0.5s;;5 'free /out'=30B;20:;10:;0;100"
    )


def test_a_lane_with_a_name_is_named() -> None:
    """Two lanes of one Redis are two services of the monitoring; a bar in the name ends no text."""
    line, level = monitor_line(found(), WELL | {"lane": "sensor|2"})

    assert line.startswith("PCAPDJ OK - lane sensor/2: ")
    assert level is Level.OK


@each_row(
    ("parts", "text"),
    [
        ({"gate": SILENT}, "controller silent for 12 s"),
        ({"gate": None}, "controller has not reported"),
        ({"consumer": SILENT}, "launcher silent for 12 s"),
        ({"consumer": None}, "launcher has not reported"),
        ({"importer": SILENT}, "importer silent for 12 s"),
        ({"importer": None}, "importer has not reported"),
        ({"importer": {"state": "stopped"}}, "importer was stopped"),
        ({"dispatchers": dispatcher(**SILENT)}, "dispatcher stream.pcap silent for 12 s"),
        (
            {"dispatchers": dispatcher(stale=True, heartbeat_age_s=None)},
            "dispatcher stream.pcap silent ('pcapdj forget stream.pcap' if it is out of service)",
        ),
        (
            {"dispatchers": dispatcher(stale=True, heartbeat_age_s=90.0)},
            "dispatcher stream.pcap silent for 90 s ('pcapdj forget stream.pcap' if it is out of service)",
        ),
        ({"dispatchers": []}, "no dispatcher is registered"),
        ({"suspended": ["operator"]}, "suspended by operator"),
        ({"gate": {"state": "suspended", "reason": "It is full."}}, "gate suspended: It is full"),
        ({"suspended": ["gate"]}, "gate suspended"),
        ({"consumer": {"state": "failing", "reason": "not installed."}}, "analyzer failing: not installed"),
        ({"dispatchers": dispatcher(at_fault="It died.")}, "lane held: It died"),
        ({"dispatchers": dispatcher(storage="/mnt")}, "storage away: '/mnt'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_stops_feeding_or_hides_that_is_critical(parts: dict[str, Any], text: str) -> None:
    """One finding, which names the role or the reason."""
    assert found(**parts) == [Finding(Level.CRITICAL, text)]


@each_row(
    ("parts", "text"),
    [
        ({"gate": {"state": "hold", "reason": "1 B (1 byte) free."}}, "gate holds: 1 B free"),
        ({"failed": 1}, "1 failed file"),
        ({"failed": 1234}, "1,234 failed files"),
        ({"control": {"gate": "open"}}, "gate set by hand: open"),
        ({"gate": {"lost": "Redis has lost the hold."}}, "Redis has lost the hold"),
        ({"gate": {"refused": "min-free is no size."}}, "min-free is no size"),
        ({"importer": {"problem": "The inbox is missing."}}, "inbox: The inbox is missing"),
        ({"importer": {"lost_names": 3}}, "Redis lost 3 names of the queue"),
        ({"dispatchers": dispatcher(lost_names=3)}, "Redis lost 3 names of the queue"),
        ({"dispatchers": dispatcher(stalled_s=61)}, "analyzer has read nothing for 61 s"),
        ({"suspects": {"ab": "The disk was full."}}, "stream ab may lack output: The disk was full"),
        ({"suspects": {"ab": "x", "cd": "y"}}, "stream ab and 1 more may lack output: x"),
        ({"redis_problem": "It waits for its disk."}, "It waits for its disk."),
        (
            {"gate": {"heartbeat_s": NOW_S + 60, "heartbeat_age_s": 0.0}},
            "the clock of controller is 60 s ahead: its silence would not be noticed",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_an_operator_should_look_at_is_a_warning(parts: dict[str, Any], text: str) -> None:
    """One finding each."""
    assert found(**parts) == [Finding(Level.WARNING, text)]


def test_the_worst_comes_first_and_decides() -> None:
    """Beyond five, the number of the others is on the line."""
    findings = found(
        failed=3, gate=None, consumer=None, importer=None, dispatchers=[], suspended=["operator"]
    )

    line, level = monitor_line(findings, WELL)

    assert level is Level.CRITICAL
    assert line.startswith("PCAPDJ CRITICAL - controller has not reported; launcher has not reported;")
    assert "; and 1 more | " in line
    assert "failed file" not in line


def test_a_role_that_is_not_expected_is_not_missed() -> None:
    """A lane whose analyzer was started by hand has no launcher, and one without an inbox no importer."""
    assert findings_of(WELL | {"consumer": None, "importer": None}, {"dispatcher", "controller"}, NOW_S) == []


@each_row(
    ("parts", "expected"),
    [
        ({}, set(ROLES)),
        ({"consumer": None, "importer": None, "gate": None, "dispatchers": []}, {"dispatcher", "controller"}),
        ({"importer": {"state": "stopped"}}, {"dispatcher", "controller", "consumer"}),
        ({"dispatchers": [], "state": "DONE"}, {"controller", "consumer", "importer"}),
        ({"state": "DONE"}, set(ROLES)),
    ],
)
def test_without_a_layout_who_has_reported_should_run(parts: dict[str, Any], expected: set[str]) -> None:
    """A dispatcher that has drained its queue has ended in order."""
    assert expected_without_layout(WELL | parts) == expected


def test_no_text_breaks_the_line() -> None:
    """Names and reasons may hold newlines, bars, quotes and equal signs."""
    disk = {**DISK, "name": "/a|b='c'\n\x1b[2J" + "x" * 500}
    gate = {"state": "hold", "reason": "a|b\nc" + "x" * 5000, "disks": [disk, "foreign", {"free": "7"}]}

    line, _ = monitor_line(found(gate=gate), WELL | {"gate": WELL["gate"] | gate})

    text, bar, data = line.partition(" | ")
    assert line.isprintable()
    assert len(line) < 1000
    assert bar
    assert "|" not in text + data
    assert re.findall(r"('(?:[^']|'')+'|\w+)=[0-9.]+(?:B|s)?(?:;[0-9:;]*)?", data)[-1].endswith("xxx'")


def test_labels_are_quoted_as_plugins_have_to() -> None:
    """A quote is doubled; what ends a label or the text is replaced."""
    disks = [
        {**DISK, "name": "/a='b'|c", "unit": "inodes", "hold_below": 0, "suspend_below": 0, "total": 0},
        {**DISK, "name": "/d", "total": 90, "hold_below": 20, "suspend_below": 10, "free": 30},
    ]

    line, _ = monitor_line([], WELL | {"gate": WELL["gate"] | {"disks": disks}})

    data = line.partition(" | ")[2]
    assert data.split(" 'free ")[1:] == [f"/a_''b''_c'={DISK['free']};;;0;", "/d'=30B;20:;10:;0;90"]


def test_limits_of_time_count_from_their_second_on() -> None:
    """A silence of a minute has a remedy, a pause of a minute is a finding, a clock may be 5 s ahead."""

    def texts(**fields: Any) -> list[str]:
        parts = {"dispatchers": [{**WELL["dispatchers"][0], "id": "d", **fields}]}
        return [each.text for each in findings_of(WELL | parts, ROLES, 1000.0)]

    remedy = "dispatcher d silent for {} ('pcapdj forget d' if it is out of service)"
    assert texts(stale=True, heartbeat_age_s=60.0) == [remedy.format("60 s")]
    other = [{**WELL["dispatchers"][0], "id": "a|b", "stale": True, "heartbeat_age_s": 60.0}]
    found = findings_of(WELL | {"dispatchers": other, "lane": "my lane"}, ROLES, 1000.0)
    assert [each.text for each in found] == ["dispatcher a|b silent for 60 s"]  # a bar ends what is shown
    other[0]["id"] = "d"
    found = findings_of(WELL | {"dispatchers": other, "lane": "my lane"}, ROLES, 1000.0)
    command = "pcapdj forget --lane 'my lane' d"
    assert [each.text for each in found] == [
        f"dispatcher d silent for 60 s ('{command}' if it is out of service)"
    ]
    other[0]["id"] = "--help"
    found = findings_of(WELL | {"dispatchers": other}, ROLES, 1000.0)
    assert "('pcapdj forget -- --help' if" in found[0].text
    assert texts(stale=True, heartbeat_age_s=59.0) == ["dispatcher d silent for 59 s"]
    assert texts(stalled_s=60) == ["analyzer has read nothing for 60 s"]
    assert texts(stalled_s=59) == []
    assert texts(heartbeat_s=1005.0) == []
    assert [text.partition(" is ")[0] for text in texts(heartbeat_s=1005.5)] == ["the clock of dispatcher d"]


def test_five_findings_are_on_the_line_and_the_others_are_a_number() -> None:
    """The levels are the exit codes of a plugin."""
    six = [Finding(Level.WARNING, str(number)) for number in range(6)]

    assert "WARNING - 0; 1; 2; 3; 4 |" in monitor_line(six[:5], WELL)[0]
    assert "WARNING - 0; 1; 2; 3; 4; and 1 more |" in monitor_line(six, WELL)[0]
    assert [level.value for level in Level] == [0, 1, 2, 3]


def test_the_limit_is_that_of_the_snapshot() -> None:
    """It stands in the performance data, too."""
    assert STALE_AFTER_S == store_snapshot.STALE_AFTER_S
