"""The importer as a process and step by step, with real Redis, files and inotify."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from support.captures import Record, classic
from support.descriptors import open_descriptors
from support.feeding import feed_next
from support.forkserver import PIPE, Finished, Process, clean_environment, run, start
from support.logs import logged
from support.redis_server import redis_at
from support.roles_rig import numbered
from support.waiting import is_met, scaled, wait_until

from pcapdj.capture.files import Identity
from pcapdj.capture.identity import QueuedFile
from pcapdj.importer import Importer
from pcapdj.inbox import recent_captures
from pcapdj.inbox.listing import list_captures, look_at_capture
from pcapdj.inbox.order import Order
from pcapdj.inbox.queueing import queue_captures
from pcapdj.inbox.settle import QUIET_S, SETTLED_S
from pcapdj.inbox.watcher import RESCAN_S, Inbox
from pcapdj.runtime import signals as process_signals
from pcapdj.runtime.errors import CaptureError, Stopped
from pcapdj.runtime.signals import HasFileno
from pcapdj.store.client import Store
from pcapdj.store.enqueue import MOST_LINES, enqueue_new
from pcapdj.store.snapshot import read_snapshot

CAPTURE = classic([Record()])
LATER_S = SETTLED_S + 0.1


def written(folder: Path, *names: str, content: bytes = CAPTURE) -> list[bytes]:
    """Write the files and return their absolute names."""
    for name in names:
        (folder / name).write_bytes(content)
    return [os.fsencode(folder / name) for name in names]


def queue_of(store: Store) -> list[bytes]:
    """Return the names in the queue."""
    return cast("list[bytes]", store.redis.lrange(store.keys.in_queue, 0, -1))


def feed(store: Store, name: bytes) -> None:
    """Empty the queue and note the file in FED as it is now."""
    status = os.stat(name)  # noqa: PTH116 - bytes
    entry = {"size_bytes": status.st_size, "mtime_ns": status.st_mtime_ns, "result": "processed"}
    store.redis.hset(store.keys.fed, mapping=dict[Any, Any]({name: json.dumps(entry)}))
    store.redis.delete(store.keys.in_queue)


def at(store: Store) -> list[str]:
    """Return the options that lead to the test's lane."""
    return ["--redis-url", store.url, "--lane", store.keys.lane]


def imported(store: Store, *arguments: str | bytes) -> Finished:
    """Run one import to its end."""
    return run("pcapdj.importer", *at(store), *arguments)


@contextmanager
def watching(store: Store, *arguments: str | bytes) -> Iterator[Process]:
    """Run the importer with `--watch`; on SIGTERM it has to exit 0."""
    with start("pcapdj.importer", *at(store), "--watch", *arguments, stderr=PIPE, text=True) as process:
        try:
            yield process
            process.send_signal(signal.SIGTERM)
            _, log = process.communicate()
            assert process.returncode == 0
            assert log.splitlines()[-1].endswith("importer importer_stops")
        finally:
            process.kill()


class Stepped:
    """The role that watches a folder, in this process; the test moves its clock."""

    def __init__(
        self, store: Store, folder: Path, signals: process_signals.Signals, order: Order = Order.NAME
    ) -> None:
        self.inbox = Inbox(os.fsencode(folder), recursive=False)
        self.importer = Importer([self.inbox], store, signals, order)
        self.now_s = 1000.0

    def step(self, after_s: float = 0.01) -> int:
        """Let time pass and step; return how many files were queued."""
        self.now_s += after_s
        return self.importer.step(self.now_s)


@pytest.fixture
def stepped(store: Store, tmp_path: Path) -> Iterator[Stepped]:
    """Return the role, watching an empty folder."""
    with process_signals.handled() as signals:
        role = Stepped(store, tmp_path, signals)
        role.step()
        yield role
        role.inbox.close()


class PausesOfABatch(process_signals.Signals):
    """Records how long the role waits for the end of a batch; a file that is queued stops it.

    The file is moved into the folder before the role's first pause.
    """

    def __init__(self, wakeup: socket.socket, store: Store, file: Path, folder: Path) -> None:
        super().__init__(wakeup)
        self._store, self._file, self._folder = store, file, folder
        self.pauses_s: list[float] = []

    def wait(
        self, timeout_s: float, *readable: HasFileno | int, stops: int = 1, waiting_for: str = ""
    ) -> None:
        """Wait as usual; while a batch arrives, there is no descriptor to wait for."""
        if self._file.exists():
            self._file.rename(self._folder / self._file.name)
        elif queue_of(self._store):
            raise Stopped("It is queued.")
        elif not readable and timeout_s:
            self.pauses_s.append(timeout_s)
        super().wait(timeout_s, *readable, stops=stops, waiting_for=waiting_for)


