"""Duplicates of the dispatcher's descriptors: header, two batches, their note, and the capture file.

A pipe keeps its bytes when the process that filled it dies, if another process has it open. After `kill -9`
of a dispatcher a batch has exactly its bytes that are not in the analyzer's pipe, because splice(2) moves a
page from one to the other while both are locked. (A journal written after each write was wrong in 135 of 150
kills.) `feed/batches.py` has the order of the steps, `feed/note.py` the layout of the note.
"""

import fcntl
import os
import stat
from collections.abc import Callable, Mapping
from typing import Any

from pcapdj.launcher_protocol import (
    BATCH_KEYS,
    NOTE_BYTES,
    NOTE_KEY,
    RECORDS_KEY,
    BadMessage,
    NotedBatch,
    noted_batch,
)
from pcapdj.runtime.fifo import unread_bytes


class DescriptorStore:
    """The entries of one stream: at most one descriptor and its note under each of the five keys.

    Attributes:
        had_records: a file with records has been stored, so the analyzer has something to read.
    """

    def __init__(self) -> None:
        self._entries: dict[str, tuple[int, Mapping[str, Any]]] = {}
        self._puts = 0
        self.had_records = False

    def put(self, key: str, descriptor: int, note: Mapping[str, Any]) -> None:
        """Store the descriptor in place of an earlier one under this key; the store closes it later.

        Raises:
            BadMessage: it is no regular file (a batch: no pipe) that is open for reading; it is closed.
        """
        kind, is_kind = ("pipe", stat.S_ISFIFO) if key in BATCH_KEYS else ("regular file", stat.S_ISREG)
        if not (_is_path(descriptor) and key == RECORDS_KEY) and not _is_readable(descriptor, is_kind):
            os.close(descriptor)
            raise BadMessage(f"the descriptor is not a {kind} open for reading")
        self.drop(key)
        self._puts += 1
        self._entries[key] = (descriptor, note)
        self.had_records |= key == RECORDS_KEY

    def drop(self, key: str) -> None:
        """Remove an entry, if it is there, and close its descriptor."""
        if key in self._entries:
            os.close(self._entries.pop(key)[0])

    def notes(self) -> tuple[tuple[str, Mapping[str, Any]], ...]:
        """Return key and note of every entry, in the order of `descriptors`."""
        return tuple((key, note) for key, (_, note) in self._entries.items())

    def descriptors(self) -> tuple[int, ...]:
        """Return the entries' descriptors; the store still closes them."""
        return tuple(descriptor for descriptor, _ in self._entries.values())

    def descriptor(self, key: str) -> int:
        """Return the descriptor under this key, which has to be there; the store still closes it."""
        return self._entries[key][0]

    def noted(self) -> NotedBatch | None:
        """Return the batch that the dispatcher sends or has sent last; None if it has sent none."""
        noted = noted_batch(self._page())
        return noted if noted and noted.batch < len(BATCH_KEYS) and self._has_batches() else None

    def positions(self) -> tuple[object, ...]:
        """Return a value that changes whenever the dispatcher moves bytes into the pipe."""
        # the note has a number that grows with each batch
        return (
            self._puts,
            self._page(),
            *(_position(key, fd) for key, (fd, _) in self._entries.items() if not _is_path(fd)),
        )

    def close(self) -> None:
        """Remove all entries."""
        for key in tuple(self._entries):
            self.drop(key)

    def _page(self) -> bytes:
        return os.pread(self._entries[NOTE_KEY][0], NOTE_BYTES, 0) if NOTE_KEY in self._entries else b""

    def _has_batches(self) -> bool:
        return all(key in self._entries for key in BATCH_KEYS)


def _is_path(descriptor: int) -> bool:
    """Report whether it was opened with O_PATH: a capture file on a file system that may hang.

    The dispatcher never splices from it. Here it must not be looked at: that may hang.
    """
    return bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_PATH)


def _position(key: str, descriptor: int) -> int:
    """Return what changes when bytes are moved from the descriptor."""
    return unread_bytes(descriptor) if key in BATCH_KEYS else os.lseek(descriptor, 0, os.SEEK_CUR)


def _is_readable(descriptor: int, is_kind: Callable[[int], bool]) -> bool:
    """Report whether splice can read from it; a memfd is a regular file, one opened with O_PATH is not."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    readable = flags & os.O_ACCMODE in (os.O_RDONLY, os.O_RDWR) and not flags & os.O_PATH
    return readable and is_kind(os.fstat(descriptor).st_mode)
