"""Batches: the only way into the pipe. What is sent is what was checked, whatever happens to the file.

A piece of a capture is copied into one of two memory files and spliced from there. The launcher has
duplicates of both, and of the note (`feed.note`). For each batch, in this order:

    1 hole      the pages of its last use leave the file. A pipe, or a reader that passes them on, keeps them.
    2 write     the records
    3 rewind    position 0
    4 note      which file, which batch, where to go on. From now on the batch is part of the stream.
    5 splice    without an offset: the position, which outlives this process, shows what is in the pipe

The next dispatcher sends the rest of the noted batch from its position and goes on at the noted place. So the
next batch is never the noted one. All other orders that were tried lose or double packets: the note before
the rewind, the splice before the note, one record in the note, one memory file, no hole.
"""

import ctypes
import errno
import fcntl
import os
from collections.abc import Mapping
from typing import Final

from pcapdj.capture.pcap import Bytes
from pcapdj.capture.reader import PIECE_BYTES
from pcapdj.feed.note import BatchNote, encode_note, latest_note
from pcapdj.feed.pipe import Pipe
from pcapdj.launcher_protocol import BATCH_KEYS, NOTE_BYTES, NOTE_KEY
from pcapdj.runtime import failpoints
from pcapdj.runtime.signals import Waits

_MFD_NOEXEC_SEAL: Final = 0x0008  # linux/memfd.h, since Linux 6.3
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_KEEP_SIZE, _PUNCH_HOLE = 1, 2  # linux/falloc.h
# More than the file: the kernel may keep it in one large page, and would write zeros into a part of it.
_HOLE_BYTES: Final = 1 << 30
_NO_MEMORY: Final = {errno.ENOSPC, errno.ENOMEM, errno.EFBIG}
_RETRY_S: Final = 0.5

_libc = ctypes.CDLL(None, use_errno=True)
_fallocate = getattr(_libc, "fallocate64", _libc.fallocate)
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


class Batches:
    """The two memory files of one stream, and its note.

    Args:
        descriptors: of the two files and the note, by key; closed by `close`.
        waits: where it waits for memory.
    """

    def __init__(self, descriptors: Mapping[str, int], waits: Waits) -> None:
        self.descriptors: Final = descriptors
        self._files: Final = tuple(descriptors[key] for key in BATCH_KEYS)
        self._note: Final = descriptors[NOTE_KEY]
        self._waits = waits
        self.last = latest_note(os.pread(self._note, NOTE_BYTES, 0))

    def finish(self, pipe: Pipe, end_bytes: int | None = None) -> None:
        """Send the rest of the noted batch: a dead dispatcher's, or after a stop up to a place in it.

        Raises:
            As `Pipe.splice`.
        """
        if self.last:
            end_bytes = self.last.length_bytes if end_bytes is None else end_bytes
            pipe.splice(self._files[self.last.batch], end_bytes - self.sent_bytes())

    def sent_bytes(self) -> int:
        """Return how much of the noted batch is in the pipe."""
        return os.lseek(self._files[self.last.batch], 0, os.SEEK_CUR) if self.last else 0

    def send(self, pipe: Pipe, data: Bytes, note: BatchNote) -> None:
        """Send a piece.

        Args:
            pipe: of the stream.
            data: the piece's records.
            note: about them; number and batch are filled in.

        Raises:
            As `Pipe.splice`; after `Stopped`, `last` and `sent_bytes` show how far it came.
        """
        last = self.last
        number, batch = (last.number + 1, 1 - last.batch) if last else (1, 0)
        file = self._files[batch]
        self._fill(pipe, file, data)
        os.lseek(file, 0, os.SEEK_SET)
        failpoints.reach("batch.rewind")
        note = note._replace(number=number, batch=batch)
        os.pwrite(self._note, *encode_note(note))
        self.last = note
        failpoints.reach("batch.note")
        pipe.splice(file, len(data))

    def close(self) -> None:
        """Close this process's descriptors."""
        for descriptor in self.descriptors.values():
            os.close(descriptor)

    def _fill(self, pipe: Pipe, file: int, data: Bytes) -> None:
        """Replace the file's contents; wait for memory, if there is none: the capture is not at fault."""
        punch_hole(file)
        failpoints.reach("batch.hole")
        rest, position = memoryview(data), 0
        while rest:
            try:
                written = os.pwrite(file, rest, position)
            except OSError as exc:
                wait_for_memory(exc, self._waits)
                pipe.check_alive()
                continue
            rest, position = rest[written:], position + written
        failpoints.reach("batch.write")


def new_batches(waits: Waits) -> Batches:
    """Return batches and a note that nothing is in.

    Raises:
        Stopped: a stop signal arrived while it waited for memory.
    """
    sizes = {**dict.fromkeys(BATCH_KEYS, PIECE_BYTES), NOTE_KEY: NOTE_BYTES}
    return Batches({key: memory_file(key, size, waits) for key, size in sizes.items()}, waits)


def memory_file(name: str, size_bytes: int, waits: Waits) -> int:
    """Return the descriptor of a memory file whose size cannot be changed any more; never mapped.

    Raises:
        Stopped: a stop signal arrived while it waited for memory.
    """
    while True:
        try:
            return _memory_file(f"pcapdj-{name}", size_bytes)
        except OSError as exc:
            wait_for_memory(exc, waits)


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


def punch_hole(fd: int) -> None:
    """Drop all pages of a memory file; who refers to them keeps them.

    Raises:
        OSError: the kernel cannot do it.
    """
    while _fallocate(fd, _KEEP_SIZE | _PUNCH_HOLE, 0, _HOLE_BYTES):
        code = ctypes.get_errno()
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code))


def wait_for_memory(error: OSError, waits: Waits) -> None:
    """Wait a moment after an error that the machine's memory or a limit is the reason of; raise any other.

    Raises:
        OSError: another one.
        Stopped: a stop signal arrived.
    """
    if error.errno not in _NO_MEMORY:
        raise error
    waits.wait(_RETRY_S, waiting_for=f"Waiting for memory for packets: {error.strerror}.")
