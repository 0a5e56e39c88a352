"""When a file without an event is complete, and when a batch ends."""

from pcapdj.inbox.settle import (
    BATCH_LIMIT_S,
    QUIET_S,
    SETTLED_S,
    ArrivalBatch,
    FileState,
    extend_batch,
    is_settled,
    updated,
)

STATE = FileState(size_bytes=100, mtime_ns=5)


def test_a_file_settles_ten_seconds_after_the_first_look() -> None:
    """Two looks that find the same state, ten seconds apart, are needed."""
    first = updated(None, STATE, 50.0)

    again = updated(first, STATE, 55.0)

    assert not is_settled(again, 50.0 + SETTLED_S - 0.1)
    assert is_settled(again, 50.0 + SETTLED_S)


def test_a_change_restarts_the_wait() -> None:
    """A file that grew, or whose time changed, has to stay the same for ten seconds from then on."""
    first = updated(None, STATE, 50.0)

    grown = updated(first, FileState(101, 5), 59.0)

    assert not is_settled(grown, 50.0 + SETTLED_S)
    assert not is_settled(grown, 59.0 + SETTLED_S - 0.1)
    assert is_settled(grown, 59.0 + SETTLED_S)


def test_the_age_counts_at_the_first_look_only() -> None:
    """An old file need not wait at the first look at a folder; after a change it has to."""
    old = updated(None, STATE, 50.0, age_s=3600.0)

    changed = updated(old, FileState(101, 5), 51.0, age_s=3600.0)

    assert is_settled(old, 50.0)
    assert not is_settled(changed, 51.0)


def test_a_modification_time_in_the_future_does_not_prolong_the_wait() -> None:
    """A file of a server whose clock is ahead waits ten seconds, too."""
    assert is_settled(updated(None, STATE, 50.0, age_s=-500.0), 50.0 + SETTLED_S)


def test_an_empty_file_never_settles() -> None:
    """Its content has yet to be written."""
    assert not is_settled(updated(None, FileState(0, 5), 0.0), 1e9)


def test_a_batch_ends_after_a_pause() -> None:
    """Each arrival prolongs the batch."""
    batch = extend_batch(extend_batch(None, 10.0), 10.1)

    assert batch.ends_s == 10.1 + QUIET_S


def test_a_batch_without_a_pause_ends_at_its_limit() -> None:
    """Files of a busy folder do not wait for ever."""
    assert ArrivalBatch(10.0, 99.0).ends_s == 10.0 + BATCH_LIMIT_S
