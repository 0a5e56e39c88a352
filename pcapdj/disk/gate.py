"""The gate: may another file be fed? Rules only; the time and the numbers are arguments.

Every thing that can run out (free space of a mount, its inodes, memory) has a mark of its own:

    OPEN       room enough
    HOLD       it fell below min: nothing new is granted, the running file finishes
    SUSPENDED  it fell below suspend: the running file is paused too

    OPEN ---- below min ----> HOLD ---- below suspend ----> SUSPENDED
      ^                       |  ^                              |
      '-- at resume, for the -'  '------- at min or above ------'
          resume-after time

From min up to resume an open mark stays open and a closed one HOLD; from suspend up to min a suspended one
stays suspended: that is the hysteresis. The gate is as closed as the most closed of its marks.

What cannot be measured counts as full. When it answers again it is judged as at a start (open from min-free),
after the resume-after time, unless it had been measured short before: then it needs resume-free.

The operator's word comes first: `open` opens whatever the numbers say, and forgives what is above min by now;
`hold` holds, and still suspends below suspend-free.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from pcapdj.disk.limits import Thresholds
from pcapdj.runtime.units import human_size


class State(IntEnum):
    """How closed a mark or the gate is; a larger value is more closed."""

    OPEN = 0
    HOLD = 1
    SUSPENDED = 2

    @property
    def word(self) -> str:
        """The state as Redis and people have it."""
        return self.name.lower()


class Override(StrEnum):
    """What the operator wants of the gate."""

    AUTO = "auto"
    OPEN = "open"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One thing that can run out, as measured, and its limits.

    Args:
        label: names it among all others, and keeps its mark through a restart.
        what: as people are told: `'/out' has .. free`.
        free: in its unit; None if it could not be measured.
        band: its limits, in its unit.
        path: the watched path; empty for memory.
        failure: why it could not be measured: `is not there`.
        unit: `bytes` or `inodes`.
        total: all there is of it, in its unit; 0 if that is not known.
    """

    label: str
    what: str
    free: int | None
    band: Thresholds
    path: str = ""
    failure: str = ""
    unit: str = "bytes"
    total: int = 0

    @property
    def is_out_of_reach(self) -> bool:
        """Report whether its limits ask for more than there is: once closed it never opens by itself."""
        return 0 < self.total <= self.band.resume


@dataclass(frozen=True, slots=True)
class ResourceState:
    """What the readings of one thing so far make of it.

    Args:
        state: how closed it is.
        was_short: it was measured below min, and needs resume-free rather than min-free to open.
        ready_since_s: since when it could open; None while it could not.
    """

    state: State = State.OPEN
    was_short: bool = False
    ready_since_s: float | None = None


OPEN_MARK = ResourceState()


def next_resource_state(
    mark: ResourceState | None, reading: Measurement, now_s: float, resume_after_s: float
) -> ResourceState:
    """Return the mark after one more reading.

    Args:
        mark: the mark before; None for the first reading.
        reading: limits may differ from those of the reading before.
        now_s: of a clock that never steps.
        resume_after_s: how long a closed mark must have room before it opens.
    """
    free, band = reading.free, reading.band
    before = mark or OPEN_MARK
    if free is None:
        state = State.SUSPENDED if band.suspend > 0 else State.HOLD
        return ResourceState(state, was_short=before.was_short)
    if free < band.suspend:
        return ResourceState(State.SUSPENDED, was_short=True)
    if free < band.minimum:
        still = before.state is State.SUSPENDED and band.suspend > 0
        return ResourceState(State.SUSPENDED if still else State.HOLD, was_short=True)
    if before.state is State.OPEN:
        return OPEN_MARK
    return _recovering(before, free, band, now_s, resume_after_s)


def _recovering(
    before: ResourceState, free: int, band: Thresholds, now_s: float, resume_after_s: float
) -> ResourceState:
    if free < _goal(before, band):
        return ResourceState(State.HOLD, was_short=before.was_short)
    since_s = now_s if before.ready_since_s is None else before.ready_since_s
    if now_s - since_s >= resume_after_s:
        return OPEN_MARK
    return ResourceState(State.HOLD, was_short=before.was_short, ready_since_s=since_s)


