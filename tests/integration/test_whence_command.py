"""`pcapdj whence` with the journal of a lane: what it answers, cuts out, and refuses."""

import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import pytest
from support import forkserver
from support.captures import Record, classic, records_of
from support.cases import some_long
from support.traced import START_S, records, write_captures
from support.waiting import wait_until

from pcapdj.commands import whence
from pcapdj.runtime.command import exit_code_of
from pcapdj.runtime.errors import ExitCode
from pcapdj.store.client import Store
from pcapdj.trace.events import AnalyzerEvent
from pcapdj.trace.locate import Locator

Run = Callable[..., tuple[int, str, str]]
UDP = {"src_ip": "10.0.0.1", "src_port": 1111, "dest_ip": "10.0.0.2", "dest_port": 2222, "proto": "UDP"}


@pytest.fixture
def run(store: Store, capfd: pytest.CaptureFixture[str]) -> Run:
    """Return a runner of the command in the test's lane: exit code, stdout, stderr."""

    def run_command(*arguments: str) -> tuple[int, str, str]:
        options = ["--redis-url", store.url, "--lane", store.keys.lane]
        code = exit_code_of(whence.app, "pcapdj whence", [*options, *arguments])
        printed = capfd.readouterr()
        return code, printed.out, printed.err

    return run_command


@pytest.fixture
def captures(store: Store, tmp_path: Path) -> list[Path]:
    """Return five captures that were fed into stream 5ca1ab1e."""
    paths, number = write_captures(tmp_path / "in"), 1
    for path in paths:
        fed(store, path, first_packet=number)
        number += len(records_of(path.read_bytes()[24:]))
    return paths


def fed(store: Store, path: Path, *, first_packet: int, stream: str = "5ca1ab1e", **fields: Any) -> None:
    """Write the journal's entry of a file."""
    found, status = records_of(path.read_bytes()[24:]), path.stat()
    entry = {
        "name": os.fsencode(path),
        "verdict": "processed",
        "stream": stream,
        "packets": len(found),
        "first_packet": first_packet,
        "first_ts_ns": found[0].seconds * 10**9,
        "last_ts_ns": found[-1].seconds * 10**9,
        "size_bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "dev": status.st_dev,
        "ino": status.st_ino,
        "linktype": 1,
    }
    store.redis.xadd(store.keys.journal, dict[Any, Any](entry | fields))


def eve(tmp_path: Path, **fields: Any) -> str:
    """Return the path of a file with one EVE line."""
    path = tmp_path / "event.json"
    path.write_text(
        json.dumps({"event_type": "alert", "timestamp": "2023-11-14T22:13:21+0000", **fields}) + "\n"
    )
    return str(path)


def test_the_number_of_a_packet_leads_to_its_file(run: Run, captures: list[Path], tmp_path: Path) -> None:
    """The stream is known by the packet's time; the answer has the rule, and what became of the file."""
    code, out, err = run(eve(tmp_path, pcap_cnt=1, pkt_src="wire/pcap", **UDP))

    assert (code, err) == (0, "")
    assert out == (
        "alert (wire/pcap), 10.0.0.1:1111 - 10.0.0.2:2222 udp, 2023-11-14T22:13:21.000000Z\n"
        f"    packet 1 of '{captures[0]}' (1 of stream 5ca1ab1e), by its number (pcap_cnt)\n"
        "    the file is the one that was fed\n"
    )


def test_programs_read_the_same_answer_with_every_field(
    run: Run, captures: list[Path], tmp_path: Path
) -> None:
    """What is in the file's object stays under these names."""
    code, out, _ = run(eve(tmp_path, pcap_cnt=1, pkt_src="wire/pcap", **UDP), "--json")

    (file,) = json.loads(out)["files"]
    names = ("name", "verdict", "state", "path", "parts", "first", "last")
    assert code == 0
    assert [name for name in names if name not in file] == []
    assert (file["name"], file["verdict"], file["state"]) == (str(captures[0]), "processed", "same")


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (lambda path: path.unlink(), "missing"),
        (lambda path: path.write_bytes(classic([Record()])), "other"),
        (lambda path: path.write_bytes(path.read_bytes() * 2), "grown"),
        (lambda path: path.rename(path.with_name("moved")), "missing"),
        (lambda path: (path.unlink(), path.mkdir()), "other"),
    ],
    ids=["removed", "another", "grown", "renamed", "folder"],
)
def test_a_file_that_is_not_what_was_fed_any_more_is_named_as_that(
    run: Run, captures: list[Path], tmp_path: Path, change: Callable[[Path], object], state: str
) -> None:
    """Packets are not cut out of another file; that some are missing is an error."""
    change(captures[0])

    code, out, _ = run(eve(tmp_path, pcap_cnt=2), "--stream", "5ca1ab1e", "--json")

    assert (code, json.loads(out)["files"][0]["state"]) == (0, state)
    if state != "grown":
        cut = run("--at", str(START_S), "--host", "10.0.0.1", "-w", str(tmp_path / "out.pcap"))
        assert (cut[0], cut[2]) == (
            1,
            "pcapdj whence: No capture is there to cut packets out of.\n",
        )
        assert not (tmp_path / "out.pcap").exists()


