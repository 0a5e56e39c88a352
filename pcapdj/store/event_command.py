"""`--on-event`: a separate process runs the operator's command for each important event.

A role hands its events over through a socket and never waits. The process, forked when the role starts, runs
the command for one event after the other, each for at most 30 s. The controller's process also reads what the
other roles record in Redis; the launcher's runs it for the launcher alone, which works without Redis.

The process is not a child of the role, because the launcher ends all its descendants with each stream. It
ends when the role's end of the socket is closed, however the role died.

A flood is bounded: twenty commands at once, then one every three seconds; a hundred events wait, the oldest
ones are dropped, and the next command gets their number.
"""

import json
import os
import select
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Final, NoReturn

from pcapdj.runtime.command import end_process, run_command
from pcapdj.runtime.environment import operator_environment, program_path
from pcapdj.runtime.errors import ConfigError, PcapdjError
from pcapdj.runtime.foreign_json import decode_object
from pcapdj.runtime.log import EventLog
from pcapdj.runtime.numbers import whole_number
from pcapdj.runtime.process import end_predicate, foreign_child_setup, set_title, signal_group
from pcapdj.runtime.safe_text import printable, quoted
from pcapdj.runtime.units import utc_text
from pcapdj.store.bounded import read_hash
from pcapdj.store.client import Store
from pcapdj.store.events import Event, read_events, record_event

KINDS: Final = frozenset({
    *("gate", "analyzer_failing", "poison", "lane_held", "lane_resumed", "suspect", "storage_gone"),
    *("storage_back", "queue_lost", "hold_lost", "between_failed"),
})  # fmt: skip
HANDLED: Final = "handled"  # the field of an event for which its role has run the command itself
CURSOR: Final = "event_id"  # of PCAPDJ_GATE: the last event that the controller's process has read
LIMIT_S: Final = 30.0
_AT_ONCE: Final = 20
_PAUSE_S: Final = 3.0
_MOST_WAITING: Final = 100
_LOOK_S: Final = 1.0  # at the events of others
_AFTER_ROLE_S: Final = 5.0  # for what waits when the role has ended
_OLDEST_S: Final = 86_400.0  # an older event is not read again after a restart
_CLOCKS_S: Final = 60.0  # by which the clock of Redis may be ahead of ours
_MOST_BYTES: Final = 60_000  # of a message
_FRAME_BYTES: Final = 100  # of a message, around its event
_MOST_ROLE_CHARS: Final = 100
_MOST_TEXT_CHARS: Final = 4095  # a name's; in JSON one has up to 12 bytes
_SHOWN_BYTES: Final = 300  # of what a failed command printed last

_events: Final = EventLog("on_event")


def event_command(text: str) -> list[str]:
    """Return the command as its words, the program with its path; empty for an empty text.

    Raises:
        ConfigError: there is no such program, or a quote is not closed.
    """
    try:
        words = shlex.split(text)
    except ValueError as exc:
        raise ConfigError(f"--on-event: {text!r} cannot be split into words: {exc}.") from exc
    if not words:
        return []
    program = shutil.which(words[0], path=program_path())
    if program is None:
        raise ConfigError(f"--on-event: there is no program {quoted(words[0])}.")
    return [str(Path(program).absolute()), *words[1:]]


class EventCommand:
    """The role's end: hands events over, and never waits.

    Args:
        words: of `event_command`; not empty.
        store: the lane.
        reads_others: run the command also for what other roles record.

    Raises:
        OSError: no process can be started.
    """

    def __init__(self, words: Sequence[str], store: Store, *, reads_others: bool) -> None:
        began_s = time.time() if reads_others else None
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        self._skipped = 0
        child = os.fork()
        if not child:
            self._socket.close()
            _fork_again(CommandRunner(theirs, words, store.another(), began_s))
        theirs.close()
        os.waitpid(child, 0)

    def offer(self, event: Event) -> None:
        """Run the command for an event, if it is of `KINDS`."""
        if event.kind not in KINDS:
            return
        try:
            self._socket.send(_message(event, self._skipped))
        except OSError:  # too many wait, or the process is gone
            self._skipped += 1
        else:
            self._skipped = 0

    def close(self) -> None:
        """Let the process end: it starts no command later than five seconds from now."""
        self._socket.close()


