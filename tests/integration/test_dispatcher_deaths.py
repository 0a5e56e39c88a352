"""A file that kills dispatchers fails after three of them; kills at other times are no fault of the file."""

import gzip
import json
import os
import signal
import stat
from pathlib import Path
from typing import Any

import pytest
from support.cases import some_long
from support.dispatcher_rig import dispatchers_in, listed, packets, queue_authorized, stream_of
from support.preloaded import failing
from support.roles_rig import Trio, places, places_in
from support.waiting import wait_until

from pcapdj.store.client import Store

PACKETS = 3000


@pytest.fixture
def trio(trio: Trio) -> Trio:
    """Return a controller and a launcher that run, and a dispatcher that does not yet."""
    trio.start("consumer")
    trio.start("controller")
    return trio


def failures(trio: Trio) -> list[dict[str, Any]]:
    """Return the entries of FAILED."""
    return [json.loads(entry) for entry in trio.store.redis.lrange(trio.store.keys.failed, 0, -1)]


def restart_until_all_is_done(trio: Trio, environment: dict[str, str]) -> list[int]:
    """Start dispatchers, one after the other, until the queue is done; return how they ended."""
    ends = list[int]()
    while not trio.store.redis.llen(trio.store.keys.processed):
        trio.start("dispatcher", environment=environment)
        process = trio.processes["dispatcher"]
        wait_until(
            lambda: process.poll() is not None or trio.store.redis.llen(trio.store.keys.processed),  # noqa: B023
            "the dispatcher to die, or to feed the last file",
        )
        if process.poll() is not None:
            ends.append(process.wait())
    return ends


@pytest.mark.parametrize(
    ("at", "fault", "end", "cause"),
    [
        pytest.param(
            *("its opening", {"BAD_SIGNAL": signal.SIGKILL}, -signal.SIGKILL),
            "without a trace, as by SIGKILL",
            marks=pytest.mark.long,
        ),
        pytest.param(
            *("its opening", {"BAD_MEMORY": 1}, 1, "by the error MemoryError"), marks=pytest.mark.long
        ),
        ("its middle", {"BAD_SIGNAL": signal.SIGSEGV}, -signal.SIGSEGV, "by a fatal signal: Segmentation"),
        pytest.param(
            *("its middle", {"BAD_SIGNAL": signal.SIGABRT}, -signal.SIGABRT),
            "by a fatal signal: Aborted",
            marks=pytest.mark.long,
        ),
    ],
)
def test_a_file_that_kills_three_dispatchers_fails_and_the_next_one_is_fed(
    trio: Trio, library: Path, at: str, fault: dict[str, int], end: int, cause: str
) -> None:
    """By a crash of a codec, or because memory is missing; the good packets before are delivered once."""
    path = trio.capture("bad", 1, PACKETS)
    bad_at = 0 if at == "its opening" else path.stat().st_size // 2
    trio.queue(path, trio.capture("good", 2, 20))

    ends = restart_until_all_is_done(trio, failing(library, BAD_AT=bad_at, **fault))

    assert ends == [end] * 3
    [failure] = failures(trio)
    assert failure["reason"].startswith(
        f"poison(dispatcher): 3 dispatchers died while they read this file, the last one {cause}"
    )
    [stream] = trio.streams()
    delivered = failure["packets"]
    assert places_in(stream) == places(1, delivered) + places(2, 20)
    journal: Any = trio.store.redis.xrange(trio.store.keys.journal)
    assert [entry[b"first_packet"] for _, entry in journal][-1] == b"%d" % (delivered + 1)
    assert delivered == 0 if at == "its opening" else delivered > PACKETS // 4
    assert "dispatcher_died" in trio.logged("dispatcher")
    fed = json.loads(trio.store.redis.hget(trio.store.keys.fed, os.fsencode(path)) or b"{}")
    assert fed["size_bytes"] == path.stat().st_size  # or the importer would queue it again


