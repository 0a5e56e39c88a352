"""A stop in the middle of a file: the next start goes on at the record; a crash on the way feeds it again."""

import gzip
import json
import os
import shlex
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.captures import as_read, classic, enhanced, interface, records_of, section
from support.dispatcher_rig import journal
from support.roles_rig import HEADER_BYTES, Trio, numbered, places, places_in
from support.waiting import wait_until

from pcapdj.launcher_protocol import PROTOCOL_VERSION, ended_stream_path, read_ended_stream
from pcapdj.runtime.failpoints import CONTINUE_POINTS, STOP_POINTS
from pcapdj.runtime.full_disks import SUSPECT_MARK

PACKETS = 4000  # of 900 bytes: pipe and batch hold less than half of a file
FEW = 400  # they fit into the pipe
IN_TIME = (1_600_000_000, 1_600_000_000)
# Reads nothing behind its first 30,000 bytes, and ends with a status when there is a file `give-up`.
GIVING_UP = """
import os, sys, time
pipe, logdir, status, sign = sys.argv[1:]
with open(pipe, "rb", 0) as stream, open(os.path.join(logdir, "copy"), "wb", 0) as copy:
    while copy.tell() < 30_000:
        copy.write(stream.read(4096))
    while not os.path.exists(sign):
        time.sleep(0.005)
    while int(status) and (data := stream.read(1 << 20)):
        copy.write(data)
sys.exit(int(status))
"""
# Opens the stream and ends, until there is a file `stay`; then it copies the stream.
ENDING_EARLY = """
import os, sys
pipe, logdir, stay = sys.argv[1:]
with open(pipe, "rb", 0) as stream:
    if not os.path.exists(stay):
        sys.exit(1)
    with open(os.path.join(logdir, "copy"), "wb", 0) as copy:
        while data := stream.read(1 << 20):
            copy.write(data)
"""


def in_mid_file(trio: Trio, name: str, number: int, form: str = "plain") -> Path:
    """Queue a capture, and wait until the analyzer has read some of it and reads no more."""
    trio.brake.touch()
    path = capture(trio, name, number, form)
    trio.queue(path)
    wait_until(lambda: is_read_in_part(trio, path), "the analyzer to read some of the file")
    return path


def is_read_in_part(trio: Trio, path: Path) -> bool:
    """Report whether the file is being fed and its stream's analyzer has read something."""
    files = [each for each in trio.snapshot()["current"] if each["name"] == str(path)]
    stream = files[0].get("stream") if files else None
    return bool(stream) and any(each.stat().st_size >= 30_000 for each in trio.out.glob(f"*-{stream}/copy"))


def capture(trio: Trio, name: str, number: int, form: str) -> Path:
    """Write a capture in one of three formats."""
    path = trio.capture(name, number, PACKETS)
    packets = numbered(number, PACKETS)
    if form == "pcapng":
        blocks = (enhanced(each.seconds * 10**6 + each.fraction, each.data) for each in packets)
        path.write_bytes(section() + interface() + b"".join(blocks))
    elif form == "gzip":
        path.write_bytes(gzip.compress(classic(packets, order=">"), 1))
    os.utime(path, IN_TIME)
    return path


def stop(trio: Trio, *roles: str) -> list[int]:
    """Stop the roles, let the analyzer read on once the dispatcher has left, and return how they ended."""
    times = trio.logged("dispatcher").count("reader_gone")
    for role in roles:
        trio.processes[role].send_signal(signal.SIGTERM)
    if "dispatcher" in roles:
        trio.processes["dispatcher"].wait()
    else:
        trio.wait_logged("dispatcher", "reader_gone", times + 1)
    trio.brake.unlink()
    return [trio.processes.pop(role).wait() for role in roles]


def whole_places(trio: Trio) -> list[list[tuple[int, int]]]:
    """Return file and place of each packet in each stream that ended in order; others may be cut."""
    return [places_in(stream) for stream in trio.streams()]


