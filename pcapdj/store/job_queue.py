"""The queue entries of one dispatcher: the scripts that take, announce, authorize and finish them."""

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final, Literal

from pcapdj.runtime import failpoints
from pcapdj.runtime.errors import CaptureError
from pcapdj.runtime.numbers import whole_number
from pcapdj.runtime.safe_text import as_bytes, to_text
from pcapdj.store.client import Store
from pcapdj.store.failure_kinds import failure_kind
from pcapdj.store.registration import Registration

_NOT_TAKEN: Final = -1  # AUTHORIZE's answer
_FINISHED: Final = 2  # RESTORE's answer: by a call whose reply was lost
_DAY_S: Final = 86_400
_MOST_COUNT: Final = 10**9  # pcapdj never writes a larger number
_OF_CAPTURE: Final = ("length_bytes", "crc32")  # by which two captures of one digest are the same
Fields = dict[str, str | int]


@dataclass(frozen=True, slots=True)
class JournalLimits:
    """How much of the journal is kept; the older entries are removed.

    Args:
        entries: about; 100,000 need some 40 MB in Redis: months of hourly rotations.
        days: an entry's age.
    """

    entries: int = 100_000
    days: int = 400


JOURNAL: Final = JournalLimits()


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """The queue entry that this dispatcher has taken; there is one at most.

    Args:
        name: as it stood in the queue.
        state: asked, authorized or feeding.
        attempt: 1 for the first pass; an analyzer's death begins another.
        deaths: how often the analyzer died on it under a living launcher.
        token: different for each take, also of the same name.
        stream: the stream it is fed into; empty before.
        begin: where each pass begins, as JSON of `feed.start_point`; empty: at the first packet.
        queued: its line in QUEUED, JSON of the file that was queued; empty: a foreign program pushed it.
    """

    name: bytes
    state: str
    attempt: int
    deaths: int
    token: str
    stream: str
    begin: str = ""
    queued: str = ""


@dataclass(frozen=True, slots=True)
class EndStream:
    """An operator wants the lane's streams ended; pass `request` to `take` once this one is."""

    request: str


@dataclass(frozen=True, slots=True)
class Result:
    """The result of an entry, for PROCESSED or FAILED, FED and the JOURNAL.

    Args:
        entry: what the list gets: the name, or JSON of why it failed.
        identity: size_bytes, mtime_ns, dev, ino of what was fed; empty if it never opened.
        verdict: `processed` or `failed`.
        journal: the numbers of the pass.
        earlier_streams: that have the file's first packets.
        capture: what CAPTURES gets: the digests that it is kept under (empty: FED alone gets it), and the
            fields of the fed capture, as JSON has them; None: it does not become known.
        is_lost: the entry is about a capture that is not there any more: FED stays as it is, and the entry
            stays in FAILED when another file of this name is queued or fed.
    """

    entry: bytes
    verdict: Literal["processed", "failed"]
    identity: Fields = field(default_factory=dict)
    journal: Fields = field(default_factory=dict)
    earlier_streams: Sequence[str] = ()
    capture: tuple[str, Mapping[str, Any]] | None = None
    is_lost: bool = False

    @property
    def is_whole(self) -> bool:
        """Report whether every packet of the file is in its streams, and its checksum is recorded.

        Not of a copy, which was not fed itself: `capture` has no digests then.
        """
        lacks_some = any(self.journal.get(name) for name in ("left_out", "begin_bytes"))
        return self.verdict == "processed" and bool(self.capture and self.capture[0]) and not lacks_some

    def fed(self, stream: str) -> str:
        """Return the JSON that FED gets for the file, fed into this stream last; empty: none."""
        if self.is_lost:
            return ""
        fields: dict[str, Any] = {**self.identity, "result": self.verdict, "stream": stream}
        if self.earlier_streams:
            fields["earlier_streams"] = list(self.earlier_streams)
        if self.capture:
            digest, capture = self.capture
            fields |= {name: capture[name] for name in _OF_CAPTURE} | {"first": digest}
        if self.is_whole:
            fields["whole"] = True
        return json.dumps(fields | {"time_s": round(time.time(), 3)})


