"""Natural order, the order of first packets, and what is shown where the two contradict each other."""

import tracemalloc

from support.rows import each_row

from pcapdj.inbox.order import (
    given_order_note,
    in_natural_order,
    in_order_of_time,
    name_order_note,
    natural_key,
)


@each_row(
    "names",
    [
        [b"cap1", b"cap2", b"cap10"],
        [b"x.pcap", b"x.pcap1", b"x.pcap2", b"x.pcap10"],
        [b"x.pcap.gz", b"x.pcap1.gz", b"x.pcap10.gz"],
        [b"cap.pcap", b"cap1.pcap", b"cap10.pcap"],
        [b"a_00009_20260101.pcap", b"a_00010_20251231.pcap"],
        [b"/in/d2/z.pcap", b"/in/d10/a.pcap"],
        [b"/in/1/9", b"/in/1/10", b"/in/2/1"],
        [b"\xff9", b"\xff10"],
        [b"1" * 4999 + b"1", b"1" * 4999 + b"2"],
        [b"snort.log.1696000000", b"snort.log.1696003600"],
    ],
    ids=lambda names: names[0][:20].decode("ascii", "replace"),
)
def test_rotated_names_come_in_the_order_they_were_written(names: list[bytes]) -> None:
    """Each usual naming scheme of rotation sorts by its numbers."""
    assert sorted(sorted(names), key=natural_key) == names


def test_names_with_equal_numbers_have_a_fixed_order() -> None:
    """`01` and `1` are the same number; their bytes decide."""
    assert natural_key(b"cap01") != natural_key(b"cap1")


@each_row("name", [b"/in/" + b"1a" * 125, b"/in/" + b"\1" * 250, b"/in/" + b"0" * 250, b"1" * 4000])
def test_names_of_any_form_take_little_memory_while_they_are_sorted(name: bytes) -> None:
    """Whoever may write to a folder chooses the names in it."""
    names = [b"%s%04d" % (name, number) for number in range(1000)]
    tracemalloc.start()
    try:
        found = in_natural_order(reversed(names))
        most_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert found == names
    assert most_bytes < 10 * sum(map(len, names)) + (1 << 18)  # folders that were seen are kept, too


DAY_NS = 86_400 * 10**9


def test_times_decide_and_names_where_they_are_equal() -> None:
    """A file without a packet has no time: it comes last."""
    times = {b"b10": 5, b"b9": 5, b"a": 7, b"c": None}

    by_name = in_natural_order(times)

    assert in_order_of_time(by_name, times) == [b"b9", b"b10", b"a", b"c"]
    assert by_name == [b"a", b"b9", b"b10", b"c"]


@each_row(
    ("times", "shown"),
    [
        ({b"a": 1, b"b": 1, b"c": 2}, ""),
        ({b"a": 1, b"b": None, b"c": 2}, ""),
        (
            {b"a": 1, b"b": 2 * DAY_NS, b"x": None, b"c": DAY_NS},
            "'c' begins 1 d before 'b', which is fed first",
        ),
        ({b"a": 3, b"b": 2, b"c": 1}, "'b' begins 1 ns before 'a', which is fed first"),
    ],
)
def test_a_given_order_that_the_times_contradict_is_shown(times: dict[bytes, int | None], shown: str) -> None:
    """With the first such pair and the distance; files without packets contradict nothing."""
    note = given_order_note(list(times), times)

    assert (shown in note) if shown else (note == "")


@each_row(
    ("names", "is_shown"),
    [
        ((b"r_00001_2023.pcap", b"r_00002_2024.pcap", b"r_00003_1970.pcap"), True),
        ((b"cap9", b"cap10", b"cap11"), True),
        ((b"cap9", b"cap11", b"cap12"), False),
        ((b"r_00001_0930", b"r_00001_1030", b"r_00002_0940"), False),
        ((b"a.pcap", b"b.pcap", b"c.pcap"), False),
        ((b"1", b"2", b"x3"), False),
        ((b"9" * 5000 + b"1", b"9" * 5000 + b"2", b"9" * 5000 + b"3"), True),
    ],
)
def test_a_numbering_without_gap_that_the_times_contradict_is_shown(
    names: tuple[bytes, ...],
    is_shown: bool,  # noqa: FBT001 - a parameter
) -> None:
    """A clock was set back, most likely; where numbers begin anew, or are times, names prove nothing."""
    times = dict(zip(names, (2, 4, 3), strict=True))

    note = name_order_note(names, times)

    assert bool(note) is is_shown
    assert name_order_note(names, dict(zip(names, (2, 3, 4), strict=True))) == ""
    if is_shown:
        assert "begins 1 ns before" in note
        assert "--order name" in note
