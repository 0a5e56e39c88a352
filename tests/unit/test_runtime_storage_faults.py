"""Errors of storage that pass by themselves: under supervisord a role waits, by hand it ends."""

import errno
import os

import pytest
from support.rows import each_row

from pcapdj.runtime.errors import CannotCreate
from pcapdj.runtime.storage_faults import passes_by_itself, started_once_writable


def refusal(number: int | None) -> CannotCreate:
    """Return the error that a failed system call has caused; None: a rule has."""
    error = CannotCreate("The folder '/x' cannot be made.")
    error.__cause__ = OSError(number, os.strerror(number)) if number else None
    return error


@each_row(
    ("number", "passes"),
    [
        *((number, True) for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOENT, errno.ESTALE)),
        *((number, False) for number in (errno.EACCES, errno.ENOTDIR, errno.EEXIST, None)),
    ],
)
def test_what_another_look_may_mend_passes_by_itself(number: int | None, passes: bool) -> None:  # noqa: FBT001
    """A full, read-only or missing disk; not a folder of another user, or a file in its place."""
    assert passes_by_itself(refusal(number)) is passes


def test_a_role_of_supervisord_is_started_until_it_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The caller gets what the role returns at last."""
    monkeypatch.setenv("SUPERVISOR_ENABLED", "1")
    failures = [refusal(errno.ENOSPC), refusal(errno.ENOSPC)]

    def start() -> int:
        if failures:
            raise failures.pop()
        return 5

    assert started_once_writable("dispatcher", start) == 5


@pytest.mark.parametrize(("is_supervised", "number"), [(False, errno.ENOSPC), (True, errno.EACCES)])
def test_other_errors_end_the_role(
    is_supervised: bool,  # noqa: FBT001 - a column
    number: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By hand every error does, as scripts expect it."""
    monkeypatch.delenv("SUPERVISOR_ENABLED", raising=False)
    if is_supervised:
        monkeypatch.setenv("SUPERVISOR_ENABLED", "1")

    def start() -> int:
        raise refusal(number)

    with pytest.raises(CannotCreate):
        started_once_writable("dispatcher", start)
