"""The command of --between as a real process: what it gets, how it is ended, and what the controller does."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.launcher_rig import is_running
from support.logs import logged
from support.rows import each_row
from support.waiting import scaled, wait_until

from pcapdj.controller import Controller
from pcapdj.disk.between_process import MOST_LINES, BetweenCommand, BetweenProcess
from pcapdj.disk.between_runner import BetweenRunner, end_commands_of_killed
from pcapdj.disk.limits import Watch
from pcapdj.disk.live_limits import LiveLimits
from pcapdj.disk.meters import DiskMeter
from pcapdj.disk.monitor import DiskMonitor
from pcapdj.disk.options import between_command
from pcapdj.runtime.errors import ConfigError, PcapdjError
from pcapdj.runtime.leftover_processes import COMMAND_MARK, end_leftover_commands, mark_of_runner
from pcapdj.runtime.signals import Signals, handled
from pcapdj.store.client import Store
from pcapdj.store.grants import Grants

TINY = {"min-free": "1", "min-free-inodes": "off", "resume-after": "0"}
PAGE = Path(__file__).resolve().parents[2] / "docs" / "gate.md"


@contextmanager
def shell(script: str, timeout_s: float = 60.0, **environment: str) -> Iterator[BetweenProcess]:
    """Return a process that runs this script."""
    every_run = {"PATH": os.environ["PATH"], **environment}
    with closing(BetweenProcess(BetweenCommand(["/bin/sh", "-c", script], timeout_s, every_run))) as process:
        yield process


Messages = list[dict[str, Any]]


def messages_of(process: BetweenProcess, **variables: str) -> Messages:
    """Run the command once; return all messages, the one about its end last."""
    process.start(variables)
    return read_until(process, lambda found: bool(found) and "exit" in found[-1])


def read_until(process: BetweenProcess, is_enough: Callable[[Messages], bool]) -> Messages:
    """Read messages until there are enough."""
    found: Messages = []

    def read() -> bool:
        found.extend(process.read())
        return is_enough(found)

    wait_until(read, "what the command prints")
    return found


def test_it_gets_its_variables_byte_for_byte_and_its_output_comes_line_by_line() -> None:
    """A name with a line break and a byte that is no UTF-8; an exit code of 0 is no text."""
    with shell('printf %s "$PCAPDJ_FILE" | od -An -tx1; echo "$KEPT"; echo last >&2', KEPT="yes") as process:
        *lines, end = messages_of(process, PCAPDJ_FILE="/in/\udcff\n")

    assert [each["line"] for each in lines] == ["2f 69 6e 2f ff 0a", "yes", "last"]
    assert (end["exit"], end["left"], end["last_line"]) == ("", [], "last")


@pytest.mark.parametrize(
    ("script", "ended"), [("exit 23", "exited 23"), ("kill -9 $$", "was killed by signal 9")]
)
def test_how_it_ended_is_reported_and_it_can_run_again(script: str, ended: str) -> None:
    """The process that runs it lives on."""
    with shell(script) as process:
        assert [messages_of(process)[-1]["exit"] for _ in range(2)] == [ended, ended]


def test_a_program_that_is_gone_meanwhile_is_reported(tmp_path: Path) -> None:
    """It was there when the controller started."""
    with closing(BetweenProcess(BetweenCommand([str(tmp_path / "gone")], 60.0, {}))) as process:
        assert messages_of(process)[-1]["exit"] == "does not start: No such file or directory"


def test_a_flood_of_output_is_cut_and_its_last_line_kept() -> None:
    """Lines beyond 200 are counted; a line of a megabyte is cut, and one without an end counts."""
    with shell("seq 100000; head -c 1000000 /dev/zero | tr '\\0' x; echo; printf end") as process:
        *lines, end = messages_of(process)

    assert [each["line"] for each in lines[:3]] == ["1", "2", "3"]
    assert len(lines) <= MOST_LINES
    assert end["last_line"] == "end"
    assert end["lines"] == 100_002


# Starts a process in its group, and one in a session of its own that ignores SIGTERM; prints their pids.
LEAVING = "sleep 60 & echo $!; setsid sh -c 'trap \"\" TERM; echo $$; sleep 60; sleep 60' & echo started;"


def pids_in(messages: Messages) -> list[int]:
    """Return the pids that were printed."""
    return [int(each["line"]) for each in messages if each.get("line", "").isdigit()]


def test_after_the_time_out_it_and_all_that_it_started_are_killed() -> None:
    """Also what has a session of its own."""
    with shell(f"{LEAVING} wait", timeout_s=0.5) as process:
        messages = messages_of(process)

        assert messages[-1]["exit"] == "ran longer than 0.5 s"
        assert len(pids_in(messages)) == 2
        assert not any(map(is_running, pids_in(messages)))


def test_what_it_leaves_running_is_killed_and_reported() -> None:
    """It ended in order, so its results count."""
    with shell(f"{LEAVING} sleep 0.2") as process:
        messages = messages_of(process)

    assert messages[-1]["exit"] == ""
    assert re.fullmatch(r"(sh|sleep) \(pid \d+\)", messages[-1]["left"][0])
    assert not any(map(is_running, pids_in(messages)))


def test_a_stop_of_the_controller_kills_it_within_a_second() -> None:
    """It ignores SIGTERM; nothing of it is left, the process that runs it neither."""
    with shell(f"trap '' TERM; {LEAVING} while :; do sleep 1; done") as process:
        process.start({})
        messages = read_until(process, lambda found: len(pids_in(found)) == 2)
        began_s = time.monotonic()

    assert time.monotonic() - began_s < scaled(1.0)
    wait_until(lambda: not any(map(is_running, pids_in(messages))), "all of it to be gone")


def test_what_a_killed_runner_leaves_is_killed_by_the_next_controller(
    capsys: pytest.CaptureFixture[str], signals: Signals
) -> None:
    """That of a runner that lives, which is another controller's, goes on."""
    with shell(f"{LEAVING} sleep 600") as killed, shell(f"{LEAVING} sleep 600") as other:
        pids = []
        for process in (killed, other):
            process.start({})
            pids.append(pids_in(read_until(process, lambda found: len(pids_in(found)) == 2)))
        os.kill(killed.pid, signal.SIGKILL)
        os.waitid(os.P_PID, killed.pid, os.WEXITED | os.WNOWAIT)
        assert any(map(is_running, pids[0]))

        end_commands_of_killed(signals)

        wait_until(lambda: not any(map(is_running, pids[0])), "its processes to be gone")
        assert all(map(is_running, pids[1]))
        logged(capsys, "between_left_processes")


