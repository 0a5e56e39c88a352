"""Captures that overlap in time: two taps, or two directions, that are fed one after the other. Rules only.

An analyzer gets the packets of one file after those of the other, and finds no whole connection in either.
Files of one rotation overlap hardly at all, so two neighbours in the order of time overlap if they do by more
than half of the usual step from one file to the next:

    one rotation     |---- 1 ----||---- 2 ----||---- 3 ----|    step 60 s, overlap 0 s
    two taps         |-- in 1 ---||-- in 2 ---|                 step 10 s and 50 s, overlap 50 s and 10 s
                       |-- out 1 --||-- out 2 --|

The neighbours with the smallest steps are compared: if any files overlap, these do. For few files the end is
known without reading them whole. For the others it is presumed: a series of names (`in 1`, `in 2`) has no
gaps, so a file ends where the next one of its series begins.
"""

import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from statistics import median_low
from typing import Final, NamedTuple

from pcapdj.inbox.order import COMPRESSIONS
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.units import human_duration

_MOST_PAIRS: Final = 8
_DIGITS: Final = re.compile(rb"[0-9]+")


class Span(NamedTuple):
    """The time from the first to the last packet of a capture.

    Args:
        name: of the file.
        first_ns: of its first packet, since 1970.
        last_ns: of its last packet; None: unknown.
        root: the folder below which the file is opened; None: wherever its name leads.
    """

    name: bytes
    first_ns: int
    last_ns: int | None = None
    root: bytes | None = None


class Overlap(NamedTuple):
    """Two captures that overlap, and for how long, in nanoseconds."""

    before: bytes
    after: bytes
    duration_ns: int

    @property
    def series(self) -> frozenset[bytes]:
        """The series of names that the two files belong to."""
        return frozenset(map(series_of, (self.before, self.after)))

    @property
    def sentence(self) -> str:
        """The sentence for a person who feeds both."""
        return (
            f"{quoted(self.before)} and {quoted(self.after)} overlap by {human_duration(self.duration_ns)}:"
            " the analyzer gets the packets of one after those of the other. Feed two taps in two lanes,"
            " or merge their captures first (mergecap)."
        )


def series_of(name: bytes) -> bytes:
    """Return what the names of a rotation have in common: all but the numbers behind the last slash."""
    folder, slash, base = name.rpartition(b"/")
    for compression in COMPRESSIONS:
        base = base.removesuffix(compression)
    return folder + slash + _DIGITS.sub(b"#", base)


def closest_pairs(spans: Iterable[Span], new: Collection[bytes] | None = None) -> list[tuple[Span, Span]]:
    """Return the neighbours in the order of time with the smallest steps, at most eight pairs.

    Args:
        spans: of captures that go into one lane.
        new: at least one file of each pair is among these; None: any.
    """
    pairs = [
        (one, other)
        for one, other in pairwise(sorted(spans, key=lambda span: span.first_ns))
        if new is None or one.name in new or other.name in new
    ]
    return sorted(pairs, key=_step_ns)[:_MOST_PAIRS]


def longest_overlap(spans: Sequence[Span], pairs: Iterable[tuple[Span, Span]]) -> Overlap | None:
    """Return the pair that overlaps most; None: none of them overlaps by more than half of the usual step.

    Args:
        spans: of all captures that are fed.
        pairs: of neighbours among them.
    """
    by_time = sorted(spans, key=lambda span: span.first_ns)
    steps = [_step_ns(pair) for pair in pairwise(by_time)]
    found = [Overlap(one.name, other.name, _end_ns(one, by_time) - other.first_ns) for one, other in pairs]
    longest = max(found, key=lambda overlap: overlap.duration_ns, default=None)
    return longest if longest and longest.duration_ns > median_low(steps) / 2 else None


def _step_ns(pair: tuple[Span, Span]) -> int:
    return pair[1].first_ns - pair[0].first_ns


def _end_ns(span: Span, by_time: Sequence[Span]) -> int:
    """Return when a capture ends, as far as that is known or can be presumed."""
    if span.last_ns is not None:
        return span.last_ns
    series = series_of(span.name)
    later = by_time[bisect_right(by_time, span.first_ns, key=lambda each: each.first_ns) :]
    return next((each.first_ns for each in later if series_of(each.name) == series), span.first_ns)
