"""What is synced, and when: on real files, with a sync that only takes note."""

from pathlib import Path

import pytest

from pcapdj.store.syncing import AppendOnlyFiles, changed, is_append_only, is_synced


class Disk:
    """A disk that notes what was synced to it, and fails where it is told to."""

    def __init__(self) -> None:
        self.synced: list[str] = []
        self.failing = ""

    def sync(self, descriptor: int) -> None:
        """Take note of the descriptor's file."""
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        if name == self.failing:
            raise OSError(5, "Input/output error", name)
        self.synced.append(name)

    def taken(self) -> set[str]:
        """Return what was synced since the last call."""
        noted, self.synced = set(self.synced), []
        return noted


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


def test_at_first_all_is_synced(data: Path, disk: Disk) -> None:
    """Files and folders; the base file the server has synced itself."""
    assert AppendOnlyFiles(data, disk.sync).sync_changed() is None

    expected = {"redis", "appendonlydir", "appendonly.aof.1.incr.aof", "appendonly.aof.manifest"}
    assert disk.taken() == expected


def test_what_has_not_changed_is_not_synced(data: Path, disk: Disk) -> None:
    """A server at rest costs the disk nothing."""
    files = AppendOnlyFiles(data, disk.sync)
    files.sync_changed()
    disk.taken()

    assert files.sync_changed() is None
    assert disk.taken() == set()


def test_only_the_file_that_grew_is_synced(data: Path, disk: Disk) -> None:
    """Once."""
    files = AppendOnlyFiles(data, disk.sync)
    files.sync_changed()
    disk.taken()

    append(data / "appendonlydir/appendonly.aof.1.incr.aof")

    files.sync_changed()
    assert disk.taken() == {"appendonly.aof.1.incr.aof"}
    files.sync_changed()
    assert disk.taken() == set()


def test_a_rewrite_is_followed(data: Path, disk: Disk) -> None:
    """The new files are synced, and the folder that has their names; what is gone is forgotten."""
    files, folder = AppendOnlyFiles(data, disk.sync), data / "appendonlydir"
    files.sync_changed()
    disk.taken()

    append(folder / "appendonly.aof.2.incr.aof")
    append(folder / "temp-appendonly.aof.manifest")
    (folder / "temp-appendonly.aof.manifest").rename(folder / "appendonly.aof.manifest")
    (folder / "appendonly.aof.1.incr.aof").unlink()

    assert files.sync_changed() is None
    assert disk.taken() == {"appendonlydir", "appendonly.aof.2.incr.aof", "appendonly.aof.manifest"}


def test_the_single_file_of_redis_6_is_synced_and_its_rewrite_followed(tmp_path: Path, disk: Disk) -> None:
    """Another file under the same name is another file, even of the same size."""
    files = AppendOnlyFiles(tmp_path, disk.sync)
    append(tmp_path / "appendonly.aof")
    files.sync_changed()
    assert "appendonly.aof" in disk.taken()

    append(tmp_path / "temp-rewriteaof-bg-7.aof")
    files.sync_changed()
    assert "temp-rewriteaof-bg-7.aof" not in disk.taken()
    (tmp_path / "temp-rewriteaof-bg-7.aof").rename(tmp_path / "appendonly.aof")

    files.sync_changed()
    assert "appendonly.aof" in disk.taken()


def test_what_fails_is_told_and_tried_again_and_the_others_are_synced(data: Path, disk: Disk) -> None:
    """A bad disk ends nothing."""
    files = AppendOnlyFiles(data, disk.sync)
    disk.failing = "appendonly.aof.1.incr.aof"

    failure = files.sync_changed()
    assert failure is not None
    assert failure.errno == 5
    assert "appendonly.aof.manifest" in disk.taken()

    disk.failing = ""
    assert files.sync_changed() is None
    assert disk.taken() == {"appendonly.aof.1.incr.aof"}


def test_a_file_that_is_gone_before_it_is_synced_is_no_failure(data: Path, disk: Disk) -> None:
    """The server replaces files when it likes."""
    gone = data / "appendonlydir/appendonly.aof.manifest"

    def sync(descriptor: int) -> None:
        gone.unlink(missing_ok=True)
        disk.sync(descriptor)

    assert AppendOnlyFiles(data, sync).sync_changed() is None
    assert "appendonly.aof.manifest" not in disk.taken()


def test_a_folder_that_is_gone_is_no_failure(tmp_path: Path) -> None:
    """Whoever removes the server's data ends it, or has."""
    assert AppendOnlyFiles(tmp_path / "redis").sync_changed() is None


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """With what the system says."""
    (tmp_path / "redis").touch()

    assert isinstance(AppendOnlyFiles(tmp_path / "redis").sync_changed(), NotADirectoryError)


def test_the_real_sync_takes_files_and_folders(data: Path) -> None:
    """Descriptors open for reading are enough."""
    assert AppendOnlyFiles(data).sync_changed() is None


def test_changed_is_what_is_new_or_different() -> None:
    """Not what is gone."""
    a, b, c = Path("a"), Path("b"), Path("c")

    assert changed({a: (1, 1, 1), b: (2, 1, 1)}, {b: (2, 2, 1), c: (3, 0, 1)}) == [b, c]
    assert changed({a: (1, 1, 1)}, {a: (1, 1, 1)}) == []
    assert changed({a: (1, 1, 1)}, {}) == []


@pytest.mark.parametrize(
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
def test_the_servers_files_are_known_by_their_names(name: str, is_one: bool) -> None:  # noqa: FBT001 - a column
    """Those that it appends to and leaves to us; it syncs base files and rewrites itself."""
    assert is_append_only(name) is is_one


def test_a_folder_that_nobody_keeps_is_not_synced(tmp_path: Path) -> None:
    """Nor is one that is not there; asking leaves nothing behind."""
    assert not is_synced(tmp_path)
    assert not is_synced(tmp_path)
    assert not is_synced(tmp_path / "missing")
