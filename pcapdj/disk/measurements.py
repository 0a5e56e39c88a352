"""From what was measured to what the gate reads: grouped by device, limits resolved. Rules only."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pcapdj.disk.gate import Measurement, shown
from pcapdj.disk.limits import Limits, Thresholds, Watch
from pcapdj.runtime.errors import ConfigError
from pcapdj.runtime.safe_text import quoted


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement of a watched path's filesystem.

    Args:
        device: st_dev; paths on one device are one reading.
        free_bytes: what this user may still write (f_bavail).
        total_inodes: 0 where the filesystem has no fixed number of them (btrfs).
    """

    device: int
    free_bytes: int
    total_bytes: int
    free_inodes: int
    total_inodes: int


@dataclass(frozen=True, slots=True)
class FailedMeasurement:
    """Why a watched path could not be measured: `is not there`."""

    reason: str


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory that new work could have without swapping, and all there is."""

    available_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Measured:
    """One round of measuring: for each watch, in order, what came of it; and the memory."""

    paths: tuple[tuple[Watch, Sample | FailedMeasurement], ...]
    memory: Memory


@dataclass(frozen=True, slots=True)
class Mount:
    """The watched paths of one filesystem; its label is the first of them."""

    watches: tuple[Watch, ...]
    sample: Sample

    @property
    def path(self) -> str:
        """The path it is told by."""
        return self.watches[0].path

    def band(self, limits: Limits) -> Thresholds:
        """Return the limits of its free space; of several MIN_FREEs the largest wins.

        Raises:
            ConfigError: typed limits are out of order on it.
        """
        bands = (limits.space_band(watch, self.sample.total_bytes) for watch in self.watches)
        return max(bands, key=lambda band: band.minimum)


def mounts(measured: Measured) -> list[Mount]:
    """Return the filesystems of the paths that could be measured.

    Two folders of one device may have different quotas, which shows in different totals: they stay apart.
    """
    groups: dict[tuple[int, int], list[tuple[Watch, Sample]]] = {}
    for watch, sample in measured.paths:
        if isinstance(sample, Sample):
            groups.setdefault((sample.device, sample.total_bytes), []).append((watch, sample))
    return [Mount(tuple(watch for watch, _ in group), group[0][1]) for group in groups.values()]


def check_order(measured: Measured, limits: Limits) -> None:
    """Refuse limits that are out of order on a filesystem that is there.

    Raises:
        ConfigError: names the path and the numbers.
    """
    for mount in mounts(measured):
        mount.band(limits)


def check_reach(measured: Measured, limits: Limits) -> None:
    """Refuse limits that a gate could never open with: for who cannot change them while it holds.

    Raises:
        ConfigError: names what is too small or cannot be measured, and the numbers.
    """
    check_order(measured, limits)
    for each in readings(measured, limits):
        if each.failure:
            raise ConfigError(f"{each.what} {each.failure}, which counts as full.")
        if each.is_out_of_reach:
            raise ConfigError(
                f"{each.what} has {shown(each.total, each.unit)} in all, and would have to have"
                f" {shown(each.band.resume, each.unit)} free.",
                hint="Lower that limit, or name with --watch which disks the limits are about.",
            )


def readings(measured: Measured, limits: Limits) -> list[Measurement]:
    """Return what the gate reads: space and inodes per filesystem, failures, and memory if limited."""
    found = [reading for mount in mounts(measured) for reading in _of_mount(mount, limits)]
    found += [
        _failed(watch.path, failure.reason, limits)
        for watch, failure in measured.paths
        if isinstance(failure, FailedMeasurement)
    ]
    return found + list(_of_memory(measured.memory, limits))


def _of_mount(mount: Mount, limits: Limits) -> Iterable[Measurement]:
    path, sample = mount.path, mount.sample
    try:
        band = mount.band(limits)
    except ConfigError as exc:  # it appeared after the limits were checked
        yield _failed(path, f"has limits out of order ({exc.message.rstrip('.')})", limits)
        return
    space = Measurement(label=path, what=quoted(path), free=sample.free_bytes, band=band, path=path)
    yield replace(space, total=sample.total_bytes)
    inodes, total = limits.inode_band(sample.total_inodes), sample.total_inodes
    if inodes.minimum:
        label, free = f"{path} (inodes)", sample.free_inodes
        yield replace(space, label=label, free=free, band=inodes, unit="inodes", total=total)


def _failed(path: str, reason: str, limits: Limits) -> Measurement:
    """Return the reading of what counts as full."""
    full = Thresholds(suspend=1 if limits.suspends else 0, minimum=1, resume=1)
    return Measurement(label=path, what=quoted(path), free=None, band=full, path=path, failure=reason)


def _of_memory(memory: Memory, limits: Limits) -> Sequence[Measurement]:
    band = limits.memory_band(memory.total_bytes)
    if not band.minimum:
        return ()
    free, total = memory.available_bytes, memory.total_bytes
    return (Measurement(label="memory", what="The memory", free=free, band=band, total=total),)
