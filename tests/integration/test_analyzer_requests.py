"""The launcher as a process: streams that begin, end and break, and what a dispatcher sees of it."""

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.descriptors import open_descriptors
from support.launcher_rig import COPY, ActingWaits, Rig, connected, feed, is_running, rig_in, splice_all, stop
from support.waiting import wait_until

from pcapdj.feed.launcher_client import LauncherClient, OpenStream
from pcapdj.runtime.errors import LauncherGone, ReaderGone, Stopped
from pcapdj.runtime.signals import Signals

READ_SOME_AND = "import os, sys, time, signal; f = os.open(sys.argv[1], os.O_RDONLY); os.read(f, 10); "
STAY = "\nwhile True: time.sleep(0.02)"


@pytest.fixture
def rig(short_path: Path) -> Iterator[Rig]:
    """Return a launcher's folder and processes."""
    with rig_in(short_path) as rig:
        yield rig


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a file that no pipe holds at once."""
    path = tmp_path / "source"
    path.write_bytes(os.urandom(1 << 20) * 3)
    return path


def opened_by(launcher: LauncherClient) -> OpenStream:
    """Return the stream that the client opens."""
    return launcher.open()


def ended(launcher: LauncherClient, opened: OpenStream) -> None:
    """Close and end the stream, as a dispatcher does."""
    os.close(opened.write_end)
    launcher.end(opened.stream)


def test_every_spliced_byte_is_read_and_the_stream_has_its_own_log_folder(
    rig: Rig, signals: Signals, source: Path
) -> None:
    """From OPEN to END one analyzer reads the stream, and its output is in the folder of `latest`."""
    rig.start_python(COPY)
    launcher = connected(rig, signals)
    assert launcher.get() is None

    opened = opened_by(launcher)
    feed(launcher, opened, source)
    ended(launcher, opened)

    wait_until(lambda: "stream_ended" in rig.logged(), "the analyzer to end")
    assert (rig.latest() / "copy").read_bytes() == source.read_bytes()
    assert re.fullmatch(f"[0-9]{{8}}T[0-9]{{6}}Z-{opened.stream}", rig.latest().name)
    assert re.fullmatch("[0-9a-f]{8}", opened.stream)
    assert "exit='exited 0'" in rig.logged()
    launcher.end(opened.stream)  # succeeds for a stream that has ended already


def test_socket_pipe_and_results_are_private(rig: Rig, signals: Signals) -> None:
    """Folder 0700, socket and pipe 0600, and no other user may read the results."""
    rig.start_python(COPY)
    launcher = connected(rig, signals)
    os.close(opened_by(launcher).write_end)

    assert rig.socket.parent.stat().st_mode & 0o777 == 0o700
    assert rig.socket.stat().st_mode & 0o777 == 0o600
    assert rig.pipe.stat().st_mode & 0o777 == 0o600
    assert rig.latest().stat().st_mode & 0o007 == 0


def test_opening_an_open_stream_gives_the_same_one(rig: Rig, signals: Signals) -> None:
    """A dispatcher that lost the reply requests it again."""
    rig.start_python(COPY)
    launcher = connected(rig, signals)

    first, second = opened_by(launcher), opened_by(launcher)

    assert first.stream == second.stream
    assert os.path.samestat(os.fstat(first.write_end), os.fstat(second.write_end))
    for opened in (first, second):
        os.close(opened.write_end)


def test_each_stream_has_a_pipe_and_a_folder_of_its_own(rig: Rig, signals: Signals, source: Path) -> None:
    """Nothing that one analyzer left can reach the next."""
    rig.start_python(COPY)
    launcher = connected(rig, signals)
    first = opened_by(launcher)
    inode, folder = os.fstat(first.write_end).st_ino, rig.latest()
    feed(launcher, first, source)
    ended(launcher, first)

    second = opened_by(launcher)

    assert second.stream != first.stream
    assert os.fstat(second.write_end).st_ino != inode
    assert rig.latest() != folder
    os.close(second.write_end)


@pytest.mark.long
def test_many_streams_leave_no_descriptor(rig: Rig, signals: Signals, tmp_path: Path) -> None:
    """A launcher runs for months: pipe, stored files and logs of a stream are closed with it."""
    source = tmp_path / "source"
    source.write_bytes(b"x" * 100)
    process = rig.start("cat", "{pipe}", options=("--restart-pause", "1ms"))
    launcher = connected(rig, signals)

    def run_stream() -> int:
        opened = opened_by(launcher)
        feed(launcher, opened, source)
        ended(launcher, opened)
        wait_until(lambda: f"stream_ended stream={opened.stream}" in rig.logged(), "the analyzer to end")
        return len(open_descriptors(process.pid))

    counts = [run_stream() for _ in range(20)]

    assert counts[-1] == counts[0]


@pytest.mark.long
def test_streams_that_crash_leave_no_descriptor(rig: Rig, signals: Signals, source: Path) -> None:
    """Also where the analyzer dies with a file stored and bytes unread."""
    process = rig.start("head", "-c", "1", "{pipe}", options=("--restart-pause", "1ms"))
    launcher = connected(rig, signals)

    def run_stream() -> int:
        opened = opened_by(launcher)
        with pytest.raises(BrokenPipeError):
            feed(launcher, opened, source)
        os.close(opened.write_end)
        wait_until(
            lambda: f"analyzer_crashed stream={opened.stream}" in rig.logged(), "the crash to be logged"
        )
        return len(open_descriptors(process.pid))

    counts = [run_stream() for _ in range(10)]

    # the next analyzer is being started: what that opens for a moment is not left
    wait_until(lambda: len(open_descriptors(process.pid)) <= min(counts), "none of the streams to hold one")


def test_an_exit_in_the_middle_is_a_crash_whatever_its_status(
    rig: Rig, signals: Signals, source: Path
) -> None:
    """An analyzer that exits 0 while it is fed has failed, and the stream is gone at once."""
    rig.start_python(READ_SOME_AND + "sys.exit(0)")
    launcher = connected(rig, signals)
    opened = opened_by(launcher)

    with pytest.raises(BrokenPipeError):
        feed(launcher, opened, source)
    with source.open("rb") as file, pytest.raises(ReaderGone):
        launcher.put(opened.stream, "file", file.fileno(), {})

    wait_until(lambda: "analyzer_crashed" in rig.logged(), "the crash to be logged")
    assert "exited 0 in the middle of the stream" in rig.logged()
    assert launcher.get() is None
    os.close(opened.write_end)
    second = opened_by(launcher)
    assert second.stream != opened.stream
    os.close(second.write_end)


def test_an_analyzer_that_closed_the_pipe_and_runs_on_is_killed(
    rig: Rig, signals: Signals, source: Path
) -> None:
    """Only POLLERR shows it, and it ignores SIGTERM as Suricata does."""
    rig.start_python(READ_SOME_AND + "signal.signal(15, signal.SIG_IGN); os.close(f)" + STAY)
    launcher = connected(rig, signals)
    opened = opened_by(launcher)
    pid = rig.analyzer_pid()
    with pytest.raises(BrokenPipeError):
        feed(launcher, opened, source)

    assert launcher.get() is None  # the stream is over, though the process runs

    wait_until(lambda: not is_running(pid), "the analyzer to be killed")
    wait_until(lambda: "closed the pipe and did not exit" in rig.logged(), "the reason to be logged")
    os.close(opened.write_end)


def test_an_analyzer_without_records_is_killed_and_that_is_no_crash(
    rig: Rig, signals: Signals, source: Path
) -> None:
    """Suricata would wait for ever after a header alone; the next stream is not delayed."""
    rig.start_python(READ_SOME_AND + "signal.signal(15, signal.SIG_IGN)" + STAY)
    launcher = connected(rig, signals)
    opened = opened_by(launcher)
    pid = rig.analyzer_pid()
    with source.open("rb") as header:
        launcher.put(opened.stream, "header", header.fileno(), {})

    ended(launcher, opened)

    wait_until(lambda: not is_running(pid), "the analyzer to be killed")
    wait_until(lambda: "stream_ended" in rig.logged(), "the end to be logged")
    assert "analyzer_crashed" not in rig.logged()


def test_end_is_replied_to_at_once_and_the_next_stream_waits_for_the_flush(
    rig: Rig, signals: Signals, source: Path
) -> None:
    """The analyzer writes its results before another one starts."""
    go = rig.folder / "go"
    rig.start_python(
        "import os, sys, time; open(sys.argv[1], 'rb').read()\n"
        f"while not os.path.exists({str(go)!r}): time.sleep(0.02)"
    )
    launcher = connected(rig, signals)
    opened = opened_by(launcher)
    feed(launcher, opened, source)
    ended(launcher, opened)
    assert launcher.get() is None
    assert is_running(rig.analyzer_pid())

    launcher.close()
    second = connected(rig, ActingWaits(signals, go.touch)).open()

    assert go.exists()  # so `open` has waited
    wait_until(lambda: rig.logged().count("analyzer_started") == 2, "the second start to be logged")
    assert rig.logged().index("stream_ended") < rig.logged().rindex("analyzer_started")
    os.close(second.write_end)


def test_an_analyzer_that_does_not_exit_is_stopped(rig: Rig, signals: Signals, source: Path) -> None:
    """The flush has a time limit, and the log names it."""
    rig.start_python(
        "import sys, time; open(sys.argv[1], 'rb').read()" + STAY, options=("--flush-timeout", "200ms")
    )
    launcher = connected(rig, signals)
    opened = opened_by(launcher)
    feed(launcher, opened, source)

    ended(launcher, opened)

    wait_until(
        lambda: "was stopped: it had not exited 0.2 s after the end of its input" in rig.logged(), "the end"
    )
    assert "killed by signal 15" in rig.logged()


def test_the_position_of_a_stored_descriptor_is_the_bytes_in_the_pipe(
    rig: Rig, signals: Signals, source: Path
) -> None:
    """After kill -9 of a dispatcher in mid-splice its successor goes on at the very next byte."""
    rig.start_python(COPY)
    dispatcher = f"""
