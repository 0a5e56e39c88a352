"""PCAPDJ_GATE and back: `pcapdj.disk.published_gate`."""

import json

from support.rows import each_row

from pcapdj.disk.fill_rate import FillRates
from pcapdj.disk.gate import Gate, Measurement, ResourceState, State
from pcapdj.disk.limits import Thresholds
from pcapdj.disk.published_gate import gate_fields, parse_gate, published_disks

THRESHOLDS = Thresholds(suspend=50, minimum=100, resume=150)


def measurements(free: int, inodes: int = 10_000) -> list[Measurement]:
    """Return the measurements of one mount."""
    return [
        Measurement("/out", "'/out'", free, THRESHOLDS, path="/out"),
        Measurement("/out (inodes)", "'/out'", inodes, THRESHOLDS, path="/out", unit="inodes"),
    ]


def fields(gate: Gate, found: list[Measurement]) -> dict[str, str]:
    """Return what Redis would give back."""
    return {
        name: str(value)
        for name, value in gate_fields(gate.decision(found), gate, found, FillRates()).items()
    }


def test_a_closed_gate_survives_a_restart() -> None:
    """The mount that was short still needs resume-free, and only that one."""
    before = Gate().after(measurements(90), 0, 30)

    after = parse_gate(fields(before, measurements(90)))

    assert after.state is State.HOLD
    assert after.gate == Gate({"/out": ResourceState(State.HOLD, was_short=True)})


def test_an_open_gate_leaves_its_successor_nothing_but_the_time() -> None:
    """The next controller decides on its own first measurement."""
    before = Gate().after(measurements(500), 0, 30)

    after = parse_gate({**fields(before, measurements(500)), "since_s": "12.5"})

    assert (after.state, after.since_s, after.gate) == (State.OPEN, 12.5, Gate())


def test_the_byte_fields_have_bytes_where_inodes_decide() -> None:
    """They are the same mount's space; the reason has the inodes."""
    found = measurements(500, inodes=90)

    shown = fields(Gate().after(found, 0, 30), found)

    assert (shown["state"], shown["free_bytes"], shown["needed_bytes"]) == ("hold", "500", "100")
    assert "90 inodes" in shown["reason"]


def test_a_state_that_another_program_wrote_is_respected() -> None:
    """Closed at its path, or without one everywhere."""
    at_path = parse_gate({"state": "suspended", "path": "/out"}).gate
    everywhere = parse_gate({"state": "hold"}).gate

    assert at_path.resources == {"/out": ResourceState(State.SUSPENDED, was_short=True)}
    assert everywhere.after(measurements(120), 0, 30).decision(measurements(120)).state is State.HOLD


@each_row(
    "fields",
    [
        {},
        {"state": "ajar", "since_s": "yesterday"},
        {"state": "hold", "short": "{"},
        {"state": "hold", "short": "[1]"},
        {"state": "hold", "short": '{"/out": 3, "/in": "ajar"}'},
        {"state": "hold", "short": "[" * 100_000},
    ],
)
def test_invalid_fields_are_ignored(fields: dict[str, str]) -> None:
    """A controller starts whatever the hash holds."""
    after = parse_gate(fields)

    assert after.since_s == 0
    assert after.gate == Gate()


def test_a_gate_without_a_watch_publishes_no_bytes() -> None:
    """Nothing is watched, so nothing is free or needed."""
    shown = fields(Gate(), [])

    names = ("state", "path", "free_bytes", "needed_bytes")
    assert [shown[name] for name in names] == ["open", "", "0", "0"]


def test_the_measured_resources_are_published_with_their_limits_and_states() -> None:
    """For screens; what could not be measured has a reason instead of a number."""
    found = [*measurements(90), Measurement("/gone", "'/gone'", None, THRESHOLDS, failure="is not there")]
    gate = Gate().after(found, 0, 30)

    space, inodes, gone = published_disks(fields(gate, found))

    assert space == {
        "name": "/out",
        "unit": "bytes",
        "free": 90,
        "total": 0,
        "suspend_below": 50,
        "hold_below": 100,
        "open_from": 150,
        "state": "hold",
        "fills_per_s": 0,
        "failure": "",
    }
    assert (inodes["unit"], inodes["state"]) == ("inodes", "open")
    assert (gone["free"], gone["failure"], gone["state"]) == (None, "is not there", "suspended")


@each_row("text", ["", "{", "{}", "[1]", '[{"name": "/out"}]', "[[]]", "null"])
def test_published_resources_of_another_form_are_left_out(text: str) -> None:
    """Another program may have written them."""
    assert published_disks({"disks": text}) == []
    assert published_disks({}) == []


@each_row("wrong", [None, "1", 1 << 63, 1.5, True, []])
def test_a_published_number_of_another_form_leaves_its_resource_out(wrong: object) -> None:
    """A size that cannot be one is not shown; only what is free may be unknown."""
    found = measurements(90)
    (good, other) = json.loads(fields(Gate().after(found, 0, 30), found)["disks"])

    assert published_disks({"disks": json.dumps([{**good, "total": wrong}, other])}) == [other]
