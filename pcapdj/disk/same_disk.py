"""Whether a watched path is still on the file system that it was on before. Rules only.

If a disk is unmounted, the folder below its mount point appears, on another disk that may have much room. The
gate would stay open, and the analyzer would fill that one. So another file system counts as full until an
operator accepts it (`pcapdj gate accept`). So does the parent of a folder that was there for an earlier
controller: the folder went with its disk.

Within one boot of the machine the same device number is the same disk. Another number may be the same disk,
too: after a reboot, or when NFS is mounted again. Then the UUID decides, else what is mounted, else, after a
reboot, only whether the path is still below the same mount point.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from pcapdj.disk.measurements import NOT_THERE, FailedMeasurement, FileSystem, Sample, Samples
from pcapdj.runtime.foreign_json import decode_object
from pcapdj.runtime.safe_text import quoted

_NO_SOURCES: Final = frozenset({"", "none", "tmpfs", "overlay", "rootfs"})  # of many file systems alike
_ACCEPT: Final = "if that is right: pcapdj gate accept"


@dataclass(frozen=True, slots=True)
class SameDisks:
    """The file systems that the watched paths belong on.

    Args:
        known: by path, as they were first measured.
        accepted: the operator's latest acceptance that is applied; empty: none.
    """

    known: Mapping[str, FileSystem]
    accepted: str = ""

    def judge(self, samples: Samples) -> tuple[Samples, Self]:
        """Return the samples, with a failure for each path on another file system; and what is known now."""
        known, paths = dict(self.known), []
        for watch, sample in samples.paths:
            found = sample
            if isinstance(sample, Sample) and sample.file_system:
                before = known.get(watch.path, sample.file_system)
                if not is_same(before, sample.file_system):
                    found = _another(before, sample.file_system)
                elif not sample.is_parent:  # the path may be made on another one
                    known[watch.path] = sample.file_system
            elif sample == NOT_THERE and (gone := known.get(watch.path)) and gone.mount != "/":
                found = FailedMeasurement(
                    f"{NOT_THERE.reason} (its disk was mounted at {quoted(gone.mount)})"
                )
            paths.append((watch, found))
        return replace(samples, paths=tuple(paths)), replace(self, known=known)

    def accepting(self, accepted: str) -> Self:
        """Return this after an operator's acceptance: the next measurement defines the file systems."""
        return self if accepted == self.accepted else replace(self, known={}, accepted=accepted)

    def as_fields(self) -> dict[str, str]:
        """Return the fields of PCAPDJ_GATE from which the next controller goes on."""
        known = {path: each._asdict() for path, each in self.known.items()}
        return {"file_systems": json.dumps(known), "accepted": self.accepted}


def is_same(one: FileSystem, other: FileSystem) -> bool:
    """Report whether both are the same file system, as far as that can be seen."""
    is_one_boot = bool(one.boot) and one.boot == other.boot
    if is_one_boot and one.device == other.device:
        return True
    if one.uuid and other.uuid:
        return one.uuid == other.uuid
    if not {one.source, other.source} & _NO_SOURCES:
        return one.source == other.source
    return not is_one_boot and one.mount == other.mount


def same_disks_of(fields: Mapping[str, str]) -> SameDisks:
    """Return what the fields of PCAPDJ_GATE have; what is not valid is left out."""
    try:
        found = decode_object(fields.get("file_systems"))
    except ValueError:
        found = {}
    known = {path: each for path, values in found.items() if (each := _file_system(values))}
    return SameDisks(known, fields.get("accepted", ""))


def _file_system(fields: Any) -> FileSystem | None:
    try:
        found = FileSystem(**fields)
    except TypeError:
        return None
    is_valid = type(found.device) is int and all(isinstance(each, str) for each in found[1:])
    return found if is_valid else None


def _another(before: FileSystem, now: FileSystem) -> FailedMeasurement:
    if before.mount != now.mount:
        reason = f"is not on the file system mounted at {quoted(before.mount)} any more"
    else:
        reason = f"has another file system mounted at {quoted(now.mount)} than before"
    return FailedMeasurement(f"{reason} ({_ACCEPT})")
