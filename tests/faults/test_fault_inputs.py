"""Bad inputs and mutants through a whole pcapdj: a verdict each, and the next file is unaffected (G1, G7)."""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence

import pytest
from support.programs import require_program
from support.waiting import wait_until

from faults.evidence import kept_of, lists_of, streams_of
from faults.figures import Figures
from faults.hostile import bad_inputs
from faults.mutants import mutants
from faults.scenario import COPY, Scenario
from faults.trial import Trial
from faults.watch import Watch

SEED = 20_260_101
TCPDUMP = ("tcpdump", "-n", "-U", "-r", "{pipe}", "-w", "copy")


def started(command: Sequence[str] = COPY) -> Scenario:
    """Return a scenario that runs."""
    scenario = Scenario(command)
    scenario.start_all()
    return scenario


@pytest.fixture
def scenario() -> Iterator[Scenario]:
    """Return a whole pcapdj that runs."""
    scenario = started()
    yield scenario
    scenario.close()


def test_more_than_sixty_bad_inputs_disturb_nothing(scenario: Scenario) -> None:
    """Cut, garbled, of the wrong kind, not there, strangely named: a verdict each, and whole records."""
    figures, inputs = Figures(), bad_inputs(scenario.captures)
    assert len(inputs) >= 60

    Trial(scenario, figures).feed(inputs)

    assert figures.violations == []


def test_sixty_mutants_disturb_nothing() -> None:
    """A real tcpdump reads whatever is left of them, to the last byte."""
    require_program("tcpdump")
    scenario, figures = started(TCPDUMP), Figures()
    try:
        Trial(scenario, figures).feed(list(mutants(SEED, 60)))
        copies = list(scenario.out.glob("*/copy"))
        read = subprocess.run(["tcpdump", "-n", "-r", copies[0]], capture_output=True, check=False)
    finally:
        scenario.close()

    assert figures.violations == []
    assert read.returncode == 0


@pytest.mark.parametrize(  # the first splice is the header's
    ("point", "left_bytes"),
    [("splice.within:2", 10), ("splice.within:2", -5000), ("splice.between:1", -10_000_000)],
)
def test_a_file_that_shrinks_while_it_is_read_leaves_whole_records(
    scenario: Scenario, point: str, left_bytes: int
) -> None:
    """The record in the pipe is completed with zeros, the file fails, the next one is whole."""
    scenario.roles["dispatcher"].kill()
    dispatcher = scenario.start("dispatcher", fault=f"{point}:stop")
    file, after = scenario.add_files(2, 6000)
    wait_until(lambda: dispatcher.is_stopped, "the first splice of records")
    ((position, _),) = kept_of(scenario).values()
    wait_until(lambda: seen_bytes(scenario) == position, "the analyzer to have read everything")

    os.truncate(file.path, max(0, position + left_bytes))
    dispatcher.send_signal(signal.SIGCONT)

    figures = Figures()
    Watch(scenario, figures).until(scenario.is_done)
    assert dispatcher.poll() is None
    assert scenario.end_stream()
    assert lists_of(scenario).failed == [os.fsencode(file.path)]
    streams = streams_of(scenario)
    assert len(streams) <= 2, "at most the one that the file spoiled, and the next"
    assert streams[-1].data.endswith(after.body)
    assert all(is_framed(stream.data) for stream in streams)


def seen_bytes(scenario: Scenario) -> int:
    """Return how much the analyzer has written down."""
    return sum(path.stat().st_size for path in scenario.out.glob("*/copy") if not path.parent.is_symlink())


def is_framed(data: bytes) -> bool:
    """Report whether whole records fill the stream to its last byte."""
    position = 24
    while position < len(data):
        position += 16 + int.from_bytes(data[position + 8 : position + 12], "little")
    return position == len(data)


def test_a_file_that_its_sensor_still_writes_is_not_touched(scenario: Scenario) -> None:
    """It fails at once, and by that name."""
    path = scenario.captures / "growing.pcap"
    with path.open("wb") as sensor:
        sensor.write(bytes(24))
        sensor.flush()
        scenario.queue(os.fsencode(path))
        wait_until(scenario.is_done, "a verdict")

    assert b"still being written" in scenario.store.redis.lrange(scenario.store.keys.failed, 0, -1)[0]
