"""Bad inputs and mutants through a whole pcapdj: a verdict each, and the next file is unaffected (G1, G7)."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from support.programs import require_program
from support.waiting import wait_until

from faults.evidence import lists_of, streams_of
from faults.figures import Figures
from faults.hostile import bad_inputs
from faults.mutants import mutants
from faults.packets import STREAM_HEADER, Numbered, records_in
from faults.scenario import COPY, Scenario
from faults.trial import Trial
from faults.watch import Watch
from pcapdj.runtime import fifo

SEED = 20_260_101
# Fills a pipe of 1 MiB with the stream's pages, and reads it some milliseconds later.
_RELAY = """
import os, fcntl, sys, time
pipe, copy = os.open(sys.argv[1], os.O_RDONLY), os.open("copy", os.O_WRONLY | os.O_CREAT)
late, early = os.pipe()
fcntl.fcntl(early, fcntl.F_SETPIPE_SZ, 1 << 20)
while moved := os.splice(pipe, early, 1 << 20):
    time.sleep(0.002)
    while moved:
        moved -= os.write(copy, os.read(late, moved))
"""
RELAYED = (sys.executable, "-ISc", _RELAY, "{pipe}")
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


@pytest.mark.long
def test_more_than_sixty_bad_inputs_disturb_nothing(scenario: Scenario) -> None:
    """Cut, garbled, of the wrong kind, not there, strangely named: a verdict each, and whole records.

    The campaign has those of very many parts, too, which test_capture_budget.py reads.
    """
    figures, inputs = Figures(), bad_inputs(scenario.captures, with_many_parts=False)
    assert len(inputs) >= 60

    Trial(scenario, figures).feed(inputs)

    assert figures.violations == []


@pytest.mark.long
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


@pytest.mark.long
@pytest.mark.parametrize(
    ("point", "is_regrown"),
    [
        ("splice.within:2", False),
        ("splice.between:1", True),
        ("file.end:1", True),
    ],
)
def test_a_file_that_changes_while_it_is_fed_leaves_the_stream_whole(
    scenario: Scenario, point: str, *, is_regrown: bool
) -> None:
    """Each packet of it that arrives is its own, and counted; the next file is whole."""
    scenario.roles["dispatcher"].kill()
    dispatcher = scenario.start("dispatcher", fault=f"{point}:stop")  # the first splice is the header's
    file, after = scenario.add_files(2, 6000)
    wait_until(lambda: dispatcher.is_stopped, "the place")

    change(file.path, is_regrown=is_regrown)
    dispatcher.send_signal(signal.SIGCONT)

    is_processed = point.startswith("file.end")  # all of it was read, and unchanged up to then
    check_change(scenario, file, after, is_processed=is_processed)


@pytest.mark.long
def test_a_file_that_changes_while_its_packets_wait_in_the_pipe_leaves_the_stream_whole(
    scenario: Scenario,
) -> None:
    """The analyzer reads nothing meanwhile; what was checked is what it gets."""
    scenario.roles["dispatcher"].kill()
    dispatcher = scenario.start("dispatcher", fault="file.end:2:stop")
    (first,) = scenario.add_files(1, 3)
    wait_until(scenario.is_done, "the stream to be open")
    analyzer = scenario.analyzer_pid()
    assert analyzer is not None
    os.kill(analyzer, signal.SIGSTOP)
    file, after = scenario.add_files(2, 800)
    wait_until(lambda: dispatcher.is_stopped, "all of the file to be read")

    assert unread_bytes(scenario) >= len(file.body)
    change(file.path, is_regrown=True)
    dispatcher.send_signal(signal.SIGCONT)
    os.kill(analyzer, signal.SIGCONT)

    check_change(scenario, file, after, is_processed=True, before=first.body)


def test_an_analyzer_that_passes_pages_on_gets_every_byte() -> None:
    """As `pv` does: it splices on, and refers to the pages of a batch while the batch is filled again."""
    scenario = started(RELAYED)
    try:
        (file,) = scenario.add_files(1, 6000)
        wait_until(scenario.is_done, "the file to be fed")
        assert scenario.end_stream()
        (stream,) = streams_of(scenario)
        assert stream.data == STREAM_HEADER + file.body
    finally:
        scenario.close()


def change(path: Path, *, is_regrown: bool) -> None:
    """Cut the file, and perhaps fill it up again with other bytes."""
    size_bytes = path.stat().st_size
    os.truncate(path, 1000)
    if is_regrown:
        with path.open("ab") as sensor:
            sensor.write(b"\xaa" * (size_bytes - 1000))


def check_change(
    scenario: Scenario, file: Numbered, after: Numbered, *, is_processed: bool, before: bytes = b""
) -> None:
    """Check that the stream has what the verdict on the changed file says, and the other files whole."""
    figures = Figures()
    Watch(scenario, figures).until(scenario.is_done)
    assert scenario.end_stream()
    (stream,) = streams_of(scenario)
    start = len(STREAM_HEADER) + len(before)
    assert stream.data[:start] == STREAM_HEADER + before
    assert stream.data.endswith(after.body)
    arrived = stream.data[start : len(stream.data) - len(after.body)]
    assert file.body.startswith(arrived)
    name, keys = os.fsencode(file.path), scenario.store.keys
    if is_processed:
        assert arrived == file.body
        assert name in lists_of(scenario).processed
        return
    failure = json.loads(scenario.store.redis.lrange(keys.failed, 0, -1)[0])
    assert lists_of(scenario).failed == [name]
    assert "changed while it was read" in failure["reason"]
    assert failure["packets"] == len(list(records_in(arrived))) > 0


def unread_bytes(scenario: Scenario) -> int:
    """Return how much is in the pipe."""
    reader = os.open(scenario.pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return fifo.unread_bytes(reader)
    finally:
        os.close(reader)


@pytest.mark.long
def test_a_file_that_its_sensor_still_writes_is_not_touched(scenario: Scenario) -> None:
    """It fails at once, and by that name."""
    path = scenario.captures / "growing.pcap"
    with path.open("wb") as sensor:
        sensor.write(bytes(24))
        sensor.flush()
        scenario.queue(os.fsencode(path))
        wait_until(scenario.is_done, "a verdict")

    assert b"still being written" in scenario.store.redis.lrange(scenario.store.keys.failed, 0, -1)[0]