import os
from pathlib import Path
from pcapdj.runtime.signals import handled
from pcapdj.feed.launcher_client import LauncherClient
with handled() as signals:
    launcher = LauncherClient(Path({str(rig.socket)!r}), signals)
    launcher.connect()
    opened = launcher.open()
    source = os.open({str(source)!r}, os.O_RDONLY)
    launcher.put(opened.stream, "file", source, {{"name": "source"}})
    os.set_blocking(opened.write_end, True)
    sent = 0
    while sent < 1_500_000:
        sent += os.splice(source, opened.write_end, 50_001)
    os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", dispatcher], check=False, cwd=Path(__file__).parents[2])

    launcher = connected(rig, signals)
    resumed = launcher.get()

    assert resumed is not None
    (entry,) = resumed.entries
    assert (entry.key, entry.note) == ("file", {"name": "source"})
    assert 0 < os.lseek(entry.fd, 0, os.SEEK_CUR) < source.stat().st_size
    splice_all(entry.fd, resumed.write_end)
    os.close(entry.fd)
    launcher.drop(resumed.stream, "file")
    ended(launcher, resumed)
    wait_until(lambda: "stream_ended" in rig.logged(), "the analyzer to end")
    copy = (rig.latest() / "copy").read_bytes()
    assert hashlib.sha256(copy).digest() == hashlib.sha256(source.read_bytes()).digest()


