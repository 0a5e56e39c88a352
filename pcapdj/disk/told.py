"""What the log says of the gate: transitions, live values, and at start each limit in bytes."""

from collections.abc import Mapping

from pcapdj.disk.gate import Decision, State
from pcapdj.disk.guard import Guard
from pcapdj.disk.report import limit_fields
from pcapdj.runtime.log import EventLog


def tell_transition(events: EventLog, decision: Decision, fields: Mapping[str, object]) -> None:
    """Say that the gate changed, with the number and the threshold."""
    say = events.info if decision.state is State.OPEN else events.warning
    numbers: dict[str, object] = {name: fields[name] for name in ("path", "free_bytes", "needed_bytes")}
    say(f"gate_{decision.state.word}", decision.reason, **numbers)


def tell_live(events: EventLog, guard: Guard, control: Mapping[str, str]) -> None:
    """Say which live values came into force, or why they are refused."""
    if guard.refused:
        events.warning("live_value_refused", guard.refused)
    else:
        events.info("live_values_in_force", ", ".join(f"{name}={text}" for name, text in control.items()))
    tell_limits(events, guard)


def tell_limits(events: EventLog, guard: Guard) -> None:
    """Say what each limit means in bytes, and which can never be met."""
    found = guard.readings()
    for reading in found:
        if reading.failure:
            events.warning("cannot_measure", f"{reading.what} {reading.failure}.", path=reading.path)
        else:
            events.info("limits", "", **limit_fields(reading, guard.limits))
    for reading in (each for each in found if each.is_out_of_reach):
        numbers = {f"open_from_{reading.unit}": reading.band.resume, f"total_{reading.unit}": reading.total}
        events.warning(
            "limit_out_of_reach",
            "There is less than these limits ask for: once closed, the gate never opens by itself.",
            path=reading.path or reading.label,
            **numbers,
        )
