"""How fast the disks fill, and when they have to be measured again because of it. Rules only.

While a file is fed the next look comes after a quarter of the time in which a disk could reach its next
limit, at the largest rate seen so far. A disk that fills evenly at that rate or a lower one is therefore seen
before its limit: each look leaves three quarters of the way, until looks are 20 ms apart, the shortest time.

    free  |  .                     looks at a constant rate
          |     .
          |        .
          |          . ..
    limit +--------------......----------------> time

The first minute of feeding shows little of what an analyzer can write. Until then 500 MB/s are assumed, and
100,000 inodes a second, as measured with empty files in memory.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Final

from pcapdj.disk.gate import Measurement
from pcapdj.runtime.foreign_json import decode_object

SHORTEST_LOOK_S: Final = 0.02
LONGEST_LOOK_S: Final = 1.0  # a full disk suspends within 1.5 s: this, and half a second for the dispatcher
LEARNING_S: Final = 60.0  # of feeding, until the largest rate seen counts alone
ASSUMED_RATES: Final[Mapping[str, float]] = {"bytes": 500e6, "inodes": 100e3}  # per second
FILLING_BYTES_PER_S: Final = 1e6  # a disk that fills at this rate is written to: it is measured as if fed
_SHORTEST_STEP_S: Final = 0.01  # over less time a rate is too inexact
_SHOWN_OVER_S: Final = 5.0
_SHARE: Final = 0.25  # of the time to the limit

Point = tuple[float, int]


@dataclass(frozen=True, slots=True)
class FillRates:
    """How fast the disks filled so far.

    Args:
        largest: the largest rate by unit, per second.
        fed_s: how long disks were measured while files were fed; it stops to count at `LEARNING_S`.
        last: label to the time and the free amount of the last measurement.
        since: label to those of two earlier measurements, the older one 5 to 10 s ago.
    """

    largest: Mapping[str, float] = field(default_factory=dict)
    fed_s: float = 0.0
    last: Mapping[str, Point] = field(default_factory=dict)
    since: Mapping[str, tuple[Point, Point]] = field(default_factory=dict)

    def after(self, measurements: Sequence[Measurement], now_s: float, *, is_busy: bool) -> "FillRates":
        """Return the rates after one more round of measurements.

        Args:
            measurements: of that round.
            now_s: when they were taken, of a clock that never steps.
            is_busy: a file is fed.
        """
        largest, last, since, step_s = dict(self.largest), dict[str, Point](), dict(self.since), 0.0
        for each in measurements:
            if each.free is None:
                continue
            now = (now_s, each.free)
            before = self.last.get(each.label, now)
            older, newer = self.since.get(each.label, (now, now))
            since[each.label] = (newer, now) if now_s - newer[0] >= _SHOWN_OVER_S else (older, newer)
            if now_s - before[0] < _SHORTEST_STEP_S:
                last[each.label] = before
                continue
            step_s = max(step_s, now_s - before[0])
            last[each.label] = now
            if each.path:
                largest[each.unit] = max(largest.get(each.unit, 0.0), _rate(before, now))
        fed_s = min(LEARNING_S, self.fed_s + (step_s if is_busy else 0.0))
        return FillRates(largest, fed_s, last, since)

    def without(self, labels: Collection[str]) -> "FillRates":
        """Return this without the last measurements of these resources: another disk is there now."""
        last = {label: point for label, point in self.last.items() if label not in labels}
        since = {label: points for label, points in self.since.items() if label not in labels}
        return replace(self, last=last, since=since)

    def is_filling(self, before: "FillRates") -> bool:
        """Report whether a disk fills, without a file too: an analyzer writes long after its last input.

        Args:
            before: what was known before the last round of measurements.
        """
        rates = (_rate(before.last[label], now) for label, now in self.last.items() if label in before.last)
        return any(rate >= FILLING_BYTES_PER_S for rate in rates)

    def shown(self, label: str) -> float:
        """Return how fast a resource fills, in its unit per second, over the last five to ten seconds.

        Negative: it empties. 0 as long as nothing is known.
        """
        if label not in self.since or label not in self.last:
            return 0.0
        return _rate(self.since[label][0], self.last[label])

    def as_json(self) -> str:
        """Return what the next controller needs, as PCAPDJ_GATE has it."""
        largest = {unit: round(rate) for unit, rate in self.largest.items()}
        return json.dumps({"largest": largest, "fed_s": round(self.fed_s, 1)})

    def with_learned(self, text: str) -> "FillRates":
        """Return this with what a controller before published; what is not valid is left out."""
        try:
            fields = decode_object(text)
            learned = {
                unit: float(fields["largest"][unit])
                for unit in ASSUMED_RATES.keys() & fields["largest"].keys()
            }
            fed_s = float(fields["fed_s"])
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
            return self
        if not all(map(isfinite, (*learned.values(), fed_s))):
            return self
        largest = {unit: max(rate, self.largest.get(unit, 0.0)) for unit, rate in learned.items()}
        return replace(
            self, largest={**self.largest, **largest}, fed_s=min(LEARNING_S, max(self.fed_s, fed_s))
        )

    def next_look_s(self, measurements: Sequence[Measurement]) -> float:
        """Return how long after these measurements the next ones are due while a file is fed."""
        times_s = [
            _SHARE * left / self._expected(each.unit) for each in measurements if (left := _left(each))
        ]
        return max(SHORTEST_LOOK_S, min([LONGEST_LOOK_S, *times_s]))

    def _expected(self, unit: str) -> float:
        """Return the rate to expect, in units per second; never 0."""
        largest = self.largest.get(unit, 0.0)
        return max(largest, 1.0 if self.fed_s >= LEARNING_S else ASSUMED_RATES[unit])


def _rate(before: Point, after: Point) -> float:
    """Return how fast a resource filled between two measurements, per second; 0 within too short a time."""
    step_s = after[0] - before[0]
    return (before[1] - after[1]) / step_s if step_s >= _SHORTEST_STEP_S else 0.0


def _left(measurement: Measurement) -> int:
    """Return how much of a disk can still be written before its next limit; 0: no limit is left, or unknown.

    Memory is left out: it has no limit that suspends.
    """
    free, thresholds = measurement.free, measurement.thresholds
    if free is None or not measurement.path:
        return 0
    limits = (thresholds.minimum, thresholds.suspend)
    return min((free - limit + 1 for limit in limits if limit and free >= limit), default=0)
