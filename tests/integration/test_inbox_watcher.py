"""A watched folder with real inotify; the test moves the clock of the settling."""

import os
import resource
import select
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.captures import Record, classic
from support.cases import some_long
from support.descriptors import open_descriptors
from support.folders import deep_tree
from support.mounts import memory_mount
from support.waiting import wait_until

from pcapdj.inbox.settle import BATCH_LIMIT_S, QUIET_S, SETTLED_S, FileState
from pcapdj.inbox.watcher import RESCAN_S, Inbox
from pcapdj.runtime.errors import Stopped
from pcapdj.runtime.signals import handled

CAPTURE = classic([Record()])
LATER_S = SETTLED_S + 0.1


class Watched:
    """An inbox and a clock that the test moves."""

    def __init__(self, folder: Path, *, recursive: bool = False) -> None:
        self.folder = folder
        self.inbox = Inbox(os.fsencode(folder), recursive=recursive)
        self.now_s = 1000.0
        self.states: dict[str, FileState] = {}

    def look(self, after_s: float = 0.5) -> set[str]:
        """Let time pass; return the files that became complete, below the folder. All count as handled."""
        self.now_s += after_s
        self.inbox.refresh(self.now_s)
        complete = self.inbox.take_complete(self.now_s)
        for name, state in complete.items():
            self.inbox.mark_handled(name, state)
        return {os.fsdecode(os.path.relpath(name, os.fsencode(self.folder))) for name in complete}

    def wait_for(self, *names: str) -> None:
        """Wait, in small steps of the clock, until exactly these are complete: too short for settling."""
        found: set[str] = set()
        wanted = set(names)

        def all_arrived() -> bool:
            nonlocal found
            found |= self.look(0.01)
            return found >= wanted

        begun_s = self.now_s
        wait_until(all_arrived, f"{wanted} to be complete, found {found}")
        assert found == wanted
        assert self.now_s - begun_s < SETTLED_S, "only settling brought them"


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """Return an empty folder that is watched."""
    inbox = Watched(tmp_path)
    inbox.look()
    yield inbox
    inbox.inbox.close()


def test_a_copied_file_is_complete_when_its_writer_closes_it(watched: Watched) -> None:
    """Not before, no matter how long the writer takes."""
    with (watched.folder / "x").open("wb") as file:
        file.write(CAPTURE[:30])
        file.flush()
        assert watched.look() == set()
        file.write(CAPTURE[30:])

    watched.wait_for("x")


def test_files_moved_in_together_are_one_batch_even_if_events_come_late(watched: Watched) -> None:
    """The batch waits for what is in the folder already, but a link to nowhere does not keep it open."""
    inbox = watched.inbox
    (watched.folder / "dangling").symlink_to("nowhere")
    (watched.folder / "b").write_bytes(CAPTURE)
    wait_until(lambda: watched.look(0) or inbox.batch_ends_s, "the first event")
    (watched.folder / ".a").write_bytes(CAPTURE)
    (watched.folder / ".a").rename(watched.folder / "a")

    assert inbox.take_complete(watched.now_s + 1) == {}, "no event of the other one was read yet"
    assert inbox.batch_ends_s == pytest.approx(watched.now_s + 1 + QUIET_S)
    watched.wait_for("a", "b")


def test_a_writer_that_never_pauses_does_not_keep_a_batch_open(watched: Watched) -> None:
    """After five seconds the batch ends, whatever else is in the folder."""
    inbox = watched.inbox
    (watched.folder / "b").write_bytes(CAPTURE)
    wait_until(lambda: watched.look(0) or inbox.batch_ends_s, "the first event")
    (watched.folder / "a").write_bytes(CAPTURE)

    assert inbox.take_complete(watched.now_s + BATCH_LIMIT_S - 0.1) == {}
    [name] = inbox.take_complete(watched.now_s + BATCH_LIMIT_S)
    assert name == os.fsencode(watched.folder / "b")