def _fork_again(runner: "CommandRunner") -> NoReturn:
    """Become a process that init reaps, and work there."""
    if os.fork():
        os._exit(0)
    runner.close_others()
    os.setsid()  # Ctrl-C and supervisord's signals are for the role
    for number in (
        *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2),
        signal.SIGCHLD,
    ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    set_title("pcapdj on-event")
    end_process(run_command("pcapdj on-event", runner.run))


class CommandRunner:
    """The process: one command after the other.

    Args:
        connection: to the role.
        words: of the command.
        store: the lane, of this process alone.
        began_s: when the role did, in seconds since the epoch: run the command also for what others record
            from then on, or behind what the process before has read; None: only for the role's own events.
    """

    def __init__(
        self, connection: socket.socket, words: Sequence[str], store: Store, began_s: float | None
    ) -> None:
        self._connection = connection
        self._words = list(words)
        self._store = store
        self._began_s = began_s
        self._waiting = deque[Event]()
        self._skipped = 0
        self._left = float(_AT_ONCE)
        self._counted_s = time.monotonic()
        self._looked_s = 0.0
        self._cursor = ""
        self._ends_s = float("inf")

    def close_others(self) -> None:
        """Close every descriptor of the role: another process may wait for its end at one of them."""
        kept = self._connection.fileno()
        os.closerange(3, kept)
        os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))

    def run(self) -> None:
        """Run the command for each event, until the role has ended."""
        self._cursor = "" if self._began_s is None else self._first_cursor(self._began_s)
        while self._waiting or self._ends_s == float("inf"):
            self._receive(0.0 if self._waiting else _LOOK_S if self._cursor else None)
            self._read_others()
            if time.monotonic() >= self._ends_s:
                return
            if self._waiting and self._may_start():
                self._run_for(self._waiting.popleft())

    def _receive(self, timeout_s: float | None) -> None:
        """Take what the role has sent."""
        while self._ends_s == float("inf") and select.select([self._connection], [], [], timeout_s)[0]:
            data = self._connection.recv(_MOST_BYTES)
            if not data:
                self._ends_s = time.monotonic() + _AFTER_ROLE_S
                return
            self._take(data)
            timeout_s = 0.0

    def _take(self, data: bytes) -> None:
        sent = decode_object(data)
        self._skipped += sent.pop("skipped")
        self._add(Event(**sent))

    def _add(self, event: Event) -> None:
        self._waiting.append(_shortened(event))
        if len(self._waiting) > _MOST_WAITING:
            self._waiting.popleft()
            self._skipped += 1

    def _first_cursor(self, began_s: float) -> str:
        """Return the id behind which this process reads: where the one before ended, or the role's start."""
        newest = f"({int(began_s * 1000)}-0"
        try:
            seen = read_hash(self._store, self._store.keys.gate, [CURSOR]).get(CURSOR.encode(), b"")
        except PcapdjError:
            return newest
        milliseconds, number = (whole_number(part) for part in (seen + b"-").split(b"-")[:2])
        if milliseconds is None or number is None:  # none, or what another program wrote
            return newest
        is_recent = -_CLOCKS_S < began_s - milliseconds / 1000 < _OLDEST_S
        return f"({milliseconds}-{number}" if is_recent else newest

    def _read_others(self) -> None:
        """Take what other roles have recorded, except events for which they ran the command."""
        is_over = self._ends_s < float("inf")
        if is_over or not self._cursor or time.monotonic() < self._looked_s + _LOOK_S:
            return
        before = self._cursor
        with suppress(PcapdjError):  # the role logs what is wrong with Redis
            for event in read_events(self._store, self._cursor):
                self._cursor = f"({event.id}"
                if event.role != "controller" and HANDLED not in event.fields and event.kind in KINDS:
                    self._add(event)
            if self._cursor != before:
                seen = self._cursor.removeprefix("(")
                self._store.call(lambda client: client.hset(self._store.keys.gate, CURSOR, seen))
        self._looked_s = time.monotonic()

    def _may_start(self) -> bool:
        """Report whether another command may start; else wait a little, or until the role sends something."""
        now_s = time.monotonic()
        self._left = min(_AT_ONCE, self._left + (now_s - self._counted_s) / _PAUSE_S)
        self._counted_s = now_s
        if self._left >= 1:
            self._left -= 1
            return True
        self._receive(min(_LOOK_S, (1 - self._left) * _PAUSE_S))
        if self._ends_s < float("inf"):
            time.sleep(0.1)
        return False

    def _run_for(self, event: Event) -> None:
        """Run the command; whatever it has started in its process group ends with it."""
        skipped, self._skipped = self._skipped, 0
        variables = event_variables(event, self._store.keys.lane, skipped)
        with _output_file() as errors:
            try:
                process = subprocess.Popen(
                    self._words,
                    env=operator_environment() | variables,
                    stdin=subprocess.DEVNULL,
                    stdout=errors,
                    stderr=errors,
                    start_new_session=True,
                    preexec_fn=foreign_child_setup(),  # noqa: PLW1509 - only system calls: it takes no lock of a thread
                )
            except OSError as exc:
                self._report(event, f"cannot be started: {exc.strerror}")
                return
            how = _how_it_ended(process, min(LIMIT_S, max(0.0, self._ends_s - time.monotonic())))
            if how:
                self._report(event, how + _last_words(errors))

    def _report(self, event: Event, how: str) -> None:
        """Log and record that the command failed."""
        sentence = f"The command of --on-event {how}."
        _events.warning("on_event_failed", sentence, program=self._words[0], kind=event.kind)
        fields = {"level": "WARNING", "program": self._words[0], "of": event.kind}
        record_event(self._store, "on_event_failed", sentence, role="on_event", fields=fields)


