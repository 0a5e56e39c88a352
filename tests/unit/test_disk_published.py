"""PCAPDJ_GATE and back: `pcapdj.disk.published`."""

import pytest

from pcapdj.disk.gate import Gate, Measurement, ResourceState, State
from pcapdj.disk.limits import Thresholds
from pcapdj.disk.published import fields_of, published

BAND = Thresholds(suspend=50, minimum=100, resume=150)


def readings(free: int, inodes: int = 10_000) -> list[Measurement]:
    """Return the readings of one mount."""
    return [
        Measurement("/out", "'/out'", free, BAND, path="/out"),
        Measurement("/out (inodes)", "'/out'", inodes, BAND, path="/out", unit="inodes"),
    ]


def fields(gate: Gate, found: list[Measurement]) -> dict[str, str]:
    """Return what Redis would give back."""
    return {name: str(value) for name, value in fields_of(gate.decision(found), gate, found, {}).items()}


def test_a_closed_gate_survives_a_restart() -> None:
    """The mount that was short still needs resume-free, and only that one."""
    before = Gate().after(readings(90), 0, 30)

    after = published(fields(before, readings(90)))

    assert after.state is State.HOLD
    assert after.gate == Gate({"/out": ResourceState(State.HOLD, was_short=True)})


def test_an_open_gate_has_nothing_to_remember() -> None:
    """The successor judges by its own first sample."""
    before = Gate().after(readings(500), 0, 30)

    after = published({**fields(before, readings(500)), "since_s": "12.5"})

    assert (after.state, after.since_s, after.gate) == (State.OPEN, 12.5, Gate())


def test_bytes_are_bytes_where_inodes_decide() -> None:
    """The byte fields are the same mount's space; the reason has the inodes."""
    found = readings(500, inodes=90)

    shown = fields(Gate().after(found, 0, 30), found)

    assert (shown["state"], shown["free_bytes"], shown["needed_bytes"]) == ("hold", "500", "100")
    assert "90 inodes" in shown["reason"]


def test_a_state_that_somebody_else_wrote_is_respected() -> None:
    """Closed at its path, or without one everywhere."""
    at_path = published({"state": "suspended", "path": "/out"}).gate
    everywhere = published({"state": "hold"}).gate

    assert at_path.marks == {"/out": ResourceState(State.SUSPENDED, was_short=True)}
    assert everywhere.after(readings(120), 0, 30).decision(readings(120)).state is State.HOLD


@pytest.mark.parametrize(
    "nonsense",
    [
        {},
        {"state": "ajar", "since_s": "yesterday"},
        {"state": "hold", "short": "{"},
        {"state": "hold", "short": "[1]"},
        {"state": "hold", "short": '{"/out": 3, "/in": "ajar"}'},
        {"state": "hold", "short": "[" * 100_000},
    ],
)
def test_nonsense_is_no_known_state(nonsense: dict[str, str]) -> None:
    """Whatever stands in the hash, a start goes on."""
    after = published(nonsense)

    assert after.since_s == 0
    assert after.gate == Gate()
