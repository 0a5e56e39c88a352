"""The keeper: duplicates by key, checked, let go of."""

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


def test_an_entry_replaces_that_of_its_key(source: Path) -> None:
    """Of every key there is one, the last."""
    keeper = DescriptorStore()
    first, second = os.open(source, os.O_RDONLY), os.open(source, os.O_RDONLY)

    keeper.put("file", first, {"n": 1})
    keeper.put("file", second, {"n": 2})

    assert keeper.notes() == (("file", {"n": 2}),)
    assert keeper.descriptors() == (second,)
    assert not is_open(first)
    keeper.close()
    assert not is_open(second)


def test_a_memfd_is_kept() -> None:
    """Converted records come in one."""
    keeper = DescriptorStore()

    keeper.put("batch", os.memfd_create("batch"), {})

    assert keeper.had_records
    keeper.close()


def test_a_header_is_no_record(source: Path) -> None:
    """A stream that got its header alone has nothing to read yet."""
    keeper = DescriptorStore()

    keeper.put("header", os.open(source, os.O_RDONLY), {})

    assert not keeper.had_records
    keeper.close()


def test_had_records_outlives_the_entries(source: Path) -> None:
    """Whether the analyzer got something to read is not forgotten with the entry."""
    keeper = DescriptorStore()
    keeper.put("file", os.open(source, os.O_RDONLY), {})

    keeper.drop("file")
    keeper.drop("file")

    assert keeper.had_records
    assert keeper.notes() == ()


@pytest.mark.parametrize(
    ("path", "flags"),
    [("source", os.O_WRONLY), ("source", os.O_PATH), (".", os.O_RDONLY), ("/dev/zero", os.O_RDONLY)],
)
def test_what_splice_cannot_read_is_refused_and_closed(source: Path, path: str, flags: int) -> None:
    """A folder, a device, a write-only or a mere path descriptor is none of the dispatcher's."""
    keeper = DescriptorStore()
    descriptor = os.open(source.parent / path, flags)

    with pytest.raises(BadMessage):
        keeper.put("file", descriptor, {})

    assert not is_open(descriptor)
    assert keeper.notes() == ()
