"""The launcher's process: when it refuses to start, what it reports, what its analyzer inherits."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import forkserver
from support.launcher_rig import (
    COPY,
    ActingWaits,
    Rig,
    connected,
    feed,
    feed_stream,
    is_listening,
    is_running,
    rig_in,
    stop,
)
from support.waiting import wait_until

from pcapdj.runtime.errors import ExitCode
from pcapdj.runtime.signals import Signals
from pcapdj.store.client import Store

REPORT = """
import os, sys, signal, resource, json
json.dump({
    "argv": sys.argv[1:], "env": sorted(os.environ), "cwd": os.getcwd(), "umask": os.umask(0),
    "fds": [os.path.realpath(path) for path in (f"/proc/self/fd/{n}" for n in range(3, 1024))
            if os.path.exists(path)],
    "stdin": os.readlink("/proc/self/fd/0"), "core": resource.getrlimit(resource.RLIMIT_CORE),
    "dumped": open("/proc/self/coredump_filter").read(),
    "group": os.getpgid(0) == os.getpid(), "parents_group": os.getpgid(os.getppid()) == os.getpgid(0),
    "status": open("/proc/self/status").read(),
}, open("report", "w"))
print("out", flush=True); print("err", file=sys.stderr)
open(sys.argv[1], "rb").read()
"""


@pytest.fixture
def rig(short_path: Path) -> Iterator[Rig]:
    """Return a launcher's folder and processes."""
    with rig_in(short_path) as rig:
        yield rig


def consumer_of(store: Store) -> dict[str, str]:
    """Return PCAPDJ_CONSUMER."""
    found = store.redis.hgetall(store.keys.consumer)
    return {os.fsdecode(name): os.fsdecode(value) for name, value in found.items()}


def redis_of(store: Store) -> dict[str, str]:
    """Return the environment that sends a launcher to the test's lane."""
    return {"PCAPDJ_REDIS_URL": store.url, "PCAPDJ_LANE": store.keys.lane}


def test_the_analyzer_inherits_nothing_of_ours(rig: Rig, signals: Signals) -> None:
    """No descriptor, password, ignored signal or core dump; it has its own group and folder."""
    rig.start_python(
        REPORT,
        environment={
            "PCAPDJ_REDIS_PASSWORD_FILE": str(password_file(rig)),
            "REDISCLI_AUTH": "canary",
            "SUPERVISOR_SERVER_URL": "unix:///s",
            "KEPT": "yes",
        },
    )
    os.close(connected(rig, signals).open().write_end)

    report = json.loads((rig.latest() / "report").read_text())

    assert report["argv"] == [str(rig.pipe), str(rig.latest())]
    assert "KEPT" in report["env"]
    private = [name for name in report["env"] if name.startswith(("PCAPDJ_", "REDIS", "SUPERVISOR_"))]
    assert private == ["PCAPDJ_ANALYZER_OF"]
    assert set(report["fds"]) <= {str(rig.latest() / "report")}
    assert report["stdin"] == os.devnull
    assert report["cwd"] == str(rig.latest())
    assert report["core"] == [1, 1]  # 0 does not keep the program of kernel.core_pattern from getting one
    assert int(report["dumped"], 16) == 0
    assert report["umask"] == 0o027
    assert report["group"]
    assert not report["parents_group"]
    ignored = int(
        next(line for line in report["status"].splitlines() if line.startswith("SigIgn")).split()[1], 16
    )
    named = sum(1 << (number - 1) for number in signal.valid_signals())  # 32 and 33 are the C library's own
    python_ignores = 1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)
    assert ignored & named & ~python_ignores == 0
    assert (rig.latest() / "analyzer.log").read_text().split() == ["out", "err"]


def password_file(rig: Rig) -> Path:
    """Return a file with a password that must appear nowhere."""
    path = rig.folder / "password"
    path.write_text("canary-of-redis\n")
    return path


