"""The dispatcher as a process, with an analyzer that a user started by hand, and a real Redis."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.captures import RAW_IP, Record, as_read, classic, file_header, record, records_of
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
from support.programs import require_program
from support.redis_server import private_redis
from support.waiting import wait_until

from pcapdj.store import operate
from pcapdj.store.client import Store
from pcapdj.store.keys import Keys

HEADER = 24
BIG = packets(1, 4000, 1000)  # 4 MB: more than any pipe holds
SMALL = packets(50_000, 5)

IMPORTER = """
import os, redis, sys
folder, socket = sys.argv[1:3]
client = redis.Redis(unix_socket_path=socket)
for name in sorted(os.listdir(folder)):
    if name.endswith("pcap"):
        client.rpush("PCAPDJ_IN_QUEUE", folder + "/" + name)
"""
CONTROLLER = """
import redis, sys
socket, command = sys.argv[1:3]
client = redis.Redis(unix_socket_path=socket)
while True:
    name = client.lpop("PCAPDJ_NEXT")
    if name is not None:
        print("Authorized file", name, flush=True)
        getattr(client, command)("PCAPDJ_AUTH", name)
"""


@pytest.fixture
def rig(tmp_path: Path, store: Store) -> Iterator[Dispatchers]:
    """Return dispatchers of one pipe."""
    with dispatchers_in(tmp_path, store) as rig:
        yield rig


@pytest.fixture
def big(tmp_path: Path, rig: Dispatchers) -> bytes:
    """Return the name of a big capture that is queued and authorized once."""
    name = written(tmp_path, "big.pcap", stream_of(BIG))
    queue(rig.store, name)
    authorize(rig.store, name)
    return name


def tcpdump(*options: str) -> list[str]:
    """Return a tcpdump that writes what it reads to its stdout."""
    keeps_user = ("-Z", "root") if os.geteuid() == 0 else ()
    return [require_program("tcpdump"), *keeps_user, "-w", "-", *options]


def as_libpcap_reads(name: Path) -> list[Record]:
    """Return a file's records as tcpdump reads and writes them."""
    done = subprocess.run(tcpdump("-r", str(name)), capture_output=True, check=False)
    return records_of(done.stdout[HEADER:])


def inbox_in(folder: Path) -> Path:
    """Return a folder with captures: plain, empty, of the other byte order, torn."""
    inbox = folder / "inbox"
    inbox.mkdir()
    for number, count in enumerate((3, 0, 500, 1)):
        written(inbox, f"{number}.pcap", stream_of(packets(1000 * number + 1, count)))
    written(inbox, "4.pcap", classic(packets(9000, 40), order=">"))
    written(inbox, "5.pcap", stream_of(packets(9500, 20))[:-7])
    written(inbox, "6.txt", b"not imported")
    return inbox


@pytest.mark.parametrize("command", some_long(["set", "sadd"], quick=("set",)))
def test_the_originals_own_scripts_drive_it_unchanged(short_path: Path, command: str) -> None:
    """Its import and its controller, an analyzer by hand: what libpcap reads from the files, in order."""
    inbox = inbox_in(short_path)
    expected = [each for name in sorted(inbox.glob("*.pcap")) for each in as_libpcap_reads(name)]
    out = short_path / "out"
    with private_redis(short_path) as store, dispatchers_in(short_path, store) as rig:
        socket = str(short_path / "own.sock")
        subprocess.run([sys.executable, "-c", IMPORTER, str(inbox), socket], check=True)
        os.mkfifo(rig.pipe)
        dispatcher = rig.run("-b", str(rig.pipe), "--redis-url", store.url)
        rig.wait_for("Waiting for an analyzer")
        assert listed(store, "PCAPDJ_NEXT") == []
        with out.open("wb") as file:
            analyzer = subprocess.Popen(tcpdump("-r", str(rig.pipe)), stdout=file, stderr=subprocess.DEVNULL)
        with (
            analyzer,
            subprocess.Popen(
                [sys.executable, "-c", CONTROLLER, socket, command], stdout=subprocess.DEVNULL
            ) as controller,
        ):
            try:
                assert dispatcher.wait() == 0
                analyzer.wait(20)
            finally:
                controller.kill()
                analyzer.kill()

        names = [os.fsencode(inbox / f"{number}.pcap") for number in range(5)]
        assert listed(store, "PCAPDJ_PROCESSED") == names
        assert store.redis.get("PCAPDJ_STATE") == b"DONE"
    assert records_of(out.read_bytes()[HEADER:]) == expected
    assert len(expected) == 3 + 500 + 1 + 40 + 19


def test_a_drained_queue_is_done_without_an_analyzer(rig: Dispatchers) -> None:
    """Exit 0 and DONE, without a wait."""
    assert rig.start().wait() == 0

    assert rig.store.redis.get(rig.store.keys.state) == b"DONE"
    assert rig.store.redis.smembers(rig.store.keys.dispatchers) == set()


