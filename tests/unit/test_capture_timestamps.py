"""Which steps between two files are jumps, and what is said of them."""

import pytest

from pcapdj.capture.timestamps import Jump, jump_of, step_ns

SECOND = 10**9
HOUR = 3600 * SECOND


@pytest.mark.parametrize(
    ("last", "first", "step"),
    [(10, 12, 2), (12, 10, -2), (5, 5, 0), (0, 0, 0), (None, 5, None), (5, None, None), (None, None, None)],
)
def test_a_step_leads_from_the_last_packet_to_the_first(
    last: int | None, first: int | None, step: int | None
) -> None:
    """A file without a file before, or without packets, makes none; the time 0 is a time."""
    assert step_ns(last, first) == step


@pytest.mark.parametrize("step", [-1, -12 * SECOND, -(50 * 365 * 24 * HOUR)])
@pytest.mark.parametrize("max_gap", [0, 1, HOUR])
def test_back_is_a_jump_whatever_the_limit(step: int, max_gap: int) -> None:
    """Be it a nanosecond."""
    assert jump_of(step, max_gap) == Jump(step)


@pytest.mark.parametrize("step", [0, 1, HOUR - 1, HOUR])
def test_forward_up_to_the_limit_is_none(step: int) -> None:
    """The limit itself is allowed."""
    assert jump_of(step, HOUR) is None


def test_forward_beyond_the_limit_is_a_jump() -> None:
    """From a nanosecond more on."""
    assert jump_of(HOUR + 1, HOUR) == Jump(HOUR + 1)


def test_without_a_limit_forward_is_never_a_jump() -> None:
    """0 turns the report of gaps off."""
    assert jump_of(1 << 62, 0) is None


def test_without_a_file_before_there_is_none() -> None:
    """The first file of a stream begins where it likes."""
    assert jump_of(None, HOUR) is None


def test_a_jump_back_asks_for_the_order() -> None:
    """How far, from where, and what may be wrong."""
    jump = Jump(-12 * SECOND)

    assert jump.words == "begins 12 s before the end of the file before"
    assert (
        jump.sentence
        == "Its first packet is 12 s before the last one of the file before: are the files in order?"
    )


def test_a_gap_asks_for_a_missing_file() -> None:
    """As far as people count, not to the nanosecond."""
    jump = Jump(3 * HOUR + 125 * SECOND)

    assert jump.words == "begins 3 h 2 min after the end of the file before"
    assert (
        jump.sentence
        == "Its first packet is 3 h 2 min after the last one of the file before: is a file missing?"
    )
