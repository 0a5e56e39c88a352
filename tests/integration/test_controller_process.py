"""The controller as a process: signals, Redis away, the command line, `--check`."""

import os
import re
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support import forkserver
from support.forkserver import PIPE, Finished, Process, clean_environment, run
from support.redis_server import redis_at
from support.rows import each_row
from support.waiting import scaled, wait_until

from pcapdj.runtime.errors import ExitCode
from pcapdj.store.client import Store
from pcapdj.store.operate import change_control

COMMAND = ["pcapdj.controller", "--min-free-inodes", "0", "--resume-after", "0"]
Start = Callable[..., Process]


def at(store: Store) -> list[str]:
    """Return the options that lead to the test's lane."""
    return ["--redis-url", store.url, "--lane", store.keys.lane]


def check(*arguments: str, **variables: str) -> Finished:
    """Run `--check --as-started` and return how it ended."""
    return run(*COMMAND, "--check", "--as-started", *arguments, env=clean_environment(**variables))


def more_than_free(tmp_path: Path) -> str:
    """Return a limit well above the free space."""
    return str(shutil.disk_usage(tmp_path).free * 2)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a starter of controllers that watch the test's folder; what still runs afterwards is killed."""
    with ExitStack() as stack:

        def started(*arguments: str) -> Process:
            command = [*COMMAND, "--watch", str(tmp_path), "--min-free", "1", *arguments]
            process = stack.enter_context(forkserver.start(*command, stderr=PIPE, text=True))
            stack.callback(process.kill)
            return process

        yield started


def stderr_until(process: Process, word: str) -> str:
    """Return stderr up to the line with this word."""
    lines = []
    for line in process.stderr:
        lines.append(line)
        if word in line:
            break
    return "".join(lines)


def ended(process: Process) -> int:
    """Ask the process to stop and return its exit code."""
    process.terminate()
    return process.wait()


def is_granted(store: Store, name: bytes) -> bool:
    """Report whether AUTH holds the name."""
    return store.redis.get(store.keys.auth) == name


def grant_latency_s(store: Store, name: bytes) -> float:
    """Request a file; return how long its authorization took."""
    store.redis.delete(store.keys.auth)
    begun_s = time.monotonic()
    store.redis.rpush(store.keys.next, name)
    store.notify("asked")
    wait_until(lambda: is_granted(store, name), "the grant")
    return time.monotonic() - begun_s


def test_it_grants_again_after_stray_signals_and_a_key_of_another_type(store: Store, start: Start) -> None:
    """Stray signals change nothing, a key of another type stops grants, SIGTERM ends it with 0."""
    process = start(*at(store))
    assert "hold_below_bytes=1" in stderr_until(process, "gate_open")

    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        process.send_signal(number)
    store.redis.set(store.keys.next, "no list")
    store.notify("something changed")
    assert "WRONGTYPE" in stderr_until(process, "key_unusable")
    store.redis.delete(store.keys.next)
    store.redis.rpush(store.keys.next, "/1")
    wait_until(lambda: is_granted(store, b"/1"), "the grant")

    assert ended(process) == 0


def test_a_notified_request_is_authorized_at_once(store: Store, start: Start) -> None:
    """A round a second would halve the pace of small files; each request comes right after a round."""
    process = start(*at(store))
    stderr_until(process, "gate_open")

    _, *latencies_s = [grant_latency_s(store, name) for name in (b"/1", b"/2", b"/3", b"/4")]

    assert min(latencies_s) < scaled(0.5)
    assert ended(process) == 0


def test_limits_that_can_never_be_met_are_logged_at_the_start(
    store: Store, start: Start, tmp_path: Path
) -> None:
    """With the numbers; the controller goes on, since limits can be changed while it runs."""
    total_bytes = shutil.disk_usage(tmp_path).total
    process = start(*at(store), "--min-free", str(total_bytes))

    warning = stderr_until(process, "limit_out_of_reach").splitlines()[-1]

    numbers = f"open_from_bytes={total_bytes} total_bytes={total_bytes}"
    assert f"path={tmp_path} {numbers}: These limits require more than there is" in warning
    assert "never, unless the limits are changed" in stderr_until(process, "gate_")
    assert ended(process) == 0