def test_what_pcapdj_itself_removed_or_moved_is_named(
    run: Run, store: Store, captures: list[Path], tmp_path: Path
) -> None:
    """By its own record; a moved file is read where it is now."""
    moved = captures[0].rename(tmp_path / "moved.pcap")
    of_removed = captures[1].stat()
    captures[1].unlink()
    for path, status, record in (
        (captures[0], moved.stat(), {"how": "moved", "to": str(moved)}),
        (captures[1], of_removed, {"how": "removed"}),
    ):
        of_file = {"size_bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
        store.redis.hset(store.keys.reclaimed, os.fsencode(path), json.dumps(record | of_file))

    out = tmp_path / "out.pcap"
    first = run(eve(tmp_path, pcap_cnt=1, flow={"start": "2023-11-14T22:13:21+0000"}, **UDP), "-w", str(out))
    second = run(eve(tmp_path, pcap_cnt=4), "--stream", "5ca1ab1e")

    assert f"pcapdj moved the file to '{moved}'" in first[1]
    assert [each.data for each in records_of(out.read_bytes()[24:])] == [records()[0].data]
    assert "pcapdj removed the file to make room" in second[1]


@pytest.mark.parametrize("where", ["elsewhere", "link", "linked folder", "dots", "record of a move"])
def test_nothing_outside_of_the_roots_is_read(
    run: Run, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Whoever writes to Redis names any file in the journal: the cut has no packet of it."""
    root, secret = tmp_path / "root", tmp_path / "secret/1.pcap"
    for folder in (root / "sub", secret.parent):
        folder.mkdir(parents=True)
    secret.write_bytes(classic(records()[:1]))
    (root / "link.pcap").symlink_to(secret)
    (root / "folder").symlink_to(secret.parent)
    names = {"link": root / "link.pcap", "linked folder": root / "folder/1.pcap", "elsewhere": secret}
    name = names.get(where, root / "sub/../../secret/1.pcap")
    of_file = {"size_bytes": secret.stat().st_size, "mtime_ns": secret.stat().st_mtime_ns}
    if where == "record of a move":
        name = root / "gone.pcap"
        moved = {"how": "moved", "to": str(secret), **of_file}
        store.redis.hset(store.keys.reclaimed, os.fsencode(name), json.dumps(moved))
    fed(store, secret, first_packet=1, name=os.fsencode(name))
    monkeypatch.setenv("PCAPDJ_ROOT", str(root))
    out = tmp_path / "out.pcap"

    code, text, err = run("--at", str(START_S), "--host", "10.0.0.1", "-w", str(out), "--json")

    assert (code, err) == (1, "pcapdj whence: No capture is there to cut packets out of.\n")
    (file,) = json.loads(text)["files"]
    assert (file["state"], file["path"]) == ("outside", None)
    assert not out.exists()


@pytest.mark.parametrize("moves", [False, True], ids=["in the root", "moved to the archive"])
def test_below_the_roots_sessions_are_cut_out(
    run: Run,
    store: Store,
    captures: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    moves: bool,
) -> None:
    """The folder to which the lane moves its captures is one of them."""
    monkeypatch.setenv("PCAPDJ_ROOT", str(captures[0].parent))
    if moves:
        monkeypatch.setenv("PCAPDJ_RECLAIM", f"move:{tmp_path / 'archive'}")
        (tmp_path / "archive").mkdir()
        moved = captures[0].rename(tmp_path / "archive/0.pcap")
        of_file = {"size_bytes": moved.stat().st_size, "mtime_ns": moved.stat().st_mtime_ns}
        record = {"how": "moved", "to": str(moved), **of_file}
        store.redis.hset(store.keys.reclaimed, os.fsencode(captures[0]), json.dumps(record))
    out = tmp_path / "out.pcap"

    code, *_ = run("--at", str(START_S), "--host", "10.0.0.1", "-w", str(out))

    assert code == 0
    assert [each.data for each in records_of(out.read_bytes()[24:])] == [records()[0].data]


def test_a_time_leads_to_the_files_of_that_time(run: Run, captures: list[Path]) -> None:
    """A file that has packets before and after a moment has it; a range may have several."""
    moment = run("--at", "2023-11-14T22:13:25.5Z", "--json")
    several = run("--at", str(START_S), "--until", str(START_S + 4), "--json")
    nothing = run("--at", "2020-01-01")

    assert [Path(file["name"]) for file in json.loads(moment[1])["files"]] == [captures[1]]
    assert [Path(file["name"]) for file in json.loads(several[1])["files"]] == captures[:2]
    assert (nothing[0], nothing[2]) == (1, "pcapdj whence: 1 of 1 were not found.\n")
    assert "No file of the journal has packets of that time." in nothing[1]


@pytest.mark.usefixtures("captures")
@pytest.mark.parametrize("is_event", [False, True])
def test_a_time_without_addresses_is_no_session(run: Run, tmp_path: Path, *, is_event: bool) -> None:
    """The captures have packets of that time, but nothing says which of them are wanted."""
    flow = {"start": "2023-11-14T22:13:20+0000", "end": "2023-11-14T22:13:30+0000"}
    (tmp_path / "eve.json").write_text(json.dumps({"event_type": "flow", "flow_id": 7, "flow": flow}))
    arguments = [str(tmp_path / "eve.json")] if is_event else ["--at", str(START_S)]

    code, out, err = run(*arguments, "-w", str(tmp_path / "out.pcap"))

    assert code == ExitCode.ERROR
    assert "files that may have its packets" in out
    assert err == (
        "pcapdj whence: A time without addresses is no session that could be cut out."
        " Name it: --at TIME --host ADDRESS --host ADDRESS.\n"
    )
    assert not (tmp_path / "out.pcap").exists()


def test_zeeks_connection_leads_to_its_session(run: Run, captures: list[Path], tmp_path: Path) -> None:
    """Of the handshake in one file and the data in the next; other packets of the time are not in it."""
    fields = {"ts": START_S + 6.0, "uid": "C1", "proto": "tcp", "duration": 3.0}
    ends = {"id.orig_h": "10.0.1.1", "id.orig_p": 4000, "id.resp_h": "10.0.1.2", "id.resp_p": 80}
    log, out = tmp_path / "conn.log", tmp_path / "out.pcap"
    log.write_text(json.dumps(fields | ends) + "\n")

    code, text, err = run(str(log), "-w", str(out))

    assert (code, err) == (0, "")
    assert [each.data for each in records_of(out.read_bytes()[24:])] == [
        each.data for each in records()[6:10]
    ]
    assert f"'{captures[2]}': 3 packets, the first is 1, the last is 3\n'{captures[3]}': packet 1\n" in text
    assert text.endswith(f"4 packets written to '{out}'.\n")


def test_the_same_addresses_at_another_time_are_another_session(
    run: Run, store: Store, tmp_path: Path
) -> None:
    """Ports are used again; only the times of the session count."""
    frame = records()[0].data
    path, out = tmp_path / "1.pcap", tmp_path / "out.pcap"
    path.write_bytes(classic([Record(START_S + second, 0, frame) for second in range(0, 100, 10)]))
    fed(store, path, first_packet=1)

    until = str(START_S + 40)
    code, *_ = run(
        *("--at", str(START_S + 20), "--until", until, "--host", "10.0.0.2", "--host", "10.0.0.1"),
        *("--port", "2222", "--port", "1111", "--protocol", "udp", "-w", str(out)),
    )

    assert code == 0
    assert [each.seconds - START_S for each in records_of(out.read_bytes()[24:])] == [20, 30, 40]


@pytest.mark.usefixtures("captures")
def test_the_file_that_is_fed_now_is_found_by_the_packets_number(
    run: Run, store: Store, tmp_path: Path
) -> None:
    """It has no entry in the journal yet."""
    place = {"name": "/in/now.pcap", "stream": "5ca1ab1e", "first_packet": 15, "state": "feeding"}
    store.redis.sadd(store.keys.dispatchers, "d")
    store.redis.hset(store.keys.current("d"), mapping=dict[Any, Any](place))

    code, out, _ = run(eve(tmp_path, pcap_cnt=17), "--stream", "5ca1ab1e")

    assert code == 0
    assert "packet 3 of '/in/now.pcap' (17 of stream 5ca1ab1e)" in out
    assert "the file is being fed" in out


def test_packets_that_were_left_out_are_mentioned(run: Run, store: Store, tmp_path: Path) -> None:
    """The number is that among the packets that were fed."""
    path = tmp_path / "1.pcap"
    path.write_bytes(classic(records()))
    fed(store, path, first_packet=1, left_out='{"113": 2}', begin_bytes=24)

    _, out, _ = run(eve(tmp_path, pcap_cnt=2), "--stream", "5ca1ab1e")

    assert "the file also has packets that were left out" in out
    assert "counted from byte 24" in out


def test_events_are_answered_as_they_come(
    run: Run, captures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a pipe; a line that is no event is passed over, and the last one needs no line break."""
    lines = [
        "no JSON",
        "",
        json.dumps({"event_type": "stats"}),
        json.dumps({"event_type": "x", "pcap_cnt": 4}),
    ]
    read, write = os.pipe()
    os.write(write, "\n".join(lines).encode())
    os.close(write)
    with os.fdopen(read, "rb") as stdin:
        monkeypatch.setattr("sys.stdin", TextIOWrapper(stdin))
        code, out, err = run("--stream", "5ca1ab1e")

    assert (code, err) == (1, "pcapdj whence: 1 of 2 were not found.\n")
    assert f"packet 1 of '{captures[1]}'" in out
    assert "its timestamp alone may be wrong by hours" in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--at", "soon"], "'soon' is not a time."),
        (["--at", "5", "--host", "host.example"], "--host takes one or two IP addresses"),
        (["--at", "5", "--host", "::1", "--host", "10.0.0.1"], "of one version"),
        (["--at", "5", "--port", "80"], "a port of each"),
        (["--at", "5", "--sid", "1"], "--at looks for a time: leave out EVENTS, --sid, --flow-id and --all."),
        (["--until", "5"], "belong to --at"),
        (["--log", "/nonexistent"], "'/nonexistent' is not a folder."),
        (["/nonexistent"], "'/nonexistent' cannot be read: No such file or directory."),
    ],
)
def test_a_wrong_question_is_refused(run: Run, arguments: list[str], sentence: str) -> None:
    """In one sentence, with the exit code of a wrong use."""
    code, out, err = run(*arguments)

    assert (code, out, err.count("\n")) == (ExitCode.USAGE, "", 1)
    assert sentence in err


