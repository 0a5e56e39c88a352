"""A private service for one run: a Redis and the roles under supervisord, in a temporary folder.

It has the same supervisord.conf as the service, without the importer; all settings are environment variables.
supervisord dies with this process, and its children with it; the next run removes the folder.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from supervisor.xmlrpc import SupervisorTransport

from pcapdj.run.private_folder import SUPERVISORD_SOCKET, private_folder
from pcapdj.runtime.errors import CannotCreate, StoreUnavailable, Unavailable
from pcapdj.runtime.process import death_signal_for_child
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.signals import Signals
from pcapdj.service import CONF, configuration, write_layout
from pcapdj.store.client import Store
from pcapdj.store.keys import Keys
from pcapdj.store.redis_url import SOCKET_IN_LAYOUT

_START_LIMIT_S: Final = 20.0
_STOP_LIMIT_S: Final = 160.0  # longer than the consumer's stopwaitsecs: an analyzer may flush for two minutes
_POLL_S: Final = 0.02
_STDERR: Final = "supervisord.stderr"
# The private service has its own Redis and lane, whatever this process's environment names.
_NOT_INHERITED: Final = (
    "PCAPDJ_REDIS_URL",
    "PCAPDJ_REDIS_PASSWORD_FILE",
    "PCAPDJ_LANE",
    "PCAPDJ_QUEUE",
    "PCAPDJ_ID",
)


@contextmanager
def private_service(settings: Mapping[str, str]) -> "Iterator[PrivateService]":
    """Run a private service for the block; then stop it and remove its folder.

    Args:
        settings: environment variables of the roles; they override those of this process.

    Raises:
        CannotCreate: the temporary folder cannot be created, or its path is too long for sockets.
    """
    with private_folder() as folder:
        text = configuration(interpreter=Path(sys.executable), preset=None, without={"importer"})
        write_layout(folder, text)
        service = PrivateService(folder, _start_supervisord(folder, settings))
        try:
            yield service
        finally:
            service.stop()


def _start_supervisord(folder: Path, settings: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    inherited = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    with (folder / _STDERR).open("wb") as stderr:
        return subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(folder / CONF)],
            env={**inherited, **settings, "PCAPDJ_REDIS_DATA": str(folder / "var/redis")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,  # this process handles Ctrl-C
            preexec_fn=death_signal_for_child(signal.SIGTERM),  # noqa: PLW1509 - no thread runs yet
        )


class PrivateService:
    """A started private service: its folder, and the process of its supervisord."""

    def __init__(self, folder: Path, supervisord: "subprocess.Popen[bytes]") -> None:
        self.store: Final = Store(f"unix://{folder / SOCKET_IN_LAYOUT}", Keys())
        self._folder = folder
        self._supervisord = supervisord

    @property
    def is_alive(self) -> bool:
        """Report whether supervisord runs."""
        return self._supervisord.poll() is None

    def wait_for_redis(self, signals: Signals) -> None:
        """Wait until the private Redis answers.

        Raises:
            Unavailable: it does not start; the message has the reason.
            Stopped: a stop signal arrived.
        """
        deadline_s = time.monotonic() + _START_LIMIT_S
        while not self._redis_answers():
            if not self.is_alive:
                raise Unavailable(f"supervisord did not start. {self._supervisord_error()}".rstrip())
            redis = self._programs().get("redis", {})
            problem = ""
            if redis.get("statename") in ("FATAL", "EXITED"):
                problem = f"exited {redis.get('exitstatus')}"
            elif time.monotonic() > deadline_s:
                problem = f"does not answer after {_START_LIMIT_S:g} s"
            if problem:
                log_line = self.last_log_line("redis")
                raise Unavailable(f"The private Redis {problem}. Last line of its log: {log_line}")
            signals.wait(_POLL_S)

    def failed_roles(self) -> list[str]:
        """Return the roles that supervisord no longer restarts."""
        return [name for name, state in self._programs().items() if state["statename"] == "FATAL"]

    def last_log_line(self, role: str) -> str:
        """Return the last line of a role's log; empty if there is none."""
        lines = _lines_of(self._folder / "var/log" / f"{role}.log")
        return lines[-1] if lines else ""

    def keep_logs(self, folder: Path) -> None:
        """Copy the roles' logs into the folder.

        Raises:
            CannotCreate: not all of them could be copied.
        """
        try:
            shutil.copytree(self._folder / "var/log", folder, dirs_exist_ok=True)
        except OSError as exc:
            raise CannotCreate(f"The logs cannot be copied to {quoted(str(folder))}.") from exc

    def stop(self) -> None:
        """Stop everything in order; the analyzer flushes its output first."""
        deadline_s = time.monotonic() + _STOP_LIMIT_S
        if self.is_alive:
            self._supervisord.terminate()
        while self.is_alive and time.monotonic() < deadline_s:
            self._programs()  # supervisord handles signals and dead children once a second, or on a request
            with suppress(subprocess.TimeoutExpired):
                self._supervisord.wait(_POLL_S)
        self._supervisord.kill()
        self._supervisord.wait()

    def _redis_answers(self) -> bool:
        try:
            self.store.ping()
        except StoreUnavailable:
            return False
        return True

    def _supervisord_error(self) -> str:
        lines = _lines_of(self._folder / _STDERR)
        return next((line for line in lines if line.startswith("Error")), lines[-1] if lines else "")

    def _programs(self) -> dict[str, dict[str, Any]]:
        """Return supervisord's answer by program; empty if it does not answer."""
        import xmlrpc.client

        transport = SupervisorTransport(serverurl=f"unix://{self._folder / SUPERVISORD_SOCKET}")
        try:
            with xmlrpc.client.ServerProxy("http://pcapdj", transport) as supervisord:
                answer = supervisord.supervisor.getAllProcessInfo()
        except (OSError, xmlrpc.client.Error):
            return {}
        programs = [each for each in answer if isinstance(each, dict)] if isinstance(answer, list) else []
        return {str(program["name"]): program for program in programs}


def _lines_of(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        return []
