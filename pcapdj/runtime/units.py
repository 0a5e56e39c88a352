"""Sizes, percentages and times as people write them: `20GiB`, `500M`, `10%`, `30s`. Rules only."""

import re
from dataclasses import dataclass

from pcapdj.runtime.errors import ConfigError
from pcapdj.runtime.numbers import counted

# in ASCII: else digits of other scripts are numbers, and the long s of old prints is a unit without seconds
_FLAGS = re.ASCII | re.IGNORECASE
_NUMBER = r"(\d+(?:\.\d+)?|\.\d+)"
_SIZE = re.compile(_NUMBER + r"\s*([kmgtp]?)(?:i?b)?", _FLAGS)
_PERCENT = re.compile(_NUMBER + r"\s*%", _FLAGS)
_DURATION = re.compile(_NUMBER + r"\s*(ms|s|m|h|d)?", _FLAGS)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}  # of 1024: 20G means 20 GiB, as df -h shows it
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_EXBIBYTE = 1 << 60
_SPANS_NS = (
    (86_400 * 10**9, "d"),
    (3600 * 10**9, "h"),
    (60 * 10**9, "min"),
    (10**9, "s"),
    (10**6, "ms"),
    (10**3, "us"),
    (1, "ns"),
)
_ROUGH_SPANS_S = ((86400, "d"), (3600, "h"), (60, "min"))
_LATEST_S = 4e9  # of a time that another program may have written
_CENTURY_S = 100 * 366 * 86400.0  # poll(2) and friends take no infinity


@dataclass(frozen=True, slots=True)
class Amount:
    """A size in bytes, or a percentage of a whole; exactly one of the two is set."""

    size_bytes: int | None = None
    percent: float | None = None

    def of(self, total: int) -> int:
        """Return the amount in units (bytes, inodes) of a whole of `total` units."""
        if self.percent is not None:
            return int(total * self.percent / 100)
        return self.size_bytes or 0

    def __str__(self) -> str:
        return f"{self.percent:g}%" if self.percent is not None else human_size(self.size_bytes or 0)


def parse_size(text: str, what: str = "size") -> int:
    """Return the bytes of `20GiB`, `20G`, `500M` or `1048576`; units are powers of 1024.

    Raises:
        ConfigError: it is not a size, or more than an exbibyte.
    """
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise ConfigError(
            f"{what}: {text!r} is not a size.", hint="Write bytes, or a number with K, M, G or T."
        )
    size_bytes = float(match[1]) * 1024 ** _POWERS[match[2].lower()]  # infinite, if it has 400 digits
    if size_bytes > _EXBIBYTE:
        raise ConfigError(f"{what}: {text!r} is more than an exbibyte.")
    return int(size_bytes)


def parse_amount(text: str, what: str = "amount") -> Amount:
    """Return the amount of `10%` or of a size.

    Raises:
        ConfigError: it is neither, or a percentage above 100.
    """
    match = _PERCENT.fullmatch(text.strip())
    if not match and not _SIZE.fullmatch(text.strip()):
        hint = "Write a percentage (10%), or a number, also with K, M, G or T (20G)."
        raise ConfigError(f"{what}: {text!r} is neither a percentage nor a number.", hint=hint)
    if not match:
        return Amount(size_bytes=parse_size(text, what))
    percent = float(match[1])
    if percent > 100:  # noqa: PLR2004 - per cent
        raise ConfigError(f"{what}: {text!r} is more than 100 per cent.")
    return Amount(percent=percent)


def parse_duration(text: str, what: str = "duration") -> float:
    """Return the seconds of `30`, `30s`, `5m`, `250ms`, `2h` or `1d`.

    Raises:
        ConfigError: it is not a duration, or more than a century.
    """
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise ConfigError(
            f"{what}: {text!r} is not a time.", hint="Write seconds, or a number with ms, s, m, h or d."
        )
    seconds = float(match[1]) * _SECONDS[(match[2] or "s").lower()]
    if seconds > _CENTURY_S:
        raise ConfigError(f"{what}: {text!r} is more than a century.")
    return seconds


def parse_time(text: str, now_s: float, what: str = "time") -> float:
    """Return seconds since the epoch of `2h` (before now), `2026-11-26`, `2026-11-26 17:40`, `..T17:40:00Z`.

    Without a time zone it is local time.

    Raises:
        ConfigError: it is neither.
    """
    from datetime import datetime  # `pcapdj cat` starts without it

    if _DURATION.fullmatch(text.strip()):
        return max(0.0, now_s - parse_duration(text, what))
    try:
        return max(0.0, datetime.fromisoformat(text.strip()).timestamp())
    except (ValueError, OverflowError, OSError):
        raise ConfigError(
            f"{what}: {text!r} is not a time.", hint="Write how long ago (2h, 3d), or 2026-11-26T17:40:00Z."
        ) from None


def human_size(size_bytes: float) -> str:
    """Return the size as `1.5 GiB`; below 1 KiB as whole bytes."""
    size, unit = float(size_bytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        if abs(size) < 1024:  # noqa: PLR2004 - binary units
            break
        size, unit = size / 1024, larger
    return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"


def exact_size(size_bytes: int) -> str:
    """Return the size, human and exact: `1.0 GiB (1,073,741,824 bytes)`."""
    return f"{human_size(size_bytes)} ({counted(size_bytes, 'byte')})"


def human_duration(span_ns: int) -> str:
    """Return a span in its largest unit and the next smaller one: `3 h 2 min`, `12 s`, `1 s 250 ms`.

    Smaller units are left out.
    """
    place = next((n for n, (unit_ns, _) in enumerate(_SPANS_NS) if span_ns >= unit_ns), None)
    if place is None:
        return "0 s"
    parts, rest_ns = [], span_ns
    for unit_ns, unit in _SPANS_NS[place : place + 2]:
        count, rest_ns = divmod(rest_ns, unit_ns)
        parts += [f"{count:,} {unit}"] if count else []
    return " ".join(parts)


def steps_back_text(steps: int, largest_ns: int) -> str:
    """Return how often timestamps step back, and by how much at most, exactly: `1 step back in time, 3 s`."""
    seconds, rest_ns = divmod(largest_ns, 10**9)
    span = f"{seconds:,}.{rest_ns:09d}".rstrip("0").rstrip(".")
    return (
        f"1 step back in time, {span} s"
        if steps == 1
        else f"{steps:,} steps back in time, the largest {span} s"
    )


def utc_text(time_s: float) -> str:
    """Return a time, in seconds since the epoch, such as "2026-11-26T17:40:00Z"."""
    from datetime import UTC, datetime  # `pcapdj cat` starts without it

    return datetime.fromtimestamp(min(time_s, _LATEST_S), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def utc_text_ns(time_ns: int) -> str:
    """Return a time, in ns since the epoch, to the microsecond: "2026-11-26T17:40:00.000001Z"."""
    seconds, rest_ns = divmod(time_ns, 10**9)
    if not 0 <= seconds <= _LATEST_S:
        return f"{seconds}.{rest_ns // 1000:06d} s"
    return f"{utc_text(seconds)[:-1]}.{rest_ns // 1000:06d}Z"


def rough_duration(seconds: float) -> str:
    """Return a span in the largest unit that it holds at least twice: `12 s`, `5 min`, `2 h`, `3 d`."""
    for unit_s, unit in _ROUGH_SPANS_S:
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
