"""The gate as PCAPDJ_GATE has it, and back, so that a restarted controller goes on. Rules only.

Beside what people look at, the field `short` has what a restart must know: JSON of the things that were
measured below min-free and have not been at resume-free since, with their states.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pcapdj.disk.gate import Decision, Gate, Measurement, ResourceState, State

_STATES = {each.word: each for each in State}


@dataclass(frozen=True, slots=True)
class Published:
    """What was published: the state, since when (wall clock), and the gate to go on with."""

    state: State | None
    since_s: float
    gate: Gate


def fields_of(
    decision: Decision, gate: Gate, readings: Sequence[Measurement], verdict: Mapping[str, str]
) -> dict[str, str | float]:
    """Return the fields of PCAPDJ_GATE, those of time left out.

    `free_bytes` and `needed_bytes` are always bytes: where inodes decide they are those of the same mount's
    space, and the reason has the inodes.

    Args:
        decision: of this moment.
        gate: whose decision it is.
        readings: on which it decided.
        verdict: on the live fields, as `LiveLimits.verdict`.
    """
    reading = decision.reading
    free, needed = _bytes_of(decision, readings)
    return {
        "state": decision.state.word,
        "reason": decision.reason,
        "path": reading.path if reading else "",
        "free_bytes": free,
        "needed_bytes": needed,
        **verdict,
        "short": json.dumps({label: state.word for label, state in gate.short().items()}),
    }


def published(fields: Mapping[str, str]) -> Published:
    """Return what the fields of PCAPDJ_GATE say; nonsense counts as no known state.

    Without `short` (somebody else wrote the rest) a closed gate needs resume-free at its path, or everywhere
    if it has none.
    """
    state = _STATES.get(fields.get("state", ""))
    if "short" in fields:
        gate = Gate({label: _short(each) for label, each in _states_of(fields["short"]).items()})
    elif state is None or state is State.OPEN:
        gate = Gate()
    elif path := fields.get("path"):
        gate = Gate({path: _short(state)})
    else:
        gate = Gate(unnamed=_short(state))
    return Published(state, _number(fields.get("since_s", "")), gate)


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


def _bytes_of(decision: Decision, readings: Sequence[Measurement]) -> tuple[int, int]:
    reading = decision.reading
    if reading is None:
        return 0, 0
    if reading.unit == "bytes":
        return reading.free or 0, decision.needed
    space = next((each for each in readings if each.label == reading.path), None)
    return ((space.free or 0), space.band.minimum) if space else (0, 0)