@pytest.mark.parametrize(
    ("form", "first", "then"),
    [
        pytest.param("plain", ("consumer", "dispatcher"), (), marks=pytest.mark.long),
        ("pcapng", ("dispatcher",), ("consumer",)),
        pytest.param("gzip", ("consumer",), ("dispatcher",), marks=pytest.mark.long),
    ],
)
def test_each_packet_is_in_exactly_one_of_two_streams(
    trio: Trio, form: str, first: tuple[str, ...], then: tuple[str, ...]
) -> None:
    """Whoever is stopped first; the rest of the file is requested again; the journal counts both parts."""
    trio.start_all()
    trio.queue(capture(trio, "1.pcap", 1, "plain"))
    trio.await_processed(1)
    in_mid_file(trio, "2.pcap", 2, form)
    trio.queue(capture(trio, "3.pcap", 3, "plain"))
    if then == ("consumer",):
        trio.kill("dispatcher", signal.SIGTERM)
        trio.brake.unlink()
        trio.kill("consumer", signal.SIGTERM)
    else:
        assert stop(trio, *first) == [0] * len(first)
    for role in ("consumer", "dispatcher"):
        if role not in trio.processes:
            trio.start(role)

    trio.await_processed(3)

    before, after = whole_places(trio)
    assert before + after == places(1, PACKETS) + places(2, PACKETS) + places(3, PACKETS)
    assert before[-1][0] == 2, "it stopped in the second file"
    _, second, third = journal(trio.store)
    assert (second["packets"], second["attempt"], third["packets"]) == (
        b"%d" % PACKETS,
        b"1",
        b"%d" % PACKETS,
    )
    ids = sorted(trio.out.glob("2*"), key=lambda path: path.stat().st_ctime_ns)
    assert json.loads(second["earlier_streams"]) == [ids[0].name[-8:]]
    assert second["stream"].decode() == ids[1].name[-8:]
    in_first = len(before) - PACKETS
    assert json.loads(second["earlier_parts"]) == [[PACKETS + 1, in_first]]
    firsts = [second["first_packet"], third["first_packet"]]
    assert firsts == [b"1", b"%d" % (PACKETS - in_first + 1)]
    assert trio.logged("controller").count(" file_authorized ") == 4
    assert not ended_stream_path(trio.socket).with_name(f".{trio.socket.name}.ended").exists()


@pytest.mark.long
def test_the_next_stream_has_the_format_of_the_ended_one(trio: Trio) -> None:
    """Another choice for the packets of other link types counts for the next file."""
    raw = [each._replace(data=b"\x45" + each.data) for each in numbered(1, PACKETS)]
    trio.start("consumer")
    trio.start("dispatcher", "--on-linktype", "ethernet")
    trio.start("controller")
    trio.brake.touch()
    path = trio.capture("1.pcap", 1, 1)
    path.write_bytes(classic(raw, linktype=101))
    os.utime(path, IN_TIME)
    trio.queue(path)
    wait_until(lambda: is_read_in_part(trio, path), "the analyzer to read some of the file")
    stop(trio, "consumer", "dispatcher")
    trio.start("consumer")
    trio.start("dispatcher")
    trio.await_processed(1)

    first, second = trio.streams()
    frames = [each._replace(data=bytes(12) + b"\x08\x00" + each.data) for each in raw]
    assert first[:HEADER_BYTES] == second[:HEADER_BYTES] == classic([])
    assert records_of(first[HEADER_BYTES:]) + records_of(second[HEADER_BYTES:]) == as_read(frames)


def test_a_file_that_was_read_to_its_end_needs_no_other_stream(trio: Trio) -> None:
    """The dispatcher died before it could record that."""
    trio.start("consumer")
    trio.start("dispatcher", environment={"PCAPDJ_FAULT": "drain.after:1:kill"})
    trio.start("controller")
    trio.queue(trio.capture("1.pcap", 1, FEW))
    assert trio.processes.pop("dispatcher").wait() == -signal.SIGKILL
    trio.kill("consumer", signal.SIGTERM)
    trio.start("consumer")
    trio.start("dispatcher")
    wait_until(lambda: journal(trio.store), "the file's result")

    [stream] = trio.streams()
    [entry] = journal(trio.store)
    assert places_in(stream) == places(1, FEW)
    assert (entry["verdict"], entry["packets"], entry["attempt"]) == (b"processed", b"%d" % FEW, b"1")
    assert json.loads(entry["earlier_streams"]) == [entry["stream"].decode()]
    assert (entry["first_packet"], json.loads(entry["earlier_parts"])) == (b"", [[1, FEW]])


