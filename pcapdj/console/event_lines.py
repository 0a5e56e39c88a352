"""An event as one line for people, and as an object for programs. Pure.

2026-01-31T10:00:00Z WARNING controller  gate: Too little is free at '/out': .. path=/out free_bytes=5
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from pcapdj.runtime.safe_text import printable, printable_sentence, quoted, shell_word
from pcapdj.runtime.units import utc_text

_SHOWN: Final = 6  # fields on a line: the others are in the JSON
_FIRST: Final = ("name", "stream", "exit", "path", "free_bytes", "needed_bytes", "pause_s", "logdir")
_HIDDEN: Final = frozenset({"level", "event", "dev", "ino", "mtime_ns", "first", "crc32", "length_bytes"})
_VALUE_CHARS: Final = 120
_ROLE_WIDTH: Final = 10


class AnyEvent(Protocol):
    """What is shown of an event."""

    @property
    def kind(self) -> str:
        """One word."""

    @property
    def sentence(self) -> str:
        """For people; may be empty."""

    @property
    def role(self) -> str:
        """Where it happened."""

    @property
    def time_s(self) -> float:
        """Seconds since the epoch."""

    @property
    def fields(self) -> Mapping[str, str]:
        """More about it."""


def event_line(event: AnyEvent) -> str:
    """Return the event on one line, whatever its texts hold."""
    fields = event.fields
    level = printable(fields.get("level", "INFO"))
    kind = printable(fields.get("event") or event.kind)
    head = f"{utc_text(event.time_s)} {level:<7} {printable(event.role):<{_ROLE_WIDTH}} {kind}"
    sentence = f": {printable_sentence(event.sentence)}" if event.sentence else ""
    pairs = [f"{printable(name)}={_value(name, fields[name])}" for name in _chosen(fields)]
    return " ".join([head + sentence, *pairs])


def event_object(event: AnyEvent) -> dict[str, Any]:
    """Return the event for JSON; all of its fields are texts."""
    time_text = datetime.fromtimestamp(event.time_s, UTC).isoformat(timespec="milliseconds")
    own = {"time_s": event.time_s, "time": time_text.replace("+00:00", "Z")}
    return own | {
        "kind": event.kind,
        "role": event.role,
        "level": event.fields.get("level", "INFO"),
        "sentence": event.sentence,
        "fields": {name: value for name, value in event.fields.items() if name != "level"},
    }


def _chosen(fields: Mapping[str, str]) -> list[str]:
    first = [name for name in _FIRST if fields.get(name)]
    if "verdict" in fields or "packets" in fields:  # of the journal: the sentence has the numbers
        return [name for name in first if name in ("name", "stream")]
    others = [name for name in fields if name not in _HIDDEN and name not in first]
    return (first + others)[:_SHOWN]


def _value(name: str, text: str) -> str:
    if name == "name":
        return quoted(text)
    return shell_word(text[:_VALUE_CHARS] + ("…" if len(text) > _VALUE_CHARS else ""))
