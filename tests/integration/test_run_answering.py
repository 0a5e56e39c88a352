"""`pcapdj run` whose output folder is on a file system that hangs: Ctrl-C gets an answer, and ends it."""

import os
import signal
import time
from pathlib import Path

import pytest
from support.captures import classic
from support.forkserver import PIPE, clean_environment, start
from support.fuse import FuseMount
from support.roles_rig import children_of, numbered
from support.waiting import scaled, wait_until

from pcapdj.run.answering import WaitingProcesses, run_answering
from pcapdj.runtime.errors import ExitCode
from pcapdj.runtime.process_tree import find_process
from pcapdj.runtime.signals import STOP_SIGNALS, handled

ANSWER_LIMIT_S = 2.0


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Return a capture on a disk that answers."""
    path = tmp_path / "1.pcap"
    path.write_bytes(classic(numbered(1, 20)))
    return path


def test_ctrl_c_is_answered_and_a_second_one_ends_the_run(mount: FuseMount, capture: Path) -> None:
    """What hangs and how to go on are shown; the process that is left ends when the disk answers."""
    (mount.source / "pcapdj.json").write_text('{"files": []}')
    mount.hang()
    words = ["run", "--preset", "summary", "--logdir", str(mount.folder), "--resume", str(capture)]
    with start("pcapdj", *words, stdout=PIPE, stderr=PIPE, env=clean_environment()) as process:
        assert process.stderr is not None
        wait_until(lambda: mount.has_hung, "a call to hang")
        [working] = children_of(process.pid)

        process.send_signal(signal.SIGINT)
        begun_s = time.monotonic()
        answer = os.read(process.stderr.fileno(), 4096).decode()
        assert time.monotonic() - begun_s < scaled(ANSWER_LIMIT_S)
        assert f"The file system of '{mount.folder}' does not answer: " in answer
        assert "The run waits for it; another Ctrl-C ends that." in answer

        process.send_signal(signal.SIGINT)
        begun_s = time.monotonic()
        assert process.wait() == ExitCode.INTERRUPTED
        assert time.monotonic() - begun_s < scaled(ANSWER_LIMIT_S)
        mount.go_on()
        assert f"--logdir {mount.folder} --resume." in process.communicate()[1].decode()
    wait_until(lambda: not Path(f"/proc/{working}").exists(), "the process that was left to end")


@pytest.mark.long
def test_a_run_that_refuses_such_a_disk_ends_although_a_call_hangs(mount: FuseMount, capture: Path) -> None:
    """The check of its free space is left behind, in a thread that nothing ends."""
    mount.hang(everything=True)
    words = ["run", "--preset", "summary", "--logdir", str(mount.folder / "out"), str(capture)]
    with start("pcapdj", *words, stdout=PIPE, stderr=PIPE, env=clean_environment()) as process:
        assert process.wait() == ExitCode.ERROR
        mount.go_on()
        assert "does not answer, which counts as full." in process.communicate()[1].decode()


@pytest.mark.parametrize("text", ["{}=1MiB", pytest.param("{}/below=1MiB", marks=pytest.mark.long)])
def test_a_stop_ends_a_run_while_a_watched_path_hangs(mount: FuseMount, capture: Path, text: str) -> None:
    """The output folder is on a disk that answers, and has nothing yet: no way to go on is offered."""
    mount.hang(everything=True)
    words = ["run", "--preset", "summary", "--watch", text.format(mount.folder), str(capture)]
    environment = clean_environment()
    with start("pcapdj", *words, stderr=PIPE, env=environment, cwd=capture.parent) as process:
        wait_until(lambda: mount.has_hung, "a call to hang")

        process.send_signal(signal.SIGTERM)
        begun_s = time.monotonic()

        assert process.wait() == ExitCode.INTERRUPTED
        assert time.monotonic() - begun_s < scaled(ANSWER_LIMIT_S)
        mount.go_on()
        stderr = process.communicate()[1].decode()
    assert stderr.startswith("pcapdj run: A file system does not answer: ")
    assert stderr.endswith("Stopped without waiting: nothing was fed.\n")


def test_a_disk_that_answers_in_time_costs_nothing(mount: FuseMount) -> None:
    """One stop signal waits for it, however long; the work then ends in order, with its own exit code."""

    def work() -> int:
        with handled() as signals:
            list(mount.folder.iterdir())
            return 7 if signals.stop_requested else 0

    mount.hang(everything=True)
    parent = os.fork()
    if not parent:
        os._exit(run_answering(work, mount.folder, STOP_SIGNALS))
    wait_until(lambda: mount.has_hung, "a call to hang")
    os.kill(parent, signal.SIGTERM)
    watch = WaitingProcesses(parent)
    wait_until(lambda: watch.look(time.monotonic()), "the watch to see that")
    assert os.waitpid(parent, os.WNOHANG) == (0, 0)

    mount.go_on()

    assert os.waitstatus_to_exitcode(os.waitpid(parent, 0)[1]) == 7


def test_one_signal_of_the_terminal_is_one_stop(mount: FuseMount) -> None:
    """It goes to a whole process group: a second one, which kills the analyzer, is not made of it."""
    arrived, theirs = os.pipe()

    def work() -> int:
        with handled() as signals:
            os.write(theirs, b"+")
            while not signals.stop_requested:
                time.sleep(0.01)
            time.sleep(0.2)
            return signals.stop_count

    parent = os.fork()
    if not parent:
        os.setpgid(0, 0)
        os._exit(run_answering(work, mount.folder, STOP_SIGNALS))
    assert os.read(arrived, 1) == b"+"
    os.killpg(parent, signal.SIGINT)

    assert os.waitstatus_to_exitcode(os.waitpid(parent, 0)[1]) == 1
    os.close(arrived)
    os.close(theirs)


def test_ctrl_z_stops_the_run_and_the_shell_continues_it(mount: FuseMount) -> None:
    """The child does not go on drawing its bar over the prompt of the shell."""
    arrived, theirs = os.pipe()

    def work() -> int:
        with handled() as signals:
            os.write(theirs, b"%d\n" % os.getpid())
            while not signals.stop_requested:
                signals.wait(60, stops=2)
            return 7

    parent = os.fork()
    if not parent:
        os.setpgid(0, 0)
        os._exit(run_answering(work, mount.folder, STOP_SIGNALS))
    child = int(os.read(arrived, 10))
    for _ in range(2):
        os.killpg(parent, signal.SIGTSTP)
        wait_until(lambda: states(parent, child) == ["T", "T"], "both to stop")

        os.killpg(parent, signal.SIGCONT)
        wait_until(lambda: "T" not in states(parent, child), "both to go on")

    os.kill(parent, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(parent, 0)[1]) == 7
    os.close(arrived)
    os.close(theirs)


def states(*pids: int) -> list[str]:
    """Return the states of processes, as proc_pid_stat(5) has them."""
    return [found.state for found in map(find_process, pids) if found]


def test_a_stop_before_the_run_handles_signals_ends_it_also_as_a_job_in_the_background(
    mount: FuseMount,
) -> None:
    """A shell lets what it starts with & ignore SIGINT, by which the stop is passed on."""
    arrived, theirs = os.pipe()

    def work() -> int:
        os.write(theirs, b"+")
        time.sleep(scaled(20))
        return 7

    parent = os.fork()
    if not parent:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os._exit(run_answering(work, mount.folder, STOP_SIGNALS))
    assert os.read(arrived, 1) == b"+"
    os.kill(parent, signal.SIGTERM)

    assert os.waitstatus_to_exitcode(os.waitpid(parent, 0)[1]) == ExitCode.INTERRUPTED
    os.close(arrived)
    os.close(theirs)


def test_a_local_output_folder_needs_no_second_process(tmp_path: Path) -> None:
    """The command's own process does the run."""
    pids = list[int]()

    def work() -> int:
        pids.append(os.getpid())
        return 3

    assert run_answering(work, tmp_path, STOP_SIGNALS) == 3
    assert pids == [os.getpid()]


def test_a_run_onto_such_a_file_system_works_as_elsewhere(mount: FuseMount, capture: Path) -> None:
    """Here it is read-only, which is what the run reports, with the exit code of that."""
    words = ["run", "--preset", "summary", "--logdir", str(mount.folder / "out"), str(capture)]
    with start("pcapdj", *words, stdout=PIPE, stderr=PIPE, env=clean_environment()) as process:
        error = process.communicate()[1].decode()

    assert process.returncode == ExitCode.CANNOT_CREATE
    assert error.count("\n") == 1
    assert error.startswith("pcapdj run: ")