def test_limits_that_can_be_met_give_no_warning(store: Store, start: Start) -> None:
    """The first lines are the limits and the gate."""
    assert "limit_out_of_reach" not in stderr_until(start(*at(store)), "gate_open")


def test_the_limits_are_logged_in_bytes_at_the_start(store: Store, start: Start, tmp_path: Path) -> None:
    """Every field of the line; what is free changes all the time."""
    process = start(*at(store), "--min-free", "2000", "--resume-after", "5s")

    line = stderr_until(process, " limits ")

    assert re.search(
        rf" INFO    controller limits path={tmp_path} free_bytes=\d+ hold_below_bytes=2000"
        r" open_from_bytes=3000 suspend_below_bytes=1000 resume_after_s=5$",
        line.rstrip(),
    )


def test_the_state_is_logged_when_it_changes_and_keeps_its_time(store: Store, start: Start) -> None:
    """Later rounds publish a heartbeat, and neither log the same state nor move its beginning."""
    process = start(*at(store))
    stderr_until(process, "gate_open")
    before = store.redis.hmget(store.keys.gate, "since_s", "heartbeat_s")
    wait_until(
        lambda: store.redis.hget(store.keys.gate, "heartbeat_s") != before[1], "the next heartbeat", 20
    )

    assert store.redis.hget(store.keys.gate, "since_s") == before[0]

    change_control(store, {"gate": "hold"})

    assert "gate_open" not in stderr_until(process, "gate_hold")


def test_the_data_folder_of_a_services_own_redis_is_watched(store: Store, tmp_path: Path) -> None:
    """Where there is a supervisord.conf, unless the Redis is another one."""
    options = ["--min-free", "1", "--logdir", str(tmp_path)]
    variables = clean_environment()
    without_layout = run(*COMMAND, "--check", "--as-started", *options, env=variables, cwd=tmp_path)
    (tmp_path / "supervisord.conf").touch()
    with_layout = run(*COMMAND, "--check", "--as-started", *options, env=variables, cwd=tmp_path)
    with_other_redis = run(
        *COMMAND, "--check", "--as-started", *options, *at(store), env=variables, cwd=tmp_path
    )

    shown = ["'var/redis'" in each.stdout for each in (without_layout, with_layout, with_other_redis)]
    assert shown == [False, True, False]


def test_changed_limits_and_the_gate_are_logged(store: Store, start: Start) -> None:
    """What is in force, what is refused and why, and the transition with its numbers."""
    process = start(*at(store))
    stderr_until(process, "gate_open")

    change_control(store, {"min-free": "98%"})
    refused = stderr_until(process, "live_value_refused")
    change_control(store, {"min-free": "1"})
    in_force = stderr_until(process, "live_values_in_force")
    change_control(store, {"gate": "hold"})
    held = stderr_until(process, "gate_hold").splitlines()[-1]
    change_control(store, {}, ["min-free", "gate"])
    removed = stderr_until(process, "live_values_in_force")

    assert "live_value_refused: min-free: '98%' would keep 98 % of the disk *free*, not used." in refused
    assert "live_values_in_force: min-free=1\n" in in_force
    assert held.endswith(
        " WARNING controller gate_hold: An operator holds it: no new file starts until 'pcapdj gate auto'."
    )
    assert "live_values_in_force: None: the options are in force." in removed