@each_row("mark", ["", "x", "1", "0:0:", "1:1:elsewhere", f"{'9' * 5000}:1:{{}}", "{own}", "-1:1:{}"])
def test_no_other_mark_ends_a_process(mark: str) -> None:
    """One of another PID namespace, or that nothing of ours has written."""
    own = mark_of_runner()[COMMAND_MARK]
    text = mark.replace("{own}", own).replace("{}", own.split(":", 2)[2])
    with subprocess.Popen(["sleep", "600"], env={COMMAND_MARK: text, "PATH": os.environ["PATH"]}) as process:
        assert not [each for each in end_leftover_commands() if each.pid == process.pid]
        assert process.poll() is None
        process.kill()


@each_row(
    ("text", "timeout", "words"),
    [
        ("no-such-program -x", "5m", "between: the program 'no-such-program' is not there"),
        ("/etc/passwd", "5m", "between: the program '/etc/passwd' may not be executed by this user"),
        ("sh -c 'unclosed", "5m", "is no command: No closing quotation"),
        ("true", "0", "between-timeout: 0 would kill the command at once"),
        ("true", "soon", "between-timeout: 'soon' is not a time"),
    ],
)
def test_a_command_that_cannot_run_is_refused_at_the_start(text: str, timeout: str, words: str) -> None:
    """Before the controller does anything."""
    with pytest.raises(ConfigError, match=re.escape(words)):
        between_command(text, timeout)