class WaitingForProblems(process_signals.Signals):
    """Lets each read of a file last until the importer has published its problem anew.

    They stop it once a problem has this cause, or this file has been compared.
    """

    def __init__(self, wakeup: socket.socket, store: Store, name: bytes, cause: str) -> None:
        super().__init__(wakeup)
        self._store, self._name, self._cause = store, name, cause
        self.problem = ""

    def wait(
        self, timeout_s: float, *readable: HasFileno | int, stops: int = 1, waiting_for: str = ""
    ) -> None:
        """Wait as usual between the looks, and in a look for the next report."""
        super().wait(timeout_s, *readable, stops=stops, waiting_for=waiting_for)
        if not readable:
            before = self.problem
            is_met(lambda: self._published() not in {"", before}, scaled(2))
            self.problem = self._published()
            if self._cause in self.problem:
                raise Stopped("It was published.")
        elif self._store.redis.hexists(self._store.keys.fed, os.fsdecode(self._name)):
            raise Stopped("The file was compared.")

    def _published(self) -> str:
        return (self._store.redis.hget(self._store.keys.importer, "problem") or b"").decode()  # type: ignore[union-attr]


def test_a_long_comparison_is_shown_while_it_lasts(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fed capture that was copied is read whole, which takes minutes if it is large."""
    [fed] = written(tmp_path, "fed.pcap")
    queue_captures(store, list_captures([fed], recursive=False).files)
    feed_next(store)
    [copy] = written(tmp_path, "copy.pcap")
    os.utime(copy, (5, 5))
    monkeypatch.setattr("pcapdj.inbox.problem_log.SLOW_LOOK_S", 0.0)
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        signals = WaitingForProblems(reader, store, copy, "files are compared with fed captures")
        role = Stepped(store, tmp_path, signals)
        with pytest.raises(Stopped, match="It was published"):
            role.importer.run()
        role.inbox.close()


@pytest.mark.long
def test_thousands_of_names_are_queued_in_natural_order(store: Store, tmp_path: Path) -> None:
    """All of them, each once; a second import queues none."""
    names = written(tmp_path, *(f"cap{number}.pcap" for number in range(1200)))

    first, second = imported(store, str(tmp_path)), imported(store, str(tmp_path))

    assert queue_of(store) == names
    assert (first.returncode, second.returncode) == (0, 0)
    assert first.stdout == "1200 queued, 0 already queued or fed, 0 not imported.\n"
    assert second.stdout == "0 queued, 1200 already queued or fed, 0 not imported.\n"


def test_an_empty_file_of_a_folder_is_refused_as_by_its_name(store: Store, tmp_path: Path) -> None:
    """Exit 1; what is no capture is skipped, and no fault."""
    (name,) = written(tmp_path, "a")
    written(tmp_path, "b", content=b"")
    written(tmp_path, "notes", content=b"text")

    done = imported(store, str(tmp_path))
    (tmp_path / "b").unlink()
    again = imported(store, str(tmp_path))

    assert queue_of(store) == [name]
    assert (done.returncode, again.returncode) == (1, 0)
    assert done.stdout == "1 queued, 0 already queued or fed, 2 not imported.\n"
    assert f"'{tmp_path}/b' is empty: 0 bytes.\n" in done.stderr
    assert f"Skipped: '{tmp_path}/notes' is not a supported capture format.\n" in again.stderr


def test_what_lies_outside_of_the_roots_is_refused_at_once(store: Store, tmp_path: Path) -> None:
    """By its name or behind a link; the person who imports sees it, and not only the dispatcher's log."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    good, bad = written(inside, "a")[0], written(outside, "b")[0]
    (inside / "link").symlink_to(os.fsdecode(bad))

    done = imported(store, good, bad, str(inside / "link"), "--root", str(inside))

    assert queue_of(store) == [good]
    assert done.returncode == 1
    assert f"'{outside}/b' is outside of '{inside}'" in done.stderr
    assert f"'{inside}/link'" in done.stderr
    assert done.stdout == "1 queued, 0 already queued or fed, 2 not imported.\n"


def test_nothing_of_a_file_outside_of_the_roots_is_shown(store: Store, tmp_path: Path) -> None:
    """It is not even opened: neither its times nor what kind of file it is are known."""
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside, outside):
        folder.mkdir()
    (inside / "a1.pcap").write_bytes(classic(numbered(1, 20)))
    (outside / "secret.pcap").write_bytes(classic(numbered(1, 20)))
    (outside / "shadow").write_text("root:*")
    (inside / "b1.pcap").symlink_to(outside / "secret.pcap")
    (inside / "c1.pcap").symlink_to(outside / "shadow")

    done = imported(store, str(inside), str(outside / "shadow"), "--root", str(inside))

    assert "overlap" not in done.stderr
    assert "capture format" not in done.stderr
    assert done.stderr.count("is a link, and with --root links are not followed") == 2
    assert done.returncode == 1
    assert done.stderr.count("is outside of") == 1
    assert done.stdout == "1 queued, 0 already queued or fed, 3 not imported.\n"


