"""When a file that no event announced is complete, and when a batch is over."""

from pcapdj.inbox.settle import (
    BATCH_LIMIT_S,
    QUIET_S,
    SETTLED_S,
    Batch,
    FileState,
    is_settled,
    joined,
    seen,
)

STATE = FileState(size_bytes=100, mtime_ns=5)


def test_a_file_settles_ten_seconds_after_the_first_look() -> None:
    """Two looks of the same kind, far enough apart, are needed."""
    first = seen(None, STATE, 50.0)

    again = seen(first, STATE, 55.0)

    assert not is_settled(again, 50.0 + SETTLED_S - 0.1)
    assert is_settled(again, 50.0 + SETTLED_S)


def test_a_change_starts_the_wait_anew() -> None:
    """A file that grew, or whose time changed, has to be quiet for ten seconds from then on."""
    first = seen(None, STATE, 50.0)

    grown = seen(first, FileState(101, 5), 59.0)

    assert not is_settled(grown, 50.0 + SETTLED_S)
    assert is_settled(grown, 59.0 + SETTLED_S)


def test_age_counts_at_the_first_look_only() -> None:
    """An old file need not wait when the folder is seen for the first time; a change takes that away."""
    old = seen(None, STATE, 50.0, credit_s=3600.0)

    changed = seen(old, FileState(101, 5), 51.0, credit_s=3600.0)

    assert is_settled(old, 50.0)
    assert not is_settled(changed, 51.0)


def test_a_time_in_the_future_gives_no_debt() -> None:
    """A file whose clock runs ahead waits ten seconds, not longer."""
    assert is_settled(seen(None, STATE, 50.0, credit_s=-500.0), 50.0 + SETTLED_S)


def test_an_empty_file_never_settles() -> None:
    """A file of no bytes has yet to be written."""
    assert not is_settled(seen(None, FileState(0, 5), 0.0), 1e9)


def test_a_batch_ends_when_it_is_quiet() -> None:
    """Each arrival prolongs the batch."""
    batch = joined(joined(None, 10.0), 10.1)

    assert batch.ends_s == 10.1 + QUIET_S


def test_a_batch_ends_though_it_never_gets_quiet() -> None:
    """A busy folder cannot hold its files back for ever."""
    assert Batch(10.0, 99.0).ends_s == 10.0 + BATCH_LIMIT_S
