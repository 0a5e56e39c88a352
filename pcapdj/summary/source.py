"""Where the stream comes from: a named pipe or a file, read in large pieces until its end or a stop signal.

Rule: opening never waits. A named pipe is open for reading before its writer comes (the launcher hands out
the write end only then), and waiting for the writer is waiting for bytes, which a signal can end.
This file imports nothing of ours, so that the pipe is open before anything slow is loaded.
"""

import os
import select
from collections.abc import Iterator
from typing import Protocol

CHUNK_BYTES = 256 * 1024  # several pipes full; more only means more results in memory at once


class StopSignals(Protocol):
    """What is needed of `pcapdj.runtime.signals.Signals`."""

    def fileno(self) -> int:
        """Return the descriptor that turns readable on a signal."""
        ...

    @property
    def stop_requested(self) -> bool:
        """Report whether a stop signal has arrived so far."""
        ...


def open_source(path: str) -> int:
    """Return a descriptor of the stream; see pipe(7) and fifo(7).

    Raises:
        OSError: there is no such file, or it may not be read.
    """
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)


def chunks(descriptor: int, signals: StopSignals) -> Iterator[bytes]:
    """Yield the stream's bytes until its end, or until a stop signal has arrived.

    Args:
        descriptor: from `open_source`.
        signals: asked before each read.

    Raises:
        OSError: reading failed (a folder, a faulty disk).
    """
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    poller.register(signals.fileno(), select.POLLIN)
    while not signals.stop_requested:
        ready = dict(poller.poll())
        if descriptor not in ready:
            continue
        chunk = _read(descriptor)
        if chunk == b"":
            return
        if chunk:
            yield chunk


def _read(descriptor: int) -> bytes | None:
    """Return the next bytes, none at the end of the stream, None if there are none just now."""
    try:
        return os.read(descriptor, CHUNK_BYTES)
    except BlockingIOError:
        return None