def test_signals_that_supervisord_conf_ignores_reach_the_analyzer(rig: Rig, signals: Signals) -> None:
    """A role may start with USR1 and USR2 ignored; its analyzer must not."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGUSR1, signal.SIGUSR2)}
    try:
        process = rig.start(sys.executable, "-c", REPORT, "{pipe}", "{logdir}", is_real=True)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    os.close(connected(rig, signals).open().write_end)
    process.send_signal(signal.SIGUSR1)  # the dispatcher's signal: the launcher does nothing

    status = Path(f"/proc/{rig.analyzer_pid()}/status").read_text()

    ignored = int(next(line for line in status.splitlines() if line.startswith("SigIgn")).split()[1], 16)
    assert not ignored & (1 << (signal.SIGUSR1 - 1) | 1 << (signal.SIGUSR2 - 1))
    assert process.poll() is None


def test_no_part_of_a_hostile_path_is_executed(rig: Rig, signals: Signals) -> None:
    """A pipe's path is one argument, whatever characters it has."""
    rig.pipe = rig.socket.parent / "; touch PWNED $(touch PWNED) `touch PWNED`"
    rig.start_python(REPORT)
    os.close(connected(rig, signals).open().write_end)

    assert str(rig.pipe) in (rig.latest() / "report").read_text()
    assert not list(rig.folder.rglob("PWNED"))


def test_a_second_launcher_names_the_first(rig: Rig) -> None:
    """One launcher per socket; the first goes on."""
    first = rig.start_python(COPY)

    second = rig.start_python(COPY)

    assert second.wait() == ExitCode.BUSY
    assert f"Another launcher (pid {first.pid})" in rig.logged()
    assert first.poll() is None


def test_a_pipe_has_one_launcher(rig: Rig) -> None:
    """Another socket does not make it another pipe."""
    first = rig.start_python(COPY)
    rig.socket = rig.folder / "other" / "launcher.sock"

    second = rig.start_python(COPY)

    assert second.wait() == ExitCode.BUSY
    assert f"Another launcher (pid {first.pid})" in rig.logged()


def test_a_capture_file_at_the_pipes_path_is_left_alone(rig: Rig) -> None:
    """Exit 73, and not a byte of the file has changed."""
    rig.socket.parent.mkdir(mode=0o700)
    rig.pipe.write_bytes(b"precious")

    process = rig.start_python(COPY)

    assert process.wait() == ExitCode.CANNOT_CREATE
    assert "is not a named pipe" in rig.logged()
    assert "Traceback" not in rig.logged()
    assert rig.pipe.read_bytes() == b"precious"


def test_a_socket_path_that_is_too_long_is_refused(rig: Rig) -> None:
    """Exit 73 with both numbers, before anything is made."""
    rig.socket = rig.folder / ("x" * 120) / "launcher.sock"

    process = rig.start_python(COPY)

    assert process.wait() == ExitCode.CANNOT_CREATE
    assert "107" in rig.logged()
    assert list(rig.folder.iterdir()) == [rig.stderr]


@pytest.mark.parametrize(
    "options",
    [("--preset", "snort"), ("--flush-timeout", "soon"), ("--preset", "tcpdump", "--", "cat", "{pipe}")],
)
def test_invalid_options_are_refused_in_one_sentence(rig: Rig, options: tuple[str, ...]) -> None:
    """Exit 2, no traceback."""
    process = rig.start(options=options)

    assert process.wait() == ExitCode.USAGE
    assert rig.logged().startswith("pcapdj consume: ")
    assert "Traceback" not in rig.logged()


def test_started_by_hand_it_prints_the_dispatchers_command(rig: Rig) -> None:
    """The second command line can be copied from the screen."""
    rig.start_python(COPY)
    command = f"pcapdj dispatch -b {rig.pipe} --launcher {rig.socket}"

    wait_until(lambda: command in rig.logged(), "the command to be printed")


