"""Opens capture files; a separate process opens and reads those on file systems that may hang.

While a call about such a file does not return, nothing can end the process that made it. So a role makes no
such call. It asks a process that shares only a socket with the role, and a stop signal ends its wait. If that
process hangs when the role ends, or begins the next file, the role leaves it behind; the process ends when
its call returns. The role itself opens and reads local files.

    role    --> ("read", length, offset) -->  python .. pcapdj.capture.reading_process
            <-- (bytes, None) or (None, error) <--

A message is a length and a pickle; a descriptor may come with it. The role gets a descriptor of the file that
was opened with O_PATH: it cannot read, and closing it is not a call to the file system. The file can be
opened again through it, also by the next dispatcher, and also when its name is gone. Source: open(2)
"O_PATH", unix(7) "SCM_RIGHTS".
"""

import fcntl
import math
import os
import pickle
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from pcapdj.capture.files import OpenFile, open_file, open_regular, refusal_of, refuse_name
from pcapdj.capture.folder_state import folder_state, removed_files
from pcapdj.capture.reader import WINDOW_BYTES
from pcapdj.capture.storage import FolderState
from pcapdj.runtime.descriptors import receive_descriptors, send_descriptors
from pcapdj.runtime.environment import own_environment
from pcapdj.runtime.errors import CaptureError, Stopped
from pcapdj.runtime.interpreter import module_command
from pcapdj.runtime.mounts import Way, check_proc, followed, mount_that_may_hang
from pcapdj.runtime.process import hide_from_user
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.signals import Waits

_MODULE: Final = "pcapdj.capture.reading_process"
_LENGTH_BYTES: Final = 4
_POLL_S: Final = 0.5
_SLOW_S: Final = 2.0  # a file system that takes longer is shown as waited for
_CLOSE_LIMIT_S: Final = 1.0
_TRIES: Final = 3  # the kernel may kill any process when memory is short; that is no fault of the file
_GONE: Final = "the process that reads it was killed"


class FileOpener:
    """Opens the capture files of one role.

    Args:
        waits: where it waits for file systems that may hang.
    """

    def __init__(self, waits: Waits) -> None:
        self.waits: Final = waits
        self._idle: ReadingProcess | None = None

    def open(self, name: bytes, *, root: bytes | None, refuse_written: bool) -> OpenFile:
        """Open a file for reading.

        Raises:
            StillWritten, CaptureError: as `open_file`.
            Unavailable: /proc is gone, and with it each way to open a file.
            Stopped: a stop signal arrived during the wait.
        """
        try:
            return self._opened(name, root, refuse_written=refuse_written)
        except CaptureError:
            check_proc()  # its ENOENT is not about the file
            raise

    def _opened(self, name: bytes, root: bytes | None, *, refuse_written: bool) -> OpenFile:
        refuse_name(name)
        with followed(name) as (mount, way):
            if root is not None and not mount.may_hang:
                return OpenFile(open_file(name, root=root, refuse_written=refuse_written), mount.place)
            # without a root links are followed: what was found is opened, its path may lead elsewhere by now
            if not (mount.may_hang or way.has_foreign_link):
                return OpenFile(_opened_at(way, refuse_written=refuse_written), mount.place)
        return RemoteFile(self, mount.place, ("open", name, root, refuse_written))

    def open_again(self, descriptor: int, name: bytes) -> OpenFile:
        """Open the file of a stored descriptor, which the caller still closes.

        Args:
            descriptor: for reading, or O_PATH.
            name: that the file had; only to find out what is waited for.

        Raises:
            CaptureError, Stopped: as `open`.
        """
        if not fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_PATH:
            return OpenFile(open_regular(b"/proc/self/fd/%d" % descriptor))
        return RemoteFile(self, mount_that_may_hang(name) or name, ("open",), (descriptor,))

    def folder_state(self, name: bytes, mount: bytes, root: bytes | None) -> FolderState:
        """Look at the place of a file that cannot be opened.

        Args:
            name: the file's path.
            mount: the recorded mount point of its file system; empty: none is recorded.
            root: that the file has to be opened below.

        Raises:
            Stopped: a stop signal arrived during the wait.
        """
        slow = mount_that_may_hang(name) or (mount_that_may_hang(mount) if mount else None)
        if slow is None:
            return folder_state(name, mount, root)
        while True:
            process = self.take_process()
            with suppress(EOFError):  # it was killed
                found: FolderState = process.ask(("folder", name, mount, root), slow)
                self.give_back(process)
                return found

    def close(self) -> None:
        """End the process that has no file open."""
        if self._idle and not self._idle.has_ended:
            self._idle.leave_behind()

    def take_process(self) -> "ReadingProcess":
        """Return a process that has no file open."""
        process, self._idle = self._idle, None
        while process is None or process.has_ended:
            try:
                process = ReadingProcess(self.waits)
            except OSError as exc:
                self.waits.wait(_POLL_S, waiting_for=f"Waiting for a process to read files: {exc.strerror}.")
        return process

    def give_back(self, process: "ReadingProcess") -> None:
        """Use the process for the next file, too; its file is closed."""
        self._idle = process


