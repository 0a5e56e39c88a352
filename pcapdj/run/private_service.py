"""A private service for one run: a Redis and the roles, in a temporary folder.

The roles are those of the service, without the importer, with the same options; all settings are environment
variables. One process starts them (`service_process`), not supervisord: its start, and those of four
interpreters, took longer than the work on a few small files. It dies with this process, and they with it; the
next run removes the folder.
"""

import os
import resource
import select
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from pcapdj.run.private_folder import private_folder, private_folder_name
from pcapdj.run.service_process import (
    ALL_ROLES,
    LAUNCHER_SOCKET,
    LOG_NAMES,
    LOGS,
    PIPE,
    REDIS_DATA,
    REDIS_SOCKET,
    ServiceFolder,
    fork_service,
)
from pcapdj.runtime.environment import forget
from pcapdj.runtime.errors import CannotCreate, Stopped, StoreUnavailable, Unavailable
from pcapdj.runtime.foreign_files import foreign_lines, open_foreign, skip_hole
from pcapdj.runtime.numbers import counted
from pcapdj.runtime.places import check_socket_path
from pcapdj.runtime.process import end_text
from pcapdj.runtime.safe_text import quoted, unix_url
from pcapdj.runtime.signals import Signals
from pcapdj.runtime.whole_file import mkdir_inside, open_inside
from pcapdj.store.client import Store
from pcapdj.store.embedded import find_server
from pcapdj.store.keys import Keys
from pcapdj.store.redis_url import URL_VARIABLE, has_secret

KEPT_LOGS: Final = "logs"  # beside the analyzer's output, if anything went wrong with the service
_START_LIMIT_S: Final = 20.0
_STOP_LIMIT_S: Final = 180.0  # longer than the service takes: an analyzer may flush for two minutes
_REDIS_LIMIT_S: Final = 15.0  # longer than the service gives it
_POLL_S: Final = 0.005
_COPY_BYTES: Final = 1 << 20
_MOST_COPIED_BYTES: Final = 64 << 20  # of a log: more than a run writes
_COPY_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_REPEAT_S: Final = 0.1
_SHOWN_NAMES: Final = {"consumer": "launcher", "redis": "private Redis"}
_LEAST_FILES: Final = 64  # Redis keeps 32 of them, and refuses clients beyond the rest: below 56 roles wait
_ANSWER_S: Final = 10.0  # of the private Redis: on a busy machine it may not run for seconds
# The private service has its own Redis and lane, and the files, their order and their one stream are those of
# the command line, whatever this process's environment has for a service.
_NOT_INHERITED: Final = (
    "PCAPDJ_REDIS_URL",
    "PCAPDJ_REDIS_PASSWORD_FILE",
    "PCAPDJ_LANE",
    "PCAPDJ_QUEUE",
    "PCAPDJ_ID",
    "PCAPDJ_TAKE",
    "PCAPDJ_ROOT",
    "PCAPDJ_IDLE_EOF",
    "PCAPDJ_BETWEEN",
)


class RoleEnd(NamedTuple):
    """A process of the private service ended while nobody had stopped it; another one is started.

    Args:
        role: as the service calls it.
        code: its exit code; negative: the signal that killed it.
    """

    role: str
    code: int

    @property
    def shown_role(self) -> str:
        """The role's name for people."""
        return shown_role(self.role)

    @property
    def status(self) -> str:
        """How it ended: `exited 1`, `killed by signal 9`."""
        return end_text(self.code)


def shown_role(role: str) -> str:
    """Return the name for people of a process of the service."""
    return _SHOWN_NAMES.get(role, role)


def check_private_service() -> None:
    """Refuse a run whose private service cannot start, before anything is made.

    Raises:
        CannotCreate: no temporary folder can be created, its path is too long for sockets, or processes may
            open too few files.
        Unavailable: no Redis is installed.
    """
    find_server()
    most_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most_files != resource.RLIM_INFINITY and most_files < _LEAST_FILES:
        raise CannotCreate(
            f"A process may open only {counted(most_files, 'file')} here; a run needs {_LEAST_FILES}.",
            hint="Raise the limit with ulimit -n.",
        )
    longest = private_folder_name() / LAUNCHER_SOCKET
    check_socket_path(longest, hint="Set TMPDIR to a folder with a shorter path.")


