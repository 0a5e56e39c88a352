"""How much of a disk was free in the last day: the least of it, and a trend. Rules only.

    least since 2026-11-26T00:17:24Z: 60.2 GiB free at 2026-11-26T03:12:04Z
    [   ▇▇▆▅▂▁▁▃▅▅▅▆▆▇▇▇█████▇▇▇▆▆] the least in each half hour, 60.2 GiB to 88.0 GiB

A column is half an hour. Its height is between the least and the most of the day; a blank had no sample.
Without a terminal that has block elements the columns are the characters of `_ASCII`.
"""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from pcapdj.runtime.units import human_size, utc_text

SPAN_S: Final = 1800
_COLUMNS: Final = 48  # half hours: a day
_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_ASCII: Final = ".:-=+*#@"


class AnyLeast(Protocol):
    """The least of what was free in a span, and when."""

    @property
    def value(self) -> int:
        """In the unit of the disk."""

    @property
    def time_s(self) -> float:
        """Seconds since the epoch."""


def trend_lines(
    spans: Mapping[int, AnyLeast], unit: str, now_s: float, *, has_blocks: bool = False
) -> list[str]:
    """Return the lines about one disk; none without samples.

    Args:
        spans: the least by the number of the half hour since the epoch.
        unit: `bytes` or `inodes`.
        now_s: seconds since the epoch.
        has_blocks: the terminal shows block elements.
    """
    last = int(now_s) // SPAN_S
    shown = [spans.get(number) for number in range(last - _COLUMNS + 1, last + 1)]
    found = [each for each in shown if each is not None]
    if not found:
        return []
    amount: Callable[[int], str] = human_size if unit == "bytes" else "{:,}".format
    least, most = min(found, key=lambda each: each.value), max(each.value for each in found)
    since = utc_text(min(each.time_s for each in found))
    lines = [f"least since {since}: {amount(least.value)} free at {utc_text(least.time_s)}"]
    if len(found) > 1 and most > least.value:
        marks = _BLOCKS if has_blocks else _ASCII
        columns = "".join(_column(each, least.value, most, marks) for each in shown)
        lines += [f"[{columns}]", f"the least in each half hour, {amount(least.value)} to {amount(most)}"]
    return lines


def _column(least: AnyLeast | None, lowest: int, highest: int, marks: str) -> str:
    if least is None:
        return " "
    return marks[(least.value - lowest) * (len(marks) - 1) // (highest - lowest)]