def test_a_second_client_gets_the_first_ones_pid_and_follows_at_once(rig: Rig, signals: Signals) -> None:
    """There is one dispatcher at a time; its successor is never turned away."""
    rig.start_python(COPY)
    first, second = connected(rig, signals), connected(rig, signals)
    assert first.get() is None

    with pytest.raises(LauncherGone, match=f"another dispatcher \\(pid {os.getpid()}\\)"):
        second.get()

    for _ in range(50):
        first.close()
        first = connected(rig, signals)
        assert first.get() is None


def test_a_stop_signal_ends_the_wait_for_an_analyzer(rig: Rig, signals: Signals) -> None:
    """A dispatcher that has to stop does not wait for a slow start."""
    rig.start_python("import time" + STAY)
    launcher = connected(rig, ActingWaits(signals, lambda: os.kill(os.getpid(), signal.SIGTERM)))

    with pytest.raises(Stopped):
        launcher.open()


def test_a_kill_9_of_the_launcher_ends_the_analyzer(rig: Rig, signals: Signals) -> None:
    """The next launcher never meets an old analyzer; the dispatcher notices the end."""
    process = rig.start_python(COPY)
    launcher = connected(rig, signals)
    opened = opened_by(launcher)
    pid = rig.analyzer_pid()

    stop(process, signal.SIGKILL)

    wait_until(lambda: not is_running(pid), "the analyzer to die")
    assert not launcher.is_alive()
    with pytest.raises(LauncherGone):
        launcher.get()
    os.close(opened.write_end)
    rig.start_python(COPY)  # on the stale socket and the stale pipe
    again = opened_by(connected(rig, signals))
    assert again.stream != opened.stream
    os.close(again.write_end)


def test_a_failing_start_is_retried_until_it_succeeds(rig: Rig, signals: Signals) -> None:
    """A dispatcher that waits gets its stream as soon as an analyzer starts; the log has the reason."""
    go = rig.folder / "go"
    rig.start_python(
        f"import os, sys\nif not os.path.exists({str(go)!r}): sys.exit('no licence \\x1b[31m today')\n{COPY}"
    )
    go_on = ActingWaits(signals, lambda: go.touch() if "analyzer_unstarted" in rig.logged() else None)

    opened = connected(rig, go_on).open()

    first = min(folder for folder in rig.logs.iterdir() if not folder.is_symlink())
    cause = f"From its log '{first}/analyzer.log': no licence \\x1b[31m today"
    assert f"exited 1 before it opened the pipe. {cause}" in rig.logged()
    os.close(opened.write_end)


