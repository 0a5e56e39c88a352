"""Starts the rounds that make room, each as a process of its own: `pcapdj reclaim now --if-short`.

Reading a capture for its checksum, or copying it, takes minutes; the controller measures and suspends
meanwhile. A process dies with the controller, and ends within a second of its stop signal. The first round
begins with the controller: it finishes what an earlier process has left.
"""

import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from pcapdj.disk.gate import Gate, Measurement
from pcapdj.disk.reclaim_rule import NONE, RECLAIM_FIELD, is_short, pause_after
from pcapdj.runtime.environment import whole_environment
from pcapdj.runtime.interpreter import pcapdj_command
from pcapdj.runtime.log import EventLog
from pcapdj.runtime.process import death_signal_for_child

events = EventLog("controller")
_STOP_LIMIT_S: Final = 0.3  # the controller has a second; the process ends without it, too


class ReclaimProcess:
    """One round after another, while a disk is short; none without a command.

    Args:
        arguments: of `pcapdj reclaim`; none: nothing is ever removed.
        login: variables by which it finds Redis, beside those of this process.
    """

    def __init__(self, arguments: Sequence[str] = (), login: Mapping[str, str] | None = None) -> None:
        self._arguments = arguments
        self._login = login or {}
        self._process: subprocess.Popen[bytes] | None = None
        self._next_s = 0.0
        self._has_run = False

    def update(self, measurements: Sequence[Measurement], gate: Gate, control: Mapping[str, str]) -> None:
        """Begin a round if one is due; notice the end of the one before.

        Args:
            measurements: of the disks.
            gate: after them.
            control: the live fields: an operator may pause the rounds.
        """
        if not self._arguments:
            return
        now_s = time.monotonic()
        if self._process:
            if (code := self._process.poll()) is None:
                return
            self._process, self._next_s = None, now_s + pause_after(code)
        is_wanted = is_short(measurements, gate) or not self._has_run
        if is_wanted and control.get(RECLAIM_FIELD) != NONE and now_s >= self._next_s:
            self._has_run = True
            self._start(now_s)

    def close(self) -> None:
        """End the round; what it has begun with a file is finished or undone."""
        if self._process:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_LIMIT_S)

    def _start(self, now_s: float) -> None:
        command = pcapdj_command("reclaim", *self._arguments)
        try:
            self._process = subprocess.Popen(
                command,
                env={**whole_environment(), **self._login},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                preexec_fn=death_signal_for_child(signal.SIGTERM),  # noqa: PLW1509 - it makes two system calls
            )
        except OSError as exc:
            self._next_s = now_s + pause_after(1)
            events.warning(
                "reclaim_not_started", f"The process that makes room cannot start: {exc.strerror}."
            )
