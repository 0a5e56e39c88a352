"""How long a writer lets a pipe be: while it is full, and while it drains."""

import pytest
from support.rows import each_row

from pcapdj.feed.pipe import next_pause_ms, next_poll_s

SIZE = 1 << 20


def test_an_analyzer_that_takes_little_gets_longer_pauses_up_to_16_ms() -> None:
    """From none on they double."""
    pauses = [0]
    while len(pauses) < 8:
        pauses.append(next_pause_ms(pauses[-1], SIZE - 4096, SIZE))

    assert pauses == [0, 1, 2, 4, 8, 16, 16, 16]


@each_row(("before", "after"), [(16, 8), (2, 1), (1, 0), (0, 0)])
def test_an_analyzer_that_empties_the_pipe_gets_shorter_pauses_down_to_none(before: int, after: int) -> None:
    """It must never wait for us longer than for one wake-up."""
    assert next_pause_ms(before, 0, SIZE) == after


@pytest.mark.parametrize("unread_eighths", [5, 6, 7])
def test_a_pause_in_which_about_a_quarter_of_the_pipe_is_read_stays(unread_eighths: int) -> None:
    """Neither side waits for the other then."""
    assert next_pause_ms(4, SIZE // 8 * unread_eighths, SIZE) == 4


def test_the_first_look_at_a_draining_pipe_is_soon() -> None:
    """Nothing is known of the analyzer's pace yet."""
    assert next_poll_s(0.0005, 0, 100) == pytest.approx(0.00075)


def test_a_pipe_is_looked_at_again_after_half_of_the_time_that_its_rest_will_take() -> None:
    """Each look measures the pace better; the last ones come every half millisecond."""
    assert next_poll_s(0.002, 1000, 4000) == pytest.approx(0.004)
    assert next_poll_s(0.002, 1000, 10) == pytest.approx(0.0005)


def test_a_pipe_without_progress_is_polled_every_10_ms() -> None:
    """As long as nothing is taken."""
    assert next_poll_s(0.01, 0, 4000) == pytest.approx(0.01)
    assert next_poll_s(0.01, 1, 1 << 20) == pytest.approx(0.01)