@pytest.mark.parametrize("recursive", [(), ("--recursive",)], ids=["flat", "recursive"])
def test_no_folder_outside_of_the_roots_is_listed(
    recursive: tuple[str, ...], store: Store, tmp_path: Path
) -> None:
    """By its name, or behind a link: neither the names in it nor their kinds are shown."""
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside, outside, outside / "sub"):
        folder.mkdir()
    (inside / "a1.pcap").write_bytes(classic(numbered(1, 20)))
    for name in ("secret.pcap", "sub/secret"):
        (outside / name).write_bytes(classic(numbered(1, 20)))
    (outside / "secret-dangling").symlink_to("nothing")
    (inside / "link").symlink_to(outside)

    paths = [str(path) for path in (inside / "a1.pcap", inside / "link", inside / "link" / "sub", outside)]
    done = imported(store, *paths, "--root", str(inside), *recursive)

    assert done.returncode == 1
    assert "secret" not in done.stderr
    assert f"'{inside}/link' is a symbolic link." in done.stderr
    assert f"'{inside}/link/sub' is or follows a symbolic link" in done.stderr
    assert f"'{outside}' is outside of '{inside}'." in done.stderr
    assert done.stdout == "1 queued, 0 already queued or fed, 3 not imported.\n"


@pytest.mark.parametrize("again", ["queueing", "overlaps"])
def test_a_file_that_is_opened_again_is_opened_below_its_root(tmp_path: Path, again: str) -> None:
    """A link may have taken its place since the first look."""
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "1.pcap").write_bytes(classic(numbered(1, 20)))
    name = os.fsencode(inside / "1.pcap")
    file = look_at_capture(name, roots=[os.fsencode(inside)])
    (inside / "1.pcap").unlink()
    (inside / "1.pcap").symlink_to(outside / "1.pcap")

    if again == "queueing":
        with pytest.raises(CaptureError, match="symbolic link"):
            file.opened()
    else:
        assert file.span is not None
        assert recent_captures.with_end(file.span._replace(last_ns=None)).last_ns is None


@pytest.mark.parametrize("value", ["/nowhere:", ":/nowhere", "/nowhere::/nothing", ":"])
def test_no_empty_part_of_the_roots_stands_for_the_current_folder(
    store: Store, tmp_path: Path, value: str
) -> None:
    """A script that joins an empty variable to the roots would let this folder's files be fed."""
    [name] = written(tmp_path, "a")

    done = run("pcapdj.importer", *at(store), name, cwd=tmp_path, env=clean_environment(PCAPDJ_ROOT=value))

    assert (queue_of(store), done.returncode) == ([], 2)
    assert "PCAPDJ_ROOT has an empty folder" in done.stderr


def test_named_files_that_are_not_captures_are_refused_and_the_others_queued(
    store: Store, tmp_path: Path
) -> None:
    """One sentence each on stderr, and exit 1."""
    names = written(tmp_path, "b", "a") + written(tmp_path, "text", content=b"hello") + [b"/missing\n/x"]

    done = imported(store, *names)

    assert queue_of(store) == [names[0], names[1]]
    assert done.returncode == 1
    assert done.stderr == (
        f"pcapdj import: '{tmp_path}/text' is not a supported capture format.\n"
        "pcapdj import: $'/missing\\x0a/x' does not exist.\n"
    )
    assert done.stdout == "2 queued, 0 already queued or fed, 2 not imported.\n"


def test_folders_may_hold_other_files_and_are_looked_into_on_demand(store: Store, tmp_path: Path) -> None:
    """Only a file that the user named makes the exit code 1."""
    (tmp_path / "sub").mkdir()
    (top,) = written(tmp_path, "top")
    (below,) = written(tmp_path / "sub", "below")
    written(tmp_path, "notes", content=b"hello")

    flat, deep = imported(store, str(tmp_path)), imported(store, str(tmp_path), "--recursive")

    assert (flat.returncode, deep.returncode) == (0, 0)
    assert flat.stderr == (
        f"pcapdj import: '{tmp_path}' has 1 folder inside, skipped.\n"
        f"pcapdj import: Skipped: '{tmp_path}/notes' is not a supported capture format.\n"
    )
    assert flat.stdout == "1 queued, 0 already queued or fed, 1 not imported.\n"
    assert deep.stdout == "1 queued, 1 already queued or fed, 1 not imported.\n"
    assert queue_of(store) == [top, below]


