"""Queues files, each once: for the importer and for `pcapdj run`.

An RPUSH that is repeated after a lost reply doubles names, and a look before it races with dispatchers. Here
one script does both, and compares FED and QUEUED with the values by which the caller decided: it may be
repeated. QUEUED has the queued names (`queued_lines.lua`): a file costs the same however many are queued.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, Final, NamedTuple, Protocol

from pcapdj.runtime import failpoints
from pcapdj.runtime.foreign_json import decode_object
from pcapdj.runtime.safe_text import to_text
from pcapdj.store.bounded import read_hash, read_hashes
from pcapdj.store.client import Store
from pcapdj.store.keys import AGAIN
from pcapdj.store.queue_check import compare_now
from pcapdj.store.registration import registered, run_with_currents

MOST_LINES: Final = 1000  # of one name
_CHUNK: int = 200  # names in one script: a few milliseconds of Redis's time
_LINE_LIMIT_BYTES: Final = 64 << 10


_FED_LIMIT_BYTES: int = 4 << 10  # of an entry of FED; ours have some hundred


class FileVersion(Protocol):
    """Size and time that distinguish a file from an earlier one of its name: rotation reuses names."""

    @property
    def size_bytes(self) -> int:
        """The file's size."""

    @property
    def mtime_ns(self) -> int:
        """The time of its last write, in ns since 1970."""


class QueuedLine(NamedTuple):
    """The last occurrence of a name in the queue, or the one that a dispatcher has taken.

    Args:
        seq: a text that no other occurrence has.
        text: JSON about the file that was queued; empty: a foreign program pushed the name.
    """

    seq: str
    text: str


class Outcome(Enum):
    """Whether a file was queued, or where it was already."""

    NEW = 1  # it is in the queue now
    QUEUED = 0
    CURRENT = -1
    FED_MEANWHILE = -2
    FED = -3
    TOO_MANY = -4  # the queue has it a thousand times: offer it later
    LATER = -5  # the script has done enough for one call; `enqueue_new` repeats it
    RECLAIMING = -6  # its file is being removed, to make room: offer it later


def enqueue_new(
    store: Store,
    files: Mapping[bytes, FileVersion],
    *,
    again: bool = False,
    lines: Mapping[bytes, str] | None = None,
    behind: Mapping[bytes, str] | None = None,
) -> dict[bytes, Outcome]:
    """Queue the files that are neither queued, current nor fed, in their order.

    Args:
        store: the lane; a `RetryingStore` waits while Redis is away.
        files: absolute name to the file's version.
        again: queue files that were fed before, too.
        lines: name to its line in QUEUED, JSON without a line break; missing: empty, or with `again` `AGAIN`.
        behind: names that are queued a second time because another file has them now, to the `seq` of their
            last line (`last_lines`, `current_lines`): if that has changed, the outcome is QUEUED or CURRENT.

    Returns:
        An outcome for each name.

    Raises:
        As `Store.call`.
    """
    names, outcomes = list(files), dict[bytes, Outcome]()
    for start in range(0, len(names), _CHUNK):
        chunk = names[start : start + _CHUNK]
        entries = _fed_entries(store, chunk)
        outcomes |= {name: Outcome.FED for name in chunk if not again and was_fed(entries[name], files[name])}
        rest = [
            (
                name,
                entries[name],
                (behind or {}).get(name, ""),
                (lines or {}).get(name, AGAIN if again else ""),
            )
            for name in chunk
            if name not in outcomes
        ]
        outcomes |= _enqueue(store, rest)
    return {name: outcomes[name] for name in names}


def last_lines(store: Store, names: Iterable[bytes]) -> dict[bytes, QueuedLine]:
    """Return the last line in QUEUED of each name that is queued.

    Raises:
        As `Store.call`.
    """
    wanted, found = list(names), dict[bytes, QueuedLine]()
    for start in range(0, len(wanted), _CHUNK):
        chunk = wanted[start : start + _CHUNK]
        lines = store.run("last_lines", [store.keys.queued], chunk, _in_turn(chunk))
        for name, line in lines:
            if line is not None:
                seq, _, text = to_text(line).partition(" ")
                found[name] = QueuedLine(seq, text)
    return found


def current_lines(store: Store) -> dict[bytes, QueuedLine]:
    """Return the files that dispatchers have taken, with the lines that stood beside them in the queue.

    Raises:
        As `Store.call`.
    """
    found = dict[bytes, QueuedLine]()
    currents = [store.keys.current(dispatcher) for dispatcher in registered(store)]
    for fields in read_hashes(store, currents, ["name", "token", "queued"]):
        if fields.keys() >= {b"name", b"token"}:
            found[fields[b"name"]] = QueuedLine(
                to_text(fields[b"token"]), to_text(fields.get(b"queued", b""))
            )
    return found


def fed_files(store: Store, names: Sequence[bytes]) -> dict[bytes, dict[str, Any]]:
    """Return the fields of FED for each name that has a valid entry there.

    Raises:
        As `Store.call`.
    """
    found = dict[bytes, dict[str, Any]]()
    for start in range(0, len(names), _CHUNK):
        for name, entry in _fed_entries(store, names[start : start + _CHUNK]).items():
            try:
                found[name] = decode_object(entry)
            except ValueError:
                continue
    return found


def was_fed(entry: bytes, version: FileVersion) -> bool:
    """Report whether an entry of FED is about this version of the file, whatever the result was."""
    try:
        fields = decode_object(entry)
    except ValueError:
        return False
    return (fields.get("size_bytes"), fields.get("mtime_ns")) == (version.size_bytes, version.mtime_ns)


def _fed_entries(store: Store, names: Sequence[bytes]) -> dict[bytes, bytes]:
    entries = read_hash(store, store.keys.fed, names, longest_bytes=_FED_LIMIT_BYTES)
    return {name: entries.get(name, b"") for name in names}


def _enqueue(store: Store, files: Sequence[tuple[bytes, bytes, str, str]]) -> dict[bytes, Outcome]:
    """Run the script until it has an answer for each file: name, value of FED, seq, line."""
    keys, outcomes = store.keys, dict[bytes, Outcome]()
    places = [
        keys.in_queue,
        keys.queued,
        keys.dispatchers,
        keys.fed,
        keys.failed,
        keys.failed_names,
        keys.channel,
    ]
    while rest := [file for file in files if file[0] not in outcomes]:
        failpoints.reach("enqueue.before")
        arguments = [str(_FED_LIMIT_BYTES), str(MOST_LINES), *(part for file in rest for part in file)]
        answers = run_with_currents(store, "enqueue", places, arguments, _in_turn([file[0] for file in rest]))
        failpoints.reach("enqueue.after")
        if not answers:
            compare_now(store)
            continue
        found = {name: Outcome(answer) for name, answer in answers}
        outcomes |= {name: outcome for name, outcome in found.items() if outcome is not Outcome.LATER}
    return outcomes


def _in_turn(names: Sequence[bytes]) -> Callable[[Any], Any]:
    """Return a reader of an answer with a part for each name, in their order; it passes on an empty one."""
    return lambda answer: answer and list(zip(names, answer, strict=True))
