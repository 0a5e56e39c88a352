"""Which of the requested files may be authorized while the disks have room. Rules only.

Two more things may hold a file: its output does not fit (`disk.reserve`), or the command that runs before it
failed (`disk.between`). The gate holds if no requested file may be authorized because of that.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pcapdj.disk.between import BetweenRuns
from pcapdj.disk.gate import Cause, Decision, Measurement, State
from pcapdj.disk.limits import Thresholds
from pcapdj.disk.reserve import ExpectedFile, Fit, Reserve, ReserveNumbers, reserve_sentence
from pcapdj.runtime.safe_text import to_text


@dataclass(frozen=True, slots=True)
class NextFiles:
    """The requested files, and what is known of their output.

    Args:
        reserve: what is reserved for a file.
        numbers: of each requested file, oldest first.
        between: the runs of the command before a file; None: there is no command.
    """

    reserve: Reserve
    numbers: Sequence[ReserveNumbers]
    between: BetweenRuns | None = None

    @property
    def in_turn(self) -> list[bytes]:
        """The requested names, those whose output fits first."""
        fitting = [each for each in self.numbers if _fits(each)]
        return [each.file.name for each in (*fitting, *(each for each in self.numbers if not _fits(each)))]

    def numbers_of(self, name: bytes) -> ReserveNumbers:
        """Return the numbers of a requested file."""
        return next(each for each in self.numbers if each.file.name == name)

    def authorizable(self) -> list[bytes]:
        """Return the names of the files that may be authorized."""
        names = [each.file.name for each in self.numbers if _fits(each)]
        return names if self.between is None else [name for name in names if self.between.allows(name)]

    def decision(self, disks: Decision) -> Decision:
        """Return the decision of the gate.

        Args:
            disks: that of the resources, which is open.
        """
        if not self.numbers:
            return disks
        disk, first = self.reserve.disk, self.numbers[0]
        if disk and not any(map(_fits, self.numbers)):
            needed = first.needed_bytes(disk)
            thresholds = Thresholds(0, disk.min_free_bytes, needed)
            path = disk.path
            measured = Measurement(
                path, disk.subject, disk.free_bytes, thresholds, path, total=disk.total_bytes
            )
            about = f"{to_text(first.file.name)} {first.fit}"
            return Decision(State.HOLD, reserve_sentence(first, disk), measured, needed, Cause.RESERVE, about)
        if self.between and (sentence := self.between.failure_sentence()):
            return Decision(State.HOLD, sentence, cause=Cause.BETWEEN)
        return disks

    def as_fields(self, now_s: float) -> dict[str, str]:
        """Return the fields of PCAPDJ_GATE; each is JSON, empty where that option is not used."""
        numbers = [*self.numbers, *self.reserve.judge([ExpectedFile(b"")], [])]  # without a file: the factor
        shown = None if self.reserve.setting.is_off else numbers[0].as_fields()
        return {
            "reserve": json.dumps(shown) if shown else "",
            "between": json.dumps(self.between.as_fields(now_s)) if self.between else "",
        }


def next_files(
    reserve: Reserve,
    requested: Sequence[ExpectedFile],
    in_flight: Sequence[ExpectedFile],
    between: BetweenRuns | None = None,
) -> NextFiles:
    """Return the requested files as they are judged now."""
    return NextFiles(reserve, reserve.judge(requested, in_flight), between)


def _fits(numbers: ReserveNumbers) -> bool:
    return numbers.fit in {Fit.FITS, Fit.UNKNOWN}
