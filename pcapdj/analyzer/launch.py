"""Starting an analyzer: its program, a new pipe, a new log folder, its command line and environment."""

import os
import secrets
import select
import stat
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from importlib.resources import files
from pathlib import Path

from pcapdj.analyzer.presets import (
    EXTRACT,
    LOGDIR,
    PIPE,
    PYTHON,
    START,
    Command,
    is_suricata,
    needs_pause,
    substituted,
)
from pcapdj.analyzer.process import Analyzer, find_program
from pcapdj.analyzer.session import AnalyzerSession, Timeouts
from pcapdj.analyzer.user import AnalyzerUser
from pcapdj.runtime import failpoints
from pcapdj.runtime.environment import ROOT_FOLDER, foreign_environment
from pcapdj.runtime.errors import CannotCreate
from pcapdj.runtime.fifo import Fifo
from pcapdj.runtime.interpreter import START_FILE
from pcapdj.runtime.leftover_processes import mark_of
from pcapdj.runtime.places import make_folder
from pcapdj.runtime.process import foreign_child_setup
from pcapdj.runtime.process_tree import ProcessTree
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.trust import calling_user
from pcapdj.runtime.whole_file import open_way, rmdir_inside

_LATEST = "latest"
_VERSION_LIMIT_S = 1.0  # it takes 0.02 s
_MOST_VERSION_BYTES = 1 << 16
_LOG_ROOT_MODE = 0o755
_LOG_FOLDER_MODE = 0o750  # a group may read the results


class AnalyzerStarter:
    """Starts the same command for every stream."""

    def __init__(  # noqa: PLR0913 - what each start needs
        self,
        command: Command,
        fifo: Fifo,
        log_root: Path,
        timeouts: Timeouts,
        tree: ProcessTree | None = None,
        user: AnalyzerUser | None = None,
    ) -> None:
        self.command = command
        self.fifo = fifo
        self.log_root = log_root
        self.timeouts = timeouts
        self._tree = tree
        self._user = user
        self._version_of: tuple[str, int, int] | None = None  # path, inode and time of the program
        self._version = ""

    def program(self) -> str:
        """Return the analyzer's path.

        Raises:
            Unavailable: it is not installed, or may not be executed.
        """
        return find_program(self._argv({})[0])

    def start(self, now_s: float) -> AnalyzerSession:
        """Start an analyzer on a new pipe.

        Args:
            now_s: monotonic.

        Raises:
            Unavailable: it cannot be started.
            CannotCreate: the pipe or the log folder cannot be made.
        """
        program = self.program()  # first: an analyzer that is not installed gets no log folder
        self.fifo.renew()
        failpoints.reach("launcher.fifo")
        stream = secrets.token_hex(4)
        folder = new_log_folder(self.log_root, stream, time.time())
        try:
            analyzer = self._analyzer(program, folder)
        except CannotCreate:
            rmdir_inside(folder)  # on a full disk there is another try soon, with another folder
            raise
        failpoints.reach("launcher.spawn")
        return AnalyzerSession(
            *(stream, self.fifo, analyzer),
            timeouts=self.timeouts,
            folder=folder,
            pauses_after_header=needs_pause(self.command, self._version_printed(program)),
            now_s=now_s,
        )

    def _analyzer(self, program: str, folder: Path) -> Analyzer:
        with ExitStack() as opened:
            environment = foreign_environment() | mark_of(self.fifo.path)
            pipe, inherited = str(self.fifo.path), list[int]()
            if self._user is not None:
                environment |= self._user.environment()
                environment.pop("XDG_RUNTIME_DIR", None)
                inherited.append(self.fifo.open_for_group(self._user.gid))
                opened.callback(os.close, inherited[0])
                pipe = f"/proc/self/fd/{inherited[0]}"  # the folder of the pipe is closed to the user
            argv = [program, *self._argv({PIPE: pipe, LOGDIR: str(folder)})[1:]]
            return Analyzer(*(argv, folder, environment, self._tree), user=self._user, inherited=inherited)

    def _version_printed(self, program: str) -> str:
        """Return what `suricata -V` prints, read once for each version that is installed; else nothing."""
        if not is_suricata(program):
            return ""
        with suppress(OSError, subprocess.SubprocessError):
            found = Path(program).stat()
            if self._version_of != (stamp := (program, found.st_ino, found.st_mtime_ns)):
                self._version_of, self._version = stamp, ""
                command = [program] if self._user is None else self._user.command([program])
                self._version = version_printed(command, foreign_environment())
        return self._version

    def _argv(self, places: dict[str, str]) -> list[str]:
        extract = str(files("pcapdj.analyzer") / "suricata-extract.yaml")
        ours = {PYTHON: sys.executable, EXTRACT: extract}
        if self.command.is_ours:
            ours[START] = START_FILE
        return substituted(self.command.argv, places | ours)