@pytest.mark.long
def test_a_file_may_be_stopped_again_and_again(trio: Trio) -> None:
    """Three streams have a part each."""
    trio.start_all()
    in_mid_file(trio, "1.pcap", 1)
    for part in range(2):
        stop(trio, "consumer")
        trio.brake.touch()
        trio.start("consumer")
        wait_until(lambda part=part: len(trio.streams()) == part + 2, "the next stream")  # type: ignore[misc]
        trio.await_copied(30_000)
    trio.brake.unlink()
    trio.await_processed(1)

    parts = whole_places(trio)
    assert [place for part in parts for place in part] == places(1, PACKETS)
    assert [len(part) > 10 for part in parts] == [True] * len(parts)


@pytest.mark.long
@pytest.mark.slow
def test_a_launcher_that_is_killed_at_each_step_of_a_stop_loses_nothing(trio: Trio) -> None:
    """The file is fed again from its start; once the place is written, it goes on there."""
    trio.start("dispatcher")
    trio.start("controller")
    for number, point in enumerate(STOP_POINTS, 1):
        trio.start("consumer", environment={"PCAPDJ_FAULT": f"{point}:1:kill"})
        in_mid_file(trio, f"{number}.pcap", number)
        before = len(trio.streams())
        assert stop(trio, "consumer") == [-signal.SIGKILL], point
        trio.start("consumer")
        trio.await_processed(number)

        assert len(trio.streams()) == before + 1
        last = places_in(trio.streams()[-1])
        if point == "launcher.recorded":
            last = places_in(trio.streams()[-2]) + last
        assert last == places(number, PACKETS), point
        trio.kill("consumer", signal.SIGTERM)


@pytest.mark.long
@pytest.mark.parametrize("point", CONTINUE_POINTS)
def test_a_dispatcher_that_is_killed_while_it_goes_on_doubles_nothing(trio: Trio, point: str) -> None:
    """Before Redis has the place, and after it."""
    trio.start_all()
    in_mid_file(trio, "1.pcap", 1)
    stop(trio, "consumer", "dispatcher")
    trio.start("dispatcher", environment={"PCAPDJ_FAULT": f"{point}:1:kill"})
    trio.start("consumer")

    assert trio.processes.pop("dispatcher").wait() == -signal.SIGKILL
    trio.start("dispatcher")
    trio.await_processed(1)

    before, after = whole_places(trio)
    assert before + after == places(1, PACKETS)


@pytest.mark.long
@pytest.mark.parametrize("status", [0, 3])
def test_an_analyzer_that_does_not_read_all_or_fails_gets_the_file_again(trio: Trio, status: int) -> None:
    """Status 0 is not enough: an analyzer that gives up has it, too."""
    sign = trio.folder / "give-up"
    (trio.folder / "giving_up.py").write_text(GIVING_UP)
    analyzer = (sys.executable, str(trio.folder / "giving_up.py"), "{pipe}", "{logdir}", str(status))
    trio.start("consumer", "--", *analyzer, str(sign))
    trio.start("dispatcher")
    trio.start("controller")
    trio.queue(trio.capture("1.pcap", 1, FEW))
    trio.await_copied(30_000)
    wait_until(lambda: int(trio.statistics().get("packets", 0)) == FEW, "all of it to be in the pipe")

    launcher = trio.processes.pop("consumer")
    launcher.send_signal(signal.SIGTERM)
    wait_until(lambda: (trio.snapshot()["consumer"] or {})["state"] == "flushing", "the end of the input")
    sign.touch()
    assert launcher.wait() == 0
    trio.start("consumer")
    trio.await_processed(1)

    assert places_in(trio.streams()[-1]) == places(1, FEW)
    [entry] = journal(trio.store)
    assert (entry["attempt"], entry["earlier_streams"]) == (b"2", b"")
    assert "file_replayed" in trio.logged("dispatcher")
    assert (" bytes of the stream unread" in trio.logged("consumer")) == (status == 0)


