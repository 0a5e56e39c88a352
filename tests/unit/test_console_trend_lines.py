"""The last day of a disk in a few lines: `pcapdj.console.trend_lines`."""

from hypothesis import given
from hypothesis import strategies as st

from pcapdj.console.trend_lines import SPAN_S, trend_lines
from pcapdj.store.samples import Least

NOW_S = 1_700_000_000.0
THIS = int(NOW_S) // SPAN_S  # the half hour's number
MIB = 1 << 20


def least(spans_ago: int, value: int) -> dict[int, Least]:
    """Return the least of a half hour."""
    return {THIS - spans_ago: Least(value, NOW_S - spans_ago * SPAN_S)}


def test_the_least_has_its_time_and_each_half_hour_its_column() -> None:
    """Between the least and the most of the day; a blank where nothing was sampled."""
    spans = least(47, 8 * MIB) | least(2, MIB) | least(1, 4 * MIB) | least(0, 8 * MIB)

    assert trend_lines(spans, "bytes", NOW_S, has_blocks=True) == [
        "least since 2023-11-13T22:43:20Z: 1.0 MiB free at 2023-11-14T21:13:20Z",
        f"[█{' ' * 44}▁▄█]",
        "the least in each half hour, 1.0 MiB to 8.0 MiB",
    ]
    assert trend_lines(spans, "inodes", NOW_S)[1:] == [
        f"[@{' ' * 44}.=@]",
        "the least in each half hour, 1,048,576 to 8,388,608",
    ]


def test_what_did_not_change_has_no_trend_and_what_was_not_sampled_no_line() -> None:
    """A half hour of more than a day ago is not shown."""
    same = least(1, 5) | least(0, 5)

    assert trend_lines(same, "inodes", NOW_S) == [
        "least since 2023-11-14T21:43:20Z: 5 free at 2023-11-14T21:43:20Z"
    ]
    assert len(trend_lines(least(2, 5) | least(0, 6), "inodes", NOW_S)) == 3
    assert len(trend_lines(least(0, 5), "inodes", NOW_S)) == 1
    first_least = least(1, 5) | least(0, 4) | {THIS - 2: Least(4, NOW_S - 9000)}
    assert trend_lines(first_least, "inodes", NOW_S)[0].endswith(" 4 free at 2023-11-14T19:43:20Z")
    assert trend_lines(least(48, 5), "inodes", NOW_S) == trend_lines({}, "bytes", NOW_S) == []


@given(st.dictionaries(st.integers(0, 60), st.integers(0, 1 << 60)))
def test_every_line_fits_into_80_columns(values: dict[int, int]) -> None:
    """Behind two blanks, whatever was sampled, in characters of one column each."""
    spans = {number: each for ago, value in values.items() for number, each in least(ago, value).items()}

    lines = trend_lines(spans, "bytes", NOW_S)

    assert all(len(line) <= 78 and line.isascii() for line in lines)
