"""An open capture file: its format, its records as pieces of a stream, and whether it changed since."""

import os
from collections.abc import Generator
from types import TracebackType
from typing import Self

from pcapdj.capture.files import Identity, identity_of
from pcapdj.capture.pcap import MAX_CAPTURED_BYTES, RECORD_HEADER_BYTES, StreamFormat
from pcapdj.capture.reader import Piece, Reader, read_at
from pcapdj.capture.walk import missing_to_record_end
from pcapdj.runtime.errors import CaptureError


class Capture:
    """An open capture file; close it, or use it as a context manager.

    Reading never moves the position of `fd`, which the caller may use for splice(2).
    """

    def __init__(self, name: bytes, fd: int, identity: Identity, format_name: str, reader: Reader) -> None:
        self.name = name
        self.fd = fd
        self.identity = identity
        self.format_name = format_name
        self._reader = reader
        self.rewrites = False  # the latest `pieces` are for a stream that is rewritten to Ethernet

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptor; a second call does nothing."""
        if self.fd >= 0:
            self._reader.close()
            os.close(self.fd)
            self.fd = -1

    @property
    def native(self) -> StreamFormat | None:
        """The file's own link type and resolution; None for a file without packets and interfaces."""
        return self._reader.native

    @property
    def has_packets(self) -> bool:
        """Whether the file has a packet, or bytes where one should be."""
        return self._reader.has_packets

    @property
    def skipped(self) -> dict[int, int]:
        """The number of packets that the latest `pieces` skipped, by link type."""
        return self._reader.skipped

    @property
    def snaplen(self) -> int | None:
        """The file's snaplen in bytes; None where each interface has its own."""
        return self._reader.snaplen

    def pieces(self, stream: StreamFormat) -> Generator[Piece, None, None]:
        """Yield all good records in order, as pieces.

        Raises:
            CaptureError: the stream accepts none of the packets (instead of the first piece), or the file is
                damaged (after all good records; with the offset).
        """
        if self.native is None:
            return
        self.rewrites = stream.rewrites
        yield from self._reader.pieces(stream)

    def change_since_opened(self) -> CaptureError | None:
        """Return the error if the file changed since it was opened; None if it did not."""
        now = identity_of(self.fd)
        if now.size_bytes != self.identity.size_bytes:
            sizes = f"{self.identity.size_bytes} bytes became {now.size_bytes}"
            return CaptureError(f"changed while it was read: {sizes}")
        return None if now == self.identity else CaptureError("changed while it was read")

    def missing_to_record_end(self, start: int, delivered_bytes: int) -> int | None:
        """Return how many zeros complete the record that a dead process stopped in.

        For a new process that has no `Piece` for this place, because the file became shorter meanwhile.

        Args:
            start: offset of a record of a spliced file at or before that place, at most a few MiB before it.
            delivered_bytes: how many bytes from `start` on are in the stream.

        Returns:
            None if the file has lost the record's header, too: the record's length is unknown.
        """
        window = read_at(self.fd, delivered_bytes + RECORD_HEADER_BYTES + MAX_CAPTURED_BYTES, start)
        try:
            return missing_to_record_end(window, delivered_bytes)
        except LookupError:
            return None