def _opened_at(way: Way, *, refuse_written: bool) -> int:
    """Open what a path has led to; errors as `open_file`."""
    if way.error_number:
        raise refusal_of(OSError(way.error_number, os.strerror(way.error_number)))
    return open_file(b"/proc/self/fd/%d" % way.descriptor, root=None, refuse_written=refuse_written)


class RemoteFile(OpenFile):
    """A file that another process has open; its descriptor here is O_PATH.

    Args:
        opener: has the processes.
        mount: where its file system is mounted, for people.
        request: opens it.
        descriptors: that belong to the request.
    """

    is_local = False

    def __init__(
        self, opener: FileOpener, mount: bytes, request: Sequence[object], descriptors: Sequence[int] = ()
    ) -> None:
        self._opener = opener
        self.mount = mount
        self._process = opener.take_process()
        try:
            super().__init__(self._asked(request, descriptors), mount)
        except OSError as exc:
            raise CaptureError(f"cannot be opened: {exc.strerror}", error_number=exc.errno or 0) from exc
        except CaptureError:
            opener.give_back(self._process)
            raise

    def read(self, length_bytes: int, offset: int) -> bytes:
        """Return bytes of the file, as pread(2).

        Raises:
            OSError: the read failed.
            Stopped: a stop signal arrived during the wait.
        """
        data: bytes = self._asked(("read", length_bytes, offset))
        return data

    def status(self) -> os.stat_result:
        """Return the file's present status, as fstat(2); errors as `read`."""
        found: os.stat_result = self._asked(("status",))
        return found

    def close(self) -> None:
        """Close the file; a file system that does not answer is left to the process."""
        if self.descriptor < 0:
            return
        super().close()
        with suppress(EOFError, OSError, Stopped, CaptureError):  # the last one: it is skipped
            if not self._process.has_ended:
                self._process.ask(("close",), self.mount, limit_s=_CLOSE_LIMIT_S)
        if not self._process.has_ended:
            self._opener.give_back(self._process)

    def _asked(self, request: Sequence[object], descriptors: Sequence[int] = ()) -> Any:
        """Return the answer; if the process was killed, ask another one."""
        for _ in range(_TRIES):
            try:
                if self._process.has_ended:
                    self._process = self._opener.take_process()
                    if self.descriptor >= 0:
                        os.close(self._process.ask(("open",), self.mount, (self.descriptor,)))
                return self._process.ask(request, self.mount, descriptors)
            except EOFError:
                continue
        raise OSError(0, _GONE)


