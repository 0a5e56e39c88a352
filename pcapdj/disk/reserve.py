"""Whether the output of the next file fits above min-free: --reserve. Rules only.

A file is authorized only if min-free is still free after its output, which is expected to be a factor of the
file's size on the disk: typed, or learned (`disk.output_ratio`). Files in flight count with their whole
output: how much of it is on the disk already is not known. Each requested file is judged by itself, in order.

A file whose size or factor is not known is authorized without a reserve. After `pcapdj gate open` all are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pcapdj.disk.gate import exact_amount
from pcapdj.disk.output_ratio import OutputRatios, ReserveFactor
from pcapdj.runtime.numbers import counted
from pcapdj.runtime.safe_text import quoted, to_text
from pcapdj.runtime.units import human_size

ANYWAY: Final = "'pcapdj limits set reserve=off' or 'pcapdj gate open' authorizes it anyway"


@dataclass(frozen=True, slots=True)
class ExpectedFile:
    """A file that is requested or in flight.

    Args:
        input_bytes: that are still to be read of it, as it is on the disk; None: unknown, since another
            program requested it.
        is_compressed: it has a ratio of its own.
    """

    name: bytes
    input_bytes: int | None = None
    is_compressed: bool = False


@dataclass(frozen=True, slots=True)
class OutputDisk:
    """The disk that the analyzers write to.

    Args:
        path: the log folder.
        free_bytes, total_bytes: of it.
        min_free_bytes: its limit.
    """

    path: str
    free_bytes: int
    min_free_bytes: int
    total_bytes: int

    @property
    def subject(self) -> str:
        """How a sentence names it: `'/out'`."""
        return quoted(self.path)


class Fit(StrEnum):
    """Whether the output of a file fits."""

    FITS = "fits"
    WAITS = "waits"
    NEVER = "never"  # the disk is too small, also when it is empty
    UNKNOWN = "unknown"  # authorized without a reserve


@dataclass(frozen=True, slots=True)
class ReserveNumbers:
    """What is expected of one file, and what there is.

    Args:
        factor: output bytes per byte of the file; None: unknown.
        learned_from_files: how many files it was learned from; 0: it was typed, or is unknown.
        needs_bytes: the output; None: unknown.
        left_bytes: what is above min-free, less what files in flight need.
        in_flight_bytes: what those need.
    """

    file: ExpectedFile
    fit: Fit
    factor: float | None = None
    learned_from_files: int = 0
    needs_bytes: int | None = None
    left_bytes: int = 0
    in_flight_bytes: int = 0

    def needed_bytes(self, disk: OutputDisk) -> int:
        """Return how much has to be free for it."""
        return disk.min_free_bytes + self.in_flight_bytes + (self.needs_bytes or 0)

    def as_fields(self) -> dict[str, object]:
        """Return it as PCAPDJ_GATE has it, in JSON."""
        return {
            "name": to_text(self.file.name),
            "input_bytes": self.file.input_bytes,
            "is_compressed": self.file.is_compressed,
            "fit": self.fit.value,
            "factor": self.factor,
            "learned_from_files": self.learned_from_files,
            "needs_bytes": self.needs_bytes,
            "left_bytes": self.left_bytes,
            "in_flight_bytes": self.in_flight_bytes,
        }


@dataclass(frozen=True, slots=True)
class Reserve:
    """How much is reserved for a file.

    Args:
        setting: as typed.
        ratios: what was learned.
        disk: of the output; None: it cannot be measured, and nothing is reserved.
    """

    setting: ReserveFactor
    ratios: OutputRatios
    disk: OutputDisk | None

    def judge(
        self, requested: Sequence[ExpectedFile], in_flight: Sequence[ExpectedFile]
    ) -> list[ReserveNumbers]:
        """Return for each requested file whether its output fits behind that of those before it.

        Args:
            requested: oldest first.
            in_flight: authorized, or fed.
        """
        if self.setting.is_off or self.disk is None:
            return [ReserveNumbers(each, Fit.UNKNOWN) for each in requested]
        reserved = sum(self._need(each)[2] or 0 for each in in_flight)
        return list(self._judged(requested, self.disk, reserved))

    def _judged(
        self, requested: Sequence[ExpectedFile], disk: OutputDisk, reserved: int
    ) -> Iterator[ReserveNumbers]:
        for each in requested:
            factor, learned_from, needs = self._need(each)
            left = disk.free_bytes - disk.min_free_bytes - reserved
            fit = _fit(needs, left, disk)
            yield ReserveNumbers(each, fit, factor, learned_from, needs, left, reserved)
            if fit is Fit.FITS:
                reserved += needs or 0

    def _need(self, file: ExpectedFile) -> tuple[float | None, int, int | None]:
        """Return the factor, from how many files it was learned, and the output."""
        factor, learned_from = self.setting.factor, 0
        if self.setting.is_learned and (learned := self.ratios.of(is_compressed=file.is_compressed)):
            factor, learned_from = learned.factor, learned.files
        is_unknown = factor is None or file.input_bytes is None
        return factor, learned_from, None if is_unknown else int((factor or 0) * (file.input_bytes or 0))


def reserve_sentence(numbers: ReserveNumbers, disk: OutputDisk) -> str:
    """Return why a file waits, with the numbers, and what happens next."""
    file, needs_bytes = numbers.file, numbers.needs_bytes or 0
    name = quoted(to_text(file.name).rpartition("/")[2])
    size = f"{human_size(file.input_bytes or 0)}{' compressed' if file.is_compressed else ''}"
    files = numbers.learned_from_files
    learned = f", learned from {counted(files, 'file')}" if files else ""
    needs = (
        f"The next file {name} ({size}) needs about {exact_amount(needs_bytes)} for its output"
        f" ({numbers.factor:.3g} x its size{learned})"
    )
    if numbers.fit is Fit.NEVER:
        most = exact_amount(max(0, disk.total_bytes - disk.min_free_bytes))
        has = f"{disk.subject} has {most} above min-free when it is empty"
        return f"{needs}; {has}: it never fits. {ANYWAY}; 'pcapdj skip' gives it up."
    flight = numbers.in_flight_bytes
    left = exact_amount(max(0, numbers.left_bytes))
    reserved = f", beside {human_size(flight)} for files in flight" if flight else ""
    return (
        f"{needs}; {left} are above min-free on {disk.subject}{reserved}. It is authorized from"
        f" {exact_amount(numbers.needed_bytes(disk))} free. {ANYWAY}."
    )


def _fit(needs: int | None, left: int, disk: OutputDisk) -> Fit:
    if needs is None:
        return Fit.UNKNOWN
    if needs <= left:
        return Fit.FITS
    return Fit.NEVER if needs > disk.total_bytes - disk.min_free_bytes else Fit.WAITS
