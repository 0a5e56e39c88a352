"""One classic capture stream, cut into records as its bytes come. Pure: bytes in, records out.

    file header    magic(4) version(2+2) zone(4) accuracy(4) snaplen(4) linktype(4)             24 bytes
    record header  seconds(4) fraction(4) captured length(4) original length(4)                 16 bytes

Both byte orders and both resolutions are understood; pcapng is not (whoever feeds the pipe converts it).
Rule: a stream without any record, or without any byte, is a short stream and no fault.

Source: draft-ietf-opsawg-pcap, "File Header" and "Packet Record".
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from pcapdj.runtime.errors import CaptureError

HEADER_BYTES = 24
RECORD_HEADER_BYTES = 16
CAPTURED_LIMIT_BYTES = 262_144  # libpcap's MAXIMUM_SNAPLEN: a longer record is damage, not a packet
LINKTYPE_MASK = 0x03FF_FFFF  # the bits above tell the length of a frame check sequence
PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"

# First four bytes -> byte order for struct, nanoseconds per unit of the fraction.
MAGICS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}


class Record(NamedTuple):
    """One packet as captured; a tuple because there is one for each packet."""

    time_ns: int  # since 1970-01-01 UTC
    frame: bytes  # from the first byte of the link layer
    original_bytes: int  # length on the wire, at least that of the frame in a sound capture


class RecordCutter:
    """Holds what is left over between two pieces of the stream: at most one record."""

    def __init__(self) -> None:
        self.linktype: int | None = None
        self._rest = b""
        self._offset = 0
        self._fraction_ns = 1000
        self._unpack = struct.Struct("<IIII").unpack_from

    def feed(self, chunk: bytes) -> Iterator[Record]:
        """Yield the records that the stream now holds whole.

        Raises:
            CaptureError: this is no classic capture, or a record header cannot be true.
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
        """Say that the stream has ended.

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
        raise CaptureError(f"the stream ends {len(self._rest)} bytes into a record", offset=self._offset)

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
                    f"a record claims {captured} captured bytes, more than {CAPTURED_LIMIT_BYTES}",
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
        raise CaptureError("pcapng, where a classic capture stream is expected", offset=0)
    if magic not in MAGICS:
        raise CaptureError(f"not a capture stream: it begins with {magic.hex(' ')}", offset=0)
    return MAGICS[magic]
