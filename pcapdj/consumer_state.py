"""The launcher's state as PCAPDJ_CONSUMER has it."""

import os

from pcapdj.stream.attempts import Attempts
from pcapdj.stream.launching import Launching
from pcapdj.stream.life import Ending, Life


class Shown:
    """What is told beyond the moment: since when, and how the last stream ended.

    Attributes:
        folder: the log folder of the open or last stream; the folder of all of them before the first.
    """

    def __init__(self, launching: Launching) -> None:
        self.folder = launching.log_root
        self._fixed = {"launcher_pid": str(os.getpid()), "command": str(launching.command)}
        self._last = {"last_stream": "", "last_exit": "", "last_verdict": ""}
        self._state = ""
        self._since_s = 0.0

    def last(self, stream: str, ending: Ending) -> None:
        """Take note of how a stream ended."""
        self._last = {
            "last_stream": stream,
            "last_exit": ending.exit,
            "last_verdict": ending.verdict.value,
        }

    def fields(self, life: Life | None, attempts: Attempts, now_s: float) -> dict[str, str]:
        """Return all fields but the heartbeat.

        Args:
            life: the stream there is.
            attempts: what went wrong before.
            now_s: seconds since the epoch.
        """
        state = _state(life, attempts)
        if state != self._state:
            self._state, self._since_s = state, now_s
        return {
            "state": state,
            "stream": life.stream if life else "",
            "pid": str(life.analyzer.pid) if life else "",
            "logdir": str(self.folder),
            "restarts": str(attempts.restarts),
            "reason": attempts.reason,
            "since_s": f"{self._since_s:.3f}",
            **self._fixed,
            **self._last,
        }


def _state(life: Life | None, attempts: Attempts) -> str:
    if life is not None:
        return life.stage.value
    return "failing" if attempts.reason else "idle"
