"""The launcher's status in Redis: PCAPDJ_CONSUMER, written by a separate thread.

The launcher never waits for Redis: it hands its latest status to the thread and continues. A status that
Redis missed while it was away is replaced by the next one. The heartbeat is the time of the launcher's last
round, not of the thread's last write, so a launcher that hangs looks dead.
"""

import json
import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from pcapdj.analyzer.restarts import RestartPolicy
from pcapdj.analyzer.session import AnalyzerSession, Exit, Verdict
from pcapdj.runtime.errors import PcapdjError, StoreUnavailable
from pcapdj.runtime.foreign_files import own_text
from pcapdj.runtime.foreign_json import decode_object
from pcapdj.runtime.log import EventLog, Reminder
from pcapdj.runtime.safe_text import to_text
from pcapdj.runtime.whole_file import write_whole
from pcapdj.store.bounded import read_hash
from pcapdj.store.client import RETRY_S, Store

_HEARTBEAT_S: Final = 1.0
_MOST_EXITS: Final = 20  # a reader that looks ten times a second misses none
_LAST_WRITE_S: Final = 0.9  # at the end: how long to wait until Redis has the last status

_MOST_KEPT_BYTES: Final = 1 << 20

_events: Final = EventLog("consumer")


class StatusPublisher:
    """Keeps PCAPDJ_CONSUMER up to date.

    Args:
        store: the lane; used by this object's thread alone, and closed by it.
        kept: the file of suspect streams that Redis did not get: a stop of the service ends Redis first.
        follows_killed: a launcher was here that did not end in order: its stream is suspect.
    """

    def __init__(self, store: Store, kept: Path, *, follows_killed: bool = False) -> None:
        self._store = store
        self._kept = kept
        self._follows_killed = follows_killed
        self._changed = threading.Condition()
        self._fields: dict[str, str] = {}
        self._suspects = _read_kept(kept)  # that Redis does not have yet
        self._heartbeat_s = 0.0
        self._is_new = False
        self._is_closed = False
        self._pause_s = _HEARTBEAT_S
        self._reminder = Reminder()
        self._thread = threading.Thread(target=self._run, name="consumer-state", daemon=True)
        self._thread.start()

    def publish(self, fields: Mapping[str, str]) -> None:
        """Set the status, as of now; never blocks.

        Args:
            fields: all of them but the heartbeat; one that is missing would keep an older value.
        """
        with self._changed:
            self._heartbeat_s = time.time()
            if fields != self._fields:
                self._fields, self._is_new = dict(fields), True
                self._changed.notify()

    def record_suspect(self, stream: str, reason: str) -> None:
        """Add a stream that may have lost output to PCAPDJ_SUSPECT; never blocks.

        Args:
            stream: its id.
            reason: a sentence.
        """
        with self._changed:
            self._suspects[stream] = reason
            self._is_new = True
            self._changed.notify()

    def close(self) -> None:
        """Write the last status, for at most a second; keep suspect streams that Redis did not get."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join(_LAST_WRITE_S)
        if suspects := dict(self._suspects):
            with suppress(OSError):  # they are in the log
                write_whole(self._kept, json.dumps(suspects).encode(), is_synced=True)

    def _run(self) -> None:
        while self._write(*self._wait()):
            pass
        self._store.close()

    def _wait(self) -> tuple[dict[Any, Any], bool, bool]:
        """Wait for a new status or a heartbeat; return the fields, whether they are new, whether the last."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_new or self._is_closed, self._pause_s)
            fields = self._fields and self._fields | {"heartbeat_s": f"{self._heartbeat_s:.3f}"}
            is_new, self._is_new = self._is_new, False
            return fields, is_new, self._is_closed

    def _write(self, fields: dict[Any, Any], is_new: bool, is_last: bool) -> bool:  # noqa: FBT001 - of `_wait`
        if fields:
            try:
                self._note_killed_stream()
                self._write_suspects()
                self._store.call(lambda client: client.hset(self._store.keys.consumer, mapping=fields))
                if is_new:
                    self._store.notify("consumer")
            except PcapdjError as exc:
                self._pause_s = RETRY_S if isinstance(exc, StoreUnavailable) else _HEARTBEAT_S
                if self._reminder.is_due(type(exc), time.monotonic()):
                    sentence = f"{exc} The analyzer goes on; its state in Redis is out of date."
                    _events.warning("waiting_for_redis", sentence)
            else:
                self._pause_s = _HEARTBEAT_S
                self._reminder.reset()
        return not is_last

    def _note_killed_stream(self) -> None:
        """Before its status is replaced: the analyzer died with the launcher, and what it had not written."""
        if not self._follows_killed:
            return
        found = read_hash(self._store, self._store.keys.consumer, ("state", "stream"))
        stream = to_text(found.get(b"stream", b""))
        if stream and found.get(b"state") in {b"reading", b"flushing"}:
            sentence = "Its launcher was killed, and the analyzer with it."
            _events.warning("stream_suspect", f"Output may be missing. {sentence}", stream=stream)
            self._suspects[stream] = sentence
        self._follows_killed = False

    def _write_suspects(self) -> None:
        suspects = dict[Any, Any](self._suspects)
        if suspects:
            self._store.call(lambda client: client.hset(self._store.keys.suspect, mapping=suspects))
            with suppress(OSError):
                self._kept.unlink()
        for stream in suspects:
            del self._suspects[stream]


