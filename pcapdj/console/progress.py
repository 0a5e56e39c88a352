"""How far a file is, and how fast: numbers of the board, as people read them. Rules only."""

from collections.abc import Mapping
from typing import Any, Final

from pcapdj.runtime.safe_text import printable_sentence, quoted
from pcapdj.runtime.units import human_size, rough_duration

_BAR_WIDTH: Final = 24
_LARGEST: Final = 1 << 63  # beyond that it is nobody's size or time, and floats overflow
Fields = Mapping[str, Any]


def progress(done_bytes: float, total_bytes: float, rate: float | None = None) -> str:
    """Return a bar, the share, the size, and rate and time left where they are known.

    Args:
        done_bytes: of one file.
        total_bytes: of the same file, above 0.
        rate: bytes per second.
    """
    share = min(1.0, max(0.0, done_bytes / total_bytes))
    bar = "#" * int(share * _BAR_WIDTH)
    speed = f", {human_size(rate)}/s" if rate is not None else ""
    left = f", {rough_duration(max(0.0, total_bytes - done_bytes) / rate)} left" if rate else ""
    return f"[{bar:.<{_BAR_WIDTH}}] {share:.0%} of {human_size(total_bytes)}{speed}{left}"


def rates_between(before: Fields, after: Fields) -> dict[str, float]:
    """Return bytes per second by dispatcher between two boards; only where both were in the same file."""
    earlier = {each.get("id"): each for each in before.get("dispatchers", ())}
    rates: dict[str, float] = {}
    for each in after.get("dispatchers", ()):
        old = earlier.get(each.get("id"), {})
        elapsed_s = number(each, "heartbeat_s") - number(old, "heartbeat_s")
        done = number(each, "done_bytes") - number(old, "done_bytes")
        if each.get("name") and old.get("name") == each["name"] and elapsed_s > 0 and done >= 0:
            rates[str(each.get("id"))] = done / elapsed_s
    return rates


def number(fields: Fields, name: str) -> float:
    """Return a field's number; 0 for what is missing or nonsense."""
    value = fields.get(name)
    return value if isinstance(value, int | float) and abs(value) < _LARGEST else 0


def jumps_told(jumps: int, last_name: str, last_jump: str) -> str:
    """Return what people are told of timestamps that jump.

    Args:
        jumps: how many files begin with one; above 0.
        last_name: the path of the last of them.
        last_jump: how that one begins.
    """
    last = f"{quoted(last_name.rpartition('/')[2])} {printable_sentence(last_jump)}"
    return f"1 jump, {last}" if jumps == 1 else f"{jumps:,} jumps; last: {last}"
