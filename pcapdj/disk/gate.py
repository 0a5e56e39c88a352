"""The gate: may another file be fed? Rules only; the time and the numbers are arguments.

Each resource that can run out (free space of a mount, its inodes, memory) has a state of its own:

    OPEN       enough is free
    HOLD       it fell below min-free: no new file is authorized, the running one finishes
    SUSPENDED  it fell below suspend-free: the running file is paused too

    OPEN -- below min-free --> HOLD -- below suspend-free --> SUSPENDED
      ^                        |  ^                               |
      '-- at resume-free, for -'  '----- at min-free or above ----'
          resume-after

Between the limits a state does not change: an open resource stays open down to min-free, a holding one holds
up to resume-free, a suspended one stays suspended up to min-free. The gate has the most closed of the states.

A resource that cannot be measured counts as full. When it answers again, its state begins as at a start (open
from min-free) after the resume-after time, unless it was measured short before: then it needs resume-free.

The operator's override comes first: `open` opens whatever was measured, and forgets the shortage of resources
that have min-free again; `hold` holds, and a resource below suspend-free still suspends.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Final

from pcapdj.disk.limits import Thresholds
from pcapdj.runtime.numbers import counted
from pcapdj.runtime.units import exact_size

# of min-free / free: an open gate names inodes only if fewer than twice their limit are left
_NEAR: Final = 0.5


class State(IntEnum):
    """How closed a resource or the gate is; a larger value is more closed."""

    OPEN = 0
    HOLD = 1
    SUSPENDED = 2

    @property
    def word(self) -> str:
        """The state as it is written in Redis and on screens."""
        return self.name.lower()


class Override(StrEnum):
    """The operator's setting of the gate."""

    AUTO = "auto"
    OPEN = "open"
    HOLD = "hold"


class Cause(StrEnum):
    """Who or what has decided about the gate, as it is written in Redis."""

    RESOURCES = "resources"
    OPERATOR = "operator"
    RESERVE = "reserve"
    BETWEEN = "between"


@dataclass(frozen=True, slots=True)
class Measurement:
    """How much of one resource is free, and its limits.

    Args:
        label: unique among the resources; the resource's state is kept under it through a restart.
        subject: how a sentence names it: `'/out'`, `The memory`.
        free: in its unit; None if it could not be measured.
        thresholds: in its unit.
        path: the watched path; empty for memory.
        failure: why it could not be measured: `is not there`.
        unit: `bytes` or `inodes`.
        total: its size, in its unit; 0 if unknown.
    """

    label: str
    subject: str
    free: int | None
    thresholds: Thresholds
    path: str = ""
    failure: str = ""
    unit: str = "bytes"
    total: int = 0

    @property
    def is_out_of_reach(self) -> bool:
        """Report whether resume-free is not below the total: once closed, it never opens by itself."""
        return 0 < self.total <= self.thresholds.resume


@dataclass(frozen=True, slots=True)
class ResourceState:
    """The state of one resource after its measurements so far.

    Args:
        state: how closed it is.
        was_short: it was measured below min-free, and needs resume-free rather than min-free to open.
        ready_since_s: since when enough is free to open; None while it is not.
    """

    state: State = State.OPEN
    was_short: bool = False
    ready_since_s: float | None = None


OPEN_RESOURCE: Final = ResourceState()
_HELD: Final = "An operator holds it: no new file starts until 'pcapdj gate auto'."
_OPENED_UNTIL: Final = "whatever the disks have, until 'pcapdj gate auto'"


def next_resource_state(
    before: ResourceState | None, measurement: Measurement, now_s: float, resume_after_s: float
) -> ResourceState:
    """Return the state after one more measurement.

    Args:
        before: None for the first measurement.
        measurement: its thresholds may differ from those of the measurement before.
        now_s: of a clock that never steps.
        resume_after_s: how long enough must be free before a closed resource opens.
    """
    free, thresholds = measurement.free, measurement.thresholds
    before = before or OPEN_RESOURCE
    if free is None:
        state = State.SUSPENDED if thresholds.suspend > 0 else State.HOLD
        return ResourceState(state, was_short=before.was_short)
    if free < thresholds.suspend:
        return ResourceState(State.SUSPENDED, was_short=True)
    if free < thresholds.minimum:
        stays_suspended = before.state is State.SUSPENDED and thresholds.suspend > 0
        return ResourceState(State.SUSPENDED if stays_suspended else State.HOLD, was_short=True)
    if before.state is State.OPEN:
        return OPEN_RESOURCE
    return _recovering(before, free, thresholds, now_s, resume_after_s)


