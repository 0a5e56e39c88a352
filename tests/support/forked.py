"""The fork server's side: it imports pcapdj once, and each child runs `python -m MODULE` from there.

`python -m support.forked` accepts connections to the socket that is its standard input, and serves each by a
fork of itself: all workers of a run share one import of pcapdj. That fork server reads requests, and answers
with pids and exit codes.

A child has what a new interpreter has: its own arguments, environment, folder, umask, standard streams,
signal dispositions and random numbers, and no other descriptor. What it shares with its siblings: the hash
seed, what ps shows as the command line, the modules that are imported already (but not the one that it runs).
It dies with the server.
"""

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import pkgutil
import random
import runpy
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

REQUEST_LIMIT_BYTES: Final = 1 << 17


def main() -> None:
    """Accept connections; serve each in a fork of this process, until it is closed."""
    from pcapdj.runtime.process import die_with_parent

    die_with_parent(signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the tests; they close the socket
    listening = socket.socket(fileno=os.dup(0))
    _import_all()
    gc.freeze()  # what is here for good is not copied because a counter in it changes
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the forks
    while True:
        connection, _ = listening.accept()
        if os.fork() == 0:
            break
        connection.close()
    die_with_parent(signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    listening.close()
    connection.send(str(os.getpid()).encode())
    serve(connection)


def serve(requests: socket.socket) -> None:
    """Serve requests until the socket is closed."""
    while True:
        data, descriptors, _, _ = socket.recv_fds(requests, REQUEST_LIMIT_BYTES, 3)
        if not data:
            return
        request = json.loads(data)
        if "reap" in request:
            _, status = os.waitpid(request["reap"], 0)
            answer = os.waitstatus_to_exitcode(status)
        elif (answer := os.fork()) == 0:
            requests.close()
            _become(request, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        requests.send(str(answer).encode())


def run_as_new(module: str, arguments: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Run `python -m module` to its end in this process, as if its interpreter had just started."""
    from pcapdj.runtime import failpoints

    os.environ.clear()
    os.environ.update(environment)
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored where the tests run below nohup
    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    time.tzset()
    tempfile.tempdir = None  # it depends on TMPDIR
    random.seed()
    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]  # an ordinary stdout
    atexit._clear()  # noqa: SLF001 - exec forgets it, too
    failpoints.reach = failpoints.armed(environment.get(failpoints.VARIABLE, ""))
    sys.argv = [module, *arguments]
    if watched := sys.modules.get("pcapdj.runtime.child_process"):
        vars(watched)["_beats"] = None  # of a command that this process was forked from
    sys.modules.pop(f"{module}.__main__" if hasattr(sys.modules.get(module), "__path__") else module, None)
    os._exit(_exit_code_of(module))


def _become(request: Mapping[str, Any], streams: Sequence[int]) -> NoReturn:
    from pcapdj.runtime.process import die_with_parent
    from support import fork_for_exec

    die_with_parent(signal.SIGKILL)
    for new, old in enumerate(streams):
        os.dup2(old, new)
        os.close(old)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.umask(request["umask"])
    os.chdir(request["folder"])
    if request["forks"]:
        fork_for_exec.install()
    run_as_new(request["module"], request["arguments"], request["environment"])


def _exit_code_of(module: str) -> int:
    """Run the module to its end as the interpreter does; return the exit code.

    What is not done is to take every object apart: that would copy the memory shared with the server.
    """
    code = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as exc:
        code = _code_of(exc)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - waits for threads, as at every end
    atexit._run_exitfuncs()  # noqa: SLF001
    try:
        sys.stdout.flush()
    except OSError:
        code = 120
    sys.stderr.flush()
    return code


def _code_of(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    sys.stderr.write(f"{end.code}\n")
    return 1


def _import_all() -> None:
    """Import every module of pcapdj, and what these import when they are first used."""
    import supervisor.supervisorctl
    import supervisor.supervisord

    import pcapdj

    assert supervisor.supervisord
    assert supervisor.supervisorctl
    for each in pkgutil.walk_packages(pcapdj.__path__, "pcapdj."):
        if each.name != "pcapdj.capture._loops":  # a shared library that ctypes loads, not a module
            importlib.import_module(each.name)
    from pcapdj.cli import MODULES, start
    from support import fork_for_exec
    from support.redis_library import keep_version
    from support.typer_library import keep_commands

    assert fork_for_exec  # imported here, so that no child has to
    keep_version()
    keep_commands(list(sys.modules.values()))
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        for words in ([name, "--help"] for name in MODULES):
            with contextlib.suppress(SystemExit):
                start(words)
        start(["status", "--redis-url", "unix:///nowhere"])


if __name__ == "__main__":
    main()
