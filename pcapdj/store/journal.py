"""The journal of a lane: which file was fed when, into which stream, from which packet on, and what it had.

It may have more entries than fit into memory, and is read in parts: Redis looks at a few hundred in one call
and sends those that fit. Any program may have written an entry: what is not valid in it is left out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from pcapdj.runtime.foreign_json import decode_json
from pcapdj.runtime.numbers import finite_number, signed_number, whole_number
from pcapdj.runtime.safe_text import to_name, to_text
from pcapdj.store.client import Store
from pcapdj.store.journal_index import BEGINNING, IndexedPart, id_text, read_index

PAGE: Final = 400  # entries that one call looks at: some milliseconds of Redis's time
_LONGEST_BYTES: Final = 16 << 10  # of a value
_BUDGET_BYTES: Final = 4 << 20  # of one answer

_WORD: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")  # a stream or verdict that the index may have

Span = tuple[str, str]  # ids of the journal, from the first to the last that is read
Part = tuple[str, int, int]  # a stream, the number of the file's first packet there, and how many it has


@dataclass(frozen=True, slots=True)
class FedFile:
    """One file that was fed, as the journal or the record of a run has it.

    Args:
        name: its path.
        verdict: processed or failed; stopped: a run was stopped in the middle of it.
        reason: why it failed.
        stream: the stream that has its last packets; empty: none has any.
        packets: how many were delivered; of a file that grew, of its rest.
        first_packet: number of its first packet in that stream, from 1; 0: not recorded.
        parts: where its first packets are, after orderly stops in the middle of it.
        first_ts_ns, last_ts_ns: times of its first and last packet in file order; None: it has none.
        largest_step_back_ns: by how much a packet was earlier than the one before it, at most.
        size_bytes, mtime_ns, dev, ino: the file that was fed; None: unknown.
        cap_lengths, lengths: captured bytes and bytes on the wire.
        finished_ms: when, in ms since the epoch; 0: unknown.
        fed_s: how long it was fed; None: unknown.
        fields: all fields, as text.
    """

    name: bytes
    verdict: str
    reason: str = ""
    stream: str = ""
    packets: int = 0
    first_packet: int = 0
    parts: tuple[Part, ...] = ()
    first_ts_ns: int | None = None
    last_ts_ns: int | None = None
    largest_step_back_ns: int = 0
    size_bytes: int | None = None
    mtime_ns: int | None = None
    dev: int | None = None
    ino: int | None = None
    cap_lengths: int = 0
    lengths: int = 0
    finished_ms: int = 0
    fed_s: float | None = None
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def all_parts(self) -> tuple[Part, ...]:
        """Where its packets are: a part for each stream, in the order of the packets."""
        if not self.stream or not self.first_packet:
            return self.parts
        packets = self.packets - sum(part[2] for part in self.parts)
        return (*self.parts, (self.stream, self.first_packet, packets))

    def is_in(self, stream: str) -> bool:
        """Report whether a stream has packets of it."""
        return any(part[0] == stream for part in self.all_parts)

    @property
    def span_ns(self) -> tuple[int, int] | None:
        """The earliest and the latest time that a packet of it may have; None: it has no packet."""
        if self.first_ts_ns is None or self.last_ts_ns is None:
            return None
        earliest, latest = sorted((self.first_ts_ns, self.last_ts_ns))
        return earliest - self.largest_step_back_ns, latest + self.largest_step_back_ns

    def has_time(self, since_ns: int | None, until_ns: int | None) -> bool:
        """Report whether it may have packets between two times, both included; None: no limit."""
        span = self.span_ns
        if span is None:
            return since_ns is None and until_ns is None
        return (since_ns is None or span[1] >= since_ns) and (until_ns is None or span[0] <= until_ns)


class FileVerdict(StrEnum):
    """How an entry's file ended; removed: an operator took it out of the queue."""

    PROCESSED = "processed"
    FAILED = "failed"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Conditions:
    """Which entries are wanted.

    Args:
        stream: only files with packets in this stream; empty: all.
        verdict: only files with this verdict; empty: all.
        since_ns, until_ns: only files with packets between these times, both included; None: no limit.
        finished_since_ms, finished_until_ms: only files that were finished between these times.
        name_end: only files whose names end so.
    """

    stream: str = ""
    verdict: str = ""
    since_ns: int | None = None
    until_ns: int | None = None
    finished_since_ms: int | None = None
    finished_until_ms: int | None = None
    name_end: bytes = b""


EVERYTHING: Final = Conditions()


@dataclass(frozen=True, slots=True)
class JournalPart:
    """What one look at the journal found.

    Args:
        files: those that fit, in the order of the look.
        looked_at: how many entries.
    """

    files: list[FedFile]
    looked_at: int


def journal_length(store: Store) -> int:
    """Return how many entries the journal has.

    Raises:
        As `Store.call`; so do all functions here.
    """
    return int(store.call(lambda client: client.xlen(store.keys.journal)))


def read_journal(
    store: Store, wanted: Conditions = EVERYTHING, *, is_newest_first: bool = False
) -> Iterator[JournalPart]:
    """Yield the files that fit, in the order in which they were finished or back, part by part."""
    for span in _newest_spans(store, wanted) if is_newest_first else _oldest_spans(store, wanted):
        if isinstance(span, IndexedPart):
            yield JournalPart([], span.entries)
        else:
            yield from _read_span(store, wanted, *span, is_newest_first=is_newest_first)


