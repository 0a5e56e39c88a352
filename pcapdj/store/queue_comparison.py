"""How the queue is compared with its lines, part by part. Rules only.

First the queue is walked, from its tail to its head. Dispatchers take names from the head meanwhile; the
places of the other names, counted from the tail, stay the same. (Names that are removed at the tail change
them, so each part overlaps with the one before.) A filter keeps the names, in two megabytes for a million.
Then the lines are walked: a name that is not in the filter, and had its last line when the walk began, is not
in the queue any more.

The filter has some names that are not in the queue. A later comparison, whose filter has others, finds them.
"""

import secrets
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

PART_NAMES: Final = 500  # in one call: some milliseconds of Redis's time
_OVERLAP: Final = 64  # names that may be removed at the tail between two parts
_MOST_RESTARTS: Final = 3
_BITS_PER_NAME: Final = 16  # with two bits set for each: 1.4 % of other names are in the filter
_MOST_BITS: Final = 1 << 28


class NameFilter:
    """Remembers names: each that was added is in it, and a few others.

    Args:
        expected: how many names will be added, about.
    """

    def __init__(self, expected: int) -> None:
        bits = 1 << max(16, (expected * _BITS_PER_NAME - 1).bit_length())
        self._mask: Final = min(bits, _MOST_BITS) - 1
        self._bits: Final = bytearray((self._mask >> 3) + 1)
        self._factors: Final = (secrets.randbits(64) | 1, secrets.randbits(64) | 1)

    def add(self, names: Iterable[bytes]) -> None:
        """Remember these names."""
        bits, mask, (first, second) = self._bits, self._mask, self._factors
        for name in names:
            number = hash(name)
            place = (number * first >> 30) & mask
            bits[place >> 3] |= 1 << (place & 7)
            place = (number * second >> 30) & mask
            bits[place >> 3] |= 1 << (place & 7)

    def __contains__(self, name: bytes) -> bool:
        number = hash(name)
        places = [(number * factor >> 30) & self._mask for factor in self._factors]
        return all(self._bits[place >> 3] >> (place & 7) & 1 for place in places)


class QueueWalk:
    """The walk through the queue, part by part, from its tail on.

    Args:
        length: of the queue.
    """

    def __init__(self, length: int) -> None:
        self.names: Final = NameFilter(length)
        self.is_complete = False
        self.is_over = False
        self._place = 0  # how many names from the tail on were seen
        self._last: bytes | None = None
        self._restarts = 0

    @property
    def part(self) -> tuple[int, int]:
        """First and last place of the next part, counted as Redis does: -1 is the tail."""
        return -(self._place + PART_NAMES), -(self._place - self._overlap + 1)

    def add(self, names: Sequence[bytes], length: int) -> None:
        """Go on with what the queue had in `part`, from its end on, when it had this length."""
        self.names.add(names)
        if self._last is not None:
            if self._last not in names:
                self._restart()
                return
            self._place += names.index(self._last) + 1 - self._overlap
            names = names[names.index(self._last) + 1 :]
        self._place += len(names)
        self._last = names[-1] if names else self._last
        self.is_complete = self.is_over = not names or self._place >= length

    @property
    def _overlap(self) -> int:
        return min(self._place, _OVERLAP)

    def _restart(self) -> None:
        self._place, self._last = 0, None
        self._restarts += 1
        self.is_over = self._restarts > _MOST_RESTARTS


class QueueCounts(NamedTuple):
    """What tells whether Redis still has the queue that it had: all of it begins anew after a loss.

    Args:
        lines: beside the queue.
        last_seq: the highest number of a line; it only grows.
    """

    lines: int
    last_seq: int


def lost_names(before: QueueCounts, now: QueueCounts, length: int) -> int:
    """Return how many names the queue has lost with Redis's data, at least; 0: none.

    Args:
        before: at the last look.
        now: at this one.
        length: of the queue now.
    """
    return max(0, before.lines - length) if now.last_seq < before.last_seq else 0


def vanished(walk: QueueWalk, lines: Iterable[tuple[bytes, int]], begin_seq: int) -> list[tuple[bytes, int]]:
    """Return those of these lines whose names are not in the queue any more.

    Args:
        walk: a complete one.
        lines: names, and the numbers of their last lines.
        begin_seq: the highest number when the walk began: names with a later line may have come behind it.
    """
    return [(name, seq) for name, seq in lines if seq <= begin_seq and name not in walk.names]