def test_a_pipe_that_is_removed_fails_the_start_and_the_next_start_makes_it_again(
    rig: Rig, signals: Signals
) -> None:
    """Nothing is written to another file at its path."""
    removed = rig.folder / "removed"
    rig.start_python(
        f"import os, sys, time\nif not os.path.exists({str(removed)!r}):\n"
        f"    os.unlink(sys.argv[1]); open({str(removed)!r}, 'w'); time.sleep(60)\n{COPY}"
    )

    opened = opened_by(connected(rig, signals))

    assert "cannot be opened" in rig.logged()
    os.close(opened.write_end)


def test_sigterm_lets_the_analyzer_flush(rig: Rig, signals: Signals, source: Path) -> None:
    """Stopping the service loses no results; the dispatcher is disconnected, so that the pipe ends."""
    process = rig.start_python(COPY)
    launcher = connected(rig, signals)
    opened = opened_by(launcher)
    feed(launcher, opened, source)

    process.send_signal(signal.SIGTERM)
    wait_until(lambda: not launcher.is_alive(), "the launcher to disconnect the dispatcher")
    os.close(opened.write_end)

    assert process.wait() == 0
    assert (rig.latest() / "copy").read_bytes() == source.read_bytes()
    assert not rig.socket.exists()
    assert not rig.pipe.exists()


def test_a_second_sigterm_does_not_wait(rig: Rig, signals: Signals, source: Path) -> None:
    """The second signal means now."""
    process = rig.start_python("import sys, time; open(sys.argv[1], 'rb').read()" + STAY)
    launcher = connected(rig, signals)
    opened = opened_by(launcher)
    feed(launcher, opened, source)
    os.close(opened.write_end)
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: "stopping" in rig.logged(), "the first signal to be handled")

    assert stop(process) == 0
    assert not is_running(rig.analyzer_pid())
    assert "killed by signal 9 (a second stop signal came)" in rig.logged()


def test_sigterm_ends_an_idle_launcher(rig: Rig) -> None:
    """There is nothing to wait for."""
    process = rig.start_python(COPY)

    assert stop(process) == 0


def test_other_signals_do_not_end_an_idle_launcher(rig: Rig, signals: Signals) -> None:
    """HUP without an analyzer, and the signals of the dispatcher."""
    process = rig.start_python(COPY)

    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        process.send_signal(number)

    assert connected(rig, signals).get() is None
    assert stop(process) == 0


def test_sighup_is_passed_on(rig: Rig, signals: Signals) -> None:
    """Log rotation reaches the analyzer, which does not inherit an ignored SIGHUP."""
    process = rig.start_python(
        "import signal, sys, time; signal.signal(1, lambda *_: open('rotated', 'w')); open(sys.argv[1], 'rb')"
        + STAY
    )
    launcher = connected(rig, signals)
    opened = opened_by(launcher)

    process.send_signal(signal.SIGHUP)

    wait_until((rig.latest() / "rotated").exists, "the analyzer to rotate")
    os.close(opened.write_end)


@pytest.mark.parametrize(
    "message",
    [b"\x00garbage", b"{}", b'{"word":"PUT","stream":"a","key":"file"}', b"x" * 70_000],
)
def test_garbage_closes_the_connection_and_nothing_else(rig: Rig, signals: Signals, message: bytes) -> None:
    """The client gets an error and is disconnected; the next one is served."""
    rig.start_python(COPY)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.connect(str(rig.socket))
        client.send(message)
        client.settimeout(10)

        assert json.loads(client.recv(1 << 16))["ok"] is False
        assert client.recv(1) == b""

    assert connected(rig, signals).get() is None


def test_a_message_with_too_many_descriptors_is_discarded(rig: Rig, signals: Signals) -> None:
    """More than four are never stored, and none stays open."""
    process = rig.start_python(COPY)
    launcher = connected(rig, signals)
    assert launcher.get() is None
    before = len(open_descriptors(process.pid))
    launcher.close()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.connect(str(rig.socket))
        socket.send_fds(client, [b'{"word":"GET"}'], [0] * 20)
        client.settimeout(10)
        assert json.loads(client.recv(1 << 16))["ok"] is False

    launcher = connected(rig, signals)
    assert launcher.get() is None

    wait_until(lambda: len(open_descriptors(process.pid)) <= before, "the descriptors to be closed")


def test_a_descriptor_of_a_device_is_refused(rig: Rig, signals: Signals) -> None:
    """Regular files and memfds open for reading are stored, pipes as batches, nothing else."""
    rig.start_python(COPY)
    launcher = connected(rig, signals)
    opened = opened_by(launcher)

    with open("/dev/zero", "rb") as zero, pytest.raises(LauncherGone, match="not a regular file"):  # noqa: PTH123 - a device
        launcher.put(opened.stream, "file", zero.fileno(), {})

    os.close(opened.write_end)
