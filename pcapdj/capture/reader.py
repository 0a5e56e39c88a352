"""What readers of all formats share: windows of the capture as input, pieces of the stream as output.

A window is the bytes of the capture at an offset that only grows. They never change, whatever is read next.
Never mmap: if the file became shorter, the kernel would end the process.

A piece is whole, validated records. Where the stream needs the file's own bytes, a piece is a span of the
file to splice; else it is converted bytes. The same file and stream format give the same pieces on every run,
so that a new process can continue where a dead one stopped.
"""

import os
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from pcapdj.capture.pcap import Bytes, StreamFormat, Totals
from pcapdj.capture.walk import missing_to_record_end
from pcapdj.runtime.errors import CaptureError

# Measured: the fastest size between 256 KiB and 4 MiB. No reader keeps more of a file in memory.
WINDOW_BYTES = 1 << 20


class Window(NamedTuple):
    """Bytes of the (uncompressed) capture.

    Args:
        data: at least WINDOW_BYTES, or all bytes from the offset on.
        room_bytes: how far records may reach: to the end of the file if its size is known, else of `data`.
        is_last: `data` reaches the end of the capture.
        source_end: how many bytes of the file on disk were read so far.
    """

    data: bytes
    room_bytes: int
    is_last: bool
    source_end: int


class Source(Protocol):
    """The bytes of an open capture file, decompressed."""

    def window(self, offset: int) -> Window:
        """Return the bytes from `offset` on; it grows with each call, or starts at 0 again."""

    @property
    def fault(self) -> str | None:
        """Why the last window ends too early; None if that is the end of the capture."""

    def close(self) -> None:
        """Stop using the file."""


class StopSignals(Protocol):
    """Where a stop signal is seen; `runtime.signals.Waits` is one.

    A source looks at it before each window: a file may have many gigabytes without a packet for the stream.
    """

    def wait(self, timeout_s: float) -> None:
        """Raise `Stopped` if a stop signal has arrived; with 0 it only looks."""


class FileSource:
    """An uncompressed file, read up to the size that it had when it was opened."""

    def __init__(self, fd: int, size_bytes: int, stops: StopSignals | None = None) -> None:
        self._fd = fd
        self._size_bytes = size_bytes
        self._stops = stops
        self.fault: str | None = None

    def window(self, offset: int) -> Window:
        """Return up to WINDOW_BYTES from `offset` on; sets `fault` if the file became shorter."""
        if self._stops:
            self._stops.wait(0)
        rest_bytes = max(self._size_bytes - offset, 0)
        data = read_at(self._fd, min(WINDOW_BYTES, rest_bytes), offset)
        if len(data) < min(WINDOW_BYTES, rest_bytes):
            self.fault = (
                f"became shorter while it was read: {offset + len(data)} of {self._size_bytes} bytes are left"
            )
            rest_bytes = len(data)
        return Window(data, rest_bytes, len(data) == rest_bytes, offset + len(data))

    def close(self) -> None:
        """Do nothing: the descriptor belongs to the caller."""


def read_at(fd: int, length_bytes: int, offset: int) -> bytes:
    """Return a file's bytes without moving the descriptor's position.

    Raises:
        CaptureError: the disk or the network file system reports an error.
    """
    try:
        return os.pread(fd, length_bytes, offset)
    except OSError as exc:
        raise CaptureError(f"cannot be read: {exc.strerror}", offset=offset) from exc


class Piece(NamedTuple):
    """Whole, validated records for the stream.

    Args:
        totals: of these records.
        length_bytes: their length in the stream.
        offset: splice `length_bytes` from the capture's descriptor from here on; None: write `data` instead.
        data: the converted records, about 1 MiB; None where `offset` is given.
        source_end: how many bytes of the file on disk were read for it and all pieces before, for progress.
        window: the file's bytes from `offset` on as the walk read them, with every record header; else empty.
    """

    totals: Totals
    length_bytes: int
    offset: int | None
    data: Bytes | None
    source_end: int
    window: bytes = b""

    def missing_to_record_end(self, delivered_bytes: int) -> int:
        """Return how many zeros complete the current record after `delivered_bytes` of this piece.

        Exact even if the file's own bytes are gone. 0 at a record's end.
        """
        records = self.window if self.data is None else self.data
        return missing_to_record_end(records, delivered_bytes)


class Reader(Protocol):
    """Reads the records of a file in one format."""

    @property
    def native(self) -> StreamFormat | None:
        """The stream format that keeps the file without loss; None without packets and interfaces."""

    @property
    def has_packets(self) -> bool:
        """Whether the file has a packet, or bytes where one should be."""

    @property
    def skipped(self) -> dict[int, int]:
        """Packets skipped so far, by link type: not accepted by the stream, or impossible to rewrite."""

    @property
    def snaplen(self) -> int | None:
        """The file's snaplen in bytes; None where each interface has its own."""

    def pieces(self, stream: StreamFormat) -> Iterator[Piece]:
        """Yield the records that the stream accepts; raise CaptureError if it accepts none of them."""

    def close(self) -> None:
        """Stop using the file."""
