"""What an analyzer leaves running ends with its stream, wherever it went, and is reported."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest
from support.cases import some_long
from support.forkserver import Process
from support.fuse import FuseMount
from support.launcher_rig import COPY, Rig, connected, is_listening, is_running, rig_in, stop
from support.waiting import wait_until

from pcapdj.feed.launcher_client import OpenStream
from pcapdj.run.answering import WaitingProcesses
from pcapdj.run.private_folder import private_folder
from pcapdj.runtime.errors import Stopped
from pcapdj.runtime.leftover_processes import end_leftover_commands, end_leftover_processes, mark_of
from pcapdj.runtime.signals import Signals
from pcapdj.store.client import Store

# A daemon as daemon(7) describes it: a session of its own, and no parent but init.
DAEMON: Final = """
import os, signal, sys, time
def daemon(work):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            work()
            os._exit(0)
        os._exit(0)
    os.wait()
def note(kind):
    descriptor = os.open("pids", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, b"%d\\n" % os.getpid())
def sleep():
    note("sleeps")
    time.sleep(600)
def ignore():
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    sleep()
def stopped():
    note("stops")
    os.kill(os.getpid(), signal.SIGSTOP)
def adopt():
    import ctypes
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: orphans of its own come to it
    daemon(sleep)
    sleep()
def renew():
    note("renews")
    while True:
        if os.fork():
            os._exit(0)
        os.setsid()
        note("renews")
        time.sleep(0.02)
def chain():
    note("chains")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    until_s = time.monotonic() + 10  # not for ever, whatever the test finds
    while time.monotonic() < until_s:
        if os.fork():
            os._exit(0)
        os.setsid()
"""
# A daemon that traces the analyzer, which allows it (Yama): it learns of the end before the launcher
TRACE: Final = """
import ctypes
libc, analyzer = ctypes.CDLL(None), os.getpid()
libc.prctl(0x59616D61, ctypes.c_ulong(2**64 - 1), 0, 0, 0)  # PR_SET_PTRACER
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])  # a signal stops what is traced
def trace():
    if libc.ptrace(0x4206, analyzer, None, ctypes.c_void_p({options})) == 0:  # PTRACE_SEIZE
        sleep()
"""
OF_END: Final = 0x40  # PTRACE_O_TRACEEXIT: it is stopped where it would end, also after SIGKILL
READ: Final = "\nopen(sys.argv[1], 'rb').read()\n"
CRASH: Final = "\nopen(sys.argv[1], 'rb', 0)"
WORKS: Final = ("sleep", "ignore", "stopped", "adopt", "renew")


@pytest.fixture
def rig(short_path: Path) -> Iterator[Rig]:
    """Return a launcher's folder and processes; no daemon of a test is left."""
    with rig_in(short_path) as rig:
        yield rig
        for pid in left_pids(rig):
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)


def left_pids(rig: Rig) -> list[int]:
    """Return the pids that the daemons have written."""
    return sorted({int(line) for path in rig.logs.glob("*/pids") for line in path.read_text().split()})


def begun(rig: Rig, signals: Signals, daemons: int = 1) -> OpenStream:
    """Begin a stream, and wait for so many daemons."""
    opened = connected(rig, signals).open()
    wait_until(lambda: len(left_pids(rig)) >= daemons, "the daemons")
    return opened


def open_and_end(rig: Rig, signals: Signals, daemons: int = 1) -> None:
    """Begin a stream, wait for the daemons, and end the stream."""
    opened = begun(rig, signals, daemons)
    os.write(opened.write_end, bytes(24))
    os.close(opened.write_end)
    rig.clients[-1].end(opened.stream)


def stopped_with_all(rig: Rig, process: Process, opened: OpenStream) -> None:
    """Stop the launcher in the stream: it ends in order, and nothing that its analyzer started runs."""
    os.close(opened.write_end)
    rig.clients[0].close()

    assert stop(process) == 0
    assert not any(map(is_running, left_pids(rig)))


@pytest.mark.parametrize("work", some_long(WORKS, quick=("ignore", "adopt")))
def test_a_daemon_of_the_analyzer_ends_with_the_stream(rig: Rig, signals: Signals, work: str) -> None:
    """In a session of its own, with signals ignored, stopped, with orphans of its own, renewing itself."""
    process = rig.start_python(f"{DAEMON}\ndaemon({work}){READ}")

    open_and_end(rig, signals)

    wait_until(lambda: "analyzer_left_processes" in rig.logged(), "the report")
    wait_until(lambda: not any(map(is_running, left_pids(rig))), "all of them to be gone")
    assert "running, killed at the end of its stream: python" in rig.logged()
    assert process.poll() is None
    assert stop(process) == 0


