"""The gate as fields of PCAPDJ_GATE, and back, so that a restarted controller goes on from them. Rules only.

Most fields are for people and programs that show the gate. The field `short` is for the next controller: JSON
of the resources that were measured below min-free and have not reached resume-free since, with their states.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pcapdj.disk.fill_rate import FillRates
from pcapdj.disk.gate import Decision, Gate, Measurement, ResourceState, State
from pcapdj.runtime.foreign_json import decode_json, decode_object

_NUMBERS: Final = ("total", "suspend_below", "hold_below", "open_from", "fills_per_s")
_TEXTS: Final = ("name", "unit", "state", "failure")
_LARGEST: Final = 1 << 63  # of a size
_STATES = {each.word: each for each in State}


@dataclass(frozen=True, slots=True)
class PublishedGate:
    """The gate as it was last published.

    Args:
        state: None if there is none, or an unknown one.
        since_s: since when it has that state, in seconds since the epoch; 0 if unknown.
        gate: the states of the resources.
        cause: who or what decided; empty if unknown.
    """

    state: State | None = None
    since_s: float = 0.0
    gate: Gate = field(default_factory=Gate)
    cause: str = ""

    def is_left_by(self, decision: Decision) -> bool:
        """Report whether the decision is another one: another state, or for another cause."""
        return decision.state is not self.state or (bool(self.cause) and decision.cause != self.cause)


def gate_fields(
    decision: Decision, gate: Gate, measurements: Sequence[Measurement], rates: FillRates
) -> dict[str, str | int]:
    """Return the fields of PCAPDJ_GATE about the disks; those of time and limits are the caller's.

    `free_bytes` and `needed_bytes` are always bytes: where inodes decide, they are the space of the same
    mount, and only the reason has the inodes.
    """
    decisive = decision.measurement
    free, needed = _bytes_of(decision, measurements)
    return {
        "state": decision.state.word,
        "cause": decision.cause.value,
        "reason": decision.reason,
        "path": decisive.path if decisive else "",
        "free_bytes": free,
        "needed_bytes": needed,
        "short": json.dumps({label: state.word for label, state in gate.short_resources().items()}),
        "fill_rates": rates.as_json(),
        "disks": json.dumps([_disk(each, gate, rates.shown(each.label)) for each in measurements]),
    }


def _disk(measurement: Measurement, gate: Gate, rate: float) -> dict[str, object]:
    """Return one measured resource as JSON has it, for screens; all numbers in its unit."""
    thresholds = measurement.thresholds
    return {
        "name": measurement.label,
        "unit": measurement.unit,
        "free": measurement.free,
        "total": measurement.total,
        "suspend_below": thresholds.suspend,
        "hold_below": thresholds.minimum,
        "open_from": thresholds.resume,
        "state": gate.resources[measurement.label].state.word,
        "fills_per_s": round(rate),
        "failure": measurement.failure,
    }


def published_disks(fields: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the measured resources of PCAPDJ_GATE, each with the fields that `_disk` writes.

    What another program wrote there in another form is left out.
    """
    try:
        found = decode_json(fields.get("disks"))
    except ValueError:
        return []
    disks = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    return [each for each in disks if _is_disk(each)]


def _is_disk(fields: Mapping[str, Any]) -> bool:
    numbers = [fields.get(name) for name in _NUMBERS]
    numbers += [] if fields.get("free") is None else [fields["free"]]
    are_numbers = all(type(each) is int and abs(each) < _LARGEST for each in numbers)
    return are_numbers and all(isinstance(fields.get(name), str) for name in _TEXTS)


def parse_gate(fields: Mapping[str, str]) -> PublishedGate:
    """Return the gate of these fields of PCAPDJ_GATE; fields with invalid values are ignored.

    Without `short` (another program wrote the fields) a closed gate needs resume-free at its path, or of all
    resources if it has no path.
    """
    state = _STATES.get(fields.get("state", ""))
    if "short" in fields:
        words = _json_object(fields["short"]).items()
        gate = Gate({label: _short(_STATES[str(word)]) for label, word in words if str(word) in _STATES})
    elif state is None or state is State.OPEN:
        gate = Gate()
    elif path := fields.get("path"):
        gate = Gate({path: _short(state)})
    else:
        gate = Gate(default=_short(state))
    return PublishedGate(state, _number(fields.get("since_s", "")), gate, fields.get("cause", ""))


def published_texts(fields: Mapping[str, str], field: str) -> dict[str, str]:
    """Return texts by the limit's name from a field of PCAPDJ_GATE; empty if it has none.

    Args:
        fields: of PCAPDJ_GATE.
        field: `limits` (in force), `options` (that count without live ones), or `sources` (of the options).
    """
    return {name: str(text) for name, text in _json_object(fields.get(field, "")).items()}


def _json_object(text: str) -> dict[str, Any]:
    try:
        return decode_object(text)
    except ValueError:
        return {}


def _short(state: State) -> ResourceState:
    return ResourceState(state, was_short=True)


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
    return (space.free or 0, space.thresholds.minimum) if space else (0, 0)
