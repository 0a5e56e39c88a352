"""Batches: the only way into the pipe. Exactly the checked bytes are sent, even if the file changes.

A piece of a capture is written into one of two pipes of our own, the batches, and its pages are moved from
there into the analyzer's pipe. The launcher has duplicates of both, and of the note (`feed.note`). For each
batch, in this order:

    1 write     the records; a batch is empty before
    2 note      which file, which batch, where to go on. From now on the batch is part of the stream.
    3 splice    the bytes that are left in the batch are not in the analyzer's pipe, also after our death

The next dispatcher sends the rest of the noted batch and continues at the noted place. The other batch was
not noted, and is dropped. So the next batch is never the noted one. All other orders that were tried lose or
double packets: the note before the write, the splice before the note, one record in the note, one batch, a
batch that is not emptied.

Nothing writes to a page once it is in a batch, and splice moves it whole. So a reader that passes the pages
on keeps their bytes. (Memory files need a hole for that each time they are filled again: 280 us for 260 KiB
instead of 60.)
"""

import errno
import fcntl
import os
from collections.abc import Callable, Mapping
from typing import Final

from pcapdj.capture.pcap import Bytes
from pcapdj.capture.reader import PIECE_BYTES
from pcapdj.feed.note import BatchNote, encode_note, latest_note
from pcapdj.feed.pipe import Pipe
from pcapdj.launcher_protocol import BATCH_KEYS, NOTE_BYTES, NOTE_KEY
from pcapdj.runtime import failpoints
from pcapdj.runtime.fifo import unread_bytes
from pcapdj.runtime.signals import Waits

_MFD_NOEXEC_SEAL: Final = 0x0008  # linux/memfd.h, since Linux 6.3
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_NO_MEMORY: Final = {errno.ENOSPC, errno.ENOMEM, errno.EFBIG}
_RETRY_S: Final = 0.5
# of all pipes of a user without privileges, and of each
_PIPE_LIMIT: Final = "pipes are limited by pipe-user-pages-soft or pipe-max-size in /proc/sys/fs"


class Batches:
    """The two batches of one stream, and its note.

    Args:
        descriptors: of the two batches and the note, by key; closed by `close`.
        waits: where it waits for memory.
    """

    def __init__(self, descriptors: Mapping[str, int], waits: Waits) -> None:
        self.descriptors: Final = descriptors
        self._batches: Final = tuple(descriptors[key] for key in BATCH_KEYS)
        self._note: Final = descriptors[NOTE_KEY]
        self._waits = waits
        self.last = latest_note(os.pread(self._note, NOTE_BYTES, 0))
        for number, batch in enumerate(self._batches):
            if self.last is None or number != self.last.batch:
                _empty(batch)

    def finish(self, pipe: Pipe, end_bytes: int | None = None) -> None:
        """Send the rest of the noted batch: a dead dispatcher's, or after a stop up to a place in it.

        Raises:
            As `Pipe.splice`.
        """
        if self.last:
            end_bytes = self.last.length_bytes if end_bytes is None else end_bytes
            pipe.splice(self._batches[self.last.batch], end_bytes - self.sent_bytes(self.last))

    def sent_bytes(self, last: BatchNote) -> int:
        """Return how much of the last noted batch is in the pipe."""
        return last.length_bytes - unread_bytes(self._batches[last.batch])

    def send(self, pipe: Pipe, data: Bytes, note: BatchNote) -> None:
        """Send a piece.

        Args:
            pipe: of the stream.
            data: the piece's records.
            note: about them; number and batch are filled in.

        Raises:
            As `Pipe.splice`; after `Stopped`, `last` and `sent_bytes` show how far it came.
        """
        pipe.check_open()  # else the launcher has the batches, and sends what is noted
        last = self.last
        number, batch = (last.number + 1, 1 - last.batch) if last else (1, 0)
        self._fill(pipe, self._batches[batch], data)
        note = note._replace(number=number, batch=batch)
        os.pwrite(self._note, *encode_note(note))
        self.last = note
        failpoints.reach("batch.note")
        pipe.splice(self._batches[batch], len(data))

    def close(self) -> None:
        """Close this process's descriptors."""
        for descriptor in self.descriptors.values():
            os.close(descriptor)

    def _fill(self, pipe: Pipe, batch: int, data: Bytes) -> None:
        """Write the records; wait for memory, if there is none: the capture is not at fault."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(batch, rest) :]
            except OSError as exc:
                wait_for_memory(exc, self._waits)
                pipe.check_alive()
        failpoints.reach("batch.write")


def _empty(batch: int) -> None:
    """Drop what a dead dispatcher wrote into a batch and did not note."""
    while unread := unread_bytes(batch):
        os.read(batch, unread)


def new_batches(waits: Waits) -> Batches:
    """Return batches and a note that nothing is in.

    Raises:
        Stopped: a stop signal arrived while it waited for memory.
    """
    descriptors = {key: _when_there_is_memory(_new_batch, waits) for key in BATCH_KEYS}
    return Batches({**descriptors, NOTE_KEY: memory_file(NOTE_KEY, NOTE_BYTES, waits)}, waits)


def memory_file(name: str, size_bytes: int, waits: Waits) -> int:
    """Return the descriptor of a memory file whose size cannot be changed any more; never mapped.

    Raises:
        Stopped: a stop signal arrived while it waited for memory.
    """
    return _when_there_is_memory(lambda: _memory_file(f"pcapdj-{name}", size_bytes), waits)


def _when_there_is_memory(new_descriptor: Callable[[], int], waits: Waits) -> int:
    while True:
        try:
            return new_descriptor()
        except OSError as exc:
            wait_for_memory(exc, waits)


def _new_batch() -> int:
    """Return a pipe that a piece fits into, as one descriptor for both of its ends."""
    ends = os.pipe2(os.O_CLOEXEC)
    try:
        fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, PIECE_BYTES)
        return os.open(f"/proc/self/fd/{ends[1]}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError as exc:
        raise OSError(errno.ENOMEM, _PIPE_LIMIT) from exc
    finally:
        for end in ends:
            os.close(end)


def _memory_file(name: str, size_bytes: int) -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        fd = os.memfd_create(name, flags | _MFD_NOEXEC_SEAL)
    except OSError as exc:
        if exc.errno != errno.EINVAL:
            raise
        fd = os.memfd_create(name, flags)
    try:
        os.posix_fallocate(fd, 0, size_bytes)  # memory that is missing is missing here, not in a note
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except OSError:
        os.close(fd)
        raise
    return fd


def wait_for_memory(error: OSError, waits: Waits) -> None:
    """Wait a moment after an error that the machine's memory or a limit is the reason of; raise any other.

    Raises:
        OSError: another one.
        Stopped: a stop signal arrived.
    """
    if error.errno not in _NO_MEMORY:
        raise error
    waits.wait(_RETRY_S, waiting_for=f"Waiting for memory for packets: {error.strerror}.")