@pytest.mark.parametrize("chains", some_long([1, 8], quick=(1,)))
def test_chains_of_processes_end_with_the_stream(rig: Rig, signals: Signals, chains: int) -> None:
    """Each process only forks and exits, several chains side by side; none is left, not even a zombie."""
    process = rig.start_python(f"{DAEMON}\nfor _ in range({chains}): daemon(chain){READ}")

    open_and_end(rig, signals)

    wait_until(lambda: "analyzer_left_processes" in rig.logged() or "stream_ended" in rig.logged(), "the end")
    assert Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text() == ""
    assert "killed at the end of its stream: python" in rig.logged()
    assert stop(process) == 0


@pytest.mark.parametrize("end", some_long(["crash", "kill", "stop"], quick=("crash", "stop")))
def test_a_daemon_ends_however_the_stream_does(rig: Rig, signals: Signals, end: str) -> None:
    """After an exit in the middle of the stream, a kill of the analyzer, a stop of the launcher."""
    process = rig.start_python(f"{DAEMON}\ndaemon(sleep){READ if end != 'crash' else CRASH}")
    opened = begun(rig, signals)

    if end == "kill":
        os.kill(rig.analyzer_pid(), signal.SIGKILL)
    if end == "stop":
        rig.clients[0].close()
        assert stop(process) == 0

    wait_until(lambda: not any(map(is_running, left_pids(rig))), "the daemon to be gone")
    os.close(opened.write_end)


@pytest.mark.parametrize("end", some_long(["read", "crash"], quick=("read",)))
def test_a_daemon_that_keeps_the_end_of_the_analyzer_for_itself_is_killed(
    rig: Rig, signals: Signals, end: str
) -> None:
    """By tracing it: the stream would never end, and the launcher wait for it at its own end, too."""
    work = READ if end == "read" else CRASH + ".read(1)"
    process = rig.start_python(f"{DAEMON}{TRACE.format(options=0)}\ndaemon(trace){work}")

    if end == "read":
        open_and_end(rig, signals)
    else:
        opened = begun(rig, signals)
        os.write(opened.write_end, bytes(24))
        os.close(opened.write_end)

    wait_until(lambda: "analyzer_left_processes" in rig.logged(), "the report")
    assert "left 1 process running, killed at the end of its stream: python" in rig.logged()
    assert not any(map(is_running, left_pids(rig)))
    assert stop(process) == 0


def test_an_analyzer_that_is_held_where_it_ends_is_killed(rig: Rig, signals: Signals) -> None:
    """By a tracer that waits for its end; the launcher stops as always."""
    process = rig.start_python(f"{DAEMON}{TRACE.format(options=OF_END)}\ndaemon(trace){READ}")
    opened = begun(rig, signals)

    stopped_with_all(rig, process, opened)
    assert "left 1 process running, killed at the end of its stream: python" in rig.logged()


@pytest.mark.parametrize("end", some_long(["stop", "read"], quick=("stop",)))
def test_an_analyzer_that_makes_the_launcher_its_tracer_ends_itself_alone(
    rig: Rig, signals: Signals, end: str
) -> None:
    """Any child may (PTRACE_TRACEME): a tracer that is killed must not be the launcher."""
    traced = "import ctypes; ctypes.CDLL(None).ptrace(0, 0, None, None)"
    blocked = "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])"
    process = rig.start_python(f"{DAEMON}\n{blocked}\ndaemon(sleep)\n{traced}{READ}")
    opened = begun(rig, signals)
    if end == "read":
        os.write(opened.write_end, bytes(24))
        os.close(opened.write_end)
        rig.clients[0].end(opened.stream)
        wait_until(lambda: "stream_ended" in rig.logged(), "the end of the stream")
    else:
        os.close(opened.write_end)
    rig.clients[0].close()

    assert stop(process) == 0
    assert not any(map(is_running, left_pids(rig)))


CHAIN: Final = """
def chained():
    me, (ready, theirs) = os.getpid(), os.pipe()
    libc.prctl(0x59616D61, ctypes.c_ulong(2**64 - 1), 0, 0, 0)
    libc.ptrace(0x4206, analyzer, None, None)
    if os.fork() == 0:
        os.setsid()
        libc.ptrace(0x4206, me, None, ctypes.c_void_p(0x40))  # held where it ends, it lets nothing go
        os.write(theirs, b"x")
        sleep()
    os.read(ready, 1)
    sleep()
"""


