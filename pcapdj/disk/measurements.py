"""From samples of the watched paths to measurements of resources: by device, with limits. Rules only."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from pcapdj.disk.gate import Measurement, exact_amount
from pcapdj.disk.limits import Limits, Thresholds, Watch
from pcapdj.disk.reserve import OutputDisk
from pcapdj.runtime.errors import ConfigError
from pcapdj.runtime.full_disks import state_at_end
from pcapdj.runtime.safe_text import quoted


class FileSystem(NamedTuple):
    """The file system that a path is on.

    Args:
        device: st_dev.
        boot: the id of the machine's boot; empty: unknown.
        uuid: of the disk; empty: it has none.
        source: what is mounted: `/dev/sdb1`, `server:/export`.
        mount: where.
    """

    device: int
    boot: str
    uuid: str
    source: str
    mount: str


@dataclass(frozen=True, slots=True)
class Sample:
    """What statvfs(2) reported of a watched path's filesystem.

    Args:
        device: st_dev; paths on one device share their measurement.
        free_bytes: what this user may still write (f_bavail).
        total_inodes: 0 where the filesystem has no fixed number of them (btrfs).
        file_system: that the path is on, or the parent that was measured; None: unknown.
        is_parent: a parent was measured in place of the path, which is not there.
    """

    device: int
    free_bytes: int
    total_bytes: int
    free_inodes: int
    total_inodes: int
    file_system: FileSystem | None = None
    is_parent: bool = False

    @property
    def state_at_end(self) -> str:
        """How the filesystem is at its end; empty: it is not."""
        return state_at_end(self.free_bytes, self.total_bytes, self.free_inodes, self.total_inodes)


@dataclass(frozen=True, slots=True)
class FailedMeasurement:
    """Why a watched path could not be measured: `is not there`."""

    reason: str


NOT_THERE: Final = FailedMeasurement("is not there")


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory that is available without swapping, and the total."""

    available_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Samples:
    """One round of samples: of each watched path, in order, of the memory, and of the log folder.

    Args:
        output: of the analyzer's log folder, watched or not; None: unknown.
    """

    paths: tuple[tuple[Watch, Sample | FailedMeasurement], ...]
    memory: Memory
    output: Sample | FailedMeasurement | None = None

    @property
    def failures(self) -> list[tuple[Watch, FailedMeasurement]]:
        """The paths that could not be measured."""
        return [(watch, each) for watch, each in self.paths if isinstance(each, FailedMeasurement)]


@dataclass(frozen=True, slots=True)
class Mount:
    """A filesystem and the watched paths on it."""

    watches: tuple[Watch, ...]
    sample: Sample

    @property
    def path(self) -> str:
        """The first watched path; it names the mount."""
        return self.watches[0].path

    def thresholds(self, limits: Limits) -> Thresholds:
        """Return the limits of its free space; of several MIN_FREEs the largest one counts.

        Raises:
            ConfigError: typed limits are out of order on it.
        """
        of_each = (limits.space_thresholds(watch, self.sample.total_bytes) for watch in self.watches)
        return max(of_each, key=lambda thresholds: thresholds.minimum)


def mounts(samples: Samples) -> list[Mount]:
    """Return the filesystems of the paths that could be measured.

    Two folders of one device may have different quotas, which appear as different totals: they stay apart.
    """
    groups: dict[tuple[int, int], list[tuple[Watch, Sample]]] = {}
    for watch, sample in samples.paths:
        if isinstance(sample, Sample):
            groups.setdefault((sample.device, sample.total_bytes), []).append((watch, sample))
    return [Mount(tuple(watch for watch, _ in group), group[0][1]) for group in groups.values()]


def output_disk(samples: Samples, limits: Limits, logdir: str) -> OutputDisk | None:
    """Return the disk of the log folder with its min-free; None: it cannot be measured."""
    sample = samples.output
    if not isinstance(sample, Sample):
        return None
    of_disk = (sample.device, sample.total_bytes)
    watched = next(
        (each for each in mounts(samples) if (each.sample.device, each.sample.total_bytes) == of_disk), None
    )
    mount = watched or Mount((Watch(logdir),), sample)
    try:
        minimum = mount.thresholds(limits).minimum
    except ConfigError:
        return None
    return OutputDisk(logdir, sample.free_bytes, minimum, sample.total_bytes)


def check_order(samples: Samples, limits: Limits) -> None:
    """Refuse limits that are out of order on a filesystem that is there.

    Raises:
        ConfigError: names the path and the numbers.
    """
    for mount in mounts(samples):
        mount.thresholds(limits)


def check_reach(samples: Samples, limits: Limits) -> None:
    """Refuse limits that no disk could meet: of a `run` they cannot be changed while it waits.

    Raises:
        ConfigError: names what is too small or cannot be measured, and the numbers.
    """
    check_order(samples, limits)
    for each in measurements_of(samples, limits):
        if each.failure:
            raise ConfigError(f"{each.subject} {each.failure}, which counts as full.")
        if each.is_out_of_reach:
            raise ConfigError(
                f"{each.subject} has {exact_amount(each.total, each.unit)} in all, but its limit requires"
                f" {exact_amount(each.thresholds.resume, each.unit)} free.",
                hint="Lower that limit, or name other paths with --watch.",
            )


def measurements_of(samples: Samples, limits: Limits) -> list[Measurement]:
    """Return what the gate decides on: space and inodes by filesystem, failures, memory if it is limited."""
    found = [each for mount in mounts(samples) for each in _of_mount(mount, limits)]
    found += [_failed(watch.path, failure.reason, limits) for watch, failure in samples.failures]
    return [*found, *_of_memory(samples.memory, limits)]


def _of_mount(mount: Mount, limits: Limits) -> Iterator[Measurement]:
    path, sample = mount.path, mount.sample
    try:
        thresholds = mount.thresholds(limits)
    except ConfigError as exc:  # it appeared after the limits were checked
        yield _failed(path, f"has limits out of order ({exc.message.rstrip('.')})", limits)
        return
    space = Measurement(path, quoted(path), sample.free_bytes, thresholds, path, total=sample.total_bytes)
    yield space
    of_inodes = limits.inode_thresholds(sample.total_inodes)
    if of_inodes.minimum:
        inodes = replace(space, label=f"{path} (inodes)", unit="inodes", thresholds=of_inodes)
        yield replace(inodes, free=sample.free_inodes, total=sample.total_inodes)


def _failed(path: str, reason: str, limits: Limits) -> Measurement:
    full = Thresholds(suspend=1 if limits.suspends else 0, minimum=1, resume=1)
    return Measurement(path, quoted(path), None, full, path, failure=reason)


def _of_memory(memory: Memory, limits: Limits) -> Iterator[Measurement]:
    thresholds = limits.memory_thresholds(memory.total_bytes)
    if thresholds.minimum:
        free, total = memory.available_bytes, memory.total_bytes
        yield Measurement("memory", "The memory", free, thresholds, total=total)
