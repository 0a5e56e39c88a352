"""A watched folder with real inotify; the clock of the settling is given by the test."""

import errno
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.captures import Record, classic
from support.waiting import wait_until

from pcapdj.inbox.inotify import Arrivals
from pcapdj.inbox.settle import SETTLED_S, FileState
from pcapdj.inbox.watcher import RESCAN_S, Inbox, Listen

CAPTURE = classic([Record()])
LATER_S = SETTLED_S + 0.1


class Watched:
    """An inbox and a clock that the test moves."""

    def __init__(self, folder: Path, *, recursive: bool = False, listen: Listen = Arrivals) -> None:
        self.folder = folder
        self.inbox = Inbox(os.fsencode(folder), recursive=recursive, listen=listen)
        self.now_s = 1000.0
        self.states: dict[str, FileState] = {}

    def look(self, after_s: float = 0.5) -> set[str]:
        """Let time pass and return what became due, below the folder; all of it counts as handled."""
        self.now_s += after_s
        self.inbox.refresh(self.now_s)
        due = self.inbox.due(self.now_s)
        for name, state in due.items():
            self.inbox.handled(name, state)
        return {os.fsdecode(os.path.relpath(name, os.fsencode(self.folder))) for name in due}

    def wait_for(self, *names: str) -> None:
        """Wait, in small steps of the clock, until exactly these are due; no settling takes so short."""
        found: set[str] = set()
        wanted = set(names)

        def all_came() -> bool:
            nonlocal found
            found |= self.look(0.01)
            return found >= wanted

        begun_s = self.now_s
        wait_until(all_came, f"{wanted} to be due, found {found}")
        assert found == wanted
        assert self.now_s - begun_s < SETTLED_S, "only settling brought them"


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """Return an empty folder that is watched already."""
    inbox = Watched(tmp_path)
    inbox.look()
    yield inbox
    inbox.inbox.close()


def test_a_copied_file_is_due_when_its_writer_closes_it(watched: Watched) -> None:
    """Not before, however long the writer takes."""
    with (watched.folder / "x").open("wb") as file:
        file.write(CAPTURE[:30])
        file.flush()
        assert watched.look() == set()
        file.write(CAPTURE[30:])

    watched.wait_for("x")


def test_a_file_moved_in_is_due(watched: Watched, tmp_path_factory: pytest.TempPathFactory) -> None:
    """From outside, and from a hidden name inside, as rotation tools do."""
    outside = tmp_path_factory.mktemp("outside") / "a"
    outside.write_bytes(CAPTURE)
    (watched.folder / ".b").write_bytes(CAPTURE)

    outside.rename(watched.folder / "a")
    (watched.folder / ".b").rename(watched.folder / "b")

    watched.wait_for("a", "b")