def _recovering(
    before: ResourceState, free: int, thresholds: Thresholds, now_s: float, resume_after_s: float
) -> ResourceState:
    if free < _needed_to_open(before, thresholds):
        return ResourceState(State.HOLD, was_short=before.was_short)
    since_s = now_s if before.ready_since_s is None else before.ready_since_s
    if now_s - since_s >= resume_after_s:
        return OPEN_RESOURCE
    return ResourceState(State.HOLD, was_short=before.was_short, ready_since_s=since_s)


def _needed_to_open(resource: ResourceState, thresholds: Thresholds) -> int:
    return thresholds.resume if resource.was_short else thresholds.minimum


@dataclass(frozen=True, slots=True)
class Decision:
    """What the gate decides now.

    Args:
        state: open, hold or suspended.
        reason: one sentence with the number and the threshold.
        measurement: of the resource that decides: the most closed one, else the one nearest to its limit;
            None if nothing is watched, or no resource decides.
        needed: what has to be free for the next better state; when open, below which it holds. In its unit.
        cause: who or what decides.
        about: the file that waits for something, and for what, where that decides; empty: none.
    """

    state: State
    reason: str
    measurement: Measurement | None = None
    needed: int = 0
    cause: Cause = Cause.RESOURCES
    about: str = ""

    @property
    def path(self) -> str:
        """The watched path that decides; empty: none, or the memory."""
        return self.measurement.path if self.measurement else ""


@dataclass(frozen=True, slots=True)
class Gate:
    """The states of all watched resources.

    Args:
        resources: by label; after a restart those that were published.
        default: the state before their first measurement of resources that are not among these.
        resume_after_s: of the last round, for the reason.
    """

    resources: Mapping[str, ResourceState] = field(default_factory=dict)
    default: ResourceState | None = None
    resume_after_s: float = 0.0

    def after(
        self,
        measurements: Sequence[Measurement],
        now_s: float,
        resume_after_s: float,
        override: Override = Override.AUTO,
    ) -> "Gate":
        """Return the gate after one round of measurements; resources that are not among them are dropped."""
        resources = {
            each.label: next_resource_state(
                self.resources.get(each.label, self.default), each, now_s, resume_after_s
            )
            for each in measurements
        }
        if override is Override.OPEN:
            resources |= {each.label: OPEN_RESOURCE for each in measurements if _has_minimum(each)}
        return Gate(resources, resume_after_s=resume_after_s)

    def decision(self, measurements: Sequence[Measurement], override: Override = Override.AUTO) -> Decision:
        """Return what the states of these resources mean for the gate."""
        if not measurements:
            return _overridden(Decision(State.OPEN, "Nothing is watched."), override)
        worst = max(measurements, key=self._urgency)
        resource = self.resources[worst.label]
        is_hold = resource.state is State.HOLD
        needed = _needed_to_open(resource, worst.thresholds) if is_hold else worst.thresholds.minimum
        reason = _reason(worst, resource, needed, self.resume_after_s)
        return _overridden(Decision(resource.state, reason, worst, needed), override)

    def short_resources(self) -> dict[str, State]:
        """Return the resources that were short and have not recovered: a restart goes on from them."""
        return {label: each.state for label, each in self.resources.items() if each.was_short}

    def _urgency(self, measurement: Measurement) -> tuple[State, bool, float]:
        state, tightness = self.resources[measurement.label].state, _tightness(measurement)
        # Free inodes of an open gate interest only when they are about to run out; else the bytes do.
        is_shown = state is not State.OPEN or measurement.unit == "bytes" or tightness > _NEAR
        return state, is_shown, tightness