def _oldest_spans(store: Store, wanted: Conditions) -> Iterator[Span | IndexedPart]:
    """Yield the spans of the journal to read, and between them the parts in which nothing fits."""
    first, until = _limits(wanted)
    done = BEGINNING  # up to here nothing is left
    for part in _parts_without_match(store, wanted, first):
        if until != "+" and part.after >= (int(until) + 1, 0):
            break
        if part.after > done:
            yield first, id_text(part.after)
        yield part
        first, done = f"({id_text(part.last)}", part.last
    yield first, until


def _newest_spans(store: Store, wanted: Conditions) -> Iterator[Span | IndexedPart]:
    """Yield the same spans and parts, the newest first."""
    since, until = _limits(wanted)
    last, done = until, None  # from behind `done` on nothing is left
    for part in _parts_without_match(store, wanted, "+", is_newest_first=True):
        if until != "+" and part.after >= (int(until) + 1, 0):
            continue
        if since != "-" and part.last < (int(since), 0):
            break
        if part.last != done:
            yield last, f"({id_text(part.last)}"
        yield part
        last, done = id_text(part.after), part.after
    yield last, since


def _limits(wanted: Conditions) -> tuple[str, str]:
    """Return the ids of the first and the last entry that may fit."""
    since = "-" if wanted.finished_since_ms is None else str(max(0, wanted.finished_since_ms))
    return since, "+" if wanted.finished_until_ms is None else str(max(0, wanted.finished_until_ms))


def _parts_without_match(
    store: Store, wanted: Conditions, first: str, *, is_newest_first: bool = False
) -> Iterator[IndexedPart]:
    """Yield the parts of the journal in which nothing fits, as far as the index has them."""
    stream = wanted.stream if _WORD.fullmatch(wanted.stream) else ""
    verdict = wanted.verdict if _WORD.fullmatch(wanted.verdict) else ""
    conditions = stream, verdict, wanted.since_ns, wanted.until_ns
    if conditions != ("", "", None, None):
        for part in read_index(store, first, is_newest_first=is_newest_first):
            if not part.may_have(*conditions):
                yield part


def _read_span(
    store: Store, wanted: Conditions, first: str, last: str, *, is_newest_first: bool
) -> Iterator[JournalPart]:
    """Yield the files that fit from one id to another, both included unless they begin with `(`."""
    order = "newest" if is_newest_first else "oldest"
    conditions = [wanted.stream, wanted.verdict, _text(wanted.since_ns), _text(wanted.until_ns)]
    while first:
        limits = [first, last, order, str(PAGE), str(_LONGEST_BYTES)]
        arguments: list[bytes | str] = [*limits, *conditions, wanted.name_end, str(_BUDGET_BYTES)]
        last_id, looked_at, *rest = store.run("scan_journal", [store.keys.journal], arguments)
        files = [_file_of(entry_id, values) for entry_id, values in zip(rest[::2], rest[1::2], strict=True)]
        fitting = [file for file in files if file and file.has_time(wanted.since_ns, wanted.until_ns)]
        yield JournalPart(fitting, looked_at)
        first = f"({last_id.decode()}" if last_id else ""


def fed_file_of(fields: dict[str, str], finished_ms: int = 0) -> FedFile | None:
    """Return the file of the journal's fields; None: they have no name."""
    if not fields.get("name"):
        return None
    numbers = {name: _number(fields.get(name, "")) for name in _NUMBERS}
    counts = {name: _number(fields.get(name, "")) or 0 for name in _COUNTS}
    return FedFile(
        name=to_name(fields["name"]),
        verdict=fields.get("verdict", ""),
        reason=fields.get("reason", ""),
        stream=fields.get("stream", ""),
        parts=_parts_of(fields),
        finished_ms=finished_ms,
        fed_s=_seconds(fields.get("fed_s", "")),
        fields=fields,
        first_ts_ns=numbers["first_ts_ns"],
        last_ts_ns=numbers["last_ts_ns"],
        size_bytes=numbers["size_bytes"],
        mtime_ns=numbers["mtime_ns"],
        dev=whole_number(fields.get("dev", "")),
        ino=whole_number(fields.get("ino", "")),
        **counts,
    )


_COUNTS: Final = ("packets", "first_packet", "largest_step_back_ns", "cap_lengths", "lengths")
_NUMBERS: Final = ("first_ts_ns", "last_ts_ns", "size_bytes", "mtime_ns")


def _file_of(entry_id: bytes, values: list[bytes]) -> FedFile | None:
    texts = [to_text(value) for value in values]
    fields = dict(zip(texts[::2], texts[1::2], strict=True))
    return fed_file_of(fields, int(entry_id.partition(b"-")[0]))


def _parts_of(fields: dict[str, str]) -> tuple[Part, ...]:
    """Return the parts of a file in earlier streams; none where that is not recorded, or not valid."""
    streams, numbers = _list(fields.get("earlier_streams")), _list(fields.get("earlier_parts"))
    try:
        return tuple(
            (str(stream), _packets(first), _packets(packets))
            for stream, (first, packets) in zip(streams, numbers, strict=True)
        )
    except (ValueError, TypeError):
        return ()


def _packets(value: object) -> int:
    if (number := whole_number(str(value))) is None:
        raise ValueError("no number of packets")
    return number


def _list(text: str | None) -> list[Any]:
    try:
        value = decode_json(text)
    except ValueError:
        return []
    return value if isinstance(value, list) else []


def _number(text: str) -> int | None:
    return signed_number(text)


def _seconds(text: str) -> float | None:
    return finite_number(text)


def _text(number: int | None) -> str:
    return "" if number is None else str(number)
