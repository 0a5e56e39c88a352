"""A queue entry from take to finish, with a real Redis and a link that records: `pcapdj.feed.job`."""

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.captures import file_header
from support.dispatcher_rig import (
    authorize,
    current,
    journal,
    listed,
    packets,
    queue,
    queue_as_imported,
    records,
    stream_of,
    written,
)
from support.logs import logged
from support.mounts import memory_mount
from support.stream_link import ReadingInterrupts, RecordingLink, SilentNotifier, storage_of

from pcapdj.capture.files import OpenFile, StillWritten
from pcapdj.capture.opening import capture_of
from pcapdj.capture.pcap import Place, StreamFormat, Totals
from pcapdj.capture.reading_process import FileOpener
from pcapdj.capture.storage import FolderState
from pcapdj.capture.stream_options import StreamOptions
from pcapdj.feed.authorization import Authorization
from pcapdj.feed.feeder import Feeder
from pcapdj.feed.job import JobRunner
from pcapdj.feed.known_captures import KnownCaptures
from pcapdj.feed.launcher_client import Entry
from pcapdj.feed.poison import PoisonPolicy
from pcapdj.feed.progress import ResumeNote
from pcapdj.feed.reading_mark import ReadingMark
from pcapdj.feed.skips import SkipRequests
from pcapdj.feed.start_point import FIRST_PACKET, StartPoint
from pcapdj.feed.streams import Streams
from pcapdj.runtime.errors import LauncherGone, PcapdjError, ReaderGone, Stopped
from pcapdj.runtime.signals import HasFileno, Signals, Waits
from pcapdj.store import operate
from pcapdj.store.client import Store
from pcapdj.store.job_queue import JobQueue, QueueEntry

FIRST, SECOND = packets(100, 20), packets(200, 10)
HOUR_NS = 3600 * 10**9


class ActingInterrupts(ReadingInterrupts):
    """Interrupts that do something before one of the checks from then on."""

    def __init__(self, link: RecordingLink, signals: Signals) -> None:
        super().__init__(link, signals)
        self.statistics = self._statistics
        self._left = 0
        self._action: Callable[[], object] = lambda: None
        self.on_wait: Callable[[], object] = lambda: None

    def at_check(self, number: int, act: Callable[[], object]) -> None:
        """Do this before the n-th check, counted from 1."""
        self._left, self._action = number, act

    def wait(
        self, timeout_s: float, *readable: HasFileno | int, stops: int = 1, waiting_for: str = ""
    ) -> None:
        """Act before each wait."""
        self.on_wait()
        super().wait(timeout_s, *readable, stops=stops, waiting_for=waiting_for)

    def check(self) -> bool:
        """Act if it is time, and check."""
        self._left -= 1
        if not self._left:
            self._action()
        return super().check()


class UnsettledFilesOpener(FileOpener):
    """Opens files of which the first calls cannot know whether they are still written.

    Attributes:
        settles_in_s: for each of these calls, how long to wait.
        before_looks: for each look at the place of a file that cannot be opened, what happens just before.
    """

    def __init__(self, waits: Waits) -> None:
        super().__init__(waits)
        self.settles_in_s: list[float] = []
        self.before_looks: list[Callable[[], object]] = []

    def folder_state(self, name: bytes, mount: bytes, root: bytes | None) -> FolderState:
        """Look there, after what was to happen."""
        if self.before_looks:
            self.before_looks.pop(0)()
        return super().folder_state(name, mount, root)

    def open(self, name: bytes, *, root: bytes | None, refuse_written: bool) -> OpenFile:
        """Open the file, if it has settled."""
        if refuse_written and self.settles_in_s:
            raise StillWritten(self.settles_in_s.pop())
        return super().open(name, root=root, refuse_written=refuse_written)


