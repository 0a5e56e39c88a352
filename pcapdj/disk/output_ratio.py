"""How much output the analyzers of a lane write per byte of a capture file, from the journal. Rules only.

The journal has for each file by how much the log folder's disk filled meanwhile. For one file that is
inexact: an analyzer keeps data in memory and writes them later, the disk is measured once a second, and other
programs write there, too. So files in a row are put together until they have 1 MiB, and the median of these
groups counts: a single one that is far off changes little.

Compressed files have a ratio of their own, to their size on the disk: how large they are without compression
is not known before they are read.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from statistics import median
from typing import Final

from pcapdj.runtime.errors import ConfigError

GROUP_BYTES: Final = 1 << 20
FEWEST_GROUPS: Final = 3
MOST_GROUPS: Final = 20
_MOST_FILES: Final = 2000  # that are remembered: more of less than 512 bytes each are not learned from
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
class FinishedFile:
    """A file that was fed whole, as the journal has it.

    Args:
        input_bytes: its size on the disk.
        output_bytes: by how much the log folder's disk filled meanwhile.
    """

    input_bytes: int
    output_bytes: int
    is_compressed: bool = False


def finished_file(fields: Mapping[bytes, bytes]) -> FinishedFile | None:
    """Return the file of a journal entry; None: nothing can be learned from it.

    That is a file that was not fed whole and at once: it failed, was known, was fed again from its start, or
    goes on behind what an earlier stream has.
    """
    is_whole = fields.get(b"verdict") == b"processed" and fields.get(b"attempt") == b"1"
    has_more = any(fields.get(name) for name in (b"known_as", b"begin_bytes", b"earlier_streams"))
    input_bytes, output_bytes = _size(fields.get(b"size_bytes")), _size(fields.get(b"output_bytes"))
    if not is_whole or has_more or not input_bytes or output_bytes is None:
        return None
    return FinishedFile(input_bytes, output_bytes, bool(fields.get(b"compression")))


@dataclass(frozen=True, slots=True)
class LearnedRatio:
    """A ratio, and how many files it was learned from."""

    factor: float
    files: int


@dataclass(frozen=True, slots=True)
class OutputRatios:
    """The files that a lane has fed, the newest last.

    Args:
        files: those that were fed whole.
    """

    files: tuple[FinishedFile, ...] = ()

    def after(self, files: Iterable[FinishedFile]) -> "OutputRatios":
        """Return this with more files."""
        return OutputRatios((*self.files, *files)[-_MOST_FILES:])

    def of(self, *, is_compressed: bool) -> LearnedRatio | None:
        """Return the median ratio of the last groups of such files; None: there are too few."""
        ratios, files, inputs, outputs, pending = list[float](), 0, 0, 0, 0
        for each in reversed(self.files):
            if each.is_compressed is not is_compressed:
                continue
            inputs, outputs, pending = inputs + each.input_bytes, outputs + each.output_bytes, pending + 1
            if inputs >= GROUP_BYTES:
                ratios.append(outputs / inputs)
                files, inputs, outputs, pending = files + pending, 0, 0, 0
            if len(ratios) == MOST_GROUPS:
                break
        return LearnedRatio(median(ratios), files) if len(ratios) >= FEWEST_GROUPS else None


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
