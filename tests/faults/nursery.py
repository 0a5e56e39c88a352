"""Starts roles in milliseconds: a process that has imported all of them, and forks.

A Python process needs a third of a second to import a role; a fork of one that has done so needs three
milliseconds, and is killed just as dead. `python -m faults.nursery` reads one JSON line per child and answers
with one; `Nursery` is its client. A share of every campaign starts real processes instead.
"""

import gc
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

REDIS: Final = "store.embedded"  # becomes the server, as in the service
ROLES: Final = ("dispatcher", "controller", "consumer_launcher", "importer", REDIS)
TESTS: Final = Path(__file__).parent.parent


class Child:
    """A role that was started, by whichever way.

    Args:
        pid: of a process that is not reaped before `wait` or `kill` return.
    """

    def __init__(self, pid: int, starter: "Nursery | subprocess.Popen[bytes]") -> None:
        self.pid = pid
        self._starter = starter
        self._watched = os.pidfd_open(pid)
        self._status: int | None = None

    @property
    def is_alive(self) -> bool:
        """Report whether it runs."""
        return self._status is None and not self._is_over(0)

    @property
    def is_stopped(self) -> bool:
        """Report whether it was stopped by SIGSTOP."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    def wait(self, timeout_s: float = 20.0) -> int | None:
        """Return its exit code, or minus the signal that killed it; None if it still runs after so long."""
        if self._status is None and self._is_over(timeout_s):
            self._reap()
        return self._status

    def signal(self, number: int) -> None:
        """Send a signal, unless it is gone."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._watched, number)

    def kill(self) -> None:
        """Kill it with SIGKILL, and wait until it is gone."""
        if self._status is None:
            self.signal(signal.SIGKILL)
            self.wait()

    def _is_over(self, timeout_s: float) -> bool:
        return bool(select.select([self._watched], [], [], timeout_s)[0])

    def _reap(self) -> None:
        if isinstance(self._starter, Nursery):
            self._status = self._starter.reap(self.pid)
        else:
            self._status = self._starter.wait()
        os.close(self._watched)


class Nursery:
    """A process that forks roles; they die with it."""

    def __init__(self) -> None:
        paths = (str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", ""))
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PCAPDJ_")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "faults.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=clean | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)},
        )

    def start(self, role: str, arguments: Sequence[str], *, fault: str = "", log: Path) -> Child:
        """Fork a role; its fault is armed before its first line runs."""
        told = {"role": role, "arguments": list(arguments), "fault": fault, "log": str(log)}
        return Child(int(self._ask(told)["pid"]), self)

    def reap(self, pid: int) -> int:
        """Return the exit code of a child that has ended."""
        return int(self._ask({"reap": pid})["code"])

    def close(self) -> None:
        """End it, and with it all that it started."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()

    def _ask(self, what: Mapping[str, Any]) -> dict[str, Any]:
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("it is started with both")
        self._process.stdin.write(json.dumps(what).encode() + b"\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


def start_real(role: str, arguments: Sequence[str], *, fault: str = "", log: Path) -> Child:
    """Start a role as users do: a new interpreter."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PCAPDJ_")}
    with log.open("ab") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", f"pcapdj.{role}", *arguments],
            env=clean | ({"PCAPDJ_FAULT": fault} if fault else {}),
            stdout=stderr,
            stderr=stderr,
            cwd=TESTS.parent,
        )
    return Child(process.pid, process)


def _serve() -> None:
    """Read what to fork, fork it, answer with its pid."""
    from importlib import import_module

    from pcapdj.runtime.process import die_with_parent

    die_with_parent(signal.SIGKILL)
    modules = {role: import_module(f"pcapdj.{role}") for role in ROLES}
    for role, module in modules.items():
        _warm_up(
            module.app, ["-b", "/none"] if role == "dispatcher" else ["/none"] if role == "importer" else []
        )
    gc.freeze()  # what is here for good is not copied because a counter in it changes
    for line in sys.stdin:
        told = json.loads(line)
        if "reap" in told:
            _, status = os.waitpid(told["reap"], 0)
            answer: dict[str, Any] = {"code": os.waitstatus_to_exitcode(status)}
        else:
            answer = {"pid": os.fork()}
            if answer["pid"] == 0:
                _be(modules[told["role"]].main, told)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _warm_up(app: Any, needed: list[str]) -> None:
    """Import what the first use of a command line imports; a URL that is none ends it before it begins."""
    from contextlib import redirect_stderr
    from io import StringIO

    from pcapdj.runtime.command import exit_code_of

    with redirect_stderr(StringIO()):
        exit_code_of(app, "warm-up", ["--redis-url", "none://", *needed])


def _be(main: Any, told: Mapping[str, Any]) -> None:
    """Be the role, from the first line of its `main` to the last."""
    from pcapdj.runtime import failpoints, log
    from pcapdj.runtime.process import die_with_parent

    code = 1
    try:
        die_with_parent(signal.SIGKILL)
        _redirect(told["log"])
        random.seed()
        failpoints.reach = failpoints.armed(told["fault"])
        sys.argv = [told["role"], *told["arguments"]]
        main()
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else 1
    finally:
        log.flush()
        os._exit(code)


def _redirect(log: str) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for old, new in ((nothing, 0), (file, 1), (file, 2)):
        os.dup2(old, new)
    os.close(nothing)
    os.close(file)


def wait_for(condition: Any, timeout_s: float) -> bool:
    """Report whether the condition became true in time."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.002)
    return True


if __name__ == "__main__":
    _serve()
