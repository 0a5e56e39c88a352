"""How much output the analyzers of a lane write per byte of a capture file. Rules only.

FINISH records for each file that was fed whole its size, and by how much the log folder's disk filled
meanwhile (PCAPDJ_OUTPUT). For one file that is inexact: an analyzer keeps data in memory and writes them
later, the disk is measured once a second, and other programs write there, too. So files in a row are put
together until they have 1 MiB, and the median of these groups counts: a single one that is far off changes
little.

Compressed files have a ratio of their own, to their size on the disk: how large they are without compression
is not known before they are read.
"""

from dataclasses import dataclass
from math import isfinite
from statistics import median
from typing import Final

from pcapdj.runtime.errors import ConfigError

GROUP_BYTES: Final = 1 << 20
FEWEST_GROUPS: Final = 3
MOST_GROUPS: Final = 20
_NUMBERS_OF_A_GROUP: Final = 3
_AUTO: Final = "auto"
_OFF: Final = ("off", "0", "")
_LARGEST_FACTOR: Final = 1000.0
_LARGEST: Final = 1 << 63  # of a size


@dataclass(frozen=True, slots=True)
class ReserveFactor:
    """What was typed for --reserve.

    Args:
        factor: output bytes per byte of a file; None: off, or learned.
        is_learned: `auto`.
    """

    factor: float | None = None
    is_learned: bool = False

    @property
    def is_off(self) -> bool:
        """Report whether nothing is reserved."""
        return self.factor is None and not self.is_learned


def parse_reserve(text: str) -> ReserveFactor:
    """Return what `auto`, `off` or a factor such as `2.5` means.

    Raises:
        ConfigError: it is none of them.
    """
    word = text.strip().lower()
    if word == _AUTO:
        return ReserveFactor(is_learned=True)
    if word in _OFF:
        return ReserveFactor()
    try:
        factor = float(word)
    except ValueError:
        factor = -1.0
    if not 0 <= factor <= _LARGEST_FACTOR:  # nan is not, either
        raise ConfigError(
            f"reserve: {text!r} is no factor.",
            hint="Write auto, off, or output bytes per byte of a capture file, such as 0.2 (1000 at most).",
        )
    return ReserveFactor(factor) if factor else ReserveFactor()


@dataclass(frozen=True, slots=True)
class FileGroup:
    """Files in a row that were fed whole.

    Args:
        input_bytes: their size on the disk, 1 MiB or more.
        output_bytes: by how much the log folder's disk filled meanwhile.
        files: how many.
    """

    input_bytes: int
    output_bytes: int
    files: int = 1


@dataclass(frozen=True, slots=True)
class LearnedRatio:
    """A ratio, and how many files it was learned from."""

    factor: float
    files: int


@dataclass(frozen=True, slots=True)
class OutputRatios:
    """The last groups of files that a lane has fed, the newest last.

    Args:
        plain: of captures as they are.
        compressed: of compressed ones.
    """

    plain: tuple[FileGroup, ...] = ()
    compressed: tuple[FileGroup, ...] = ()

    @classmethod
    def parse(cls, plain: bytes, compressed: bytes) -> "OutputRatios":
        """Return the groups of PCAPDJ_OUTPUT; what is not valid, or not full yet, is left out."""
        return cls(_groups_of(plain), _groups_of(compressed))

    def of(self, *, is_compressed: bool) -> LearnedRatio | None:
        """Return the median ratio of the groups of such files; None: there are too few."""
        groups = (self.compressed if is_compressed else self.plain)[-MOST_GROUPS:]
        if len(groups) < FEWEST_GROUPS:
            return None
        factor = median(each.output_bytes / each.input_bytes for each in groups)
        return LearnedRatio(factor, sum(each.files for each in groups))


@dataclass(frozen=True, slots=True)
class OutputGrowth:
    """By how much the log folder's disk has filled while files were fed, in all.

    What is deleted meanwhile does not count: only what fills the disk between two measurements.

    Args:
        total_bytes: so far; it only grows, through restarts too.
        last: device and free bytes of the last measurement; None: there is none.
    """

    total_bytes: int = 0
    last: tuple[int, int] | None = None

    def after(self, device: int, free_bytes: int, *, is_counted: bool) -> "OutputGrowth":
        """Return this after one more measurement.

        Args:
            device: of the disk: another one begins anew.
            free_bytes: on it.
            is_counted: a file is fed, or was a moment ago.
        """
        filled = self.last[1] - free_bytes if self.last and self.last[0] == device else 0
        added = max(0, filled) if is_counted else 0
        return OutputGrowth(self.total_bytes + added, (device, free_bytes))

    def with_published(self, text: str) -> "OutputGrowth":
        """Return this behind what an earlier controller counted; what is not a number is left out."""
        before = _size(text.encode("ascii", "replace"))
        return OutputGrowth(self.total_bytes + (before or 0), self.last)


def _size(text: bytes | None) -> int | None:
    try:
        number = float(text or b"x")
    except ValueError:
        return None
    return int(number) if isfinite(number) and 0 <= number < _LARGEST else None


def _groups_of(text: bytes) -> tuple[FileGroup, ...]:
    numbers = [[_size(number) for number in group.split(b"/")] for group in text.split(b" ")]
    groups = (FileGroup(*valid) for each in numbers if (valid := _complete(each)))
    return tuple(group for group in groups if group.input_bytes >= GROUP_BYTES)


def _complete(numbers: list[int | None]) -> list[int]:
    found = [each for each in numbers if each is not None]
    return found if len(found) == len(numbers) == _NUMBERS_OF_A_GROUP else []
