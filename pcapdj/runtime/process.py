"""A process ends with its parent, and shows by its title what it is.

After `kill -9` of supervisord its children go on running, and a new supervisord starts a second copy of each
(measured on 4.3.0); an analyzer would go on after `kill -9` of the launcher. So they ask the kernel for a
signal when the parent dies, see prctl(2) PR_SET_PDEATHSIG. It comes when the parent *thread* ends: start
processes from the main thread.
"""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

_STAT_BYTES = 4096  # it has at most half of that
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_ARGUMENTS = 48  # arg_start of proc_pid_stat(5)
_JOIN_SESSION_KEYRING = 1
# The number of the system call, for a process of 64 bits; 0: unknown.
_KEYCTLS = {"x86_64": 250, "aarch64": 219, "riscv64": 219, "ppc64le": 271, "s390x": 280}
KEYCTL = _KEYCTLS.get(os.uname().machine, 0) if sys.maxsize > 1 << 32 else 0
_libc = ctypes.CDLL(None, use_errno=True)  # loaded before any fork: the child of a fork should load nothing


_is_watched = False  # this process: its parent passes stop signals on, and kills it if it does not end


def be_watched() -> None:
    """Let a second stop signal do nothing in this process from now on.

    The terminal, timeout(1) and systemd stop a child and its parent, which passes the signal on.
    """
    global _is_watched  # noqa: PLW0603 - of this process
    _is_watched = True


def ignore_further(stops: Iterable[int]) -> bool:
    """Let these signals do nothing from now on, if this process is watched; report whether it is."""
    if _is_watched:
        for number in stops:
            signal.signal(number, _do_nothing)
    return _is_watched


def _do_nothing(_number: int, _frame: object) -> None:
    """Not SIG_IGN: programs that this process starts would inherit that."""


def die_with_parent(number: int = signal.SIGTERM) -> None:
    """Ask the kernel to send this process the signal when its parent dies; it survives exec."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def die_with_supervisord() -> None:
    """End this process when supervisord dies, if supervisord started it.

    If supervisord died before the call, the parent's pid has changed: this process then ends at once.
    """
    if not os.environ.get("SUPERVISOR_ENABLED"):
        return
    parent = os.getppid()
    die_with_parent()
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def die_with(parent: int, number: int) -> None:
    """In a new child: ask for the signal when this parent dies; if it has died already, end at once."""
    die_with_parent(number)
    if os.getppid() != parent:
        os._exit(1)


def death_signal_for_child(number: int = signal.SIGKILL) -> Callable[[], None]:
    """Return a `preexec_fn` for Popen: the child gets the signal when this process dies."""
    return partial(die_with, os.getpid(), number)


def foreign_child_setup() -> Callable[[], None]:
    """Return a `preexec_fn` for Popen, for a program of others: clean, and ended with this process.

    A core dump would be a copy of captured traffic. Ignored signals stay ignored after exec, and
    supervisord.conf starts roles with some ignored; an analyzer may use them, to rotate its logs for example.
    """
    ask_for_death_signal = death_signal_for_child(signal.SIGKILL)
    settable = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}

    def set_up() -> None:
        ask_for_death_signal()
        _refuse_core_dump()
        for number in settable:
            with suppress(OSError):
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])

    return set_up


def analyzer_setup() -> Callable[[], None]:
    """Return a `preexec_fn` for an analyzer: as `foreign_child_setup`, and without keys of who started it.

    A session keyring stays with a process that becomes another user, as Kerberos tickets and passwords of
    file systems in it do. Where keyctl(2) is forbidden, as in containers, no keyring can be read either.

    Source: session-keyring(7), keyctl(2) KEYCTL_JOIN_SESSION_KEYRING.
    """
    set_up = foreign_child_setup()

    def set_up_without_keys() -> None:
        set_up()
        if KEYCTL:
            _libc.syscall(KEYCTL, _JOIN_SESSION_KEYRING, None)

    return set_up_without_keys


def end_text(code: int) -> str:
    """Return how a process ended: `exited 1`, `killed by signal 9`.

    Args:
        code: its exit code; negative: the signal that killed it.
    """
    return f"exited {code}" if code >= 0 else f"killed by signal {-code}"


def end_predicate(code: int) -> str:
    """Return the same, to follow a subject: `exited 1`, `was killed by signal 9`."""
    return f"{'was ' if code < 0 else ''}{end_text(code)}"


def _refuse_core_dump() -> None:
    """Let this process and its children leave no core dump, neither as a file nor for another program.

    The program of kernel.core_pattern, as systemd-coredump, gets one whatever the limit is; but the kernel
    takes a limit of 1 byte for that program's own crash. Where the limit is 0 for good, a dump has no memory.

    Source: core(5), "Controlling which mappings are written to the core dump"; do_coredump of Linux.
    """
    with suppress(OSError):  # not for a process that only root can look into: its parent has done it
        filter_of_mappings = os.open("/proc/self/coredump_filter", os.O_WRONLY | os.O_CLOEXEC)
        os.write(filter_of_mappings, b"0")
        os.close(filter_of_mappings)
    with suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))


def hide_from_user() -> None:
    """Let only root look into this process: its memory, environment and descriptors, until it calls exec.

    An analyzer of the same user could read the password there. It also means: no core dump, and no debugger
    for this user, unless PCAPDJ_DEBUGGER is set.

    Source: prctl(2) PR_SET_DUMPABLE; ptrace(2), "Ptrace access mode checking".
    """
    if not os.environ.get("PCAPDJ_DEBUGGER"):
        _refuse_core_dump()
        _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def signal_group(group: int, number: int) -> bool:
    """Send a signal to a process group whose leader this process has not reaped.

    Returns:
        False: all of its processes are another user's, as behind sudo, also one that has ended.
    """
    try:
        os.killpg(group, number)
    except ProcessLookupError:  # none is left
        return True
    except PermissionError:
        return False
    return True


def become_subreaper() -> None:
    """Become the parent of the orphans among this process's descendants, see prctl(2)."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def set_title(title: str) -> None:
    """Show this text in `ps`, instead of the command line of the process that this one was forked from.

    It takes at most the room of that command line; see proc_pid_stat(5), arg_start and arg_end.
    """
    text = os.fsencode(title)
    _libc.prctl(_PR_SET_NAME, text, 0, 0, 0)
    if place := own_memory(_ARGUMENTS):
        start, end = place
        ctypes.memmove(start, text[: end - start - 1].ljust(end - start, b"\0"), end - start)


def own_memory(field: int) -> tuple[int, int] | None:
    """Return where this process got its command line or environment: from which address to which.

    Args:
        field: of proc_pid_stat(5), the one with the first address; the next has the other.

    Returns:
        None: there is no /proc, or it does not show that.
    """
    with suppress(OSError, ValueError, IndexError):
        with open("/proc/self/stat", "rb") as file:  # noqa: PTH123 - without the import of pathlib
            fields = file.read(_STAT_BYTES).rpartition(b")")[2].split()
        start, end = int(fields[field - 3]), int(fields[field - 2])
        if 0 < start < end:
            return start, end
    return None
