"""Every named point once: the process dies there, another one goes on, and nothing is lost or doubled."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.waiting import wait_until

from faults.evidence import books_of, judgements_of, streams_of
from faults.figures import Figures
from faults.nursery import Child
from faults.packets import write_numbered
from faults.site import SLOW_COPY, Site
from faults.watch import Watch
from pcapdj.runtime.failpoints import CONTROLLER_POINTS, DISPATCHER_POINTS, IMPORTER_POINTS, LAUNCHER_POINTS

FORMS = ("plain.pcap", "be.pcap", "ng.pcapng", "plain.pcap.gz")
PACKETS = 1500  # two pieces of 1 MiB each


@pytest.fixture
def site() -> Iterator[Site]:
    """Return a whole pcapdj, without a dispatcher."""
    site = Site(SLOW_COPY)
    try:
        site.start_redis()
        site.start("consumer_launcher")
        site.start("controller")
        yield site
    finally:
        site.close()


def await_death(child: Child, point: str) -> None:
    """Wait until the fault has come."""
    assert child.wait(20) == -signal.SIGKILL, f"not reached: {point}"


def judge(site: Site) -> list[str]:
    """Let everything be fed, and return what the oracle finds."""
    figures = Figures()
    Watch(site, figures).until(site.is_done)
    assert site.end_stream()
    figures.judged(judgements_of(site), "at the end")
    assert books_of(site).failed == []
    return figures.violations


def authorizations(site: Site) -> Counter[str]:
    """Return how often each file was authorized, as the controller has said."""
    lines = site.log_of("controller").splitlines()
    return Counter(line.partition("name=")[2] for line in lines if " file_authorized " in line)


def test_a_dispatcher_dies_at_each_point(site: Site) -> None:
    """The next one goes on mid-record; the analyzer does not notice, and nothing is authorized twice."""
    for point in DISPATCHER_POINTS:
        site.add_files(2, PACKETS, forms=FORMS)
        is_end = point == "done"
        child = site.start("dispatcher", "--drain" if is_end else "--follow", fault=f"{point}:1:kill")
        await_death(child, point)
        figures = Figures()
        figures.judged(judgements_of(site)[-2:-1], point)
        assert figures.violations == []
    site.start("dispatcher")

    assert judge(site) == []
    assert len(streams_of(site)) <= 2, "only `done` comes after the end of a stream"
    assert set(authorizations(site).values()) == {1}


@pytest.mark.parametrize("action", ["raise", "stop"])
def test_a_dispatcher_fails_otherwise_at_each_point(site: Site, action: str) -> None:
    """An exception that nobody expects, as from no memory; or it is stopped and goes on."""
    for point in DISPATCHER_POINTS[:-1]:
        site.add_files(1, PACKETS, forms=FORMS)
        child = site.start("dispatcher", fault=f"{point}:1:{action}")
        if action == "raise":
            assert child.wait(20) == 1, point
        else:
            wait_until(lambda child=child: child.is_stopped, f"{point} to be reached")  # type: ignore[misc]
            child.signal(signal.SIGCONT)
            child.signal(signal.SIGTERM)
            assert child.wait(20) == 0, point
    site.start("dispatcher")

    assert judge(site) == []
    assert len(streams_of(site)) == 1


def test_a_launcher_dies_at_each_point(site: Site) -> None:
    """The analyzer dies with it; the file in flight is replayed into the next stream, from its start."""
    site.roles["consumer_launcher"].kill()
    site.start("dispatcher")
    for point in LAUNCHER_POINTS:
        site.add_files(1, PACKETS)
        launcher = site.start("consumer_launcher", fault=f"{point}:1:kill")
        if point == "launcher.end":
            wait_until(site.is_done, "the file to be fed")
            site.store.redis.set(site.store.keys.finish, "empty")
        await_death(launcher, point)
        site.mark_stream_killed()
    site.start("consumer_launcher")
    site.add_files(1, PACKETS)

    assert judge(site) == []


def test_a_controller_dies_at_each_point(site: Site) -> None:
    """Before the grant the name still stands in NEXT, after it in AUTH."""
    site.start("dispatcher")
    for point in CONTROLLER_POINTS:
        site.roles["controller"].kill()
        site.add_files(2, 10)
        await_death(site.start("controller", fault=f"{point}:1:kill"), point)
        site.start("controller")

    assert judge(site) == []


def test_an_importer_dies_at_each_point(site: Site, tmp_path: Path) -> None:
    """Started again, it queues each file once."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    files = [write_numbered(folder, number, 3) for number in range(1, 41)]
    for point in IMPORTER_POINTS:
        child = site.start("importer", str(folder), fault=f"{point}:1:kill")
        await_death(child, point)
    assert site.start("importer", str(folder)).wait(20) == 0

    assert books_of(site).queued == [os.fsencode(file.path) for file in files]


def test_a_second_dispatcher_is_turned_away(site: Site) -> None:
    """Also while the first one is stopped: two in one pipe would tear the stream (G11)."""
    first = site.start("dispatcher")
    site.add_files(1, PACKETS)
    wait_until(site.is_done, "the first one to work")
    first.signal(signal.SIGSTOP)

    second = site.start("dispatcher")

    assert second.wait(20) == 75
    first.signal(signal.SIGCONT)
    site.roles["dispatcher"] = first
    site.add_files(1, PACKETS)
    assert judge(site) == []


def test_what_costs_nothing_costs_nothing() -> None:
    """Unset, the variable leaves a function that does nothing: no point in the code asks the environment."""
    code = "from pcapdj.runtime import failpoints; assert failpoints.reach is failpoints.no_fault"

    subprocess.run([sys.executable, "-c", code], env={}, check=True)