class Answer(Enum):
    """What AUTHORIZE found."""

    GRANTED = auto()
    NOT_YET = auto()
    NOT_OURS = auto()  # CURRENT is gone or has another entry: a person removed the keys


class JobQueue:
    """The queue entries of one dispatcher.

    Args:
        dispatcher_id: whose CURRENT hash it is.
        end: the end of the queue that files are taken from.
        journal: how much of the journal is kept.
    """

    def __init__(
        self,
        store: Store,
        dispatcher_id: str,
        end: Literal["head", "tail"] = "head",
        journal: JournalLimits = JOURNAL,
    ) -> None:
        self._store = store
        self._keys: Final = store.keys
        self._id: Final = dispatcher_id
        self._current: Final = store.keys.current(dispatcher_id)
        self._end = end
        self._journal = journal
        self._next_token = secrets.token_hex(8)
        self.registration: Final = Registration(store.keys, dispatcher_id)

    def register(self) -> None:
        """Register this dispatcher in the lane."""
        self.registration.register(self._store)

    def unregister(self) -> None:
        """Remove this dispatcher from the lane: nothing is in flight."""
        self.registration.unregister(self._store)

    def take(self, ended: str = "") -> QueueEntry | EndStream | None:
        """Return the entry taken before, else the next of the queue, or `EndStream`; None: nothing to do.

        Args:
            ended: the request for which the stream has ended.
        """
        keys = [self._keys.in_queue, self._current, self._keys.finish, self._keys.state]
        keys += [self._keys.dispatchers, self._keys.finished]
        keys += [self._keys.queued, self._keys.failed, self._keys.failed_names]
        self.registration.take({})
        failpoints.reach("take.before")
        answer, *rest = self._store.run("take", keys, [self._end, self._next_token, ended, self._id])
        if answer == b"empty":
            return None
        if answer == b"finish":
            return EndStream(rest[0].decode())
        failpoints.reach("take.after")
        self._next_token = secrets.token_hex(8)
        fields = dict(zip(rest[::2], rest[1::2], strict=True))
        self.registration.take({name.decode(): value for name, value in fields.items()})
        return entry_of(fields)

    def announce(self, entry: QueueEntry, about: Mapping[str, str | int] | None = None) -> bool:
        """Request the file's authorization, unless it is requested already; report whether it was added.

        Args:
            entry: that was taken.
            about: what CURRENT gets for the controller: input_bytes, compression.
        """
        keys = [self._current, self._keys.next, self._keys.channel]
        pairs = [as_bytes(part) for pair in (about or {}).items() for part in pair]
        was_added = bool(self._store.run("announce", keys, [entry.token, *pairs]))
        if was_added and about:
            self._remember(**about)
        failpoints.reach("announce.after")
        return was_added

    def authorize(self, entry: QueueEntry) -> tuple[Answer, bytes | None]:
        """Consume the file's authorization if it is there; the second value is another name in AUTH."""
        keys = [self._current, self._keys.auth, self._keys.next, self._keys.channel]
        code, *held = self._store.run("authorize", keys, [entry.token])
        if code == _NOT_TAKEN and self._restore(entry):
            code, *held = self._store.run("authorize", keys, [entry.token])
        answer = {1: Answer.GRANTED, 0: Answer.NOT_YET, -1: Answer.NOT_OURS}[code]
        if answer is Answer.GRANTED:
            self._remember(state="authorized")
            failpoints.reach("authorize.after")
        return answer, held[0] if held else None

    def mark(self, **fields: str | int) -> None:
        """Write absolute values into CURRENT: state, attempt, deaths, stream, begin, identity."""
        self._remember(**fields)
        self._store.call(lambda client: client.hset(self._current, mapping=dict[Any, Any](fields)))

    def begin_pass(self, entry: QueueEntry, ended_stream: str, begin: str) -> bool:
        """Prepare the entry for another pass, since the stream of the last one is over.

        Args:
            entry: with the attempt and the deaths that it gets if it is fed again.
            ended_stream: the stream that ended in order; empty: none did.
            begin: where the next pass begins if the entry was fed into that stream.

        Returns:
            Whether it was.
        """
        arguments: list[bytes | str] = [
            entry.token,
            ended_stream,
            begin,
            str(entry.attempt),
            str(entry.deaths),
        ]
        failpoints.reach("continue.before")
        is_continued = bool(self._store.run("begin_pass", [self._current], arguments))
        if not is_continued and self._restore(entry):
            is_continued = bool(self._store.run("begin_pass", [self._current], arguments))
        failpoints.reach("continue.after")
        pass_fields = {"begin": begin} if is_continued else {"attempt": entry.attempt, "deaths": entry.deaths}
        self._remember(state="asked", stream="", **pass_fields)
        return is_continued

    def finish(self, entry: QueueEntry, result: Result) -> bool:
        """Move the entry to PROCESSED or FAILED with its result; False if CURRENT has not this entry."""
        keys = self._keys
        goal = keys.processed if result.verdict == "processed" else keys.failed
        about = {"name": entry.name, "verdict": result.verdict, "stream": entry.stream}
        journal = {**about, **result.identity, **result.journal}
        if result.verdict == "failed":
            journal["failure"] = failure_kind(str(journal.get("reason", "")))
        pairs = [as_bytes(part) for pair in journal.items() for part in pair]
        oldest_ms = int((time.time() - self._journal.days * _DAY_S) * 1000)
        arguments: list[bytes | str] = [
            *(entry.token, result.entry, result.fed(entry.stream)),
            *(str(self._journal.entries), str(max(0, oldest_ms))),
            "lost" if result.is_lost else result.verdict,
            *_captures_arguments(result),
            *pairs,
        ]
        places = [self._current, goal, keys.next, keys.fed, keys.journal, keys.channel]
        places += [keys.failed, keys.failed_names, keys.captures, keys.stats(self._id), keys.gate]
        places += [keys.counts, keys.output]
        with self.registration.lock:
            is_finished = bool(self._store.run("finish", places, arguments))
            if not is_finished and (was_lost := self._restore(entry)):
                is_finished = was_lost == _FINISHED or bool(self._store.run("finish", places, arguments))
            if self.registration.has_taken(entry.token):
                self.registration.take({})
        return is_finished

    def _restore(self, entry: QueueEntry) -> int:
        return self.registration.restore(self._store) if self.registration.has_taken(entry.token) else 0

    def _remember(self, **fields: str | int) -> None:
        self.registration.mark({name: as_bytes(value) for name, value in fields.items()})

    def declare_done(self) -> None:
        """Publish that the queue is drained."""
        self._store.call(lambda client: client.set(self._keys.state, "DONE"))


