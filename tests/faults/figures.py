"""What a campaign counts: kills, losses, recovery times; values that can be merged and written as JSON."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Self

from faults.checker import Findings


@dataclass(slots=True)
class Figures:
    """The counts of a part of a campaign.

    Args:
        kills: by what was killed.
        counts: of everything else that was tried.
        recovery_s: by what was killed: from its death to the next thing that moved.
        violations: promises that were broken, in sentences.
    """

    kills: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    recovery_s: dict[str, list[float]] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    mid_file: int = 0
    mid_record: int = 0
    streams: int = 0
    packets: int = 0
    lost: int = 0
    doubled: int = 0
    torn: int = 0
    forgotten: int = 0
    hangs: int = 0

    def recovered(self, kind: str, seconds: float) -> None:
        """Note how long a recovery took."""
        self.recovery_s.setdefault(kind, []).append(seconds)

    def checked(self, all_findings: Iterable[Findings], about: str) -> None:
        """Take what the checker found."""
        for found in all_findings:
            self.streams += found.packets > 0
            self.packets += found.packets
            self.lost += found.lost
            self.doubled += found.doubled
            self.torn += found.torn
            self.forgotten += found.forgotten
            self.violations += [f"{about}: {sentence}" for sentence in found.sentences]

    def violated(self, sentence: str) -> None:
        """Note a broken promise."""
        self.violations.append(sentence)

    def hung(self, sentence: str) -> None:
        """Note a hang."""
        self.hangs += 1
        self.violated(sentence)

    def add(self, other: "Figures") -> None:
        """Take another part's counts."""
        self.kills += other.kills
        self.counts += other.counts
        self.violations += other.violations
        for kind, seconds in other.recovery_s.items():
            self.recovery_s.setdefault(kind, []).extend(seconds)
        for name in (
            "mid_file",
            "mid_record",
            "streams",
            "packets",
            "lost",
            "doubled",
            "torn",
            "forgotten",
            "hangs",
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def save(self, path: Path) -> None:
        """Write it where `load` finds it."""
        path.write_text(
            json.dumps({each.name: getattr(self, each.name) for each in fields(self)}), encoding="utf-8"
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        found = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**found, "kills": Counter(found["kills"]), "counts": Counter(found["counts"])})


def percentile(values: Sequence[float], per_cent: float) -> float:
    """Return the value that so many per cent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * per_cent / 100))]
