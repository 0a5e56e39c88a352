"""The times of commands that look back: `--since`, `--until`, and which time of a file they mean.

A time is written as ISO (without a zone: UTC), as seconds since 1970, or as how long ago: `2h`, `7d`. Of a
file it is either when it was fed, which the journal is sorted by, or that of its packets.
"""

import time
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Final

import typer

from pcapdj.runtime.errors import ConfigError
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.units import parse_duration
from pcapdj.store.journal import Conditions
from pcapdj.trace.events import time_of

_HINT: Final = "Write 2026-11-24T10:30:00Z, 2026-11-24, or how long ago: 2h, 7d."
_DAY_NS: Final = 86_400 * 10**9
_DATE_CHARS: Final = len("2026-11-24")


class TimeOf(StrEnum):
    """Which time of a file is meant."""

    FED = "fed"
    PACKETS = "packets"


Since = Annotated[str, typer.Option("--since", metavar="TIME", help="only files from this time on")]
Until = Annotated[str, typer.Option("--until", metavar="TIME", help="only files up to this time")]
Times = Annotated[
    TimeOf,
    typer.Option("--times", help="--since and --until are about when a file was fed, or about its packets"),
]


def in_time_range(wanted: Conditions, since: str, until: str, times: TimeOf) -> Conditions:
    """Return conditions that hold only in a time range.

    Args:
        wanted: the other conditions.
        since: as typed; empty: no limit.
        until: as since; a date is the whole day.
        times: which time of a file has to be in it.

    Raises:
        ConfigError: one is not a time, or they are in the wrong order.
    """
    since_ns, until_ns = _time_ns(since), _time_ns(until, is_end=True)
    if since_ns is not None and until_ns is not None and since_ns > until_ns:
        raise ConfigError(f"{quoted(since)} is after {quoted(until)}.")
    if times is TimeOf.PACKETS:
        return replace(wanted, since_ns=since_ns, until_ns=until_ns)
    return replace(
        wanted,
        finished_since_ms=None if since_ns is None else since_ns // 10**6,
        finished_until_ms=None if until_ns is None else until_ns // 10**6,
    )


def _time_ns(text: str, *, is_end: bool = False) -> int | None:
    if not text:
        return None
    time_ns = time_of(text)
    if time_ns is not None:
        return time_ns + (_DAY_NS - 1 if is_end and len(text) == _DATE_CHARS and "-" in text else 0)
    try:
        return time.time_ns() - int(parse_duration(text) * 10**9)
    except ConfigError as exc:
        raise ConfigError(f"{quoted(text)} is not a time.", hint=_HINT) from exc