def test_files_moved_in_together_are_due_together(
    watched: Watched, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One batch, so that it can be put in order as a whole."""
    outside = tmp_path_factory.mktemp("outside")
    for number in range(20):
        (outside / str(number)).write_bytes(CAPTURE)
    watched.look(0.001)

    for number in range(20):
        (outside / str(number)).rename(watched.folder / str(number))
    arrived = watched.inbox._arrived  # noqa: SLF001 - the batch is not over while it is looked at
    wait_until(lambda: watched.look(0.0001) or len(arrived) == 20, "all to be noted")

    assert watched.look() == {str(number) for number in range(20)}


def test_a_hard_link_is_due_after_settling(
    watched: Watched, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It is created without ever being closed."""
    outside = tmp_path_factory.mktemp("outside") / "a"
    outside.write_bytes(CAPTURE)

    (watched.folder / "a").hardlink_to(outside)

    assert watched.look(RESCAN_S + 1) == set()
    assert watched.look(LATER_S) == {"a"}


def test_files_that_were_there_before_are_due_by_age(tmp_path: Path) -> None:
    """At the first look the old ones at once, the young ones when they have settled."""
    (tmp_path / "old").write_bytes(CAPTURE)
    (tmp_path / "young").write_bytes(CAPTURE)
    os.utime(tmp_path / "old", (1, 1))
    watched = Watched(tmp_path)

    assert watched.look() == {"old"}
    assert watched.look() == set()
    assert watched.look(LATER_S) == {"young"}
    watched.inbox.close()


def test_a_rescan_without_inotify_does_not_believe_old_times(tmp_path: Path) -> None:
    """A file found later must stay the same under our eyes: copies keep old times, servers skewed ones."""
    watched = Watched(tmp_path, listen=without_inotify)
    assert watched.look() == set()
    assert "inotify" in watched.inbox.problem

    (watched.folder / "x").write_bytes(CAPTURE)
    os.utime(watched.folder / "x", (1, 1))

    assert watched.look(RESCAN_S + 1) == set()
    (watched.folder / "x").write_bytes(CAPTURE * 2)
    assert watched.look(LATER_S) == set()
    assert watched.look(LATER_S) == {"x"}


def without_inotify(_folder: bytes, *, recursive: bool) -> Arrivals:  # noqa: ARG001 - as `Arrivals` is called
    """Fail as the kernel does when all inotify instances are in use."""
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def test_a_name_used_again_is_due_again(watched: Watched) -> None:
    """Rotation writes another file under the same name."""
    (watched.folder / "x").write_bytes(CAPTURE)
    watched.wait_for("x")

    (watched.folder / "x").write_bytes(CAPTURE * 3)

    watched.wait_for("x")


def test_what_was_handled_is_not_due_again(watched: Watched) -> None:
    """A rescan finds it and leaves it."""
    (watched.folder / "x").write_bytes(CAPTURE)
    watched.wait_for("x")

    assert watched.look(RESCAN_S + 1) == set()
    assert watched.look(LATER_S) == set()


def test_an_empty_file_is_due_once_it_has_content(watched: Watched) -> None:
    """Closed with 0 bytes it is passed over in silence."""
    (watched.folder / "x").touch()
    (watched.folder / "mark").write_bytes(CAPTURE)
    watched.wait_for("mark")

    assert watched.look(LATER_S) == set()
    (watched.folder / "x").write_bytes(CAPTURE)

    watched.wait_for("x")


def test_a_postponed_file_is_due_later(watched: Watched) -> None:
    """For one that is still written, or fed at this moment."""
    (watched.folder / "x").write_bytes(CAPTURE)
    watched.wait_for("x")
    status = (watched.folder / "x").stat()
    state = FileState(status.st_size, status.st_mtime_ns)

    watched.inbox.postpone(os.fsencode(watched.folder / "x"), state, watched.now_s)

    assert watched.look(SETTLED_S / 2) == set()
    assert watched.look(SETTLED_S) == {"x"}


def test_a_folder_that_is_missing_is_waited_for(tmp_path: Path) -> None:
    """It may come, go and come back, as a mounted one does."""
    folder = tmp_path / "inbox"
    watched = Watched(folder)

    assert watched.look() == set()
    assert "missing" in watched.inbox.problem
    folder.mkdir()
    assert watched.look() == set()
    assert not watched.inbox.problem
    (folder / "x").write_bytes(CAPTURE)
    watched.wait_for("x")

    folder.rename(tmp_path / "gone")
    assert watched.look() == set()
    assert "missing" in watched.inbox.problem
    folder.mkdir()
    watched.look()
    (folder / "y").write_bytes(CAPTURE)
    watched.wait_for("y")
    watched.inbox.close()


def test_a_folder_that_was_replaced_between_two_looks_is_watched_anew(tmp_path: Path) -> None:
    """Even if the new one got the old one's inode."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    watched = Watched(folder)
    watched.look()

    folder.rmdir()
    folder.mkdir()
    arrivals = watched.inbox._arrivals  # noqa: SLF001 - to wait for the kernel's word, not to change it
    wait_until(lambda: watched.look() or watched.inbox._arrivals is not arrivals, "another watch")  # noqa: SLF001
    (folder / "x").write_bytes(CAPTURE)

    watched.wait_for("x")
    watched.inbox.close()


def test_lost_events_are_made_up_for_by_a_rescan(watched: Watched) -> None:
    """Watchdog tells of the kernel's overflow in its log only."""
    (watched.folder / "x").write_bytes(CAPTURE)
    watched.wait_for("x")
    (watched.folder / "x").unlink()

    logging.getLogger("watchdog.observers").warning("Inotify queue overflowed")
    watched.look()

    assert not watched.inbox._handled  # noqa: SLF001 - a rescan forgets what is gone


def test_folders_within_are_watched_too_if_asked_for(tmp_path: Path) -> None:
    """Those there at first, those made later, and not the hidden ones."""
    (tmp_path / "old").mkdir()
    watched = Watched(tmp_path, recursive=True)
    watched.look()

    (tmp_path / "new").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden/x").write_bytes(CAPTURE)
    (tmp_path / "old/x").write_bytes(CAPTURE)
    watched.wait_for("old/x")
    (tmp_path / "new/first").write_bytes(CAPTURE)  # perhaps before its folder was watched: then it settles
    wait_until(lambda: "new/first" in watched.look(LATER_S), "the file in the new folder")
    (tmp_path / "new/second").write_bytes(CAPTURE)

    wait_until(lambda: "new/second" in watched.look(0.01), "the next file in the new folder")
    watched.inbox.close()


def test_an_inbox_that_is_a_link_is_watched_under_its_own_name(tmp_path: Path) -> None:
    """Names are those the operator gave; the kernel watches what the link leads to."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    watched = Watched(tmp_path / "link")
    watched.look()

    (tmp_path / "real/x").write_bytes(CAPTURE)

    watched.wait_for("x")
    watched.inbox.close()
