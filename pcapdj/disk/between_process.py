"""Runs the command of --between in a separate process, so that the controller never waits for it.

    controller ----- environment of a run ----> runner ---- fork, exec ----> command, in a session of its own
               <---- lines, how it ended -----         <---- output --------

The runner is forked once, before the controller has threads or a connection to Redis. It becomes the parent
of what the command leaves behind (`runtime.process_tree`), so that nothing of it is left after its end, its
time-out or a stop, also what has left its group with setsid. It exits when the other end of the socket is
closed, however the controller ends. What a killed runner leaves is ended by the next controller
(`runtime.leftover_processes`).

Each message is one packet of JSON: `{"variables": {..}}` to the runner; `{"line": ..}` for each line of the
output, and at the end of a run `exit` (how it ended; empty: with 0), `left` (what it left running), `lines`
and `last_line` of its output.
"""

import json
import math
import os
import select
import signal
import socket
import subprocess
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, cast

from pcapdj.runtime.errors import PcapdjError
from pcapdj.runtime.foreign_json import decode_object
from pcapdj.runtime.leftover_processes import mark_of_runner
from pcapdj.runtime.process import end_predicate, foreign_child_setup, set_title, signal_group
from pcapdj.runtime.process_tree import FoundProcess, ProcessTree

MOST_LINES: Final = 200  # of the output of one run that are logged; the last one is kept besides
_MOST_LEFT: Final = 20  # of the processes that a run left running are named
_LINE_BYTES: Final = 1000
_PACKET_BYTES: Final = 1 << 17
_READ_BYTES: Final = 1 << 16
_GRACE_S: Final = 0.3  # between SIGTERM and SIGKILL; a stop of the controller takes a second at most
_REAP_S: Final = 1.0
_LAST_STANDARD: Final = 2
_NOT_KILLED: Final = b"It runs as another user, and cannot be killed after its time-out; its end is awaited."
_CLOSE_S: Final = 0.8
# signals to the group of a terminal; the runner ends with its socket
_IGNORED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


@dataclass(frozen=True, slots=True)
class BetweenCommand:
    """The command of --between.

    Args:
        argv: its first element is the path of a program.
        timeout_s: after it the command and all that it started are killed.
        environment: of every run.
    """

    argv: Sequence[str]
    timeout_s: float
    environment: Mapping[str, str]


