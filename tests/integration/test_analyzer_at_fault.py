"""Analyzers that die on files, or stop reading, under a real launcher: poison, a held lane, a stall."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from support.roles_rig import HEADER_BYTES, Trio, places, places_in
from support.waiting import wait_until

from pcapdj.store import operate

# Dies as soon as it reads b"poison", unless there is a file `cured`; else copies.
DYING = """
import os, sys
pipe, logdir, cured = sys.argv[1:]
with open(pipe, "rb", 0) as stream, open(os.path.join(logdir, "copy"), "wb", 0) as copy:
    while data := stream.read(1 << 20):
        copy.write(data)
        if b"poison" in data and not os.path.exists(cured):
            os.kill(os.getpid(), 9)
"""
# Reads nothing while there is a file `brake`, and copies at other times.
STALLING = """
import os, sys, time
pipe, logdir, brake = sys.argv[1:]
with open(pipe, "rb", 0) as stream, open(os.path.join(logdir, "copy"), "wb", 0) as copy:
    copy.write(stream.read(24))
    while os.path.exists(brake):
        time.sleep(0.01)
    while data := stream.read(1 << 20):
        copy.write(data)
"""


def start(trio: Trio, analyzer: str, *options: str) -> None:
    """Start the trio with this analyzer, restarted without long pauses."""
    code = (sys.executable, "-c", analyzer, "{pipe}", "{logdir}", str(trio.folder / "cured"))
    trio.start("consumer", "--restart-pause", "10ms", *options, "--", *code)
    trio.start("dispatcher")
    trio.start("controller")


def poison(trio: Trio, name: str) -> Path:
    """Write a capture on which the analyzer dies, larger than the pipe: it dies while it is fed."""
    path = trio.capture(name, 9, 3000)
    path.write_bytes(path.read_bytes().replace(b"xxxxxxxx", b"poison!!", 1))
    os.utime(path, (1_600_000_000, 1_600_000_000))
    return path


def failures(trio: Trio) -> list[dict[str, Any]]:
    """Return the entries of FAILED."""
    return [json.loads(entry) for entry in trio.store.redis.lrange(trio.store.keys.failed, 0, -1)]


@pytest.mark.long
@pytest.mark.slow
def test_two_poison_files_fail_and_the_others_are_fed(trio: Trio) -> None:
    """Each fails after three deaths; the files between and after them are fed whole, the lane is not held."""
    order = ["p1", "g1", "p2", "p3", "g2"]
    made = [poison(trio, name) if name[0] == "p" else trio.capture(name, int(name[1]), 20) for name in order]
    trio.queue(*made)

    start(trio, DYING)

    trio.await_processed(2)
    failed = failures(trio)
    assert [os.path.basename(each["name"]) for each in failed] == ["p1", "p2", "p3"]  # noqa: PTH119 - text
    assert all("poison: the analyzer died 3 times" in each["reason"] for each in failed)
    fed = [places_in(stream) for stream in trio.streams() if b"poison" not in stream and stream[24:]]
    assert fed == [places(2, 20)]  # the first good file shares its stream with the poison after it
    assert trio.store.redis.lrange(trio.store.keys.processed, 0, -1) == [
        os.fsencode(made[1]),
        os.fsencode(made[4]),
    ]
    assert not trio.store.redis.exists(trio.store.keys.suspend)


@pytest.mark.slow
def test_the_third_poison_file_in_a_row_holds_the_lane_until_an_operator_resumes(trio: Trio) -> None:
    """The file does not fail: it is fed again after `pcapdj resume`; until then status names the analyzer.

    The suspension is in Redis. A dispatcher that waits for its end can be stopped, its file stays current;
    the next one feeds nothing either, whether the one before was stopped or killed.
    """
    trio.queue(*(poison(trio, f"p{number}") for number in range(1, 4)))
    start(trio, DYING)

    trio.wait_logged("dispatcher", "analyzer_at_fault")
    wait_until(lambda: "at fault" in str(trio.statistics().get("at_fault")), "the statistics to show it")
    assert trio.snapshot()["suspended"] == [operate.OPERATOR]
    assert len(failures(trio)) == 2
    assert "resume" in trio.statistics()["waiting_for"]
    for number, code in ((signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)):
        seen = trio.logged("dispatcher").count("dispatcher suspended")
        assert trio.kill("dispatcher", number) == code
        assert len(trio.snapshot()["current"]) == 1
        trio.start("dispatcher")
        trio.wait_logged("dispatcher", "dispatcher suspended", times=seen + 1)
    (trio.folder / "cured").touch()
    operate.resume(trio.store)

    trio.await_processed(1)
    assert len(failures(trio)) == 2
    assert trio.logged("dispatcher").count("analyzer_at_fault") == 1


@pytest.mark.long
def test_a_stalled_analyzer_is_shown_and_replaced(trio: Trio) -> None:
    """With --stall-timeout one that reads nothing is killed, and its file fed to the next from the start."""
    brake = trio.folder / "cured"
    brake.touch()
    trio.queue(trio.capture("1.pcap", 1, 3000))
    start(trio, STALLING, "--stall-timeout", "3s")

    wait_until(lambda: trio.statistics().get("stalled_s", 0) >= 1, "the stall to be counted")
    trio.wait_logged("consumer", "analyzer_crashed")
    brake.unlink()

    trio.await_processed(1)
    assert "it had read nothing for 3 s" in trio.logged("consumer")
    assert places_in(trio.streams()[-1]) == places(1, 3000)
    wait_until(lambda: trio.statistics().get("stalled_s") == 0, "the stall to be over")


@pytest.mark.long
def test_a_slow_analyzer_is_not_stalled(trio: Trio) -> None:
    """One that reads a little now and then is not restarted, although the pipe stays full."""
    slow = STALLING.replace("1 << 20", "100_000").replace(
        "        copy.write(data)", "        copy.write(data); time.sleep(0.1)"
    )
    trio.queue(trio.capture("1.pcap", 1, 3000))

    start(trio, slow, "--stall-timeout", "500ms")

    trio.await_processed(1)
    assert "analyzer_crashed" not in trio.logged("consumer")


@pytest.mark.long
def test_without_the_option_a_stalled_analyzer_is_waited_for(trio: Trio, short_path: Path) -> None:
    """Back pressure is no fault: feeding continues where it stopped."""
    brake = short_path / "cured"
    brake.touch()
    trio.queue(trio.capture("1.pcap", 1, 3000))
    start(trio, STALLING)
    wait_until(lambda: trio.statistics().get("stalled_s", 0) >= 2, "the stall to be counted")

    brake.unlink()

    trio.await_processed(1)
    assert [places_in(stream) for stream in trio.streams()] == [places(1, 3000)]
    assert trio.streams()[0][:HEADER_BYTES] == (trio.captures / "1.pcap").read_bytes()[:HEADER_BYTES]


@pytest.mark.long
def test_an_analyzer_that_closed_the_pipe_and_does_not_exit_is_replaced(trio: Trio) -> None:
    """POLLERR on the write end shows it, not its exit; the file is fed to the next one."""
    closing = """
import os, sys, time
pipe, logdir, cured = sys.argv[1:]
with open(pipe, "rb", 0) as stream:
    if os.path.exists(cured):
        seen = stream.read()
        open(os.path.join(logdir, "copy"), "wb").write(seen)
    stream.read(5000)
while not os.path.exists(cured):
    time.sleep(0.01)
time.sleep(60)
"""
    trio.queue(trio.capture("1.pcap", 1, 100))
    start(trio, closing)
    trio.wait_logged("consumer", "it had closed the pipe and did not exit")
    (trio.folder / "cured").touch()

    trio.await_processed(1)
    operate.finish(trio.store, "now")
    wait_until(lambda: places(1, 100) in [places_in(each) for each in trio.streams() if each], "the copy")