@pytest.mark.long
def test_an_archive_that_kills_the_thread_which_reads_in_advance_fails(trio: Trio, library: Path) -> None:
    """It may die of it while packets are sent."""
    path = trio.capture("bad", 1, PACKETS)
    path.write_bytes(gzip.compress(os.urandom(1 << 20).join((path.read_bytes(), b"")), 1))
    trio.queue(path, trio.capture("good", 2, 20))
    fault = {"BAD_SIGNAL": signal.SIGSEGV, "BAD_AT": path.stat().st_size // 2}

    ends = restart_until_all_is_done(trio, failing(library, **fault))

    assert set(ends) == {-signal.SIGSEGV}
    [failure] = failures(trio)
    assert failure["reason"].startswith("poison(dispatcher): 3 dispatchers died")


@pytest.mark.parametrize(
    "state", some_long(["waiting for its authorization", "sending", "suspended"], quick=("sending",))
)
def test_kills_at_other_times_never_count(trio: Trio, state: str) -> None:
    """Whoever kills a dispatcher that waits, five times, kills no file."""
    if state == "waiting for its authorization":
        trio.kill("controller")
    else:
        trio.brake.touch()
    trio.queue(trio.capture("1.pcap", 1, PACKETS))
    for number in range(1, 6):
        trio.start("dispatcher")
        if state == "waiting for its authorization":
            trio.wait_logged("dispatcher", "waiting_for_authorization", times=number)
        else:
            wait_until(lambda: is_full(trio), "the pipe to be full")
        if state == "suspended":
            trio.store.redis.sadd(trio.store.keys.suspend, "operator")
            trio.wait_logged("dispatcher", " suspended", times=number)
        trio.kill("dispatcher")
        trio.store.redis.delete(trio.store.keys.suspend)
    trio.brake.unlink(missing_ok=True)
    if "controller" not in trio.processes:
        trio.start("controller")

    trio.start("dispatcher")

    trio.await_processed(1)
    assert "dispatcher_died" not in trio.logged("dispatcher")
    assert [places_in(stream) for stream in trio.streams()] == [places(1, PACKETS)]


def is_full(trio: Trio) -> bool:
    """Report whether the dispatcher has been waiting for room in the pipe for a while."""
    return float(trio.statistics().get("stalled_s", 0)) > 0.2


@pytest.mark.long
def test_a_batch_in_between_begins_the_count_again(trio: Trio, library: Path) -> None:
    """Two deaths, then a dispatcher that comes further before it dies: that is the first death again."""
    path = trio.capture("bad", 1, PACKETS)
    trio.queue(path)
    size_bytes = path.stat().st_size
    for bad_at in (0, 0, size_bytes // 2, size_bytes // 2):
        environment = failing(library, BAD_AT=bad_at, BAD_SIGNAL=signal.SIGKILL)
        trio.start("dispatcher", environment=environment)
        trio.processes["dispatcher"].wait()

    trio.start("dispatcher")

    trio.await_processed(1)
    assert failures(trio) == []


@pytest.mark.long
def test_by_hand_deaths_are_counted_as_well(short_path: Path, store: Store, library: Path) -> None:
    """Also before the first batch, when there is no stream, and no reader of the pipe."""
    good = packets(1, 9)
    with dispatchers_in(short_path, store) as rig:
        names = queue_authorized(rig, {"bad": stream_of(good), "good": stream_of(good)})
        place = ["-b", str(rig.pipe), "--redis-url", store.url, "--lane", store.keys.lane]
        environment = failing(library, BAD_AT=0, BAD_SIGNAL=signal.SIGKILL)
        for _ in range(3):
            assert rig.run(*place, environment=environment).wait() == -signal.SIGKILL

        process = rig.run(*place, environment=environment)
        stream = rig.reader().read_to_end()

        assert process.wait() == 0
    assert stream == stream_of(good)
    [failure] = map(json.loads, listed(store, store.keys.failed))
    assert failure["reason"].startswith("poison(dispatcher): 3 dispatchers died")
    assert listed(store, store.keys.processed) == names[1:]


def test_the_mark_is_private_and_lies_beside_the_pipe(trio: Trio) -> None:
    """A foreign file or a link in its place is not used, and that is logged; files are fed all the same."""
    mark = trio.run / ".stream.pcap.dispatcher.mark"
    trio.queue(trio.capture("1.pcap", 1))
    trio.start("dispatcher")
    trio.await_processed(1)
    assert stat.S_IMODE(mark.stat().st_mode) == 0o600
    trio.kill("dispatcher", signal.SIGTERM)
    target = trio.folder / "target"
    target.write_text("as it was")
    mark.unlink()
    mark.symlink_to(target)

    trio.queue(trio.capture("2.pcap", 2))
    trio.start("dispatcher")

    trio.await_processed(2)
    assert "no_reading_mark" in trio.logged("dispatcher")
    assert target.read_text() == "as it was"