def test_a_stop_leaves_a_suspension_in_place(store: Store, start: Start, tmp_path: Path) -> None:
    """A disk that no controller measures must not be filled; the next one ends it when there is room."""
    limits = {"min-free": more_than_free(tmp_path) + "0", "suspend-free": more_than_free(tmp_path)}
    for name, text in limits.items():
        store.redis.hset(store.keys.control, name, text)
    process = start(*at(store))
    wait_until(lambda: store.redis.sismember(store.keys.suspend, "gate"), "the suspension")

    assert ended(process) == 0
    assert store.redis.smembers(store.keys.suspend) == {b"gate"}

    store.redis.delete(store.keys.control)
    start(*at(store))
    wait_until(lambda: not store.redis.exists(store.keys.suspend), "the suspension to be lifted")


def test_it_waits_for_redis_and_stops_meanwhile(start: Start, short_path: Path) -> None:
    """No server listens there: it logs that once and ends on SIGTERM."""
    process = start("--redis-url", f"unix://{short_path}/none.sock")
    stderr_until(process, "waiting_for_redis")

    assert ended(process) == 0


def test_it_stops_while_redis_hangs(start: Start, short_path: Path) -> None:
    """A server that accepts the connection and never answers does not keep it from ending."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(short_path / "s"))
        server.listen()
        process = start("--redis-url", f"unix://{short_path}/s")
        stderr_until(process, "limits")

        assert ended(process) == 0


def test_it_goes_on_when_redis_is_back(start: Start, short_path: Path) -> None:
    """It outlives the server, and grants on the new one."""
    process = start("--redis-url", f"unix://{short_path}/s")
    for name in ("/1", "/2"):
        stderr_until(process, "waiting_for_redis")
        with redis_at(short_path / "s") as server:
            server.client.rpush("PCAPDJ_NEXT", name)
            assert f"name={name}" in stderr_until(process, "file_authorized")

    assert ended(process) == 0


def test_check_asks_the_running_controller(store: Store, start: Start, tmp_path: Path) -> None:
    """Whatever options the caller has: 0 open, 3 hold, with the disks as it has measured them."""
    process = start(*at(store))
    stderr_until(process, "gate_open")
    mine = [*COMMAND, "--check", *at(store), "--min-free", more_than_free(tmp_path), "--watch", "/nowhere"]

    is_open = run(*mine)
    change_control(store, {"gate": "hold", "min-free": "98%"})
    stderr_until(process, "gate_hold")
    holds = run(*mine)

    assert (is_open.returncode, holds.returncode) == (0, 3)
    assert is_open.stdout.startswith(f"{tmp_path}  open, ")
    assert "\ngate: open: " in is_open.stdout
    assert "gate: hold: An operator holds it: no new file starts until " in holds.stdout
    assert "\nrefused: min-free: '98%'" in holds.stdout
    assert ended(process) == 0


def test_check_on_a_terminal_breaks_its_lines_between_words(store: Store) -> None:
    """The reason of a gate that holds is long; so is a limit that is refused."""
    sentence = " ".join(["sentence"] * 12)
    fields = {"state": "hold", "heartbeat_s": time.time(), "reason": sentence, "refused": sentence}
    store.redis.hset(store.keys.gate, mapping=dict[Any, Any](fields))
    master, slave = os.openpty()
    done = run(*COMMAND, "--check", *at(store), env=clean_environment(COLUMNS="60"), stdout=slave)
    os.close(slave)
    printed = os.read(master, 8192).decode().splitlines()
    os.close(master)

    assert done.returncode == ExitCode.HOLD
    assert " ".join(line.strip() for line in printed) == f"gate: hold: {sentence} refused: {sentence}"
    assert max(map(len, printed)) <= 60


@pytest.mark.parametrize("heartbeat", ["", "1", "soon"])
def test_check_reports_that_no_controller_runs(store: Store, heartbeat: str) -> None:
    """Exit 69, as without Redis: what is not measured is not open."""
    if heartbeat:
        store.redis.hset(store.keys.gate, mapping={"state": "open", "heartbeat_s": heartbeat})

    done = run(*COMMAND, "--check", *at(store))
    without_redis = run(*COMMAND, "--check", "--redis-url", "unix:///nowhere/redis.sock")

    assert (done.returncode, without_redis.returncode) == (69, 69)
    assert done.stderr == (
        "pcapdj control: No controller is running. 'pcapdj control --check --as-started' shows what one with"
        " these options would decide.\n"
    )
    assert done.stdout == without_redis.stdout == ""


def test_check_has_the_decision_in_its_exit_code(store: Store, tmp_path: Path) -> None:
    """0 open, 3 hold; the numbers are on stdout, in bytes."""
    is_open = check(*at(store), "--watch", str(tmp_path), "--min-free", "1")
    holds = check(*at(store), "--watch", str(tmp_path), "--min-free", more_than_free(tmp_path))
    gone = check(*at(store), "--watch", str(tmp_path / "gone"))

    assert (is_open.returncode, holds.returncode, gone.returncode) == (0, 3, 3)
    assert "gate: open" in is_open.stdout
    assert "bytes" in holds.stdout
    assert "is not there" in gone.stdout


def test_check_applies_live_limits_and_the_override(store: Store, tmp_path: Path) -> None:
    """The operator's settings count as they do for the running controller; a refused value is shown."""
    options = [*at(store), "--watch", str(tmp_path), "--min-free", "1"]
    store.redis.hset(store.keys.control, mapping={"gate": "hold", "min-free": "98%"})

    held = check(*options)

    assert held.returncode == 3
    assert "refused: min-free" in held.stdout
    assert not store.redis.exists(store.keys.gate)