def _goal(mark: ResourceState, band: Thresholds) -> int:
    return band.resume if mark.was_short else band.minimum


@dataclass(frozen=True, slots=True)
class Decision:
    """What the gate says now.

    Args:
        state: open, hold or suspended.
        reason: one sentence with the number and the threshold.
        reading: what it rests on: the most closed thing, else the one nearest to its limit; None if none is.
        needed: what has to be free for the next better state; when open, below which it holds. In its unit.
    """

    state: State
    reason: str
    reading: Measurement | None = None
    needed: int = 0


@dataclass(frozen=True, slots=True)
class Gate:
    """The marks of all things watched, by label.

    Args:
        marks: of the readings so far; after a restart those that were published.
        unnamed: the mark of things without one at the first reading, where nothing better is known.
        resume_after_s: of the last round, for the reason.
    """

    marks: Mapping[str, ResourceState] = field(default_factory=dict)
    unnamed: ResourceState | None = None
    resume_after_s: float = 0.0

    def after(
        self,
        readings: Sequence[Measurement],
        now_s: float,
        resume_after_s: float,
        override: Override = Override.AUTO,
    ) -> "Gate":
        """Return the gate after one round of readings; marks of things no longer watched are gone."""
        marks = {
            reading.label: next_resource_state(
                self.marks.get(reading.label, self.unnamed), reading, now_s, resume_after_s
            )
            for reading in readings
        }
        if override is Override.OPEN:
            marks |= {each.label: OPEN_MARK for each in readings if _has_minimum(each)}
        return Gate(marks, resume_after_s=resume_after_s)

    def decision(self, readings: Sequence[Measurement], override: Override = Override.AUTO) -> Decision:
        """Return what the marks of these readings mean for the gate."""
        if not readings:
            return _overridden(Decision(State.OPEN, "Nothing is watched."), override)
        worst = max(readings, key=lambda each: (self.marks[each.label].state, _tightness(each)))
        mark = self.marks[worst.label]
        needed = worst.band.minimum if mark.state is not State.HOLD else _goal(mark, worst.band)
        reason = _reason(worst, mark, needed, self.resume_after_s)
        return _overridden(Decision(mark.state, reason, worst, needed), override)

    def short(self) -> dict[str, State]:
        """Return the things that were measured short and have not recovered: what a restart must know."""
        return {label: mark.state for label, mark in self.marks.items() if mark.was_short}


def _has_minimum(reading: Measurement) -> bool:
    return reading.free is not None and reading.free >= reading.band.minimum


def _tightness(reading: Measurement) -> float:
    """Return how near the reading is to its minimum: 1 at it, more below, infinite if there is none."""
    if reading.free is None:
        return float("inf")
    return reading.band.minimum / max(reading.free, 1)


def _overridden(decision: Decision, override: Override) -> Decision:
    if override is Override.OPEN:
        return Decision(State.OPEN, "An operator opened it.", decision.reading, decision.needed)
    if override is Override.HOLD and decision.state is not State.SUSPENDED:
        return Decision(State.HOLD, "An operator holds it.", decision.reading, decision.needed)
    return decision


def _reason(reading: Measurement, mark: ResourceState, needed: int, resume_after_s: float) -> str:
    if reading.free is None:
        return f"{reading.what} {reading.failure}, which counts as full."
    has = f"{reading.what} has {shown(reading.free, reading.unit)} free"
    if mark.state is State.OPEN:
        return f"{has}; it holds below {shown(needed, reading.unit)}."
    if mark.ready_since_s is not None:
        return f"{has}, enough to open; that has to last for {resume_after_s:g} s."
    goal = _goal(mark, reading.band)
    if 0 < reading.total <= goal:
        return (
            f"{has} of {shown(reading.total, reading.unit)} in all; it opens from"
            f" {shown(goal, reading.unit)}: never, unless the limits are changed."
        )
    if mark.state is State.SUSPENDED:
        return f"{has}; a suspended file goes on from {shown(needed, reading.unit)}."
    return f"{has}; it opens from {shown(needed, reading.unit)}."


def shown(number: int, unit: str) -> str:
    """Return a number of bytes or inodes as people are told it: human, and exact."""
    return f"{human_size(number)} ({number} bytes)" if unit == "bytes" else f"{number} {unit}"
