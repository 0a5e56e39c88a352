"""One analyzer process: started clean, watched, ended with all its children.

It inherits nothing of ours: no descriptor, no ignored signal, no password in its environment. It dies with
this process, however that dies (PDEATHSIG; start it from the main thread). It has its own session, so that
Ctrl-C in a terminal does not end it before it has flushed, a signal to its group reaches the processes it
started, and it has no terminal: through /dev/tty it could show what it likes, or type (TIOCSTI) as the user
who started us, root with --analyzer-user.
"""

import errno
import math
import os
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from pcapdj.analyzer.as_user import cause_of
from pcapdj.analyzer.presets import install_hint
from pcapdj.analyzer.user import AnalyzerUser
from pcapdj.runtime.environment import program_path
from pcapdj.runtime.errors import CannotCreate, Unavailable
from pcapdj.runtime.foreign_files import is_folder
from pcapdj.runtime.process import analyzer_setup, end_text, signal_group
from pcapdj.runtime.process_tree import FoundProcess, ProcessTree, is_withheld
from pcapdj.runtime.safe_text import quoted, shell_path
from pcapdj.runtime.whole_file import open_inside

LOG_NAME = "analyzer.log"
_UMASK = 0o027
_END_GRACE_S = 1.0  # the kernel takes a large process apart, or a debugger asks for its end, in less
_LOG_PART_BYTES = 4096  # read from the beginning and from the end of its output


class Analyzer:
    """The process, from its start to the end of the last process that it started.

    Args:
        argv: its command line, placeholders replaced; the first element is the program's path.
        folder: its working folder; its stdout and stderr go to `analyzer.log` there.
        environment: without anything that may hold a password.
        tree: all descendants of this process; None: only the analyzer's group is ended with it.
        user: that the analyzer runs as, and that gets the folder; None: this process's.
        inherited: descriptors that the analyzer gets, too.

    Attributes:
        log: the path of `analyzer.log`.
        left: what it left running outside of its group, and was killed.

    Raises:
        Unavailable: the program cannot be started.
        CannotCreate: its log cannot be made.
    """

    def __init__(  # noqa: PLR0913 - what a process gets
        self,
        argv: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        tree: ProcessTree | None = None,
        *,
        user: AnalyzerUser | None = None,
        inherited: Sequence[int] = (),
    ) -> None:
        self.argv = tuple(argv)
        self.program = Path(argv[0]).name
        self.log = folder / LOG_NAME
        self.left: list[FoundProcess] = []
        self._tree = tree
        self._exit_status = ""
        self._lasts_since_s = math.inf
        self._is_killed = False
        log = _open_log(self.log)
        if user is not None:  # the log is root's: the analyzer cannot exchange it before it is open
            os.chown(folder, user.uid, user.gid, follow_symlinks=False)
        try:
            self._process = subprocess.Popen(
                list(argv) if user is None else user.command(argv),
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                umask=_UMASK,
                pass_fds=inherited,
                preexec_fn=analyzer_setup(),  # noqa: PLW1509 - only system calls: it takes no lock of a thread
            )
        except (OSError, subprocess.SubprocessError) as exc:
            cause = cause_of(exc, getattr(exc, "filename", None) or "/")
            raise Unavailable(f"The analyzer {quoted(argv[0])} does not start: {cause}.") from exc
        finally:
            os.close(log)

    @property
    def pid(self) -> int:
        """The process's id, which is also its group's."""
        return self._process.pid

    def exit_status(self, *, waits_for_group: bool = False) -> str | None:
        """Return how it ended, `exited 1` or `killed by signal 9`; None while it runs.

        Args:
            waits_for_group: it runs as long as a process that it started; else those are killed: they may
                hold the pipe or the logs.
        """
        if self._exit_status:
            return self._exit_status
        # WNOWAIT: while the leader is not reaped, no other process can get the group's number
        if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if self._tree is not None:
                self._tree.reap(spared=self.pid)
                self._end_what_keeps_it(self._tree)
            return None
        if waits_for_group and self._leftover_processes():
            return None
        self.signal_group(signal.SIGKILL)
        code = self._process.wait()
        if self._tree is not None:
            self._note_left(self._tree.end(group=self.pid))
        self._exit_status = end_text(code)
        return self._exit_status

    def signal(self, number: int) -> None:
        """Send a signal to the process alone, if this user may; not by `Popen`, which would reap it."""
        with suppress(PermissionError):
            os.kill(self.pid, number)

    def signal_group(self, number: int) -> bool:
        """Send a signal to the process and everything it started; False: they are all another user's."""
        return signal_group(self.pid, number)

    def kill(self) -> bool:
        """Kill the process and everything in its group; False: they are all another user's."""
        self._is_killed = True
        return self.signal_group(signal.SIGKILL)

    def _end_what_keeps_it(self, tree: ProcessTree) -> None:
        """Kill all that is to end with the analyzer, if that lasts: one of them may keep the end from us.

        It may trace the analyzer, or only a thread of it, or serve a file system for which the analyzer waits
        in the kernel, where no signal ends it. A tracer may be traced itself: only with the last of them all
        end.
        """
        if not (self._is_killed or is_withheld(self.pid)):
            self._lasts_since_s = math.inf
            return
        now_s = time.monotonic()
        self._lasts_since_s = min(self._lasts_since_s, now_s)
        if now_s - self._lasts_since_s >= _END_GRACE_S:
            self._note_left(tree.signal(signal.SIGKILL, spared_group=self.pid))

    def _note_left(self, killed: Iterable[FoundProcess]) -> None:
        """Note what it left running; one that is held where it ends is killed more than once."""
        known = {each.pid for each in self.left}
        self.left += [each for each in killed if each.pid not in known]

    def pause(self) -> bool:
        """Stop the process and everything it started; they do not notice it, and write nothing.

        Returns:
            Whether this user may signal the process: behind sudo it may be another's.
        """
        return self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        self._signal_all(signal.SIGCONT)

    def has_pending_signal(self) -> bool:
        """Report whether a signal came during a pause: it acts when the process goes on."""
        return self._tree is not None and self._tree.has_pending_signal()

    def _signal_all(self, number: int) -> bool:
        if not self.signal_group(number):
            return False
        if self._tree is not None:
            self._tree.signal(number, spared_group=self.pid)
        return True

    def output(self) -> list[str]:
        """Return the lines that it printed; of a long output the first and the last 4 KiB."""
        with suppress(OSError):
            return _beginning_and_end(self.log).decode("utf-8", "replace").split("\n")
        return []

    def _leftover_processes(self) -> bool:
        """Report whether another process of the group runs; one that only waits to be reaped does not."""
        for process in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                state, _, group = process.read_bytes().rpartition(b") ")[2].split()[:3]
                if int(group) == self.pid and state not in b"ZX":
                    return True
        return False