class ReadingProcess:
    """A process that has at most one file open.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, waits: Waits) -> None:
        self._waits = waits
        for pid in list(_left_behind):
            _reap(pid)
        self._connection, theirs = socket.socketpair()
        self._connection.setblocking(False)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, WINDOW_BYTES)  # fewer changes between the two
        command = module_command(_MODULE)
        with theirs:
            self._pid = os.posix_spawn(
                command[0],
                command,
                own_environment(),
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, theirs.fileno(), 0),
                    # a hanging process must not keep our output open
                    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setsid=True,  # Ctrl-C is for the role
            )

    @property
    def has_ended(self) -> bool:
        """Whether it was killed, or left behind."""
        return self._connection.fileno() < 0

    def ask(
        self,
        request: Sequence[object],
        mount: bytes,
        descriptors: Sequence[int] = (),
        limit_s: float = math.inf,
    ) -> Any:
        """Return the answer; a descriptor that comes with it is the answer.

        Raises:
            EOFError: it was killed, or did not answer in time; it is left behind.
            Stopped: a stop signal arrived during the wait; it is left behind.
            OSError, CaptureError: what it raised; or what the wait raised, then it is left behind.
        """
        asked_s, since = time.monotonic(), time.strftime("%H:%M:%SZ", time.gmtime())
        slow = f"Waiting for the file system at {quoted(mount)}: it has not answered since {since}."

        def wait() -> None:
            waited_s = time.monotonic() - asked_s
            if waited_s >= limit_s:
                raise EOFError
            sentence = slow if waited_s >= _SLOW_S else ""
            self._waits.wait(min(_POLL_S, limit_s - waited_s), self._connection, waiting_for=sentence)

        try:
            _send(self._connection, request, descriptors)
            (answer, error), received = _receive(self._connection, wait)
        except OSError as exc:
            self.leave_behind()
            raise EOFError from exc
        except BaseException:
            self.leave_behind()
            raise
        if error:
            raise error
        return received[0] if received else answer

    def leave_behind(self) -> None:
        """Kill it; if it hangs, it ends when its call returns."""
        self._connection.close()
        _left_behind.add(self._pid)
        _reap(self._pid)
        if self._pid in _left_behind:
            os.kill(self._pid, signal.SIGKILL)  # some file systems let it end at once


_left_behind: Final = set[int]()  # children that have not ended when they were looked at last


def _reap(pid: int) -> None:
    try:
        has_ended = bool(os.waitpid(pid, os.WNOHANG)[0])
    except ChildProcessError:  # who started us ignores SIGCHLD: the kernel has reaped it
        has_ended = True
    if has_ended:
        _left_behind.remove(pid)


def _send(connection: socket.socket, message: object, descriptors: Sequence[int] = ()) -> None:
    data = pickle.dumps(message)
    send_descriptors(connection, len(data).to_bytes(_LENGTH_BYTES, "little"), descriptors)
    connection.sendall(data)


def _receive(connection: socket.socket, wait: Callable[[], None]) -> tuple[Any, list[int]]:
    """Return a message and its descriptors; `wait` is called where there is nothing to receive yet."""
    message, descriptors = bytearray(), list[int]()
    wanted_bytes = _LENGTH_BYTES
    while len(message) < wanted_bytes:
        left_bytes = wanted_bytes - len(message)
        try:
            part, received, _ = receive_descriptors(connection, left_bytes, 1, waits=True)
        except BlockingIOError:
            wait()
            continue
        if not part:
            raise EOFError
        message += part
        descriptors += received
        if len(message) == _LENGTH_BYTES:
            wanted_bytes += int.from_bytes(message, "little")
    # Both ends are ours, and no other process has the socket.
    return pickle.loads(memoryview(message)[_LENGTH_BYTES:]), descriptors  # noqa: S301


_CALLS: Final[Mapping[str, Callable[..., object]]] = {
    "read": os.pread,
    "status": os.fstat,
    "close": os.close,
}
_LOOKS: Final[Mapping[str, Callable[..., object]]] = {
    "folder": partial(folder_state, may_hang=True),
    "removed": partial(removed_files, may_hang=True),
}


def _serve(connection: socket.socket) -> None:
    """Answer requests about one file after another until the role has closed its end."""
    file = -1
    while True:
        (what, *arguments), descriptors = _receive(connection, lambda: None)
        answer: object = None
        error: Exception | None = None
        opened = list[int]()
        try:
            if what in _LOOKS:
                answer = _LOOKS[what](*arguments)
            elif what == "open":
                file = _opened(arguments, descriptors)
                opened = [os.open(b"/proc/self/fd/%d" % file, os.O_PATH | os.O_CLOEXEC)]
            else:
                answer = _CALLS[what](file, *arguments)
        except (OSError, CaptureError) as exc:
            error = exc
        _send(connection, (answer, error), opened)
        for descriptor in (*descriptors, *opened):
            os.close(descriptor)


def _opened(arguments: Sequence[Any], descriptors: Sequence[int]) -> int:
    if descriptors:
        return open_regular(b"/proc/self/fd/%d" % descriptors[0])
    name, root, refuse_written = arguments
    return open_file(name, root=root, refuse_written=refuse_written)


if __name__ == "__main__":
    hide_from_user()  # what it reads goes into the stream
    with suppress(EOFError, OSError):
        _serve(socket.socket(fileno=0))
