"""What the launcher says of its analyzer, written to PCAPDJ_CONSUMER by a thread of its own.

The launcher never waits for Redis: it leaves its latest state here and goes on. Only the latest counts; what
Redis missed while it was away is overtaken. The heartbeat is the moment at which the launcher's own loop last
came by, not that of this thread.

The launcher's state as PCAPDJ_CONSUMER has it.
"""

import os
import threading
import time
from collections.abc import Mapping
from typing import Any

from pcapdj.analyzer.launch import AnalyzerStarter
from pcapdj.analyzer.restarts import RestartPolicy
from pcapdj.analyzer.session import AnalyzerSession, Exit
from pcapdj.runtime.errors import PcapdjError
from pcapdj.runtime.log import EventLog, Reminder
from pcapdj.store.client import Store

_HEARTBEAT_S = 1.0
_LAST_WORD_S = 0.9  # at the end: Redis gets this long to hear how it ended


class ConsumerPublisher:
    """Keeps PCAPDJ_CONSUMER up to date.

    Args:
        store: the lane; used by this object's thread alone, and closed by it.
        log: where it says that Redis does not take it.
    """

    def __init__(self, store: Store, log: EventLog) -> None:
        self._store = store
        self._log = log
        self._changed = threading.Condition()
        self._fields: dict[str, str] = {}
        self._heartbeat_s = 0.0
        self._is_news = False
        self._is_closed = False
        self._reminder = Reminder()
        self._thread = threading.Thread(target=self._write_on, name="consumer-state", daemon=True)
        self._thread.start()

    def publish(self, fields: Mapping[str, str]) -> None:
        """Take note of the launcher's state, as of now; never blocks.

        Args:
            fields: all of them but the heartbeat; one that is missing would keep an older value.
        """
        with self._changed:
            self._heartbeat_s = time.time()
            if fields != self._fields:
                self._fields, self._is_news = dict(fields), True
                self._changed.notify()

    def close(self) -> None:
        """Write the last state, for at most a second."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join(_LAST_WORD_S)

    def _write_on(self) -> None:
        while self._write(*self._latest()):
            pass
        self._store.close()

    def _latest(self) -> tuple[dict[Any, Any], bool, bool]:
        """Return what to write, whether it is news, and whether it is the last; waits for news or a beat."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_news or self._is_closed, _HEARTBEAT_S)
            fields = self._fields and self._fields | {"heartbeat_s": f"{self._heartbeat_s:.3f}"}
            is_news, self._is_news = self._is_news, False
            return fields, is_news, self._is_closed

    def _write(self, fields: dict[Any, Any], is_news: bool, is_last: bool) -> bool:  # noqa: FBT001 - from `_latest`
        if fields:
            try:
                self._store.call(lambda client: client.hset(self._store.keys.consumer, mapping=fields))
                if is_news:
                    self._store.notify("consumer")
            except PcapdjError as exc:
                self._say(exc)
            else:
                self._reminder.reset()
        return not is_last

    def _say(self, error: PcapdjError) -> None:
        if self._reminder.is_due(type(error), time.monotonic()):
            self._log.warning("waiting_for_redis", f"{error} The analyzer goes on; its state is not shown.")


class LauncherStatus:
    """What is told beyond the moment: since when, and how the last stream ended.

    Attributes:
        folder: the log folder of the open or last stream; the folder of all of them before the first.
    """

    def __init__(self, launching: AnalyzerStarter) -> None:
        self.folder = launching.log_root
        self._fixed = {"launcher_pid": str(os.getpid()), "command": str(launching.command)}
        self._last = {"last_stream": "", "last_exit": "", "last_verdict": ""}
        self._state = ""
        self._since_s = 0.0

    def last(self, stream: str, ending: Exit) -> None:
        """Take note of how a stream ended."""
        self._last = {
            "last_stream": stream,
            "last_exit": ending.exit,
            "last_verdict": ending.verdict.value,
        }

    def fields(self, life: AnalyzerSession | None, attempts: RestartPolicy, now_s: float) -> dict[str, str]:
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


def _state(life: AnalyzerSession | None, attempts: RestartPolicy) -> str:
    if life is not None:
        return life.stage.value
    return "failing" if attempts.reason else "idle"
