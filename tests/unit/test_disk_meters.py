"""Measuring without waiting: `pcapdj.disk.meters`."""

import os
import threading
import time
from pathlib import Path

from support.waiting import wait_until

from pcapdj.disk.limits import Watch
from pcapdj.disk.measurements import FailedMeasurement, Sample
from pcapdj.disk.meters import DiskMeter, PathMeter, Spot, available_memory, sample_of

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


def test_what_cannot_be_written_counts_as_full() -> None:
    """A filesystem turned read-only, and one that is no disk."""
    assert sample_of(found(f_flag=os.ST_RDONLY), 7) == FailedMeasurement("is mounted read-only")
    assert isinstance(sample_of(found(f_blocks=0, f_bavail=0), 7), FailedMeasurement)


def test_a_folder_is_measured(tmp_path: Path) -> None:
    """The numbers are those of its filesystem."""
    sample = Spot(Watch(str(tmp_path))).measure()

    assert isinstance(sample, Sample)
    assert sample.device == tmp_path.stat().st_dev
    assert 0 < sample.free_bytes <= sample.total_bytes


def test_a_missing_path_counts_as_full(tmp_path: Path) -> None:
    """What was named has to be there; when it is, it is measured."""
    spot = Spot(Watch(str(tmp_path / "later")))
    assert spot.measure() == FailedMeasurement("is not there")

    (tmp_path / "later").mkdir()

    assert isinstance(spot.measure(), Sample)


def test_a_default_may_come_later_but_not_go(tmp_path: Path) -> None:
    """Its parent is measured until it was seen once; then its absence is a loss."""
    folder = tmp_path / "out" / "logs"
    spot = Spot(Watch(str(folder), or_parent=True))
    assert isinstance(spot.measure(), Sample)

    folder.mkdir(parents=True)
    assert isinstance(spot.measure(), Sample)
    folder.rmdir()

    assert spot.measure() == FailedMeasurement("is not there")


def test_a_path_through_a_file_is_told(tmp_path: Path) -> None:
    """The kernel's reason is passed on."""
    (tmp_path / "file").touch()

    failure = Spot(Watch(str(tmp_path / "file" / "below"))).measure()

    assert isinstance(failure, FailedMeasurement)
    assert "Not a directory" in failure.reason


def test_a_path_that_hangs_counts_as_full_until_it_answers() -> None:
    """The thread hangs, the caller does not; a late answer is thrown away and a new one asked for."""
    release, started = threading.Event(), threading.Semaphore(0)

    def hang() -> Sample:
        started.release()
        release.wait()
        return SAMPLE

    gauge = PathMeter(hang, "hanging")
    gauge.ask()
    assert gauge.answer(until_s=0) == FailedMeasurement("does not answer")
    gauge.ask()
    assert gauge.answer(until_s=0) == FailedMeasurement("does not answer")
    assert started.acquire(timeout=20)
    assert not started.acquire(blocking=False)

    release.set()

    def answers() -> bool:
        gauge.ask()
        return gauge.answer(until_s=time.monotonic() + 20) == SAMPLE

    wait_until(answers, "the gauge to answer again")


def test_a_round_measures_all_paths_in_order(tmp_path: Path) -> None:
    """One that is missing does not hide another one."""
    watches = [Watch(str(tmp_path / "missing")), Watch(str(tmp_path))]

    measured = DiskMeter(watches).measure()

    assert [watch for watch, _ in measured.paths] == watches
    assert [type(each) for _, each in measured.paths] == [FailedMeasurement, Sample]
    assert 0 < measured.memory.available_bytes < available_memory().total_bytes