def test_a_tracer_that_is_traced_itself_is_killed_with_its_tracer(rig: Rig, signals: Signals) -> None:
    """Killed alone, it would be held where it ends, and keep the analyzer's end; each is reported once."""
    process = rig.start_python(f"{DAEMON}{TRACE.format(options=0)}{CHAIN}\ndaemon(chained){READ}")
    open_and_end(rig, signals, daemons=2)

    wait_until(lambda: "analyzer_left_processes" in rig.logged(), "the report")
    assert "left 2 processes running, killed at the end of its stream: python" in rig.logged()
    assert not any(map(is_running, left_pids(rig)))
    assert stop(process) == 0


def test_an_analyzer_of_which_a_thread_is_held_where_it_ends_is_killed(rig: Rig, signals: Signals) -> None:
    """The kernel shows no tracer of the process then: its first thread has ended without one."""
    thread = (
        "import threading\nthread = threading.Thread(target=time.sleep, args=(600,), daemon=True)\n"
        "thread.start()\nanalyzer = thread.native_id"
    )
    process = rig.start_python(f"{DAEMON}{TRACE.format(options=OF_END)}\n{thread}\ndaemon(trace){READ}")
    opened = begun(rig, signals)

    stopped_with_all(rig, process, opened)
    assert "left 1 process running, killed at the end of its stream: python" in rig.logged()


# A daemon that is a file system in user space: it takes each request, and answers none but the first one
SERVE: Final = """
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
os.mkdir("mounted")
device = os.open("/dev/fuse", os.O_RDWR)
assert libc.unshare(0x20000) == 0  # CLONE_NEWNS
assert libc.mount(None, b"/", None, 0x44000, None) == 0  # MS_REC | MS_PRIVATE
options = b"fd=%d,rootmode=40000,user_id=0,group_id=0" % device
assert libc.mount(b"own", b"mounted", b"fuse.own", 0, options) == 0
def serve():
    note("serves")
    while True:
        kind, unique = struct.unpack_from("<IQ", os.read(device, 1 << 18), 4)
        if kind == 26:
            reply = struct.pack("<IIIIHHIIHHI", 7, 31, 1 << 17, 0, 12, 9, 4096, 1, 0, 0, 0) + bytes(28)
            os.write(device, struct.pack("<IiQ", 16 + len(reply), 0, unique) + reply)
daemon(serve)
os.close(device)
"""


def test_an_analyzer_that_waits_for_a_file_system_of_its_own_is_killed(
    rig: Rig, signals: Signals, mount: FuseMount
) -> None:
    """A daemon of it serves that: no signal ends the wait, only the end of the daemon does."""
    assert mount.folder.exists()  # this machine can mount one
    process = rig.start_python(f"{DAEMON}{SERVE}{CRASH}\nos.stat('mounted/file')\n")
    opened = begun(rig, signals)
    waiting = WaitingProcesses(rig.analyzer_pid())
    wait_until(lambda: waiting.look(time.monotonic()), "the analyzer to wait")

    stopped_with_all(rig, process, opened)
    assert "left 1 process running, killed at the end of its stream: python" in rig.logged()


@pytest.mark.long
def test_a_tracer_may_trace_from_any_of_its_threads(rig: Rig, signals: Signals) -> None:
    """The kernel names the thread, which is no process that can be signalled."""
    thread = (
        "import threading\ndef threaded():\n    threading.Thread(target=trace).start()\n    time.sleep(600)"
    )
    process = rig.start_python(f"{DAEMON}{TRACE.format(options=OF_END)}\n{thread}\ndaemon(threaded){READ}")
    opened = begun(rig, signals)

    stopped_with_all(rig, process, opened)


def test_what_was_left_is_in_the_status(rig: Rig, signals: Signals, store: Store) -> None:
    """A person who looks at the lane learns that output may be incomplete, not only the log."""
    variables = {"PCAPDJ_REDIS_URL": store.url, "PCAPDJ_LANE": store.keys.lane}
    rig.start_python(f"{DAEMON}\ndaemon(sleep){READ}", environment=variables)

    open_and_end(rig, signals)

    wait_until(
        lambda: b"(left 1 process running)" in (store.redis.hget(store.keys.consumer, "last_exit") or b""),
        "the status",
    )


LARGE_CHILD: Final = """
import os, signal, sys, time
from pcapdj.runtime.process_tree import ProcessTree
tree = ProcessTree()
reading, writing = os.pipe()
child = os.fork()
if child == 0:
    os.setsid()
    memory = bytearray(400 << 20)  # it takes the kernel some time to free it
    os.write(writing, b"+")
    time.sleep(600)
os.read(reading, 1)
if sys.argv[1] == "ending":
    os.kill(child, signal.SIGKILL)
print([each.pid == child for each in tree.end(group=os.getpgrp())])
"""


