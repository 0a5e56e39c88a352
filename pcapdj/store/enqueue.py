"""Queues files, each once: for the importer and for `pcapdj run`.

An RPUSH that is repeated after a lost reply doubles names, and a look before it races with dispatchers. Here
one script does both, and compares FED with the value by which the caller decided: it may be repeated.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Protocol

from pcapdj.runtime import failpoints
from pcapdj.runtime.foreign_json import decode_object
from pcapdj.store.bounded import read_hash
from pcapdj.store.client import Store

_CHUNK: int = 1000  # names in one script: some milliseconds of Redis's time, within Lua's limit for RPUSH


_FED_LIMIT_BYTES: int = 4 << 10  # of an entry of FED; ours have some hundred


class FileVersion(Protocol):
    """Size and time that distinguish a file from an earlier one of its name: rotation reuses names."""

    @property
    def size_bytes(self) -> int:
        """The file's size."""

    @property
    def mtime_ns(self) -> int:
        """The time of its last write, in ns since 1970."""


class Outcome(Enum):
    """Whether a file was queued, or where it was already."""

    NEW = 1  # it is in the queue now
    QUEUED = 0
    CURRENT = -1
    FED_MEANWHILE = -2
    FED = -3


def enqueue_new(
    store: Store, files: Mapping[bytes, FileVersion], *, again: bool = False
) -> dict[bytes, Outcome]:
    """Queue the files that are neither queued, current nor fed, in their order.

    Args:
        store: the lane; a `RetryingStore` waits while Redis is away.
        files: absolute name to the file's version.
        again: queue files that were fed before, too.

    Returns:
        An outcome for each name.

    Raises:
        As `Store.call`.
    """
    names, outcomes = list(files), dict[bytes, Outcome]()
    for start in range(0, len(names), _CHUNK):
        chunk = {name: files[name] for name in names[start : start + _CHUNK]}
        outcomes |= _enqueue_chunk(store, chunk, again=again)
    return outcomes


def was_fed(entry: bytes, version: FileVersion) -> bool:
    """Report whether an entry of FED is about this version of the file, whatever the result was."""
    try:
        fields = decode_object(entry)
    except ValueError:
        return False
    return (fields.get("size_bytes"), fields.get("mtime_ns")) == (version.size_bytes, version.mtime_ns)


def _enqueue_chunk(store: Store, files: Mapping[bytes, FileVersion], *, again: bool) -> dict[bytes, Outcome]:
    entries = _fed_entries(store, list(files))
    outcomes = {name: Outcome.FED for name in files if not again and was_fed(entries[name], files[name])}
    rest = {name: entries[name] for name in files if name not in outcomes}
    return outcomes | (_run_script(store, rest) if rest else {})


def _fed_entries(store: Store, names: list[bytes]) -> dict[bytes, bytes]:
    entries = read_hash(store, store.keys.fed, names, longest_bytes=_FED_LIMIT_BYTES)
    return {name: entries.get(name, b"") for name in names}


def _run_script(store: Store, entries: Mapping[bytes, bytes]) -> dict[bytes, Outcome]:
    keys = store.keys
    pairs = [part for pair in entries.items() for part in pair]
    failpoints.reach("enqueue.before")
    answers = store.run(
        "enqueue",
        [keys.in_queue, keys.dispatchers, keys.fed, keys.channel],
        [keys.current_prefix, str(_FED_LIMIT_BYTES), *pairs],
    )
    failpoints.reach("enqueue.after")
    return {name: Outcome(answer) for name, answer in zip(entries, answers, strict=True)}