def version_printed(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return the beginning of what the program prints with -V.

    Args:
        command: that starts it.
        environment: that it gets.

    Raises:
        OSError, SubprocessError: it does not start.
    """
    process = subprocess.Popen(
        [*command, "-V"],
        cwd=ROOT_FOLDER,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=foreign_child_setup(),  # noqa: PLW1509 - only system calls
    )
    assert process.stdout is not None  # noqa: S101 - for the type checker
    try:
        return _read_in_time(process.stdout.fileno()).decode("utf-8", "replace")
    finally:
        process.stdout.close()
        process.kill()
        with suppress(subprocess.TimeoutExpired):  # another process may keep its end from us (ptrace)
            process.wait(_VERSION_LIMIT_S)


def _read_in_time(descriptor: int) -> bytes:
    """Return what can be read within a second, up to 64 KiB."""
    data, until_s = b"", time.monotonic() + _VERSION_LIMIT_S
    while select.select([descriptor], [], [], max(0.0, until_s - time.monotonic()))[0]:
        part = os.read(descriptor, _MOST_VERSION_BYTES - len(data))
        if not part:
            break
        data += part
    return data


def make_log_root(path: Path) -> None:
    """Make the folder in which each stream gets its log folder.

    Raises:
        CannotCreate: it cannot be made, or another user can replace files in it.
    """
    make_folder(path, _LOG_ROOT_MODE, "name a folder of your own with --logdir", caller=calling_user())


def new_log_folder(root: Path, stream: str, now_s: float) -> Path:
    """Make the stream's own log folder, `TIME-STREAM`, and point the link `latest` at it.

    Some analyzers truncate their logs when they start: two of them must never share a folder.

    Args:
        root: the folder of all log folders; made if missing.
        stream: its id.
        now_s: seconds since the epoch.

    Raises:
        CannotCreate: it cannot be made.
    """
    make_log_root(root)
    folder = root / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now_s))}-{stream}"
    try:
        opened = open_way(root)
        try:
            os.mkdir(folder.name, dir_fd=opened)
            made = os.open(folder.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=opened)
            try:
                os.fchmod(made, _LOG_FOLDER_MODE)
            finally:
                os.close(made)
            _point_latest(opened, folder.name)
        finally:
            os.close(opened)
    except OSError as exc:
        raise _cannot_make(folder, exc) from exc
    return folder


def _point_latest(root: int, name: str) -> None:
    """Replace the link by rename, so that it is never missing; leave a file or folder of that name alone."""
    fresh = f".latest.{os.getpid()}"
    with suppress(OSError):  # a convenience: no stream fails because of it
        with suppress(FileNotFoundError):
            if not stat.S_ISLNK(os.lstat(_LATEST, dir_fd=root).st_mode):
                return
        with suppress(FileNotFoundError):
            os.unlink(fresh, dir_fd=root)
        os.symlink(name, fresh, dir_fd=root)
        os.replace(fresh, _LATEST, src_dir_fd=root, dst_dir_fd=root)


def _cannot_make(folder: Path, error: OSError) -> CannotCreate:
    return CannotCreate(f"The log folder {quoted(str(folder))} cannot be made: {error.strerror}.")
