"""Records log lines of a role as events of its lane, in a thread; `pcapdj events` shows them.

Every warning and error is recorded, and lines of level INFO about the lane as a whole. Results of files are
in the journal, and are not recorded twice. Lines wait while Redis is away, and are written with the time at
which they were logged; beyond a thousand the newest are dropped, and their number is recorded.
"""

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from pcapdj.runtime import log
from pcapdj.runtime.errors import PcapdjError, StoreUnavailable
from pcapdj.runtime.log import EventLog, LogEntry
from pcapdj.runtime.numbers import counted
from pcapdj.runtime.safe_text import to_text
from pcapdj.store.client import Store
from pcapdj.store.event_command import HANDLED, EventCommand
from pcapdj.store.event_command import KINDS as COMMAND_KINDS
from pcapdj.store.events import Event, add_event

# the events of the log that have another kind than their name
KINDS: Final = {
    **dict.fromkeys(("gate_open", "gate_hold", "gate_suspended"), "gate"),
    **dict.fromkeys(("analyzer_crashed", "analyzer_unstarted", "analyzer_unavailable"), "analyzer_failing"),
    "analyzer_at_fault": "lane_held",
    "stream_suspect": "suspect",
}
# of level INFO: the others are about one file, which the journal has, or help only a reader of that log
_RECORDED: Final = frozenset({
    *("gate_open", "disks_accepted", "measured_again"),
    *("live_values_in_force", "suspended", "resumed", "lane_resumed"),
    *("started", "stopping", "done", "importer_starts", "importer_stops", "inbox_watched", "files_queued"),
    *("analyzer_started", "stream_opened", "stream_resumed", "stream_ended", "linktype_changes"),
    *("storage_back", "redis_back", "authorized", "file_continues", "analyzer_paused", "analyzer_resumed"),
    "reclaimed",
})  # fmt: skip
# warnings whose facts the journal has, and the one about events that cannot be written
_NOT_RECORDED: Final = frozenset({
    *("timestamps_jump", "packets_skipped", "snaplen_wrong", "times_wrapped", "times_step_back"),
    *("times_after_2038", "file_failed", "events_not_recorded", "on_event_failed"),
})  # fmt: skip
_MOST_WAITING: Final = 1000
_PAUSE_S: Final = 1.0  # until Redis is tried again
_REFUSED_PAUSE_S: Final = 60.0  # where it refuses
_END_S: Final = 0.3  # at the end: how long to wait until the last ones are written

_events: Final = EventLog("events")


class EventRecorder:
    """Writes entries of the log into PCAPDJ_EVENTS, in a thread that the first one starts.

    Args:
        store: the lane; the recorder opens a client of its own.
        command: of `--on-event`, which gets each event at once; None: there is none.
    """

    def __init__(self, store: Store, command: EventCommand | None = None) -> None:
        self._store = store
        self._command = command
        self._waiting: queue.Queue[Event] = queue.Queue(_MOST_WAITING)
        self._dropped = 0
        self._thread: threading.Thread | None = None
        self._is_ending = threading.Event()
        self._is_over = False

    def put(self, entry: LogEntry) -> None:
        """Take an entry; never wait."""
        if not is_recorded(entry):
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_events, name="events", daemon=True)
            self._thread.start()
        event = event_of_log(entry)
        if self._command and event.kind in COMMAND_KINDS:
            self._command.offer(event)
            event = replace(event, fields={**event.fields, HANDLED: "1"})
        try:
            self._waiting.put_nowait(event)
        except queue.Full:
            self._dropped += 1

    def close(self) -> None:
        """Wait until what was logged is written, for at most 0.3 s."""
        self._is_ending.set()
        deadline_s = time.monotonic() + _END_S
        while self._waiting.unfinished_tasks and time.monotonic() < deadline_s:
            time.sleep(0.005)
        self._is_over = True

    def _write_events(self) -> None:
        store = self._store.another()
        while not self._is_over:
            event = self._waiting.get()
            while (pause_s := _write(store, event)) and not self._is_ending.wait(pause_s):
                pass
            if dropped := self._dropped:
                self._dropped = 0
                sentence = f"{counted(dropped, 'event was', 'events were')} dropped."
                _write(store, Event("events_dropped", sentence, "", time.time()))
            self._waiting.task_done()


def _write(store: Store, event: Event) -> float:
    """Write an event; return after how many seconds to try again, 0 if it is written."""
    try:
        add_event(store, event)
    except StoreUnavailable:
        return _PAUSE_S
    except PcapdjError as exc:
        _events.warning("events_not_recorded", f"{exc} Only this log has what is logged.")
        return _REFUSED_PAUSE_S
    return 0.0


@contextmanager
def recorded_log(
    store: Store, command_words: Sequence[str] = (), *, reads_others: bool = False
) -> Iterator[None]:
    """Record what this process logs within the block.

    Args:
        store: the lane.
        command_words: of `--on-event`; empty: there is none.
        reads_others: run the command also for the events of other roles.

    Raises:
        OSError: no process can be started for the command.
    """
    command = EventCommand(command_words, store, reads_others=reads_others) if command_words else None
    recorder = EventRecorder(store, command)
    log.record_with(recorder)
    try:
        yield
    finally:
        log.record_with(None)
        recorder.close()
        if command:
            command.close()


def is_recorded(entry: LogEntry) -> bool:
    """Report whether a line of the log becomes an event."""
    if entry.level == "INFO":
        return entry.event in _RECORDED
    return entry.event not in _NOT_RECORDED or _is_poison(entry)


def event_of_log(entry: LogEntry) -> Event:
    """Return the event for a line of the log."""
    fields = {name: _text(value) for name, value in entry.fields.items() if value is not None}
    kind = "poison" if _is_poison(entry) else KINDS.get(entry.event, entry.event)
    known = {} if kind == entry.event else {"event": entry.event}
    level = {} if entry.level == "INFO" else {"level": entry.level}
    return Event(kind, entry.sentence, entry.role, entry.time_s, {**known, **level, **fields})


def _is_poison(entry: LogEntry) -> bool:
    """Report whether a file failed since analyzers or dispatchers died on it."""
    return entry.event == "file_failed" and entry.sentence.startswith("poison")


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return to_text(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
