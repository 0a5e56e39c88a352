"""The process that starts Redis and the roles of one run, starts them again when they die, and stops them.

`pcapdj run` forks it, and it forks the roles: their modules are imported once, by the command, instead of by
four interpreters with a third of a second of CPU each. It has one thread, since a fork copies locks and not
the threads that hold them; a role starts its threads after the fork. It logs nothing for the same reason.

A role dies with this process, and this process with the command (PDEATHSIG), each by SIGTERM. The first stop
signal stops controller and dispatcher, then the launcher, whose analyzer flushes. Then the command reads what
they wrote last, and SIGUSR1 stops Redis. A second stop signal is passed on to the launcher, which kills the
analyzer.

Each child that ends makes a line in the pipe to the command: its name, its exit code, and whether it is given
up. Whoever holds the other end sees by its end that this process is gone.
"""

import gc
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final, NoReturn

from pcapdj.runtime import log
from pcapdj.runtime.backoff import backoff_s
from pcapdj.runtime.command import exit_code_of
from pcapdj.runtime.environment import foreign_environment
from pcapdj.runtime.errors import ExitCode, Stopped
from pcapdj.runtime.fifo import is_reader_gone
from pcapdj.runtime.process import die_with, set_title
from pcapdj.runtime.signals import Signals, handled
from pcapdj.store.embedded import arguments

REDIS_SOCKET: Final = "redis.sock"
REDIS_DATA: Final = "redis"
LAUNCHER_SOCKET: Final = "launcher.sock"
LOGS: Final = "log"
PIPE: Final = "stream.pcap"
ALL_ROLES: Final = "roles"  # the name in the line that all of them have ended

_MOST_FAILURES: Final = 20  # in a row; with the pauses about 17 s
# with these codes another start would end in the same way
_LASTING: Final = (ExitCode.USAGE, ExitCode.CANNOT_CREATE, ExitCode.DENIED)
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 1.0
_STABLE_S: Final = 2.0  # a child that lived longer did not fail at its start
_STOP_LIMIT_S: Final = 10.0
_FLUSH_LIMIT_S: Final = 150.0  # longer than the launcher's --flush-timeout
_REPEAT_S: Final = 0.2
_SOCKET_POLL_S: Final = 0.002
_SOCKET_LIMIT_S: Final = 1.0  # after it a role waits by itself
_UMASK: Final = 0o077
_OTHER_SIGNALS: Final = (signal.SIGCHLD, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)  # none may end it
_BEFORE_HANDLERS: Final = (signal.SIGUSR1, signal.SIGUSR2)  # ignored by a role until it handles them

# name -> module, command, its options; in the order of their starts
_ROLES: Final[Mapping[str, tuple[str, str, Sequence[str]]]] = {
    "controller": ("pcapdj.controller", "pcapdj control", ()),
    "consumer": (
        *("pcapdj.consumer_launcher", "pcapdj consume"),
        ("--socket", LAUNCHER_SOCKET, "-b", PIPE),
    ),
    "dispatcher": (
        *("pcapdj.dispatcher", "pcapdj dispatch"),
        ("--follow", "--launcher", LAUNCHER_SOCKET, "-b", PIPE),
    ),
}
_REDIS: Final = "redis"
LOG_NAMES: Final = ("service", _REDIS, *_ROLES)  # of the files in `LOGS`, without their ending
_SOCKETS: Final = {_REDIS: REDIS_SOCKET, "consumer": LAUNCHER_SOCKET}  # what the next one needs
_STOP_ORDER: Final = ((("controller", "dispatcher"), _STOP_LIMIT_S), (("consumer",), _FLUSH_LIMIT_S))


@dataclass(frozen=True, slots=True)
class ServiceFolder:
    """The folder of a private service, and what its processes get.

    Args:
        path: absolute; it has the folders `LOGS` and `REDIS_DATA`.
        server: the Redis program.
        environment: of the roles and of Redis.
    """

    path: Path
    server: Path
    environment: Mapping[str, str]


def fork_service(folder: ServiceFolder, reader: int, reports: int) -> int:
    """Fork the process; return its pid.

    Threads of the caller are missing in it: none of them may hold a lock now.

    Args:
        folder: of the service.
        reader: the reading end of a pipe, which stays with the caller.
        reports: the writing end; the caller closes its own.
    """
    for module, *_ in _ROLES.values():
        import_module(module)
    parent = os.getpid()
    _flush()
    if pid := _fork():
        return pid
    try:
        os.close(reader)  # open here, it would hide that the command is gone
        os.setsid()  # the command handles Ctrl-C
        _become_child(folder, "service", parent)
        set_title("pcapdj service")
        gc.freeze()  # the children share this memory: a collection would copy it
        with handled(_OTHER_SIGNALS) as signals:
            ServiceProcess(folder, reports, signals).run()
        os._exit(0)
    except BaseException:  # noqa: BLE001 - nothing of the caller may run in this process
        _print_traceback()
        os._exit(1)


