"""Measuring without waiting for a filesystem that hangs: `pcapdj.disk.meters`."""

import os
import threading
import time
from pathlib import Path

from support.waiting import wait_until

from pcapdj.disk.limits import Watch
from pcapdj.disk.measurements import FailedMeasurement, Sample
from pcapdj.disk.meters import DiskMeter, PathMeter, WatchedPath, available_memory, sample_of

SAMPLE = Sample(device=1, free_bytes=2, total_bytes=3, free_inodes=4, total_inodes=5)


def found(**changes: int) -> os.statvfs_result:
    """Return a statvfs result of 100 blocks of 4 KiB, changed in these fields."""
    fields = {
        "f_bsize": 1 << 20,
        "f_frsize": 4096,
        "f_blocks": 100,
        "f_bfree": 60,
        "f_bavail": 50,
        "f_files": 10,
        "f_ffree": 9,
        "f_favail": 8,
        "f_flag": 0,
        "f_namemax": 255,
    }
    return os.statvfs_result(tuple({**fields, **changes}.values()))


def test_free_is_what_we_may_still_write() -> None:
    """f_bavail counts, not f_bfree; the unit is the fragment, not the block."""
    assert sample_of(found(), 7) == Sample(7, 50 * 4096, 100 * 4096, 8, 10)


def test_a_filesystem_without_inodes_reports_none() -> None:
    """Btrfs has no fixed number of them."""
    none = sample_of(found(f_files=0, f_favail=0), 7)

    assert isinstance(none, Sample)
    assert none.total_inodes == 0


def test_a_filesystem_that_cannot_be_written_counts_as_full() -> None:
    """One that turned read-only, and one without a size, as /proc."""
    assert sample_of(found(f_flag=os.ST_RDONLY), 7) == FailedMeasurement("is mounted read-only")
    assert isinstance(sample_of(found(f_blocks=0, f_bavail=0), 7), FailedMeasurement)


def test_a_folder_is_measured(tmp_path: Path) -> None:
    """The numbers are those of its filesystem."""
    sample = WatchedPath(Watch(str(tmp_path))).measure()

    assert isinstance(sample, Sample)
    assert sample.device == tmp_path.stat().st_dev
    assert 0 < sample.free_bytes <= sample.total_bytes


def test_a_missing_path_counts_as_full(tmp_path: Path) -> None:
    """A named path has to be there; once it is, it is measured."""
    watched = WatchedPath(Watch(str(tmp_path / "later")))
    assert watched.measure() == FailedMeasurement("is not there")

    (tmp_path / "later").mkdir()

    assert isinstance(watched.measure(), Sample)


def test_a_default_path_may_appear_later_but_not_disappear(tmp_path: Path) -> None:
    """Its parent is measured until it was seen once; then its absence is a loss."""
    folder = tmp_path / "out" / "logs"
    watched = WatchedPath(Watch(str(folder), or_parent=True))
    assert isinstance(watched.measure(), Sample)

    folder.mkdir(parents=True)
    assert isinstance(watched.measure(), Sample)
    folder.rmdir()

    assert watched.measure() == FailedMeasurement("is not there")


def test_another_failure_has_the_reason_of_the_kernel(tmp_path: Path) -> None:
    """A path through a regular file."""
    (tmp_path / "file").touch()

    failure = WatchedPath(Watch(str(tmp_path / "file" / "below"))).measure()

    assert isinstance(failure, FailedMeasurement)
    assert "Not a directory" in failure.reason


class HangingPath(WatchedPath):
    """A path on a filesystem that hangs, as of a dead NFS server, until it is released."""

    def __init__(self) -> None:
        super().__init__(Watch("/hanging"))
        self.release, self.started = threading.Event(), threading.Semaphore(0)

    def measure(self) -> Sample:
        """Hang until the test releases it."""
        self.started.release()
        self.release.wait()
        return SAMPLE


def test_a_path_that_hangs_counts_as_full_until_it_answers() -> None:
    """The thread hangs, the caller does not; a late sample is dropped and a new one is taken."""
    path = HangingPath()
    meter = PathMeter(path, "hanging")
    meter.begin()
    assert meter.sample(until_s=0) == FailedMeasurement("does not answer")
    meter.begin()
    assert meter.sample(until_s=0) == FailedMeasurement("does not answer")
    assert path.started.acquire(timeout=20)
    assert not path.started.acquire(blocking=False)

    path.release.set()

    def answers() -> bool:
        meter.begin()
        return meter.sample(until_s=time.monotonic() + 20) == SAMPLE

    wait_until(answers, "the path to be measured again")


def test_a_path_that_hangs_is_waited_for_once() -> None:
    """A controller with a dead NFS mount must not lose the whole wait in each of its rounds."""
    path = HangingPath()
    meter = PathMeter(path, "hanging")
    meter.begin()
    begun_s = time.monotonic()
    assert meter.sample(until_s=begun_s + 0.2) == FailedMeasurement("does not answer")
    assert time.monotonic() - begun_s >= 0.2

    begun_s = time.monotonic()
    for _ in range(3):
        meter.begin()
        assert meter.sample(until_s=time.monotonic() + 20) == FailedMeasurement("does not answer")

    assert time.monotonic() - begun_s < 20
    path.release.set()


def test_a_round_measures_all_paths_in_order(tmp_path: Path) -> None:
    """One that is missing does not hide another one."""
    watches = [Watch(str(tmp_path / "missing")), Watch(str(tmp_path))]

    measured = DiskMeter(watches).measure()

    assert [watch for watch, _ in measured.paths] == watches
    assert [type(each) for _, each in measured.paths] == [FailedMeasurement, Sample]
    assert 0 < measured.memory.available_bytes < available_memory().total_bytes
