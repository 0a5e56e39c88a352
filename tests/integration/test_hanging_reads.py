"""Captures on a file system that hangs: every role ends in time, and nothing is lost."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.captures import Record, classic
from support.dispatcher_rig import (
    authorize,
    current,
    dispatchers_in,
    journal,
    listed,
    packets,
    queue,
    stopped,
    stream_of,
)
from support.forkserver import PIPE, run, start
from support.fuse import FuseMount, fuse_in
from support.roles_rig import Trio, children_of, numbered, places, places_in, restart_dispatcher_in_hang
from support.waiting import scaled, wait_until

from pcapdj.console.screen import Line
from pcapdj.console.status_lines import snapshot_lines
from pcapdj.runtime.errors import ExitCode
from pcapdj.store.client import Store
from pcapdj.store.failures import all_failures

STOP_LIMIT_S = 1.0
COMMANDS = [("import",), ("cat",), ("cat", "--order", "time"), ("run", "--preset", "summary")]
PACKETS = 4000
OLD = (1_600_000_000, 1_600_000_000)


@pytest.fixture
def trio(mount: FuseMount, trio: Trio) -> Trio:
    """Return roles that do not run yet; two captures are on the FUSE file system, a third is not."""
    for number in (1, 2):
        put(mount, f"{number}.pcap", classic(numbered(number, PACKETS)))
    trio.capture("3.pcap", 3, 20)
    trio.queue(mount.folder / "1.pcap", mount.folder / "2.pcap", trio.captures / "3.pcap")
    return trio


def put(mount: FuseMount, name: str, content: bytes) -> Path:
    """Write a file behind the mount, old enough to count as complete; return its path in the mount."""
    path = mount.source / name
    path.write_bytes(content)
    os.utime(path, OLD)
    return mount.folder / name


def hang_in_mid_file(trio: Trio, mount: FuseMount) -> None:
    """Let the analyzer read a part of the first capture, and bring the dispatcher into a read that hangs."""
    trio.brake.touch()
    trio.start_all()
    trio.await_copied(30_000)
    mount.hang()
    trio.brake.unlink()
    wait_until(lambda: mount.has_hung, "a read to hang")


def shown(trio: Trio) -> list[Line]:
    """Return the lines of `status`."""
    return snapshot_lines(trio.snapshot(), [], now_s=time.time())


def ends_in_time(trio: Trio, role: str) -> None:
    """Stop a role as supervisord does; it ends with 0 within the second that is promised."""
    begun_s = time.monotonic()
    assert trio.kill(role, signal.SIGTERM) == 0
    assert time.monotonic() - begun_s < scaled(STOP_LIMIT_S)


@pytest.mark.slow
def test_a_dispatcher_ends_during_a_read_that_hangs_and_the_next_one_goes_on(
    trio: Trio, mount: FuseMount
) -> None:
    """What is waited for is shown; the stream stays open, every packet arrives once, with one grant each."""
    hang_in_mid_file(trio, mount)
    wait_until(lambda: "has not answered since" in trio.statistics().get("waiting_for", ""), "a sentence")
    assert any(f"file system at '{mount.folder}'" in line.text for line in shown(trio))

    ends_in_time(trio, "dispatcher")
    assert [entry["name"] for entry in trio.snapshot()["current"]] == [str(mount.folder / "1.pcap")]
    mount.go_on()
    trio.start("dispatcher")

    trio.await_processed(3)
    whole = [*places(1, PACKETS), *places(2, PACKETS), *places(3, 20)]
    assert [places_in(stream) for stream in trio.streams()] == [whole]
    assert trio.logged("controller").count("file_authorized") == 3
    assert "Traceback" not in trio.logged("dispatcher")


@pytest.mark.long
def test_a_file_system_that_hangs_for_a_while_costs_only_time(trio: Trio, mount: FuseMount) -> None:
    """Without a restart of anything."""
    hang_in_mid_file(trio, mount)
    trio.wait_logged("dispatcher", "has not answered since")
    mount.go_on()

    trio.await_processed(3)
    whole = [*places(1, PACKETS), *places(2, PACKETS), *places(3, 20)]
    assert [places_in(stream) for stream in trio.streams()] == [whole]
    wait_until(
        lambda: trio.statistics()["waiting_for"] in ("", "Waiting for files in the queue."),
        "the statistics of now",
    )


@pytest.mark.long
def test_a_dispatcher_ends_while_a_file_cannot_even_be_opened(trio: Trio, mount: FuseMount) -> None:
    """The file stays current, and is fed when the file system answers again."""
    mount.hang(everything=True)
    trio.start_all()
    wait_until(lambda: mount.has_hung, "a call to hang")

    ends_in_time(trio, "dispatcher")
    assert len(trio.snapshot()["current"]) == 1
    mount.go_on()
    trio.start("dispatcher")

    trio.await_processed(3)


def skip(trio: Trio) -> str:
    """Give the current file up as an operator does; return what the command says."""
    return str(run("pcapdj", "skip", "--redis-url", trio.environment["PCAPDJ_REDIS_URL"]).stdout)


def test_a_file_that_cannot_even_be_opened_is_skipped(trio: Trio, mount: FuseMount) -> None:
    """What is queued behind it on another file system is fed; the process that hangs is left behind."""
    trio.store.redis.lrem(trio.store.keys.in_queue, 0, str(mount.folder / "2.pcap"))
    mount.hang(everything=True)
    trio.start_all()
    wait_until(lambda: mount.has_hung and trio.snapshot()["current"], "a call to hang")

    said = skip(trio)

    assert said == f"'{mount.folder}/1.pcap' is skipped; `pcapdj failed` lists it.\n"
    trio.await_processed(1)
    [failure] = all_failures(trio.store)
    assert (failure.reason, failure.fields["packets"]) == ("skipped by the operator", 0)
    assert [places_in(stream) for stream in trio.streams()] == [places(3, 20)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "is_resumed", [False, pytest.param(True, marks=pytest.mark.long)], ids=["read", "opened again"]
)
def test_a_file_that_hangs_in_mid_file_is_skipped_behind_a_whole_record(
    trio: Trio, mount: FuseMount, *, is_resumed: bool
) -> None:
    """Its packets that arrived are counted; also by a dispatcher that found it so."""
    trio.store.redis.lrem(trio.store.keys.in_queue, 0, str(mount.folder / "2.pcap"))
    hang_in_mid_file(trio, mount)
    if is_resumed:
        restart_dispatcher_in_hang(trio, mount)

    skip(trio)

    trio.await_processed(1)
    [failure] = all_failures(trio.store)
    [stream] = [places_in(stream) for stream in trio.streams()]
    packets = failure.fields["packets"]
    assert (failure.reason, 0 < packets < PACKETS) == ("skipped by the operator", True)
    assert stream == [*places(1, packets), *places(3, 20)]


@pytest.mark.long
def test_a_killed_reading_process_is_replaced(trio: Trio) -> None:
    """The kernel may choose it when memory is short; the file is not at fault, and loses nothing."""
    trio.brake.touch()
    trio.start_all()
    trio.await_copied(30_000)
    [reading] = children_of(trio.processes["dispatcher"].pid)
    os.kill(reading, signal.SIGKILL)
    trio.brake.unlink()

    trio.await_processed(3)
    whole = [*places(1, PACKETS), *places(2, PACKETS), *places(3, 20)]
    assert [places_in(stream) for stream in trio.streams()] == [whole]


@pytest.mark.long
def test_a_compressed_capture_that_hangs_does_not_delay_the_end(trio: Trio, mount: FuseMount) -> None:
    """It is decompressed without a thread there: nothing has to be waited for but the read itself."""
    trio.store.redis.delete(trio.store.keys.in_queue)
    content = [Record(1, n % 1000, os.urandom(900)) for n in range(PACKETS)]
    trio.queue(put(mount, "4.pcap.gz", gzip.compress(classic(content), 1)))
    hang_in_mid_file(trio, mount)

    ends_in_time(trio, "dispatcher")
    mount.go_on()
    trio.start("dispatcher")

    trio.await_processed(1)
    assert trio.streams() == [classic(content)]


@pytest.mark.parametrize("begins", ["before the stream", "in the stream"])
def test_the_reading_process_has_nothing_of_the_dispatcher(trio: Trio, mount: FuseMount, begins: str) -> None:
    """Not the pipe, the launcher's socket, a lock, nor its output; it ends with the dispatcher.

    With the pipe the analyzer would wait for the end of its input until that process ends.
    """
    trio.brake.touch()
    trio.start_all()
    trio.await_copied(30_000)
    if begins == "in the stream":
        trio.kill("dispatcher")
        mount.hang()  # there is more to read
        trio.start("dispatcher")
        trio.brake.unlink()
    dispatcher = trio.processes["dispatcher"].pid
    wait_until(lambda: children_of(dispatcher), "the reading process to begin")
    [reading] = children_of(dispatcher)
    name = str(trio.folder / "fuse" / "mounted" / "1.pcap")
    command = Path(f"/proc/{reading}/cmdline")  # before its exec it has all of the dispatcher
    wait_until(
        lambda: b"reading_process" in command.read_bytes() and name in opened_by(reading),
        "it to open the capture",
    )

    opened = opened_by(reading)

    assert len([each for each in opened if each.startswith("socket:")]) == 1
    assert {each for each in opened if not each.startswith("socket:")} == {"/dev/null", name}
    mount.go_on()
    trio.kill("dispatcher")
    wait_until(lambda: not Path(f"/proc/{reading}").exists(), "the reading process to end")


def opened_by(pid: int) -> list[str]:
    """Return what a process has open; it may close some meanwhile."""
    opened = list[str]()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            opened.append(str(each.readlink()))
    return opened


@pytest.mark.long
def test_a_dispatcher_by_hand_ends_during_a_read_that_hangs(
    short_path: Path, store: Store, mount: FuseMount
) -> None:
    """The file stays current; the next dispatcher feeds it from its first packet to the next reader."""
    capture = packets(1, 4000, 1000)  # more than the pipe and two windows
    name = os.fsencode(put(mount, "1.pcap", stream_of(capture)))
    with dispatchers_in(short_path, store) as rig:
        queue(store, name)
        authorize(store, name)
        process = rig.start()
        reader = rig.reader()
        reader.read(30_000)
        mount.hang()
        wait_until(lambda: reader.read(len(reader.stream) + 1) and mount.has_hung, "a read to hang")

        code, duration_s = stopped(process)

        assert code == 0
        assert duration_s < scaled(STOP_LIMIT_S)
        assert current(store, str(rig.pipe))["name"] == name
        reader.close()
        mount.go_on()
        rig.start()
        wait_until(
            lambda: "Waiting for an analyzer" in rig.logged().splitlines()[-1], "the pipe to be wanted"
        )
        second = rig.reader()
        wait_until(lambda: listed(store, store.keys.next) == [name], "the file to be requested again")
        authorize(store, name)
        assert second.read_to_end() == stream_of(capture)
        wait_until(lambda: listed(store, store.keys.processed) == [name], "the file to be processed")
        assert [entry["packets"] for entry in journal(store)] == [b"4000"]


@pytest.mark.parametrize(
    ("place", "number"),
    [
        ("file", signal.SIGINT),
        pytest.param("folder", signal.SIGTERM, marks=pytest.mark.long),
        ("link in a folder", signal.SIGTERM),
    ],
)
@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_ends_while_its_files_hang(
    *,
    trio: Trio,
    mount: FuseMount,
    words: Sequence[str],
    number: signal.Signals,
    place: str,
    tmp_path: Path,
) -> None:
    """It leaves behind the process that hangs, and reports that; a stat that hangs is like a read."""
    (tmp_path / "a link").symlink_to(mount.folder / "1.pcap")
    mount.hang(everything=True)
    path = {"file": mount.folder / "1.pcap", "folder": mount.folder}.get(place, tmp_path)
    variables = {"PCAPDJ_REDIS_URL": trio.store.url, "PCAPDJ_LANE": trio.store.keys.lane}
    environment = {**os.environ, **variables}
    with start("pcapdj", *words, path, stdout=PIPE, stderr=PIPE, env=environment, cwd=tmp_path) as process:
        wait_until(lambda: mount.has_hung, "a call to hang")
        begun_s = time.monotonic()

        process.send_signal(number)

        assert process.wait() == ExitCode.ERROR
        assert time.monotonic() - begun_s < scaled(STOP_LIMIT_S)
        mount.go_on()
        assert b"It was stopped while a file system did not answer." in process.communicate()[1]
    assert sorted(tmp_path.glob("*-pcapdj*")) == []


@pytest.mark.parametrize("place", ["eve.json", "."])
def test_whence_ends_while_its_log_hangs(mount: FuseMount, tmp_path: Path, place: str) -> None:
    """Nothing looks at the path of an option before the process is there that may hang."""
    mount.hang(everything=True)
    words = ["whence", "--log", str(mount.folder / place)]
    with start("pcapdj", *words, stdout=PIPE, stderr=PIPE, cwd=tmp_path) as process:
        wait_until(lambda: mount.has_hung, "a call to hang")

        process.send_signal(signal.SIGTERM)

        assert process.wait() == ExitCode.ERROR
        mount.go_on()
        assert b"It was stopped while a file system did not answer." in process.communicate()[1]


def test_whence_ends_while_a_file_that_was_fed_hangs(trio: Trio, mount: FuseMount) -> None:
    """Only the journal names the file: it is no argument of the command."""
    name = os.fsencode(mount.folder / "1.pcap")
    times: Any = {"first_ts_ns": 10**18, "last_ts_ns": 2 * 10**18}
    entry: Any = {"name": name, "verdict": "processed", "stream": "5ca1ab1e", "packets": 9, "first_packet": 1}
    trio.store.redis.xadd(trio.store.keys.journal, {**entry, **times})
    mount.hang(everything=True)
    environment = {**os.environ, "PCAPDJ_REDIS_URL": trio.store.url, "PCAPDJ_LANE": trio.store.keys.lane}
    words = ["whence", "--at", "2023-11-14T22:13:20Z"]
    with start("pcapdj", *words, stdout=PIPE, stderr=PIPE, env=environment) as process:
        wait_until(lambda: mount.has_hung, "a call to hang")
        begun_s = time.monotonic()

        process.send_signal(signal.SIGTERM)

        assert process.wait() == ExitCode.ERROR
        assert time.monotonic() - begun_s < scaled(STOP_LIMIT_S)
        mount.go_on()


@pytest.mark.parametrize("words", [("import",), ("cat",)])
def test_a_command_reads_files_of_a_file_system_that_may_hang(
    trio: Trio, mount: FuseMount, words: Sequence[str], tmp_path: Path
) -> None:
    """With the exit code, the output and the messages that it has elsewhere."""
    good, bad = mount.folder / "1.pcap", mount.folder / "none.pcap"
    variables = {"PCAPDJ_REDIS_URL": trio.store.url, "PCAPDJ_LANE": "another:"}

    done = run("pcapdj", *words, good, bad, env={**os.environ, **variables}, cwd=tmp_path, text=False)

    assert done.returncode == ExitCode.ERROR
    assert b"none.pcap' does not exist" in done.stderr or b"none.pcap': does not exist" in done.stderr
    assert b"1 queued" in done.stdout if words == ("import",) else len(done.stdout) > 24


@pytest.mark.long
def test_an_importer_ends_while_its_inbox_hangs(trio: Trio, mount: FuseMount) -> None:
    """In whichever call; a hang that lasts is logged, and its end; the next one queues what arrived."""
    trio.store.redis.delete(trio.store.keys.in_queue)
    trio.start("importer", str(mount.folder))
    trio.wait_logged("importer", "files_queued")
    mount.hang(everything=True)
    wait_until(
        lambda: "A look into the inbox" in trio.logged("importer"), "the hang to be logged", limit_s=50
    )
    mount.go_on()
    trio.wait_logged("importer", "inbox_watched", times=2)
    mount.hang(everything=True)
    wait_until(lambda: mount.has_hung, "a call to hang")

    ends_in_time(trio, "importer")
    mount.go_on()
    put(mount, "4.pcap", classic(numbered(4, 20)))
    trio.start("importer", str(mount.folder))

    name = os.fsencode(mount.folder / "4.pcap")
    wait_until(
        lambda: listed(trio.store, trio.store.keys.in_queue)[-1:] == [name], "the new file to be queued"
    )
    ends_in_time(trio, "importer")
    assert "Traceback" not in trio.logged("importer")


def test_an_importer_goes_on_while_a_file_of_an_old_record_hangs(trio: Trio, mount: FuseMount) -> None:
    """Its inbox is on another file system; the record stays, and SIGTERM ends it in time."""
    keys, name = trio.store.keys, str(mount.folder / "gone.pcap")
    trio.store.redis.delete(keys.in_queue)
    trio.store.redis.hset(keys.fed, name, json.dumps({"dev": 1, "mtime_ns": OLD[0] * 10**9}))
    mount.hang(everything=True)
    trio.start("importer")
    wait_until(lambda: mount.has_hung, "a call to hang")

    arrived = os.fsencode(trio.capture("4.pcap", 4, 20))
    wait_until(lambda: arrived in listed(trio.store, keys.in_queue), "the new file to be queued")

    ends_in_time(trio, "importer")
    assert trio.store.redis.hexists(keys.fed, name)


def test_a_refusal_of_a_controller_that_watches_such_a_disk_names_the_role(
    store: Store, mount: FuseMount
) -> None:
    """Its work is done by a child process; exit code and sentence are those of one process."""
    lane = ["--redis-url", store.url, "--lane", store.keys.lane]

    done = run(
        "pcapdj.controller",
        *lane,
        "--watch",
        mount.folder,
        "--min-free",
        "1000000TiB",
        "--resume-free",
        "50%",
    )

    assert done.returncode == ExitCode.USAGE
    assert done.stderr.startswith(f"pcapdj control: On '{mount.folder}' (")
    assert done.stderr.count("\n") == 1


@pytest.mark.long
@pytest.mark.slow
def test_a_controller_ends_while_a_watched_disk_hangs(trio: Trio, mount: FuseMount) -> None:
    """The disk counts as full meanwhile; a SIGKILL of the role ends all of it."""
    watch = {"PCAPDJ_WATCH": f"{mount.folder}=1"}
    trio.start("controller", environment=watch)
    trio.wait_logged("controller", "gate_open")
    mount.hang(everything=True)
    trio.wait_logged("controller", "does not answer")

    ends_in_time(trio, "controller")

    mount.go_on()
    trio.start("controller", environment=watch)
    trio.wait_logged("controller", "gate_open", times=2)
    [working] = children_of(trio.processes["controller"].pid)
    trio.kill("controller")
    wait_until(lambda: not Path(f"/proc/{working}").exists(), "the child to end")


@pytest.mark.long
@pytest.mark.slow
def test_a_controller_ends_while_a_disk_hangs_that_was_mounted_after_its_start(
    trio: Trio, short_path: Path
) -> None:
    """A watched folder was local then, and a share or disk of another machine is mounted there later."""
    (watched := short_path / "watched").mkdir()
    trio.start("controller", environment={"PCAPDJ_WATCH": f"{watched}=1"})
    trio.wait_logged("controller", "gate_open")
    with fuse_in(short_path, watched) as late:
        late.hang(everything=True)
        wait_until(lambda: late.has_hung, "a call to hang")

        ends_in_time(trio, "controller")
        late.go_on()


@pytest.mark.long
def test_a_run_ends_while_the_file_that_it_feeds_hangs(
    mount: FuseMount, tmp_path: Path, short_path: Path
) -> None:
    """With the exit code of a stop; once the file system answers, --resume feeds what is left."""
    put(mount, "1.pcap", classic(numbered(1, 4 * PACKETS)))
    environment = {**os.environ, "TMPDIR": str(short_path)}
    paths = [str(tmp_path / "out"), str(mount.folder / "1.pcap")]
    words = ["run", "--preset", "summary", "--logdir", *paths]
    mount.hang(behind_bytes=1 << 20)
    with start("pcapdj", *words, stdout=PIPE, stderr=PIPE, env=environment) as process:
        wait_until(lambda: mount.has_hung, "a read to hang")
        begun_s = time.monotonic()

        process.send_signal(signal.SIGINT)

        assert process.wait() == ExitCode.INTERRUPTED
        assert time.monotonic() - begun_s < scaled(4 * STOP_LIMIT_S)  # the analyzer completes its output
    mount.go_on()

    done = run("pcapdj", *words, "--resume", env=environment)

    assert done.returncode == 0, done.stderr
    assert f"{4 * PACKETS:,} packets" in done.stdout + done.stderr


READERS = """
import sys
from pathlib import Path
from pcapdj.feed.manual_link import processes_with
from support.pipes import NoWaits
print(processes_with(Path(sys.argv[1]), NoWaits()))
"""


def test_the_readers_of_a_pipe_are_found_beside_open_files_that_hang(
    mount: FuseMount, tmp_path: Path
) -> None:
    """What any process has open is looked at; whose file system it is on is not asked."""
    os.mkfifo(pipe := tmp_path / "pipe")
    there = put(mount, "file", b"x")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    own = os.open(pipe, os.O_RDWR)
    with there.open("rb") as held:
        reader = subprocess.Popen(["sleep", "600"], stdin=held, stdout=own)
    with reader:
        try:
            mount.hang(everything=True)
            command = [sys.executable, "-c", READERS, str(pipe)]
            found = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=True, timeout=scaled(20)
            )
            assert str(reader.pid) in found.stdout
        finally:
            mount.go_on()
            reader.kill()
            os.close(own)
