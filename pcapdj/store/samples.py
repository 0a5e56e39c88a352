"""Samples, ten seconds apart, for a day: how much of each watched disk was free, and how much was read.

The controller adds samples of the disks, and each dispatcher its own. A rate over minutes comes from two
entries; a screen that only compares its own readings would have to begin again each time.
"""

import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from pcapdj.runtime.foreign_json import decode_json
from pcapdj.runtime.numbers import whole_number
from pcapdj.runtime.safe_text import to_text
from pcapdj.store.bounded import StreamEntry, read_stream
from pcapdj.store.client import Store

EVERY_S: Final = 10.0
DAY_S: Final = 86_400
MOST: Final = int(DAY_S / EVERY_S)
_MOST_VALUES: Final = 100  # of one entry
_PAGE: Final = 1000  # samples that a script looks at: a few milliseconds
_MOST_PAGES: Final = 20
_NAME_LIMIT_CHARS: Final = 4200  # a path and a word


class Least(NamedTuple):
    """The least of a value, and when it was first sampled, in seconds since the epoch."""

    value: int
    time_s: float


class Sampler:
    """Adds a sample to a stream every ten seconds.

    Args:
        key: of the stream.
    """

    def __init__(self, key: str) -> None:
        self._key = key
        self._next_s = 0.0

    def is_due(self) -> bool:
        """Report whether it is time for the next sample."""
        return time.monotonic() >= self._next_s

    def add(self, batch: Any, values: Mapping[str, int]) -> None:
        """Add a sample to a pipeline, and remove those that are older than a day.

        Args:
            batch: the pipeline.
            values: by name; none: nothing is added.
        """
        self._next_s = time.monotonic() + EVERY_S
        if values:
            batch.xadd(self._key, dict(values), maxlen=MOST, approximate=True)
            batch.xtrim(self._key, minid=int((time.time() - DAY_S) * 1000), approximate=True)


def disk_values(disks: object) -> dict[str, int]:
    """Return how much of each measured resource is free, from `disks` of PCAPDJ_GATE as JSON.

    Args:
        disks: the text; what is not valid in it is left out.
    """
    try:
        found = decode_json(str(disks))
    except ValueError:
        return {}
    if not isinstance(found, list):
        return {}
    pairs = [(each.get("name"), each.get("free")) for each in found if isinstance(each, dict)]
    return {str(name)[:_NAME_LIMIT_CHARS]: free for name, free in pairs[:_MOST_VALUES] if type(free) is int}


def rates_of(store: Store, key: str, over_s: float, now_s: float) -> dict[str, float]:
    """Return by how much each value has grown per second, over these last seconds or what there is of them.

    Args:
        store: the lane.
        key: of the stream.
        over_s: at least two samples.
        now_s: seconds since the epoch.

    Raises:
        As `Store.call`.
    """
    first = next(read_stream(store, key, f"{max(0, int((now_s - over_s) * 1000))}-0", most=1), None)
    last = next(read_stream(store, key, "+", is_newest_first=True, most=1), None)
    if not first or not last or last.time_s - first.time_s < EVERY_S / 2:
        return {}
    before, after = _numbers(first), _numbers(last)
    elapsed_s = last.time_s - first.time_s
    return {name: (after[name] - before[name]) / elapsed_s for name in before.keys() & after.keys()}


def least_values(store: Store, key: str, span_s: int, now_s: float) -> dict[str, dict[int, Least]]:
    """Return the least of each value in each span of the last day, by its name and the span's number.

    Args:
        store: the lane.
        key: of the stream.
        span_s: spans are counted from the epoch.
        now_s: seconds since the epoch.

    Raises:
        As `Store.call`.
    """
    found = dict[str, dict[int, Least]]()
    first = str(max(0, int((now_s - DAY_S) * 1000)))
    for _ in range(_MOST_PAGES):
        last, *lows = store.run("least_samples", [key], [first, str(_PAGE), str(span_s * 1000)])
        if not last:
            break
        for span, name, value, time_ms in lows:
            spans, least = found.setdefault(to_text(name), {}), Least(int(value), int(time_ms) / 1000)
            spans[int(span)] = min(least, spans.get(int(span), least))  # a span may go on in the next page
        first = f"({to_text(last)}"
    return found


def _numbers(entry: StreamEntry) -> dict[str, int]:
    found = entry.fields.items()
    numbers = ((to_text(name), whole_number(text)) for name, text in found)
    return {name: number for name, number in numbers if number is not None}
