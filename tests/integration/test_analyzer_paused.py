"""While the controller suspends feeding, the launcher pauses the analyzer, so that it writes nothing."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support.captures import classic
from support.launcher_rig import Rig, connected, feed, rig_in, splice_all, stop
from support.waiting import wait_until

from pcapdj.feed.launcher_client import OpenStream
from pcapdj.runtime.signals import Signals
from pcapdj.store.bounded import read_hash
from pcapdj.store.client import Store

# Reads to the end, then writes until a file `enough` is there. A second process has a session of its own.
WRITING = """
import os, signal, sys, time
signal.signal(signal.SIGHUP, lambda *_: os.rename("out", "rotated"))
if not os.fork():
    os.setsid()
    open("left", "w").write(str(os.getpid()))
    while not os.path.exists("enough"):
        time.sleep(0.005)
    os._exit(0)
with open(sys.argv[1], "rb", 0) as stream, open("out", "wb", 0) as out:
    while stream.read(65536):
        pass
    while not os.path.exists("enough"):
        out.write(b"x")
        time.sleep(0.001)
"""


@pytest.fixture
def rig(short_path: Path) -> Iterator[Rig]:
    """Return a launcher's folder and processes; what leaves its analyzer's group ends, too."""
    with rig_in(short_path) as rig:
        yield rig
        for left in rig.logs.glob("2*/left"):
            with suppress(ProcessLookupError):
                os.kill(int(left.read_text()), signal.SIGKILL)


def suspend(store: Store, *, by: str = "gate") -> None:
    """Suspend feeding, as the controller does."""
    store.redis.sadd(store.keys.suspend, by)
    store.notify("gate suspended")


def resume(store: Store) -> None:
    """End the controller's suspension."""
    store.redis.srem(store.keys.suspend, "gate")
    store.notify("gate hold")


def started(rig: Rig, signals: Signals, store: Store, *options: str) -> OpenStream:
    """Start a launcher and a stream of the writing analyzer, and feed a capture without packets."""
    environment = {"PCAPDJ_REDIS_URL": store.url, "PCAPDJ_LANE": store.keys.lane}
    rig.start_python(WRITING, environment=environment, options=options)
    launcher = connected(rig, signals)
    opened = launcher.open()
    capture = rig.folder / "one.pcap"
    capture.write_bytes(classic([]))
    feed(launcher, opened, capture)
    wait_until((rig.latest() / "left").exists, "the analyzer's other process to run")
    return opened


def states(rig: Rig) -> list[str]:
    """Return the state of the analyzer and of the process that left its group: T is paused."""
    pids = (str(rig.analyzer_pid()), (rig.latest() / "left").read_text())
    return [Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] for pid in pids]


def consumer(store: Store, field: str) -> bytes:
    """Return a field of PCAPDJ_CONSUMER."""
    fields = read_hash(store, store.keys.consumer, [field])
    return fields.get(field.encode(), b"")


def test_a_suspension_by_the_gate_pauses_all_processes_of_the_analyzer(
    rig: Rig, signals: Signals, store: Store
) -> None:
    """Those outside of its group, too; they go on when it ends, and status and log have both."""
    started(rig, signals, store)

    suspend(store, by="operator")
    suspend(store)
    wait_until(lambda: states(rig) == ["T", "T"], "both processes to be paused")
    wait_until(lambda: float(consumer(store, "paused_s") or 0) > 0, "the status to show it")
    resume(store)
    wait_until(lambda: "T" not in states(rig), "both processes to go on, whatever the operator suspends")
    wait_until(lambda: consumer(store, "paused_s") == b"", "the status to show it")
    wait_until(lambda: "analyzer_resumed" in rig.logged(), "the log to have it")

    logged = rig.logged()
    assert logged.index("analyzer_paused") < logged.index("analyzer_resumed")