GOOD, MORE = packets(1, 7), packets(100, 3)
CAPTURE = stream_of(GOOD)
REFUSED = {
    b"missing.pcap": (None, "does not exist"),
    b"/": (None, "is a directory"),
    b"/dev/zero": (None, "is a device"),
    b"x" * 4096: (None, "has a name"),
    b"nul\0byte": (None, "NUL"),
    b"empty.pcap": (b"", "0 bytes"),
    b"short.pcap": (CAPTURE[:23], "23"),
    b"garbage.pcap": (b"<html>" * 99, "is not a supported capture format"),
}
DAMAGED = {
    b"torn.pcap": (CAPTURE[:-10], "file ends inside a record", GOOD[:-1]),
    b"torn-header.pcap": (CAPTURE + b"\1" * 9, "file ends inside a record header", GOOD),
    b"claims.pcap": (CAPTURE + record(Record())[:8] + b"\xff" * 8, "more than the maximum of 262144", GOOD),
    b"raw-ip.pcap": (classic(MORE, linktype=RAW_IP), "raw IP", []),
}


def queue_captures(rig: Dispatchers, folder: Path, contents: Mapping[bytes, bytes | None]) -> list[bytes]:
    """Write those that have a content, queue all; return their names."""
    names = []
    for name, content in contents.items():
        names.append(os.path.join(os.fsencode(folder), name))  # noqa: PTH118 - bytes
        if content is not None:
            written(folder, name, content)
    queue(rig.store, *names)
    return names


def failures(rig: Dispatchers) -> dict[bytes, dict[str, Any]]:
    """Return the entry of each failed file."""
    entries = map(json.loads, listed(rig.store, rig.store.keys.failed))
    return {os.fsencode(entry["name"]): entry for entry in entries}


def test_what_cannot_be_opened_fails_without_being_asked_for(rig: Dispatchers, tmp_path: Path) -> None:
    """A reason each; without an analyzer, since nothing needs one."""
    os.mkfifo(tmp_path / "fifo")
    contents = {name: content for name, (content, _) in REFUSED.items()}
    names = queue_captures(rig, tmp_path, {**contents, b"fifo": None})
    queue(rig.store, b"")

    assert rig.start().wait() == 0

    found = failures(rig)
    reasons = [*(reason for _, reason in REFUSED.values()), "is a named pipe", "empty name"]
    for name, reason in zip([*names, b""], reasons, strict=True):
        assert reason in found[name]["reason"]
        assert (found[name]["packets"], found[name]["attempt"]) == (0, 1)
    assert listed(rig.store, rig.store.keys.processed) == []


def test_a_damaged_file_gives_its_good_packets_and_the_next_goes_on(rig: Dispatchers, tmp_path: Path) -> None:
    """Reason, offset and packets in PCAPDJ_FAILED; a header without packets is PROCESSED with 0."""
    names = queue_captures(rig, tmp_path, {b"first.pcap": CAPTURE, b"header-only.pcap": file_header()})
    damaged = queue_captures(rig, tmp_path, {name: content for name, (content, *_) in DAMAGED.items()})
    names += queue_captures(rig, tmp_path, {b"last.pcap": stream_of(MORE)})
    authorize(rig.store, *names, *damaged)

    dispatcher = rig.start()
    stream = rig.reader().read_to_end()

    assert dispatcher.wait() == 0
    assert listed(rig.store, rig.store.keys.processed) == names
    found = failures(rig)
    for name, (_, reason, delivered) in zip(damaged, DAMAGED.values(), strict=True):
        assert reason in found[name]["reason"]
        assert found[name]["packets"] == len(delivered)
    assert found[damaged[0]]["offset"] == len(stream_of(GOOD[:-1]))
    expected = [*GOOD, *(each for *_, delivered in DAMAGED.values() for each in delivered), *MORE]
    assert records_of(stream[HEADER:]) == as_read(expected)
    assert rig.store.redis.smembers(rig.store.keys.auth) == set()
    entries = journal(rig.store)
    assert [int(each["packets"]) for each in entries if each["verdict"] == b"processed"] == [7, 0, 3]
    assert int(entries[-1]["stream_end"]) == len(stream)


def test_only_what_is_authorized_is_fed(rig: Dispatchers, tmp_path: Path) -> None:
    """No byte before; one authorization is one pass, also of a name that is queued twice."""
    name = written(tmp_path, "1.pcap", stream_of(SMALL))
    queue(rig.store, name, name)
    rig.start()
    reader = rig.reader()
    rig.wait_for("waiting_for_authorization")
    wait_until(lambda: listed(rig.store, rig.store.keys.next) == [name], "the announcement")

    authorize(rig.store, name)
    wait_until(lambda: reader.read(1) and listed(rig.store, rig.store.keys.processed), "the first pass")
    wait_until(lambda: listed(rig.store, rig.store.keys.next) == [name], "the second announcement")

    assert bytes(reader.stream) == stream_of(SMALL)
    authorize(rig.store, name)
    assert reader.read_to_end() == stream_of(SMALL, SMALL)