def test_every_option_may_be_a_variable(rig: Rig, signals: Signals, tmp_path: Path) -> None:
    """As the service has them: socket, pipe, logs, analyzer, and all three times."""
    capture, started = tmp_path / "source", tmp_path / "started"
    capture.write_bytes(bytes(100))
    code = (
        f"import os, sys, time\nstarted = {str(started)!r}\n"
        "if not os.path.exists(started): open(started, 'w'); sys.exit(1)\n"
        "stream = open(sys.argv[1], 'rb', 0)\n"
        "while stream.read(1000): pass\n"
        "while True: time.sleep(0.02)"
    )
    command = [sys.executable, "-c", code, "{pipe}"]
    variables = {
        "PCAPDJ_LAUNCHER": str(rig.socket),
        "PCAPDJ_PIPE": str(rig.pipe),
        "PCAPDJ_LOGDIR": str(rig.logs),
        "PCAPDJ_CONSUMER_COMMAND": shlex.join(command),
        "PCAPDJ_FLUSH_TIMEOUT": "200ms",
        "PCAPDJ_RESTART_PAUSE": "70ms",
        "PCAPDJ_STALL_TIMEOUT": "1h",
        "PCAPDJ_REDIS_URL": f"unix://{rig.folder}/no-redis",
    }
    with rig.stderr.open("ab") as stderr:
        process = forkserver.start(
            "pcapdj.consumer_launcher", env=forkserver.clean_environment(**variables), stderr=stderr
        )
    rig.processes.append(process)
    wait_until(lambda: is_listening(rig.socket), "the launcher to listen")

    feed_stream(rig, signals, capture)

    assert "pause_s=0.07: " in rig.logged()
    assert "had not exited 0.2 s after the end of its input" in rig.logged()
    assert rig.pipe.is_fifo()
    assert (rig.latest() / "analyzer.log").exists()


def test_variables_that_the_command_line_overrides_are_named(rig: Rig) -> None:
    """They name another analyzer than the one that is started."""
    variables = {"PCAPDJ_PRESET": "zeek", "PCAPDJ_CONSUMER_COMMAND": "cat {pipe}"}
    sentence = "This variable is not used, because the command line names the analyzer."

    rig.start("tail", "{pipe}", environment=variables)
    rig.start(options=("--preset", "summary"), environment=variables)

    for name in variables:
        for command in ("'tail {pipe}'", "summary"):
            line = f"variable_overridden variable={name} command={command}: {sentence}"
            wait_until(lambda line=line: line in rig.logged(), line)  # type: ignore[misc]  # a default is no type


def test_under_supervisord_no_dispatcher_is_suggested(rig: Rig) -> None:
    """The service has its own."""
    process = rig.start_python(COPY, environment={"SUPERVISOR_ENABLED": "1"})

    assert stop(process) == 0

    assert "consumer started" in rig.logged()
    assert "pcapdj.dispatcher" not in rig.logged()


def test_a_missing_analyzer_is_reported_with_its_package(rig: Rig, store: Store) -> None:
    """The launcher runs on, failing, and reports what to install before a dispatcher connects."""
    process = rig.start(
        options=("--preset", "tcpdump"), environment=redis_of(store) | {"PATH": str(rig.folder)}
    )

    wait_until(lambda: consumer_of(store).get("state") == "failing", "the state")

    assert "'tcpdump' is not installed here. Install the package tcpdump" in consumer_of(store)["reason"]
    assert process.poll() is None


def test_an_analyzer_that_is_installed_later_is_found(rig: Rig, signals: Signals, store: Store) -> None:
    """A waiting dispatcher gets its stream without a restart of the launcher."""
    program = rig.folder / "late"
    rig.start(str(program), "{pipe}", environment=redis_of(store))
    wait_until(lambda: consumer_of(store).get("state") == "failing", "the state")

    def install() -> None:
        if program.exists():
            return
        beside = program.with_suffix(".new")  # complete before the launcher can find it
        beside.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(COPY)} "$1"\n')
        beside.chmod(0o755)
        beside.rename(program)

    opened = connected(rig, ActingWaits(signals, install)).open()

    os.close(opened.write_end)
    wait_until(lambda: consumer_of(store)["state"] == "reading", "the state")
    assert consumer_of(store)["reason"] == ""
    assert rig.logged().count("analyzer_unavailable") == 1


