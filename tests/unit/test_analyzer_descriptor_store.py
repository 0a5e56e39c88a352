"""Duplicates of descriptors: stored by key, checked, closed."""

import os
from pathlib import Path

import pytest

from pcapdj.analyzer.descriptor_store import DescriptorStore
from pcapdj.launcher_protocol import BadMessage


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a small file."""
    path = tmp_path / "source"
    path.write_bytes(b"0123456789")
    return path


def is_open(descriptor: int) -> bool:
    """Report whether the descriptor is open in this process."""
    return Path(f"/proc/self/fd/{descriptor}").exists()


def test_an_entry_replaces_an_earlier_one_under_its_key(source: Path) -> None:
    """Each key has one entry, and the descriptor of the earlier one is closed."""
    store = DescriptorStore()
    first, second = os.open(source, os.O_RDONLY), os.open(source, os.O_RDONLY)

    store.put("file", first, {"n": 1})
    store.put("file", second, {"n": 2})

    assert store.notes() == (("file", {"n": 2}),)
    assert store.descriptors() == (second,)
    assert not is_open(first)
    store.close()
    assert not is_open(second)


@pytest.mark.parametrize("key", ["header", "note"])
def test_a_memory_file_is_stored_and_has_no_records_yet(key: str) -> None:
    """An analyzer that got its header alone has nothing to flush."""
    store = DescriptorStore()

    store.put(key, os.memfd_create(key), {})

    assert not store.had_records
    assert store.notes() == ((key, {}),)
    store.close()


def test_what_is_taken_from_a_batch_counts_as_movement() -> None:
    """A batch is a pipe; it comes before the first file, and alone is nothing to flush."""
    store, (reader, writer) = DescriptorStore(), os.pipe()
    os.write(writer, b"records")
    store.put("batch-0", reader, {})
    before = store.positions()

    os.read(reader, 1)

    assert store.positions() != before
    assert not store.had_records
    store.close()
    os.close(writer)


def test_a_new_note_counts_as_movement() -> None:
    """Two batches that stand at their ends look the same, however many went through them."""
    store, note = DescriptorStore(), os.memfd_create("note")
    store.put("note", note, {})
    before = store.positions()

    os.pwrite(note, b"\1", 8)

    assert store.positions() != before
    store.close()


def test_had_records_stays_true_without_entries(source: Path) -> None:
    """The analyzer got records, also after their entry was removed."""
    store = DescriptorStore()
    store.put("file", os.open(source, os.O_RDONLY), {})

    store.drop("file")
    store.drop("file")

    assert store.had_records
    assert store.notes() == ()


@pytest.mark.parametrize(
    ("key", "path", "flags"),
    [
        ("file", "source", os.O_WRONLY),
        ("note", "source", os.O_PATH),
        ("batch-0", "source", os.O_RDONLY),
        ("file", ".", os.O_RDONLY),
        ("file", "/dev/zero", os.O_RDONLY),
    ],
)
def test_a_descriptor_that_splice_cannot_read_is_refused_and_closed(
    source: Path, key: str, path: str, flags: int
) -> None:
    """A folder, a device, a file open for writing only; a note open with O_PATH; a batch that is no pipe."""
    store = DescriptorStore()
    descriptor = os.open(source.parent / path, flags)

    with pytest.raises(BadMessage):
        store.put(key, descriptor, {})

    assert not is_open(descriptor)
    assert store.notes() == ()


def test_a_capture_file_may_be_open_with_o_path(source: Path) -> None:
    """Then its file system may hang: it is stored without a look at it, and has no position."""
    store = DescriptorStore()
    descriptor = os.open(source, os.O_PATH)

    store.put("file", descriptor, {"name": "x"})

    assert store.descriptors() == (descriptor,)
    assert store.positions() == (1, b"")
    store.close()
