"""Following a run: progress from the journal and the dispatcher's statistics, on a real Redis."""

import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pcapdj.run.follow import STOPPED_BY_USER, AbortReason, RunMonitor
from pcapdj.run.private_service import RoleEnd
from pcapdj.run.record import FileResult, RunRecord
from pcapdj.run.view import ProgressView, WaitReason
from pcapdj.runtime.errors import ExitCode
from pcapdj.runtime.signals import handled
from pcapdj.store.client import Store
from pcapdj.store.job_queue import JobQueue, QueueEntry, Result
from pcapdj.store.keys import Keys


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
        self.ends: list[RoleEnd] = []

    def role_ends(self) -> Sequence[RoleEnd]:
        """Return what a test lets end."""
        return self.ends

    def last_log_line(self, role: str) -> str:
        """Return what it logged last."""
        return f"last line of {role}"


class Roles(OnlyStore):
    """A private service whose roles are as a test wants.

    Args:
        is_alive: whether supervisord runs.
        failed: the roles that it no longer restarts.
    """

    def __init__(self, store: Store, *, is_alive: bool = True, failed: Sequence[str] = ()) -> None:
        super().__init__(store)
        self.is_alive = is_alive
        self.looks = 0
        self._failed = failed

    def failed_roles(self) -> Sequence[str]:
        """Return them, and count."""
        self.looks += 1
        return self._failed


class Stopping(ShownValues):
    """Lets the user stop the run when the progress was shown so often."""

    def __init__(self, after: int = 1) -> None:
        super().__init__()
        self._left = after

    def show_progress(self, done_bytes: int, name: str, reason: WaitReason | None) -> None:  # noqa: ARG002
        """Press Ctrl-C."""
        self._left -= 1
        if self._left <= 0:
            os.kill(os.getpid(), signal.SIGINT)


def ended_with(monitor: RunMonitor, analyzer: dict[str, Any], *, finish: bool = True) -> AbortReason | None:
    """Watch a run whose analyzer is in this state, and which is still to be ended or not."""
    store = monitor._service.store  # noqa: SLF001 - the test's own
    store.redis.delete(store.keys.consumer, store.keys.finish)
    if analyzer:
        store.redis.hset(store.keys.consumer, mapping=dict[Any, Any](analyzer))
    if finish:
        store.redis.set(store.keys.finish, "empty")
    with handled() as signals:
        return monitor.watch(signals)


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


def test_a_long_journal_is_read_in_parts_and_in_order(store: Store, tmp_path: Path) -> None:
    """One look gets all that is new; no single answer of Redis has all of it."""
    monitor = RunMonitor(OnlyStore(store), RunRecord(tmp_path, resume=False), ShownValues())  # type: ignore[arg-type]  # enough of it
    with store.redis.pipeline() as batch:
        for number in range(700):
            batch.xadd(store.keys.journal, {"name": f"/in/{number}.pcap", "verdict": "processed"})
        batch.execute()
    before: Any = store.redis.info("commandstats")["cmdstat_evalsha"]

    monitor.update()
    monitor.update()

    assert [each.name for each in monitor.progress.results] == [f"/in/{n}.pcap" for n in range(700)]
    after: Any = store.redis.info("commandstats")["cmdstat_evalsha"]
    assert after["calls"] - before["calls"] >= 3


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


FAILING = {"state": "failing", "reason": "x exited 4."}