class Rig:
    """A dispatcher's jobs, in this process; its analyzers read all."""

    def __init__(self, store: Store, link: RecordingLink, signals: Signals) -> None:
        self.store = store
        self.link = link
        self.interrupts = ActingInterrupts(link, signals)
        self.statistics = self.interrupts.statistics
        self.queue = JobQueue(store, "d")
        self.queue.register()
        self.streams = Streams(link, self.interrupts)
        self._notifier = SilentNotifier()
        opener, mark = UnsettledFilesOpener(self.interrupts), ReadingMark()
        self.opener = opener
        storage = storage_of(store, opener, self.interrupts)
        self.runner = JobRunner(
            queue=self.queue,
            authorization=Authorization(
                self.queue, self._notifier, self.streams, self.interrupts, SkipRequests("d")
            ),
            link=link,
            streams=self.streams,
            feeder=Feeder(self.streams, StreamOptions("first", "fail"), opener, mark, storage),
            known_captures=KnownCaptures(store, storage, self.interrupts),
            poison=PoisonPolicy(store, self.queue, self.interrupts, self.statistics, mark),
            mark=mark,
            storage=storage,
            interrupts=self.interrupts,
            statistics=self.statistics,
            max_gap_ns=HOUR_NS,
        )

    def take(self, name: bytes = b"") -> QueueEntry:
        """Queue and authorize a file if one is named, and take the entry that is due."""
        if name:
            queue(self.store, name)
            authorize(self.store, name)
        taken = self.queue.take()
        assert isinstance(taken, QueueEntry)
        return taken

    def run(self, name: bytes = b"") -> None:
        """Take the file and run its job."""
        self.runner.run(self.take(name))
        self.link.read()

    def close(self) -> None:
        """Close the stream."""
        self.streams.lose()
        self._notifier.close()


@pytest.fixture
def rig(store: Store, link: RecordingLink, signals: Signals) -> Iterator[Rig]:
    """Return jobs of that link, in the test's lane."""
    rig = Rig(store, link, signals)
    yield rig
    rig.close()


def fed(store: Store, name: bytes) -> dict[str, Any]:
    """Return what FED has of a file."""
    return dict(json.loads(store.redis.hget(store.keys.fed, name) or b"{}"))


def failures(store: Store) -> list[dict[str, Any]]:
    """Return the entries of FAILED."""
    return [json.loads(entry) for entry in listed(store, store.keys.failed)]


def test_a_file_is_requested_once_its_analyzer_is_there(rig: Rig, store: Store, tmp_path: Path) -> None:
    """State and requests are shown while it waits for the authorization."""
    name = written(tmp_path, "1.pcap", stream_of(FIRST))
    queue(store, name)
    seen: list[Any] = []

    def grant() -> None:
        if requests := listed(store, store.keys.next):
            seen.append((rig.statistics.state, rig.link.calls[:1], requests))
            authorize(store, name)

    rig.interrupts.on_wait = grant
    rig.run()

    assert seen[0] == ("Waiting for authorization", [("wait",)], [name])
    assert listed(store, store.keys.processed) == [name]


