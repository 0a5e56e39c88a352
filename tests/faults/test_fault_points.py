"""Every named point once: the process dies there, another one goes on, and nothing is lost or doubled."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.forkserver import Process
from support.waiting import wait_until

from faults.evidence import findings_of, lists_of, streams_of
from faults.figures import Figures
from faults.packets import write_numbered
from faults.scenario import SLOW_COPY, Scenario
from faults.watch import Watch
from pcapdj.runtime.failpoints import CONTROLLER_POINTS, DISPATCHER_POINTS, IMPORTER_POINTS, LAUNCHER_POINTS

FORMS = ("plain.pcap", "be.pcap", "ng.pcapng", "plain.pcap.gz")
PACKETS = 2800  # six batches of 512 KiB


@pytest.fixture
def scenario() -> Iterator[Scenario]:
    """Return a whole pcapdj, without a dispatcher."""
    scenario = Scenario(SLOW_COPY)
    try:
        scenario.start_redis()
        scenario.start("consumer_launcher")
        scenario.start("controller")
        yield scenario
    finally:
        scenario.close()


def await_death(child: Process, point: str) -> None:
    """Wait until the fault has come."""
    assert child.wait() == -signal.SIGKILL, f"not reached: {point}"


def check(scenario: Scenario) -> list[str]:
    """Let everything be fed, and return what the checker finds."""
    figures = Figures()
    Watch(scenario, figures).until(scenario.is_done)
    assert scenario.end_stream()
    figures.checked(findings_of(scenario), "at the end")
    assert lists_of(scenario).failed == []
    return figures.violations


def authorizations(scenario: Scenario) -> Counter[str]:
    """Return how often each file was authorized, as the controller has logged."""
    lines = scenario.log_of("controller").splitlines()
    return Counter(line.partition("name=")[2] for line in lines if " file_authorized " in line)


@pytest.mark.long
def test_a_dispatcher_dies_at_each_point(scenario: Scenario) -> None:
    """The next one goes on mid-record; the analyzer does not notice, and nothing is authorized twice."""
    for point in DISPATCHER_POINTS:
        scenario.add_files(2, PACKETS, forms=FORMS)
        is_end = point == "done"
        nth = 3 if point.startswith("batch.") else 1  # the third batch is the first pipe again
        child = scenario.start("dispatcher", "--drain" if is_end else "--follow", fault=f"{point}:{nth}:kill")
        await_death(child, point)
        figures = Figures()
        figures.checked(findings_of(scenario)[-2:-1], point)
        assert figures.violations == []
    scenario.start("dispatcher")

    assert check(scenario) == []
    assert len(streams_of(scenario)) <= 2, "only `done` comes after the end of a stream"
    assert set(authorizations(scenario).values()) == {1}


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("action", ["raise", "stop"])
def test_a_dispatcher_fails_otherwise_at_each_point(scenario: Scenario, action: str) -> None:
    """An unexpected exception, as from no memory; or it is stopped and goes on."""
    for point in DISPATCHER_POINTS[:-1]:
        scenario.add_files(1, PACKETS, forms=FORMS)
        child = scenario.start("dispatcher", fault=f"{point}:1:{action}")
        if action == "raise":
            assert child.wait() == 1, point
        else:
            wait_until(lambda child=child: child.is_stopped, f"{point} to be reached")  # type: ignore[misc]
            child.send_signal(signal.SIGCONT)
            child.send_signal(signal.SIGTERM)
            assert child.wait() == 0, point
    scenario.start("dispatcher")

    assert check(scenario) == []
    assert len(streams_of(scenario)) == 1


@pytest.mark.long
def test_a_launcher_dies_at_each_point(scenario: Scenario) -> None:
    """The analyzer dies with it; the file in flight is replayed into the next stream, from its start."""
    scenario.roles["consumer_launcher"].kill()
    scenario.start("dispatcher")
    for point in LAUNCHER_POINTS:
        scenario.add_files(1, PACKETS)
        launcher = scenario.start("consumer_launcher", fault=f"{point}:1:kill")
        if point == "launcher.end":
            wait_until(scenario.is_done, "the file to be fed")
            scenario.store.redis.set(scenario.store.keys.finish, "empty")
        await_death(launcher, point)
        scenario.mark_stream_killed()
    scenario.start("consumer_launcher")
    scenario.add_files(1, PACKETS)

    assert check(scenario) == []


@pytest.mark.long
def test_a_controller_dies_at_each_point(scenario: Scenario) -> None:
    """Before the grant the name still stands in NEXT, after it in AUTH."""
    scenario.start("dispatcher")
    for point in CONTROLLER_POINTS:
        scenario.roles["controller"].kill()
        scenario.add_files(2, 10)
        await_death(scenario.start("controller", fault=f"{point}:1:kill"), point)
        scenario.start("controller")

    assert check(scenario) == []


@pytest.mark.long
def test_an_importer_dies_at_each_point(scenario: Scenario, tmp_path: Path) -> None:
    """Started again, it queues each file once."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    files = [write_numbered(folder, number, 3) for number in range(1, 41)]
    for point in IMPORTER_POINTS:
        child = scenario.start("importer", str(folder), fault=f"{point}:1:kill")
        await_death(child, point)
    assert scenario.start("importer", str(folder)).wait() == 0

    assert lists_of(scenario).queued == [os.fsencode(file.path) for file in files]


@pytest.mark.long
def test_a_second_dispatcher_is_turned_away(scenario: Scenario) -> None:
    """Also while the first one is stopped: two in one pipe would tear the stream (G11)."""
    first = scenario.start("dispatcher")
    scenario.add_files(1, PACKETS)
    wait_until(scenario.is_done, "the first one to work")
    first.send_signal(signal.SIGSTOP)

    second = scenario.start("dispatcher")

    assert second.wait() == 75
    first.send_signal(signal.SIGCONT)
    scenario.roles["dispatcher"] = first
    scenario.add_files(1, PACKETS)
    assert check(scenario) == []


def test_what_costs_nothing_costs_nothing() -> None:
    """Unset, the variable leaves a function that does nothing: no point in the code asks the environment."""
    code = "from pcapdj.runtime import failpoints; assert failpoints.reach is failpoints.no_fault"

    subprocess.run([sys.executable, "-c", code], env={}, check=True)
