"""What is unusual in capture files: counted in the journal through every death, logged, shown by `status`."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from support.captures import RAW_IP, Record, classic, enhanced, interface, section
from support.cases import some_long
from support.dispatcher_rig import journal, listed
from support.forkserver import clean_environment, run
from support.roles_rig import Trio
from support.waiting import wait_until

US = 10**6  # ticks per second
EVENTS = ["packets_skipped", "times_wrapped", "times_step_back", "times_after_2038", "snaplen_wrong"]
LATE = 1 << 31  # the first second that libpcap reads as negative


@pytest.fixture
def trio(trio: Trio) -> Trio:
    """Return a controller and a launcher that run, and a dispatcher that does not yet."""
    trio.start("consumer")
    trio.start("controller")
    return trio


def unusual(rounds: int) -> bytes:
    """Return a pcapng file that has one anomaly of each kind per round, and two steps back."""
    content = section() + interface(snaplen=899) + interface(RAW_IP)
    for number in range(rounds):
        usual = enhanced((10 + number) * US, bytes(899))
        content += usual + enhanced((10 + number) * US - 1, bytes(900)) + enhanced(US, b"raw", number=1)
        content += enhanced(LATE * US, b"late") + enhanced(2 * LATE * US, b"wraps")
    return content


def put(trio: Trio, name: str, content: bytes) -> Path:
    """Write a capture and queue it."""
    path = trio.captures / name
    path.write_bytes(content)
    os.utime(path, (1_600_000_000, 1_600_000_000))
    trio.queue(path)
    return path


def logged(trio: Trio) -> list[str]:
    """Return the events about unusual files, in the order of the log."""
    words = [line.split()[3] for line in trio.logged("dispatcher").splitlines() if len(line.split()) > 3]
    return [word for word in words if word in EVENTS]


def status(trio: Trio, *options: str) -> str:
    """Return what `pcapdj status` prints on a wide terminal."""
    env = clean_environment(PCAPDJ_REDIS_URL=trio.store.url, COLUMNS="200")
    done = run("pcapdj", "status", *options, env=env)
    done.check_returncode()
    return str(done.stdout)


@pytest.mark.parametrize("point", some_long(["", "finish.after:1"], quick=("finish.after:1",)))
def test_the_counts_are_exact_through_the_death_of_a_dispatcher(trio: Trio, point: str) -> None:
    """Killed in mid-file, or after its result is written; each kind is logged once."""
    rounds = 800
    trio.brake.touch()
    put(trio, "1.pcapng", unusual(rounds))
    trio.start("dispatcher", environment={"PCAPDJ_FAULT": f"{point}:kill"} if point else None)
    if point:
        trio.brake.unlink()
        assert trio.processes.pop("dispatcher").wait() == -signal.SIGKILL
    else:
        trio.await_copied(30_000)
        trio.kill("dispatcher")
        trio.brake.unlink()

    trio.start("dispatcher")
    trio.await_processed(1)

    [entry] = journal(trio.store)
    counts = ("packets", "wrapped_times", "steps_back", "beyond_snaplen", "after_2038")
    assert [int(entry[name]) for name in counts] == [4 * rounds, rounds, 2 * rounds - 1, rounds, 1]
    assert int(entry["largest_step_back_ns"]) == (2 * LATE - 11) * 10**9
    assert json.loads(entry["left_out"]) == {str(RAW_IP): rounds}
    if not point:
        wait_until(lambda: logged(trio) == EVENTS, "each kind to be logged once")


@pytest.mark.long
def test_status_shows_each_kind_and_the_last_such_file(trio: Trio) -> None:
    """On the screen and for programs; without one there is no line."""
    trio.start("dispatcher")
    put(trio, "0.pcap", classic([Record(1, 0)]))
    trio.await_processed(1)
    wait_until(lambda: trio.statistics().get("files") == 1, "the statistics")
    assert "snaplen" not in status(trio)

    put(trio, "1.pcapng", unusual(1))
    put(trio, "2.pcapng", unusual(2))
    put(trio, "3.pcap", classic([Record(LATE + 9, 0)]))
    trio.await_processed(4)
    wait_until(lambda: trio.statistics().get("files") == 4, "the statistics")

    screen = status(trio)
    for line in (
        "left out: 3 packets, because of their link type",
        "wrapped: the times of 3 packets from before 1970 or after 2106",
        "timestamps: 4 steps back in time, the largest 4,294,967,285 s, inside files",
        "timestamps: after 2038-01-19, which programs built on libpcap read as negative",
        "snaplen: 3 packets are longer than that of the file, and whole",
        "last: '3.pcap' has times after 2038-01-19",
    ):
        assert line in screen
    [dispatcher] = json.loads(status(trio, "--json"))["dispatchers"]
    names = ("left_out", "wrapped_times", "steps_back", "largest_step_back_ns", "beyond_snaplen")
    assert [dispatcher[name] for name in names] == [3, 3, 4, 4_294_967_285 * 10**9, 3]
    assert dispatcher["after_2038_stream"] == dispatcher["stream"]
    assert dispatcher["last_anomaly_name"] == str(trio.captures / "3.pcap")


@pytest.mark.long
def test_times_after_2038_are_logged_once_per_stream(trio: Trio) -> None:
    """They concern how its analyzer reads the stream, not one file."""
    trio.start("dispatcher")
    for name in ("1.pcap", "2.pcap"):
        put(trio, name, classic([Record(LATE, 0)]))
    trio.await_processed(2)
    trio.store.redis.set(trio.store.keys.finish, "empty")
    wait_until(lambda: not trio.store.redis.exists(trio.store.keys.finish), "the stream to end")
    assert logged(trio) == ["times_after_2038"]

    put(trio, "3.pcap", classic([Record(LATE, 0)]))
    trio.await_processed(3)

    wait_until(lambda: logged(trio) == ["times_after_2038"] * 2, "the next stream to have its line")
    assert [entry["after_2038"] for entry in journal(trio.store)] == [b"1"] * 3


def test_a_file_without_a_fitting_packet_fails_and_its_packets_are_counted(trio: Trio) -> None:
    """The reason names both link types; the next file is fed."""
    trio.start("dispatcher")
    put(trio, "1.pcap", classic([Record(1, 0)]))
    put(trio, "2.pcapng", section() + interface(RAW_IP) + enhanced(1) * 3)
    put(trio, "3.pcap", classic([Record(2, 0)]))

    trio.await_processed(2)

    [failure] = [json.loads(entry) for entry in listed(trio.store, trio.store.keys.failed)]
    assert failure["reason"] == "is raw IP (101), but the stream is Ethernet (1)"
    entries: list[dict[str, Any]] = journal(trio.store)
    assert [json.loads(entry["left_out"] or "{}") for entry in entries] == [{}, {str(RAW_IP): 3}, {}]