def test_another_files_authorization_is_logged_and_left(rig: Dispatchers, tmp_path: Path) -> None:
    """In the string form; the right one is then taken at once."""
    name = written(tmp_path, "1.pcap", stream_of(SMALL))
    queue(rig.store, name)
    rig.store.redis.set(rig.store.keys.auth, b"/never/asked\nfor\x1b[2J")
    dispatcher = rig.start()
    reader = rig.reader()

    rig.wait_for(r"PCAPDJ_AUTH has $'/never/asked\x0afor\x1b[2J'")
    rig.store.redis.set(rig.store.keys.auth, name)

    assert reader.read_to_end() == stream_of(SMALL)
    assert dispatcher.wait() == 0


@pytest.mark.parametrize("form", ["rpush", "hset"])
def test_an_authorization_of_another_type_is_no_authorization(
    rig: Dispatchers, tmp_path: Path, form: str
) -> None:
    """It waits until the key is removed."""
    name = written(tmp_path, "1.pcap", stream_of(SMALL))
    queue(rig.store, name)
    getattr(rig.store.redis, form)(rig.store.keys.auth, name, *(["x"] if form == "hset" else []))
    dispatcher = rig.start()
    reader = rig.reader()
    wait_until(lambda: listed(rig.store, rig.store.keys.next), "the announcement")

    rig.store.redis.delete(rig.store.keys.auth)
    authorize(rig.store, name)

    assert reader.read_to_end() == stream_of(SMALL)
    assert dispatcher.wait() == 0


STATS = re.compile(
    r"\[STATS\] Start time:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\n"
    r"\[STATS\] Uptime:\d+ \(seconds\)\n"
    r"\[STATS\] Internal state:(.*)\n"
    r"\[STATS\] Number of suspensions:(\d+)\n"
    r"\[STATS\] Number of files:(\d+)\n"
    r"\[STATS\] Number of packets:(\d+)\n"
    r"\[STATS\] Number of cap_lengths:(\d+)\n"
    r"\[STATS\] Number of lengths:(\d+)\n"
)


def test_sigusr2_prints_the_originals_eight_lines(rig: Dispatchers, tmp_path: Path) -> None:
    """On stdout; lengths on the wire differ from captured ones where a capture is incomplete."""
    cut = [Record(1, 1, b"x" * 60, 1500), Record(2, 2, b"y" * 60)]
    first, second = written(tmp_path, "1.pcap", classic(cut)), written(tmp_path, "2.pcap", classic(cut))
    queue(rig.store, first, second)
    authorize(rig.store, first)
    dispatcher = rig.start()
    rig.reader().read(HEADER + 1)
    rig.wait_for("waiting_for_authorization", 2)

    dispatcher.send_signal(signal.SIGUSR2)

    wait_until(lambda: rig.logged("stdout").count("\n") >= 8, "the statistics")
    lines = STATS.fullmatch(rig.logged("stdout"))
    assert lines is not None
    assert lines.groups() == ("Waiting for authorization", "0", "1", "2", "120", "1560")


def test_sigusr1_suspends_in_mid_file_and_resumes(rig: Dispatchers, big: bytes) -> None:
    """Nothing moves meanwhile; the suspension is this dispatcher's own member, and counted."""
    dispatcher = rig.start()
    reader = rig.reader()
    reader.read(100_000)

    dispatcher.send_signal(signal.SIGUSR1)
    rig.wait_for(" suspended ")
    own = f"usr1:{rig.pipe}".encode()
    wait_until(lambda: rig.store.redis.smembers(rig.store.keys.suspend) == {own}, "the member in Redis")
    had = len(reader.stream)
    assert 0 < len(reader.read(had)) - HEADER < len(records(BIG))
    dispatcher.send_signal(signal.SIGUSR2)
    wait_until(lambda: "Internal state:Suspended" in rig.logged("stdout"), "the state")

    dispatcher.send_signal(signal.SIGUSR1)

    assert reader.read_to_end() == stream_of(BIG)
    assert dispatcher.wait() == 0
    assert rig.store.redis.smembers(rig.store.keys.suspend) == set()
    assert "Number of suspensions:1" in rig.logged("stdout")
    assert listed(rig.store, rig.store.keys.processed) == [big]


@pytest.mark.parametrize("member", ["usr1", "operator"])
def test_a_suspension_survives_a_restart(rig: Dispatchers, tmp_path: Path, member: str) -> None:
    """From the first byte on, until all that suspended have resumed."""
    who = f"usr1:{rig.pipe}" if member == "usr1" else member
    rig.store.redis.sadd(rig.store.keys.suspend, who)
    name = written(tmp_path, "1.pcap", stream_of(SMALL))
    queue(rig.store, name)
    authorize(rig.store, name)
    dispatcher = rig.start()
    reader = rig.reader()
    rig.wait_for(" suspended ")
    assert not reader.stream

    if member == "usr1":
        dispatcher.send_signal(signal.SIGUSR1)
    else:
        rig.store.redis.srem(rig.store.keys.suspend, who)

    assert reader.read_to_end() == stream_of(SMALL)
    assert dispatcher.wait() == 0


