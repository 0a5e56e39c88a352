"""Following a run: progress from the journal and the dispatcher's statistics, on a real Redis."""

from pathlib import Path
from typing import Any

from pcapdj.run.follow import GaveUp, Running
from pcapdj.run.record import RunRecord
from pcapdj.run.view import Hold
from pcapdj.runtime.errors import ExitCode
from pcapdj.runtime.signals import handled
from pcapdj.store.client import Store
from pcapdj.store.job_queue import JobQueue, QueueEntry, Result


class LauncherStatus:
    """Keeps what was shown last."""

    def __init__(self) -> None:
        self.last: tuple[int, str] = (0, "")

    def progress(self, done_bytes: int, name: str, hold: Hold | None) -> None:  # noqa: ARG002 - another test's
        """Keep it."""
        self.last = (done_bytes, name)

    def finished(self, name: str, packets: int, reason: str) -> None:
        """Leave it."""


class OnlyStore:
    """A session of which only Redis is there."""

    is_alive = True

    def __init__(self, store: Store) -> None:
        self.store = store


def test_a_finished_file_is_not_counted_twice(store: Store, tmp_path: Path) -> None:
    """The journal has it at once; the statistics name it as the current one for a second more."""
    shown = LauncherStatus()
    running = Running(OnlyStore(store), RunRecord(tmp_path, resume=False), shown)  # type: ignore[arg-type]  # enough of it
    transfer = JobQueue(store, "main")
    transfer.enlist()
    store.redis.rpush(store.keys.in_queue, b"/in/\xff.pcap")
    taken = transfer.take()
    assert isinstance(taken, QueueEntry)
    statistics: Any = {"name": taken.name, "done_bytes": 900, "total_bytes": 1000}
    store.redis.hset(store.keys.stats("main"), mapping=statistics)

    running.look()
    running.show()
    assert shown.last == (900, "/in/\udcff.pcap")
    transfer.finish(taken, Result(taken.name, "processed", {"size_bytes": 1000}, {"packets": 3}))
    running.look()
    running.show()

    assert shown.last == (1000, "")


def test_a_lane_held_for_its_analyzer_is_given_up(store: Store, tmp_path: Path) -> None:
    """Nobody is there to resume a one-shot run: 69, the analyzer's reason, and where its log is."""
    running = Running(OnlyStore(store), RunRecord(tmp_path, resume=False), LauncherStatus())  # type: ignore[arg-type]  # enough of it
    JobQueue(store, "main").enlist()
    (tmp_path / "analyzer.log").write_text("no room\n")
    held: Any = {"at_fault": "It is held until `pcapdj resume`.", "name": "/in/3.pcap"}
    failing: Any = {"state": "failing", "reason": "x exited 4.", "logdir": str(tmp_path)}
    store.redis.hset(store.keys.consumer, mapping=failing)
    store.redis.hset(store.keys.stats("main"), mapping=held)
    store.redis.set(store.keys.finish, "empty")

    with handled() as signals:
        ended = running.follow(signals)

    sentence = "The analyzer is at fault: it died on one file after another. x exited 4; its log is {!r}."
    assert ended == GaveUp(sentence.format(str(tmp_path / "analyzer.log")), ExitCode.UNAVAILABLE)
