"""Queues captures, each once: what was fed already, under whatever name, is not queued again.

For each file, until one of these lines decides:

    FED has its name, size and time            fed before: it is not opened
    QUEUED has its name, size and time         in the queue: it is not opened
    no fed capture begins like it              queued
    a fed capture begins like it               it is read: what is not proven is not skipped
        it is that capture, and no more        known: FED gets its name, so that it is not read again
        it has more behind that capture        queued: the dispatcher feeds the rest
        it is another one, or shorter          queued: it is fed whole
    its name is in the queue, or taken
        for this file, or its beginning        in the queue, or offered again once the other one is fed
        for another file, which is gone now    queued once more, in its own place

Beside a queued name stands which file it was (`capture.identity.QueuedFile`); the dispatcher looks again.
"""

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pcapdj.capture.fed_before import (
    Found,
    SameCapture,
    ShorterCapture,
    find_fed_capture,
    first_bytes_of,
    unchanged,
)
from pcapdj.capture.identity import FedCapture, QueuedFile
from pcapdj.inbox.listing import CaptureFile
from pcapdj.inbox.suspects import Suspects
from pcapdj.runtime.errors import CaptureError
from pcapdj.runtime.mount_list import boot_id
from pcapdj.runtime.mounts import mount_of
from pcapdj.runtime.safe_text import quoted, to_name, to_text
from pcapdj.runtime.signals import Waits
from pcapdj.runtime.units import utc_text
from pcapdj.store.captures import candidates_of_each
from pcapdj.store.client import Store
from pcapdj.store.enqueue import (
    FileVersion,
    Outcome,
    current_lines,
    enqueue_new,
    fed_files,
    last_lines,
)
from pcapdj.store.registration import registered
from pcapdj.store.retrying import Pause

_CHUNK: Final = 1000  # files whose digests are looked up at once
_MOST_NAMED: Final = 5  # files of one kind that are named; the others are counted
_LOOK_S, _LOOKS = 0.25, 6  # for dispatchers: 1.5 s


@dataclass(slots=True)
class QueueReport:
    """What became of some files.

    Args:
        outcomes: of each name.
        known: the fed capture that a file is, though it has another name or time.
        shorter: the fed capture that a queued file begins like, but has fewer bytes than.
    """

    outcomes: dict[bytes, Outcome] = field(default_factory=dict)
    known: dict[bytes, FedCapture] = field(default_factory=dict)
    shorter: dict[bytes, FedCapture] = field(default_factory=dict)


def outcomes_by_name(store: Store, files: Mapping[bytes, FileVersion]) -> dict[bytes, Outcome]:
    """Return FED or QUEUED for each file that has name, size and time of one that was fed, or is queued.

    Raises:
        As `Store.call`.
    """
    fed = fed_files(store, list(files))
    found = {name: Outcome.FED for name, fields in fed.items() if _is_version(fields, files[name])}
    for name, line in last_lines(store, files.keys() - found.keys()).items():
        if (queued := QueuedFile.from_line(line.text)) and _is_version(
            queued.identity._asdict(), files[name]
        ):
            found[name] = Outcome.QUEUED
    return found


def queue_captures(
    store: Store,
    files: Sequence[CaptureFile],
    *,
    again: bool = False,
    stops: Waits | None = None,
    suspects: Suspects | None = None,
) -> QueueReport:
    """Queue the captures that are neither queued, current nor known, in their order.

    Args:
        store: the lane; a `RetryingStore` waits while Redis is away.
        files: that begin like captures.
        again: queue what was fed before, too.
        stops: a stop signal ends the reading of files.
        suspects: files that are not looked into; each look is noted there.

    Raises:
        Stopped: a stop signal arrived.
        As `Store.call`.
    """
    report, lines = QueueReport(), _Lines(again=again)
    for start in range(0, len(files), _CHUNK):
        chunk = list(files[start : start + _CHUNK])
        if not again:
            _find_fed_captures(store, chunk, report, stops, suspects or Suspects())
        new = {file.name: file for file in chunk if file.name not in report.known}
        report.outcomes |= _enqueue(store, new, lines, again=again)
        if not again and (behind := _overwritten(store, new, report.outcomes)):
            others = {name: file for name, file in new.items() if name in behind}
            report.outcomes |= _enqueue(store, others, lines, behind=behind)
        report.outcomes |= {file.name: Outcome.FED for file in chunk if file.name in report.known}
    return report


def report_sentences(report: QueueReport) -> list[str]:
    """Return a sentence for a few of the known and the shorter files, and how many more there are."""
    known = [
        f"{quoted(name)} was fed{_as_name(name, capture)} at {utc_text(capture.time_s)}, and is not queued."
        for name, capture in report.known.items()
    ]
    shorter = [
        f"{quoted(name)} begins like {quoted(capture.name)}, which was fed, and is shorter: it is fed whole."
        for name, capture in report.shorter.items()
    ]
    sentences = list[str]()
    for each, what in ((known, "that were fed before"), (shorter, "that are shorter than fed captures")):
        sentences += each[:_MOST_NAMED]
        if (more := len(each) - _MOST_NAMED) > 0:
            sentences.append(f"And {more:,} more {what}.")
    return sentences


def summary(outcomes: Counter[Outcome], refused: int) -> str:
    """Return how many files were queued, were not, and could not be imported, as a sentence."""
    queued = outcomes[Outcome.NEW]
    fed = outcomes[Outcome.FED] + outcomes[Outcome.FED_MEANWHILE]
    hint = f" ({fed} fed before: --again feeds them again)" if fed else ""
    if removed := outcomes[Outcome.RECLAIMING]:
        hint += f" ({removed} being removed, to make room)"
    return (
        f"{queued} queued, {outcomes.total() - queued} already queued or fed{hint}, {refused} not imported."
    )


