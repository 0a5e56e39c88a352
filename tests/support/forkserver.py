"""Starts pcapdj's processes in milliseconds: a server that has imported all of it forks them.

A new interpreter needs a third of a second of CPU to import a role. `start` and `run` give a process that
is like one of a new interpreter for a test (`forked` has what they share); with `is_real` they start that
interpreter. Each process is remembered until its end was seen, so that none is left behind unnoticed.
"""

import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from support.waiting import LIMIT_S, scaled

ROOT: Final = Path(__file__).parent.parent.parent
PIPE: Final = subprocess.PIPE
DEVNULL: Final = subprocess.DEVNULL

Stream = int | IO[Any] | None
Argument = str | bytes | Path
Finished = subprocess.CompletedProcess[Any]


def clean_environment(**variables: str) -> dict[str, str]:
    """Return this process's environment without settings of pcapdj, with this package and these variables."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PCAPDJ_")}
    if os.geteuid() != 0:  # else only root could count a role's descriptors
        clean["PCAPDJ_DEBUGGER"] = "1"
    return clean | {"PYTHONPATH": str(ROOT)} | variables


@dataclass(frozen=True)
class Request:
    """What shall run: `python -m module arguments`.

    Args:
        module: the module.
        arguments: its command line.
        environment: all of it.
        folder: its working folder.
        umask: its umask.
        forks: whether it starts pcapdj's modules by a fork, too.
    """

    module: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    folder: str
    umask: int
    forks: bool = False


class Process:
    """A process that a test started, by whichever way.

    Args:
        pid: not reaped before `reap` is called.
        reap: returns the exit code of this process once it has ended.
        stdout, stderr: what it prints and reports, if that was wanted.
    """

    def __init__(
        self, pid: int, reap: Callable[[], int], stdout: IO[Any] | None, stderr: IO[Any] | None
    ) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._reap = reap
        self._stdout, self._stderr = stdout, stderr
        self._watched = os.pidfd_open(pid)
        _running.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.kill()
        self._close_streams()
        self.wait()

    @property
    def stdout(self) -> IO[Any]:
        """What it prints, if it was started with PIPE."""
        if self._stdout is None:
            raise ValueError("stdout is no pipe")
        return self._stdout

    @property
    def stderr(self) -> IO[Any]:
        """What it reports, if it was started with PIPE."""
        if self._stderr is None:
            raise ValueError("stderr is no pipe")
        return self._stderr

    @property
    def is_stopped(self) -> bool:
        """Report whether SIGSTOP has stopped it."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    def poll(self, limit_s: float = 0) -> int | None:
        """Return its exit code, or minus the signal that killed it; None if it still runs after the limit."""
        if self.returncode is None and select.select([self._watched], [], [], scaled(limit_s))[0]:
            self.returncode = self._reap()
            os.close(self._watched)
            _running.discard(self)
        return self.returncode

    def wait(self, limit_s: float = LIMIT_S) -> int:
        """Return its exit code, or minus the signal that killed it, once it has ended.

        Raises:
            subprocess.TimeoutExpired: it still runs after this many seconds, scaled.
        """
        code = self.poll(limit_s)
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", scaled(limit_s))
        return code

    def communicate(self, limit_s: float = LIMIT_S) -> tuple[Any, Any]:
        """Read both streams to their ends and wait; return what was read, None for a stream of its own."""
        found: dict[str, Any] = {}
        readers = [
            threading.Thread(target=lambda name=name, stream=stream: found.update({name: stream.read()}))
            for name, stream in (("stdout", self._stdout), ("stderr", self._stderr))
            if stream is not None
        ]
        for reader in readers:
            reader.daemon = True
            reader.start()
        self.wait(limit_s)
        for reader in readers:
            reader.join(scaled(limit_s))
        self._close_streams()
        return found.get("stdout"), found.get("stderr")

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._watched, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL, and wait until it is gone."""
        self.send_signal(signal.SIGKILL)
        self.wait()

    def _close_streams(self) -> None:
        for stream in (self._stdout, self._stderr):
            if stream is not None:
                stream.close()


class Template:
    """The process that has imported all of pcapdj; each fork server is a fork of it, and dies with it.

    Args:
        preload: a library that is loaded first, into it and so into what it starts; empty: none.
    """

    def __init__(self, preload: str = "") -> None:
        self.address = f"pcapdj-tests-{uuid.uuid4().hex}"
        env = clean_environment(PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / "tests")]))
        env |= {_PRELOAD: preload} if preload else {}
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
            listening.bind(f"\0{self.address}")
            listening.listen()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "support.forked"], stdin=listening.fileno(), env=env
            )

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


class ForkServer:
    """The process that forks; what it has started dies with it.

    Args:
        address: of a template.
    """

    def __init__(self, address: str) -> None:
        self._lock = threading.Lock()
        self._requests = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._requests.connect(f"\0{address}")
        self._watched = os.pidfd_open(int(self._requests.recv(64)))  # it ends after this connection

    def fork(self, request: Request, streams: Sequence[int]) -> tuple[int, Callable[[], int]]:
        """Fork a child with these standard streams; return its pid, and what reaps it."""
        pid = self._ask(vars(request), streams)
        return pid, functools.partial(self._ask, {"reap": pid}, ())

    def close(self) -> None:
        """End it, and with it what it has started."""
        self._requests.close()
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._watched, signal.SIGKILL)
        select.select([self._watched], [], [])
        os.close(self._watched)

    def _ask(self, question: Mapping[str, Any], streams: Sequence[int]) -> int:
        with self._lock:
            socket.send_fds(self._requests, [json.dumps(question).encode()], list(streams))
            return int(self._requests.recv(64))


def new_interpreter(
    request: Request, streams: Sequence[int], inherited: Sequence[int]
) -> tuple[int, Callable[[], int]]:
    """Start an interpreter, as users do; return its pid, and what reaps it."""
    stdin, stdout, stderr = streams
    process = subprocess.Popen(
        [sys.executable, "-m", request.module, *request.arguments],
        env=dict(request.environment),
        cwd=request.folder,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        pass_fds=inherited,
    )
    return process.pid, process.wait


def start(
    module: str,
    *arguments: Argument,
    env: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    stdin: Stream = None,
    stdout: Stream = None,
    stderr: Stream = None,
    text: bool = False,
    is_real: bool = False,
    forks: bool = False,
    inherited: Sequence[int] = (),
) -> Process:
    """Start `python -m MODULE ARGUMENTS`.

    Args:
        module: of pcapdj; `pcapdj` itself is the command.
        arguments: its command line.
        env: its whole environment; by default `clean_environment()`.
        cwd: its folder.
        stdin: what it reads, as subprocess.Popen has it; by default that of the test.
        stdout: where it prints to, likewise.
        stderr: where it reports to, likewise.
        text: whether what it prints is read as text.
        is_real: start a new interpreter instead of a fork.
        forks: let it start pcapdj's modules by forks of its own; see `fork_for_exec`.
        inherited: descriptors that it keeps open; with any of them it is a new interpreter.
    """
    words = [os.fsdecode(each) for each in arguments]
    request = Request(module, words, clean_environment() if env is None else env, str(cwd), _umask(), forks)
    with contextlib.ExitStack() as theirs:
        source = _opened(stdin, 0, theirs)
        their_stdout, our_stdout = _output(stdout, 1, theirs, is_text=text)
        their_stderr, our_stderr = _output(stderr, 2, theirs, is_text=text)
        streams = (source, their_stdout, their_stderr)
        if is_real or inherited:
            pid, reap = new_interpreter(request, streams, inherited)
        else:
            pid, reap = server(request.environment.get(_PRELOAD, "")).fork(request, streams)
    return Process(pid, reap, our_stdout, our_stderr)


def run(
    module: str, *arguments: Argument, text: bool = True, limit_s: float = LIMIT_S, **options: Any
) -> Finished:
    """Run `python -m MODULE ARGUMENTS` to its end; return exit code and output. Options: those of `start`."""
    wanted: dict[str, Any] = {"stdin": DEVNULL, "stdout": PIPE, "stderr": PIPE} | options
    with start(module, *arguments, text=text, **wanted) as process:
        stdout, stderr = process.communicate(limit_s)
        return subprocess.CompletedProcess((module, *arguments), process.wait(), stdout, stderr)


def share() -> None:
    """Start the template of all workers that this process starts."""
    os.environ[_SHARED] = f"{ROOT}:{_template('').address}"


def address(preload: str = "") -> str:
    """Return the address of a template that has loaded this library; without one, the workers' template."""
    root, _, shared = os.environ.get(_SHARED, "").rpartition(":")
    return shared if root == str(ROOT) and not preload else _template(preload).address