def _has_minimum(measurement: Measurement) -> bool:
    return measurement.free is not None and measurement.free >= measurement.thresholds.minimum


def _tightness(measurement: Measurement) -> float:
    """Return min-free / free: 1 at the limit, more below it, infinite if it could not be measured."""
    if measurement.free is None:
        return float("inf")
    return measurement.thresholds.minimum / max(measurement.free, 1)


def _overridden(decision: Decision, override: Override) -> Decision:
    if override is Override.OPEN:
        return Decision(State.OPEN, _opened_reason(decision), cause=Cause.OPERATOR)
    if override is Override.HOLD and decision.state is not State.SUSPENDED:
        return Decision(State.HOLD, _HELD, cause=Cause.OPERATOR)
    return decision


def _opened_reason(decision: Decision) -> str:
    """Return why the gate is open, and the shortage that it is opened in spite of."""
    measured, opened = decision.measurement, "An operator opened it"
    if measured is None or _has_minimum(measured):
        return f"{opened}: files start {_OPENED_UNTIL}."
    if measured.free is None:
        return f"{opened}, although {measured.subject} {measured.failure}: files start {_OPENED_UNTIL}."
    free, minimum = (
        exact_amount(each, measured.unit) for each in (measured.free, measured.thresholds.minimum)
    )
    subject = "the memory" if not measured.path else measured.subject
    return f"{opened}, although {subject} has {free} free, below {minimum}: files start {_OPENED_UNTIL}."


def _reason(measurement: Measurement, resource: ResourceState, needed: int, resume_after_s: float) -> str:
    is_suspended = resource.state is State.SUSPENDED
    if measurement.free is None:
        cannot = f"{measurement.subject} {measurement.failure}, which counts as full"
        return f"{cannot}: {_follows(resource)} until that changes."
    unit, thresholds = measurement.unit, measurement.thresholds
    has = f"{measurement.subject} has {exact_amount(measurement.free, unit)} free"
    if resource.state is State.OPEN:
        return f"{has}; it holds below {exact_amount(needed, unit)}."
    if resource.ready_since_s is not None:
        return f"{has}, enough to open; it opens if that lasts {resume_after_s:g} s."
    to_open = _needed_to_open(resource, thresholds)
    if 0 < measurement.total <= to_open:
        return (
            f"{has} of {exact_amount(measurement.total, unit)} in all: {_follows(resource)}. It opens from"
            f" {exact_amount(to_open, unit)}: never, unless the limits are changed."
        )
    lasts = f" for {resume_after_s:g} s" if resume_after_s else ""
    opens = f"once {exact_amount(to_open, unit)} are free{lasts}"
    crossed = _crossed(measurement, is_suspended=is_suspended)
    if is_suspended:
        paused = f"the running file is paused until {exact_amount(needed, unit)} are free"
        return f"{has}, {crossed}: {paused}. New files start {opens}."
    return f"{has}, {crossed}: no new file starts. It opens {opens}."


def _follows(resource: ResourceState) -> str:
    return "the running file is paused" if resource.state is State.SUSPENDED else "no new file starts"


def _crossed(measurement: Measurement, *, is_suspended: bool) -> str:
    """Return which limit a resource fell below, with its number: `below its min-free of 1.0 GiB (..)`."""
    thresholds, unit = measurement.thresholds, measurement.unit
    limit = thresholds.suspend if is_suspended else thresholds.minimum
    below = "below" if (measurement.free or 0) < limit else "and was below"
    if unit == "inodes" and is_suspended:
        return f"{below} {exact_amount(limit, unit)}, half of its min-free-inodes"
    if unit == "inodes":
        name = "its min-free-inodes"
    elif not measurement.path:
        name = "min-available-memory"
    else:
        name = "its suspend-free" if is_suspended else "its min-free"
    return f"{below} {name} of {exact_amount(limit, unit)}"


def exact_amount(number: int, unit: str = "bytes") -> str:
    """Return a number of bytes, human and exact (`1.0 GiB (1,073,741,824 bytes)`), or of inodes."""
    return exact_size(number) if unit == "bytes" else counted(number, unit.removesuffix("s"))
