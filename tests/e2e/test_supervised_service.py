"""The shipped supervisord.conf with a real supervisord: what the README promises of the service."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.captures import Record, classic
from support.service_rig import Service, processes_about
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(150)


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    """Return a service that runs for several tests; each feeds captures of its own."""
    with tempfile.TemporaryDirectory(prefix="pcapdj-") as folder:
        rig = Service(Path(folder))
        try:
            rig.start(PCAPDJ_RESUME_AFTER="0")
            yield rig
        finally:
            rig.stop()


def packets_of(file: int, count: int = 50, size_bytes: int = 60) -> list[Record]:
    """Return packets that carry their file's and their own number."""
    numbers = (f"{file}:{number}:".encode().ljust(size_bytes, b".") for number in range(count))
    return [Record(seconds=file, fraction=number, data=data) for number, data in enumerate(numbers)]


def move_in(service: Service, name: str, packets: list[Record]) -> None:
    """Write a capture elsewhere and move it into the inbox, as sensors do."""
    written = service.folder / name
    written.write_bytes(classic(packets))
    shutil.move(written, service.folder / "inbox" / name)


def test_captures_moved_into_the_inbox_come_out_whole_and_in_order(service: Service) -> None:
    """Five files, one stream: one header, then every record of each in natural order; stop leaves nothing."""
    service.start()

    for number in (1, 2, 9, 10, 11):
        move_in(service, f"cap-{number}.pcap", packets_of(number))
        wait_until(lambda n=number: f"cap-{n}.pcap" in service.log_of("importer"), "the importer to queue it")  # type: ignore[misc]  # bound now
    service.await_processed(5)
    copied = service.end_stream()
    service.stop()

    expected = [packet for number in (1, 2, 9, 10, 11) for packet in packets_of(number)]
    assert copied == classic(expected)
    wait_until(lambda: not processes_about(service.folder), "every process to be gone")


@pytest.mark.long
@pytest.mark.slow
def test_a_stop_of_all_in_mid_file_and_a_start_feed_each_packet_once(service: Service) -> None:
    """Redis is stopped first: what the next start needs is in a file beside the launcher's socket."""
    service.start()
    packets = [packets_of(number, count=3000, size_bytes=900) for number in (1, 2, 3, 4)]
    brake = service.out / "brake"
    move_in(service, "cap-1.pcap", packets[0])
    service.await_processed(1)
    brake.touch()
    for number in (2, 3, 4):
        move_in(service, f"cap-{number}.pcap", packets[number - 1])
    wait_until(lambda: is_fed(service, "cap-2.pcap"), "the second file to be fed")

    with ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(service.control, "stop", "all")
        wait_until(lambda: not service.pid_of("dispatcher"), "the dispatcher to stop")
        brake.unlink()
        stopping.result()
    service.control("start", "all")
    wait_until(service.is_ready, "Redis and a dispatcher")
    service.await_processed(4)
    service.end_stream()

    first, second = (path.read_bytes() for path in sorted(service.out.glob("2*/copy")))
    assert first + second[len(classic([])) :] == classic([each for file in packets for each in file])
    assert service.log_of("dispatcher").count("file_continues") == 1


def is_fed(service: Service, name: str) -> bool:
    """Report whether this file is being fed."""
    fed = [each for each in service.snapshot()["current"] if each["state"] == "feeding"]
    return any(str(each["name"]).endswith(name) for each in fed)


@pytest.mark.long
def test_thresholds_changed_live_close_and_open_the_gate(running: Service) -> None:
    """A min-free above what is free holds the next file; unset, it is fed."""
    before = running.snapshot()["processed"]
    free_bytes = shutil.disk_usage(running.folder).free

    running.pcapdj("limits", "set", f"min-free={free_bytes * 3 // 2}", "suspend-free=0", "--force")
    wait_until(lambda: running.snapshot()["gate"]["state"] == "hold", "the gate to hold")
    move_in(running, "a.pcap", packets_of(1))
    wait_until(lambda: running.snapshot()["current"], "the file to be asked for")
    asked = running.snapshot()["current"][0]["state"]
    running.pcapdj("limits", "unset", "min-free", "suspend-free")
    running.await_processed(before + 1)

    assert asked == "asked"
    assert running.snapshot()["gate"]["state"] == "open"


@pytest.mark.long
@pytest.mark.slow
def test_supervisorctl_signals_reach_the_dispatcher(running: Service) -> None:
    """USR1 suspends and, once more, resumes; USR2 prints the eight lines into the dispatcher's log."""
    before = running.snapshot()["processed"]

    running.control("signal", "USR1", "dispatcher")
    wait_until(lambda: running.snapshot()["suspended"], "the suspension")
    move_in(running, "b.pcap", packets_of(2))
    wait_until(lambda: running.snapshot()["current"], "the file to be taken")
    running.control("signal", "USR2", "dispatcher")
    wait_until(lambda: running.log_of("dispatcher").count("[STATS]") == 8, "the eight lines")
    fed_while_suspended = running.snapshot()["processed"]
    running.control("signal", "USR1", "dispatcher")
    running.await_processed(before + 1)

    assert fed_while_suspended == before
    assert "[STATS] Internal state:Suspended" in running.log_of("dispatcher")
    assert not running.snapshot()["suspended"]


@pytest.mark.long
def test_a_killed_dispatcher_leaves_the_same_analyzer_with_a_whole_stream(running: Service) -> None:
    """A kill -9 in mid-file: the next dispatcher goes on mid-record, and the analyzer does not notice."""
    end_open_stream(running)
    before, streams = running.snapshot()["processed"], set(running.out.glob("2*"))
    brake = running.out / "brake"
    brake.touch()
    packets = packets_of(3, count=4000, size_bytes=1400)

    move_in(running, "c.pcap", packets)
    wait_until(lambda: copied_bytes(running, streams) > 100_000, "the analyzer to be in mid-file")
    analyzer, killed = running.snapshot()["consumer"]["pid"], running.pid_of("dispatcher")
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: running.pid_of("dispatcher") not in (0, killed), "the next dispatcher")
    brake.unlink()
    running.await_processed(before + 1)
    analyzer_after = running.snapshot()["consumer"]["pid"]
    copied = running.end_stream()

    assert analyzer_after == analyzer
    assert copied == classic(packets)
    assert len(set(running.out.glob("2*")) - streams) == 1


def end_open_stream(service: Service) -> None:
    """Let the next file begin a stream."""
    if service.snapshot()["consumer"]["state"] != "idle":
        service.end_stream()


def copied_bytes(service: Service, before: set[Path]) -> int:
    """Return how much the analyzers of streams that are new have copied."""
    copies = (folder / "copy" for folder in set(service.out.glob("2*")) - before)
    return sum(copy.stat().st_size for copy in copies if copy.exists())