def _output_file() -> IO[bytes]:
    """Return a file for what a command prints; without room for it, which may be the event, none."""
    try:
        return tempfile.TemporaryFile()
    except OSError:
        return open(os.devnull, "r+b")  # noqa: PTH123 - as the line above


def event_variables(event: Event, lane: str, skipped: int) -> dict[str, str]:
    """Return the environment variables that the command gets for an event."""
    values = {
        "KIND": event.kind,
        "ROLE": event.role,
        "LEVEL": event.fields.get("level", "INFO"),
        "SENTENCE": event.sentence,
        "TIME": utc_text(event.time_s),
        "NAME": event.fields.get("name", ""),
        "LANE": lane,
        "SKIPPED": str(skipped),
        "FIELDS": json.dumps({name: text for name, text in event.fields.items() if name != "level"}),
    }
    return {f"PCAPDJ_EVENT_{name}": text.replace("\0", "") for name, text in values.items()}


def _message(event: Event, skipped: int) -> bytes:
    short = _shortened(event)
    return json.dumps(_own(short) | {"fields": dict(short.fields), "skipped": skipped}).encode()


def _shortened(event: Event) -> Event:
    """Return the event with short texts, and those of its fields that fit into `_MOST_BYTES`.

    Any program may have written it, and a variable of the environment has 128 KiB at most (execve(2), E2BIG).
    """
    sentence, role = event.sentence[:_MOST_TEXT_CHARS], event.role[:_MOST_ROLE_CHARS]
    short = replace(event, sentence=sentence, role=role, fields={})
    fields, left_bytes = dict[str, str](), _MOST_BYTES - len(json.dumps(_own(short))) - _FRAME_BYTES
    for name, text in event.fields.items():
        field = {name: text[:_MOST_TEXT_CHARS]}
        if (size_bytes := len(json.dumps(field))) <= left_bytes:
            left_bytes -= size_bytes
            fields |= field
    return replace(short, fields=fields)


def _own(event: Event) -> dict[str, Any]:
    return {
        "kind": event.kind, "sentence": event.sentence, "role": event.role, "time_s": event.time_s
    }  # fmt: skip


def _how_it_ended(process: subprocess.Popen[bytes], limit_s: float) -> str:
    """Wait for a command, kill its process group; return how it failed, empty: it did not."""
    try:
        status = process.wait(limit_s)
    except subprocess.TimeoutExpired:
        status = None
    if not signal_group(process.pid, signal.SIGKILL) and status is None:
        return f"runs as another user, and cannot be killed after {limit_s:.0f} s"
    process.wait()
    if status is None:
        return f"was killed after {limit_s:.0f} s"
    return end_predicate(status) if status else ""


def _last_words(file: IO[bytes]) -> str:
    """Return what the command printed last, for a sentence."""
    size_bytes = file.seek(0, os.SEEK_END)
    file.seek(max(0, size_bytes - _SHOWN_BYTES))
    lines = file.read(_SHOWN_BYTES).decode("utf-8", "replace").strip().splitlines()
    return f": {printable(lines[-1])}" if lines else ""
