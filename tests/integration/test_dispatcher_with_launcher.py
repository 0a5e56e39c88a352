"""Real dispatcher, real launcher, an analyzer that reads as far as a test allows: who survives whom."""

import gzip
import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.captures import Record, as_read, classic, enhanced, interface, records_of, section
from support.cases import some_long
from support.dispatcher_rig import (
    Dispatchers,
    authorize,
    current,
    dispatchers_in,
    is_full,
    journal,
    listed,
    packets,
    queue,
    queue_authorized,
    records,
    stopped,
    stream_of,
    written,
)
from support.forkserver import Process
from support.launcher_rig import Rig, connected, is_running, rig_in
from support.redis_server import private_redis
from support.waiting import wait_until

from pcapdj.runtime.signals import Signals
from pcapdj.store.client import Store

HEADER = 24
EVERYTHING = 1 << 40
ANALYZER = """
import sys, time
pipe, folder, allowance = sys.argv[1:]
total, copy = 0, open(folder + "/copy", "wb", 0)
with open(pipe, "rb", 0) as stream:
    while True:
        while (left := int(open(allowance).read()) - total) <= 0:
            time.sleep(0.005)
        data = stream.read(min(left, 65536))
        if not data:
            break
        copy.write(data)
        total += len(data)
open(folder + "/ended", "w").close()
"""


class Trio(Dispatchers):
    """Dispatchers, a launcher, and the analyzer's allowance.

    Args:
        folder: short enough for a unix socket.
        store: the lane.
        launchers: where the launcher runs.
    """

    def __init__(self, folder: Path, store: Store, launchers: Rig) -> None:
        super().__init__(folder, store)
        self.launchers = launchers
        self.pipe = launchers.pipe
        self._allowance = folder / "allowance"
        self.allow(0)

    def allow(self, size_bytes: int) -> None:
        """Let each analyzer read so many bytes of its stream."""
        fresh = self._allowance.with_suffix(".new")
        fresh.write_text(str(size_bytes))
        fresh.rename(self._allowance)

    def launch(self) -> int:
        """Start the launcher; return its pid."""
        place = ("--redis-url", self.store.url, "--lane", self.store.keys.lane)
        command = (sys.executable, "-c", ANALYZER, "{pipe}", "{logdir}", str(self._allowance))
        return self.launchers.start(*command, options=place).pid

    def dispatch(self, *options: str) -> Process:
        """Start a dispatcher that uses the launcher."""
        return self.start("--launcher", str(self.launchers.socket), *options)

    def copies(self) -> list[bytes]:
        """Return what each analyzer has read, oldest first."""
        folders = sorted(self.launchers.logs.glob("2*-*"), key=lambda folder: folder.stat().st_ctime_ns)
        return [(folder / "copy").read_bytes() for folder in folders if (folder / "copy").exists()]

    def wait_until_full(self, size_bytes: int) -> None:
        """Let the analyzer read so far and wait until the dispatcher is stuck behind that, in mid-file."""
        self.allow(size_bytes)
        wait_until(lambda: self.copies() and len(self.copies()[-1]) == size_bytes, "the analyzer to read")
        wait_until(lambda: is_full(self.pipe), "the pipe to be full")

    def wait_for_ends(self, count: int = 1) -> None:
        """Wait until so many analyzers have seen the end of their stream."""
        ends = lambda: len(list(self.launchers.logs.glob("2*/ended"))) >= count  # noqa: E731
        wait_until(ends, f"{count} analyzers to end")


@contextmanager
def trio_in(folder: Path, store: Store) -> Iterator[Trio]:
    """Return a trio whose processes are stopped afterwards; the launcher runs."""
    with rig_in(folder) as launchers:
        trio = Trio(folder, store, launchers)
        try:
            trio.launch()
            yield trio
        finally:
            trio.stop_all()


@pytest.fixture
def trio(short_path: Path, store: Store) -> Iterator[Trio]:
    """Return the trio of a lane."""
    with trio_in(short_path, store) as trio:
        yield trio


