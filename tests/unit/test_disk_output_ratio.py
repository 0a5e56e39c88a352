"""How much output a lane writes per byte of a capture file, as PCAPDJ_OUTPUT has it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.rows import each_row

from pcapdj.disk.output_ratio import (
    FEWEST_GROUPS,
    GROUP_BYTES,
    MOST_GROUPS,
    FileGroup,
    OutputGrowth,
    OutputRatios,
    ReserveFactor,
    parse_reserve,
)
from pcapdj.runtime.errors import ConfigError

sizes = st.integers(GROUP_BYTES, 1 << 40)


def groups(*outputs: float, files: int = 1) -> tuple[FileGroup, ...]:
    """Return groups with these ratios."""
    return tuple(FileGroup(GROUP_BYTES, int(each * GROUP_BYTES), files) for each in outputs)


def test_a_factor_auto_and_off_are_what_may_be_typed() -> None:
    """Without case and blanks; 0 is off."""
    assert parse_reserve("2.5") == ReserveFactor(2.5)
    assert parse_reserve(" AUTO ") == ReserveFactor(is_learned=True)
    assert parse_reserve("off").is_off
    assert parse_reserve("0.0").is_off
    assert not parse_reserve("auto").is_off


@each_row("text", ["-1", "1001", "nan", "inf", "10%", "2 GiB", "yes"])
def test_anything_else_is_refused_with_what_may_be_typed(text: str) -> None:
    """A size or a share is none: the output depends on the file."""
    with pytest.raises(ConfigError, match=r"is no factor\. Write auto, off, or output bytes"):
        parse_reserve(text)


def test_the_groups_are_parsed() -> None:
    """One that is not full yet is left out; the two kinds are apart."""
    ratios = OutputRatios.parse(b"1048576/300/2 2000000/0/1 1048575/9/9", b"3000000/7/1")

    assert ratios.plain == (FileGroup(1 << 20, 300, 2), FileGroup(2_000_000, 0, 1))
    assert ratios.compressed == (FileGroup(3_000_000, 7, 1),)


@each_row(
    "text",
    [
        b"",
        b" ",
        b"x",
        b"2000000/5",
        b"2000000/5/1/1",
        b"2000000/-1/1",
        b"inf/5/1",
        b"/".join([b"9" * 500] * 3),
    ],
)
def test_what_another_program_wrote_is_left_out(text: bytes) -> None:
    """The valid groups beside it count."""
    assert OutputRatios.parse(text, text + b" 2000000/5/1").compressed == (FileGroup(2_000_000, 5, 1),)
    assert OutputRatios.parse(text, b"").plain == ()


@given(text=st.binary(max_size=80))
def test_no_text_makes_parsing_fail(text: bytes) -> None:
    """A learned ratio is finite."""
    assert OutputRatios.parse(text, text).of(is_compressed=True) is None


def test_the_ratio_is_the_median_so_one_file_that_is_far_off_changes_nothing() -> None:
    """A person copied something onto the disk while it was fed."""
    assert OutputRatios(groups(2, 3, 500)).of(is_compressed=False).factor == 3  # type: ignore[union-attr]  # it is learned


def test_until_there_are_three_groups_nothing_is_learned() -> None:
    """Then from all of their files."""
    enough = OutputRatios(groups(*[2.0] * FEWEST_GROUPS, files=2)).of(is_compressed=False)

    assert OutputRatios(groups(*[2.0] * (FEWEST_GROUPS - 1), files=90)).of(is_compressed=False) is None
    assert enough is not None
    assert (enough.factor, enough.files) == (2, FEWEST_GROUPS * 2)


def test_compressed_files_have_a_ratio_of_their_own() -> None:
    """A byte of them is several of a capture."""
    both = OutputRatios(groups(1, 1, 1), groups(9, 9, 9))

    assert [both.of(is_compressed=each).factor for each in (False, True)] == [1, 9]  # type: ignore[union-attr]  # both are learned


def test_the_newest_groups_count() -> None:
    """Another program may have written more of them."""
    ratios = OutputRatios(groups(*[9.0] * 50, *[2.0] * MOST_GROUPS))

    assert ratios.of(is_compressed=False).factor == 2  # type: ignore[union-attr]  # it is learned


@given(found=st.lists(st.builds(FileGroup, sizes, sizes, st.integers(1, 9)), max_size=60))
def test_a_learned_ratio_lies_between_those_of_the_groups(found: list[FileGroup]) -> None:
    """Whatever they are."""
    ratios = [each.output_bytes / each.input_bytes for each in found]

    if learned := OutputRatios(tuple(found)).of(is_compressed=False):
        assert min(ratios) * 0.999 <= learned.factor <= max(ratios) * 1.001
        assert FEWEST_GROUPS <= learned.files <= sum(each.files for each in found)


@given(frees=st.lists(st.tuples(st.integers(0, 1000), st.booleans()), max_size=30))
def test_the_growth_counts_what_fills_the_disk_while_files_are_fed(frees: list[tuple[int, bool]]) -> None:
    """What is deleted is not taken off: it is not the output that is smaller then."""
    growth, last, expected = OutputGrowth(), None, 0
    for free, is_counted in frees:
        growth = growth.after(1, free, is_counted=is_counted)
        expected += max(0, last - free) if is_counted and last is not None else 0
        last = free

    assert growth.total_bytes == expected


def test_another_disk_begins_anew_and_a_restart_goes_on() -> None:
    """The difference between two disks is no output."""
    growth = OutputGrowth().after(1, 1000, is_counted=True).after(2, 10, is_counted=True)

    assert growth.total_bytes == 0
    assert growth.after(2, 4, is_counted=True).with_published("100").total_bytes == 106
    assert growth.with_published("\u00e9" * 30).total_bytes == 0
