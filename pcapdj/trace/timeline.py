"""The time line of captures in the order in which they are fed: gaps, overlaps, steps back. Pure.

A file is compared with those before it:

    gap           it begins later than the latest packet before it
    overlap       it begins earlier than that, but not before the previous file began, and a file before it
                  has packets of its time, too: after a step back files may follow that have not
    step back     it begins before the previous file did
    inside        packets of it are earlier than the packet before them
    incomplete    packets are longer on the wire (`lengths`) than what was captured of them (`cap_lengths`)

It keeps two numbers of each file, however many there are, and two of each span of time without a gap.
"""

from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from pcapdj.runtime.numbers import counted
from pcapdj.runtime.units import human_duration, human_size, steps_back_text

DEFAULT_GAP_NS: Final = 10 * 10**9
_LIMIT_NS: Final = 1 << 63  # from 1970, of what is kept
_UNKNOWN: Final = -_LIMIT_NS


class RemarkKind(StrEnum):
    """What is unusual about a file."""

    GAP = "gap"
    OVERLAP = "overlap"
    STEP_BACK = "step_back"
    INSIDE = "steps_back_inside"
    INCOMPLETE = "incomplete"
    BEYOND = "beyond"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing that is unusual about a file.

    Args:
        kind: what.
        amount: of time in ns, of `incomplete` in bytes; 0: it has none.
        sentence: for people.
    """

    kind: RemarkKind
    amount: int
    sentence: str


@dataclass(frozen=True, slots=True)
class CaptureSpan:
    """What a time line needs of a file.

    Args:
        name: its path.
        first_ns, last_ns: the earliest and the latest time of a packet; None: it has none.
        packets: how many.
        cap_lengths, lengths: their captured bytes, and their bytes on the wire.
        steps_back, largest_step_back_ns: packets earlier than the one before, and by how much at most.
        failure: why it cannot be read, or was not fed, whole; empty: it can.
    """

    name: bytes
    first_ns: int | None
    last_ns: int | None
    packets: int = 0
    cap_lengths: int = 0
    lengths: int = 0
    steps_back: int = 0
    largest_step_back_ns: int = 0
    failure: str = ""

    @property
    def is_beyond(self) -> bool:
        """Whether its times have no place on the time line."""
        return any(abs(each) >= _LIMIT_NS for each in (self.first_ns, self.last_ns) if each is not None)


@dataclass(slots=True)
class Timeline:
    """The files so far.

    Args:
        gap_ns: a longer pause between two files is a gap.
        files, packets, cap_lengths, lengths: sums.
        counts, sums, largest: of the remarks of each kind, their sums, and the largest one.
        firsts, lasts: times of the files that have packets, in ns.
        marks: for each of them 1, if it has a remark about its content.
        latest_ns, previous_ns: the latest packet, and the first one of the file before.
        begins, ends: of the spans that have files, in order; pauses that are no gap are in a span.
    """

    gap_ns: int = DEFAULT_GAP_NS
    files: int = 0
    packets: int = 0
    cap_lengths: int = 0
    lengths: int = 0
    counts: dict[RemarkKind, int] = field(default_factory=dict)
    sums: dict[RemarkKind, int] = field(default_factory=dict)
    largest: dict[RemarkKind, int] = field(default_factory=dict)
    firsts: "array[int]" = field(default_factory=lambda: array("q"))
    lasts: "array[int]" = field(default_factory=lambda: array("q"))
    marks: bytearray = field(default_factory=bytearray)
    latest_ns: int = _UNKNOWN
    previous_ns: int = _UNKNOWN
    begins: "array[int]" = field(default_factory=lambda: array("q"))
    ends: "array[int]" = field(default_factory=lambda: array("q"))

    @property
    def first_ns(self) -> int | None:
        """The earliest time."""
        return min(self.firsts, default=None)

    @property
    def last_ns(self) -> int | None:
        """The latest time."""
        return max(self.lasts, default=None)

    def add(self, file: CaptureSpan) -> list[Remark]:
        """Add the next file; return what is unusual about it."""
        remarks = [*self._step(file), *_of_content(file)]
        self.files += 1
        self.packets += file.packets
        self.cap_lengths += file.cap_lengths
        self.lengths += file.lengths
        for each in remarks:
            self.counts[each.kind] = self.counts.get(each.kind, 0) + 1
            self.sums[each.kind] = self.sums.get(each.kind, 0) + each.amount
            self.largest[each.kind] = max(self.largest.get(each.kind, 0), each.amount)
        if file.first_ns is not None and file.last_ns is not None and not file.is_beyond:
            self.firsts.append(file.first_ns)
            self.lasts.append(file.last_ns)
            self.marks.append(bool(_of_content(file)))
            self.latest_ns = max(self.latest_ns, file.last_ns)
            self.previous_ns = file.first_ns
            self._cover(file.first_ns, file.last_ns)
        return remarks

    def _step(self, file: CaptureSpan) -> list[Remark]:
        if file.first_ns is None or self.latest_ns == _UNKNOWN or file.is_beyond:
            return []
        step_ns = file.first_ns - self.latest_ns
        if step_ns > self.gap_ns:
            return [Remark(RemarkKind.GAP, step_ns, f"gap of {human_duration(step_ns)} before it")]
        if file.first_ns < self.previous_ns:
            back_ns = self.previous_ns - file.first_ns
            sentence = f"begins {human_duration(back_ns)} before the previous file began"
            return [Remark(RemarkKind.STEP_BACK, back_ns, sentence)]
        if step_ns < 0 and (common_ns := self._covered_ns(file.first_ns, file.last_ns or file.first_ns)):
            sentence = f"overlaps by {human_duration(common_ns)} with a file before it"
            return [Remark(RemarkKind.OVERLAP, common_ns, sentence)]
        return []

    def _covered_ns(self, first_ns: int, last_ns: int) -> int:
        """Return how much of this time the latest span has that begins before its end."""
        place = bisect_right(self.begins, last_ns) - 1
        if place < 0:
            return 0
        return max(0, min(last_ns, self.ends[place]) - max(first_ns, self.begins[place]))

    def _cover(self, first_ns: int, last_ns: int) -> None:
        """Add a file's time to the spans; those with less than a gap between them become one."""
        left = bisect_left(self.ends, first_ns - self.gap_ns)
        right = bisect_right(self.begins, last_ns + self.gap_ns)
        if left < right:
            first_ns, last_ns = min(first_ns, self.begins[left]), max(last_ns, self.ends[right - 1])
        self.begins[left:right], self.ends[left:right] = array("q", [first_ns]), array("q", [last_ns])

    def summary(self) -> dict[str, Any]:
        """Return sums for programs: of each kind how often, how much in all, and the largest."""
        kinds = {
            kind.value: {
                "count": self.counts.get(kind, 0),
                "total": self.sums.get(kind, 0),
                "largest": self.largest.get(kind, 0),
            }
            for kind in RemarkKind
        }
        sums = {"files": self.files, "packets": self.packets, "cap_lengths": self.cap_lengths}
        return {**sums, "lengths": self.lengths, "first_ns": self.first_ns, "last_ns": self.last_ns, **kinds}

    def lines(self) -> list[tuple[str, str]]:
        """Return sums for people, each with its label; of kinds that did not occur none."""
        found = [("files", f"{self.files:,}"), ("packets", f"{self.packets:,}")]
        if self.first_ns is not None and self.last_ns is not None:
            found.append(("time", human_duration(self.last_ns - self.first_ns)))
        words = {
            RemarkKind.GAP: "gaps",
            RemarkKind.OVERLAP: "overlaps",
            RemarkKind.STEP_BACK: "steps back",
            RemarkKind.INSIDE: "steps inside",
            RemarkKind.INCOMPLETE: "incomplete",
            RemarkKind.BEYOND: "beyond",
            RemarkKind.FAILED: "failed",
        }
        for kind, label in words.items():
            if count := self.counts.get(kind, 0):
                found.append((label, self._sum_text(kind, count)))
        return found

    def _sum_text(self, kind: RemarkKind, count: int) -> str:
        total, largest = self.sums[kind], self.largest[kind]
        files = counted(count, "file")
        if kind is RemarkKind.INCOMPLETE:
            return f"{files}, {human_size(total)} were not captured"
        if kind in (RemarkKind.BEYOND, RemarkKind.FAILED):
            return files
        if kind is RemarkKind.INSIDE:
            return f"{files}, the largest {human_duration(largest)}"
        times = f"{count:,}, the largest {human_duration(largest)}"
        return times if kind is RemarkKind.STEP_BACK else f"{times}, {human_duration(total)} in all"


def _of_content(file: CaptureSpan) -> list[Remark]:
    """Return what is unusual inside a file."""
    found = []
    if file.steps_back:
        sentence = steps_back_text(file.steps_back, file.largest_step_back_ns)
        found.append(Remark(RemarkKind.INSIDE, file.largest_step_back_ns, sentence))
    if (missing := file.lengths - file.cap_lengths) > 0:
        sentence = f"captured incompletely: {human_size(missing)} of {human_size(file.lengths)} are missing"
        found.append(Remark(RemarkKind.INCOMPLETE, missing, sentence))
    if file.is_beyond:
        found.append(Remark(RemarkKind.BEYOND, 0, "before 1678 or after 2261: not on the time line"))
    if file.failure:
        found.append(Remark(RemarkKind.FAILED, 0, file.failure))
    return found