@pytest.mark.long
def test_a_folder_that_cannot_be_written_at_a_stop_costs_no_output_of_the_analyzer(trio: Trio) -> None:
    """The launcher cannot remove its socket there, nor write the place: the file is fed again."""
    trio.start_all()
    in_mid_file(trio, "1.pcap", 1)
    elsewhere = trio.run.rename(trio.folder / "elsewhere")
    trio.run.touch()  # the superuser, too, cannot use it as a folder

    assert stop(trio, "consumer", "dispatcher") == [0, 0]
    trio.run.unlink()
    elsewhere.rename(trio.run)
    trio.start("consumer")
    trio.start("dispatcher")
    trio.await_processed(1)

    assert "place_not_written" in trio.logged("consumer")
    before, after = whole_places(trio)
    assert before == places(1, len(before))
    assert after == places(1, PACKETS)


def test_a_program_behind_tee_gets_all_packets_before_the_stream_counts_as_ended(trio: Trio) -> None:
    """A script that bash runs ends with tee, which leaves the program with what it has not read yet."""
    program = shlex.join([sys.executable, str(trio.folder / "copying.py"), "/dev/stdin"])
    script = f"tee < {{pipe}} >({program} {{logdir}} {shlex.quote(str(trio.brake))}) > /dev/null"
    trio.start("consumer", "--", "bash", "-c", script)
    trio.start("dispatcher", environment={"PCAPDJ_FAULT": "drain.after:1:kill"})
    trio.start("controller")
    trio.brake.touch()
    trio.queue(trio.capture("1.pcap", 1, 80))  # fits into tee's own pipe
    assert trio.processes.pop("dispatcher").wait() == -signal.SIGKILL
    bash = Path(f"/proc/{(trio.snapshot()['consumer'] or {})['pid']}")
    launcher = trio.processes.pop("consumer")
    launcher.send_signal(signal.SIGTERM)
    wait_until(lambda: not (bash / "exe").exists(), "bash to end")  # it may not be reaped yet
    trio.brake.unlink()

    assert launcher.wait() == 0
    assert whole_places(trio) == [places(1, 80)]
    assert read_ended_stream(trio.socket)


@pytest.mark.long
def test_a_second_stop_signal_ends_the_analyzer_at_once(trio: Trio) -> None:
    """Then the file is fed again."""
    trio.start_all()
    in_mid_file(trio, "1.pcap", 1)
    launcher = trio.processes.pop("consumer")
    launcher.send_signal(signal.SIGTERM)
    trio.wait_logged("consumer", "stopping")
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait() == 0
    trio.brake.unlink()
    trio.start("consumer")
    trio.await_processed(1)

    assert places_in(trio.streams()[-1]) == places(1, PACKETS)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make folders of another user")
@pytest.mark.long
def test_a_folder_of_another_user_does_not_double_packets(trio: Trio) -> None:
    """In a folder such as /tmp it may have the hidden name of the record, and the name itself stays ours."""
    trio.socket.parent.chmod(0o1777)
    trio.start_all()
    in_mid_file(trio, "1.pcap", 1)
    ended = ended_stream_path(trio.socket)
    for path in (ended.with_name(f".{ended.name}"), ended):
        with suppress(FileExistsError):  # as that user, who cannot remove what is there
            path.mkdir()
            os.chown(path, 65534, 65534)

    stop(trio, "consumer", "dispatcher")
    trio.start("consumer")
    trio.start("dispatcher")
    trio.await_processed(1)

    before, after = whole_places(trio)
    assert before + after == places(1, PACKETS)


