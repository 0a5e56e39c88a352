"""Disks at their end: what an analyzer writes there is lost. Rules only.

The controller publishes when it last saw each watched disk so (the field `full` of PCAPDJ_GATE), and the
launcher compares that with its streams.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final, NamedTuple

from pcapdj.runtime.foreign_json import decode_json
from pcapdj.runtime.numbers import counted

SUSPECT_MARK: Final = "SUSPECT"  # a file in the folder of a stream that may lack output
_AT_LEAST_BYTES: Final = 1 << 20
_AT_MOST_BYTES: Final = 64 << 20  # file systems keep some blocks that they show as free
_SHARE: Final = 1000


class DiskAtEnd(NamedTuple):
    """A watched disk at its end.

    Args:
        path: as it is watched.
        device: its st_dev.
        time_s: when it was last seen so, in seconds since the epoch.
        state: what was seen: `had 0 bytes free`.
    """

    path: str
    device: int
    time_s: float
    state: str


def state_at_end(free_bytes: int, total_bytes: int, free_inodes: int, total_inodes: int) -> str:
    """Return how a disk is at its end; empty: it is not.

    It is when less than 1 MiB is free, or less than a thousandth of its size (64 MiB at most), or no inode.

    Args:
        free_bytes: what may still be written.
        total_bytes: the disk's size.
        free_inodes: how many more files it can have.
        total_inodes: 0 where it has no fixed number of them.
    """
    if free_bytes < max(_AT_LEAST_BYTES, min(total_bytes // _SHARE, _AT_MOST_BYTES)):
        return f"had {counted(free_bytes, 'byte')} free"
    return "had no inode left" if total_inodes > 0 and not free_inodes else ""


def encode_disks_at_end(disks: Iterable[DiskAtEnd]) -> str:
    """Return the field `full` of PCAPDJ_GATE."""
    return json.dumps([each._asdict() for each in disks])


def decode_disks_at_end(text: str) -> tuple[DiskAtEnd, ...]:
    """Return what the field `full` of PCAPDJ_GATE has; what is not valid is left out."""
    try:
        found = decode_json(text)
    except ValueError:
        return ()
    return tuple(disk for each in found if (disk := _disk_of(each))) if isinstance(found, list) else ()


def _disk_of(fields: Any) -> DiskAtEnd | None:
    with suppress(TypeError, KeyError, ValueError, OverflowError):
        path, device, time_s, state = (fields[name] for name in DiskAtEnd._fields)
        return DiskAtEnd(str(path), int(device), float(time_s), str(state))
    return None
