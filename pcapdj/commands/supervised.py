"""The service of this folder, through its own supervisord: started, seen, stopped, restarted.

supervisord answers XML-RPC on the socket that its configuration names. `pcapdj up`, `down` and `restart` use
it, since pipx and uv put `pcapdj` on PATH, and neither supervisord nor supervisorctl.

Source: supervisor's documentation, "XML-RPC API Documentation" and "Process States".
"""

import configparser
import os
import select
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Final, NamedTuple
from xmlrpc.client import Fault

from supervisor.xmlrpc import Faults

from pcapdj.commands.supervisord_socket import (
    ANSWER_S,
    LOG,
    SOCKET,
    NotRunning,
    ShuttingDown,
    SupervisordSocket,
    words_of,
)
from pcapdj.console.screen import print_lines
from pcapdj.console.snapshot_fields import ROLES
from pcapdj.runtime.environment import whole_environment
from pcapdj.runtime.errors import ConfigError, PcapdjError
from pcapdj.runtime.foreign_files import foreign_text
from pcapdj.runtime.safe_text import quoted, unix_url
from pcapdj.runtime.trust import has_service
from pcapdj.service import CONF, check_supervisords_files, configuration_parser
from pcapdj.store.client import Store
from pcapdj.store.keys import Keys
from pcapdj.store.redis_url import SOCKET_IN_LAYOUT
from pcapdj.store.server import unwritten_changes

_BEGIN_S: Final = 20.0  # it runs within a second; later only on a very busy machine
_START_S: Final = 10.0  # a role that ends early is tried again after 1, 2, 3 .. s: then it was four times
_LOOK_S: Final = 0.1
_LAST_LINE_BYTES: Final = 400
_MOST_CONF_BYTES: Final = 1 << 20
_REDIS: Final = "redis"  # the program of the embedded server
_UNSETTLED: Final = ("STARTING", "BACKOFF", "STOPPING", "UNKNOWN")


class Program(NamedTuple):
    """What supervisord shows of one program.

    Args:
        name: in supervisord.conf, such as `dispatcher`.
        state: in supervisord's word, such as RUNNING.
        pid: 0: it does not run.
        exit_status: of its last end.
        why: what went wrong when it was started; empty: nothing.
        log: the path of its log.
        last_line: of the log, if it does not run; that is mostly the reason.
    """

    name: str
    state: str
    pid: int
    exit_status: int
    why: str
    log: str
    last_line: str = ""

    @property
    def is_settled(self) -> bool:
        """Whether it stays in this state by itself."""
        return self.state not in _UNSETTLED

    @property
    def is_well(self) -> bool:
        """Whether it runs, or has nothing to do: the embedded Redis where another one is named.

        So has a program of the user that has done its work. A role that ended works no more, with any code.
        """
        return self.state == "RUNNING" or (self._has_ended_well and self.name not in ROLES)

    @property
    def can_be_started(self) -> bool:
        """Whether it does not run; one of the user's that has done its work is started by its name only."""
        return not self.is_well or (self._has_ended_well and self.name == _REDIS)

    @property
    def _has_ended_well(self) -> bool:
        return self.state == "EXITED" and self.exit_status == 0

    @property
    def lines(self) -> list[str]:
        """Name, state, and the pid; or what starts it; or why it failed, where its log is, how that ends."""
        if self.state == "RUNNING":
            rest = f"pid {self.pid}"
        elif self.is_well:
            rest = "nothing to do"
        elif self.state == "STOPPED":
            rest = f"'pcapdj up {self.name}' starts it"
        else:
            status = f"exit code {self.exit_status}" if self.state == "EXITED" else self.why
            rest = f"{status + '; ' if status else ''}see {self.log}"
        lines = [f"{self.name:<12}{self.state.lower():<10}{rest}"]
        return [*lines, f"{'':<12}{self.last_line}"] if self.last_line else lines


