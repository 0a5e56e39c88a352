"""The file of the reading mark: what is refused in its place, and what a fatal signal writes into it."""

import faulthandler
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.descriptors import open_descriptors
from support.logs import logged

from pcapdj.capture.pcap import BEGINNING, Totals
from pcapdj.capture.reader import Piece
from pcapdj.feed.reading_mark import PreviousMark, ReadingMark, deaths_on
from pcapdj.runtime.mount_list import boot_id


def make_link(path: Path) -> None:
    """Make a link to a file of this user."""
    target = path.with_name("target")
    target.touch()
    path.symlink_to(target)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (make_link, "Too many levels of symbolic links"),
        (os.mkfifo, "it is not a file of this user"),
        (os.mkdir, "Is a directory"),
        (lambda path: path.parent.rmdir(), "No such file or directory"),
    ],
)
def test_what_is_no_file_of_ours_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Callable[[Path], object], why: str
) -> None:
    """It is logged, and the dispatcher works without; nothing waits for a pipe's other end."""
    path = tmp_path / "run" / "mark"
    path.parent.mkdir()
    make(path)
    before = open_descriptors()

    mark = ReadingMark(path)
    mark.begin("token", 0)
    with mark.reading(), mark.waiting():
        assert not open_descriptors() - before
    mark.close()

    assert mark.previous is None
    assert (
        f"WARNING dispatcher no_reading_mark path={path}: Deaths of dispatchers on a file are not counted:"
        f" the file for it cannot be used: {why}."
    ) in " ".join(logged(capsys, "no_reading_mark").split())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of another user")