@pytest.mark.parametrize("by_variable", [False, True])
def test_files_may_be_ordered_by_time_and_go_into_another_queue(
    store: Store, tmp_path: Path, *, by_variable: bool
) -> None:
    """By the time of the first packet; options and variables do the same."""
    (late,) = written(tmp_path, "a", content=classic([Record(9)]))
    (early,) = written(tmp_path, "b", content=classic([Record(5)]))
    key = f"{store.keys.prefix}OTHER"
    options = [] if by_variable else ["--order", "time", "-q", key]
    variables = {"PCAPDJ_ORDER": "time", "PCAPDJ_QUEUE": key} if by_variable else {}

    done = run("pcapdj.importer", *at(store), *options, str(tmp_path), env=clean_environment(**variables))

    assert done.returncode == 0
    [queue] = list(store.redis.scan_iter(match="*OTHER", _type="list"))
    assert store.redis.lrange(queue, 0, -1) == [early, late]


def test_names_of_any_bytes_reach_the_queue_unchanged(store: Store, tmp_path: Path) -> None:
    """Newline, escape sequence, no UTF-8, a leading dash, relative with dots."""
    names = [os.fsencode(tmp_path) + b"/" + odd for odd in (b"-x", b"a\nb", b"\x1b[1m\xff")]
    for name in names:
        with open(name, "wb") as file:  # noqa: PTH123 - bytes
            file.write(CAPTURE)

    dotted = os.fsencode(tmp_path / ".." / tmp_path.name)
    done = imported(store, names[2], names[1], dotted + b"/-x")

    assert done.returncode == 0, done.stderr
    assert sorted(queue_of(store)) == sorted(names)


def test_a_fed_file_is_queued_again_only_if_it_changed_or_on_demand(store: Store, tmp_path: Path) -> None:
    """Rotation uses names again; the same file is not fed twice by accident."""
    (name,) = written(tmp_path, "x")
    feed(store, name)

    same = imported(store, name)
    assert same.stdout == (
        "0 queued, 1 already queued or fed (1 fed before: --again feeds them again), 0 not imported.\n"
    )
    assert "1 queued" in imported(store, name, "--again").stdout
    store.redis.delete(store.keys.in_queue)
    written(tmp_path, "x", content=CAPTURE * 2)
    assert "1 queued" in imported(store, name).stdout


def test_an_import_prints_under_which_name_a_capture_was_fed(store: Store, tmp_path: Path) -> None:
    """And when; --again feeds it."""
    (first,) = written(tmp_path, "first")
    imported(store, first)
    feed_next(store, time_s=1_700_000_000)
    (other,) = written(tmp_path, "other")

    known, again = imported(store, other), imported(store, other, "--again")

    assert known.stderr == (
        f"pcapdj import: '{tmp_path}/other' was fed as '{tmp_path}/first' at 2023-11-14T22:13:20Z,"
        " and is not queued.\n"
    )
    assert known.stdout == (
        "0 queued, 1 already queued or fed (1 fed before: --again feeds them again), 0 not imported.\n"
    )
    assert (known.returncode, again.returncode) == (0, 0)
    assert queue_of(store) == [other]


def test_without_redis_one_import_ends_with_its_exit_code(tmp_path: Path) -> None:
    """One sentence, no traceback, 69; no file is read for nothing."""
    (name,) = written(tmp_path, "x")
    os.utime(name, (1, 2))

    done = run("pcapdj.importer", "--redis-url", f"unix://{tmp_path}/none", name)

    assert done.returncode == 69
    assert len(done.stderr.splitlines()) == 1
    assert os.stat(name).st_atime == 1  # noqa: PTH116 - bytes


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        ([], "Nothing to import. Name files or folders, or set PCAPDJ_INBOX."),
        (
            ["--watch", "--again", "/x"],
            (
                "--again and --watch exclude each other: each restart would feed the whole folder again."
                " Use --again without --watch, or 'pcapdj requeue'."
            ),
        ),
        (
            ["--order", "size", "/x"],
            (
                "Invalid value for '--order' (env var: 'PCAPDJ_ORDER'): 'size' is not one of 'name', 'time'."
                " See 'pcapdj import --help'."
            ),
        ),
    ],
)
def test_an_invalid_command_line_ends_with_2(store: Store, arguments: list[str], refusal: str) -> None:
    """Nothing to import, a folder fed again at each restart, an unknown order; with what to write instead."""
    done = imported(store, *arguments)

    assert done.returncode == 2
    assert done.stderr == f"pcapdj import: {refusal}\n"


