"""Which deaths of dispatchers count: a pure rule, and the small file that it is about."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcapdj.capture.pcap import BEGINNING, Totals
from pcapdj.capture.reader import Piece
from pcapdj.feed.reading_mark import PreviousMark, ReadingMark, deaths_on
from pcapdj.runtime.errors import CaptureError
from pcapdj.runtime.mount_list import boot_id

PIECE = Piece(b"", Totals(), BEGINNING, 0)
MARKS = st.builds(
    PreviousMark,
    token=st.sampled_from(["a", "b"]),
    boot=st.sampled_from(["now", "before"]),
    deaths=st.integers(0, 5),
    is_set=st.booleans(),
    exception=st.sampled_from(["", "MemoryError"]),
    fatal=st.sampled_from(["", "Aborted"]),
)


@given(MARKS)
def test_a_death_counts_for_its_own_file_in_its_own_boot(left: PreviousMark) -> None:
    """In a look into the file, or of a signal that says what it is; one death at most for each start."""
    deaths = deaths_on(left, "a", "now")

    if left.token != "a":  # noqa: S105 - of a queue entry
        assert deaths == 0
    elif left.boot != "now" or not (left.is_set or left.fatal):
        assert deaths == left.deaths
    else:
        assert deaths == left.deaths + 1
    assert deaths_on(None, "a", "now") == 0


STEPS = st.lists(st.sampled_from(["read", "batch", "wait", "die", "reboot"]), max_size=30)


@given(STEPS)
def test_only_deaths_without_a_batch_between_them_add_up(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    """Every order of looks, batches, waits and deaths gives the count that a reader would expect."""
    path = tmp_path_factory.mktemp("mark") / "mark"
    expected, is_reading = 0, False
    mark = ReadingMark(path)
    mark.begin("token", 0)
    pieces = mark.marked(iter([PIECE] * 100))
    for step in steps:
        if step == "read" and not is_reading:
            mark._set()  # noqa: SLF001 - where a death would come
            is_reading = True
        elif step == "batch":
            next(pieces)
            next(pieces)  # the first one is sent now
            expected, is_reading = 0, False
        elif step == "wait" and is_reading:
            with mark.waiting():
                left = mark_left_in(path)
            assert left is not None
            assert not left.is_set
        elif step in ("die", "reboot"):
            expected += is_reading and step == "die"
            mark.close()
            mark = restarted(path, "token", boot_id() if step == "die" else "another boot")
            pieces, is_reading = mark.marked(iter([PIECE] * 100)), False
            left = mark_left_in(path)
            assert left is not None
            assert left.deaths == expected
    mark.close()


def mark_left_in(path: Path) -> PreviousMark | None:
    """Return what a dispatcher that starts now would find."""
    mark = ReadingMark(path)
    mark.close()
    return mark.previous


def restarted(path: Path, token: str, boot: str) -> ReadingMark:
    """Return the mark of the next dispatcher, which works on the same entry."""
    mark = ReadingMark(path)
    mark.begin(token, deaths_on(mark.previous, token, boot))
    return mark


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 4096, os.urandom(4096), b"{" * 4096, b'{"token": 1, "boot": "", "deaths": 0}', b"[" * 256],
)
def test_what_is_no_mark_is_none(tmp_path: Path, content: bytes) -> None:
    """An empty file, one that a crash cut, or anything else."""
    path = tmp_path / "mark"
    path.write_bytes(content)

    assert ReadingMark(path).previous is None


def test_an_expected_error_clears_the_mark_and_another_one_does_not(tmp_path: Path) -> None:
    """A damaged file is no death; an error that no code expects ends the process, and is named."""
    mark = ReadingMark(tmp_path / "mark")
    mark.begin("token", 0)
    with pytest.raises(CaptureError), mark.reading():
        raise CaptureError("is damaged")
    left = mark_left_in(tmp_path / "mark")
    assert left == PreviousMark("token", boot_id(), 0, is_set=False, exception="", fatal="")

    with pytest.raises(MemoryError), mark.reading():
        raise MemoryError

    left = mark_left_in(tmp_path / "mark")
    assert left == PreviousMark("token", boot_id(), 0, is_set=True, exception="MemoryError", fatal="")
    assert left.cause == "by the error MemoryError"
