"""Work that a child process does: its result, its errors, and its end by a stop signal."""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest
from support.descriptors import open_descriptors
from support.waiting import wait_until

from pcapdj.runtime.child_process import result_of, run_reader, run_role
from pcapdj.runtime.errors import ConfigError, PcapdjError, Stopped
from pcapdj.runtime.signals import STOP_SIGNALS, handled


def test_a_result_of_any_size_arrives_and_leaves_nothing() -> None:
    """More than a pipe takes; no descriptor is left."""
    before = open_descriptors()
    with handled() as signals:
        assert result_of(lambda: [b"x" * 1000] * 5000, signals) == [b"x" * 1000] * 5000
    assert not open_descriptors() - before


def test_an_error_arrives_with_its_hint_or_its_traceback() -> None:
    """One made for people as it is; any other one shows where it happened."""

    def refuse() -> NoReturn:
        raise ConfigError("It is wrong.", hint="Mend it.")

    def fail() -> int:
        return 1 // 0

    with handled() as signals:
        with pytest.raises(ConfigError, match=r"It is wrong\. Mend it\."):
            result_of(refuse, signals)
        with pytest.raises(ZeroDivisionError) as raised:
            result_of(fail, signals)
    assert "in fail" in raised.value.__notes__[0]


def test_a_child_that_is_killed_is_reported_with_its_signal() -> None:
    """The kernel may choose it when memory is short."""
    with handled() as signals, pytest.raises(PcapdjError, match=r"was killed \(signal 9\)"):
        result_of(lambda: os.kill(os.getpid(), signal.SIGKILL), signals)


def test_a_stop_signal_ends_the_child(tmp_path: Path) -> None:
    """Whatever it does; nothing of it is left."""
    pid = tmp_path / "pid"

    def work() -> None:
        pid.write_text(f"{os.getpid()}\n")
        time.sleep(100)

    def stop() -> None:
        wait_until(lambda: pid.exists() and pid.read_text().endswith("\n"), "the child")
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    with handled() as signals:
        thread.start()
        with pytest.raises(Stopped):
            result_of(work, signals)
    thread.join()
    assert os.WTERMSIG(os.waitpid(int(pid.read_text()), 0)[1]) == signal.SIGKILL


def test_a_child_has_no_descriptor_of_its_parent(tmp_path: Path) -> None:
    """One that hangs must not keep a lock, nor the other end of a pipe that somebody reads."""
    with (tmp_path / "lock").open("w"), handled() as signals:
        opened = result_of(lambda: [str(each.resolve()) for each in Path("/proc/self/fd").iterdir()], signals)
    assert str(tmp_path / "lock") not in opened
    assert len([each for each in opened if "pipe:" in each]) <= 1


def catches(pid: int, number: signal.Signals) -> bool:
    """Report whether a process has a handler for a signal; source: proc_pid_status(5), SigCgt."""
    mask = Path(f"/proc/{pid}/status").read_text().split("SigCgt:")[1].split()[0]
    return bool(int(mask, 16) & 1 << (number - 1))


def test_a_role_that_may_hang_gets_the_signals_that_do_not_stop_it() -> None:
    """Whoever sends them knows one pid, that of the process which waits."""

    def work() -> int:
        with handled((signal.SIGUSR1, signal.SIGUSR2)) as signals:
            # other threads of the test's process do not block the signal
            wait_until(lambda: catches(os.getppid(), signal.SIGUSR2), "the handlers of the parent")
            os.kill(os.getppid(), signal.SIGUSR2)
            wait_until(lambda: signals.received(signal.SIGUSR2) == 1, "the signal")
            return 7 + signals.received(signal.SIGUSR1)

    others = (signal.SIGUSR1, signal.SIGUSR2)
    assert run_role("pcapdj test", work, may_hang=True, others=others) == 7


def test_a_child_that_is_waited_for_starts_no_second_one() -> None:
    """The first process ends in time whatever it does: `reclaim` may be called with any path."""

    def work() -> int:
        parent = os.getpid()
        return int(run_role("pcapdj test", lambda: 5 if os.getpid() == parent else 6, may_hang=True) or 0)

    assert run_role("pcapdj test", work, may_hang=True) == 5


def test_a_result_without_handlers_of_signals_arrives() -> None:
    """A role that has not begun waits so: any signal ends it as the system does."""
    assert result_of(lambda: b"x" * 200_000) == b"x" * 200_000


def twice(wait: Callable[[], object]) -> int:
    """Wait for a stop; a second one arrives while the work ends. Return 7 if that ended nothing."""
    wait()
    for number in STOP_SIGNALS:
        os.kill(os.getpid(), number)
    return 7


def in_handlers() -> None:
    """Wait as a role."""
    with handled() as signals, suppress(Stopped):
        os.kill(os.getpid(), signal.SIGTERM)
        signals.wait(60)


def in_order() -> None:
    """Wait as a command."""
    with suppress(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()


@pytest.mark.parametrize("wait", [in_handlers, in_order])
def test_a_signal_to_both_processes_is_one_stop(wait: Callable[[], object]) -> None:
    """As timeout(1) and systemd send it; the parent passes it on, while the child may be ending already."""
    assert ended(lambda: run_reader("it", lambda: twice(wait)) or 0) == 7


def ended(work: Callable[[], int]) -> int:
    """Do the work in a process of its own, which does not stop the tests; return its exit code."""
    child = os.fork()
    if not child:
        os._exit(work())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