def test_the_status_follows_the_stream_from_start_to_end(
    rig: Rig, signals: Signals, store: Store, tmp_path: Path
) -> None:
    """PCAPDJ_CONSUMER has the open stream, and how the last one ended."""
    capture = tmp_path / "source"
    capture.write_bytes(bytes(100))
    process = rig.start_python(COPY, environment=redis_of(store))
    wait_until(lambda: consumer_of(store).get("state") == "idle", "the launcher's first status")
    assert consumer_of(store)["launcher_pid"] == str(process.pid)
    launcher = connected(rig, signals)

    opened = launcher.open()
    wait_until(lambda: consumer_of(store)["state"] == "reading", "the open stream")
    status = consumer_of(store)
    assert status["stream"] == opened.stream
    assert status["logdir"] == str(rig.latest())
    assert is_running(int(status["pid"]))

    feed(launcher, opened, capture)
    os.close(opened.write_end)
    launcher.end(opened.stream)
    wait_until(lambda: consumer_of(store)["last_stream"] == opened.stream, "the end")
    status = consumer_of(store)
    assert (status["state"], status["stream"], status["pid"]) == ("idle", "", "")
    assert (status["last_exit"], status["last_verdict"], status["reason"]) == ("exited 0", "ended", "")
    assert status["logdir"] == str(rig.latest())

    beat = float(status["heartbeat_s"])
    wait_until(lambda: float(consumer_of(store)["heartbeat_s"]) > beat, "the next heartbeat")


def test_a_crash_is_reported_with_its_reason(rig: Rig, signals: Signals, store: Store) -> None:
    """State failing, one restart, and the reason, with the analyzer's own line and its log."""
    rig.start_python(
        "import os, sys; os.close(os.open(sys.argv[1], os.O_RDONLY)); sys.exit('no room')",
        environment=redis_of(store),
    )
    opened = connected(rig, signals).open()

    wait_until(lambda: consumer_of(store)["state"] == "failing", "the crash")

    status = consumer_of(store)
    assert (status["last_stream"], status["last_verdict"]) == (opened.stream, "crashed")
    assert status["last_exit"] == "exited 1"
    assert status["restarts"] == "1"
    cause = f"From its log '{rig.latest()}/analyzer.log': no room"
    assert f"exited 1 in the middle of the stream. {cause}" in status["reason"]
    os.close(opened.write_end)


def test_the_last_state_is_written_before_it_leaves(rig: Rig, signals: Signals, store: Store) -> None:
    """After a stop Redis shows an idle launcher, not a stream that has ended."""
    process = rig.start_python(COPY, environment=redis_of(store))
    opened = connected(rig, signals).open()
    wait_until(lambda: consumer_of(store)["state"] == "reading", "the open stream")
    os.close(opened.write_end)

    assert stop(process) == 0

    assert consumer_of(store)["state"] == "idle"
    assert consumer_of(store)["last_stream"] == opened.stream


def test_a_redis_that_hangs_delays_nothing(rig: Rig, signals: Signals, tmp_path: Path) -> None:
    """Only the publishing thread waits for it; the stream goes on, and a stop signal ends the launcher."""
    capture = tmp_path / "source"
    capture.write_bytes(bytes(100_000))
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(rig.folder / "hung"))
        hung.listen()  # accepts connections, and never replies
        process = rig.start_python(COPY, environment={"PCAPDJ_REDIS_URL": f"unix://{rig.folder}/hung"})
        feed_stream(rig, signals, capture)

        assert stop(process) == 0


def test_another_user_is_not_served(rig: Rig) -> None:
    """Even where folder and socket are open to all, the kernel names the user."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    process = rig.start_python(COPY)
    for path in (rig.folder, rig.socket.parent, rig.socket):
        path.chmod(0o777)
    ask = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.settimeout(10);"
        's.connect(sys.argv[1]); s.send(b\'{"word":"GET"}\'); print(s.recv(100))'
    )

    asked = subprocess.run(
        ["python3", "-I", "-c", ask, rig.socket],
        user=65534,
        group=65534,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )

    refusals = ("b''\n", "BrokenPipeError", "ConnectionResetError")
    assert asked.stdout == refusals[0] or any(refusal in asked.stderr for refusal in refusals[1:])
    assert process.poll() is None