def find_program(name: str, *, first: Path | None = None) -> str:
    """Return the program's absolute path, searched along PATH unless it is a path already.

    Args:
        name: as typed.
        first: a folder that is searched before those of PATH.

    Raises:
        Unavailable: it is not installed, or this user may not execute it; the hint shows what to do.
    """
    folders = f"{first}{os.pathsep}{program_path()}" if first else program_path()
    if found := shutil.which(name, path=folders):
        return str(Path(found).absolute())
    if present := shutil.which(name, mode=os.F_OK, path=folders):
        raise Unavailable(
            f"The analyzer {quoted(present)} may not be executed by this user.",
            hint=f"Allow it with chmod +x {shell_path(Path(present))}, or choose another --preset.",
        )
    if is_folder(Path(name)):
        raise Unavailable(
            f"The analyzer {quoted(name)} is a folder.", hint="Name the program, or choose a --preset."
        )
    raise Unavailable(f"The analyzer {quoted(name)} is not installed here.", hint=install_hint(name))


def _open_log(path: Path) -> int:
    try:
        return open_inside(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    except OSError as exc:
        raise CannotCreate(f"The log {quoted(str(path))} cannot be made: {exc.strerror}.") from exc


def _beginning_and_end(path: Path) -> bytes:
    """Return the first and the last 4 KiB of the log; the analyzer may have put anything in its place.

    Raises:
        OSError: it cannot be read, or is not a regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        beginning = os.pread(descriptor, _LOG_PART_BYTES, 0)
        end = os.pread(descriptor, _LOG_PART_BYTES, max(len(beginning), found.st_size - _LOG_PART_BYTES))
        return beginning + end
    finally:
        os.close(descriptor)
