"""Which files to feed again for a second analysis of a time range, and whether that mixes times.

Only the newest entry of a name counts, if the file has not changed since; FED has the time at which it was
fed last. Files are queued in the order in which they were fed. The analyzer of an open stream has flows of
today: packets of last week in between would end these flows, and get wrong times.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from pcapdj.runtime.safe_text import command_about
from pcapdj.store.bounded import Track
from pcapdj.store.client import Store
from pcapdj.store.enqueue import fed_files
from pcapdj.store.journal import Conditions, FedFile, read_journal
from pcapdj.store.operate import requeue_all
from pcapdj.store.snapshot import read_snapshot
from pcapdj.trace.presence import FedFileState, Presences

MOST_NAMED: Final = 20
_MOST_STREAMS: Final = 100_000
_CLOCKS_MS: Final = 60_000  # the clocks of a dispatcher and of Redis differ by less
_FED: Final = ("processed", "failed")
_THERE: Final = (FedFileState.SAME, FedFileState.GROWN)


@dataclass(slots=True)
class SecondLook:
    """What a second look would feed, or has queued.

    Args:
        files, size_bytes: how many files, and their sizes when they were fed.
        queued: how many of them were queued.
        gone: how many changed since they were fed, or are missing.
        outside: how many are outside of the roots, or behind a link.
        streams: that they were in.
        first_ns, last_ns: times of the first and last packet.
        named: some of the files.
    """

    files: int = 0
    size_bytes: int = 0
    queued: int = 0
    gone: int = 0
    outside: int = 0
    streams: set[str] = field(default_factory=set)
    first_ns: int | None = None
    last_ns: int | None = None
    named: list[FedFile] = field(default_factory=list)

    def add(self, file: FedFile) -> None:
        """Count a file."""
        self.files += 1
        self.size_bytes += file.size_bytes or 0
        if len(self.streams) < _MOST_STREAMS:
            self.streams |= {part[0] for part in file.all_parts} or ({file.stream} if file.stream else set())
        if span := file.span_ns:
            self.first_ns = span[0] if self.first_ns is None else min(self.first_ns, span[0])
            self.last_ns = span[1] if self.last_ns is None else max(self.last_ns, span[1])
        if len(self.named) < MOST_NAMED:
            self.named.append(file)


@dataclass(frozen=True, slots=True)
class StreamInUse:
    """A stream whose analyzer reads.

    Args:
        id: of the stream.
        last_ns: time of the last packet of its newest finished file; None: unknown.
    """

    id: str
    last_ns: int | None


def look_again(
    store: Store,
    wanted: Conditions,
    roots: Sequence[bytes] = (),
    *,
    queues: bool,
    track: Track = lambda _: None,
) -> SecondLook:
    """Return which files fit; queue them, if that is wanted.

    Args:
        store: the lane.
        wanted: conditions.
        roots: the folders below which files are looked at; none: anywhere.
        queues: move them to the queue's end.
        track: is called with how many journal entries were looked at, again and again.

    Raises:
        As `Store.call`.
    """
    found = SecondLook()
    for files in _parts(store, _until_now(store, wanted), roots, found, track):
        for file in files:
            found.add(file)
        if queues:
            found.queued += requeue_all(store, [file.name for file in files])
    return found


def open_stream(store: Store) -> StreamInUse | None:
    """Return the stream of the lane that is open; None: there is none.

    Raises:
        As `Store.call`.
    """
    consumer = read_snapshot(store, time.time())["consumer"] or {}
    stream = str(consumer.get("stream") or "")
    if not stream or consumer.get("stale"):
        return None
    wanted = Conditions(stream=stream)
    newest = next(
        (part.files for part in read_journal(store, wanted, is_newest_first=True) if part.files), []
    )
    return StreamInUse(stream, newest[0].last_ts_ns if newest else None)


def mixes_times(found: SecondLook, stream: StreamInUse) -> bool:
    """Report whether the files have packets that are older than those which the stream has."""
    return found.first_ns is None or stream.last_ns is None or found.first_ns < stream.last_ns


def run_command(since: str, until: str, times: str, lane: str, roots: Sequence[str]) -> str:
    """Return the command that feeds the files of a time range, as typed, by themselves."""
    limits = [("--since", since), ("--until", until), *(("--root", root) for root in roots)]
    words = [word for option, text in limits if text for word in (option, text)]
    journal = command_about(lane, "journal", "--times", times, *words, "--print0")
    return f"{journal} | xargs -0 -x pcapdj run --logdir second-look"


def _until_now(store: Store, wanted: Conditions) -> Conditions:
    """Return the conditions without files that are finished from now on: those that are queued come again."""
    newest = next((part.files for part in read_journal(store, is_newest_first=True)), [])
    limits = [newest[0].finished_ms if newest else 0, wanted.finished_until_ms]
    return replace(wanted, finished_until_ms=min(each for each in limits if each is not None))


def _parts(
    store: Store, wanted: Conditions, roots: Sequence[bytes], found: SecondLook, track: Track
) -> Iterator[list[FedFile]]:
    """Yield the files that can be fed again; count the others."""
    for part in read_journal(store, wanted):
        fed = [file for file in part.files if file.verdict in _FED and not file.fields.get("known_as")]
        noted = fed_files(store, [file.name for file in fed])
        newest = [file for file in fed if _is_newest(file, noted.get(file.name, {}).get("time_s"))]
        presences = Presences(store, roots)
        states = [presences.of(file).state for file in newest]
        there = [file for file, state in zip(newest, states, strict=True) if state in _THERE]
        outside = states.count(FedFileState.OUTSIDE)
        found.outside += outside
        found.gone += len(newest) - len(there) - outside
        if there:
            yield there
        track(part.looked_at)


def _is_newest(file: FedFile, fed_s: object) -> bool:
    """Report whether FED is about this pass of the file, and not about a later one."""
    return isinstance(fed_s, int | float) and abs(fed_s * 1000 - file.finished_ms) < _CLOCKS_MS
