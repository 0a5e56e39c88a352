"""Reads fields of a snapshot for the screens, whatever another program wrote there. Rules only.

A role may have died while it wrote, and any program may write the keys: what is missing or of another type is
0, a question mark, or nothing.
"""

from collections.abc import Mapping
from typing import Any, Final

from pcapdj.runtime.numbers import counted
from pcapdj.runtime.safe_text import printable_sentence
from pcapdj.runtime.units import rough_duration

ROLES: Final = ("dispatcher", "controller", "consumer", "importer")  # as programs in supervisord.conf

_LARGEST: Final = 1 << 63  # a larger number is not a size or time, and would overflow a float

Fields = Mapping[str, Any]


def number_in(fields: Fields, name: str) -> float:
    """Return a field's number; 0 if it is missing or invalid."""
    value = fields.get(name)
    return value if isinstance(value, int | float) and abs(value) < _LARGEST else 0


def count_in(fields: Fields, name: str) -> str:
    """Return a field's whole number; a question mark if it is missing or invalid."""
    value = fields.get(name)
    return f"{value:,}" if isinstance(value, int) else "?"


def packets_in(fields: Fields, name: str) -> str:
    """Return a number of packets with its noun."""
    value = fields.get(name)
    return counted(value, "packet") if isinstance(value, int) else "? packets"


def several_in(fields: Fields, noun: str) -> str:
    """Return a count with its noun, which is a plural that ends in s."""
    value = fields.get(noun)
    return counted(value, noun[:-1]) if isinstance(value, int) else f"? {noun}"


def silence_text(fields: Fields) -> str:
    """Return since when a role has not reported."""
    age_s = fields.get("heartbeat_age_s")
    return f"silent for {rough_duration(age_s)}" if isinstance(age_s, int | float) else "silent"


def reason_text(fields: Fields) -> str:
    """Return the field `reason` behind a colon; empty, if there is none."""
    return f": {printable_sentence(str(fields['reason']))}" if fields.get("reason") else ""
