"""The capture stream: read from a named pipe or a file until its end, and cut into records.

    file header    magic(4) version(2+2) zone(4) accuracy(4) snaplen(4) linktype(4)             24 bytes
    record header  seconds(4) fraction(4) captured length(4) original length(4)                 16 bytes

Both byte orders and both resolutions are read; pcapng is not (the dispatcher converts it). A stream without
records, or without any byte, is valid.

Source: draft-ietf-opsawg-pcap, "File Header" and "Packet Record".
"""

import os
import select
import struct
from collections.abc import Iterator
from typing import NamedTuple

from pcapdj.runtime.errors import CaptureError
from pcapdj.runtime.numbers import counted
from pcapdj.runtime.signals import Signals

CHUNK_BYTES = 256 * 1024  # several times a pipe's size; more only takes more memory
HEADER_BYTES = 24
RECORD_HEADER_BYTES = 16
CAPTURED_LIMIT_BYTES = 262_144  # libpcap's MAXIMUM_SNAPLEN: a longer record is damage
LINKTYPE_MASK = 0x03FF_FFFF  # the bits above are about the frame check sequence
PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"

# First four bytes -> byte order for struct, nanoseconds per unit of the fraction.
MAGICS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}


def chunks(descriptor: int, signals: Signals) -> Iterator[bytes]:
    """Yield the bytes of a non-blocking pipe or file until its end, or until a stop signal has arrived.

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
    """Return the next bytes; none at the end of the stream; None if none have arrived yet."""
    try:
        return os.read(descriptor, CHUNK_BYTES)
    except BlockingIOError:
        return None


class Record(NamedTuple):
    """One packet as captured; a tuple because there is one for each packet."""

    time_ns: int  # since 1970-01-01 UTC
    frame: bytes  # from the first byte of the link layer
    original_bytes: int  # length on the wire; at least that of the frame in a valid capture


class RecordCutter:
    """Cuts the stream into records; keeps at most one incomplete record between two chunks."""

    def __init__(self) -> None:
        self.linktype: int | None = None
        self._rest = b""
        self._offset = 0
        self._fraction_ns = 1000
        self._unpack = struct.Struct("<IIII").unpack_from

    def feed(self, chunk: bytes) -> Iterator[Record]:
        """Yield the records that are complete with this chunk.

        Raises:
            CaptureError: the stream is not a classic capture, or a record header is invalid.
        """
        data = self._rest + chunk if self._rest else chunk
        if self.linktype is None:
            if len(data) < HEADER_BYTES:
                self._rest = data
                return
            self._read_header(data)
            data = data[HEADER_BYTES:]
        yield from self._records(data)

    def close(self) -> None:
        """End the stream.

        Raises:
            CaptureError: it ended inside the file header or inside a record.
        """
        if not self._rest:
            return
        if self.linktype is None:
            _check_magic(self._rest[:4])
            raise CaptureError(
                f"the stream ends after {len(self._rest)} of {HEADER_BYTES} header bytes", offset=0
            )
        rest = counted(len(self._rest), "byte")
        raise CaptureError(f"the stream ends {rest} into a record", offset=self._offset)

    def _read_header(self, data: bytes) -> None:
        order, self._fraction_ns = _check_magic(data[:4])
        self._unpack = struct.Struct(f"{order}IIII").unpack_from
        self.linktype = struct.unpack_from(f"{order}I", data, 20)[0] & LINKTYPE_MASK
        self._offset = HEADER_BYTES

    def _records(self, data: bytes) -> Iterator[Record]:
        at = 0
        size = len(data)
        while (body := at + RECORD_HEADER_BYTES) <= size:
            seconds, fraction, captured, original = self._unpack(data, at)
            if captured > CAPTURED_LIMIT_BYTES:
                raise CaptureError(
                    f"record header has {captured} captured bytes,"
                    f" more than the maximum of {CAPTURED_LIMIT_BYTES}",
                    offset=self._offset + at,
                )
            end = body + captured
            if end > size:
                break
            yield Record(seconds * 1_000_000_000 + fraction * self._fraction_ns, data[body:end], original)
            at = end
        self._offset += at
        self._rest = data[at:]


def _check_magic(magic: bytes) -> tuple[str, int]:
    if magic == PCAPNG_MAGIC:
        raise CaptureError("the stream is pcapng, not a classic capture", offset=0)
    if magic not in MAGICS:
        raise CaptureError(f"not a capture stream: it begins with {magic.hex(' ')}", offset=0)
    return MAGICS[magic]
