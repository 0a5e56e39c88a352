"""An open capture: what is in it, and its records as pieces of a stream.

A piece is whole, validated records. Where the file's own bytes are what the stream needs, a piece is a span
of the file to splice; else it is converted bytes. The same file and stream format give the same pieces on
every run, so that a successor can find the place where a dead process stopped.
"""

import os
from collections.abc import Generator, Iterator
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from pcapdj.capture.ethernet import carries
from pcapdj.capture.files import Identity, identity_of
from pcapdj.capture.linktypes import mismatch, skipped_packets
from pcapdj.capture.pcap import (
    MAX_CAPTURED_BYTES,
    RECORD_HEADER_BYTES,
    Bytes,
    StreamFormat,
)
from pcapdj.capture.sources import read_at
from pcapdj.capture.totals import Totals
from pcapdj.capture.walk import missing_to_record_end
from pcapdj.runtime.errors import CaptureError


class Piece(NamedTuple):
    """Whole validated records, ready for the stream.

    Args:
        totals: of these records only.
        length_bytes: what they take in the stream.
        offset: splice `length_bytes` from the capture's descriptor from here on; None: write `data` instead.
        data: the converted records, about 1 MiB; None where `offset` is given.
        source_end: how far into the file on disk reading was when this piece ended, for progress.
        window: the file's bytes from `offset` on as the walk saw them, at least every record header; else
            empty.
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


class Reading(Protocol):
    """One format's way of giving a file's records."""

    @property
    def native(self) -> StreamFormat | None:
        """The stream format that carries the file without loss; None without packets and interfaces."""

    @property
    def skipped(self) -> dict[int, int]:
        """Packets left out so far, by link type: of one that the stream does not carry, or not rewritable."""

    @property
    def is_spliceable(self) -> bool:
        """The file's own bytes are little-endian classic records."""

    @property
    def wrapped_times(self) -> int:
        """How many timestamps so far did not fit into 32 bits of seconds."""

    def pieces(self, stream: StreamFormat) -> Iterator[Piece]:
        """Yield the records for a stream that carries the link type."""

    def close(self) -> None:
        """Stop using the file."""


class Capture:
    """A capture file, open and identified; close it, or use it as a context manager.

    The position of `fd` is never moved by reading: it belongs to the one who splices.
    """

    def __init__(self, name: bytes, fd: int, identity: Identity, format_name: str, reading: Reading) -> None:
        self.name = name
        self.fd = fd
        self.identity = identity
        self.format_name = format_name
        self._reading = reading
        self._rewrites = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back; a second time does nothing."""
        if self.fd >= 0:
            self._reading.close()
            os.close(self.fd)
            self.fd = -1

    @property
    def native(self) -> StreamFormat | None:
        """The link type and resolution the file has; None for a file without packets and interfaces."""
        return self._reading.native

    @property
    def skipped(self) -> dict[int, int]:
        """Packets that the latest `pieces` left out, by link type."""
        return self._reading.skipped

    @property
    def left_out(self) -> str | None:
        """What is said about packets that the latest `pieces` left out; None if it has all of them."""
        return skipped_packets(self.skipped, rewrites=self._rewrites) if self.skipped else None

    @property
    def wrapped_times(self) -> int:
        """Timestamps of the latest `pieces` outside of 1970 to 2106, which a classic pcap cannot hold."""
        return self._reading.wrapped_times

    def same_format_as(self, stream: StreamFormat) -> bool:
        """Report whether the file's bytes can go into the stream as they are."""
        return self._reading.is_spliceable and stream.takes_unchanged(self.native)

    def pieces(self, stream: StreamFormat) -> Generator[Piece, None, None]:
        """Yield every good record, in order, in whole pieces.

        Raises:
            CaptureError: another link type (before any piece), or damage (after every good record), with the
            offset.
        """
        if self.native is None:
            return
        if not carries(stream, self.native.linktype):
            raise CaptureError(mismatch(self.native.linktype, stream.linktype))
        self._rewrites = stream.rewrites
        yield from self._reading.pieces(stream)

    def unchanged(self) -> str | None:
        """Return None if the file is as it was when it was opened, else what is said about it."""
        now = identity_of(self.fd)
        if now.size_bytes != self.identity.size_bytes:
            return f"changed while it was read: {self.identity.size_bytes} bytes became {now.size_bytes}"
        return None if now == self.identity else "changed while it was read"

    def missing_to_record_end(self, start: int, delivered_bytes: int) -> int | None:
        """Return how many zeros complete the record that a dead process stopped in.

        For a successor that has no `Piece` for this place, because the file shrank meanwhile.

        Args:
            start: offset of a record of a spliced file at or before that place, at most a few MiB before it.
            delivered_bytes: how many bytes from `start` on are in the stream.

        Returns:
            None if the file has lost the record's header, too: nobody can tell.
        """
        window = read_at(self.fd, delivered_bytes + RECORD_HEADER_BYTES + MAX_CAPTURED_BYTES, start)
        try:
            return missing_to_record_end(window, delivered_bytes)
        except LookupError:
            return None
