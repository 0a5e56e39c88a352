"""Does work in a child process where file systems may hang, so that the parent can end in time.

While a call about such a file system does not return, nothing can end the process that made it, even if only
one of its threads did. So the process of a role or command makes no such call. It waits for signals and for
the child; after a stop signal it gives the child 0.8 s to end in order. A child that is left behind gets
SIGKILL: it does nothing more when its call returns. Use this only for roles whose successor may start at any
time: a child that hangs keeps its open files.

A command, the importer and the controller always work in a child: a path of Redis, of a link or of a variable
may lead to a file system that hangs, also to one that is mounted later, or for other processes only.

Both processes of a role have to run: without the child no work is done, and without the parent no stop signal
arrives. So the parent writes the time into shared memory each second, and the heartbeat that the child
publishes is never much younger than that.
"""

import gc
import mmap
import os
import pickle
import select
import shlex
import signal
import struct
import time
import traceback
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from typing import Final, NoReturn, TypeVar

from pcapdj.runtime.command import end_by, end_process, ended_in_order, run_command
from pcapdj.runtime.environment import program_path
from pcapdj.runtime.errors import ExitCode, PcapdjError, Stopped
from pcapdj.runtime.mounts import any_may_hang, check_proc
from pcapdj.runtime.process import be_watched, die_with, die_with_supervisord
from pcapdj.runtime.signals import STOP_SIGNALS, Waits, handled, ignored

T = TypeVar("T")

_STOP_LIMIT_S: Final = 0.8
_KILL_LIMIT_S: Final = 0.3  # the signal ends it, unless a call hangs
_LONGEST_WAIT_S: Final = 60.0
_BEAT_S: Final = 1.0
_LATE_S: Final = 2.5  # a busy machine delays a beat
_BEAT: Final = struct.Struct("d")  # seconds on the clock that never steps, the same in all processes
_PART_BYTES: Final = 1 << 20
_STDERR: Final = 2
_HANG: Final = "It was stopped while a file system did not answer."

_beats: mmap.mmap | None = None  # in a child of `run_role`: when its parent last ran


def heartbeat_s() -> float:
    """Return when both processes of this role last ran, in seconds since the epoch: now, mostly."""
    age_s = time.monotonic() - _BEAT.unpack_from(_beats)[0] if _beats is not None else 0.0
    return time.time() - (age_s if age_s > _LATE_S else 0.0)


def run_role(  # noqa: PLR0913 - what happens in the life of a child
    prog: str,
    work: Callable[[], int | None],
    *,
    may_hang: bool,
    others: Collection[signal.Signals] = (),
    after_hang: Callable[[], None] | None = None,
    after_fork: Callable[[], None] | None = None,
) -> int | None:
    """Run a role's work, in a child process if its calls about file systems may hang.

    Args:
        prog: as users call the role.
        work: all that the role does; it handles signals itself, and no thread has been started before.
        may_hang: whether they may.
        others: signals that do not end the role, unless the child ends by them: it gets them, too.
        after_hang: called once a child is left behind, which says nothing about the file that it looked into.
        after_fork: called in this process once there is a child.

    Returns:
        The exit code, if it is not 0.
    """
    if not may_hang or _beats is not None:  # such a child is watched already
        return work()
    beats = mmap.mmap(-1, _BEAT.size)
    _BEAT.pack_into(beats, 0, time.monotonic())
    child, ended, before = forked_child(prog, lambda: _run_watching(work, beats))
    try:
        if after_fork:
            after_fork()
        if (code := _wait_for(child, ended, beats, others, before)) is not None:
            return code
    finally:
        os.close(ended)
    os.kill(child, signal.SIGKILL)
    if after_hang:
        after_hang()
    return ExitCode.OK