def test_what_an_analyzer_writes_at_its_end_is_held_and_the_pause_is_not_its_time(
    rig: Rig, signals: Signals, store: Store
) -> None:
    """After the end of its input it may run for the flush time-out, the pause aside."""
    opened = started(rig, signals, store, "--flush-timeout", "0.5s")
    suspend(store)
    wait_until(lambda: states(rig)[0] == "T", "the analyzer to be paused")

    os.close(opened.write_end)
    rig.clients[0].end(opened.stream)
    wait_until(lambda: consumer(store, "state") == b"flushing", "the end of its input")
    ended_s = time.monotonic()
    wait_until(lambda: time.monotonic() - ended_s > 1, "twice the time-out to pass")
    assert states(rig)[0] == "T"
    written = rig.latest() / "out"  # the analyzer may not have come to open it
    assert not written.exists() or not written.stat().st_size

    (rig.latest() / "enough").touch()
    resume(store)
    wait_until(lambda: consumer(store, "last_exit").startswith(b"exited 0"), "the stream to end")
    assert "had not exited" not in rig.logged()


def test_a_stop_does_not_wait_for_the_disk(rig: Rig, signals: Signals, store: Store) -> None:
    """A paused analyzer goes on and flushes, and the launcher ends; its log shows what that may cost."""
    opened = started(rig, signals, store)
    suspend(store)
    wait_until(lambda: states(rig)[0] == "T", "the analyzer to be paused")
    (rig.latest() / "enough").touch()

    os.close(opened.write_end)
    rig.clients[0].close()

    assert stop(rig.processes[0]) == 0
    assert consumer(store, "last_exit").startswith(b"exited 0")
    assert rig.logged().count("stopped_without_room") == 1


def test_a_paused_analyzer_dies_with_its_launcher(rig: Rig, signals: Signals, store: Store) -> None:
    """SIGKILL needs no running process: none is left that nothing would ever wake."""
    started(rig, signals, store)
    suspend(store)
    wait_until(lambda: states(rig) == ["T", "T"], "both processes to be paused")
    pid = rig.analyzer_pid()

    rig.processes[0].send_signal(signal.SIGKILL)

    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the analyzer to be gone")


def test_an_analyzer_that_reads_nothing_while_it_is_paused_has_not_stalled(
    rig: Rig, signals: Signals, store: Store
) -> None:
    """The stall time-out begins anew with the end of the pause."""
    opened = started(rig, signals, store, "--stall-timeout", "0.5s")
    suspend(store)
    wait_until(lambda: states(rig)[0] == "T", "the analyzer to be paused")

    capture = os.open(rig.folder / "one.pcap", os.O_RDONLY)
    splice_all(capture, opened.write_end)
    os.close(capture)
    fed_s = time.monotonic()
    wait_until(lambda: time.monotonic() - fed_s > 1, "twice the time-out to pass")
    resume(store)

    wait_until(lambda: "T" not in states(rig), "the analyzer to go on")
    assert "analyzer_crashed" not in rig.logged()


def test_a_signal_acts_on_a_paused_analyzer_which_is_paused_again(
    rig: Rig, signals: Signals, store: Store
) -> None:
    """After its log was moved away, SIGHUP lets it open another one: without that no room would be made."""
    started(rig, signals, store)
    suspend(store)
    wait_until(lambda: states(rig) == ["T", "T"], "both processes to be paused")

    os.kill(rig.analyzer_pid(), signal.SIGHUP)
    wait_until((rig.latest() / "rotated").exists, "the signal to act")
    wait_until(lambda: states(rig) == ["T", "T"], "both processes to be paused again")
    (rig.latest() / "rotated").rename(rig.latest() / "out")
    rig.processes[0].send_signal(signal.SIGHUP)  # the launcher passes it on
    wait_until((rig.latest() / "rotated").exists, "the passed signal to act")

    resume(store)
    wait_until(lambda: "T" not in states(rig), "both processes to go on")
    wait_until(lambda: "analyzer_resumed" in rig.logged(), "the log to have it")
    assert rig.logged().count("analyzer_paused") == 1