def wait_for_state(rig: Dispatchers, state: str) -> None:
    """Bring about what the dispatcher is doing when it has to stop."""
    if state == "waiting for a reader":
        rig.wait_for("Waiting for an analyzer")
        return
    reader = rig.reader()
    if state == "waiting for an authorization":
        rig.store.redis.delete(rig.store.keys.auth)
        rig.wait_for("waiting_for_authorization")
        return
    reader.read(HEADER + 1)
    if state == "suspended":
        rig.store.redis.sadd(rig.store.keys.suspend, "operator")
        rig.wait_for(" suspended ")
        reader.read(len(reader.stream))
    else:
        wait_until(lambda: is_full(rig.pipe), "the pipe to be full")


@pytest.mark.parametrize(
    ("state", "number"),
    [
        ("waiting for a reader", signal.SIGTERM),
        ("waiting for an authorization", signal.SIGINT),
        ("feeding a full pipe", signal.SIGTERM),
        ("suspended", signal.SIGTERM),
    ],
)
def test_a_stop_signal_ends_it_in_every_state(
    rig: Dispatchers, big: bytes, state: str, number: signal.Signals
) -> None:
    """With 0, and the file stays taken."""
    if state == "waiting for an authorization":
        rig.store.redis.delete(rig.store.keys.auth)
    dispatcher = rig.start()
    wait_for_state(rig, state)

    code, _ = stopped(dispatcher, number)

    assert code == 0
    assert current(rig.store, str(rig.pipe))["name"] == big
    assert "Traceback" not in rig.logged()


def test_an_analyzer_has_time_between_the_header_and_the_first_record(
    rig: Dispatchers, tmp_path: Path
) -> None:
    """Suricata 8.0.0 to 8.0.5 lose what they read together with the header; any analyzer may read here."""
    name = written(tmp_path, "1.pcap", stream_of(SMALL))
    authorize(rig.store, name)
    queue(rig.store, name)
    dispatcher = rig.start()
    reader = rig.reader()

    header = reader.read(HEADER)
    started_s = time.monotonic()
    reader.read(HEADER + 1)

    assert header == stream_of()
    assert time.monotonic() - started_s >= 0.25
    assert reader.read_to_end() == stream_of(SMALL)
    assert dispatcher.wait() == 0


def test_a_stop_signal_ends_it_while_one_file_after_another_fails(rig: Dispatchers) -> None:
    """Files that are gone need no authorization, and nothing is waited for; the others stay queued."""
    rig.store.redis.rpush(rig.store.keys.in_queue, *(b"/none/%d" % number for number in range(20_000)))
    process = rig.start("--follow")
    wait_until(lambda: rig.store.redis.llen(rig.store.keys.failed), "the first of them to fail")

    code, _ = stopped(process)

    assert code == 0
    assert rig.store.redis.llen(rig.store.keys.failed) < 20_000


def test_a_stop_signal_ends_it_while_idle(rig: Dispatchers) -> None:
    """With --follow a drained queue is waited at."""
    dispatcher = rig.start("--follow")
    rig.wait_for(" dispatcher waiting: Waiting for files")

    assert stopped(dispatcher)[0] == 0
    assert f" dispatcher started pid={dispatcher.pid} " in rig.logged()
    assert rig.store.redis.get(rig.store.keys.state) is None


@pytest.mark.long
@pytest.mark.parametrize("is_hung", [False, True])
def test_a_stop_signal_ends_it_without_redis(short_path: Path, *, is_hung: bool) -> None:
    """Refused or hung: it waits, logs it, and stops on a signal."""
    with private_redis(short_path) as store, dispatchers_in(short_path, store) as rig:
        pid = int(store.redis.info("server")["process_id"])
        os.kill(pid, signal.SIGSTOP if is_hung else signal.SIGKILL)
        dispatcher = rig.start("--follow")
        rig.wait_for("does not answer")

        assert stopped(dispatcher)[0] == 0
        assert "Traceback" not in rig.logged()


def test_a_stop_in_mid_file_leaves_whole_records_if_the_analyzer_reads_on(
    rig: Dispatchers, big: bytes
) -> None:
    """The analyzer by hand sees a stream that ends between two packets."""
    dispatcher = rig.start()
    reader = rig.reader()
    reader.read(100_000)
    threading.Timer(0.05, dispatcher.terminate).start()

    stream = reader.read_to_end()

    assert dispatcher.wait() == 0
    found = records_of(stream[HEADER:])
    assert found == as_read(BIG[: len(found)])
    assert current(rig.store, str(rig.pipe))["name"] == big


