"""The gate as fields of PCAPDJ_GATE, and back, so that a restarted controller goes on from them. Rules only.

Most fields are for people and programs that show the gate. The field `short` is for the next controller: JSON
of the resources that were measured below min-free and have not reached resume-free since, with their states.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pcapdj.disk.gate import Decision, Gate, Measurement, ResourceState, State

_STATES = {each.word: each for each in State}


@dataclass(frozen=True, slots=True)
class PublishedGate:
    """The gate as it was last published.

    Args:
        state: None if there is none, or an unknown one.
        since_s: since when it has that state, in seconds since the epoch; 0 if unknown.
        gate: the states of the resources.
    """

    state: State | None = None
    since_s: float = 0.0
    gate: Gate = field(default_factory=Gate)


def gate_fields(decision: Decision, gate: Gate, measurements: Sequence[Measurement]) -> dict[str, str | int]:
    """Return the fields of PCAPDJ_GATE about the disks; those of time and limits are the caller's.

    `free_bytes` and `needed_bytes` are always bytes: where inodes decide, they are the space of the same
    mount, and only the reason has the inodes.

    Args:
        decision: of this moment.
        gate: the gate that decided.
        measurements: on which it decided.
    """
    decisive = decision.measurement
    free, needed = _bytes_of(decision, measurements)
    return {
        "state": decision.state.word,
        "reason": decision.reason,
        "path": decisive.path if decisive else "",
        "free_bytes": free,
        "needed_bytes": needed,
        "short": json.dumps({label: state.word for label, state in gate.short_resources().items()}),
    }


def parse_gate(fields: Mapping[str, str]) -> PublishedGate:
    """Return the gate of these fields of PCAPDJ_GATE; fields with invalid values are ignored.

    Without `short` (another program wrote the fields) a closed gate needs resume-free at its path, or of all
    resources if it has no path.
    """
    state = _STATES.get(fields.get("state", ""))
    if "short" in fields:
        gate = Gate({label: _short(each) for label, each in _states_of(fields["short"]).items()})
    elif state is None or state is State.OPEN:
        gate = Gate()
    elif path := fields.get("path"):
        gate = Gate({path: _short(state)})
    else:
        gate = Gate(default=_short(state))
    return PublishedGate(state, _number(fields.get("since_s", "")), gate)


def limits_in_force(fields: Mapping[str, str]) -> dict[str, str]:
    """Return the texts of the limits in force, by name, from PCAPDJ_GATE; empty if it has none."""
    try:
        limits = json.loads(fields.get("limits", "{}"))
    except (ValueError, RecursionError):
        return {}
    return {str(name): str(text) for name, text in limits.items()} if isinstance(limits, dict) else {}


def _short(state: State) -> ResourceState:
    return ResourceState(state, was_short=True)


def _states_of(text: str) -> dict[str, State]:
    try:
        words = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(words, dict):
        return {}
    return {
        label: _STATES[word] for label, word in words.items() if isinstance(word, str) and word in _STATES
    }


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _bytes_of(decision: Decision, measurements: Sequence[Measurement]) -> tuple[int, int]:
    decisive = decision.measurement
    if decisive is None:
        return 0, 0
    if decisive.unit == "bytes":
        return decisive.free or 0, decision.needed
    space = next((each for each in measurements if each.label == decisive.path), None)
    return ((space.free or 0), space.thresholds.minimum) if space else (0, 0)
