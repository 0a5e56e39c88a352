"""One analyzer process: started clean, watched, ended with all its children.

It inherits nothing of ours: no descriptor, no ignored signal, no password in its environment. It dies with
this process, however that dies (PDEATHSIG; spawn from the main thread). It has a process group of its own, so
that Ctrl-C in a terminal leaves it its flush, and a signal to the group reaches what it started.
"""

import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from pcapdj.analyzer.presets import install_hint
from pcapdj.runtime.errors import CannotCreate, Unavailable
from pcapdj.runtime.process import tied_to_this_process
from pcapdj.runtime.safe_text import quoted

LOG_NAME = "analyzer.log"
_PRIVATE = ("PCAPDJ_", "REDIS", "VALKEY", "SUPERVISOR_")  # may hold passwords, or the way to supervisord
_UMASK = 0o027
_TAIL_BYTES = 4096


class Analyzer:
    """The process, from its start to its last descendant's end.

    Args:
        argv: its command line, placeholders replaced; the first element is the program's path.
        folder: its working folder; what it prints goes to `analyzer.log` there.
        environment: what it sees of ours; see `environment_for`.

    Raises:
        Unavailable: the program cannot be started.
        CannotCreate: its log cannot be made.
    """

    def __init__(self, argv: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self.argv = tuple(argv)
        self.program = Path(argv[0]).name
        self._log = folder / LOG_NAME
        self._ended = ""
        log = _open_log(self._log)
        try:
            self._process = subprocess.Popen(
                list(argv),
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
                umask=_UMASK,
                preexec_fn=_prepared(),  # noqa: PLW1509 - it only calls the kernel; the log thread's locks are not used
            )
        except (OSError, subprocess.SubprocessError) as exc:
            raise Unavailable(f"The analyzer {quoted(argv[0])} does not start: {exc}.") from exc
        finally:
            os.close(log)

    @property
    def pid(self) -> int:
        """The process's id, which is also its group's."""
        return self._process.pid

    def exit(self) -> str | None:
        """Return how it ended, `exited 1` or `killed by signal 9`; None while it runs.

        What it started and left behind is killed with it: it may hold the pipe or the logs.
        """
        if self._ended:
            return self._ended
        # WNOWAIT: as long as the leader is not reaped, nobody else can get the group's number
        if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return None
        self.signal_group(signal.SIGKILL)
        self._ended = _told(self._process.wait())
        return self._ended

    def signal(self, number: int) -> None:
        """Send a signal to the process alone."""
        self._process.send_signal(number)

    def signal_group(self, number: int) -> None:
        """Send a signal to the process and everything it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def last_words(self) -> str:
        """Return the last line it printed; empty if there is none."""
        with suppress(OSError), self._log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = log.read().decode("utf-8", "replace").split("\n")
            return next((line.strip() for line in reversed(lines) if line.strip()), "")
        return ""


def find_program(name: str, *, first: Path | None = None) -> str:
    """Return the program's absolute path, searched along PATH unless it is a path already.

    Args:
        name: as typed.
        first: a folder that is searched before those of PATH.

    Raises:
        Unavailable: it is not there, or may not be executed; the hint says what to install.
    """
    path = os.environ.get("PATH", os.defpath)
    found = shutil.which(name, path=f"{first}{os.pathsep}{path}" if first else path)
    if found is None:
        raise Unavailable(f"The analyzer {quoted(name)} is not installed here.", hint=install_hint(name))
    return str(Path(found).absolute())


def environment_for(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without our options, Redis's passwords and supervisord's socket."""
    return {name: value for name, value in environ.items() if not name.startswith(_PRIVATE)}


def _open_log(path: Path) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    except OSError as exc:
        raise CannotCreate(f"The log {quoted(str(path))} cannot be made: {exc.strerror}.") from exc


def _prepared() -> Callable[[], None]:
    """Return what the child does between fork and exec.

    A core dump would be a copy of captured traffic. Ignored signals survive exec, and supervisord.conf starts
    roles with some ignored: an analyzer that cannot hear its rotation signal would be our fault.
    """
    tie = tied_to_this_process(signal.SIGKILL)
    settable = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}

    def prepare() -> None:
        tie()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for number in settable:
            with suppress(OSError):
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])

    return prepare


def _told(returncode: int) -> str:
    return f"exited {returncode}" if returncode >= 0 else f"killed by signal {-returncode}"