@pytest.mark.long
@pytest.mark.parametrize("is_changed", [False, True])
def test_after_a_stop_in_order_the_file_goes_on_in_the_next_stream(
    rig: Dispatchers, big: bytes, *, is_changed: bool
) -> None:
    """No packet is in both streams, the journal counts both parts; a file that changed meanwhile fails."""
    first, replays = stopped_in_order(rig, big)
    if is_changed:
        os.utime(big, ns=(0, 0))

    authorize(rig.store, big)
    rig.start()
    rig.wait_for("file_continues")
    second = records_of(rig.reader().read_to_end()[HEADER:]) if not is_changed else []

    [entry] = wait_for_journal(rig)
    assert int(entry["packets"]) == len(first) + len(second)
    assert first + second == as_read(BIG[: len(first) + len(second)])
    assert 0 < len(first) < len(BIG)
    if is_changed:
        assert b"changed while it was read" in entry["reason"]
    else:
        assert len(first) + len(second) == len(BIG)
        assert listed(rig.store, rig.store.keys.processed) == [big]
    assert rig.logged().count("file_replayed") == replays


def stopped_in_order(rig: Dispatchers, big: bytes) -> tuple[list[Record], int]:
    """Stop a dispatcher in mid-file until its stream ends in order; return that, and the replays before.

    On a busy machine the half second for the rest of a record may pass without any processor.
    """
    for replays in range(10):
        dispatcher, reader = rig.start(), rig.reader()
        reader.read(100_000)
        threading.Timer(0.05, dispatcher.terminate).start()
        stream = reader.read_to_end()
        assert dispatcher.wait() == 0
        reader.close()
        if "begin" in current(rig.store, str(rig.pipe)):
            return records_of(stream[HEADER:]), replays
        authorize(rig.store, big)
    pytest.fail("no stream ended in order")


def wait_for_journal(rig: Dispatchers) -> list[dict[str, bytes]]:
    """Return the journal, once it has an entry."""
    wait_until(lambda: journal(rig.store), "the file's result")
    return journal(rig.store)


@pytest.mark.long
def test_after_a_stop_that_the_analyzer_did_not_follow_the_file_is_fed_again(
    rig: Dispatchers, big: bytes
) -> None:
    """What it read last is not known; the replay is logged."""
    dispatcher = rig.start()
    reader = rig.reader()
    reader.read(100_000)
    wait_until(lambda: is_full(rig.pipe), "the pipe to be full")
    assert stopped(dispatcher)[0] == 0
    assert "begin" not in current(rig.store, str(rig.pipe))
    reader.close()

    authorize(rig.store, big)
    rig.start()
    rig.wait_for("file_replayed")

    assert rig.reader().read_to_end() == stream_of(BIG)
    assert listed(rig.store, rig.store.keys.processed) == [big]


def test_a_torn_stream_is_never_continued(rig: Dispatchers, big: bytes) -> None:
    """After a kill it waits for the old reader to go, then asks again and replays from the first packet.

    One that is killed during that wait leaves it to the next one.
    """
    killed_one = rig.start()
    old = rig.reader()
    old.read(100_000)
    killed_one.kill()

    waiting_one = rig.start()
    rig.wait_for(f"waiting until its reader (pid {os.getpid()}) is gone")
    waiting_one.kill()
    dispatcher = rig.start()
    rig.wait_for(f"waiting until its reader (pid {os.getpid()}) is gone", times=2)
    torn = old.read_to_end()
    assert torn == stream_of(BIG)[: len(torn)]
    assert len(torn) < len(stream_of(BIG))
    old.close()
    rig.wait_for("Waiting for an analyzer")
    new = rig.reader()
    wait_until(lambda: listed(rig.store, rig.store.keys.next) == [big], "the file to be asked for again")
    assert not new.stream
    authorize(rig.store, big)

    assert new.read_to_end() == stream_of(BIG)
    assert dispatcher.wait() == 0
    assert listed(rig.store, rig.store.keys.processed) == [big]
    assert int(journal(rig.store)[0]["attempt"]) == 2


def test_what_a_dead_reader_left_unread_never_reaches_the_next(
    rig: Dispatchers, tmp_path: Path, big: bytes
) -> None:
    """The second file of a stream is replayed whole to the next analyzer, which begins with a header."""
    small = written(tmp_path, "small.pcap", stream_of(SMALL))
    rig.store.redis.lpush(rig.store.keys.in_queue, small)
    authorize(rig.store, small)
    dispatcher = rig.start()
    first = rig.reader()
    first.read(len(stream_of(SMALL)) + 100_000)
    wait_until(lambda: is_full(rig.pipe), "the pipe to be full")

    first.close()
    rig.wait_for("reader_gone")
    second = rig.reader()
    wait_until(lambda: listed(rig.store, rig.store.keys.next) == [big], "the file to be asked for again")
    authorize(rig.store, big)

    assert second.read_to_end() == stream_of(BIG)
    assert dispatcher.wait() == 0
    assert listed(rig.store, rig.store.keys.processed) == [small, big]
    assert current(rig.store, str(rig.pipe)) == {}


