"""Timestamps that jump between files are reported, through every death of a dispatcher; none is altered."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.captures import Record, classic, file_header
from support.cases import some_long
from support.dispatcher_rig import (
    Dispatchers,
    authorize,
    dispatchers_in,
    journal,
    queue,
    queue_authorized,
    written,
)
from support.forkserver import clean_environment, run
from support.roles_rig import HEADER_BYTES, Trio
from support.waiting import wait_until

from pcapdj.store.client import Store

SECOND_NS = 10**9
HOUR_S = 3600
EVENT = " timestamps_jump "
BIG = 4000  # packets of a file that fills the pipe before the braked analyzer has read it


def capture(first_s: int, last_s: int, *, packets: int = 2, size_bytes: int = 60) -> bytes:
    """Return a capture that begins and ends at these seconds."""
    times = [first_s] * (packets - 1) + [last_s]
    return classic([Record(time_s, 0, b"x" * size_bytes) for time_s in times])


def jumps_in_journal(store: Store) -> list[tuple[str, str, str]]:
    """Return file name, step in seconds (empty: none) and words of each entry of the journal."""
    return [
        (
            os.path.basename(entry["name"]).decode(),  # noqa: PTH119 - bytes
            f"{int(entry['step_ns']) / SECOND_NS:g}" if entry["step_ns"] else "",
            entry["jump"].decode(),
        )
        for entry in journal(store)
    ]


@pytest.fixture
def rig(tmp_path: Path, store: Store) -> Iterator[Dispatchers]:
    """Return dispatchers of one pipe, with an analyzer by hand."""
    with dispatchers_in(tmp_path, store) as rig:
        yield rig


@pytest.fixture
def trio(trio: Trio) -> Trio:
    """Return a controller and a launcher that run, and a dispatcher that does not yet."""
    trio.start("consumer")
    trio.start("controller")
    return trio


def fed(rig: Dispatchers, contents: dict[str, bytes], *options: str) -> bytes:
    """Feed these files with a dispatcher of these options; return the stream."""
    queue_authorized(rig, contents)
    dispatcher = rig.start(*options)
    stream = rig.reader().read_to_end()
    assert dispatcher.wait() == 0
    return stream


def test_every_file_has_its_step_and_only_jumps_are_reported(rig: Dispatchers) -> None:
    """Back, whatever how little; forward beyond an hour. The stream is what the files hold."""
    contents = {
        "first.pcap": capture(9000, 9010),
        "touches.pcap": capture(9010, 9020),
        "follows.pcap": capture(9025, 9030),
        "back.pcap": capture(9018, 9030),
        "an-hour.pcap": capture(9030 + HOUR_S, 20_000),
        "gap.pcap": capture(20_000 + 3 * HOUR_S + 125, 40_000),
    }

    stream = fed(rig, contents)

    back = "begins 12 s before the end of the previous file"
    gap = "begins 3 h 2 min after the end of the previous file"
    assert jumps_in_journal(rig.store) == [
        ("first.pcap", "", ""),
        ("touches.pcap", "0", ""),
        ("follows.pcap", "5", ""),
        ("back.pcap", "-12", back),
        ("an-hour.pcap", "3600", ""),
        ("gap.pcap", "10925", gap),
    ]
    events = [line.split(EVENT)[1] for line in rig.logged().splitlines() if EVENT in line]
    back, gap = (
        f"step_ns={step_s}000000000: Its first packet is {span} the last packet of the previous file:"
        f" {guess}?"
        for step_s, span, guess in (
            (-12, "12 s before", "are the files in order"),
            (10925, "3 h 2 min after", "is a file missing"),
        )
    )
    names = [("back", "follows"), ("gap", "an-hour")]
    assert events == [
        f"name={rig.folder}/{name}.pcap before={rig.folder}/{before}.pcap {rest}"
        for (name, before), rest in zip(names, (back, gap), strict=True)
    ]
    assert stream == file_header() + b"".join(each[HEADER_BYTES:] for each in contents.values())


def test_a_jump_is_reported_once_the_first_record_is_read(rig: Dispatchers) -> None:
    """While the file is still being fed."""
    names = [
        written(rig.folder, "1.pcap", capture(100, 200)),
        written(rig.folder, "2.pcap", capture(50, 60, packets=BIG, size_bytes=900)),
    ]
    queue(rig.store, *names)
    authorize(rig.store, *names)
    rig.start()
    reader = rig.reader()
    reader.read(1000)

    rig.wait_for(EVENT)

    assert len(journal(rig.store)) == 1
    reader.read_to_end()


def test_files_without_packets_are_looked_past_and_damaged_ones_are_not(rig: Dispatchers) -> None:
    """A file that failed has delivered packets: what follows is compared with the last of these."""
    contents = {
        "1.pcap": capture(100, 200),
        "empty.pcap": file_header(),
        "torn.pcap": capture(300, 400)[:-5],
        "no-capture.pcap": b"<html>",
        "2.pcap": capture(350, 500),
    }

    fed(rig, contents)

    assert jumps_in_journal(rig.store) == [
        ("1.pcap", "", ""),
        ("empty.pcap", "", ""),
        ("torn.pcap", "100", ""),
        ("no-capture.pcap", "", ""),
        ("2.pcap", "50", ""),
    ]


@pytest.mark.parametrize(("max_gap", "reported"), [("0", []), ("10s", ["b", "c"]), ("11s", ["c"])])
def test_the_largest_gap_is_an_option_and_0_allows_any(
    rig: Dispatchers, max_gap: str, reported: list[str]
) -> None:
    """A longer one is reported, one as long is not."""
    contents = {"a": capture(0, 0), "b": capture(11, 11), "c": capture(HOUR_S * 99, HOUR_S * 99)}

    fed(rig, contents, "--max-gap", max_gap)

    assert [name for name, _, words in jumps_in_journal(rig.store) if words] == reported


def test_the_largest_gap_may_come_from_the_environment(rig: Dispatchers) -> None:
    """As the service and `pcapdj run` set it; an invalid value ends with 2 and is named."""
    name = written(rig.folder, "1.pcap", capture(0, 0))
    later = written(rig.folder, "2.pcap", capture(2, 2))
    queue(rig.store, name, later)
    authorize(rig.store, name, later)
    dispatcher = rig.start(environment={"PCAPDJ_MAX_GAP": "1s"})
    rig.reader().read_to_end()

    assert dispatcher.wait() == 0
    assert rig.start(environment={"PCAPDJ_MAX_GAP": "soon"}).wait() == 2

    assert jumps_in_journal(rig.store)[1] == ("2.pcap", "2", "begins 2 s after the end of the previous file")
    assert "--max-gap: 'soon' is not a time." in rig.logged().splitlines()[-1]


def put(trio: Trio, name: str, content: bytes) -> None:
    """Write a capture and queue it."""
    path = trio.captures / name
    path.write_bytes(content)
    os.utime(path, (1_600_000_000, 1_600_000_000))
    trio.queue(path)


@pytest.mark.long
@pytest.mark.parametrize("point", ["", "put.after:3", "drain.after:1", "finish.after:1"])
def test_a_restart_between_two_files_keeps_time_and_place(trio: Trio, point: str) -> None:
    """Killed while idle, or around the moment in which the first file's end is written down."""
    first, second = capture(100, 200), capture(150, 250)
    put(trio, "1.pcap", first)
    trio.start("dispatcher", environment={"PCAPDJ_FAULT": f"{point}:kill"} if point else None)
    if point:
        assert trio.processes.pop("dispatcher").wait() == -signal.SIGKILL
    else:
        trio.wait_logged("dispatcher", "file_finished")
        trio.kill("dispatcher")

    trio.start("dispatcher")
    put(trio, "2.pcap", second)
    trio.await_processed(2)

    assert jumps_in_journal(trio.store) == [
        ("1.pcap", "", ""),
        ("2.pcap", "-50", "begins 50 s before the end of the previous file"),
    ]
    assert trio.logged("dispatcher").count(f"before={trio.captures}/1.pcap") == 1
    assert [int(entry["stream_start"]) for entry in journal(trio.store)] == [HEADER_BYTES, len(first)]
    assert trio.streams() == [first + second[HEADER_BYTES:]]