def test_a_file_of_another_user_is_not_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its owner could count deaths that never were."""
    path = tmp_path / "mark"
    path.touch()
    os.chown(path, 65534, 65534)
    before = open_descriptors()

    ReadingMark(path).begin("token", 0)

    assert not open_descriptors() - before
    assert path.read_bytes() == b""
    assert "it is not a file of this user" in logged(capsys, "no_reading_mark")


def test_what_was_left_counts_for_the_first_file_only(tmp_path: Path) -> None:
    """A later one may be the same entry again, and nothing died of it since."""
    died = ReadingMark(tmp_path / "mark")
    died.begin("token", 1)
    with pytest.raises(MemoryError), died.reading():
        raise MemoryError
    died.close()

    mark = ReadingMark(tmp_path / "mark")
    assert deaths_on(mark.previous, "token", boot_id()) == 2
    mark.begin("token", 2)

    assert mark.previous is None
    mark.close()


def test_a_wait_sets_no_mark_that_was_not_set(tmp_path: Path) -> None:
    """Before the first file, and between two reads: whoever is killed there was reading nothing."""
    first = ReadingMark(tmp_path / "mark")
    first.begin("token", 1)
    first.close()

    mark = ReadingMark(tmp_path / "mark")
    with mark.waiting():
        pass
    mark.close()
    assert not left_in(tmp_path / "mark").is_set

    mark = ReadingMark(tmp_path / "mark")
    mark.begin("token", 1)
    with mark.reading(), mark.waiting():
        assert not left_in(tmp_path / "mark").is_set
    with mark.waiting():
        pass
    mark.close()
    assert not left_in(tmp_path / "mark").is_set


def left_in(path: Path) -> PreviousMark:
    """Return what the next dispatcher would find."""
    mark = ReadingMark(path)
    found = mark.previous
    mark.close()
    assert found is not None
    return found


def test_a_batch_that_was_sent_ends_the_count(tmp_path: Path) -> None:
    """The file gave packets since: the deaths before are forgotten."""
    mark = ReadingMark(tmp_path / "mark")
    mark.begin("token", 2)
    pieces = mark.marked(iter([Piece(b"", Totals(), BEGINNING, 0)] * 2))
    next(pieces)
    next(pieces)  # the first one is sent now
    mark.close()

    left = ReadingMark(tmp_path / "mark")
    left.close()

    assert left.previous == PreviousMark("token", boot_id(), 0, is_set=False, exception="", fatal="")


@pytest.mark.parametrize("deaths", [-1, True, "1", None, 2.0])
def test_a_number_of_deaths_that_no_dispatcher_wrote_does_not_count(tmp_path: Path, deaths: object) -> None:
    """Nor does the rest of that mark."""
    head = {"token": "token", "boot": boot_id(), "deaths": deaths}
    (tmp_path / "mark").write_bytes(json.dumps(head).encode().ljust(256) + b"1")

    mark = ReadingMark(tmp_path / "mark")
    mark.close()

    assert mark.previous is None


def test_the_file_is_private(tmp_path: Path) -> None:
    """Whatever the umask is."""
    before = os.umask(0)
    try:
        ReadingMark(tmp_path / "mark").close()
    finally:
        os.umask(before)

    assert (tmp_path / "mark").stat().st_mode & 0o777 == 0o600


def in_child(work: Callable[[], object]) -> int:
    """Do it in a fork of this process where no fatal signal is noted yet; return its exit status."""
    pid = os.fork()
    if not pid:
        faulthandler.disable()
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_fatal_signal_is_noted_until_the_mark_is_closed(tmp_path: Path, *, is_closed: bool) -> None:
    """After that, another file may have the descriptor."""

    def die() -> None:
        mark = ReadingMark(tmp_path / "mark")
        mark.begin("token", 2)
        if is_closed:
            mark.close()
            os.open(tmp_path / "other", os.O_WRONLY | os.O_CREAT, 0o600)
        os.abort()

    status = in_child(die)

    assert status == -6
    left = ReadingMark(tmp_path / "mark")
    left.close()
    fatal = "" if is_closed else "Aborted"
    assert left.previous == PreviousMark("token", boot_id(), 2, is_set=False, exception="", fatal=fatal)
    assert not is_closed or (tmp_path / "other").read_bytes() == b""


def test_how_a_dispatcher_died_is_in_words() -> None:
    """An exception tells more than the signal that it may have led to; without both it was killed."""
    left = PreviousMark("t", "b", 0, is_set=True, exception="ValueError", fatal="Segmentation fault")

    causes = [
        each.cause for each in (left, left._replace(exception=""), left._replace(exception="", fatal=""))
    ]

    assert causes == [
        "by the error ValueError",
        "by a fatal signal: Segmentation fault",
        "without a trace, as by SIGKILL, which the kernel sends when memory is short",
    ]


def test_a_wait_clears_the_mark_until_it_ends(tmp_path: Path) -> None:
    """A dispatcher that is killed while it waits did not die of the file; one that reads on may."""
    path = tmp_path / "mark"
    mark = ReadingMark(path)
    mark.begin("t", 0)
    found = []

    with mark.reading():
        with mark.waiting():
            found.append(is_set(path))
        found.append(is_set(path))
    found.append(is_set(path))
    mark.close()

    assert found == [False, True, False]


def is_set(path: Path) -> bool:
    """Report what the next dispatcher would find."""
    successor = ReadingMark(path)
    previous = successor.previous
    successor.close()
    assert previous is not None
    return previous.is_set


def test_a_closed_mark_leaves_no_descriptor_and_takes_nothing_more(tmp_path: Path) -> None:
    """A dispatcher may end while another thread still reads."""
    before = open_descriptors()
    mark = ReadingMark(tmp_path / "mark")
    mark.begin("t", 0)

    mark.close()
    mark.close()
    with mark.reading():
        pass

    assert not open_descriptors() - before
    assert not is_set(tmp_path / "mark")


def test_the_name_of_an_error_is_cut_to_its_place(tmp_path: Path) -> None:
    """What follows it in the file is the fatal signal's."""
    path = tmp_path / "mark"
    mark = ReadingMark(path)
    mark.begin("t", 3)
    error = type("E" * 300, (Exception,), {})

    with pytest.raises(error), mark.reading():
        raise error
    mark.close()

    successor = ReadingMark(path)
    previous = successor.previous
    successor.close()
    assert previous == PreviousMark("t", boot_id(), 3, is_set=True, exception="E" * 255, fatal="")