@contextmanager
def private_service(settings: Mapping[str, str], signals: Signals) -> "Iterator[PrivateService]":
    """Run a private service for the block; then stop it and remove its folder.

    Args:
        settings: environment variables of the roles; they override those of this process.
        signals: a second stop signal kills an analyzer that flushes.

    Raises:
        CannotCreate: the temporary folder cannot be created.
        Unavailable: no Redis is installed.
    """
    server = find_server()
    with private_folder() as path:
        service = _started(path, server, settings)
        try:
            yield service
        finally:
            service.stop(signals)


def _started(path: Path, server: Path, settings: Mapping[str, str]) -> "PrivateService":
    for name in (LOGS, REDIS_DATA):
        (path / name).mkdir(mode=0o700)
    url = unix_url(str(path / REDIS_SOCKET))
    if has_secret(os.environ.get(URL_VARIABLE, "")):
        forget(URL_VARIABLE)  # the roles are forks: /proc would show it for each of them
    inherited = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    own = {
        "PCAPDJ_REDIS_URL": url,
        "PCAPDJ_REDIS_DATA": str(path / REDIS_DATA),
        "SUPERVISOR_ENABLED": "1",  # a role that is not started by hand
    }
    reports, theirs = os.pipe()
    try:
        pid = fork_service(ServiceFolder(path, server, {**inherited, **settings, **own}), reports, theirs)
    finally:
        os.close(theirs)
    return PrivateService(path, Store(url, Keys(), timeout_s=_ANSWER_S), pid, reports)