def forked_child(
    prog: str, work: Callable[[], int | None], *, own_group: bool = False
) -> tuple[int, int, Collection[int]]:
    """Fork a child that does the work and exits with its code; it dies with this process.

    Args:
        prog: as users call the command.
        work: of the child.
        own_group: the terminal sends its signals to this process only.

    Returns:
        Its pid; a descriptor that turns readable when it has ended; the signal mask to restore here once this
        process handles its signals.
    """
    parent = os.getpid()
    ended, has_child = os.pipe()
    child, before = _forked()
    if not child:
        os.close(ended)
        if own_group:
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # or a terminal may stop who writes to it
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's & has it ignored
            os.setpgid(0, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _run_child(prog, work, parent)
    os.close(has_child)
    return child, ended, before


def end_as(child: int) -> int:
    """Return the exit code of a child that has ended; end this process by the signal that has ended it."""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return end_by(-code) if code < 0 else code


def run_reader(
    prog: str,
    work: Callable[[], int | None],
    after_fork: Callable[[], None] | None = None,
) -> int | None:
    """Run the work of a command that reads files; a stop signal ends it, also while a call hangs.

    One that is ignored, as Ctrl-C is by what a shell starts with `&`, ends it as little as any other command.

    Args:
        prog: as users call the command.
        work: of the command.
        after_fork: as in `run_role`.

    Raises:
        PcapdjError: it was stopped while a call did hang.
    """
    return run_role(
        prog,
        partial(_in_order, work),
        may_hang=True,
        others=ignored(STOP_SIGNALS),
        after_hang=_report_hang,
        after_fork=after_fork,
    )


def begin_role(*commands: str | Sequence[str]) -> None:
    """Let this role end with supervisord, and wait until the places answer that it looks at when it starts.

    Meanwhile a signal ends it as any program.

    Args:
        commands: of the operator, as text or words; it looks for their programs.

    Raises:
        Unavailable: /proc is missing.
    """
    check_proc()
    die_with_supervisord()
    places = [os.environ.get("XDG_RUNTIME_DIR", "")]
    for command in commands:
        with suppress(ValueError):  # who starts it says what is wrong
            words = shlex.split(command) if isinstance(command, str) else command
            is_path = "/" in "".join(words[:1])
            places += words[:1] if is_path or not words else program_path().split(os.pathsep)
    await_places(*places)


def await_places(*paths: str) -> None:
    """Wait until calls about these paths return, but empty ones; a signal ends that as any program."""
    named = [os.fsencode(each) for each in paths if each]
    with suppress(FileNotFoundError):  # the current folder was removed
        if any_may_hang(named):
            result_of(lambda: [*map(os.path.exists, named)])


def result_of(work: Callable[[], T], waits: Waits | None = None) -> T:
    """Do the work in a child process, and return its result.

    The child has no descriptor but the standard streams: everything else that this process has open, such as
    locks, is free as soon as this process ends. It shows its progress on a terminal only.

    Args:
        work: its result, and the `PcapdjError` that it may raise, are sent here.
        waits: where this process waits for it; None: where signals still end it as any program.

    Raises:
        Stopped: a stop signal arrived; the child has ended.
        PcapdjError: it arrived while a call did hang, or what the work raised.
    """
    parent = os.getpid()
    result, theirs = os.pipe()
    os.set_blocking(result, False)
    child, before = _forked()
    if not child:
        _send_result(work, theirs, parent)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    os.close(theirs)
    try:
        with nullcontext() if waits else ended_in_order():
            data = _received(result, waits)
    except Stopped as exc:
        os.kill(child, signal.SIGKILL)
        if not select.select([result], [], [], _KILL_LIMIT_S)[0]:
            raise PcapdjError(_HANG) from exc
        raise
    finally:
        os.close(result)
    code = _exit_code_in_time(child)
    if code:
        raise PcapdjError(f"The process that looks at the files was killed (signal {-code}).")
    if not data:  # it ended, and a thread of it hangs
        raise PcapdjError("The process that looks at the files ended before it answered.")
    # The child is ours, and no other process has the pipe.
    returned, error = pickle.loads(data)  # noqa: S301
    if error:
        raise error
    found: T = returned
    return found


def _exit_code_in_time(child: int) -> int:
    """Return how a child ended that has sent its result; 0 if a thread of it hangs, which is left behind."""
    ended = os.pidfd_open(child)
    try:
        if select.select([ended], [], [], _KILL_LIMIT_S)[0]:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        os.close(ended)
    os.kill(child, signal.SIGKILL)
    return 0


def _received(result: int, waits: Waits | None) -> bytes:
    """Return all that comes through a pipe."""
    data = bytearray()
    while True:
        try:
            part = os.read(result, _PART_BYTES)
        except BlockingIOError:
            if waits:
                waits.wait(_LONGEST_WAIT_S, result)
            else:
                select.select([result], [], [])
            continue
        if not part:
            return bytes(data)
        data += part


def _send_result(work: Callable[[], object], result: int, parent: int) -> NoReturn:
    """Do the work and send its result, in a child."""
    code = 1
    try:
        die_with(parent, signal.SIGKILL)
        _become_reader(result)
        answer: tuple[object, Exception | None] = (None, None)
        try:
            answer = (work(), None)
        except PcapdjError as exc:
            answer = (None, exc)
        except Exception as exc:  # noqa: BLE001 - it ends the parent, as without a child
            exc.add_note(traceback.format_exc())
            answer = (None, exc)
        with open(result, "wb") as file:
            pickle.dump(answer, file)
        code = 0
    finally:
        os._exit(code)


def _become_reader(kept: int) -> None:
    """Keep nothing of the parent that the system knows: signal handlers, descriptors, output."""
    signal.set_wakeup_fd(-1)
    for stop in STOP_SIGNALS:
        signal.signal(stop, signal.SIG_IGN)  # the parent decides
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    gc.freeze()  # no object of the parent closes a descriptor's number that is used again
    os.closerange(_STDERR + 1, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(_STDERR if os.isatty(_STDERR) else _STDERR + 1):
        os.dup2(null, number)  # a child that hangs must not keep our output open


def _forked() -> tuple[int, Collection[int]]:
    """Fork; return as `os.fork`, and the signals to be blocked once both processes handle theirs."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, the exit code would be lost
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    return os.fork(), before


def _report_hang() -> NoReturn:
    raise PcapdjError(_HANG)


def _run_watching(work: Callable[[], int | None], beats: mmap.mmap) -> int | None:
    """Do the work of a role, in a child: `heartbeat_s` depends on when the parent ran."""
    global _beats  # noqa: PLW0603 - of this process, as its parent is
    _beats = beats
    be_watched()
    return work()


def _in_order(work: Callable[[], int | None]) -> int | None:
    with ended_in_order():
        return work()


def _run_child(prog: str, work: Callable[[], int | None], parent: int) -> NoReturn:
    die_with(parent, signal.SIGKILL)
    end_process(run_command(prog, work))


def _wait_for(
    child: int,
    ended: int,
    beats: mmap.mmap,
    others: Collection[signal.Signals],
    mask: Collection[int],
) -> int | None:
    """Return the child's exit code, None if it hangs after a stop; end as it did, if a signal killed it."""
    with handled(others, stops=[each for each in STOP_SIGNALS if each not in others]) as signals:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        try:
            while not select.select([ended], [], [], 0)[0]:
                signals.wait(_BEAT_S, ended)
                for each in filter(signals.received, others):
                    os.kill(child, each)
                _BEAT.pack_into(beats, 0, time.monotonic())
        except Stopped:
            os.kill(child, signals.stop)
            if not select.select([ended], [], [], _STOP_LIMIT_S)[0]:
                return None
        except BaseException:  # the terminal was closed: the child removes what is not complete
            os.kill(child, signal.SIGTERM)
            select.select([ended], [], [], _STOP_LIMIT_S)
            raise
    return end_as(child)
