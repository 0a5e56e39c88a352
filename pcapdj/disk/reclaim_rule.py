"""Making room by removing captures that were fed: the setting, and when a round is due. Rules only.

    none        nothing is removed (the default)
    delete      captures are removed
    move:DIR    they are moved to a folder on another disk
    compress    they are compressed with zstd, beside where they are

A round is due while a watched disk is short: below min-free, and not at resume-free since. It measures once
how much has to become free, and removes that much. What a removal frees may appear late, or not at all:
snapshots, and processes that have the file open, keep it. So the next round waits, and much longer after
one that freed less than half of what it removed: a disk from which nothing can be freed must not cost all
captures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pcapdj.disk.gate import Gate, Measurement, State
from pcapdj.runtime.errors import ConfigError, ExitCode
from pcapdj.runtime.safe_text import quoted

NONE: Final = "none"
RECLAIM_FIELD: Final = "reclaim"  # live: `none` pauses it
PAUSE_S: Final = 30.0  # between two rounds
LONG_PAUSE_S: Final = 600.0  # behind one that freed little, found nothing, or may not use its folder
_MOVE: Final = "move:"
_FREED_LITTLE: Final = 0.5
_NOISE_BYTES: Final = 64 << 20  # other programs write so much meanwhile


@dataclass(frozen=True, slots=True)
class ReclaimSetting:
    """What happens to captures where room is needed.

    Args:
        how: none, delete, move or compress.
        target: the folder of `move`; empty for the others.
    """

    how: str = NONE
    target: str = ""

    def __str__(self) -> str:
        return f"{self.how}:{self.target}" if self.target else self.how


def parse_reclaim(text: str) -> ReclaimSetting:
    """Return the setting of `none`, `delete`, `move:DIR` or `compress`; empty: none.

    Raises:
        ConfigError: it is none of them.
    """
    text = text.strip()
    if text.startswith(_MOVE) and len(text) > len(_MOVE) and "\0" not in text:
        return ReclaimSetting("move", text.removeprefix(_MOVE))
    if text in ("", NONE, "delete", "compress"):
        return ReclaimSetting(text or NONE)
    raise ConfigError(
        f"reclaim: {quoted(text[:80])} is not a way to make room.",
        hint="Write none, delete, move:DIR or compress.",
    )


def is_short(measurements: Sequence[Measurement], gate: Gate) -> bool:
    """Report whether a disk was measured below min-free, and has not reached resume-free since."""
    return any(
        each.path and each.free is not None and resource.was_short and resource.state is not State.OPEN
        for each in measurements
        if (resource := gate.resources.get(each.label))
    )


def is_little(removed_bytes: int, grown_bytes: int) -> bool:
    """Report whether a round has freed much less than it removed.

    Args:
        removed_bytes: what it removed.
        grown_bytes: how much more was free on these disks behind it.
    """
    return removed_bytes > _NOISE_BYTES and grown_bytes < removed_bytes * _FREED_LITTLE


def pause_after(exit_code: int) -> float:
    """Return how long the next round waits, in seconds, by the exit code of the last one."""
    return LONG_PAUSE_S if exit_code in (ExitCode.ERROR, ExitCode.CANNOT_CREATE) else PAUSE_S