def test_watched_files_are_queued_when_they_are_complete(store: Store, tmp_path: Path) -> None:
    """Those there before, one written slowly, and several moved in at once, in natural order."""
    inbox, outside = tmp_path / "in", tmp_path / "out"
    inbox.mkdir()
    outside.mkdir()
    (old,) = written(inbox, "old")
    os.utime(old, (1, 1))
    written(outside, "cap10", "cap2", "cap1")

    with watching(store, str(inbox)):
        wait_until(lambda: queue_of(store) == [old], "the old file to be queued")
        with (inbox / "slow").open("wb") as file:
            file.write(CAPTURE)
            file.flush()
            for name in ("cap10", "cap2", "cap1"):
                (outside / name).rename(inbox / name)
            moved = [os.fsencode(inbox / name) for name in ("cap1", "cap2", "cap10")]
            wait_until(lambda: len(queue_of(store)) == 4, "the moved files to be queued")
            assert queue_of(store) == [old, *moved]
        wait_until(lambda: len(queue_of(store)) == 5, "the slow file to be queued")


def test_the_role_waits_for_redis_and_for_the_folder(short_path: Path, tmp_path: Path) -> None:
    """Each wait is logged, and ends by itself."""
    socket = short_path / "r.sock"
    inbox = tmp_path / "in"
    options = ["--watch", "--redis-url", f"unix://{socket}", str(inbox)]

    with start("pcapdj.importer", *options, stderr=PIPE, text=True) as process:
        log = process.stderr
        assert any("missing" in text for text in log)
        inbox.mkdir()
        assert any("inbox_watched" in text for text in log)
        written(inbox, "x")
        assert any("waiting_for_redis" in text for text in log)
        with redis_at(socket):
            assert any("files_queued" in text for text in log)
            process.send_signal(signal.SIGTERM)
            assert process.wait() == 0


def test_a_watch_logs_its_folders_and_what_it_queues(store: Store, tmp_path: Path) -> None:
    """Which folders, how many files, which files it cannot feed; a folder named twice counts once."""
    for folder in ("in", "gone"):
        (tmp_path / folder).mkdir()
    for name in written(tmp_path / "in", "a", "b") + written(tmp_path / "in", "text", content=b"hello"):
        os.utime(name, (1, 1))
    (tmp_path / "gone").rmdir()

    with watching(store, str(tmp_path / "in"), str(tmp_path / "in"), str(tmp_path / "gone")) as process:
        log = [next(process.stderr) for _ in range(5)]
        (tmp_path / "gone").mkdir()
        log.append(next(process.stderr))

    assert [line.split(maxsplit=3)[3].strip() for line in log] == [
        "importer_starts folders=2 order=time recursive=False",
        f"inbox_watched folder={tmp_path}/in",
        f"not_imported: Skipped: '{tmp_path}/in/text' is not a supported capture format.",
        f"files_queued files=2 first={tmp_path}/in/a last={tmp_path}/in/b",
        f"inbox_problem: The inbox '{tmp_path}/gone' is missing, or is not a folder.",
        f"inbox_watched folder={tmp_path}/gone",
    ]