class Supervisord:
    """The supervisord of the service in this folder.

    Raises:
        ConfigError: no service is here, or another user's.
    """

    def __init__(self, folder: Path) -> None:
        if not has_service(folder):
            raise ConfigError(
                f"{quoted(str(folder.absolute()))} has no {CONF}.",
                hint="Change to the service's folder, or make one with 'pcapdj init DIR'.",
            )
        self._folder = folder.absolute()
        self._socket = SupervisordSocket(self._folder)

    def pid(self) -> int:
        """Return its pid; 0: it does not run."""
        try:
            return int(self._socket.asked("getPID"))
        except NotRunning:
            return 0

    def programs(self, names: Collection[str] = ()) -> list[Program]:
        """Return these programs, all without names, in the order of their start.

        Raises:
            ConfigError: no program has one of the names.
        """
        priorities = {each["name"]: each["process_prio"] for each in self._socket.asked("getAllConfigInfo")}
        found = {
            each["name"]: Program(
                *(each["name"], each["statename"], each["pid"], each["exitstatus"], each["spawnerr"]),
                os.path.relpath(each["stdout_logfile"], self._folder),
            )
            for each in sorted(
                self._socket.asked("getAllProcessInfo"), key=lambda each: priorities.get(each["name"], 0)
            )
        }
        _check_names(names, found)
        return [each for name, each in found.items() if not names or name in names]

    def check_files(self) -> None:
        """Refuse a start that would write logs where another user reads them.

        Raises:
            CannotCreate: as `service.check_supervisords_files`.
        """
        check_supervisords_files(self._folder)

    def check_redis_may_end(self, names: Collection[str]) -> None:
        """Refuse the end of the embedded Redis while it would lose what it has accepted.

        Args:
            names: of the programs that end; none: all.

        Raises:
            PcapdjError: its latest changes are only in its memory.
        """
        if names and _REDIS not in names:
            return
        socket = unix_url(str(self._folder / SOCKET_IN_LAYOUT))
        if sentence := unwritten_changes(Store(socket, Keys())):
            raise PcapdjError(
                sentence, hint="Make room, and repeat the command. supervisorctl ends it anyway."
            )

    def check_configured(self, names: Collection[str]) -> None:
        """Check names of programs against supervisord.conf, before supervisord is started for them.

        Raises:
            ConfigError: no program has one of the names.
        """
        parser = configuration_parser()
        try:
            parser.read_string(foreign_text(self._folder / CONF, _MOST_CONF_BYTES, follows_link=True))
        except (OSError, ValueError, configparser.Error):
            return  # supervisord reports what is wrong with it
        if not parser.has_section("include"):  # other files may have more programs
            begin = "program:"
            _check_names(
                names, [each.removeprefix(begin) for each in parser.sections() if each.startswith(begin)]
            )

    @property
    def command(self) -> list[str]:
        """The command line that starts it; `-n`: in the foreground."""
        return [sys.executable, "-P", "-m", "supervisor.supervisord", "-c", str(self._folder / CONF)]

    def begin(self) -> None:
        """Start it with all of its programs.

        Raises:
            PcapdjError: it did not start; the message has what it printed.
        """
        try:
            ran = subprocess.run(
                self.command,
                cwd=self._folder,
                env=whole_environment(),
                capture_output=True,
                text=True,
                check=False,
                timeout=_BEGIN_S,
            )
        except subprocess.TimeoutExpired as exc:  # it tries for ever to replace a folder by its socket
            sentence = f"supervisord does not start within {_BEGIN_S:g} s, and was killed."
            raise PcapdjError(sentence, hint=f"Is something else at {SOCKET} or {LOG}?") from exc
        until_s = time.monotonic() + ANSWER_S
        while not ran.returncode and not self.pid() and time.monotonic() < until_s:
            time.sleep(_LOOK_S)
        if ran.returncode or not self.pid():
            printed = [each for each in (ran.stderr or ran.stdout).splitlines() if "For help" not in each]
            if "Traceback" in ran.stderr:  # as of a log that cannot be written: its last line is the reason
                printed = printed[-1:]
            raise PcapdjError(f"supervisord does not start: {' '.join(printed) or f'see {LOG}'}.")

    def start(self, names: Collection[str]) -> None:
        """Start these programs; one that runs is left alone."""
        for each in self.programs(names):
            if each.can_be_started or each.name in names:
                self._ask_for(each.name, "startProcess", Faults.ALREADY_STARTED)

    def stop(self, names: Collection[str]) -> None:
        """Stop these programs, the last one first; one that does not run is left alone."""
        for each in reversed(self.programs(names)):
            self._ask_for(each.name, "stopProcess", Faults.NOT_RUNNING)

    def settled(self, names: Collection[str] = (), limit_s: float = _START_S) -> list[Program]:
        """Return these programs once each runs, or has ended for good; after the limit as they are."""
        until_s = time.monotonic() + limit_s
        while True:
            found = self.programs(names)
            if all(each.is_settled for each in found) or time.monotonic() > until_s:
                return [each if each.is_well else self._with_last_line(each) for each in found]
            time.sleep(_LOOK_S)

    def _with_last_line(self, program: Program) -> Program:
        if program.state == "STOPPED":
            return program
        text = self._socket.asked("tailProcessStdoutLog", program.name, 0, _LAST_LINE_BYTES)[0]
        return program._replace(last_line=next(iter(text.splitlines()[-1:]), ""))

    def end(self) -> None:
        """End it with all of its programs, and wait until it has ended; Ctrl-C ends only the waiting."""
        if not (pid := self.pid()):
            return
        with suppress(ProcessLookupError):
            process = os.pidfd_open(pid)
            try:
                with suppress(NotRunning, ShuttingDown):  # somebody else ends it, too
                    self._socket.asked("shutdown")
                select.select([process], [], [])
            finally:
                os.close(process)

    def changed_programs(self) -> Sequence[str]:
        """Return the programs whose lines in supervisord.conf have changed since it started."""
        try:
            [[added, changed, removed]] = self._socket.requested("reloadConfig")
        except Fault as exc:
            raise PcapdjError(f"{CONF} cannot be read: {words_of(exc)}.") from exc
        return [*added, *changed, *removed]

    def _ask_for(self, name: str, method: str, accepted: int) -> None:
        try:
            self._socket.requested(method, name, False)  # it is not to wait for the result
        except Fault as exc:
            if exc.faultCode not in (accepted, Faults.SPAWN_ERROR):  # its state has the reason
                raise PcapdjError(f"supervisord refuses to change {name}: {words_of(exc)}.") from exc


def _check_names(names: Collection[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            nearest = get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"Did you mean {nearest[0]}?" if nearest else f"There are: {', '.join(known)}."
            raise ConfigError(f"No role is called {quoted(name)}.", hint=hint)


def unless_running(supervisord: Supervisord) -> None:
    """Raise an error if this supervisord does not run.

    Raises:
        Unavailable: it does not.
    """
    if not supervisord.pid():
        raise NotRunning


def shown(programs: Sequence[Program]) -> bool:
    """Print a line for each program; report whether all are well."""
    for line in (line for each in programs for line in each.lines):
        print_lines(line)
    return all(each.is_well for each in programs)