def server(preload: str = "") -> ForkServer:
    """Return the fork server of this test process, or its other one that has loaded this library first."""
    if preload not in _servers:
        _servers[preload] = ForkServer(address(preload))
    return _servers[preload]


def close() -> list[int]:
    """End the fork servers; return the pids of processes that still ran, or whose end no test has seen."""
    left = sorted(process.pid for process in _running)
    for ends in (_servers, _templates):
        while ends:
            ends.popitem()[1].close()
    return left


_SHARED: Final = "PCAPDJ_TEST_FORKSERVER"
_PRELOAD: Final = "LD_PRELOAD"
_running: Final[set[Process]] = set()
_servers: Final[dict[str, ForkServer]] = {}
_templates: Final[dict[str, Template]] = {}


def _template(preload: str) -> Template:
    if preload not in _templates:
        _templates[preload] = Template(preload)
    return _templates[preload]


def _umask() -> int:
    line = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("Umask")
    )
    return int(line.split()[1], 8)


def _opened(stream: Stream, number: int, closing: contextlib.ExitStack) -> int:
    """Return the descriptor that the child gets for this stream."""
    if stream is None:
        return number
    if stream == DEVNULL:
        null = os.open(os.devnull, os.O_RDWR)
        closing.callback(os.close, null)
        return null
    return stream if isinstance(stream, int) else stream.fileno()


def _output(
    stream: Stream, number: int, closing: contextlib.ExitStack, *, is_text: bool
) -> tuple[int, IO[Any] | None]:
    """Return the descriptor that the child gets, and our end of it if it is a pipe."""
    if stream != PIPE:
        return _opened(stream, number, closing), None
    ours, theirs = os.pipe()
    closing.callback(os.close, theirs)
    return theirs, open(ours, "r" if is_text else "rb")  # noqa: PTH123 - a descriptor, closed by Process