def test_a_file_that_was_fed_whole_is_processed_with_its_numbers(
    rig: Rig, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In PROCESSED, FED, the journal, the statistics and the log; the link forgets the file."""
    name = written(tmp_path, "1.pcap", stream_of(FIRST))
    size_bytes = os.stat(name).st_size  # noqa: PTH116 - bytes

    rig.run(name)

    assert bytes(rig.link.got) == stream_of(FIRST)
    assert listed(store, store.keys.processed) == [name]
    assert (fed(store, name)["size_bytes"], fed(store, name)["result"]) == (size_bytes, "processed")
    assert fed(store, name)["stream"] == "5ca1ab1e"
    [entry] = journal(store)
    wanted = {
        "name": name, "verdict": b"processed", "stream": b"5ca1ab1e", "attempt": b"1", "reason": b"",
        "packets": b"20", "stream_start": b"24", "stream_end": str(size_bytes).encode(), "step_ns": b"",
        "earlier_streams": b"", "size_bytes": str(size_bytes).encode(), "first_packet": b"1",
        "earlier_parts": b"",
    }  # fmt: skip
    assert {key: entry[key] for key in wanted} == wanted
    assert (rig.statistics.files, rig.statistics.failed, rig.statistics.packets) == (1, 0, 20)
    assert (rig.statistics.name, rig.statistics.total_bytes) == (b"", 0)
    assert ("drop", "5ca1ab1e", "file") in rig.link.calls
    assert current(store, "d") == {}
    times = "first=1970-01-01T00:01:40.000100Z last=1970-01-01T00:01:59.000119Z"
    lines = re.sub(r"seconds=[0-9.]+", "seconds=S", logged(capsys, "file_finished")).splitlines()
    log = [line.partition(" dispatcher ")[2] for line in lines]
    assert log == [
        f"next_file name={os.fsdecode(name)} attempt=1",
        f"waiting_for_authorization name={os.fsdecode(name)}",
        f"authorized name={os.fsdecode(name)}",
        "stream_opened stream=5ca1ab1e linktype=1 nanosecond=False",
        f"file_finished name={os.fsdecode(name)} packets=20 bytes=1200 seconds=S stream=5ca1ab1e {times}",
    ]


def test_while_a_file_is_fed_its_progress_is_shown(rig: Rig, store: Store, tmp_path: Path) -> None:
    """State, name, size and stream; CURRENT has what a successor needs."""
    name = written(tmp_path, "1.pcap", stream_of(FIRST))
    seen: dict[str, Any] = {}

    def look() -> None:
        seen.update(rig.statistics.published() | {"current": current(store, "d")})

    rig.interrupts.at_check(3, look)
    rig.run(name)

    size_bytes = len(stream_of(FIRST))
    assert (seen["state"], seen["name"], seen["total_bytes"]) == ("Feeding fifo buffer", name, size_bytes)
    assert (seen["stream"], seen["waiting_for"]) == ("5ca1ab1e", "")
    assert (seen["current"]["state"], seen["current"]["stream"]) == (b"feeding", b"5ca1ab1e")
    assert seen["current"]["size_bytes"] == str(size_bytes).encode()


@pytest.mark.parametrize(
    ("content", "reason", "packets_fed"),
    [
        (b"hello", "is not a supported capture format", 0),
        (stream_of(FIRST)[:-5], "file ends inside a record", 19),
    ],
)
def test_a_file_that_cannot_be_fed_whole_fails_with_what_was_delivered(
    rig: Rig, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    content: bytes, reason: str, packets_fed: int,
) -> None:  # fmt: skip
    """In FAILED, FED and the journal; only a file with packets was in a stream."""
    name = written(tmp_path, "1.pcap", content)

    rig.run(name)

    [failure] = failures(store)
    [entry] = journal(store)
    assert (failure["name"], failure["packets"], failure["attempt"]) == (os.fsdecode(name), packets_fed, 1)
    assert reason in failure["reason"]
    assert (entry["verdict"], entry["packets"]) == (b"failed", str(packets_fed).encode())
    assert reason.encode() in entry["reason"]
    assert entry["stream"] == (b"5ca1ab1e" if packets_fed else b"")
    assert (rig.statistics.files, rig.statistics.failed) == (0, 1)
    failed = f" dispatcher file_failed name={os.fsdecode(name)} packets={packets_fed}"
    assert failed + (" bytes=" if packets_fed else ": ") in logged(capsys, "file_failed")


def test_a_file_whose_analyzer_died_is_fed_again_from_its_first_packet(
    rig: Rig, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Into the next stream, with another attempt and a death, which is the analyzer's."""
    name = written(tmp_path, "1.pcap", stream_of(FIRST))

    def die() -> None:
        rig.link.leave()
        rig.link.got.clear()
        authorize(store, name)

    rig.interrupts.at_check(2, die)
    entry = rig.take(name)
    rig.runner.run(entry)
    rig.link.read()

    assert bytes(rig.link.got) == stream_of(FIRST)
    [journaled] = journal(store)
    assert (journaled["attempt"], journaled["packets"]) == (b"2", b"20")
    log = logged(capsys, "file_finished")
    assert f"reader_gone name={os.fsdecode(name)} packets=0: " in log
    assert "The file is requested again." in log
    assert (
        f"file_replayed name={os.fsdecode(name)} attempt=2:"
        " Its stream broke off: it is fed again from its first packet."
    ) in log


def lost_before_its_first_packet(
    rig: Rig, store: Store, name: bytes, loss: PcapdjError, meanwhile: Callable[[], object]
) -> dict[str, bytes]:
    """Feed a file whose stream is lost just before the first packet; return what CURRENT had after that."""
    rig.link.lost_at = {"file": loss}
    queue_as_imported(store, name)
    authorize(store, name)
    seen: dict[str, bytes] = {}

    def authorize_again() -> None:
        if not rig.link.lost_at and not seen:
            seen.update(current(store, "d"))
            meanwhile()
            authorize(store, name)

    rig.interrupts.on_wait = authorize_again
    rig.run()
    return seen


@pytest.mark.parametrize(
    ("loss", "deaths"),
    [(LauncherGone("It is gone."), b"0"), (ReaderGone("The analyzer is gone."), b"1")],
    ids=["launcher", "analyzer"],
)
def test_a_stream_that_is_lost_before_the_first_packet_of_a_file_is_no_attempt_at_it(
    rig: Rig,
    store: Store,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    loss: PcapdjError,
    deaths: bytes,
) -> None:
    """It is requested again, also for the next dispatcher; the analyzer's death counts, as that of others."""
    name = written(tmp_path, "1.pcap", stream_of(FIRST))

    seen = lost_before_its_first_packet(rig, store, name, loss, lambda: None)

    assert {key: seen[key] for key in ("state", "stream", "attempt", "deaths")} == {
        "state": b"asked", "stream": b"", "attempt": b"1", "deaths": deaths
    }  # fmt: skip
    assert bytes(rig.link.got) == stream_of(FIRST)
    assert journal(store)[0]["attempt"] == b"1"
    log = logged(capsys, "file_finished")
    assert "reader_gone" in log
    assert "file_replayed" not in log


def test_a_file_that_is_replaced_after_its_stream_was_lost_before_its_first_packet_was_overwritten(
    rig: Rig, store: Store, tmp_path: Path
) -> None:
    """No stream has a packet of it."""
    name = written(tmp_path, "1.pcap", stream_of(FIRST))

    loss = LauncherGone("It is gone.")
    lost_before_its_first_packet(
        rig, store, name, loss, lambda: written(tmp_path, "1.pcap", stream_of(SECOND))
    )

    [failure] = failures(store)
    assert (failure["lost"], failure["reason"]) == (True, "overwritten before it was fed")
    assert not listed(store, store.keys.processed)


def queued_and_moved_away(store: Store, tmp_path: Path) -> tuple[bytes, Callable[[], object]]:
    """Queue and authorize a capture, and move its folder away; return its name and what moves it back."""
    folder, away = tmp_path / "captures", tmp_path / "away"
    folder.mkdir()
    name = written(folder, "a.pcap", stream_of(FIRST))
    queue_as_imported(store, name)
    authorize(store, name)
    folder.rename(away)
    return name, lambda: away.rename(folder)


def test_a_file_that_comes_back_between_the_failed_call_and_the_look_is_fed(
    rig: Rig, store: Store, tmp_path: Path
) -> None:
    """The look shows its folder, so the file seems to be missing; it is opened once more before it fails."""
    name, come_back = queued_and_moved_away(store, tmp_path)
    rig.opener.before_looks = [come_back]

    rig.run()

    assert listed(store, store.keys.processed) == [name]


def test_without_a_limit_a_folder_that_is_gone_is_waited_for(rig: Rig, store: Store, tmp_path: Path) -> None:
    """A limit of 0 is none."""
    name, come_back = queued_and_moved_away(store, tmp_path)
    rig.opener.before_looks = [lambda: None, come_back]
    storage = storage_of(store, rig.opener, rig.interrupts, timeout_s=0)

    replace(rig.runner, storage=storage).run(rig.take())

    assert listed(store, store.keys.processed) == [name]


def test_a_disk_that_is_mounted_just_after_the_file_below_it_was_opened_is_opened_again(
    rig: Rig, store: Store, short_path: Path
) -> None:
    """The look shows the disk, but the open file is the one below the mount point."""
    with memory_mount(short_path) as disk:
        name = written(disk.folder, "a.pcap", stream_of(FIRST))
        queue_as_imported(store, name, mount=os.fsencode(disk.folder))
        authorize(store, name)
        disk.unmount()
        written(disk.folder, "a.pcap", stream_of(SECOND))
        rig.opener.before_looks = [disk.mount]

        rig.run()

        assert (listed(store, store.keys.processed), failures(store)) == ([name], [])
        assert bytes(rig.link.got) == stream_of(FIRST)


def test_a_file_that_is_missing_from_its_folder_fails_after_two_looks(
    rig: Rig, store: Store, tmp_path: Path
) -> None:
    """The second one shows that nothing came back."""
    name = written(tmp_path, "a.pcap", records(FIRST))
    queue_as_imported(store, name)
    Path(os.fsdecode(name)).unlink()
    looks: list[str] = []
    rig.opener.before_looks = [lambda: looks.append("first"), lambda: looks.append("second")]

    rig.run()

    assert [each["reason"] for each in map(json.loads, listed(store, store.keys.failed))] == [
        "does not exist"
    ]
    assert looks == ["first", "second"]


@pytest.mark.parametrize(("outlives", "deaths"), [(True, 3), (False, 0)])
def test_a_file_on_which_analyzers_die_is_at_fault_only_under_a_launcher(
    rig: Rig, store: Store, tmp_path: Path, *, outlives: bool, deaths: int
) -> None:
    """By hand a reader that goes may be a person's Ctrl-C."""
    rig.link.outlives_dispatcher = outlives
    name = written(tmp_path, "1.pcap", stream_of(FIRST))
    left = 3

    def die() -> None:
        nonlocal left
        left -= 1
        rig.link.leave()
        rig.link.got.clear()
        authorize(store, name)
        if left:
            rig.interrupts.at_check(2, die)

    rig.interrupts.at_check(2, die)
    rig.run(name)

    if deaths:
        assert (
            failures(store)[0]["reason"]
            == f"poison: the analyzer died {deaths} times while it read this file"
        )
    else:
        assert listed(store, store.keys.processed) == [name]
        assert journal(store)[0]["attempt"] == b"4"


def test_a_file_that_was_fed_shows_that_the_analyzer_works(rig: Rig, store: Store, tmp_path: Path) -> None:
    """Only three files at fault in a row hold the lane."""
    for number in range(5):
        name = written(tmp_path, f"{number}.pcap", stream_of(FIRST))
        entry = rig.take(name)
        rig.runner.run(entry if number == 2 else replace(entry, deaths=3))
        assert not operate.is_suspended(store)

    assert [os.path.basename(each["name"]) for each in failures(store)] == [  # noqa: PTH119 - as in Redis
        "0.pcap", "1.pcap", "3.pcap", "4.pcap",
    ]  # fmt: skip


def test_an_entry_that_redis_has_lost_is_logged_and_not_fed(
    rig: Rig, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another program put its own in the place; nothing is finished."""
    name = written(tmp_path, "1.pcap", stream_of(FIRST))
    entry = rig.take(name)
    store.redis.hset(store.keys.current("d"), "token", "another")

    rig.runner.run(entry)

    assert f"file_forgotten name={os.fsdecode(name)}: Redis does not have" in logged(capsys, "file_forgotten")
    assert (rig.statistics.files, rig.statistics.failed) == (0, 0)
    assert journal(store) == []
    assert bytes(rig.link.got) == b""


def test_a_file_that_is_lost_while_it_is_fed_is_logged(
    rig: Rig, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its packets are in the stream all the same."""
    name = written(tmp_path, "1.pcap", stream_of(FIRST))
    rig.interrupts.at_check(3, lambda: store.redis.hset(store.keys.current("d"), "token", "another"))

    rig.run(name)

    assert bytes(rig.link.got) == stream_of(FIRST)
    assert "file_forgotten" in logged(capsys, "file_finished")


def test_a_jump_of_the_timestamps_is_logged_and_journaled(
    rig: Rig, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the last packet of the file before; up to an hour is usual."""
    later = packets(FIRST[-1].seconds + 3601, 5)
    first = written(tmp_path, "1.pcap", stream_of(FIRST))
    for name in (first, written(tmp_path, "2.pcap", stream_of(later))):
        rig.run(name)

    log = logged(capsys, "file_finished", 2)
    assert log.count("timestamps_jump") == 1
    assert f"before={os.fsdecode(first)}" in log
    assert [bool(entry["jump"]) for entry in journal(store)] == [False, True]
    assert rig.statistics.jumps == 1


def test_times_after_2038_are_logged_once_for_each_stream(
    rig: Rig, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each file has them in the journal."""
    for number in range(2):
        late = packets(2**31 + 100 * number, 5)
        rig.run(written(tmp_path, f"{number}.pcap", file_header() + records(late)))

    log = logged(capsys, "file_finished", 2)
    assert log.count("after 2038") == 1
    assert [entry["after_2038"] for entry in journal(store)] == [b"1", b"1"]
    assert rig.statistics.after_2038_stream == "5ca1ab1e"


def test_nonsense_in_the_place_of_a_start_point_begins_at_the_first_packet(
    rig: Rig, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another program wrote it."""
    name = written(tmp_path, "1.pcap", stream_of(FIRST))
    rig.take(name)
    store.redis.hset(store.keys.current("d"), "begin", "nonsense")
    seen: list[bytes] = []
    rig.interrupts.at_check(2, lambda: seen.append(current(store, "d")["begin"]))

    rig.run()

    assert seen == [b""]

    assert bytes(rig.link.got) == stream_of(FIRST)
    assert f"begin_invalid name={os.fsdecode(name)}: The file is fed from its first" in logged(
        capsys, "begin_invalid"
    )


def test_a_file_that_another_one_replaces_while_it_is_fed_fails_for_its_own_reason(
    rig: Rig, store: Store, tmp_path: Path
) -> None:
    """The stream has packets of it: it was not overwritten before it was fed."""
    name = written(tmp_path, "a.pcap", stream_of(FIRST)[:-10])
    other = Path(os.fsdecode(written(tmp_path, "b.pcap", stream_of(SECOND))))
    queue_as_imported(store, name)
    authorize(store, name)
    rig.interrupts.at_check(3, lambda: other.replace(os.fsdecode(name)))

    rig.run()

    [failure] = failures(store)
    assert "overwritten" not in failure["reason"]
    assert ("lost" in failure, failure["packets"]) == (False, 19)


@pytest.mark.parametrize("attempt", [1, 2])
def test_only_a_file_of_which_nothing_was_fed_is_overwritten_before_it_was_fed(
    rig: Rig, store: Store, tmp_path: Path, attempt: int
) -> None:
    """An earlier dispatcher has sent packets of a file in its second attempt."""
    name = written(tmp_path, "a.pcap", stream_of(FIRST))
    queue_as_imported(store, name)
    authorize(store, name)
    Path(os.fsdecode(name)).write_bytes(b"")

    rig.runner.run(replace(rig.take(), attempt=attempt))

    [failure] = failures(store)
    assert [failure.get("lost", False), "overwritten" in failure["reason"]] == [attempt == 1] * 2


def test_what_a_stream_had_of_a_file_does_not_count_once_it_is_lost(
    rig: Rig, store: Store, tmp_path: Path
) -> None:
    """Its analyzer dies while the next dispatcher waits for the authorization: the next stream gets all."""
    name = written(tmp_path, "1.pcap", stream_of(FIRST))
    entry = rig.take(name)
    file = rig.opener.open(name, root=None, refuse_written=True)
    with capture_of(name, file, rig.interrupts) as capture:
        begun = rig.runner.feeder.begin(ResumeNote(entry.token, name), capture, FIRST_PACKET)
        assert begun is not None
        next(begun.send())
    [(*_, note)] = [call for call in rig.link.calls if call[:3:2] == ("put", "file")]
    rig.streams.unfinished = Entry("file", note, os.open(name, os.O_RDONLY))
    rig.link.leave()
    rig.link.got.clear()

    rig.runner.run(entry)
    rig.link.read()

    assert bytes(rig.link.got) == stream_of(FIRST)
    assert journal(store)[0]["packets"] == b"20"


def test_a_file_of_a_stream_that_is_gone_is_another_attempt(
    rig: Rig, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The dispatcher before died, and the stream with it: that was no analyzer's death."""
    name = written(tmp_path, "1.pcap", stream_of(FIRST))
    rig.take(name)
    store.redis.hset(store.keys.current("d"), mapping={"state": "feeding", "stream": "dead0123"})
    seen: dict[str, bytes] = {}
    rig.interrupts.at_check(2, lambda: seen.update(current(store, "d")))

    rig.run()

    assert rig.link.calls[0] == ("torn",)
    assert seen["deaths"] == b"0"
    assert journal(store)[0]["attempt"] == b"2"
    assert bytes(rig.link.got) == stream_of(FIRST)
    assert "next_file" in logged(capsys, "file_finished")


def test_a_stop_by_hand_is_recorded_for_the_next_dispatcher(rig: Rig, store: Store, tmp_path: Path) -> None:
    """CURRENT has where the next stream goes on, and which stream has the packets before."""
    rig.link.outlives_dispatcher = False
    name = written(tmp_path, "1.pcap", stream_of(FIRST))
    rig.interrupts.at_check(3, lambda: os.kill(os.getpid(), signal.SIGTERM))

    with pytest.raises(Stopped):
        rig.run(name)

    rig.link.read()
    assert bytes(rig.link.got) == stream_of(FIRST)
    begin = json.loads(current(store, "d")["begin"])
    assert (begin["streams"], begin["offset"]) == (["5ca1ab1e"], len(stream_of(FIRST)))
    assert begin["totals"]["packets"] == 20
    assert (begin["identity"]["size_bytes"], len(begin["digest"])) == (len(stream_of(FIRST)), 64)


def taken_behind(rig: Rig, name: bytes, offset: int) -> None:
    """Take a file of which an earlier stream, which ended in order, has what is before this place."""
    file = rig.opener.open(name, root=None, refuse_written=True)
    identity = file.identity()
    file.close()
    totals, stream_format = Totals(20, 1200, 1200, 5, 7), StreamFormat(1, nanosecond=False)
    start = StartPoint(Place(offset), totals, stream_format, identity, "", ("beef0123", "cafe0123"))
    rig.take(name)
    fields: dict[Any, Any] = {"state": "feeding", "stream": "cafe0123", "begin": start.as_json()}
    rig.store.redis.hset(rig.store.keys.current("d"), mapping=fields)


def test_a_file_goes_on_behind_a_stream_that_ended_in_order(
    rig: Rig, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No packet twice: the journal counts the file once, and names the stream before."""
    name = written(tmp_path, "1.pcap", stream_of(FIRST, SECOND))
    taken_behind(rig, name, len(stream_of(FIRST)))

    rig.run()

    assert bytes(rig.link.got) == stream_of(SECOND)
    [entry] = journal(store)
    assert (entry["packets"], entry["attempt"], entry["earlier_streams"]) == (
        b"30",
        b"1",
        b'["beef0123", "cafe0123"]',
    )
    assert fed(store, name)["earlier_streams"] == ["beef0123", "cafe0123"]
    log = logged(capsys, "file_finished")
    assert f"file_continues name={os.fsdecode(name)} packets=20 stream=cafe0123: " in log


def test_a_file_of_which_an_earlier_stream_has_all_is_processed_with_that_stream(
    rig: Rig, store: Store, tmp_path: Path
) -> None:
    """It was stopped behind its last packet."""
    name = written(tmp_path, "1.pcap", stream_of(FIRST))
    taken_behind(rig, name, len(stream_of(FIRST)))

    rig.run()

    assert fed(store, name)["stream"] == "cafe0123"
    assert journal(store)[0]["packets"] == b"20"
    assert rig.streams.open is None


def test_a_file_that_changed_between_two_streams_fails(rig: Rig, store: Store, tmp_path: Path) -> None:
    """The rest of another file would not fit."""
    name = written(tmp_path, "1.pcap", stream_of(FIRST))
    taken_behind(rig, name, len(stream_of(FIRST)))
    written(tmp_path, "1.pcap", stream_of(FIRST, SECOND))

    rig.run()

    assert "changed while it was read" in failures(store)[0]["reason"]
    assert rig.streams.open is None


def test_a_file_that_a_process_has_open_for_writing_fails(rig: Rig, store: Store, tmp_path: Path) -> None:
    """Its last record may be half a record."""
    name = written(tmp_path, "1.pcap", stream_of(FIRST))

    with open(name, "ab"):  # noqa: PTH123 - bytes
        rig.run(name)

    assert failures(store)[0]["reason"] == "is still being written"


@pytest.mark.parametrize("waits", [1, 2])
def test_a_file_that_may_still_be_written_is_waited_for_once(
    rig: Rig, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], waits: int
) -> None:
    """Where the kernel cannot report its writers; one that is written again meanwhile fails."""
    name = written(tmp_path, "1.pcap", stream_of(FIRST))
    rig.opener.settles_in_s = [0.3] * waits
    started_s = time.monotonic()

    rig.run(name)

    assert time.monotonic() - started_s >= 0.3
    assert listed(store, store.keys.processed) == ([name] if waits == 1 else [])
    assert "waiting: Waiting 0 s: the file may still be written." in logged(capsys, "waiting: ")