def wait_for_dispatchers(store: Store, pause: Pause) -> None:
    """Wait a moment where no dispatcher is registered in a lane that was used: their keys may have been lost.

    Each registers again within a second; until then the file that it feeds cannot be seen.

    Raises:
        Stopped: a stop signal arrived.
        As `Store.call`.
    """
    for _ in range(_LOOKS):
        if registered(store) or not _was_used(store):
            return
        pause.wait(_LOOK_S)


def _was_used(store: Store) -> bool:
    keys = (store.keys.fed, store.keys.queued)
    return any(store.call(lambda client, key=key: client.hlen(key)) for key in keys)  # type: ignore[misc]


def _as_name(name: bytes, capture: FedCapture) -> str:
    return "" if to_name(capture.name) == name else f" as {quoted(capture.name)}"


def _enqueue(
    store: Store,
    files: Mapping[bytes, CaptureFile],
    lines: "_Lines",
    *,
    again: bool = False,
    behind: Mapping[bytes, str] | None = None,
) -> dict[bytes, Outcome]:
    versions = {name: file.identity for name, file in files.items()}
    texts = {name: lines.of(file) for name, file in files.items()}
    return enqueue_new(store, versions, again=again, lines=texts, behind=behind)


def _find_fed_captures(
    store: Store,
    files: Sequence[CaptureFile],
    report: QueueReport,
    stops: Waits | None,
    suspects: Suspects,
) -> None:
    """Add to the report which of the files are, or begin like, captures that were fed."""
    known = dict[bytes, FedCapture]()
    digests = [file.looked_up.split() for file in files]
    for file, found in zip(files, candidates_of_each(store, digests), strict=True):
        captures = [capture for fields in found if (capture := FedCapture.from_fields(fields))]
        match _judged(file, captures, stops, suspects):
            case SameCapture(capture):
                known[file.name] = capture
            case ShorterCapture(capture):
                report.shorter[file.name] = capture
    if known:
        fed = fed_files(store, list(known))
        entries = {
            file.name: _fed_entry(file, known[file.name], fed.get(file.name, {}))
            for file in files
            if file.name in known
        }
        store.call(lambda client: client.hset(store.keys.fed, mapping=dict[Any, Any](entries)))
        report.known |= known


def _judged(
    file: CaptureFile, captures: Sequence[FedCapture], stops: Waits | None, suspects: Suspects
) -> Found:
    if not captures or suspects.has(file.name, file.identity):
        return None
    if found := unchanged(file.identity, captures):
        return found
    try:
        opened = file.opened()
    except CaptureError:  # it is gone: the dispatcher reports it
        return None
    try:
        with suspects.looking(file.name, file.identity):
            return find_fed_capture(opened, captures, stops)
    except CaptureError:  # its storage is gone: the dispatcher looks once it is back
        return None
    finally:
        opened.close()


def _fed_entry(file: CaptureFile, capture: FedCapture, before: Mapping[str, Any]) -> str:
    """Return what FED gets for a name whose file is known; its stream stays, if it is the same capture."""
    same = {"crc32": capture.crc32, "length_bytes": capture.length_bytes}
    is_same = all(before.get(name) == value for name, value in same.items())
    fields = dict(before) if is_same else {"result": "processed", "known_as": capture.name, **same}
    fields.pop("reclaiming", None)  # the claim of who removes the file ends: it has another time than before
    return json.dumps({**fields, **file.identity._asdict(), "time_s": capture.time_s})


def _overwritten(
    store: Store, files: Mapping[bytes, CaptureFile], outcomes: Mapping[bytes, Outcome]
) -> dict[bytes, str]:
    """Return the names that were queued or taken for another file than the present one.

    Each has the queue line that the present file follows, for `enqueue_new`.
    """
    queued = [name for name in files if outcomes[name] is Outcome.QUEUED]
    lines = last_lines(store, queued)
    if taken := [name for name in files if outcomes[name] is Outcome.CURRENT]:
        lines |= {name: line for name, line in current_lines(store).items() if name in taken}
    return {
        name: line.seq
        for name, line in lines.items()
        if _is_another(files[name], QueuedFile.from_line(line.text))
    }


def _is_another(file: CaptureFile, queued: QueuedFile | None) -> bool:
    """Report whether the queued file is neither this one nor its beginning."""
    if queued is None or not queued.first_bytes or queued.identity[1:] == file.identity[1:]:
        return False
    if queued.first_bytes >= file.first_bytes:
        return (queued.first_bytes, queued.digest) != (file.first_bytes, file.digest)
    try:
        opened = file.opened()
    except CaptureError:
        return False
    try:
        return not queued.is_beginning_of(first_bytes_of(opened))
    except CaptureError:
        return False
    finally:
        opened.close()


def _is_version(fields: Mapping[str, Any], version: FileVersion) -> bool:
    return (fields.get("size_bytes"), fields.get("mtime_ns")) == (version.size_bytes, version.mtime_ns)


class _Lines:
    """Makes the lines of QUEUED; where a file system is mounted is looked up once for each folder.

    Args:
        again: the files are fed whole, whatever is known of them.
    """

    def __init__(self, *, again: bool) -> None:
        self._again = again
        self._boot = boot_id()
        self._mounts: dict[bytes, str] = {}

    def of(self, file: CaptureFile) -> str:
        """Return the line of a file."""
        folder = os.path.dirname(file.name)  # noqa: PTH120 - bytes
        if folder not in self._mounts:
            self._mounts[folder] = to_text(mount_of(folder).place)
        queued = QueuedFile(file.identity, file.first_bytes, file.digest, self._mounts[folder], self._boot)
        return queued.as_line(again=self._again)