@pytest.mark.parametrize(("state", "left"), [("running", [True]), ("ending", [])])
def test_a_process_that_is_just_ending_was_not_left(state: str, left: list[bool]) -> None:
    """The first process of a bubblewrap dies with it, a moment later."""
    done = subprocess.run(
        [sys.executable, "-c", LARGE_CHILD, state], capture_output=True, text=True, check=True
    )

    assert done.stdout == f"{left}\n"


def test_orphans_that_end_during_the_stream_leave_no_zombies(rig: Rig, signals: Signals) -> None:
    """The launcher reaps what the kernel gives it, and reports nothing."""
    process = rig.start_python(f"{DAEMON}\nfor _ in range(20): daemon(lambda: note('ends')){READ}")
    opened = connected(rig, signals).open()
    wait_until(lambda: len(left_pids(rig)) == 20, "the orphans")

    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    wait_until(lambda: children.read_text().split() == [str(rig.analyzer_pid())], "them to be reaped")

    os.close(opened.write_end)
    assert stop(process) == 0
    assert "analyzer_left_processes" not in rig.logged()


def test_an_analyzer_that_leaves_nothing_is_not_delayed(rig: Rig, signals: Signals) -> None:
    """Nor reported: most analyzers are one process."""
    process = rig.start_python(COPY)
    launcher = connected(rig, signals)
    opened = launcher.open()
    os.write(opened.write_end, bytes(24))
    os.close(opened.write_end)
    began_s = time.monotonic()
    launcher.end(opened.stream)

    wait_until(lambda: not is_running(rig.analyzer_pid()), "its end")
    assert stop(process) == 0
    assert "analyzer_left_processes" not in rig.logged()
    assert time.monotonic() - began_s < 20


@pytest.mark.parametrize("work", some_long(["sleep", "ignore", "adopt"], quick=("adopt",)))
def test_a_daemon_outlives_a_killed_launcher_only_until_the_next_one_starts(
    rig: Rig, signals: Signals, work: str
) -> None:
    """It is found by the mark in its environment; one of another launcher is left alone."""
    process = rig.start_python(f"{DAEMON}\ndaemon({work}){READ}")
    opened = begun(rig, signals)
    analyzer = rig.analyzer_pid()
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: not is_running(analyzer), "the analyzer to die with its launcher")
    assert any(map(is_running, left_pids(rig)))

    with marked(rig.pipe.with_name("another")) as other:
        again = rig.start_python(READ)

        wait_until(lambda: "A launcher was killed, and its analyzer left" in rig.logged(), "a report")
        wait_until(lambda: not any(map(is_running, left_pids(rig))), "all of them to be gone")
        assert other.poll() is None
    wait_until(lambda: is_listening(rig.socket), "it to handle signals")
    assert stop(again) == 0
    os.close(opened.write_end)