@pytest.mark.parametrize(
    "point", some_long(["", "put.after:4", "drain.after:2", "put.after:5"], quick=("put.after:5",))
)
@pytest.mark.parametrize("is_spliced", some_long([True, False], quick=(True,)))
def test_a_file_resumed_in_mid_record_gives_the_same_report(
    trio: Trio, point: str, *, is_spliced: bool
) -> None:
    """It is compared with the file before it, not with itself; the one after it with it."""
    order = "<" if is_spliced else ">"
    big = classic([Record(150, 0, b"x" * 900)] * BIG, order=order)
    trio.brake.touch()
    put(trio, "1.pcap", capture(100, 200))
    put(trio, "2.pcap", big)
    trio.start("dispatcher", environment={"PCAPDJ_FAULT": f"{point}:kill"} if point else None)
    if point:
        trio.brake.unlink()
        assert trio.processes.pop("dispatcher").wait() == -signal.SIGKILL
    else:
        trio.await_copied(30_000)
        trio.wait_logged("dispatcher", EVENT)
        trio.kill("dispatcher")
        trio.brake.unlink()

    trio.start("dispatcher")
    put(trio, "3.pcap", capture(160, 160))
    trio.await_processed(3)

    assert jumps_in_journal(trio.store) == [
        ("1.pcap", "", ""),
        ("2.pcap", "-50", "begins 50 s before the end of the previous file"),
        ("3.pcap", "10", ""),
    ]
    wait_until(lambda: trio.statistics().get("jumps") == 1, "the second dispatcher to count it")
    assert len(trio.streams()) == 1


