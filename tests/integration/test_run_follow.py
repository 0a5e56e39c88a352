"""Following a run: progress from the journal and the dispatcher's statistics, on a real Redis."""

from pathlib import Path
from typing import Any

from pcapdj.run.follow import AbortReason, RunMonitor
from pcapdj.run.record import FileResult, RunRecord
from pcapdj.run.view import ProgressView, WaitReason
from pcapdj.runtime.errors import ExitCode
from pcapdj.runtime.signals import handled
from pcapdj.store.client import Store
from pcapdj.store.job_queue import JobQueue, QueueEntry, Result


class ShownValues(ProgressView):
    """Keeps what was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.last: tuple[int, str] = (0, "")
        self.warnings: list[str] = []

    def show_progress(self, done_bytes: int, name: str, reason: WaitReason | None) -> None:  # noqa: ARG002 - another test's
        """Keep it."""
        self.last = (done_bytes, name)

    def show_result(self, result: FileResult) -> None:
        """Leave it."""

    def show_warning(self, sentence: str) -> None:
        """Keep it."""
        self.warnings.append(sentence)


class OnlyStore:
    """A private service of which only Redis runs."""

    is_alive = True

    def __init__(self, store: Store) -> None:
        self.store = store


def test_a_finished_file_is_not_counted_twice(store: Store, tmp_path: Path) -> None:
    """The journal has it at once; the statistics name it as the current file for another second."""
    shown = ShownValues()
    monitor = RunMonitor(OnlyStore(store), RunRecord(tmp_path, resume=False), shown)  # type: ignore[arg-type]  # enough of it
    jobs = JobQueue(store, "main")
    jobs.register()
    store.redis.rpush(store.keys.in_queue, b"/in/\xff.pcap")
    taken = jobs.take()
    assert isinstance(taken, QueueEntry)
    statistics: Any = {"name": taken.name, "done_bytes": 900, "total_bytes": 1000}
    store.redis.hset(store.keys.stats("main"), mapping=statistics)

    monitor.update()
    monitor.show()
    assert shown.last == (900, "/in/\udcff.pcap")
    jobs.finish(taken, Result(taken.name, "processed", {"size_bytes": 1000}, {"packets": 3}))
    monitor.update()
    monitor.show()

    assert shown.last == (1000, "")


def test_a_run_is_aborted_when_the_dispatcher_holds_the_lane(store: Store, tmp_path: Path) -> None:
    """A one-shot run has no operator who resumes it: 69, the analyzer's reason, and where its log is."""
    monitor = RunMonitor(OnlyStore(store), RunRecord(tmp_path, resume=False), ShownValues())  # type: ignore[arg-type]  # enough of it
    JobQueue(store, "main").register()
    (tmp_path / "analyzer.log").write_text("no room\n")
    held: Any = {"at_fault": "It is held until `pcapdj resume`.", "name": "/in/3.pcap"}
    failing: Any = {"state": "failing", "reason": "x exited 4.", "logdir": str(tmp_path)}
    store.redis.hset(store.keys.consumer, mapping=failing)
    store.redis.hset(store.keys.stats("main"), mapping=held)
    store.redis.set(store.keys.finish, "empty")

    with handled() as signals:
        ended = monitor.watch(signals)

    sentence = "The analyzer is at fault: it died on one file after another. x exited 4; its log is {!r}."
    assert ended == AbortReason(sentence.format(str(tmp_path / "analyzer.log")), ExitCode.UNAVAILABLE)


def test_a_record_that_cannot_be_written_is_shown_once(store: Store, tmp_path: Path) -> None:
    """Feeding continues; the sentence has the file and the reason, and is not repeated."""
    shown, record = ShownValues(), RunRecord(tmp_path, resume=False)
    (tmp_path / ".pcapdj.json").mkdir()  # where the next record is written first
    monitor = RunMonitor(OnlyStore(store), record, shown)  # type: ignore[arg-type]  # enough of it

    for _ in range(3):
        record.write({})
        monitor.update()

    [warning] = shown.warnings
    assert warning == (
        f"'{tmp_path}/pcapdj.json' cannot be written: Is a directory. Feeding continues;"
        " the record is kept in memory and written as soon as that is possible."
    )
