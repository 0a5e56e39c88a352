"""Whether an analyzer has stopped reading."""

from pcapdj.analyzer.session import StallTimer


def test_an_empty_pipe_is_no_stall() -> None:
    """There is nothing to take, for however long."""
    timer = StallTimer()

    assert [timer.stalled_s(0, "same", now_s) for now_s in (10.0, 20.0, 999.0)] == [0, 0, 0]


def test_the_time_counts_from_the_last_byte_taken() -> None:
    """Unread bytes that neither grow nor shrink, with nothing moved in, were not touched."""
    timer = StallTimer()
    timer.stalled_s(100, (1, 50), 10.0)

    assert timer.stalled_s(100, (1, 50), 15.0) == 5
    assert timer.stalled_s(99, (1, 50), 16.0) == 0
    assert timer.stalled_s(99, (1, 50), 18.0) == 2


def test_a_pipe_that_is_always_full_is_read_if_something_enters_it() -> None:
    """What is filled as fast as it is read shows the same number at each look."""
    timer = StallTimer()
    looks = [timer.stalled_s(1 << 20, (1, position), float(position)) for position in range(1, 100)]

    assert set(looks) == {0}


def test_new_bytes_into_a_pipe_that_had_room_are_no_stall_yet() -> None:
    """The count begins anew with each change, so a stall is never told too early."""
    timer = StallTimer()
    timer.stalled_s(10, (1, 10), 0.0)

    assert timer.stalled_s(20, (1, 20), 50.0) == 0