def _read_kept(path: Path) -> dict[str, str]:
    try:
        found = decode_object(own_text(path, _MOST_KEPT_BYTES))
    except (OSError, ValueError):
        return {}
    return {stream: str(reason) for stream, reason in found.items()}


class LauncherStatus:
    """The fields of PCAPDJ_CONSUMER: the open stream, how the last one ended, and since when the state lasts.

    Args:
        command: the analyzer, for people.
        log_root: the folder of all log folders; shown as `logdir` before the first stream.
    """

    def __init__(self, publisher: StatusPublisher, command: str, log_root: Path) -> None:
        self._publisher = publisher
        self._fixed = {"launcher_pid": str(os.getpid()), "command": command}
        self._folder = log_root
        self._last_exit = {"last_stream": "", "last_exit": "", "last_verdict": ""}
        self._exits: dict[str, str] = {}
        self._state = ""
        self._since_s = 0.0
        self._paused = ""
        self._last_started = ""
        self._starts = self._crashes = 0
        self._suspect = ("", "")  # the last stream that may have lost output, and why

    def record_exit(self, session: AnalyzerSession, ended: Exit) -> None:
        """Record how a stream ended."""
        self._exits[session.stream] = ended.status
        self._crashes += ended.verdict is not Verdict.ENDED
        while len(self._exits) > _MOST_EXITS:
            del self._exits[next(iter(self._exits))]
        self._last_exit = {
            "last_stream": session.stream,
            "last_exit": ended.status,
            "last_verdict": ended.verdict.value,
        }

    def record_suspect(self, stream: str, reason: str) -> None:
        """Record that a stream may have lost output; as `StatusPublisher.record_suspect`."""
        self._publisher.record_suspect(stream, reason)
        self._suspect = (stream, reason)

    def publish(self, session: AnalyzerSession | None, restarts: RestartPolicy) -> None:
        """Publish the status as of now; never blocks."""
        state = session.stage.value if session else "failing" if restarts.reason else "idle"
        if state != self._state:
            self._state, self._since_s = state, time.time()
        self._folder = session.folder if session else self._folder
        if session and session.stream != self._last_started:
            self._last_started, self._starts = session.stream, self._starts + 1
        is_paused = session is not None and session.paused_s is not None
        self._paused = (self._paused or f"{time.time():.3f}") if is_paused else ""
        self._publisher.publish(
            {
                "state": state,
                "stream": session.stream if session else "",
                "pid": str(session.analyzer.pid) if session else "",
                "logdir": str(self._folder),
                "restarts": str(restarts.restarts),
                "starts": str(self._starts),
                "crashes": str(self._crashes),
                "reason": restarts.reason or (session.not_killed if session else ""),
                "since_s": f"{self._since_s:.3f}",
                "paused_s": self._paused,
                "suspect": self._suspect_of(session),
                **self._fixed,
                **self._last_exit,
                "last_exits": "\n".join(f"{stream} {status}" for stream, status in self._exits.items()),
            }
        )

    def _suspect_of(self, session: AnalyzerSession | None) -> str:
        """Return why the open stream, or else the last one, may have lost output."""
        stream, reason = self._suspect
        return reason if stream == (session.stream if session else self._last_exit["last_stream"]) else ""