FIRST, SECOND, THIRD = packets(1, 3000, 900), packets(10_001, 3000, 900), packets(20_001, 3000, 900)
FRAME = bytes(12) + b"\x08\x00"  # in front of an IPv4 packet that was rewritten to Ethernet
HALFWAY = 800_000  # of the 2.8 MB of a file: more than pipe and batch hold is still behind it


def test_a_stream_survives_every_death_of_its_dispatcher(trio: Trio) -> None:
    """Killed again and again in mid-file: the same analyzer gets every packet once, with one grant a file."""
    names = [
        written(trio.folder, "1.pcap", stream_of(FIRST)),
        written(trio.folder, "2.pcap", classic(SECOND, order=">")),
        written(trio.folder, "3.pcap.gz", gzip.compress(stream_of(THIRD), 1)),
    ]
    queue(trio.store, *names)
    authorize(trio.store, *names)
    whole = stream_of(FIRST, SECOND, THIRD)
    size_bytes = len(records(FIRST))
    marks = [
        start + reached
        for start in range(0, 3 * size_bytes, size_bytes)
        for reached in (HALFWAY // 2, HALFWAY)
    ]
    for deaths, mark in enumerate(marks):
        dispatcher = trio.dispatch()
        wait_until(lambda deaths=deaths: trio.logged().count("stream_resumed") == deaths, "it to resume")  # type: ignore[misc]
        trio.wait_until_full(mark)
        dispatcher.kill()

    trio.allow(EVERYTHING)
    assert trio.dispatch().wait() == 0
    trio.wait_for_ends()

    assert trio.copies() == [whole]
    assert listed(trio.store, trio.store.keys.processed) == names
    assert [int(entry["attempt"]) for entry in journal(trio.store)] == [1, 1, 1]
    assert [int(entry["packets"]) for entry in journal(trio.store)] == [3000, 3000, 3000]
    ranges = [(int(entry["stream_start"]), int(entry["stream_end"])) for entry in journal(trio.store)]
    ends = [len(stream_of(FIRST)), len(stream_of(FIRST, SECOND)), len(whole)]
    assert ranges == list(zip([HEADER, *ends], ends, strict=False))
    assert [int(entry["first_packet"]) for entry in journal(trio.store)] == [1, 3001, 6001]
    assert trio.logged().count("stream_resumed") == 6


@pytest.mark.parametrize("key", ["batch-0", "note", "file"])
def test_what_another_program_stored_with_the_launcher_ends_the_stream(
    trio: Trio, signals: Signals, key: str
) -> None:
    """An analyzer that was taken over may, between two dispatchers: the file is fed again, whole."""
    (name,) = queue_authorized(trio, {"1.pcap": stream_of(FIRST)})
    dispatcher = trio.dispatch()
    trio.wait_until_full(HALFWAY)
    dispatcher.kill()
    another = connected(trio.launchers, signals)
    stream = another.get()
    assert stream is not None
    reader, writer = os.pipe()
    foreign = reader if key == "batch-0" else os.memfd_create("foreign")
    another.put(stream.stream, key, foreign, {"name": 5})
    another.close()
    for descriptor in (reader, writer, stream.write_end, *(each.fd for each in stream.entries)):
        os.close(descriptor)

    trio.allow(EVERYTHING)
    authorize(trio.store, name)
    assert trio.dispatch().wait() == 0
    trio.wait_for_ends(2)

    assert trio.copies()[-1] == stream_of(FIRST)
    assert [int(entry["attempt"]) for entry in journal(trio.store)] == [2]
    assert "It cannot be resumed: " in trio.logged()
    assert "Traceback" not in trio.logged()


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("then", ["fail", "new-stream"])
def test_rewritten_packets_survive_every_death_too(trio: Trio, then: str) -> None:
    """Once each, whatever link types are to be from now on: a file that has begun goes on as it began."""
    raw = [each._replace(data=bytes([0x45 if each.seconds % 9 else 0x50]) + each.data) for each in FIRST]
    mixed = section() + interface() + interface(101)
    mixed += b"".join(enhanced(each.seconds * 10**6, each.data, at % 2) for at, each in enumerate(raw))
    names = [written(trio.folder, "raw", classic(raw, linktype=101)), written(trio.folder, "mixed", mixed)]
    frames = [Record(r.seconds, r.fraction, FRAME + r.data) for r in raw if r.data[0] == 0x45]
    several = [
        Record(each.seconds, 0, each.data if at % 2 == 0 else FRAME + each.data)
        for at, each in enumerate(raw)
        if at % 2 == 0 or each.data[0] == 0x45
    ]
    first, second = records(frames), records(several)
    authorize(trio.store, *names)
    for number, (name, start, size) in enumerate(
        ((names[0], HEADER, len(first)), (names[1], HEADER + len(first), len(second)))
    ):
        queue(trio.store, name)
        for reached in (size // 4, size // 3):
            dispatcher = trio.dispatch("--on-linktype", "ethernet")
            trio.wait_until_full(start + reached)
            dispatcher.kill()
        trio.allow(start + size)
        dispatcher = trio.dispatch("--on-linktype", then, "--follow")
        trio.wait_for("file_finished", number + 1)
        dispatcher.kill()

    trio.allow(EVERYTHING)
    assert trio.dispatch().wait() == 0
    trio.wait_for_ends()

    assert trio.copies() == [classic(frames) + second]
    assert [int(entry["packets"]) for entry in journal(trio.store)] == [len(frames), len(several)]
    assert [int(entry["attempt"]) for entry in journal(trio.store)] == [1, 1]


@pytest.mark.long
def test_a_stop_in_mid_file_is_continued_by_the_next(trio: Trio) -> None:
    """In mid-record, without another grant; the analyzer notices nothing."""
    name = written(trio.folder, "1.pcap", stream_of(FIRST))
    queue(trio.store, name)
    authorize(trio.store, name)
    dispatcher = trio.dispatch()
    trio.wait_until_full(HALFWAY)
    assert stopped(dispatcher)[0] == 0

    trio.allow(EVERYTHING)
    assert trio.dispatch().wait() == 0
    trio.wait_for_ends()

    assert trio.copies() == [stream_of(FIRST)]


@pytest.mark.parametrize("is_packed", some_long([False, True], quick=(True,)))
def test_a_file_removed_between_two_dispatchers_is_still_finished(trio: Trio, *, is_packed: bool) -> None:
    """The launcher holds it open; what stands at its name now is another file."""
    content = gzip.compress(stream_of(FIRST), 1) if is_packed else stream_of(FIRST)
    name = written(trio.folder, "1.pcap", content)
    queue(trio.store, name)
    authorize(trio.store, name)
    dispatcher = trio.dispatch()
    trio.wait_until_full(HALFWAY)
    dispatcher.kill()
    os.unlink(name)  # noqa: PTH108 - bytes
    written(trio.folder, "1.pcap", stream_of(SECOND))

    trio.allow(EVERYTHING)
    assert trio.dispatch().wait() == 0
    trio.wait_for_ends()

    assert trio.copies() == [stream_of(FIRST)]
    assert listed(trio.store, trio.store.keys.processed) == [name]


@pytest.mark.parametrize("is_killed", some_long([False, True], quick=(True,)))
def test_a_file_truncated_in_mid_feed_leaves_whole_records(trio: Trio, *, is_killed: bool) -> None:
    """It fails with a reason and the exact count, the next file follows in the same stream."""
    names = [written(trio.folder, f"{n}.pcap", stream_of(each)) for n, each in enumerate((FIRST, SECOND))]
    queue(trio.store, *names)
    authorize(trio.store, *names)
    dispatcher = trio.dispatch()
    trio.wait_until_full(HALFWAY // 8)
    if is_killed:
        dispatcher.kill()
    cut = HALFWAY + 900_000
    os.truncate(names[0], cut)

    trio.allow(EVERYTHING)
    assert (trio.dispatch() if is_killed else dispatcher).wait() == 0
    trio.wait_for_ends()

    [copy] = trio.copies()
    found, whole = records_of(copy[HEADER:]), (cut - HEADER) // len(records(FIRST[:1]))
    [failure] = map(json.loads, listed(trio.store, trio.store.keys.failed))
    assert found == as_read(FIRST[: failure["packets"]]) + as_read(SECOND)
    assert 0 < failure["packets"] < whole if is_killed else failure["packets"] == whole
    assert failure["reason"].startswith("changed while it was read: ")
    assert os.fsencode(failure["name"]) == names[0]
    assert listed(trio.store, trio.store.keys.processed) == names[1:]


@pytest.mark.long
def test_a_successor_does_not_read_a_plain_file_from_its_start(trio: Trio) -> None:
    """It goes on at the noted place; what a window and the look at the beginning read is far below 4 MB."""
    long = packets(1, 4000, 5000)
    [name] = queue_authorized(trio, {"1.pcap": stream_of(long)})
    dispatcher = trio.dispatch()
    sent_bytes = 14_000_000
    trio.wait_until_full(sent_bytes)
    dispatcher.kill()

    successor = trio.dispatch("--follow")
    trio.wait_for("stream_resumed")
    trio.allow(EVERYTHING)
    wait_until(lambda: listed(trio.store, trio.store.keys.processed) == [name], "the file")

    counters = Path(f"/proc/{successor.pid}/io").read_text().split()
    read_bytes = int(counters[counters.index("rchar:") + 1])
    assert read_bytes < len(stream_of(long)) - sent_bytes + 4_000_000


def test_missing_memory_is_not_the_captures_fault(trio: Trio) -> None:
    """The dispatcher waits, and shows for what; then the file is fed as if nothing had been."""
    dispatcher = trio.dispatch("--follow")
    trio.allow(EVERYTHING)
    wait_until(lambda: "started" in trio.logged(), "the dispatcher")
    _, hard = resource.prlimit(dispatcher.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(dispatcher.pid, resource.RLIMIT_FSIZE, (4000, hard))  # the note is a page
    [name] = queue_authorized(trio, {"1.pcap": stream_of(FIRST)})
    trio.wait_for("Waiting for memory for packets: File too large.")
    assert listed(trio.store, trio.store.keys.failed) == []

    resource.prlimit(dispatcher.pid, resource.RLIMIT_FSIZE, (hard, hard))

    wait_until(lambda: listed(trio.store, trio.store.keys.processed) == [name], "the file")
    wait_until(lambda: trio.copies() == [stream_of(FIRST)], "the analyzer to write all of it")


@pytest.mark.long
def test_a_dispatcher_restarted_between_two_files_goes_on_in_the_stream(trio: Trio) -> None:
    """Also the place in the stream that the journal has."""
    names = [written(trio.folder, f"{n}.pcap", stream_of(packets(100 * n, 50))) for n in range(3)]
    authorize(trio.store, *names)
    trio.allow(EVERYTHING)
    for number, name in enumerate(names[:2]):
        queue(trio.store, name)
        dispatcher = trio.dispatch("--follow")
        trio.wait_for("file_finished", number + 1)
        dispatcher.kill()

    queue(trio.store, names[2])
    assert trio.dispatch().wait() == 0
    trio.wait_for_ends()

    whole = stream_of(*(packets(100 * n, 50) for n in range(3)))
    assert trio.copies() == [whole]
    size = len(whole) - HEADER
    starts = [int(entry["stream_start"]) for entry in journal(trio.store)]
    assert starts == [HEADER, HEADER + size // 3, HEADER + 2 * size // 3]
    assert [int(entry["first_packet"]) for entry in journal(trio.store)] == [1, 51, 101]


@pytest.mark.long
def test_a_dispatcher_that_died_before_the_first_byte_needs_no_other_grant(trio: Trio) -> None:
    """Nothing of the file is in the open stream: it is fed now, once."""
    first, second = (written(trio.folder, f"{n}.pcap", stream_of(packets(100 * n, 5))) for n in range(2))
    queue(trio.store, first)
    authorize(trio.store, first)
    trio.allow(EVERYTHING)
    dispatcher = trio.dispatch("--follow")
    wait_until(lambda: listed(trio.store, trio.store.keys.processed), "the first file")
    dispatcher.kill()
    stream = journal(trio.store)[0]["stream"].decode()
    fields = {"name": second, "state": "feeding", "token": "t", "attempt": "1", "deaths": "0"}
    mapping = dict[Any, Any]({**fields, "stream": stream})
    trio.store.redis.hset(trio.store.keys.current(str(trio.pipe)), mapping=mapping)

    assert trio.dispatch().wait() == 0
    trio.wait_for_ends()

    assert trio.copies() == [stream_of(packets(0, 5), packets(100, 5))]
    assert int(journal(trio.store)[1]["attempt"]) == 1


@pytest.mark.parametrize(
    "state", some_long(["idle", "asking", "feeding", "suspended"], quick=("feeding", "suspended"))
)
def test_a_launcher_that_is_asked_to_stop_gets_the_pipe_back(trio: Trio, state: str) -> None:
    """Whatever the dispatcher waits for: the analyzer sees the end of its stream and flushes."""
    trio.allow(EVERYTHING)
    queue(trio.store, first := written(trio.folder, "1.pcap", stream_of(packets(1, 5))))
    authorize(trio.store, first)
    trio.dispatch("--follow")
    trio.wait_for("file_finished")
    if state != "idle":
        trio.allow(len(stream_of(packets(1, 5))) + 100_000)
        queue(trio.store, second := written(trio.folder, "2.pcap", stream_of(FIRST)))
        trio.wait_for("waiting_for_authorization", 2)
    if state in {"feeding", "suspended"}:
        authorize(trio.store, second)
        wait_until(lambda: is_full(trio.pipe), "the pipe to be full")
    if state == "suspended":
        trio.store.redis.sadd(trio.store.keys.suspend, "operator")
        trio.wait_for("suspended")

    launcher = trio.launchers.processes[0]
    launcher.terminate()
    trio.wait_for("reader_gone" if state in {"feeding", "suspended"} else "stream_lost")
    trio.allow(EVERYTHING)

    assert launcher.wait() == 0
    trio.wait_for_ends()


def test_a_dead_analyzers_file_is_asked_for_again_and_replayed(trio: Trio) -> None:
    """Into a new stream, from the first packet, with a second grant; what went before is not fed again."""
    names = [written(trio.folder, f"{n}.pcap", stream_of(each)) for n, each in enumerate((FIRST, SECOND))]
    queue(trio.store, *names)
    authorize(trio.store, *names)
    dispatcher = trio.dispatch()
    trio.wait_until_full(len(stream_of(FIRST)) + 100_000)
    analyzer = trio.launchers.analyzer_pid()
    os.kill(analyzer, signal.SIGKILL)
    wait_until(lambda: listed(trio.store, trio.store.keys.next) == [names[1]], "the file to be asked for")
    taken = current(trio.store, str(trio.pipe))
    assert (taken["attempt"], taken["deaths"], taken["state"]) == (b"2", b"1", b"asked")

    trio.allow(EVERYTHING)
    authorize(trio.store, names[1])

    assert dispatcher.wait() == 0
    trio.wait_for_ends()
    torn, replayed = trio.copies()
    assert stream_of(FIRST, SECOND).startswith(torn)
    assert replayed == stream_of(SECOND)
    assert [int(entry["attempt"]) for entry in journal(trio.store)] == [1, 2]
    assert listed(trio.store, trio.store.keys.processed) == names


def test_a_dead_launchers_file_is_replayed_to_the_next(trio: Trio) -> None:
    """Its analyzer dies with it; the file is not at fault."""
    name = written(trio.folder, "1.pcap", stream_of(FIRST))
    queue(trio.store, name)
    authorize(trio.store, name)
    dispatcher = trio.dispatch()
    trio.wait_until_full(HALFWAY)
    analyzer = trio.launchers.analyzer_pid()
    trio.launchers.processes[0].kill()
    wait_until(lambda: not is_running(analyzer), "the analyzer to die with its launcher")
    trio.wait_for("reader_gone")

    trio.allow(EVERYTHING)
    trio.launch()
    wait_until(lambda: listed(trio.store, trio.store.keys.next) == [name], "the file to be asked for again")
    assert current(trio.store, str(trio.pipe))["deaths"] == b"0"
    authorize(trio.store, name)

    assert dispatcher.wait() == 0
    trio.wait_for_ends()
    assert trio.copies()[-1] == stream_of(FIRST)
    [entry] = journal(trio.store)
    assert entry["attempt"] == b"2"


@pytest.mark.long
def test_after_a_flushall_the_record_in_the_pipe_is_completed(short_path: Path) -> None:
    """The dispatcher died, Redis forgot everything: whole records, then the next file in the same stream."""
    names = [written(short_path, f"{n}.pcap", stream_of(each)) for n, each in enumerate((FIRST, SECOND))]
    with private_redis(short_path) as store, trio_in(short_path, store) as trio:
        queue(store, names[0])
        authorize(store, names[0])
        dispatcher = trio.dispatch()
        trio.wait_until_full(HALFWAY)
        dispatcher.kill()
        store.redis.flushall()

        queue(store, names[1])
        authorize(store, names[1])
        trio.allow(EVERYTHING)
        assert trio.dispatch().wait() == 0
        trio.wait_for_ends()

        [copy] = trio.copies()
        found = records_of(copy[HEADER:])
        assert found[-len(SECOND) :] == as_read(SECOND)
        begun = len(found) - len(SECOND)
        assert HALFWAY < len(records(FIRST[:begun])) < len(records(FIRST))
        assert found[:begun] == as_read(FIRST[:begun])
        assert listed(store, store.keys.processed) == [names[1]]


def test_after_a_flushall_a_living_dispatcher_finishes_the_file(short_path: Path) -> None:
    """It is registered again, and the file is where it belongs in the end."""
    name = written(short_path, "1.pcap", stream_of(FIRST))
    with private_redis(short_path) as store, trio_in(short_path, store) as trio:
        queue(store, name)
        authorize(store, name)
        dispatcher = trio.dispatch()
        trio.wait_until_full(HALFWAY)
        store.redis.flushall()
        trio.allow(EVERYTHING)

        assert dispatcher.wait() == 0
        trio.wait_for_ends()
        assert trio.copies() == [stream_of(FIRST)]
        assert "file_forgotten" not in trio.logged()
        assert listed(store, store.keys.processed) == [name]


@pytest.mark.parametrize("when", some_long(["now", "empty"], quick=("now",)))
def test_the_operator_ends_a_stream_and_the_next_file_opens_another(trio: Trio, when: str) -> None:
    """`now` comes before what is queued, `empty` after it."""
    names = [written(trio.folder, f"{n}.pcap", stream_of(packets(100 * n, 5))) for n in range(2)]
    queue(trio.store, *names)
    authorize(trio.store, *names)
    trio.store.redis.sadd(trio.store.keys.suspend, "operator")
    dispatcher = trio.dispatch("--follow")
    trio.wait_for(" suspended ")
    trio.wait_for(" authorized ")  # the first file is in its hands: the request comes behind it
    trio.store.redis.set(trio.store.keys.finish, when)
    trio.store.redis.srem(trio.store.keys.suspend, "operator")
    trio.allow(EVERYTHING)

    trio.wait_for_ends()
    wait_until(lambda: listed(trio.store, trio.store.keys.processed) == names, "both files")
    wait_until(lambda: not trio.store.redis.exists(trio.store.keys.finish), "the request to be done")
    assert stopped(dispatcher)[0] == 0
    first, second = stream_of(packets(0, 5)), stream_of(packets(100, 5))
    wait_until(
        lambda: trio.copies() == ([first, second] if when == "now" else [first + second[HEADER:]]),
        "the copies",
    )


def test_it_waits_for_the_launcher_and_can_be_stopped(short_path: Path, store: Store) -> None:
    """Before anything is asked for."""
    name = written(short_path, "1.pcap", stream_of(FIRST))
    queue(store, name)
    with dispatchers_in(short_path, store) as rig:
        dispatcher = rig.start("--launcher", str(short_path / "no.sock"))
        rig.wait_for("Waiting for the launcher")

        assert stopped(dispatcher)[0] == 0
        assert listed(store, store.keys.next) == []
