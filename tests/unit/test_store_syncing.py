"""Which files are synced, and when: on real files, with a sync that records what it is called for."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.rows import each_row

from pcapdj.runtime.errors import CannotCreate
from pcapdj.store.syncing import (
    AppendOnlyFiles,
    changed,
    is_append_only,
    is_synced,
    lock_data,
    start_beside,
)


class Disk:
    """A disk that records which files were synced, and fails for one of them."""

    def __init__(self) -> None:
        self.synced: list[str] = []
        self.failing = ""

    def sync(self, descriptor: int) -> None:
        """Record the descriptor's file."""
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        if name == self.failing:
            raise OSError(5, "Input/output error", name)
        self.synced.append(name)

    def synced_since(self) -> set[str]:
        """Return the files that were synced since the last call."""
        names, self.synced = set(self.synced), []
        return names


@pytest.fixture
def disk() -> Disk:
    """Return a disk."""
    return Disk()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a data folder as Redis 7 and Valkey have it."""
    folder = tmp_path / "redis"
    (folder / "appendonlydir").mkdir(parents=True)
    for name in ("appendonly.aof.1.incr.aof", "appendonly.aof.manifest", "appendonly.aof.1.base.rdb"):
        (folder / "appendonlydir" / name).write_bytes(b"*1")
    return folder


def append(path: Path) -> None:
    """Append to a file, as a server does."""
    with path.open("ab") as file:
        file.write(b"$4")


def open_descriptors() -> set[str]:
    """Return the numbers of this process's open descriptors."""
    found = list(Path("/proc/self/fd").iterdir())
    return {link.name for link in found if link.is_symlink()}  # without the one that listed them


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    """Let every further open fail with EMFILE: the soft limit is what is open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_first_call_syncs_every_file_and_folder(data: Path, disk: Disk) -> None:
    """But not the base file, which the server has synced by itself."""
    assert AppendOnlyFiles(data, disk.sync).sync_changed() is None

    expected = {"redis", "appendonlydir", "appendonly.aof.1.incr.aof", "appendonly.aof.manifest"}
    assert disk.synced_since() == expected


def test_unchanged_files_are_not_synced(data: Path, disk: Disk) -> None:
    """A server at rest causes no write to the disk."""
    files = AppendOnlyFiles(data, disk.sync)
    files.sync_changed()
    disk.synced_since()

    assert files.sync_changed() is None
    assert disk.synced_since() == set()


def test_only_the_file_that_grew_is_synced(data: Path, disk: Disk) -> None:
    """Once for each change."""
    files = AppendOnlyFiles(data, disk.sync)
    files.sync_changed()
    disk.synced_since()

    append(data / "appendonlydir/appendonly.aof.1.incr.aof")

    files.sync_changed()
    assert disk.synced_since() == {"appendonly.aof.1.incr.aof"}
    files.sync_changed()
    assert disk.synced_since() == set()


def test_the_files_of_a_rewrite_are_synced(data: Path, disk: Disk) -> None:
    """The new files, and the folder that lists them; removed files are not an error."""
    files, folder = AppendOnlyFiles(data, disk.sync), data / "appendonlydir"
    files.sync_changed()
    disk.synced_since()

    append(folder / "appendonly.aof.2.incr.aof")
    append(folder / "temp-appendonly.aof.manifest")
    (folder / "temp-appendonly.aof.manifest").rename(folder / "appendonly.aof.manifest")
    (folder / "appendonly.aof.1.incr.aof").unlink()

    assert files.sync_changed() is None
    assert disk.synced_since() == {"appendonlydir", "appendonly.aof.2.incr.aof", "appendonly.aof.manifest"}


def test_the_single_file_of_redis_6_is_synced_and_so_is_its_rewrite(tmp_path: Path, disk: Disk) -> None:
    """A new inode under the same name counts as changed, even if its size is the same."""
    files = AppendOnlyFiles(tmp_path, disk.sync)
    append(tmp_path / "appendonly.aof")
    files.sync_changed()
    assert "appendonly.aof" in disk.synced_since()

    append(tmp_path / "temp-rewriteaof-bg-7.aof")
    files.sync_changed()
    assert "temp-rewriteaof-bg-7.aof" not in disk.synced_since()
    (tmp_path / "temp-rewriteaof-bg-7.aof").rename(tmp_path / "appendonly.aof")

    files.sync_changed()
    assert "appendonly.aof" in disk.synced_since()


def test_a_failed_sync_is_returned_and_retried_while_the_other_files_are_synced(
    data: Path, disk: Disk
) -> None:
    """A bad block does not keep the rest from the disk."""
    files = AppendOnlyFiles(data, disk.sync)
    disk.failing = "appendonly.aof.1.incr.aof"

    failure = files.sync_changed()
    assert failure is not None
    assert failure.errno == 5
    assert "appendonly.aof.manifest" in disk.synced_since()

    disk.failing = ""
    assert files.sync_changed() is None
    assert disk.synced_since() == {"appendonly.aof.1.incr.aof"}


def test_a_file_that_is_removed_before_it_is_synced_is_not_a_failure(data: Path, disk: Disk) -> None:
    """The server may replace a file at any moment."""
    gone = data / "appendonlydir/appendonly.aof.manifest"

    def sync(descriptor: int) -> None:
        gone.unlink(missing_ok=True)
        disk.sync(descriptor)

    assert AppendOnlyFiles(data, sync).sync_changed() is None
    assert "appendonly.aof.manifest" not in disk.synced_since()


def test_a_missing_folder_is_not_a_failure(tmp_path: Path) -> None:
    """There is nothing to sync."""
    assert AppendOnlyFiles(tmp_path / "redis").sync_changed() is None


def test_a_folder_that_cannot_be_read_is_a_failure(tmp_path: Path) -> None:
    """The error of the system call is returned, and the next call tries again."""
    (tmp_path / "redis").touch()

    assert isinstance(AppendOnlyFiles(tmp_path / "redis").sync_changed(), NotADirectoryError)


def test_fsync_accepts_files_and_folders(data: Path) -> None:
    """Descriptors that are open for reading are enough."""
    assert AppendOnlyFiles(data).sync_changed() is None


def test_new_and_different_files_count_as_changed() -> None:
    """Removed ones do not."""
    a, b, c = Path("a"), Path("b"), Path("c")

    assert changed({a: (1, 1, 1), b: (2, 1, 1)}, {b: (2, 2, 1), c: (3, 0, 1)}) == [b, c]
    assert changed({a: (1, 1, 1)}, {a: (1, 1, 1)}) == []
    assert changed({a: (1, 1, 1)}, {}) == []


@each_row(
    ("name", "is_one"),
    [
        ("appendonly.aof", True),
        ("appendonly.aof.17.incr.aof", True),
        ("appendonly.aof.manifest", True),
        ("appendonly.aof.1.base.rdb", False),
        ("temp-rewriteaof-12.aof", False),
        ("temp-appendonly.aof.manifest", False),
        ("dump.rdb", False),
        ("written-by", False),
    ],
)
def test_append_only_files_are_recognised_by_their_names(name: str, is_one: bool) -> None:  # noqa: FBT001 - a column
    """The server syncs base files and unfinished rewrites by itself."""
    assert is_append_only(name) is is_one


def test_a_folder_without_a_companion_is_not_synced(tmp_path: Path) -> None:
    """Nor is a missing one; the question leaves no lock behind."""
    assert not is_synced(tmp_path)
    assert not is_synced(tmp_path)
    assert not is_synced(tmp_path / "missing")


@pytest.mark.parametrize("failing", ["", "appendonly.aof.1.incr.aof", "redis"])
def test_syncing_leaves_no_descriptor_open(data: Path, disk: Disk, failing: str) -> None:
    """Neither after a sync nor after one that fails: the companion runs for months."""
    files, before = AppendOnlyFiles(data, disk.sync), open_descriptors()
    disk.failing = failing

    for _ in range(20):
        append(data / "appendonlydir/appendonly.aof.1.incr.aof")
        files.sync_changed()

    assert len(disk.synced) >= 20 or failing
    assert not open_descriptors() - before


def test_without_descriptors_the_sync_fails_and_the_next_call_repeats_it(data: Path, disk: Disk) -> None:
    """EMFILE is returned like any other error."""
    files = AppendOnlyFiles(data, disk.sync)

    with no_more_descriptors():
        failure = files.sync_changed()

    assert failure is not None
    assert failure.strerror == "Too many open files"
    assert files.sync_changed() is None
    assert "appendonly.aof.1.incr.aof" in disk.synced_since()


def test_locking_and_asking_leave_no_other_descriptor_open(data: Path) -> None:
    """`lock_data` returns the only one; `is_synced` closes its own, locked or not."""
    before = open_descriptors()
    assert not is_synced(data)
    folder = lock_data(data)

    assert is_synced(data)
    assert open_descriptors() - before == {str(folder)}
    os.close(folder)
    assert not is_synced(data)


def test_a_data_folder_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    """Missing, or not a folder; with the system's reason."""
    (tmp_path / "file").touch()

    with pytest.raises(CannotCreate, match=r"missing' cannot be used: No such file or directory\."):
        lock_data(tmp_path / "missing")
    with pytest.raises(CannotCreate, match=r"file' cannot be used: Not a directory\."):
        lock_data(tmp_path / "file")


def test_a_companion_that_gets_no_pidfd_is_reported_and_the_folder_unlocked(data: Path) -> None:
    """Then the server syncs by itself; no descriptor is left open."""
    before, folder = open_descriptors(), lock_data(data)

    with no_more_descriptors():
        has_started = start_beside(data, folder, data)

    assert not has_started
    assert not open_descriptors() - before
    assert not is_synced(data)