@pytest.mark.long
def test_a_new_stream_begins_without_a_file_before(trio: Trio) -> None:
    """The analyzer died: the file is replayed as the first one of another stream, and jumps there no more."""
    trio.brake.touch()
    trio.start("dispatcher")
    put(trio, "1.pcap", capture(100, 200))
    put(trio, "2.pcap", capture(150, 250, packets=BIG, size_bytes=900))
    trio.await_copied(30_000)
    trio.wait_logged("dispatcher", EVENT)
    wait_until(lambda: trio.statistics().get("jumps") == 1, "the jump to be counted while it is fed")

    os.kill(int(trio.snapshot()["consumer"]["pid"]), signal.SIGKILL)
    trio.brake.unlink()
    trio.await_processed(2)

    assert jumps_in_journal(trio.store) == [("1.pcap", "", ""), ("2.pcap", "", "")]
    wait_until(lambda: trio.statistics().get("jumps") == 0, "nothing to be counted that the journal has not")


@pytest.mark.long
def test_status_shows_how_often_timestamps_jump_and_the_last_one(trio: Trio) -> None:
    """One line on the screen, three fields for programs; before there is one, none."""
    trio.start("dispatcher")
    put(trio, "a.pcap", capture(100, 200))
    trio.await_processed(1)
    wait_until(lambda: trio.statistics().get("files") == 1, "the statistics")
    assert "timestamps" not in status(trio)

    put(trio, "b.pcap", capture(200 + 2 * HOUR_S, 200 + 2 * HOUR_S))
    put(trio, "c.pcap", capture(188 + 2 * HOUR_S, 9 * HOUR_S))
    trio.await_processed(3)
    wait_until(lambda: trio.statistics().get("files") == 3, "the statistics")

    words = "begins 12 s before the end of the previous file"
    assert f"timestamps: 2 jumps; last: 'c.pcap' {words}" in status(trio)
    [dispatcher] = json.loads(status(trio, "--json"))["dispatchers"]
    assert (dispatcher["jumps"], dispatcher["last_jump"]) == (2, words)
    assert dispatcher["last_jump_name"] == str(trio.captures / "c.pcap")


def status(trio: Trio, *options: str) -> str:
    """Return what `pcapdj status` prints on a wide terminal."""
    env = clean_environment(PCAPDJ_REDIS_URL=trio.store.url, COLUMNS="200")
    done = run("pcapdj", "status", *options, env=env)
    done.check_returncode()
    return str(done.stdout)