@pytest.mark.parametrize(
    ("analyzer", "is_over"),
    [
        (FAILING | {"restarts": 0}, True),
        (FAILING | {"restarts": 1, "last_verdict": "crashed"}, False),
        (FAILING | {"restarts": 2, "last_verdict": "unstarted"}, False),
        (FAILING | {"restarts": 3, "last_verdict": "unstarted"}, True),
        (FAILING | {"restarts": 5, "last_verdict": "crashed"}, False),
        (FAILING | {"restarts": 6, "last_verdict": "crashed"}, True),
        ({"state": "reading", "restarts": 9, "last_verdict": "crashed"}, False),
    ],
)
def test_a_run_ends_when_no_further_start_can_help(
    store: Store, tmp_path: Path, analyzer: dict[str, Any], *, is_over: bool
) -> None:
    """It is not installed, never opened the pipe in three starts, or read no file to its end in six."""
    ended = ended_with(RunMonitor(Roles(store), RunRecord(tmp_path, resume=False), Stopping()), analyzer)  # type: ignore[arg-type]

    assert ended == (AbortReason("x exited 4.", ExitCode.UNAVAILABLE) if is_over else STOPPED_BY_USER)


def test_restarts_before_the_last_finished_file_do_not_count(store: Store, tmp_path: Path) -> None:
    """The analyzer reads: it is restarted for one file at a time."""
    monitor = RunMonitor(Roles(store), RunRecord(tmp_path, resume=False), Stopping())  # type: ignore[arg-type]
    crashed = FAILING | {"last_verdict": "crashed"}
    ended_with(monitor, crashed | {"restarts": 4})
    jobs = JobQueue(store, "main")
    store.redis.rpush(store.keys.in_queue, b"/in/a")
    taken: Any = jobs.take()
    jobs.finish(taken, Result(taken.name, "processed"))

    assert ended_with(monitor, crashed | {"restarts": 9}) == STOPPED_BY_USER
    assert ended_with(monitor, crashed | {"restarts": 10}) == AbortReason("x exited 4.", ExitCode.UNAVAILABLE)


@pytest.mark.parametrize(
    ("service", "ended"),
    [
        ({"is_alive": False}, AbortReason("The process that runs the private service died.", ExitCode.ERROR)),
        (
            {"failed": ["dispatcher", "redis"]},
            AbortReason("The dispatcher is not started again. last line of dispatcher", ExitCode.ERROR),
        ),
    ],
)
def test_a_run_ends_when_its_service_does(
    store: Store, tmp_path: Path, service: dict[str, Any], ended: AbortReason
) -> None:
    """With the role's last words."""
    monitor = RunMonitor(Roles(store, **service), RunRecord(tmp_path, resume=False), Stopping())  # type: ignore[arg-type]

    assert ended_with(monitor, {"state": "reading"}) == ended


def test_roles_are_looked_at_once_a_second(store: Store, tmp_path: Path) -> None:
    """Each look is a request to supervisord."""
    roles = Roles(store)
    monitor = RunMonitor(roles, RunRecord(tmp_path, resume=False), Stopping(after=5))  # type: ignore[arg-type]

    ended_with(monitor, {"state": "reading"})

    assert roles.looks == 1


def test_a_redis_that_is_away_ends_the_run_only_with_its_service(short_path: Path) -> None:
    """Supervisord restarts it; without supervisord nobody does."""
    alive, dead = (
        RunMonitor(
            Roles(Store(f"unix://{short_path}/none", Keys()), is_alive=is_alive),  # type: ignore[arg-type]
            RunRecord(short_path / str(is_alive), resume=False),
            ShownValues(),
        )
        for is_alive in (True, False)
    )
    with handled() as signals:
        ended = dead.watch(signals)
        os.kill(os.getpid(), signal.SIGTERM)

        assert alive.watch(signals) == STOPPED_BY_USER
    assert ended == AbortReason("The process that runs the private service died.", ExitCode.ERROR)


