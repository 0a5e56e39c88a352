"""What a dispatcher does before its first file, in this process, with a real Redis."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.dispatcher_rig import Dispatchers, dispatchers_in
from support.logs import logged
from support.waiting import wait_until

from pcapdj.capture.stream_options import StreamOptions
from pcapdj.dispatcher import Dispatcher
from pcapdj.feed.interrupts import SIGNALS
from pcapdj.feed.options import DispatcherSettings
from pcapdj.runtime.errors import ExitCode
from pcapdj.runtime.signals import handled
from pcapdj.store.client import ROLE_TIMEOUT_S, Store
from pcapdj.store.journal_index import PART_ENTRIES, read_index


class UnreportedLane(Store):
    """A lane that the reporter of a dispatcher does not reach."""

    def another(self, *, timeout_s: float = ROLE_TIMEOUT_S, has_messages: bool = False) -> Store:
        """Return a client with another time-out, else one of a Redis that is not there."""
        if timeout_s != ROLE_TIMEOUT_S:
            return super().another(timeout_s=timeout_s, has_messages=has_messages)
        return Store("unix:///nowhere", self.keys, timeout_s=timeout_s)


def run_once(store: Store, folder: Path) -> None:
    """Let a dispatcher find its queue empty."""
    settings = DispatcherSettings(
        pipe=folder / "pipe",
        id="d",
        launcher=None,
        follow=False,
        take="head",
        streams=StreamOptions("first", "fail"),
        idle_eof_s=0,
        roots=(),
        max_gap_ns=0,
        storage_timeout_s=0,
    )
    with handled(SIGNALS) as signals:
        Dispatcher(settings, store, signals, "here").run()


def test_a_suspension_is_read_before_the_first_file_is_taken(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The thread that reads it later comes too late for the first bytes."""
    store.redis.sadd(store.keys.suspend, "operator")

    run_once(UnreportedLane(store.url, store.keys), tmp_path)

    assert " dispatcher suspended by=operator: " in logged(capsys, " dispatcher done ")


def test_the_journal_of_an_earlier_version_gets_an_index(store: Store, tmp_path: Path) -> None:
    """A part of it each time before a file is taken or waited for."""
    with store.redis.pipeline(transaction=False) as batch:
        for number in range(PART_ENTRIES + 1):
            batch.xadd(store.keys.journal, {"name": f"/in/{number}", "stream": "5ca1ab1e"})
        batch.execute()

    run_once(store, tmp_path)

    assert [part.streams for part in read_index(store)] == [frozenset({"5ca1ab1e"})]


@pytest.fixture
def machines(short_path: Path, store: Store) -> Iterator[list[Dispatchers]]:
    """Return the dispatchers of two machines or containers: each has a folder of its own for its locks."""
    folders = [short_path / "one", short_path / "two"]
    for folder in folders:
        (folder / "run").mkdir(mode=0o700, parents=True)
    with dispatchers_in(folders[0], store) as one, dispatchers_in(folders[1], store) as two:
        yield [one, two]


def begin(machine: Dispatchers) -> None:
    """Start a dispatcher of the id that both have."""
    machine.start("--id", "main", "--follow", environment={"XDG_RUNTIME_DIR": str(machine.folder / "run")})


def test_a_second_dispatcher_of_an_id_is_refused_also_on_another_machine(
    machines: list[Dispatchers], store: Store
) -> None:
    """Both would work on one CURRENT: files would be fed twice."""
    begin(machines[0])
    wait_until(lambda: store.redis.hexists(store.keys.stats("main"), "heartbeat_s"), "the first to work")

    begin(machines[1])

    assert machines[1].processes[0].wait() == ExitCode.BUSY
    assert "Another dispatcher of the id 'main' works on the machine" in machines[1].logged()
    assert machines[0].processes[0].poll() is None


def test_a_place_of_any_size_holds_no_dispatcher(machines: list[Dispatchers], store: Store) -> None:
    """Another program wrote it; the reader cuts it, so that it cannot be compared."""
    store.redis.hset(store.keys.stats("main"), "place", "x" * 200_000)

    begin(machines[0])

    wait_until(lambda: store.redis.sismember(store.keys.dispatchers, "main"), "it to work")


def test_of_two_that_follow_a_dead_one_on_other_machines_one_is_refused(
    machines: list[Dispatchers], store: Store
) -> None:
    """Both find that it is silent: as two containers that are made anew."""
    fields: dict[Any, Any] = {"place": "container 0b5e 2a:17", "heartbeat_s": "1.0"}
    store.redis.hset(store.keys.stats("main"), mapping=fields)

    for machine in machines:
        begin(machine)

    processes = [machine.processes[0] for machine in machines]
    wait_until(lambda: any(each.poll() is not None for each in processes), "one of them to end")
    assert sorted(each.poll() or 0 for each in processes) == [0, ExitCode.BUSY]
    wait_until(lambda: store.redis.hget(store.keys.stats("main"), "heartbeat_s") != b"1.0", "the other one")


def test_a_dispatcher_that_died_on_another_machine_holds_no_id(
    machines: list[Dispatchers], store: Store
) -> None:
    """Its last heartbeat stays; the next one begins once no further one has come."""
    begin(machines[0])
    wait_until(lambda: store.redis.hexists(store.keys.stats("main"), "heartbeat_s"), "the first to work")
    machines[0].processes[0].kill()
    before = store.redis.hget(store.keys.stats("main"), "place")

    begin(machines[1])

    wait_until(lambda: store.redis.hget(store.keys.stats("main"), "place") != before, "the second to work")