def test_after_an_analyzer_that_left_between_two_files_another_one_is_waited_for(
    rig: Dispatchers, tmp_path: Path
) -> None:
    """The second file goes whole to the next reader, which is waited for before the file is asked for."""
    names = [written(tmp_path, f"{number}.pcap", stream_of(SMALL)) for number in range(2)]
    authorize(rig.store, *names)
    dispatcher = rig.start("--follow")
    first = rig.reader()
    queue(rig.store, names[0])
    first.read(len(stream_of(SMALL)))
    wait_until(lambda: listed(rig.store, rig.store.keys.processed), "the first file")
    first.close()

    queue(rig.store, names[1])
    rig.wait_for("stream_lost")
    second = rig.reader()

    assert second.read(len(stream_of(SMALL))) == stream_of(SMALL)
    assert stopped(dispatcher)[0] == 0


def test_the_other_options_have_their_effect(rig: Dispatchers, tmp_path: Path) -> None:
    """Another queue, its tail, another resolution, nothing outside of a folder."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    names = [written(inbox, f"{number}.pcap", stream_of(packets(100 * number, 2))) for number in range(2)]
    outside = written(tmp_path, "outside.pcap", stream_of(SMALL))
    (inbox / "link.pcap").symlink_to(os.fsdecode(outside))
    refused = [outside, os.fsencode(inbox / "link.pcap"), os.fsencode(inbox) + b"/../outside.pcap"]
    rig.store.redis.lpush(f"{rig.store.keys.prefix}MINE", *names, *refused)
    authorize(rig.store, *names, *refused)
    dispatcher = rig.start(
        "-q", "MINE", "--take", "tail", "--precision", "ns", "--root", str(inbox), "--id", "me"
    )

    stream = rig.reader().read_to_end()

    assert dispatcher.wait() == 0
    assert stream[:4] == 0xA1B23C4D.to_bytes(4, "little")
    expected = [
        Record(each.seconds, each.fraction * 1000, each.data) for n in (0, 100) for each in packets(n, 2)
    ]
    assert records_of(stream[HEADER:]) == as_read(expected)
    assert set(failures(rig)) == set(refused)
    assert rig.store.redis.exists(rig.store.keys.stats("me"))


@pytest.mark.parametrize("when", some_long(["now", "empty"], quick=("now",)))
def test_a_stream_ends_on_the_operators_request(rig: Dispatchers, tmp_path: Path, when: str) -> None:
    """The analyzer sees the end while the dispatcher goes on; the next file opens the next stream."""
    names = [written(tmp_path, f"{number}.pcap", stream_of(SMALL)) for number in range(3)]
    authorize(rig.store, *names)
    dispatcher = rig.start("--follow")
    first = rig.reader()
    queue(rig.store, *names[:2])
    wait_until(lambda: first.read(1) and len(listed(rig.store, rig.store.keys.processed)) == 2, "two files")

    rig.store.redis.set(rig.store.keys.finish, when)

    assert first.read_to_end() == stream_of(SMALL, SMALL)
    wait_until(lambda: not rig.store.redis.exists(rig.store.keys.finish), "the request to be fulfilled")
    queue(rig.store, names[2])
    rig.wait_for("waiting until its reader")
    first.close()
    wait_until(lambda: "Waiting for an analyzer" in rig.logged().splitlines()[-1], "the pipe to be wanted")
    second = rig.reader()
    second.read(len(stream_of(SMALL)))
    assert stopped(dispatcher)[0] == 0
    assert second.read_to_end() == stream_of(SMALL)


def test_an_idle_stream_ends_by_itself_with_idle_eof(rig: Dispatchers, tmp_path: Path) -> None:
    """With --idle-eof; the analyzer writes out what it has."""
    name = written(tmp_path, "1.pcap", stream_of(SMALL))
    authorize(rig.store, name)
    queue(rig.store, name)
    dispatcher = rig.start("--follow", "--idle-eof", "100ms")

    assert rig.reader().read_to_end() == stream_of(SMALL)
    assert dispatcher.poll() is None
    assert stopped(dispatcher)[0] == 0


def gate(store: Store, state: str, heartbeat_s: float) -> None:
    """Publish the gate as a controller does."""
    fields: dict[Any, Any] = {"state": state, "reason": "'/out' has 1 MiB free.", "heartbeat_s": heartbeat_s}
    store.redis.hset(store.keys.gate, mapping=fields)
    store.notify("gate")


@pytest.mark.parametrize("end", some_long(["drained", "requested", "idle"], quick=("drained", "idle")))
def test_a_stream_ends_while_the_output_disk_has_room(rig: Dispatchers, end: str) -> None:
    """What the analyzer writes at the end of its input cannot be held: the gate has to be open."""
    gate(rig.store, "hold", time.time() + 4)
    queue_authorized(rig, {"1.pcap": stream_of(SMALL)})
    options = {"drained": [], "requested": ["--follow"], "idle": ["--follow", "--idle-eof", "1ms"]}[end]
    dispatcher = rig.start(*options)
    reader = rig.reader()
    reader.read(len(stream_of(SMALL)))
    if end == "requested":
        operate.finish(rig.store, "now")
    waiting = "Waiting for files" if end == "idle" else "before the stream ends: '/out' has 1 MiB free."
    rig.wait_for(waiting)
    assert "stream_ended" not in rig.logged()

    gate(rig.store, "open", time.time())

    assert reader.read_to_end() == stream_of(SMALL)
    if end != "drained":
        assert stopped(dispatcher)[0] == 0
    assert dispatcher.wait() == 0


@pytest.mark.parametrize("how", ["stopped", "no controller"])
def test_a_stop_and_a_dead_controller_do_not_wait_for_room(rig: Dispatchers, how: str) -> None:
    """A stop signal ends the wait within a second, and a stale gate is none."""
    gate(rig.store, "suspended", time.time() + (4 if how == "stopped" else -60))
    queue_authorized(rig, {"1.pcap": stream_of(SMALL)})
    dispatcher = rig.start()
    reader = rig.reader()
    reader.read(len(stream_of(SMALL)))

    if how == "stopped":
        rig.wait_for("before the stream ends")
        assert stopped(dispatcher)[0] == 0
    assert reader.read_to_end() == stream_of(SMALL)
    assert dispatcher.wait() == 0


def test_a_stream_is_idle_since_its_last_file(rig: Dispatchers, tmp_path: Path) -> None:
    """However long the dispatcher had no file before."""
    names = [written(tmp_path, f"{number}.pcap", stream_of(SMALL)) for number in range(3)]
    authorize(rig.store, *names)
    dispatcher = rig.start("--follow", "--idle-eof", "2s")
    rig.wait_for("Waiting for files")
    started_s = time.monotonic()
    reader = rig.reader()
    wait_until(lambda: time.monotonic() - started_s > 2.1, "the time in which a stream is idle")

    for number, name in enumerate(names, 1):
        queue(rig.store, name)
        rig.store.notify("queued")
        assert reader.read(len(stream_of(*[SMALL] * number))) == stream_of(*[SMALL] * number)
        rig.wait_for(" file_finished ", number)

    assert stopped(dispatcher)[0] == 0


@pytest.mark.parametrize("kind", ["file", "folder", "link", "no folder"])
def test_what_is_not_our_pipe_is_refused_and_left_alone(rig: Dispatchers, tmp_path: Path, kind: str) -> None:
    """Exit 73, one sentence that names it, and nothing was written there."""
    target = tmp_path / "precious"
    target.write_bytes(b"precious")
    match kind:
        case "file":
            rig.pipe.write_bytes(b"precious")
        case "folder":
            rig.pipe.mkdir()
        case "link":
            rig.pipe.symlink_to(target)
        case _:
            rig.pipe = tmp_path / "none" / "pipe"

    assert rig.start().wait() == 73

    last = rig.logged().splitlines()[-1]
    assert last.startswith("pcapdj dispatch: ")
    assert str(rig.pipe) in last or str(rig.pipe.parent) in last
    assert "Traceback" not in rig.logged()
    assert target.read_bytes() == b"precious"
    if kind == "file":
        assert rig.pipe.read_bytes() == b"precious"


def test_a_second_dispatcher_of_a_pipe_is_refused_with_the_pid_of_the_first(rig: Dispatchers) -> None:
    """Exit 75 with the first one's pid, which goes on."""
    first = rig.start("--follow")
    rig.wait_for("Waiting for files")

    assert rig.start().wait() == 75

    assert f"Another dispatcher (pid {first.pid})" in rig.logged().splitlines()[-1]
    assert stopped(first)[0] == 0