def test_a_problem_that_comes_again_is_logged_again_at_once(
    stepped: Stepped, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """While it lasts, once a minute."""
    for _ in range(2):
        tmp_path.rmdir()
        stepped.step()
        stepped.step()
        tmp_path.mkdir()
        stepped.step()

    assert logged(capsys, "inbox_problem", 2).count("inbox_problem") == 2


def test_a_file_that_was_queued_wakes_the_role_when_its_batch_ends(store: Store, tmp_path: Path) -> None:
    """A file that is moved in is queued within half a second, not with the next look at the folder."""
    (tmp_path / "in").mkdir()
    times_s = []
    with watching(store, str(tmp_path / "in")) as process:
        assert any("inbox_watched" in line for line in process.stderr)
        for number in range(3):
            (name,) = written(tmp_path, str(number))
            started_s = time.monotonic()
            Path(os.fsdecode(name)).rename(tmp_path / "in" / str(number))
            wait_until(lambda expected=number + 1: len(queue_of(store)) == expected, "the file")  # type: ignore[misc]
            times_s.append(time.monotonic() - started_s)

    assert min(times_s) < scaled(0.5)


def test_the_role_wakes_at_the_end_of_a_batch_and_not_with_its_next_look(
    store: Store, tmp_path: Path
) -> None:
    """What is read of the folder in between waits until then."""
    (tmp_path / "in").mkdir()
    (name,) = written(tmp_path, "1.pcap")
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        signals = PausesOfABatch(reader, store, Path(os.fsdecode(name)), tmp_path / "in")
        role = Stepped(store, tmp_path / "in", signals)
        with pytest.raises(Stopped, match="It is queued"):
            role.importer.run()
        role.inbox.close()

    assert signals.pauses_s
    assert max(signals.pauses_s) <= QUIET_S


def test_a_closed_watch_leaves_no_descriptor(store: Store, tmp_path: Path) -> None:
    """Each folder has an inotify descriptor, and a thread."""
    store.ping()
    before = open_descriptors()
    with process_signals.handled() as signals:
        role = Stepped(store, tmp_path, signals)
        written(tmp_path, "x")
        role.step()
        role.inbox.close()

    assert not open_descriptors() - before


def test_the_inboxes_may_come_from_the_environment(store: Store, tmp_path: Path) -> None:
    """One a line, as in supervisord.conf."""
    for name in ("a b", "c:d"):
        (tmp_path / name).mkdir()
        written(tmp_path / name, "x")
    environment = clean_environment(PCAPDJ_INBOX=f"{tmp_path}/a b\n{tmp_path}/c:d\n")

    run("pcapdj.importer", *at(store), env=environment).check_returncode()

    assert queue_of(store) == [os.fsencode(tmp_path / "a b/x"), os.fsencode(tmp_path / "c:d/x")]


def test_a_file_that_is_open_for_writing_is_never_queued(stepped: Stepped, tmp_path: Path) -> None:
    """A writer that is silent for an hour has not finished."""
    with (tmp_path / "x").open("wb") as file:
        file.write(CAPTURE)
        file.flush()
        assert [stepped.step(after_s) for after_s in (RESCAN_S, LATER_S, 3600.0, LATER_S)] == [0, 0, 0, 0]

    wait_until(lambda: stepped.step() == 1, "the closed file to be queued")


def test_a_name_used_again_while_it_is_fed_is_queued_afterwards(
    stepped: Stepped, store: Store, tmp_path: Path
) -> None:
    """The new file is not lost, and not queued before the old one is done."""
    (name,) = written(tmp_path, "x")
    wait_until(lambda: stepped.step() == 1, "the file to be queued")
    feed(store, name)
    store.redis.sadd(store.keys.dispatchers, "/pipe")
    store.redis.hset(store.keys.current("/pipe"), mapping=dict[Any, Any]({"name": name}))

    written(tmp_path, "x", content=CAPTURE * 2)
    assert sum(stepped.step(after_s) for after_s in (RESCAN_S, LATER_S, LATER_S)) == 0
    store.redis.delete(store.keys.current("/pipe"))

    assert sum(stepped.step(after_s) for after_s in (LATER_S, LATER_S)) == 1


def test_a_restart_queues_nothing_twice(stepped: Stepped, store: Store, tmp_path: Path) -> None:
    """Redis has what is queued, and what was fed."""
    fed, queued = written(tmp_path, "fed", "queued")
    wait_until(lambda: stepped.step() == 2, "both to be queued")
    feed(store, fed)
    store.redis.rpush(store.keys.in_queue, queued)
    with process_signals.handled() as signals:
        successor = Stepped(store, tmp_path, signals)

        assert [successor.step(after_s) for after_s in (1.0, LATER_S, LATER_S)] == [0, 0, 0]
        successor.inbox.close()

    assert queue_of(store) == [queued]


class DispatcherRegisters(process_signals.Signals):
    """A dispatcher registers again during the first wait."""

    def __init__(self, wakeup: socket.socket, store: Store) -> None:
        super().__init__(wakeup)
        self._store = store

    def wait(
        self, timeout_s: float, *readable: HasFileno | int, stops: int = 1, waiting_for: str = ""
    ) -> None:
        """Wait as usual, if at all."""
        if timeout_s > 0:
            self._store.redis.sadd(self._store.keys.dispatchers, "/pipe")
        super().wait(timeout_s, *readable, stops=stops, waiting_for=waiting_for)


def test_the_file_of_a_dispatcher_that_registers_again_is_not_queued(store: Store, tmp_path: Path) -> None:
    """Redis had lost the keys: the importer waits a moment before it queues the first files."""
    (name,) = written(tmp_path, "x")
    store.redis.hset(store.keys.fed, "/in/other", "{}")
    store.redis.hset(store.keys.current("/pipe"), mapping=dict[Any, Any]({"name": name}))
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        role = Stepped(store, tmp_path, DispatcherRegisters(here, store))

        assert sum(role.step(after_s) for after_s in (1.0, LATER_S, LATER_S)) == 0
        role.inbox.close()

    assert store.redis.smembers(store.keys.dispatchers) == {b"/pipe"}
    assert queue_of(store) == []


def test_files_that_are_not_captures_are_skipped(
    stepped: Stepped, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others of its batch are queued; the next looks log nothing of them."""
    written(tmp_path, "text.pcap", content=b"hello")
    (name,) = written(tmp_path, "x")

    wait_until(lambda: stepped.step() == 1, "the capture to be queued")

    assert queue_of(store) == [name]
    for _ in range(3):
        stepped.step(RESCAN_S)
    written(tmp_path, "other.pcap", content=b"hello")
    wait_until(lambda: stepped.step(LATER_S) == 0 and not stepped.inbox.batch_ends_s, "the other file")
    stepped.step(RESCAN_S)
    stepped.step(LATER_S)
    assert logged(capsys, "/other.pcap").count("not_imported") == 2


def test_names_that_the_times_contradict_are_logged_for_a_watched_folder(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The files are queued by time; their numbers have no gap, so one of the two orders is wrong."""
    names = written(tmp_path, "2.pcap", content=classic([Record(5)]))
    names += written(tmp_path, "1.pcap", content=classic([Record(9)]))
    with process_signals.handled() as signals:
        role = Stepped(store, tmp_path, signals, Order.TIME)
        wait_until(lambda: role.step(LATER_S) == 2, "both to be queued")
        role.inbox.close()

    assert queue_of(store) == names
    log = logged(capsys, "files_queued")
    assert f"WARNING importer order_contradicted folder={tmp_path}: " in log


def test_a_file_that_a_person_took_from_the_queue_stays_out(
    stepped: Stepped, store: Store, tmp_path: Path
) -> None:
    """It is queued once; after a change, as a new file."""
    written(tmp_path, "x")
    wait_until(lambda: stepped.step() == 1, "the file to be queued")
    store.redis.delete(store.keys.in_queue)

    assert [stepped.step(after_s) for after_s in (RESCAN_S, LATER_S, RESCAN_S, LATER_S)] == [0] * 4
    written(tmp_path, "x", content=CAPTURE * 2)
    assert sum(stepped.step(after_s) for after_s in (RESCAN_S, LATER_S, LATER_S)) == 1


@pytest.mark.long
def test_status_has_what_the_inbox_skips_and_what_is_written(store: Store, tmp_path: Path) -> None:
    """Published within a second, and once more at the end."""
    inbox = tmp_path / "in"
    inbox.mkdir()
    (inbox / "sub").mkdir()
    (inbox / "dangling").symlink_to("nowhere")
    for name in written(inbox, "x") + written(inbox, "text", content=b"hello"):
        os.utime(name, (1, 1))

    def published() -> dict[str, Any]:
        return read_snapshot(store, time.time())["importer"] or {}

    with watching(store, str(inbox)), (inbox / "open").open("wb") as file:
        file.write(CAPTURE)
        file.flush()
        expected = {"folder without --recursive": 1, "link to nothing": 1, "not a capture": 1}
        wait_until(lambda: published().get("skipped") == expected, "the skipped names to be published")
        wait_until(lambda: published().get("written") == 1, "the written file to be published")
        (inbox / "copy").write_bytes(CAPTURE)
        wait_until(lambda: "/copy" in str(published().get("last_event")), "the copy to be queued")
        watched = published()

    assert watched["folders"] == [str(inbox)]
    assert (watched["state"], watched["problem"], watched["stale"]) == ("watching", "", False)
    assert published()["state"] == "stopped"


def test_a_problem_of_an_inbox_is_published(store: Store, tmp_path: Path) -> None:
    """As the sentence of the log."""
    with watching(store, str(tmp_path / "none")):
        wait_until(
            lambda: (
                (read_snapshot(store, time.time())["importer"] or {}).get("problem")
                == f"The inbox '{tmp_path}/none' is missing, or is not a folder."
            ),
            "the problem to be published",
        )


def test_what_is_skipped_is_logged_once(
    stepped: Stepped, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What may still be written when it stays."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    for _ in range(4):
        stepped.step(RESCAN_S)

    log = logged(capsys, "is empty: 0 bytes")
    assert log.count(f"not_imported: Skipped: '{tmp_path}/pipe' is not a regular file.") == 1
    assert log.count(f"not_imported: Skipped: '{tmp_path}/empty' is empty: 0 bytes.") == 1


def test_two_taps_in_one_lane_are_logged_and_published_once(
    stepped: Stepped, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whenever their files arrive; the files of one tap are not."""
    arrivals = [(tap, minute) for minute in range(3) for tap in ("in", "out")]
    for tap, minute in arrivals:
        packets = [Record(1000 + 60 * minute + second) for second in range(60)]
        written(tmp_path, f"{tap}{minute}", content=classic(packets))
        wait_until(lambda: stepped.step() == 1, "the file to be queued")

    log = logged(capsys, "captures_overlap")
    assert log.count("captures_overlap") == 1
    assert f"'{tmp_path}/in0' and '{tmp_path}/out0' overlap by 59 s" in log


@pytest.mark.parametrize("where", ["fed", "queued"])
def test_a_file_that_was_fed_or_is_queued_is_not_opened(
    stepped: Stepped, store: Store, tmp_path: Path, where: str
) -> None:
    """Name, size and time decide: an inbox of 100,000 such files is looked through in seconds."""
    (name,) = written(tmp_path, "x", content=b"not a capture at all")
    if where == "fed":
        feed(store, name)
    else:
        status = os.stat(name)  # noqa: PTH116 - bytes
        identity = Identity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        line = json.dumps(QueuedFile(identity, 20, "", "", "").as_fields())
        enqueue_new(store, {name: identity}, lines={name: line})

    stepped.step(RESCAN_S)
    stepped.step(LATER_S)

    assert stepped.inbox.counts() == (0, 0, {}), "it would be skipped: it is no capture"


def test_files_are_queued_again_after_redis_lost_the_queue(store: Store, tmp_path: Path) -> None:
    """As by a restart without its data; what was fed is known as long as Redis knows it."""
    (tmp_path / "in").mkdir()
    fed, queued = written(tmp_path / "in", "fed", "queued")
    for name in (fed, queued):
        os.utime(name, (1, 1))
    feed(store, fed)

    with watching(store, str(tmp_path / "in")) as process:
        assert any("files_queued" in line for line in process.stderr)
        wait_until(lambda: store.redis.hget(store.keys.importer, "waiting") == b"0", "a comparison")
        store.redis.delete(store.keys.in_queue, store.keys.queued)
        assert any("queue_lost" in line for line in process.stderr)
        wait_until(lambda: queue_of(store) == [queued], "the file to be queued again")


def test_a_name_that_is_queued_too_often_is_logged_and_offered_again(
    stepped: Stepped, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once a minute, however often it is tried."""
    name = os.fsencode(tmp_path / "x")
    identity = Identity(1, 2, 3, 4)
    line = json.dumps(QueuedFile(identity, 40, "another file", "", "").as_fields())
    store.redis.rpush(store.keys.in_queue, *[name] * MOST_LINES)
    enqueue_new(store, {b"/other": identity})
    lines = [f"{number} {line}" for number in range(1, MOST_LINES + 1)]
    store.redis.hset(store.keys.queued, mapping=dict[Any, Any]({name: "\n".join(lines)}))

    written(tmp_path, "x")
    wait_until(lambda: stepped.step() == 0 and not stepped.inbox.batch_ends_s, "the file to be offered")
    stepped.step(LATER_S)
    waiting = stepped.inbox.counts().waiting
    store.redis.delete(store.keys.in_queue, store.keys.queued)

    assert stepped.step(LATER_S) == 1
    assert waiting == 1
    assert logged(capsys, "queued_too_often").count("queued_too_often") == 1


@pytest.mark.long
def test_a_thousand_files_that_are_renamed_newest_first_are_queued_in_their_order(
    store: Store, tmp_path: Path
) -> None:
    """They arrive as one batch, however busy the machine is."""
    inbox, outside = tmp_path / "in", tmp_path / "out"
    inbox.mkdir()
    outside.mkdir()
    names = [
        written(outside, f"c{number}", content=classic([Record(1000 + number)]))[0] for number in range(1000)
    ]

    with watching(store, str(inbox)) as process:
        assert any("inbox_watched" in line for line in process.stderr)
        for name in reversed(names):
            path = Path(os.fsdecode(name))
            path.rename(inbox / path.name)
        wait_until(lambda: len(queue_of(store)) == len(names), "all to be queued")

    assert queue_of(store) == [os.fsencode(inbox / f"c{number}") for number in range(1000)]
