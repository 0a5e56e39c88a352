"""Which gaps between two files are jumps, and how they are reported."""

from support.rows import each_row

from pcapdj.capture.timestamps import TimestampJump, find_jump, gap_ns

SECOND = 10**9
HOUR = 3600 * SECOND


@each_row(
    ("last", "first", "gap"),
    [(10, 12, 2), (12, 10, -2), (5, 5, 0), (0, 0, 0), (None, 5, None), (5, None, None), (None, None, None)],
)
def test_a_gap_is_the_time_from_the_last_packet_to_the_first(
    last: int | None, first: int | None, gap: int | None
) -> None:
    """None without a previous file or without packets; timestamp 0 is valid."""
    assert gap_ns(last, first) == gap


@each_row("gap", [-1, -12 * SECOND, -(50 * 365 * 24 * HOUR)])
@each_row("max_gap", [0, 1, HOUR])
def test_back_is_a_jump_whatever_the_limit(gap: int, max_gap: int) -> None:
    """Even by one nanosecond."""
    assert find_jump(gap, max_gap) == TimestampJump(gap)


@each_row("gap", [0, 1, HOUR - 1, HOUR])
def test_forward_up_to_the_limit_is_no_jump(gap: int) -> None:
    """The limit itself is allowed."""
    assert find_jump(gap, HOUR) is None


def test_forward_beyond_the_limit_is_a_jump() -> None:
    """By one nanosecond or more."""
    assert find_jump(HOUR + 1, HOUR) == TimestampJump(HOUR + 1)


def test_without_a_limit_forward_is_never_a_jump() -> None:
    """0 turns the report of gaps off."""
    assert find_jump(1 << 62, 0) is None


def test_without_a_previous_file_there_is_no_jump() -> None:
    """The first file of a stream has no gap."""
    assert find_jump(None, HOUR) is None


def test_a_jump_back_asks_for_the_order() -> None:
    """How far, from where, and the likely reason."""
    jump = TimestampJump(-12 * SECOND)

    assert jump.description == "begins 12 s before the end of the previous file"
    assert jump.message == (
        "Its first packet is 12 s before the last packet of the previous file: are the files in order?"
    )


def test_a_long_gap_asks_for_a_missing_file() -> None:
    """Rounded for people, not to the nanosecond."""
    jump = TimestampJump(3 * HOUR + 125 * SECOND)

    assert jump.description == "begins 3 h 2 min after the end of the previous file"
    assert jump.message == (
        "Its first packet is 3 h 2 min after the last packet of the previous file: is a file missing?"
    )