def test_the_environment_has_no_variable_of_ours_and_no_login(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run gets besides comes with each run."""
    monkeypatch.setenv("PCAPDJ_REDIS_URL", "redis://:secret@host")
    monkeypatch.setenv("OWN_SETTING", "kept")

    command = between_command("true -x 'a b'", "5m")

    assert command is not None
    assert command.argv[1:] == ["-x", "a b"]
    assert command.environment["OWN_SETTING"] == "kept"
    assert not any("secret" in each for each in command.environment.values())
    assert between_command("  ", "5m") is None


@contextmanager
def controller_with(store: Store, folder: Path, script: str, **limits: str) -> Iterator[Controller]:
    """Return a controller that watches a folder and runs this script before each file."""
    with shell(script, OUT=str(folder)) as process, handled() as signals:
        monitor = DiskMonitor(DiskMeter([Watch(str(folder))]), LiveLimits({**TINY, **limits}))
        yield Controller(Grants(store), monitor, signals, BetweenRunner(process))


def gate(store: Store) -> Mapping[str, str]:
    """Return the fields of PCAPDJ_GATE."""
    fields: Any = store.redis.hgetall(store.keys.gate)
    return {name.decode(): value.decode() for name, value in fields.items()}


def test_a_file_is_authorized_after_the_command_ended_in_order(store: Store, tmp_path: Path) -> None:
    """Once for each file, in their order."""
    store.redis.rpush(store.keys.next, "/1", "/2")
    with controller_with(store, tmp_path, 'echo "$PCAPDJ_FILE" >>"$OUT/ran"') as controller:
        assert controller.step() == 0
        wait_until(lambda: controller.step() == 1, "the first file")
        assert store.redis.get(store.keys.auth) == b"/1"
        store.redis.delete(store.keys.auth)
        wait_until(lambda: controller.step() == 1, "the second file")

    assert store.redis.get(store.keys.auth) == b"/2"
    assert (tmp_path / "ran").read_text() == "/1\n/2\n"


@pytest.mark.parametrize(
    ("name", "stream"),
    [(b"/a\0b", b""), (b"/1", b"x\0y"), (b"/1", b"s" * 1_000_000), (b"/\xed\xa0\x80", b"\xff")],
)
def test_no_name_or_stream_in_redis_ends_the_controller(
    store: Store, tmp_path: Path, name: bytes, stream: bytes
) -> None:
    """What no variable can have is left out, and the command runs."""
    store.redis.rpush(store.keys.next, name)
    store.redis.hset(store.keys.consumer, "stream", stream)
    with controller_with(store, tmp_path, 'echo "$PCAPDJ_FILE" >"$OUT/ran"') as controller:
        wait_until(lambda: controller.step() == 1, "the file")

    assert (tmp_path / "ran").read_bytes() == name.replace(b"\0", b"") + b"\n"


def test_of_many_processes_that_a_run_leaves_some_are_named() -> None:
    """The message about thousands would be longer than a packet takes, and end the process that runs it."""
    script = "for each in $(seq 30); do setsid sleep 600 & done; sleep 0.2"
    with shell(script) as process:
        left = messages_of(process)[-1]["left"]

    assert left[-1] == f"{30 - 20} more"
    assert all(each.startswith("sleep (pid ") for each in left[:-1])
    assert len(left) == 21


def test_a_run_that_cannot_be_started_is_reported() -> None:
    """Whatever its variables are: the process that runs the command lives on."""
    with shell("exit 0") as process:
        assert messages_of(process, ODD="a\0b")[-1]["exit"].startswith("does not start: embedded null")
        assert messages_of(process)[-1]["exit"] == ""


def test_while_it_fails_the_gate_holds_with_its_last_line(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Then it succeeds, and the gate opens; both transitions are in the log."""
    store.redis.rpush(store.keys.next, "/1")
    script = 'test -e "$OUT/ready" || { echo refused; exit 7; }'
    with controller_with(store, tmp_path, script) as controller:
        wait_until(lambda: controller.step() or gate(store)["cause"] == "between", "the gate to hold")
        assert gate(store)["state"] == "hold"
        assert gate(store)["reason"].startswith("The command of --between exited 7 (refused) before '1'.")
        assert not store.redis.exists(store.keys.auth)

        (tmp_path / "ready").touch()
        wait_until(lambda: controller.step() == 1, "the file")

    log = logged(capsys, "gate_open", 2)
    assert "INFO    controller between_output: refused" in log
    assert re.search(r"WARNING controller between_failed name=/1 seconds=\S+: The command of --between", log)
    assert re.search(r"WARNING controller gate_hold: The command of --between exited 7", log)


def test_an_operator_who_opens_the_gate_authorizes_without_it(store: Store, tmp_path: Path) -> None:
    """And one who holds it keeps it from starting."""
    store.redis.rpush(store.keys.next, "/1")
    store.redis.hset(store.keys.control, "gate", "hold")
    with controller_with(store, tmp_path, 'touch "$OUT/ran"; exit 1') as controller:
        assert controller.step() == 0
        assert controller.step() == 0
        store.redis.hset(store.keys.control, "gate", "open")
        assert controller.step() == 1

    assert not (tmp_path / "ran").exists()


def test_the_disks_suspend_while_it_runs_and_a_stop_ends_it(store: Store, tmp_path: Path) -> None:
    """A round does not wait for it."""
    store.redis.rpush(store.keys.next, "/1")
    with controller_with(store, tmp_path, "sleep 60") as controller:
        controller.step()
        store.redis.hset(store.keys.control, mapping={"min-free": "900P", "suspend-free": "800P"})
        wait_until(lambda: controller.step() or gate(store)["state"] == "suspended", "the suspension")
        assert '"state": "running"' in gate(store)["between"]


def test_a_command_makes_room_while_the_disks_hold(store: Store, tmp_path: Path) -> None:
    """It runs although the gate is closed, with the state and the numbers of the disk."""
    store.redis.rpush(store.keys.next, "/1")
    script = 'echo "$PCAPDJ_GATE_STATE $PCAPDJ_DISKS" >"$OUT/seen"'
    with controller_with(store, tmp_path, script, **{"min-free": "900P"}) as controller:
        wait_until(lambda: controller.step() or (tmp_path / "seen").exists(), "the run")

    state, free, minimum, total, path = (tmp_path / "seen").read_text().split()
    assert state in {"hold", "suspended"}
    assert int(free) < int(total) < int(minimum)
    assert path == str(tmp_path)


def test_a_controller_whose_runner_is_gone_ends(store: Store, tmp_path: Path) -> None:
    """Supervisord starts another one; the alternative would be a gate that never opens."""
    with handled() as signals:
        process = BetweenProcess(BetweenCommand(["/bin/true"], 60.0, {}))
        monitor = DiskMonitor(DiskMeter([Watch(str(tmp_path))]), LiveLimits(TINY))
        controller = Controller(Grants(store), monitor, signals, BetweenRunner(process))
        os.kill(process.pid, signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

        with pytest.raises(PcapdjError, match="The process that runs the command of --between is gone"):
            controller.step()
        process.close()


def test_the_end_of_either_process_is_no_error_of_the_other(capfd: pytest.CaptureFixture[str]) -> None:
    """Also while it had not read a message: the kernel reports that as a reset."""
    with shell("echo line; sleep 0.05") as process:
        process.start({})
        wait_until(lambda: process.has_message, "a message")
    assert capfd.readouterr().err == ""

    with shell("true") as process:
        os.kill(process.pid, signal.SIGSTOP)
        process.start({})
        os.kill(process.pid, signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(PcapdjError, match="is gone"):
            process.read()


def examples() -> list[str]:
    """Return the scripts of the page."""
    return re.findall(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the log folder of a service with two ended streams and an open one, in the current folder."""
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    for stream in ("20260101T000000Z-aaaaaaaa", "20260102T000000Z-bbbbbbbb", "20260103T000000Z-0pen0000"):
        stored = out / stream / "filestore" / "ab"
        stored.mkdir(parents=True)
        (stored / "ab12").write_text("the same file")
        (stored / f"ab12.{stream[-8:]}.json").write_text("{}")
    (out / "latest").symlink_to("20260103T000000Z-0pen0000")
    return out


def run_example(script: str) -> None:
    """Run a script as the controller does, in the service's folder."""
    environment = {"PATH": os.environ["PATH"], "PCAPDJ_STREAM": "0pen0000"}
    subprocess.run(["/bin/sh", "-ec", script], check=True, env=environment)


def test_the_example_that_links_extracted_files_stores_each_of_them_once(results: Path) -> None:
    """It may run again, and before there are any."""
    run_example(examples()[0])
    run_example(examples()[0])

    stored = list(results.glob("2*-*/filestore/ab/ab12"))
    assert len(stored) == 3
    assert len({each.stat().st_ino for each in (*stored, results / "kept" / "ab12")}) == 1
    assert not list((results / "kept").glob("*.json"))
    run_example(f"rm -r out; mkdir out; {examples()[0]}")


def test_the_example_that_moves_results_leaves_the_open_stream(results: Path, tmp_path: Path) -> None:
    """And `latest`; with nothing to move it ends in order."""
    archive = tmp_path / "archive"
    archive.mkdir()
    script = examples()[1].replace("/archive", str(archive))

    run_example(script)
    run_example(script)

    assert {each.name for each in results.iterdir()} == {"20260103T000000Z-0pen0000", "latest"}
    assert len(list(archive.iterdir())) == 2


def test_the_example_that_removes_old_results_leaves_new_ones_and_the_open_stream(results: Path) -> None:
    """Their age is that of the folder's last change."""
    for old in ("20260101T000000Z-aaaaaaaa", "20260103T000000Z-0pen0000"):
        os.utime(results / old, (1_600_000_000, 1_600_000_000))

    run_example(examples()[2])
    run_example(examples()[2])

    assert {each.name for each in results.glob("2*")} == {
        "20260102T000000Z-bbbbbbbb",
        "20260103T000000Z-0pen0000",
    }