@pytest.mark.parametrize(
    "options",
    [
        ["--nonsense"],
        [],
        ["-b", "p", "--take", "middle"],
        ["-b", "p", "-p", "99999"],
        ["-b", "p", "--idle-eof", "soon"],
    ],
)
def test_a_wrong_command_line_is_2(rig: Dispatchers, options: list[str]) -> None:
    """One sentence on stderr."""
    assert rig.run(*options).wait() == 2

    [line] = rig.logged().splitlines()
    assert line.startswith("pcapdj dispatch: ")


def test_it_waits_for_redis_and_never_logs_the_password(short_path: Path) -> None:
    """Not there, then a wrong password, then the right one: it goes on by itself, and keeps the secret."""
    password = short_path / "password"
    password.write_text("wr0ng-s3cret\n")
    with (
        private_redis(short_path, "--requirepass", "r1ght-s3cret") as store,
        dispatchers_in(short_path, store) as rig,
    ):
        waiting = rig.start("--redis-password-file", str(password))
        rig.wait_for("redis_denied")
        assert stopped(waiting)[0] == 0
        right = f"unix://:r1ght-s3cret@{short_path}/own.sock"
        url = {"PCAPDJ_REDIS_URL": right, "PCAPDJ_PIPE": str(rig.pipe)}

        assert rig.run(environment=url).wait() == 0

        assert "s3cret" not in rig.logged() + rig.logged("stdout")