def failure_entry(
    name: bytes, error: CaptureError, packets: int, attempt: int, *, is_lost: bool = False
) -> bytes:
    """Return the JSON for PCAPDJ_FAILED; `is_lost` as in `Result`."""
    entry: dict[str, Any] = {"name": to_text(name), "reason": error.reason, "packets": packets}
    if is_lost:
        entry["lost"] = True
    if error.offset is not None:
        entry["offset"] = error.offset
    return json.dumps({**entry, "attempt": attempt, "time_s": round(time.time(), 3)}).encode()


def entry_of(fields: Mapping[bytes, bytes]) -> QueueEntry:
    """Return the entry that the fields of CURRENT describe; name and token have to be among them."""
    return QueueEntry(
        name=fields[b"name"],
        state=to_text(fields.get(b"state", b"asked")),
        attempt=_count(fields.get(b"attempt"), 1),
        deaths=_count(fields.get(b"deaths"), 0),
        token=to_text(fields[b"token"]),
        stream=to_text(fields.get(b"stream", b"")),
        begin=to_text(fields.get(b"begin", b"")),
        queued=to_text(fields.get(b"queued", b"")),
    )


def _captures_arguments(result: Result) -> list[str]:
    """Return digests, line and the part of the line by which an older one is about the same capture."""
    if result.capture is None:
        return ["", "", ""]
    digest, fields = result.capture
    line = json.dumps({**{name: fields[name] for name in _OF_CAPTURE}, **fields}, separators=(",", ":"))
    same = json.dumps({name: fields[name] for name in _OF_CAPTURE}, separators=(",", ":"))
    return [digest, line, same.strip("{}") + ","]


def _count(text: bytes | None, default: int) -> int:
    number = whole_number(text or b"")
    return default if number is None or number > _MOST_COUNT else number