class ServiceProcess:
    """The children, and when each of them is started again."""

    def __init__(self, folder: ServiceFolder, reports: int, signals: Signals) -> None:
        self._folder = folder
        self._reports = reports
        self._signals = signals
        self._running: dict[int, str] = {}
        self._started_s: dict[str, float] = {}
        self._due_s = dict.fromkeys((_REDIS, *_ROLES), 0.0)
        self._failures = Counter[str]()

    def run(self) -> None:
        """Keep all children running until a stop signal; then stop them in order."""
        try:
            while True:
                self._reap()
                self._start_due()
                waits_s = [due_s - time.monotonic() for due_s in self._due_s.values()]
                self._signals.wait(min(waits_s, default=60.0))
        except Stopped:
            self._stop()

    def _start_due(self) -> None:
        for name, due_s in list(self._due_s.items()):
            if due_s <= time.monotonic():
                del self._due_s[name]
                self._started_s[name] = time.monotonic()
                self._running[self._fork_child(name)] = name
                if name in _SOCKETS:
                    self._wait_for_socket(name)

    def _wait_for_socket(self, name: str) -> None:
        """Give it a moment: a role that finds no Redis or launcher tries again 0.1 or 0.2 s later."""
        until_s = time.monotonic() + _SOCKET_LIMIT_S
        while self._is_running((name,)) and time.monotonic() < until_s:
            if (self._folder.path / _SOCKETS[name]).exists():
                return
            self._signals.wait(_SOCKET_POLL_S)
            self._reap()

    def _fork_child(self, name: str) -> int:
        parent = os.getpid()
        if pid := _fork():
            return pid
        try:
            os.close(self._reports)
            _become_child(self._folder, name, parent)
            if name == _REDIS:
                _become_redis(self._folder)
            _run_role(name)
        except BaseException:  # noqa: BLE001 - nothing of this process may run in a child
            _print_traceback()
            os._exit(1)

    def _reap(self) -> None:
        """Record which children have ended, and when each is started again."""
        while self._running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            if name := self._running.pop(pid, ""):
                self._record_end(name, os.waitstatus_to_exitcode(status))

    def _record_end(self, name: str, code: int) -> None:
        now_s = time.monotonic()
        is_stable = now_s - self._started_s[name] > _STABLE_S
        self._failures[name] = 1 if is_stable else self._failures[name] + 1
        is_given_up = self._failures[name] > _MOST_FAILURES or code in _LASTING
        if not is_given_up:
            pause_s = backoff_s(self._failures[name], first_s=_FIRST_PAUSE_S, limit_s=_LONGEST_PAUSE_S)
            self._due_s[name] = now_s + (0.0 if is_stable else pause_s)
        with suppress(OSError):  # the command is gone: its death signal is on the way
            os.write(self._reports, f"{name} {code} {int(is_given_up)}\n".encode())

    def _stop(self) -> None:
        for names, limit_s in _STOP_ORDER:
            self._end(names, signal.SIGTERM, limit_s)
        self._wait_for_command()
        self._end((_REDIS,), signal.SIGKILL, _STOP_LIMIT_S)  # its data goes with the folder

    def _wait_for_command(self) -> None:
        """Keep Redis until the command has read what the roles wrote last, or is gone."""
        with suppress(OSError):
            os.write(self._reports, f"{ALL_ROLES} 0 0\n".encode())
        until_s = time.monotonic() + _STOP_LIMIT_S
        while not self._signals.received(signal.SIGUSR1) and not is_reader_gone(self._reports):
            if (left_s := until_s - time.monotonic()) <= 0:
                return
            with suppress(Stopped):
                self._signals.wait(min(left_s, _REPEAT_S), stops=self._signals.stop_count + 1)

    def _end(self, names: Sequence[str], number: int, limit_s: float) -> None:
        """Signal these children until they have ended; a second stop signal signals them again."""
        until_s = time.monotonic() + limit_s
        self._signal(names, number)
        while True:
            stops = self._signals.stop_count  # reads what has arrived, the ends of children too
            self._reap()
            if not self._is_running(names):
                return
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                self._signal(names, signal.SIGKILL)
            elif stops > 1:
                self._signal(names, number)
            with suppress(Stopped):
                self._signals.wait(left_s if left_s > 0 and stops == 1 else _REPEAT_S, stops=stops + 1)

    def _is_running(self, names: Sequence[str]) -> bool:
        return any(name in names for name in self._running.values())

    def _signal(self, names: Sequence[str], number: int) -> None:
        for pid, name in self._running.items():
            if name in names:
                os.kill(pid, number)


def _fork() -> int:
    """Fork; in the child all signals stay blocked until `_become_child` has removed our handlers.

    They would write a signal that is meant for the child into the socket that this process reads.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
    return pid


def _become_child(folder: ServiceFolder, name: str, parent: int) -> None:
    """Give this process what a new one would have: signals, streams, folder, environment and title."""
    die_with(parent, signal.SIGTERM)
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    for number in _BEFORE_HANDLERS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
    os.umask(_UMASK)
    os.chdir(folder.path)
    null = os.open(os.devnull, os.O_RDWR)
    output = os.open(f"{LOGS}/{name}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for new, old in enumerate((null, output, output)):
        os.dup2(old, new)
    os.close(null)
    os.close(output)
    os.environ.clear()
    os.environ.update(folder.environment)


def _become_redis(folder: ServiceFolder) -> NoReturn:
    settings = arguments(Path(REDIS_DATA), folder.path / REDIS_SOCKET, is_synced=True)
    os.execve(folder.server, [str(folder.server), *settings], foreign_environment())  # noqa: S606 - argv, no shell


def _run_role(name: str) -> NoReturn:
    module, command, words = _ROLES[name]
    set_title(command)
    code = exit_code_of(import_module(module).app, command, words)
    try:
        _flush()
    finally:
        os._exit(code)


def _flush() -> None:
    log.flush()
    sys.stdout.flush()
    sys.stderr.flush()


def _print_traceback() -> None:
    import traceback

    traceback.print_exc()
    _flush()