def test_a_log_without_alerts_leads_to_its_other_events(run: Run, tmp_path: Path) -> None:
    """A preset that only extracts files writes no alerts; the answer names the option that looks further."""
    (tmp_path / "eve.json").write_text('{"event_type": "dns", "pcap_cnt": 1}\n')

    code, out, err = run("--log", str(tmp_path))

    assert (code, out) == (1, "")
    assert err == "pcapdj whence: The log has no alerts. --all looks for its other events, too.\n"


@pytest.mark.usefixtures("captures")
def test_the_sessions_of_too_many_events_are_not_cut_out(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stdin may never end: what to add is in the sentence. Without --write each event is answered."""
    monkeypatch.setattr(whence, "_MOST_CUT", 2)
    eve, out = tmp_path / "eve.json", tmp_path / "out.pcap"
    eve.write_text(3 * (json.dumps({**UDP, "event_type": "alert", "pcap_cnt": 1}) + "\n"))

    code, shown, error = run(str(eve), "--stream", "5ca1ab1e", "--write", str(out))

    assert (code, shown, out.exists()) == (ExitCode.ERROR, "", False)
    sentence = (
        "More than 2 events: their sessions are not cut out at once. Choose some with --sid or --flow-id."
    )
    assert error == f"pcapdj whence: {sentence}\n"
    assert run(str(eve), "--stream", "5ca1ab1e")[0] == ExitCode.OK


@pytest.mark.usefixtures("captures")
def test_each_event_is_answered_in_its_order_however_many_there_are(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first ones are looked for at once, then ever more; less where their sessions are in many files."""
    monkeypatch.setattr(whence, "_FEWEST", 2)
    monkeypatch.setattr(whence, "_MOST", 7)
    monkeypatch.setattr("pcapdj.trace.locate._MOST_LISTED", 14)
    looked_for = tmp_path / "looked-for"  # the command looks in a process of its own

    class Counted(Locator):
        def __init__(self, events: Sequence[AnalyzerEvent], *, has_sessions: bool) -> None:
            with looked_for.open("a") as file:
                file.write(f"{len(events)} ")
            super().__init__(events, has_sessions=has_sessions)

    monkeypatch.setattr(whence, "Locator", Counted)
    flow = {"start": "2023-11-14T22:13:20+0000", "end": "2023-11-15T22:13:20+0000"}
    lines = [
        json.dumps({"event_type": "flow", "flow_id": number, "flow": flow}) + "\n" for number in range(1, 21)
    ]
    (tmp_path / "eve.json").write_text("".join(lines))

    code, out, _ = run(str(tmp_path / "eve.json"), "--json")

    answers = [json.loads(line) for line in out.splitlines()]
    assert (code, [each["flow_id"] for each in answers]) == (0, [*range(1, 21)])
    assert {len(each["files"]) for each in answers} == {5}
    assert looked_for.read_text() == "2 4 2 2 7 3 1 2 4 2 2 7 3 1 2 4 2 2 "


def test_without_an_event_there_is_no_answer(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is empty, or stdin is a terminal."""
    (tmp_path / "empty").touch()
    assert run(str(tmp_path / "empty")) == (
        ExitCode.ERROR,
        "",
        "pcapdj whence: There are no events to look for.\n",
    )

    controlling, terminal = os.openpty()
    with os.fdopen(controlling), os.fdopen(terminal) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        code, _, error = run()
    assert (code, "stdin is a terminal. Pipe lines of EVE into it" in error) == (ExitCode.USAGE, True)


def test_no_file_is_overwritten(run: Run, captures: list[Path], tmp_path: Path) -> None:
    """A cut is evidence, too."""
    out = tmp_path / "out.pcap"
    out.write_text("mine")

    code, _, err = run("--at", str(START_S), "--host", "10.0.0.1", "-w", str(out))

    assert (code, out.read_text()) == (ExitCode.CANNOT_CREATE, "mine")
    assert "Name a file that does not exist yet." in err
    assert captures[0].exists()


def test_without_tcpdump_no_session_is_cut_out(
    run: Run, captures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The packet itself is found by its number, without a filter."""
    monkeypatch.setenv("PATH", str(tmp_path))
    out = tmp_path / "out.pcap"

    session = run("--at", str(START_S), "--host", "10.0.0.1", "-w", str(out))
    runt = run(eve(tmp_path, pcap_cnt=12), "--stream", "5ca1ab1e", "-w", str(out))

    assert (session[0], "tcpdump is not installed." in session[2]) == (ExitCode.UNAVAILABLE, True)
    assert runt[0] == 0
    assert [each.data for each in records_of(out.read_bytes()[24:])] == [records()[11].data]
    assert captures[3].exists()


@pytest.mark.parametrize("whole_bytes", [24 + 7, 24 + 16 + 5], ids=["header", "packet"])
@pytest.mark.usefixtures("captures")
def test_a_tcpdump_that_is_killed_is_named_with_its_signal(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole_bytes: int
) -> None:
    """In the middle of a record; no half of a cut is left."""
    program, out = tmp_path / "bin/tcpdump", tmp_path / "out.pcap"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nhead -c {whole_bytes}\nkill -9 $$\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    code, _, err = run("--at", str(START_S), "--host", "10.0.0.1", "-w", str(out))

    sentence = "tcpdump was killed by signal 9: not all packets were cut out."
    assert (code, err) == (1, f"pcapdj whence: {sentence}\n")
    assert not out.exists()


@pytest.mark.parametrize(
    "number",
    some_long([signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL], quick=(signal.SIGTERM,)),
)
def test_a_cut_that_is_stopped_leaves_no_file_of_that_name_and_no_tcpdump(
    number: signal.Signals, store: Store, captures: list[Path], tmp_path: Path
) -> None:
    """Half a session must not look like evidence. Only a kill leaves a hidden file."""
    program, started, results = tmp_path / "bin/tcpdump", tmp_path / "started", tmp_path / "results"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncat >/dev/null\necho $$ >{started}\nexec sleep 600\n")
    program.chmod(0o755)
    results.mkdir()
    env = forkserver.clean_environment(
        PATH=f"{program.parent}:{os.environ['PATH']}", PCAPDJ_REDIS_URL=store.url, PCAPDJ_LANE=store.keys.lane
    )
    options = ("--at", str(START_S), "--host", "10.0.0.1", "-w", str(results / "out.pcap"))

    with forkserver.start("pcapdj", "whence", *options, env=env, stdout=DEVNULL, stderr=DEVNULL) as command:
        wait_until(lambda: started.exists() and started.read_text(), "tcpdump to start")
        command.send_signal(number)
        assert command.wait() == (ExitCode.INTERRUPTED if number == signal.SIGINT else -number)
    assert captures[0].exists()

    wait_until(lambda: not Path(f"/proc/{started.read_text().strip()}/exe").exists(), "the end of tcpdump")
    left = [each.name for each in results.iterdir()]
    assert left == [] or (number == signal.SIGKILL and "out.pcap" not in left)


def test_no_tcpdump_of_the_current_folder_is_started(
    run: Run, captures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty element of PATH means that folder, which may be one of captures from anywhere."""
    program, started = tmp_path / "tcpdump", tmp_path / "started"
    program.write_text(f"#!/bin/sh\n: > {started}\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", ":/nowhere")

    code, _, err = run("--at", str(START_S), "--host", "10.0.0.1", "-w", str(tmp_path / "out.pcap"))

    assert (code, "tcpdump is not installed." in err) == (ExitCode.UNAVAILABLE, True)
    assert captures[0].exists()
    assert not started.exists()


def test_the_log_folder_names_the_stream_and_when_it_was_fed(
    run: Run, store: Store, captures: list[Path], tmp_path: Path
) -> None:
    """Of a long journal only that time is looked through, with an hour to spare."""
    now_s = time.time()
    begun = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s - 60))
    folder = tmp_path / f"{begun}-5ca1ab1e"
    folder.mkdir()
    alert = {"event_type": "alert", "pcap_cnt": 1, "alert": {"signature_id": 5, "signature": "x"}, **UDP}
    (folder / "eve.json").write_text(json.dumps(alert) + "\n")
    fed(store, captures[1], first_packet=1, stream="another1")

    code, out, err = run("--log", str(folder))
    os.utime(folder / "eve.json", (now_s - 7200, now_s - 7200))
    late = run("--log", str(folder), "--sid", "5")

    assert (code, err) == (0, "")
    assert f"packet 1 of '{captures[0]}' (1 of stream 5ca1ab1e)" in out
    assert (late[0], "No file of the journal has packet 1" in late[1]) == (1, True)


@pytest.mark.parametrize(
    "number",
    some_long([1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 10**20 - 1], quick=(1 << 63,)),
)
@pytest.mark.parametrize("name", ["linktype", "begin_bytes", "first_ts_ns", "packets", "first_packet"])
def test_a_number_that_no_capture_has_is_not_used(
    run: Run, store: Store, tmp_path: Path, name: str, number: int
) -> None:
    """Another program wrote it into the journal: the packets are cut out, or there is one sentence."""
    path = write_captures(tmp_path / "in")[0]
    entry: dict[str, Any] = {"first_packet": 1, name: number}
    fed(store, path, **entry)

    question = ("--at", "2023-11-14T22:13:20Z", "--until", "2023-11-14T22:13:40Z", "--host", "10.0.0.1")
    code, out, err = run(*question, "-w", str(tmp_path / "out.pcap"))

    assert code in (ExitCode.OK, ExitCode.ERROR)
    assert (err.count("\n"), "Traceback" in out + err) == (code, False)
    assert name != "linktype" or code == ExitCode.OK


@pytest.mark.parametrize("name", [b"1\0.pcap", b"x" * 5000, b"\xff", b"x/" * 2500])
@pytest.mark.parametrize("is_moved", [False, True])
def test_a_name_that_no_file_has_is_a_missing_file(
    run: Run, store: Store, captures: list[Path], tmp_path: Path, name: bytes, *, is_moved: bool
) -> None:
    """Another program wrote it into the journal, or as the place to which a capture was moved."""
    fed_as = os.fsencode(tmp_path / "gone.pcap") if is_moved else os.fsencode(tmp_path) + b"/" + name
    moved = {"how": "moved", "to": os.fsdecode(name), "size_bytes": 1, "mtime_ns": 1}
    store.redis.hset(store.keys.reclaimed, fed_as, json.dumps(moved))
    sizes = {"size_bytes": 1, "mtime_ns": 1}
    fed(store, captures[0], first_packet=1, stream="other", name=fed_as, **sizes)

    code, out, err = run(eve(tmp_path, pcap_cnt=1), "--stream", "other", "--json")

    assert (code, err, json.loads(out)["files"][0]["state"]) == (0, "", "missing")
