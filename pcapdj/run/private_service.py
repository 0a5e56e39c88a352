"""A service of its own for one run: a private Redis and the roles under supervisord, in a temporary folder.

The same supervisord.conf as the service's, but for the importer; everything else is told by environment
variables. supervisord dies with this process, and its children with it.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from supervisor.xmlrpc import SupervisorTransport

from pcapdj.runtime.errors import Stopped, StoreUnavailable, Unavailable
from pcapdj.runtime.process import tied_to_this_process
from pcapdj.runtime.signals import Signals
from pcapdj.service import CONF, configuration, lay_out
from pcapdj.store.client import Store
from pcapdj.store.keys import Keys
from pcapdj.store.redis_url import SOCKET_IN_LAYOUT

_START_LIMIT_S: Final = 20.0
_STOP_LIMIT_S: Final = 160.0  # longer than the consumer's stopwaitsecs: an analyzer may flush for two minutes
_LOOK_S: Final = 0.02
_OURS: Final = ("PCAPDJ_REDIS_URL", "PCAPDJ_REDIS_PASSWORD_FILE", "PCAPDJ_LANE", "PCAPDJ_QUEUE", "PCAPDJ_ID")


class PrivateService:
    """The private service; starts on entering the block, and is gone when it is left.

    Args:
        settings: environment variables of the roles, over those of this process.
    """

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._settings = settings
        self.folder = Path(tempfile.mkdtemp(prefix="pcapdj-"))
        self.store = Store(f"unix://{self.folder / SOCKET_IN_LAYOUT}", Keys())

    def __enter__(self) -> Self:
        lay_out(
            self.folder, configuration(interpreter=Path(sys.executable), preset=None, without={"importer"})
        )
        inherited = {name: value for name, value in os.environ.items() if name not in _OURS}
        command = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(self.folder / CONF)]
        self._supervisord = subprocess.Popen(
            command,
            env={**inherited, **self._settings, "PCAPDJ_REDIS_DATA": str(self.folder / "var/redis")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is ours to handle
            preexec_fn=tied_to_this_process(signal.SIGTERM),  # noqa: PLW1509 - no thread runs yet
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def is_alive(self) -> bool:
        """Report whether supervisord runs."""
        return self._supervisord.poll() is None

    def await_redis(self, signals: Signals) -> None:
        """Wait until the private Redis answers.

        Raises:
            Unavailable: it does not start; the message has the end of its log.
            Stopped: a stop signal arrived.
        """
        deadline_s = time.monotonic() + _START_LIMIT_S
        while not self._answers():
            if not self.is_alive or time.monotonic() > deadline_s or self._gave_up("redis"):
                raise Unavailable(f"The private Redis did not start. {self.last_words('redis')}")
            if signals.wait(_LOOK_S):
                raise Stopped("A stop signal arrived.")

    def failed_roles(self) -> list[str]:
        """Return the roles that supervisord has given up on."""
        return [name for name, state in self._states().items() if state == "FATAL"]

    def last_words(self, role: str) -> str:
        """Return the last line of a role's log; empty if there is none."""
        try:
            lines = (self.folder / "var/log" / f"{role}.log").read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return lines[-1] if lines else ""

    def keep_logs(self, folder: Path) -> None:
        """Copy the roles' logs into the folder."""
        shutil.copytree(self.folder / "var/log", folder, dirs_exist_ok=True)

    def stop(self) -> None:
        """Stop everything: the roles in order, an analyzer after it has flushed."""
        deadline_s = time.monotonic() + _STOP_LIMIT_S
        if self.is_alive:
            self._supervisord.terminate()
        while self.is_alive and time.monotonic() < deadline_s:
            self._states()  # supervisord looks for signals and dead children once a second, or when asked
            with suppress(subprocess.TimeoutExpired):
                self._supervisord.wait(_LOOK_S)
        self._supervisord.kill()
        self._supervisord.wait()

    def _answers(self) -> bool:
        try:
            self.store.ping()
        except StoreUnavailable:
            return False
        return True

    def _gave_up(self, role: str) -> bool:
        return self._states().get(role) in ("FATAL", "EXITED")

    def _states(self) -> dict[str, str]:
        import xmlrpc.client

        transport = SupervisorTransport(serverurl=f"unix://{self.folder}/var/run/supervisor.sock")
        try:
            with xmlrpc.client.ServerProxy("http://pcapdj", transport) as supervisord:
                answer = supervisord.supervisor.getAllProcessInfo()
        except (OSError, xmlrpc.client.Error):
            return {}
        return {str(role["name"]): str(role["statename"]) for role in _dicts(answer)}


def _dicts(answer: object) -> list[dict[str, object]]:
    return [each for each in answer if isinstance(each, dict)] if isinstance(answer, list) else []