def test_it_starts_before_redis(short_path: Path) -> None:
    """It waits, logs it, and works once Redis is there."""
    url = f"unix://{short_path}/own.sock"
    with dispatchers_in(short_path, Store(url, Keys())) as rig:
        dispatcher = rig.run("-b", str(rig.pipe), "--redis-url", url)
        rig.wait_for("waiting_for_redis")
        with private_redis(short_path):
            assert dispatcher.wait() == 0
        assert "redis_back" in rig.logged()


HOSTILE = [
    b"new\nline.pcap",
    b"\x1b[2Jescape.pcap",
    b"$(touch pwned);`touch pwned`.pcap",
    b"quote'\".pcap",
    b"\xff\xfe.pcap",
    b"-rf.pcap",
    b"%s{0}.pcap",
    "\u202egnp.pcap".encode(),
    b" .pcap",
]


def test_hostile_names_are_fed_and_shown_escaped(rig: Dispatchers, tmp_path: Path) -> None:
    """They run nothing, forge no line, and stand in Redis as they are."""
    folder = tmp_path / os.fsdecode(b"in\n\xff")
    folder.mkdir()
    names = [written(folder, name, stream_of(packets(100 * n, 2))) for n, name in enumerate(HOSTILE)]
    names.append(os.path.join(os.fsencode(folder), b"mis\nsing"))  # noqa: PTH118 - bytes
    queue(rig.store, *names)
    authorize(rig.store, *names)
    dispatcher = rig.start()

    stream = rig.reader().read_to_end()

    assert dispatcher.wait() == 0
    assert listed(rig.store, rig.store.keys.processed) == names[:-1]
    [failure] = map(json.loads, listed(rig.store, rig.store.keys.failed))
    assert os.fsencode(failure["name"]) == names[-1]
    assert records_of(stream[HEADER:]) == as_read([each for n in range(9) for each in packets(100 * n, 2)])
    logged = rig.logged()
    assert all(
        re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (INFO |WARNING|ERROR) ", line)
        for line in logged.splitlines()
    )
    assert logged.replace("\n", "").isprintable()
    assert not list(tmp_path.rglob("pwned"))


def test_a_pipe_whose_path_is_not_utf8_works(tmp_path: Path, store: Store) -> None:
    """Its path is the dispatcher's id in Redis."""
    folder = tmp_path / os.fsdecode(b"\xff\n")
    folder.mkdir()
    name = written(folder, "1.pcap", stream_of(SMALL))
    queue(store, name)
    authorize(store, name)
    with dispatchers_in(folder, store) as rig:
        dispatcher = rig.start()
        stream = rig.reader().read_to_end()
        assert dispatcher.wait() == 0
        assert "Traceback" not in rig.logged()

    assert stream == stream_of(SMALL)
    statistics = store.redis.hgetall(store.keys.stats(os.fsdecode(os.fsencode(folder / "pipe"))))
    assert statistics[b"packets"] == b"5"


def test_a_running_file_finishes_while_redis_is_away(short_path: Path) -> None:
    """The stream does not stall; what became of the file is written down when Redis is back."""
    name = written(short_path, "big.pcap", stream_of(BIG))
    with private_redis(short_path) as store, dispatchers_in(short_path, store) as rig:
        queue(store, name)
        authorize(store, name)
        pid = int(store.redis.info("server")["process_id"])
        dispatcher = rig.start()
        reader = rig.reader()
        reader.read(100_000)
        os.kill(pid, signal.SIGSTOP)

        assert reader.read(len(stream_of(BIG))) == stream_of(BIG)
        rig.wait_for("waiting_for_redis")
        os.kill(pid, signal.SIGCONT)

        assert dispatcher.wait() == 0
        assert listed(store, store.keys.processed) == [name]


def test_removed_keys_do_not_stop_the_running_file(rig: Dispatchers, big: bytes) -> None:
    """It is fed whole and written down: Redis may lose its keys."""
    dispatcher = rig.start()
    reader = rig.reader()
    reader.read(100_000)
    for key in rig.store.redis.scan_iter(match=f"{rig.store.keys.prefix}*"):
        rig.store.redis.delete(key)

    assert reader.read_to_end() == stream_of(BIG)

    assert dispatcher.wait() == 0
    assert "file_forgotten" not in rig.logged()
    assert listed(rig.store, rig.store.keys.processed) == [big]