def test_what_a_killed_run_left_ends_with_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next run removes the folder, and kills what has a pipe in it as its mark."""
    abandoned = tmp_path / "pcapdj-abandoned"
    abandoned.mkdir(mode=0o700)
    (abandoned / "run.lock").touch(mode=0o600)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with marked(abandoned / "stream.pcap") as left, marked(tmp_path / "pcapdj-abandoned2" / "p") as other:
        with private_folder():
            assert left.wait() == -signal.SIGKILL
        assert other.poll() is None
    assert not abandoned.exists()


@contextmanager
def marked(pipe: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Return a process that sleeps, with the mark of an analyzer that reads this pipe."""
    process = subprocess.Popen(["sleep", "600"], env=os.environ | mark_of(pipe))
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("other", ["disk", "root"])
def test_a_service_in_a_container_with_a_pipe_of_the_same_path_is_left_alone(
    tmp_path: Path, other: str
) -> None:
    """Its analyzer is seen from outside, with the same mark; its folder is another one.

    As another disk at the path of the folder, and behind a link in another root, which would lead into ours.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    folder, root = tmp_path / "run", tmp_path / "root"
    folder.mkdir()
    root.mkdir()
    script = f"mount -t tmpfs none {folder} && exec sleep 600"
    if other == "root":
        script = (
            f"mount -t tmpfs none {root} && cd {root} && mkdir -p usr proc .{tmp_path.parent}"
            f" && mount --bind /usr usr && ln -s usr/bin bin && ln -s usr/lib lib && ln -s usr/lib64 lib64"
            f" && ln -s {tmp_path} .{tmp_path} && exec /usr/sbin/chroot . sleep 600"
        )
    mark = os.environ | mark_of(folder / "stream.pcap")
    with marked(folder / "stream.pcap") as left:
        container = subprocess.Popen(["unshare", "--mount", "sh", "-c", script], env=mark)
        try:
            comm = Path(f"/proc/{container.pid}/comm")
            wait_until(lambda: container.poll() is not None or comm.read_text() == "sleep\n", "the container")
            assert container.poll() is None

            killed = end_leftover_processes(folder / "stream.pcap")

            assert [each.pid for each in killed] == [left.pid]
            assert container.poll() is None
        finally:
            container.kill()
            container.wait()


@pytest.mark.parametrize("first", [True, False], ids=["it is older", "it is younger"])
def test_a_process_whose_file_system_hangs_does_not_hold_the_search(
    mount: FuseMount, tmp_path: Path, *, first: bool
) -> None:
    """Any process may have the mark, and what it has at the path of the pipe's folder may never answer."""
    folder = tmp_path / "run"
    folder.mkdir()
    script = f"mount --bind {mount.folder} {folder} && exec sleep 600"
    command = ["unshare", "--mount", "sh", "-c", script]
    mark = os.environ | mark_of(folder / "stream.pcap")
    with ExitStack() as stack:
        before = stack.enter_context(marked(folder / "stream.pcap")) if not first else None
        container = stack.enter_context(subprocess.Popen(command, env=mark))
        stack.callback(container.kill)
        stack.callback(mount.go_on)
        wait_until(lambda: Path(f"/proc/{container.pid}/comm").read_text() == "sleep\n", "the container")
        left = before or stack.enter_context(marked(folder / "stream.pcap"))
        mount.hang(everything=True)

        code = SEARCHED.format(str(folder / "stream.pcap"))
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

        assert (done.returncode, done.stdout) == (0, f"[{left.pid}]\n")
        assert left.wait() == -signal.SIGKILL
        assert container.poll() is None


def test_the_search_spares_those_who_have_started_it(tmp_path: Path) -> None:
    """A launcher that a script of an analyzer starts has the same mark, and so has that script."""
    pipe = tmp_path / "stream.pcap"
    code = SEARCHED.format(str(pipe))
    script = (
        'import subprocess, sys; sys.exit(subprocess.run([sys.executable, "-c", sys.argv[1]]).returncode)'
    )
    environment = os.environ | mark_of(pipe) | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with marked(pipe) as left:
        command = [sys.executable, "-c", script, code]

        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, f"[{left.pid}]\n")


def test_a_stop_signal_ends_the_search(signals: Signals) -> None:
    """The role that begins with it is to end; processes of other users can make the search last."""
    os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        end_leftover_commands(signals)


SEARCHED: Final = """
from pathlib import Path
from pcapdj.runtime.leftover_processes import end_leftover_processes
print([each.pid for each in end_leftover_processes(Path({!r}))])
"""


# A process of any user chooses what the kernel shows as its environment: memory that it never touched
LARGE: Final = """
import ctypes, mmap
libc, size = ctypes.CDLL(None), 1 << 27
libc.mmap.restype = libc.sbrk.restype = ctypes.c_void_p
place = libc.mmap(None, ctypes.c_size_t(size), mmap.PROT_READ, 0x4022, -1, 0)  # PRIVATE, ANONYMOUS, NORESERVE
of = [0] * 4 + [int(each) for each in open("/proc/self/stat").read().rpartition(")")[2].split()[1:]]
start = (*of[26:28], *of[45:48], libc.sbrk(0), of[28], *of[48:50], place, place + size, 0, 0xFFFFFFFF << 32)
print(libc.prctl(35, 14, (ctypes.c_uint64 * 13)(*start), ctypes.c_ulong(104), ctypes.c_ulong(0)), flush=True)
input()
"""
SEARCHES: Final = ("end_leftover_processes(Path('/nowhere/pipe'))", "end_leftover_commands()")
SEARCH: Final = """
import resource
from pathlib import Path
from pcapdj.runtime.leftover_processes import end_leftover_commands, end_leftover_processes
{}
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)  # of the child that looks
"""


@pytest.mark.parametrize("search", SEARCHES)
def test_no_process_fills_the_memory_of_the_search_by_its_environment(search: str) -> None:
    """Arguments and environment of a new program have at most 6 MiB; more is read of none."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", LARGE], stdin=pipe, stdout=pipe) as large:
        assert large.stdin is not None
        assert large.stdout is not None
        if large.stdout.readline() != b"0\n":
            pytest.skip("this kernel lets no process set its memory map")
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", SEARCH.format(search)]

        found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

        large.stdin.close()
    assert int(found.stdout) < 64 << 20
