"""Measuring how much room there is, without ever waiting for a filesystem that hangs.

A dead NFS server or FUSE process lets statvfs(2) hang for ever. So each watched path has a daemon thread that
measures on request; one that does not answer in time counts as full until it does. Free space is f_bavail, as
psutil.disk_usage has it too; statvfs is called directly because it also has the inodes.

A path that is not there counts as full. An exception is our own default, the analyzer's log folder, which its
first start will make: until it has been seen, its nearest existing parent is measured. A watched mount point
that is no mount any more (it was unmounted, the folder below it shows) and a filesystem that turned read-only
count as full as well.
"""

import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import psutil

from pcapdj.disk.limits import Watch
from pcapdj.disk.measurements import FailedMeasurement, Measured, Memory, Sample

PATIENCE_S: Final = 0.7  # with one Redis call after it a role still stops within a second
_BLOCK_BYTES = 512  # where a filesystem gives no fragment size


class Spot:
    """One watched path and what was seen of it so far.

    Args:
        watch: the path; `or_parent` allows its parent until it exists.
    """

    def __init__(self, watch: Watch) -> None:
        self._path = Path(watch.path).absolute()
        self._or_parent = watch.or_parent
        self._was_mount = False

    def measure(self) -> Sample | FailedMeasurement:
        """Measure the path's filesystem now; may take as long as that filesystem likes."""
        try:
            return self._measured(self._place())
        except FileNotFoundError:
            return FailedMeasurement("is not there")
        except OSError as exc:
            return FailedMeasurement(f"cannot be measured ({exc.strerror})")

    def _place(self) -> Path:
        """Return where to measure: the path, or before it was first seen perhaps a parent of it."""
        if not self._or_parent:
            return self._path
        if self._path.exists():
            self._or_parent = False
            return self._path
        return next((parent for parent in self._path.parents if parent.exists()), Path("/"))

    def _measured(self, place: Path) -> Sample | FailedMeasurement:
        device = place.stat().st_dev
        if place == self._path:
            is_mount = os.path.ismount(place)
            if self._was_mount and not is_mount:
                return FailedMeasurement("is not mounted any more")
            self._was_mount = is_mount
        return sample_of(os.statvfs(place), device)


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
    """Measures in a thread of its own; whoever asks waits as long as it likes.

    Args:
        measure: may block for ever.
        name: of the thread.
    """

    def __init__(self, measure: Callable[[], Sample | FailedMeasurement], name: str) -> None:
        self._measure = measure
        self._asked: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Sample | FailedMeasurement] = queue.SimpleQueue()
        self._is_late = False
        self._is_asked = False
        threading.Thread(target=self._work, name=f"measure {name}", daemon=True).start()

    def ask(self) -> None:
        """Begin a measurement, unless the one before still hangs."""
        if self._is_late and self._take(0) is None:
            return
        if not self._is_asked:
            self._is_asked = True
            self._asked.put(None)

    def answer(self, until_s: float) -> Sample | FailedMeasurement:
        """Return what was measured since `ask`; a path that was late before is not waited for again.

        Args:
            until_s: the end of patience, on the monotonic clock.
        """
        wait_s = 0.0 if self._is_late else max(0.0, until_s - time.monotonic())
        found = self._take(wait_s)
        if found is not None:
            return found
        self._is_late = True
        return FailedMeasurement("does not answer")

    def _take(self, wait_s: float) -> Sample | FailedMeasurement | None:
        try:
            found = self._answers.get(timeout=wait_s)
        except queue.Empty:
            return None
        self._is_late = self._is_asked = False
        return found

    def _work(self) -> None:
        while True:
            self._asked.get()
            self._answers.put(self._measure())


class DiskMeter:
    """Measures all watched paths at once, and the memory.

    Args:
        watches: in the order in which they are told.
        patience_s: how long a round waits for paths that do not answer.
    """

    def __init__(self, watches: Sequence[Watch], patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._gauges = [(watch, PathMeter(Spot(watch).measure, watch.path)) for watch in watches]

    def measure(self) -> Measured:
        """Return one round of measurements; takes no longer than the patience."""
        for _, gauge in self._gauges:
            gauge.ask()
        until_s = time.monotonic() + self._patience_s
        paths = tuple((watch, gauge.answer(until_s)) for watch, gauge in self._gauges)
        return Measured(paths, available_memory())


def available_memory() -> Memory:
    """Return what the kernel estimates that new work could have (MemAvailable of proc(5))."""
    memory = psutil.virtual_memory()
    return Memory(memory.available, memory.total)