def test_force_allows_a_watched_path_to_keep_most_of_its_disk_free(store: Store, tmp_path: Path) -> None:
    """60 % free is mostly a mistake for 60 % used; this disk decides what that means."""
    path = ["--watch", f"{tmp_path}=60%"]

    refused, forced = check(*at(store), *path), check(*at(store), *path, "--force")

    assert refused.returncode == 2
    assert forced.returncode in (0, 3)
    assert "gate: " in forced.stdout


def test_check_measures_without_redis(tmp_path: Path, short_path: Path) -> None:
    """It prints that live limits are left out, and decides on the options."""
    done = check("--redis-url", f"unix://{short_path}/none.sock", "--watch", str(tmp_path), "--min-free", "1")

    assert done.returncode == 0
    first, *_, last = done.stdout.splitlines()
    assert "does not answer" in first
    assert first.endswith(" Live limits and the last published gate are left out.")
    assert last.startswith(f"gate: open: {str(tmp_path)!r} has ")


def test_check_takes_the_environment(store: Store, tmp_path: Path) -> None:
    """A list has one path per line; a flag beats the variable."""
    variables = {
        "PCAPDJ_WATCH": f"{tmp_path}\n{tmp_path.parent}\n",
        "PCAPDJ_MIN_FREE": more_than_free(tmp_path),
        "PCAPDJ_REDIS_URL": store.url,
        "PCAPDJ_LANE": store.keys.lane,
    }

    assert check(**variables).returncode == 3
    assert check("--min-free", "1", **variables).returncode == 0


def test_the_log_folder_is_watched_by_default(store: Store, tmp_path: Path) -> None:
    """It need not be there yet."""
    done = check(*at(store), "--min-free", "1", PCAPDJ_LOGDIR=str(tmp_path / "out"))

    assert done.returncode == 0
    assert str(tmp_path / "out") in done.stdout


@each_row(
    ("arguments", "named"),
    [
        (["--min-free", "98%"], "free"),
        (["--min-free", "some"], "'some'"),
        (["--min-free", "10%", "--resume-free", "5%"], "resume-free"),
        (["--watch", "/out=60%"], "'/out'"),
        (["--auth-type", "list"], "list"),
        (["--as-started"], "--check"),
        (["--reclaim-everything"], "--reclaim-everything"),
    ],
)
def test_invalid_options_end_with_2_and_one_sentence(arguments: list[str], named: str) -> None:
    """Named, with what to do, and no traceback."""
    done = run(*COMMAND, *arguments)

    assert done.returncode == 2
    assert named in done.stderr
    assert len(done.stderr.splitlines()) == 1
