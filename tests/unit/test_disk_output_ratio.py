"""How much output a lane writes per byte of a capture file, as the journal shows it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcapdj.disk.output_ratio import (
    FEWEST_GROUPS,
    GROUP_BYTES,
    FinishedFile,
    OutputGrowth,
    OutputRatios,
    ReserveFactor,
    finished_file,
    parse_reserve,
)
from pcapdj.runtime.errors import ConfigError

ENTRY = {b"verdict": b"processed", b"attempt": b"1", b"size_bytes": b"1000", b"output_bytes": b"300"}
sizes = st.integers(1, 1 << 40)


def fed(*outputs: float, input_bytes: int = GROUP_BYTES, is_compressed: bool = False) -> OutputRatios:
    """Return files of one size, with these ratios."""
    files = [FinishedFile(input_bytes, int(each * input_bytes), is_compressed) for each in outputs]
    return OutputRatios().after(files)


def test_a_factor_auto_and_off_are_what_may_be_typed() -> None:
    """Without case and blanks; 0 is off."""
    assert parse_reserve("2.5") == ReserveFactor(2.5)
    assert parse_reserve(" AUTO ") == ReserveFactor(is_learned=True)
    assert parse_reserve("off").is_off
    assert parse_reserve("0.0").is_off
    assert not parse_reserve("auto").is_off


@pytest.mark.parametrize("text", ["-1", "1001", "nan", "inf", "10%", "2 GiB", "yes"])
def test_anything_else_is_refused_with_what_may_be_typed(text: str) -> None:
    """A size or a share is none: the output depends on the file."""
    with pytest.raises(ConfigError, match=r"is no factor\. Write auto, off, or output bytes"):
        parse_reserve(text)


def test_a_file_that_was_fed_whole_and_at_once_is_learned_from() -> None:
    """With its size on the disk, and whether that is compressed."""
    assert finished_file(ENTRY) == FinishedFile(1000, 300)
    assert finished_file(ENTRY | {b"compression": b"zstd"}) == FinishedFile(1000, 300, is_compressed=True)


@pytest.mark.parametrize(
    "fields",
    [
        {b"verdict": b"failed"},
        {b"attempt": b"2"},
        {b"known_as": b"/in/1"},
        {b"begin_bytes": b"500"},
        {b"earlier_streams": b'["a"]'},
        {b"output_bytes": b""},
        {b"output_bytes": b"-1"},
        {b"output_bytes": b"inf"},
        {b"size_bytes": b"0"},
        {b"size_bytes": b"x" * 5000},
    ],
    ids=str,
)
def test_nothing_is_learned_from_other_entries(fields: dict[bytes, bytes]) -> None:
    """Their output is that of something else, or unknown; another program may have written anything."""
    assert finished_file(ENTRY | fields) is None


def test_the_ratio_is_the_median_so_one_file_that_is_far_off_changes_nothing() -> None:
    """A person copied something onto the disk while it was fed."""
    assert fed(2, 3, 500).of(is_compressed=False).factor == 3  # type: ignore[union-attr]  # it is learned


def test_little_input_is_not_learned_from() -> None:
    """Of small files those in a row count as one; until there are three of these groups nothing is known."""
    few = fed(*[2.0] * (FEWEST_GROUPS * 2 - 1), input_bytes=GROUP_BYTES // 2)
    enough = few.after([FinishedFile(GROUP_BYTES // 2, GROUP_BYTES)])

    assert few.of(is_compressed=False) is None
    assert enough.of(is_compressed=False) is not None
    assert enough.of(is_compressed=False).files == FEWEST_GROUPS * 2  # type: ignore[union-attr]  # it is learned


def test_compressed_files_have_a_ratio_of_their_own() -> None:
    """A byte of them is several of a capture."""
    both = fed(1, 1, 1).after(fed(9, 9, 9, is_compressed=True).files)

    assert [both.of(is_compressed=each).factor for each in (False, True)] == [1, 9]  # type: ignore[union-attr]  # both are learned


@given(files=st.lists(st.builds(FinishedFile, sizes, sizes, st.booleans()), max_size=60), kind=st.booleans())
def test_a_learned_ratio_lies_between_those_of_the_files(files: list[FinishedFile], kind: bool) -> None:  # noqa: FBT001 - hypothesis gives it
    """Whatever they are."""
    ratios = [each.output_bytes / each.input_bytes for each in files if each.is_compressed is kind]

    if learned := OutputRatios().after(files).of(is_compressed=kind):
        assert min(ratios) * 0.999 <= learned.factor <= max(ratios) * 1.001
        assert FEWEST_GROUPS <= learned.files <= len(ratios)


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