class BetweenProcess:
    """The runner, as the controller has it. Made before any thread is started.

    Args:
        command: to run.
    """

    def __init__(self, command: BetweenCommand) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.pid = _fork_runner(command, theirs)
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor that is readable when there is something to read."""
        return self._socket.fileno()

    @property
    def has_message(self) -> bool:
        """Report whether there is something to read."""
        return bool(select.select([self._socket], [], [], 0)[0])

    def start(self, variables: Mapping[str, str]) -> None:
        """Start the command once more; the run before has ended.

        Args:
            variables: of its environment, beside those of every run; names that are no UTF-8 as `os.fsdecode`
                decodes them.
        """
        with suppress(BrokenPipeError):  # the next `read` reports it
            self._socket.send(json.dumps({"variables": dict(variables)}).encode())

    def read(self) -> list[dict[str, Any]]:
        """Return the messages that have arrived.

        Raises:
            PcapdjError: the runner is gone.
        """
        messages = []
        with suppress(BlockingIOError):
            while True:
                if not (packet := _received(self._socket)):
                    raise PcapdjError("The process that runs the command of --between is gone.")
                messages.append(decode_object(packet))
        return messages

    def close(self) -> None:
        """End a command that runs, with all that it started, and the runner."""
        self._socket.close()
        until_s = time.monotonic() + _CLOSE_S
        with suppress(ChildProcessError, ProcessLookupError):
            runner = os.pidfd_open(self.pid)
            try:
                if not select.select([runner], [], [], max(0.0, until_s - time.monotonic()))[0]:
                    signal.pidfd_send_signal(runner, signal.SIGKILL)
            finally:
                os.close(runner)
            os.waitpid(self.pid, 0)


def _fork_runner(command: BetweenCommand, theirs: socket.socket) -> int:
    if pid := os.fork():
        return pid
    try:
        signal.set_wakeup_fd(-1)
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        _close_all_but(theirs.fileno())
        set_title("pcapdj between")
        _serve(command, theirs)
    except BaseException:  # noqa: BLE001 - nothing of the controller may run in this process
        traceback.print_exc()
    finally:
        os._exit(0)


def _close_all_but(kept: int) -> None:
    """Close what the controller has open, its standard streams aside."""
    for entry in list(Path("/proc/self/fd").iterdir()):
        if (number := int(entry.name)) > _LAST_STANDARD and number != kept:
            with suppress(OSError):  # that of the listing itself
                os.close(number)


def _serve(command: BetweenCommand, channel: socket.socket) -> None:
    tree = ProcessTree()
    while packet := _received(channel):
        _Run(command, channel, tree).finish(decode_object(packet)["variables"])


def _received(channel: socket.socket) -> bytes:
    """Return the next message; empty: the other process has ended, whether it had read ours or not."""
    with suppress(ConnectionResetError):
        return channel.recv(_PACKET_BYTES)
    return b""


class _Run:
    """One run of the command.

    Args:
        channel: to the controller.
        tree: the descendants of this process.
    """

    def __init__(self, command: BetweenCommand, channel: socket.socket, tree: ProcessTree) -> None:
        self._command = command
        self._channel = channel
        self._tree = tree
        self._lines = 0
        self._last_line = ""
        self._rest = b""

    def finish(self, variables: Mapping[str, str]) -> None:
        """Run the command to its end or the time-out; pass on its output, and how it ended."""
        try:
            process = subprocess.Popen(
                list(self._command.argv),
                env={**self._command.environment, **variables, **mark_of_runner()},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=foreign_child_setup(),  # noqa: PLW1509 - this process has one thread
            )
        except (OSError, ValueError, subprocess.SubprocessError) as exc:
            self._send({"exit": f"does not start: {getattr(exc, 'strerror', None) or exc}"})
            return
        pidfd = os.pidfd_open(process.pid)
        with cast("IO[bytes]", process.stdout) as output:
            os.set_blocking(output.fileno(), False)
            until_s = time.monotonic() + self._command.timeout_s
            if is_late := self._wait(process.pid, pidfd, output.fileno(), until_s):
                signal_group(process.pid, signal.SIGTERM)
                select.select([pidfd], [], [], _GRACE_S)
            is_killed = signal_group(process.pid, signal.SIGKILL)
            if is_late and not is_killed and not select.select([pidfd], [], [], 0)[0]:
                self._put_line(_NOT_KILLED)
                if self._wait(process.pid, pidfd, output.fileno(), math.inf):
                    return
            code = process.wait()
            os.close(pidfd)
            left = _shown(self._tree.end(group=process.pid))
            self._read(output.fileno())
            self._put_line(self._rest)
        ended = f"ran longer than {self._command.timeout_s:g} s" if is_late else _exit_text(code)
        self._send({"exit": ended, "left": left, "lines": self._lines, "last_line": self._last_line})

    def _wait(self, pid: int, pidfd: int, output: int, until_s: float) -> bool:
        """Wait for the command's end and pass on its output; report whether it has to be ended."""
        readable = [pidfd, self._channel.fileno(), output]
        while (left_s := until_s - time.monotonic()) > 0:
            found = select.select(readable, [], [], min(left_s, _REAP_S))[0]
            if output in found and not self._read(output):
                readable.remove(output)
            if pidfd in found:
                return False
            if self._channel.fileno() in found:  # nothing is sent during a run: the controller has ended
                return True
            self._tree.reap(spared=pid)
        return True

    def _read(self, output: int) -> bool:
        """Pass on what the command has printed; report whether more may follow."""
        try:
            data = os.read(output, _READ_BYTES)
        except BlockingIOError:
            return True
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._put_line(line)
        self._rest = rest[:_LINE_BYTES]
        return bool(data)

    def _put_line(self, line: bytes) -> None:
        if not (text := line[:_LINE_BYTES].decode("utf-8", "replace").strip()):
            return
        self._lines, self._last_line = self._lines + 1, text
        if self._lines <= MOST_LINES:
            with suppress(BlockingIOError):  # the controller reads once a second: a flood is cut
                self._send({"line": text}, socket.MSG_DONTWAIT)

    def _send(self, message: Mapping[str, object], flags: int = 0) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):
            self._channel.send(json.dumps(message).encode(), flags)


def _shown(left: Sequence[FoundProcess]) -> list[str]:
    """Return the processes in words, as many as one message takes."""
    shown = [str(each) for each in left[:_MOST_LEFT]]
    return [*shown, f"{len(left) - _MOST_LEFT} more"] if len(left) > _MOST_LEFT else shown


def _exit_text(code: int) -> str:
    """Return how a command ended; empty: in order."""
    return end_predicate(code) if code else ""