@pytest.mark.parametrize(
    ("analyzer", "is_complete"),
    [
        ({"last_stream": "s1"}, True),
        ({"last_stream": "s0"}, False),
        ({"last_stream": "s1", "stream": "s2"}, False),
        ({"stream": "s1"}, False),
    ],
)
def test_a_run_is_complete_when_the_last_streams_analyzer_has_ended(
    store: Store, tmp_path: Path, analyzer: dict[str, Any], *, is_complete: bool
) -> None:
    """Its output may be incomplete before."""
    jobs = JobQueue(store, "main")
    store.redis.rpush(store.keys.in_queue, b"/in/a")
    taken: Any = jobs.take()
    jobs.finish(replace(taken, stream="s1"), Result(taken.name, "processed"))
    monitor = RunMonitor(Roles(store), RunRecord(tmp_path, resume=False), Stopping())  # type: ignore[arg-type]

    exits = {"last_exits": f"{analyzer['last_stream']} exited 0"} if "last_stream" in analyzer else {}
    ended = ended_with(monitor, {"state": "idle", **exits, **analyzer}, finish=False)

    assert ended == (None if is_complete else STOPPED_BY_USER)
    assert monitor.progress.streams == ["s1"]
    assert monitor.progress.exits == (
        {analyzer["last_stream"]: "exited 0"} if "last_stream" in analyzer else {}
    )


def test_a_run_without_a_stream_is_complete_when_the_queue_is_empty(store: Store, tmp_path: Path) -> None:
    """Only headers were fed; before, the request to end the stream is in Redis."""
    monitor = RunMonitor(Roles(store), RunRecord(tmp_path, resume=False), Stopping())  # type: ignore[arg-type]

    assert ended_with(monitor, {}, finish=True) == STOPPED_BY_USER
    assert ended_with(monitor, {}, finish=False) is None


def test_a_record_that_cannot_be_written_is_shown_once(store: Store, tmp_path: Path) -> None:
    """Feeding continues; the sentence has the file and the reason, and is not repeated."""
    shown, record = ShownValues(), RunRecord(tmp_path, resume=False)
    (tmp_path / "pcapdj.json").mkdir()  # where the record is written
    monitor = RunMonitor(OnlyStore(store), record, shown)  # type: ignore[arg-type]  # enough of it

    for _ in range(3):
        record.write({})
        monitor.update()

    [warning] = shown.warnings
    assert warning == (
        f"'{tmp_path}/pcapdj.json' cannot be written: Is a directory. Feeding continues;"
        " the record is kept in memory and written as soon as that is possible."
    )


def test_the_exits_of_all_streams_are_seen_also_of_those_that_are_shorter_than_a_look(
    store: Store, tmp_path: Path
) -> None:
    """The launcher publishes the last ones; an exit that is in no later list stays."""
    monitor = RunMonitor(OnlyStore(store), RunRecord(tmp_path, resume=False), ShownValues())  # type: ignore[arg-type]  # enough of it
    for exits in ("a exited 3\nb killed by signal 9 (it had nothing to read)", "b exited 0\nc exited 0"):
        fields: Any = {"state": "idle", "last_exits": exits}
        store.redis.hset(store.keys.consumer, mapping=fields)
        monitor.update()

    assert monitor.progress.exits == {"a": "exited 3", "b": "exited 0", "c": "exited 0"}


def test_a_process_that_dies_is_shown_once_until_a_file_was_fed(store: Store, tmp_path: Path) -> None:
    """With what its log has, where it ended by itself; all of them are kept for the end of the run."""
    shown, service = ShownValues(), OnlyStore(store)
    monitor = RunMonitor(service, RunRecord(tmp_path, resume=False), shown)  # type: ignore[arg-type]  # enough of it
    killed, failed = RoleEnd("consumer", -9), RoleEnd("controller", 1)
    for end in (killed, failed, killed):
        service.ends = [*service.ends, end]
        monitor.show_role_ends()
    monitor.add([FileResult("/in/1", "failed"), FileResult("/in/2", "processed")])
    service.ends = [*service.ends, killed]
    monitor.show_role_ends()

    again = "The launcher was killed by signal 9 and is started again."
    assert shown.warnings == [
        again,
        "The controller exited 1 and is started again. last line of controller",
        again,
    ]
    assert monitor.progress.role_ends == [killed, failed, killed, killed]