@pytest.mark.long
@pytest.mark.slow
def test_a_dispatcher_that_does_not_leave_the_stream_has_the_file_fed_again(trio: Trio) -> None:
    """It could still send something: where the stream ends is not known.

    Its analyzer, which sees no end of its input and is killed, may lack output: the stream is suspect.
    """
    trio.start("consumer", "--flush-timeout", "1s")
    trio.start("dispatcher")
    trio.start("controller")
    in_mid_file(trio, "1.pcap", 1)
    trio.processes["dispatcher"].send_signal(signal.SIGSTOP)
    launcher = trio.processes.pop("consumer")
    launcher.send_signal(signal.SIGTERM)
    trio.wait_logged("consumer", "dispatcher_stays")
    trio.brake.unlink()
    assert launcher.wait() == 0
    assert read_ended_stream(trio.socket) is None
    trio.processes["dispatcher"].send_signal(signal.SIGCONT)
    trio.start("consumer")
    trio.await_processed(1)

    assert places_in(trio.streams()[-1]) == places(1, PACKETS)
    [(stream, reason)] = trio.snapshot()["suspects"].items()
    assert reason == (
        f"{Path(sys.executable).name} was stopped: it had not exited 1 s after the launcher closed the pipe,"
        " and the dispatcher had not. It may not have seen the end of its input."
    )
    [folder] = trio.out.glob(f"*-{stream}")
    assert (folder / SUSPECT_MARK).read_text() == f"{reason}\n"
    assert trio.logged("consumer").count("stream_suspect") == 1


@pytest.mark.long
@pytest.mark.parametrize("is_grown", [False, True])
def test_a_file_that_changed_between_stop_and_start_fails(trio: Trio, *, is_grown: bool) -> None:
    """With the number of packets that the analyzer has; a byte at its beginning is enough."""
    trio.start_all()
    path = in_mid_file(trio, "1.pcap", 1)
    stop(trio, "consumer", "dispatcher")
    content = path.read_bytes()
    times = path.stat()
    with path.open("r+b") as file:
        file.write(content + b"more" if is_grown else content[:200] + b"X" + content[201:])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    trio.start("consumer")
    trio.start("dispatcher")
    wait_until(lambda: trio.snapshot()["failed"], "the file to fail")

    [stream] = trio.streams()
    [failure] = trio.store.redis.lrange(trio.store.keys.failed, 0, -1)
    entry: dict[str, Any] = json.loads(failure)
    assert entry["reason"].startswith("changed while it was read")
    assert entry["packets"] == len(places_in(stream)) > 0
    assert trio.logged("controller").count(" file_authorized ") == 1, "it is not requested"


@pytest.mark.long
def test_a_dispatcher_of_another_version_ends_the_stream_in_order(trio: Trio) -> None:
    """It cannot know the note; it is refused, and the log names what to restart."""
    trio.start_all()
    in_mid_file(trio, "1.pcap", 1)
    trio.kill("dispatcher")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.connect(str(trio.socket))
        client.send(b'{"word":"GET","version":99}')
        reply = json.loads(client.recv(4096))
    trio.brake.unlink()
    wait_until(lambda: read_ended_stream(trio.socket), "the stream to end")
    trio.start("dispatcher")
    trio.await_processed(1)

    assert (reply["ok"], reply["error"], reply["version"]) == (False, "other version", PROTOCOL_VERSION)
    assert "protocol version 99" in trio.logged("consumer")
    before, after = whole_places(trio)
    assert before + after == places(1, PACKETS)
    assert len(trio.streams()[0]) > HEADER_BYTES


@pytest.mark.long
def test_an_analyzer_that_ends_before_it_gets_a_packet_is_no_attempt_at_the_file(trio: Trio) -> None:
    """Nothing is fed again, so no line claims that; the file is requested again, and fed once."""
    script, sign = trio.folder / "early.py", trio.folder / "stay"
    script.write_text(ENDING_EARLY)
    trio.start("consumer", "--", sys.executable, str(script), "{pipe}", "{logdir}", str(sign))
    trio.start("dispatcher")
    trio.start("controller")
    trio.queue(trio.capture("1.pcap", 1, FEW))
    trio.wait_logged("dispatcher", "reader_gone", times=2)
    sign.touch()
    trio.await_processed(1)

    [entry] = journal(trio.store)
    assert (entry["attempt"], entry["packets"]) == (b"1", b"%d" % FEW)
    assert places_in(trio.streams()[-1]) == places(1, FEW)
    assert "file_replayed" not in trio.logged("dispatcher")