class PrivateService:
    """A started private service.

    Args:
        folder: everything of it.
        store: its Redis.
        pid: of the process that starts Redis and the roles.
        reports: what that process reports of them; closed by `stop`.
    """

    def __init__(self, folder: Path, store: Store, pid: int, reports: int) -> None:
        self.store: Final = store
        self._folder = folder
        self._pid = pid
        self._reports = reports
        self._unread = b""
        self._exit_codes: dict[str, int] = {}
        self._given_up: list[str] = []
        self._role_ends: list[RoleEnd] = []
        self._is_stopping = False
        self._has_ended = False
        self._have_roles_ended = False

    @property
    def dispatcher_id(self) -> str:
        """The id of its dispatcher: the pipe's path, as the dispatcher's own folder makes it absolute."""
        return str(self._folder / PIPE)

    @property
    def launcher_socket(self) -> Path:
        """The socket of its launcher."""
        return self._folder / LAUNCHER_SOCKET

    @property
    def is_alive(self) -> bool:
        """Report whether the process that starts Redis and the roles runs."""
        self._read_reports()
        return not self._has_ended

    def wait_for_redis(self, signals: Signals) -> None:
        """Wait until the private Redis answers.

        Raises:
            Unavailable: it does not start; the message has the reason.
            Stopped: a stop signal arrived.
        """
        deadline_s = time.monotonic() + _START_LIMIT_S
        while not self._redis_answers():
            problem = ""
            if not self.is_alive:
                raise Unavailable(f"The private service ended. {self.last_log_line('service')}".rstrip())
            if "redis" in self._exit_codes:
                problem = f"exited {self._exit_codes['redis']}"
            elif time.monotonic() > deadline_s:
                problem = f"does not answer after {_START_LIMIT_S:g} s"
            if problem:
                log_line = self.last_log_line("redis")
                raise Unavailable(f"The private Redis {problem}. Last line of its log: {log_line}")
            signals.wait(_POLL_S)

    def failed_roles(self) -> list[str]:
        """Return the programs that are not started again."""
        self._read_reports()
        return self._given_up

    def role_ends(self) -> list[RoleEnd]:
        """Return which processes have ended and were started again, from the first one on."""
        self._read_reports()
        return self._role_ends

    def last_log_line(self, role: str) -> str:
        """Return the last line of a role's log; empty if there is none."""
        line = ""
        for each in foreign_lines(self._folder / LOGS / f"{role}.log"):
            line = each.rstrip() or line
        return line

    def keep_logs(self, folder: Path) -> None:
        """Copy the roles' logs into the folder.

        Raises:
            CannotCreate: not all of them could be copied.
        """
        failures = list[OSError]()
        try:
            with suppress(FileExistsError):
                mkdir_inside(folder)
            copies = open_inside(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as exc:
            raise _not_copied(folder) from exc
        try:
            for name in LOG_NAMES:
                try:
                    _copy(self._folder / LOGS / f"{name}.log", copies)
                except FileNotFoundError:  # it was not started
                    continue
                except OSError as exc:
                    failures.append(exc)
        finally:
            os.close(copies)
        if failures:
            raise _not_copied(folder) from failures[0]

    def stop_roles(self, signals: Signals) -> None:
        """Stop the roles in order; the analyzer flushes its output first, until a second stop signal.

        Redis keeps what they wrote last, until `stop`.
        """
        if not self.is_alive or self._have_roles_ended:
            return
        self._is_stopping = True  # what ends from here on was stopped
        deadline_s = time.monotonic() + _STOP_LIMIT_S
        stops = min(1, signals.stop_count)  # what came after the first one is passed on, also if it is here
        self._signal(signal.SIGTERM)
        while self.is_alive and not self._have_roles_ended:
            left_s, count = deadline_s - time.monotonic(), max(stops, signals.stop_count)
            if left_s <= 0:
                self._signal(signal.SIGKILL)
            elif count > stops:
                self._signal(signal.SIGTERM)  # repeatedly: of two that arrive together the process gets one
            wait_s = max(left_s, _POLL_S) if count == stops else _REPEAT_S
            with suppress(Stopped):
                signals.wait(wait_s, self._reports, stops=count + 1)

    def stop(self, signals: Signals) -> None:
        """Stop everything."""
        self.stop_roles(signals)
        deadline_s = time.monotonic() + _REDIS_LIMIT_S
        self._signal(signal.SIGUSR1)
        while self.is_alive:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                self._signal(signal.SIGKILL)
            with suppress(Stopped):
                signals.wait(max(left_s, _POLL_S), self._reports, stops=signals.stop_count + 1)
        os.close(self._reports)
        os.waitpid(self._pid, 0)

    def _signal(self, number: int) -> None:
        os.kill(self._pid, number)  # it is not reaped before `stop` has seen its end

    def _redis_answers(self) -> bool:
        try:
            self.store.ping()
        except StoreUnavailable:
            return False
        return True

    def _read_reports(self) -> None:
        """Read which children have ended since the last call; the end of the pipe is the service's own."""
        while not self._has_ended and select.select([self._reports], [], [], 0)[0]:
            data = os.read(self._reports, 4096)
            self._has_ended = not data
            *lines, self._unread = (self._unread + data).split(b"\n")
            for line in lines:
                name, code, is_given_up = line.decode().split()
                self._have_roles_ended |= name == ALL_ROLES
                self._exit_codes[name] = int(code)
                if is_given_up == "1":
                    self._given_up.append(name)
                elif not self._is_stopping:
                    self._role_ends.append(RoleEnd(name, int(code)))


def _not_copied(folder: Path) -> CannotCreate:
    return CannotCreate(f"The logs cannot be copied to {quoted(str(folder))}.")


def _copy(path: Path, folder: int) -> None:
    """Copy what a log has on disk now: an analyzer can write to it, or put anything in its place."""
    with (
        open_foreign(path) as log,
        os.fdopen(os.open(path.name, _COPY_FLAGS, 0o666, dir_fd=folder), "wb") as file,
    ):
        end, left_bytes = os.fstat(log.fileno()).st_size, _MOST_COPIED_BYTES
        while part := log.read(max(0, min(_COPY_BYTES, end - log.tell(), left_bytes))):
            file.write(part)
            left_bytes -= len(part)  # with a byte in each MiB, holes of terabytes would be copied
            skip_hole(log.seek)