def test_a_file_moved_in_is_complete(watched: Watched, tmp_path_factory: pytest.TempPathFactory) -> None:
    """From outside, and from a hidden name inside, as rotation tools do."""
    outside = tmp_path_factory.mktemp("outside") / "a"
    outside.write_bytes(CAPTURE)
    (watched.folder / ".b").write_bytes(CAPTURE)

    outside.rename(watched.folder / "a")
    (watched.folder / ".b").rename(watched.folder / "b")

    watched.wait_for("a", "b")


def test_files_moved_in_together_are_given_together(
    watched: Watched, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As one batch, so that it can be sorted as a whole."""
    outside = tmp_path_factory.mktemp("outside")
    for number in range(20):
        (outside / str(number)).write_bytes(CAPTURE)
    watched.look(0.001)

    for number in range(20):
        (outside / str(number)).rename(watched.folder / str(number))
    arrived = watched.inbox._arrived  # noqa: SLF001 - the batch is not over while it is looked at
    wait_until(lambda: watched.look(0.0001) or len(arrived) == 20, "all to be noted")

    assert watched.look() == {str(number) for number in range(20)}


def test_a_hard_link_is_complete_after_settling(
    watched: Watched, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It is created without ever being closed."""
    outside = tmp_path_factory.mktemp("outside") / "a"
    outside.write_bytes(CAPTURE)

    (watched.folder / "a").hardlink_to(outside)

    assert watched.look(RESCAN_S + 1) == set()
    assert watched.look(LATER_S) == {"a"}


def test_files_from_before_the_first_look_are_complete_unless_they_are_written(tmp_path: Path) -> None:
    """An importer that was killed may have seen them arrive; what arrives later is not given before them."""
    (tmp_path / "old").write_bytes(CAPTURE)
    (tmp_path / "young").write_bytes(CAPTURE)
    os.utime(tmp_path / "old", (1, 1))
    watched = Watched(tmp_path)

    with (tmp_path / "written").open("wb", 0) as file:
        file.write(CAPTURE)
        assert watched.look() == {"old", "young"}
        assert watched.look() == set()
    watched.wait_for("written")
    watched.inbox.close()


def test_young_files_of_another_disk_are_complete_when_they_have_settled(tmp_path: Path) -> None:
    """A link may lead to a file server, where another machine may have it open."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    with memory_mount(tmp_path) as disk:
        (disk.folder / "young").write_bytes(CAPTURE)
        (inbox / "young").symlink_to(disk.folder / "young")
        watched = Watched(inbox)

        assert watched.look() == set()
        assert watched.look(LATER_S) == {"young"}
        watched.inbox.close()


def test_without_inotify_a_rescan_does_not_trust_old_times(tmp_path: Path) -> None:
    """A file found later has to stay the same: copies keep old times, other clocks are skewed."""
    watched = Watched(tmp_path)
    with two_descriptors_left():
        assert watched.look() == set()
        problem = watched.inbox.problem
        (watched.folder / "x").write_bytes(CAPTURE)
        os.utime(watched.folder / "x", (1, 1))
        looks = [watched.look(RESCAN_S + 1)]
        (watched.folder / "x").write_bytes(CAPTURE * 2)
        looks += [watched.look(LATER_S), watched.look(LATER_S)]

    assert problem == ("is scanned once a minute only, because inotify is not available: Too many open files")
    assert looks == [set(), set(), {"x"}]
    assert watched.inbox.descriptors == []


def test_inotify_is_used_as_soon_as_it_is_available(tmp_path: Path) -> None:
    """The rescan tries again, and the problem is gone."""
    watched = Watched(tmp_path)
    with two_descriptors_left():
        watched.look()

    watched.look(RESCAN_S + 1)
    (watched.folder / "x").write_bytes(CAPTURE)

    assert watched.inbox.problem == ""
    watched.wait_for("x")
    watched.inbox.close()


def test_a_watched_folder_leaves_no_descriptor_open(tmp_path: Path) -> None:
    """Neither when it is closed, nor each time when inotify is not available."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    watched = Watched(tmp_path)
    with two_descriptors_left():
        for _ in range(3):
            watched.look(RESCAN_S + 1)
    watched.look(RESCAN_S + 1)
    watched.inbox.close()

    assert len(list(Path("/proc/self/fd").iterdir())) == before


@contextmanager
def two_descriptors_left() -> Iterator[None]:
    """Let this process open two more files at a time: a listing needs them, and inotify one more."""
    free = [os.dup(0) for _ in range(2)]  # other tests may have left a gap
    for each in free:
        os.close(each)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(free) + 1, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_new_file_of_an_old_name_is_given_again(watched: Watched) -> None:
    """Rotation writes another file under the same name."""
    (watched.folder / "x").write_bytes(CAPTURE)
    watched.wait_for("x")

    (watched.folder / "x").write_bytes(CAPTURE * 3)

    watched.wait_for("x")


def test_a_handled_file_is_not_given_again(watched: Watched) -> None:
    """A rescan finds it and skips it."""
    (watched.folder / "x").write_bytes(CAPTURE)
    watched.wait_for("x")

    assert watched.look(RESCAN_S + 1) == set()
    assert watched.look(LATER_S) == set()


def test_an_empty_file_is_given_when_it_has_content(watched: Watched) -> None:
    """Closed with 0 bytes it is skipped without a message."""
    (watched.folder / "x").touch()
    (watched.folder / "mark").write_bytes(CAPTURE)
    watched.wait_for("mark")

    assert watched.look(LATER_S) == set()
    (watched.folder / "x").write_bytes(CAPTURE)

    watched.wait_for("x")


def test_a_postponed_file_is_given_later(watched: Watched) -> None:
    """For a file that is still being written, or being fed."""
    (watched.folder / "x").write_bytes(CAPTURE)
    watched.wait_for("x")
    status = (watched.folder / "x").stat()
    state = FileState(status.st_size, status.st_mtime_ns)

    watched.inbox.postpone(os.fsencode(watched.folder / "x"), state, watched.now_s)

    assert watched.look(SETTLED_S / 2) == set()
    assert watched.look(SETTLED_S) == {"x"}


def test_a_missing_folder_is_watched_when_it_appears(tmp_path: Path) -> None:
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


def test_a_folder_that_was_replaced_between_two_looks_is_watched_again(tmp_path: Path) -> None:
    """Even if the new one got the old one's inode."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    watched = Watched(folder)
    watched.look()

    folder.rmdir()
    folder.mkdir()
    listener = watched.inbox._listener  # noqa: SLF001 - to wait for the kernel's event, not to change it
    wait_until(lambda: watched.look() or watched.inbox._listener is not listener, "another watch")  # noqa: SLF001
    (folder / "x").write_bytes(CAPTURE)

    watched.wait_for("x")
    watched.inbox.close()


def test_lost_events_cause_a_rescan(watched: Watched) -> None:
    """The kernel's queue is full: what comes then is not noted."""
    (watched.folder / "x").write_bytes(CAPTURE)
    watched.wait_for("x")
    (watched.folder / "x").unlink()

    for number in range(int(Path("/proc/sys/fs/inotify/max_queued_events").read_text()) + 1):
        (watched.folder / f"{number % 2}").write_bytes(b"")
    watched.look()

    assert os.fsencode(watched.folder / "x") not in watched.inbox._handled  # noqa: SLF001 - a rescan forgets what is gone


def test_folders_inside_are_watched_if_recursive(tmp_path: Path) -> None:
    """Those from before, those created later, and not the hidden ones."""
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


@pytest.mark.parametrize(
    "how", some_long(["from before", "made while watching", "moved in", "hidden"], quick=("moved in",))
)
def test_a_tree_that_is_too_deep_is_watched_down_to_a_limit(how: str, tmp_path: Path) -> None:
    """It ends nothing, and is reported; what is above the limit, and beside the tree, is found at once."""
    inbox, deep = tmp_path / "inbox", tmp_path / "inbox" / (".m" if how == "hidden" else "m")
    inbox.mkdir()
    before = open_descriptors()
    watched = Watched(inbox, recursive=True)
    if how in ("made while watching", "moved in"):
        watched.look()
    with deep_tree(tmp_path / "elsewhere" if how == "moved in" else deep, 1500):
        if how == "moved in":
            (tmp_path / "elsewhere").rename(deep)
            (tmp_path / "elsewhere").mkdir()  # `deep_tree` removes it
        watched.look(RESCAN_S + 1)
        expected = "" if how == "hidden" else "cannot be read completely: it is more than 200 levels deep"
        assert watched.inbox.problem == expected

        (inbox / "x").write_bytes(CAPTURE)
        watched.wait_for("x")
        (deep / "d/d/x").write_bytes(CAPTURE)
        if how != "hidden":
            watched.wait_for(f"{deep.name}/d/d/x")
    subprocess.run(["rm", "-rf", deep], check=True)
    watched.look(RESCAN_S + 1)
    assert watched.inbox.problem == ""
    watched.inbox.close()
    assert not open_descriptors() - before


def test_a_folder_that_is_renamed_inside_is_watched_under_its_new_name(tmp_path: Path) -> None:
    """As by a tool that fills a hidden folder: its files are complete when it is renamed."""
    watched = Watched(tmp_path, recursive=True)
    (tmp_path / ".new").mkdir()
    watched.look()
    (tmp_path / ".new/x").write_bytes(CAPTURE)
    watched.look()

    (tmp_path / ".new").rename(tmp_path / "new")
    watched.wait_for("new/x")
    (tmp_path / "new/y").write_bytes(CAPTURE)

    watched.wait_for("new/y")
    watched.inbox.close()


def test_a_folder_that_is_moved_out_is_watched_no_more(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What happens to it elsewhere would have a name that is not its own."""
    (tmp_path / "a/b").mkdir(parents=True)
    watched = Watched(tmp_path, recursive=True)
    watched.look()
    outside = tmp_path_factory.mktemp("outside")
    (tmp_path / "a").rename(outside / "a")
    watched.look()
    (outside / "a/b/x").write_bytes(CAPTURE)

    (tmp_path / "y").write_bytes(CAPTURE)

    watched.wait_for("y")
    watched.inbox.close()


@pytest.mark.parametrize("kind", ["files", "folders"])
def test_a_stop_signal_ends_the_look_into_a_large_folder(kind: str, tmp_path: Path) -> None:
    """Whatever it has many of; the signal has arrived before."""
    for number in range(1001):
        (tmp_path / str(number)).mkdir() if kind == "folders" else (tmp_path / str(number)).touch()
    with handled() as signals:
        inbox = Inbox(os.fsencode(tmp_path), recursive=True, stops=signals)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped):
            inbox.refresh(1000.0)
    assert not inbox._waiting  # noqa: SLF001 - it ended before it had looked at the files


def test_an_inbox_that_is_a_link_is_watched_under_its_own_name(tmp_path: Path) -> None:
    """Names begin with the path that was given; the kernel watches the target of the link."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    watched = Watched(tmp_path / "link")
    watched.look()

    (tmp_path / "real/x").write_bytes(CAPTURE)

    watched.wait_for("x")
    watched.inbox.close()


def test_what_an_inbox_skips_is_counted_by_reason(watched: Watched) -> None:
    """Beside them a capture is given, and a file that somebody still writes waits."""
    folder = watched.folder
    (folder / "sub").mkdir()
    (folder / "loop").symlink_to(folder)
    (folder / "dangling").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    (folder / ".hidden").write_bytes(CAPTURE)
    (folder / "empty").touch()
    (folder / "x").write_bytes(CAPTURE)
    watched.wait_for("x")

    watched.look(RESCAN_S)

    assert watched.inbox.counts() == (
        0,
        0,
        {
            "folder without --recursive": 1,
            "link to a folder": 1,
            "link to nothing": 1,
            "not a regular file": 1,
            "hidden": 1,
            "empty": 1,
        },
    )


def test_files_that_wait_and_files_that_are_written_are_counted(watched: Watched) -> None:
    """A file that changed between two looks is still written."""
    for name in ("linked", "growing"):
        (watched.folder / f".{name}").write_bytes(CAPTURE)
        (watched.folder / name).hardlink_to(watched.folder / f".{name}")
    watched.look(RESCAN_S + 1)
    before = watched.inbox.counts()
    (watched.folder / "growing").write_bytes(CAPTURE * 2)
    watched.inbox.close()
    watched.look(RESCAN_S + 1)

    assert (before.waiting, before.written) == (2, 0)
    assert (watched.inbox.counts().waiting, watched.inbox.counts().written) == (0, 1)


def test_an_empty_file_does_not_keep_a_batch_open(watched: Watched) -> None:
    """Nothing will arrive from it."""
    (watched.folder / "empty").touch()
    watched.look()
    watched.look(RESCAN_S)
    (watched.folder / "x").write_bytes(CAPTURE)
    wait_until(lambda: watched.look(0) or watched.inbox.batch_ends_s, "the event")

    assert watched.look(QUIET_S + 0.01) == {"x"}


def test_an_unmounted_inbox_is_not_an_empty_one(tmp_path: Path) -> None:
    """Its files are remembered, and what is put into the mount point meanwhile is not taken for its own."""
    with memory_mount(tmp_path) as mount:
        watched = Watched(mount.folder)
        (mount.folder / "x").write_bytes(CAPTURE)
        os.utime(mount.folder / "x", (1, 1))
        assert watched.look() == {"x"}
        mount.unmount()
        (mount.folder / "stray").write_bytes(CAPTURE)
        os.utime(mount.folder / "stray", (1, 1))
        away = [watched.look(RESCAN_S + 1), watched.look(LATER_S)]
        problem = watched.inbox.problem
        (mount.folder / "stray").unlink()
        mount.mount()
        (mount.folder / "y").write_bytes(CAPTURE)
        os.utime(mount.folder / "y", (1, 1))
        back = watched.look()
        watched.inbox.close()

    assert away == [set(), set()]
    assert problem.startswith(f"is not mounted: nothing is mounted at '{mount.folder}' any more")
    assert back == {"y"}
    assert watched.inbox.problem == ""


def test_a_link_that_leads_to_another_disk_is_another_inbox(tmp_path: Path) -> None:
    """The disk that it led to before is still mounted."""
    link, plain = tmp_path / "inbox", tmp_path / "plain"
    plain.mkdir()
    with memory_mount(tmp_path) as mount:
        link.symlink_to(mount.folder)
        watched = Watched(link)
        assert watched.look() == set()
        for name in ("other", "kept"):
            (plain / name).write_bytes(CAPTURE)
            os.utime(plain / name, (1, 1))
        link.unlink()
        link.symlink_to(plain)

        found = watched.look()

        assert (found, watched.inbox.problem) == ({"kept", "other"}, "")
        watched.inbox.close()


def test_an_inbox_below_a_mount_point_waits_for_the_mount(tmp_path: Path) -> None:
    """Also if a folder of its name is below the mount point."""
    with memory_mount(tmp_path) as mount:
        (mount.folder / "in").mkdir()
        (mount.folder / "in/x").write_bytes(CAPTURE)
        os.utime(mount.folder / "in/x", (1, 1))
        watched = Watched(mount.folder / "in")
        assert watched.look() == {"x"}
        mount.unmount()
        watched.look()
        missing = watched.inbox.problem
        (mount.folder / "in").mkdir()
        watched.look()
        unmounted = watched.inbox.problem
        mount.mount()
        back = watched.look()
        watched.inbox.close()

    assert "missing" in missing
    assert "is not mounted" in unmounted
    assert back == set(), "x is remembered"


def test_a_new_mount_over_an_inbox_is_taken(tmp_path: Path) -> None:
    """Another disk was mounted there on purpose; nothing says that the old one comes back."""
    with memory_mount(tmp_path) as mount:
        mount.unmount()
        watched = Watched(mount.folder)
        watched.look()
        mount.mount()
        (mount.folder / "x").write_bytes(CAPTURE)
        os.utime(mount.folder / "x", (1, 1))
        found = watched.look()
        watched.inbox.close()

    assert found == {"x"}


def test_a_link_below_a_root_is_skipped_wherever_it_leads(tmp_path: Path) -> None:
    """Whether it leads to a file, a folder or nothing is not shown: who made it would learn it."""
    for name in ("in/x", "out/y"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(CAPTURE)
    for name, target in {"file": "../out/y", "folder": "../out", "nothing": "../none"}.items():
        (tmp_path / "in" / name).symlink_to(target)
    inbox = Inbox(os.fsencode(tmp_path / "in"), recursive=True, roots=[os.fsencode(tmp_path / "in")])

    inbox.refresh(1000.0)

    assert [*inbox.take_complete(1000.0)] == [os.fsencode(tmp_path / "in/x")]
    assert inbox.counts().skipped == {"link below a root": 3}

    (tmp_path / "in" / "late").symlink_to("../out/y")  # an event reports it before a listing does
    select.select(inbox.descriptors, [], [])
    inbox.refresh(1001.0)
    assert inbox.counts().waiting == 0
    inbox.close()


def test_a_folder_in_whose_place_a_link_is_put_is_not_left_for_another(tmp_path: Path) -> None:
    """Its owner may do that to an inbox at any time: what lies behind is neither listed nor watched."""
    for name in ("root/in/sub/x", "out/sub/secret"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(CAPTURE)
    folder = tmp_path / "root" / "in"
    inbox = Inbox(os.fsencode(folder), recursive=True, roots=[os.fsencode(tmp_path / "root")])
    inbox.refresh(1000.0)
    assert [*inbox.take_complete(1000.0)] == [os.fsencode(folder / "sub/x")]

    folder.rename(tmp_path / "root" / "old")
    folder.symlink_to(tmp_path / "out")
    inbox.refresh(1001.0)
    watched = inbox.descriptors
    (tmp_path / "out/sub/late").write_bytes(CAPTURE)
    inbox.refresh(1100.0)

    assert inbox.problem == "is missing, or is not a folder"
    assert not watched
    assert inbox.take_complete(1200.0) == {}
    inbox.close()


def test_of_an_inbox_above_its_roots_only_these_are_watched(tmp_path: Path) -> None:
    """One inbox may have the folders of many sensors, each a root."""
    for name in ("in/a/x", "in/b/y", "in/c/z"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(CAPTURE)
    roots = [os.fsencode(tmp_path / "in" / name) for name in "ab"]
    inbox = Inbox(os.fsencode(tmp_path / "in"), recursive=True, roots=roots)

    inbox.refresh(1000.0)

    names = {os.path.basename(name) for name in inbox.take_complete(1000.0)}  # noqa: PTH119 - bytes
    assert names == {b"x", b"y"}
    assert inbox.problem == ""
    assert inbox.counts().skipped == {"folder outside of the roots": 1}
    for name, is_reported in {"c/late": False, "a/late": True}.items():
        (tmp_path / "in" / name).write_bytes(CAPTURE)
        assert bool(select.select(inbox.descriptors, [], [], 0)[0]) is is_reported
    inbox.close()
