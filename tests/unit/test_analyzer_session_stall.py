"""How long an analyzer has read nothing."""

from pcapdj.analyzer.session import StallTimer


def test_an_empty_pipe_is_no_stall() -> None:
    """There is nothing to read."""
    timer = StallTimer()

    assert [timer.stalled_s(0, "same", now_s) for now_s in (10.0, 20.0, 999.0)] == [0, 0, 0]


def test_the_time_counts_from_the_last_byte_read() -> None:
    """Nothing is read while the number of unread bytes stays and no bytes enter."""
    timer = StallTimer()
    timer.stalled_s(100, (1, 50), 10.0)

    assert timer.stalled_s(100, (1, 50), 15.0) == 5
    assert timer.stalled_s(99, (1, 50), 16.0) == 0
    assert timer.stalled_s(99, (1, 50), 18.0) == 2


def test_a_pipe_that_is_always_full_is_read_if_bytes_enter_it() -> None:
    """A pipe that is filled as fast as it is read has the same number of unread bytes each time."""
    timer = StallTimer()
    looks = [timer.stalled_s(1 << 20, (1, position), float(position)) for position in range(1, 100)]

    assert set(looks) == {0}


def test_new_bytes_into_a_pipe_that_had_room_are_no_stall_yet() -> None:
    """The count starts again with each change, so a stall is never reported too early."""
    timer = StallTimer()
    timer.stalled_s(10, (1, 10), 0.0)

    assert timer.stalled_s(20, (1, 20), 50.0) == 0
