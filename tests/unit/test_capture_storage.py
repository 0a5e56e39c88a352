"""Whose fault it is that a capture cannot be opened: decided on what was recorded and what is found."""

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.rows import each_row

from pcapdj.capture.storage import FileMount, FolderState, StorageFault, is_gone, storage_fault_of

STICK = FileMount(b"/mnt/stick", 51, "boot")
HEALTHY = FolderState(b"ext4", 51, "boot", has_folder=True, has_readable_files=True)
UNMOUNTED = HEALTHY._replace(mount_type=b"", mount_device=7)
ERRORS = st.sampled_from(sorted(errno.errorcode))
FOUND = st.builds(
    FolderState,
    mount_type=st.sampled_from([b"", b"ext4", b"overlay"]),
    mount_device=st.none() | st.integers(0, 3),
    boot=st.just("boot"),
    has_folder=st.booleans(),
    has_readable_files=st.booleans(),
)


@each_row("number", [errno.ENOTCONN, errno.ESTALE, errno.ENODEV, errno.EHOSTDOWN])
@each_row("recorded", [STICK, None], ids=["recorded", "unknown"])
def test_some_errors_mean_that_the_storage_is_gone(number: int, recorded: FileMount | None) -> None:
    """Also for a name that nothing is recorded of: no mistyped name gives these."""
    assert storage_fault_of(number, recorded, HEALTHY) is StorageFault.STORAGE_GONE
    assert is_gone(number)


@each_row("number", [errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EIO])
@each_row(
    "found",
    [
        UNMOUNTED,
        UNMOUNTED._replace(has_folder=False),
        HEALTHY._replace(mount_device=52),
        HEALTHY._replace(mount_device=None),
    ],
    ids=["unmounted", "with its folder", "another disk", "does not answer"],
)
def test_a_file_whose_file_system_is_gone_is_not_at_fault(number: int, found: FolderState) -> None:
    """Whatever the empty folder below the mount point answers."""
    assert storage_fault_of(number, STICK, found) is StorageFault.STORAGE_GONE


def test_a_folder_that_is_gone_from_its_file_system_is_another_case() -> None:
    """A person moved or removed it; with a name that nothing is recorded of, the name is at fault."""
    found = HEALTHY._replace(has_folder=False)

    assert storage_fault_of(errno.ENOENT, STICK, found) is StorageFault.FOLDER_GONE
    assert storage_fault_of(errno.ENOTDIR, STICK, found) is StorageFault.FOLDER_GONE
    assert storage_fault_of(errno.ENOENT, None, found) is StorageFault.FILE


def test_a_file_that_is_missing_from_a_folder_that_is_there_is_at_fault() -> None:
    """So is one that may not be read."""
    assert storage_fault_of(errno.ENOENT, STICK, HEALTHY) is StorageFault.FILE
    assert storage_fault_of(errno.EACCES, STICK, HEALTHY) is StorageFault.FILE


@pytest.mark.parametrize("recorded", [STICK, None], ids=["recorded", "unknown"])
def test_an_io_error_is_a_bad_block_where_other_files_can_be_read(recorded: FileMount | None) -> None:
    """Else the disk is failing as a whole."""
    assert storage_fault_of(errno.EIO, recorded, HEALTHY) is StorageFault.BAD_BLOCK
    assert (
        storage_fault_of(errno.EIO, recorded, HEALTHY._replace(has_readable_files=False))
        is StorageFault.STORAGE_GONE
    )


@pytest.mark.parametrize(
    "found",
    [
        HEALTHY._replace(mount_device=99, boot="later"),
        HEALTHY._replace(mount_type=b"overlay", mount_device=99),
        HEALTHY._replace(mount_type=b"btrfs", mount_device=99),
    ],
    ids=["after a reboot", "overlay", "btrfs"],
)
def test_a_device_number_is_compared_only_where_it_says_something(found: FolderState) -> None:
    """Else a file that was removed would be waited for without end."""
    assert storage_fault_of(errno.ENOENT, STICK, found) is StorageFault.FILE


def test_an_unknown_mount_point_says_nothing() -> None:
    """Where the list of mounts cannot be read."""
    assert storage_fault_of(errno.ENOENT, FileMount(b"", 51, "boot"), UNMOUNTED) is StorageFault.FILE


@given(ERRORS, FOUND)
def test_a_name_that_nothing_is_recorded_of_is_waited_for_only_where_the_system_names_its_storage(
    number: int, found: FolderState
) -> None:
    """A mistyped push must not hold the queue."""
    is_failing = number == errno.EIO and not found.has_readable_files

    fault = storage_fault_of(number, None, found)

    assert fault is not StorageFault.FOLDER_GONE
    assert (fault is StorageFault.STORAGE_GONE) == (is_gone(number) or is_failing), os.strerror(number)
