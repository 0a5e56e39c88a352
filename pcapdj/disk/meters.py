"""Measuring free space without waiting for a filesystem that hangs.

A dead NFS server or FUSE process can let statvfs(2) hang without end. So each watched path is measured in a
daemon thread of its own; a path that does not answer in time counts as full until it does. Free space is
f_bavail, as psutil.disk_usage has it too; statvfs is called directly because it also has the inodes.

A path that is not there counts as full. The exception is a default path, as the analyzer's log folder, which
the first analyzer makes: until it first exists, its nearest existing parent is measured. A filesystem that
turned read-only counts as full as well. With each sample comes which filesystem it is (`disk.same_disk`).
"""

import os
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import psutil

from pcapdj.disk.limits import Watch
from pcapdj.disk.measurements import NOT_THERE, FailedMeasurement, FileSystem, Memory, Sample, Samples
from pcapdj.runtime.mount_list import boot_id, mounted_source
from pcapdj.runtime.mounts import mount_of

LONGEST_WAIT_S: Final = 0.7  # with one Redis call after it, a role still stops within a second
_UUIDS: Final = Path("/dev/disk/by-uuid")
_BLOCK_BYTES: Final = 512  # where a filesystem reports no fragment size


class WatchedPath:
    """A watched path: measures its filesystem, and remembers whether it existed, and which one it was.

    Args:
        watch: the path; `or_parent` allows its parent until it exists.
    """

    def __init__(self, watch: Watch) -> None:
        self._path = Path(watch.path).absolute()
        self._or_parent = watch.or_parent
        self._measured: tuple[Path, int] | None = None  # the path or its parent, and the device
        self._file_system: FileSystem | None = None  # that of `_measured`

    def measure(self) -> Sample | FailedMeasurement:
        """Measure the path's filesystem now; hangs while that filesystem does."""
        try:
            return self._sample_at(self._measured_path())
        except FileNotFoundError:
            return NOT_THERE
        except OSError as exc:
            return FailedMeasurement(f"cannot be measured ({exc.strerror})")

    def _measured_path(self) -> Path:
        """Return the path or, where that is allowed and it never existed, its nearest existing parent."""
        if not self._or_parent:
            return self._path
        if self._path.exists():
            self._or_parent = False
            return self._path
        return next((parent for parent in self._path.parents if parent.exists()), Path("/"))

    def _sample_at(self, path: Path) -> Sample | FailedMeasurement:
        device = path.stat().st_dev
        sample = sample_of(os.statvfs(path), device)
        if isinstance(sample, FailedMeasurement):
            return sample
        if self._measured != (path, device):
            self._measured, self._file_system = (path, device), file_system_of(path, device)
        return replace(sample, file_system=self._file_system, is_parent=path != self._path)


def file_system_of(path: Path, device: int) -> FileSystem:
    """Return which file system a path is on.

    Args:
        path: absolute.
        device: its st_dev.
    """
    place = mount_of(os.fsencode(path)).place
    source = os.fsdecode(mounted_source(place))
    return FileSystem(device, boot_id(), _uuid_of(source), source, os.fsdecode(place))


def _uuid_of(source: str) -> str:
    """Return the UUID of a block device; empty: it is none, or has none."""
    try:
        return next(
            (link.name for link in _UUIDS.iterdir() if os.path.samefile(link, source)),  # noqa: PTH121 - text
            "",
        )
    except OSError:
        return ""


def sample_of(found: os.statvfs_result, device: int) -> Sample | FailedMeasurement:
    """Return what statvfs(3) found, in bytes; a failure if nothing can be written there."""
    if found.f_flag & os.ST_RDONLY:
        return FailedMeasurement("is mounted read-only")
    if found.f_blocks <= 0:
        return FailedMeasurement("is on no disk: its filesystem has no size")
    unit_bytes = found.f_frsize or found.f_bsize or _BLOCK_BYTES
    return Sample(
        device=device,
        free_bytes=max(0, min(found.f_bavail, found.f_blocks)) * unit_bytes,
        total_bytes=found.f_blocks * unit_bytes,
        free_inodes=max(0, min(found.f_favail, found.f_files)),
        total_inodes=max(0, found.f_files),
    )


class PathMeter:
    """Measures one path in a thread of its own, so that the caller decides how long to wait."""

    def __init__(self, path: WatchedPath, name: str) -> None:
        self._path = path
        self._requests: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._samples: queue.SimpleQueue[Sample | FailedMeasurement] = queue.SimpleQueue()
        self._is_late = False
        self._is_measuring = False
        threading.Thread(target=self._work, name=f"measure {name}", daemon=True).start()

    def begin(self) -> None:
        """Begin a measurement, unless the one before still hangs."""
        if self._is_late and self._take(0) is None:
            return
        if not self._is_measuring:
            self._is_measuring = True
            self._requests.put(None)

    def sample(self, until_s: float) -> Sample | FailedMeasurement:
        """Return the sample of the measurement begun; a path that was late before is not waited for again.

        Args:
            until_s: how long to wait for it, on the monotonic clock.
        """
        wait_s = 0.0 if self._is_late else max(0.0, until_s - time.monotonic())
        found = self._take(wait_s)
        if found is not None:
            return found
        self._is_late = True
        return FailedMeasurement("does not answer")

    def _take(self, wait_s: float) -> Sample | FailedMeasurement | None:
        try:
            found = self._samples.get(timeout=wait_s)
        except queue.Empty:
            return None
        self._is_late = self._is_measuring = False
        return found

    def _work(self) -> None:
        while True:
            self._requests.get()
            self._samples.put(self._path.measure())


class DiskMeter:
    """Measures all watched paths at once, and the memory.

    Args:
        watches: in the order in which they are shown.
        longest_wait_s: how long a round waits for paths that do not answer.
        logdir: the analyzer's log folder, which is measured, too; empty: none.
    """

    def __init__(
        self, watches: Sequence[Watch], longest_wait_s: float = LONGEST_WAIT_S, *, logdir: str = ""
    ) -> None:
        self._longest_wait_s = longest_wait_s
        self.logdir: Final = logdir
        self._meters = [(watch, PathMeter(WatchedPath(watch), watch.path)) for watch in watches]
        is_watched = not logdir or logdir in {watch.path for watch in watches}
        self._output = None if is_watched else PathMeter(WatchedPath(Watch(logdir, or_parent=True)), logdir)

    def measure(self) -> Samples:
        """Return one round of samples, within the longest wait."""
        for meter in (*(meter for _, meter in self._meters), *([self._output] if self._output else [])):
            meter.begin()
        until_s = time.monotonic() + self._longest_wait_s
        paths = tuple((watch, meter.sample(until_s)) for watch, meter in self._meters)
        of_logdir = (sample for watch, sample in paths if watch.path == self.logdir)
        output = self._output.sample(until_s) if self._output else next(of_logdir, None)
        return Samples(paths, available_memory(), output)


def available_memory() -> Memory:
    """Return the memory that the kernel estimates to be available (MemAvailable of proc(5))."""
    memory = psutil.virtual_memory()
    return Memory(memory.available, memory.total)
