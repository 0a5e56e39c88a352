"""Opens capture files: from a name to a `Capture` in a supported format.

The dispatcher opens a file before it requests authorization for it, so that it never requests one for a file
that cannot be fed.
"""

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from pcapdj.capture.capture import Capture
from pcapdj.capture.classic import ClassicReader
from pcapdj.capture.files import Identity, OpenFile, StillWritten, open_file
from pcapdj.capture.first_records import FIRST_RECORDS_BYTES, look_at_records
from pcapdj.capture.formats import CONVERT_PCAP, Format, Kind, identify
from pcapdj.capture.pcap import FILE_HEADER_BYTES, parse_file_header
from pcapdj.capture.reader import FileSource, Piece, Reader, Source, first_bytes
from pcapdj.runtime.errors import CaptureError

if TYPE_CHECKING:  # `pcapdj cat` starts without it
    from pcapdj.runtime.signals import Waits

__all__ = [
    "Capture",
    "Identity",
    "Piece",
    "StillWritten",
    "first_packet_time_ns",
    "open_capture",
]

_BEGINNING_BYTES = 1 << 14  # holds the first packet of nearly every file

_KEPT_BYTES = 8 << 20


def open_capture(
    name: bytes,
    *,
    root: bytes | None = None,
    refuse_written: bool = True,
    stops: "Waits | None" = None,
) -> Capture:
    """Open a capture file and identify it.

    Args:
        name: absolute or relative path.
        root: if given, the file must lie below this folder and no link is followed on the way.
        refuse_written: raise `StillWritten` for a file that may still grow.
        stops: a stop signal ends opening and reading.

    Raises:
        CaptureError: it cannot be opened, is not a regular file, or its format is not supported.
        Stopped: a stop signal arrived.
    """
    return capture_of(name, OpenFile(open_file(name, root=root, refuse_written=refuse_written)), stops)


def capture_of(
    name: bytes,
    file: OpenFile,
    stops: "Waits | None" = None,
    *,
    has_checksums: bool = False,
    identity: Identity | None = None,
) -> Capture:
    """Identify an open file; it is closed with the capture, and after an error.

    Args:
        name: of the file.
        file: open.
        stops: a stop signal ends opening and reading.
        has_checksums: the checksum of its bytes is computed, for `Place.crc32`.
        identity: that it had when it was opened first; None: it is opened for the first time.

    Raises:
        CaptureError, Stopped: as `open_capture`.
    """
    _keep_freed_memory()
    capture = None
    try:
        identity = identity or file.identity()
        contents, checksums = contents_of(file, identity.size_bytes, stops), None
        if has_checksums:
            from pcapdj.capture.checksum import ChecksummedSource

            checksums = ChecksummedSource(contents.source)
            contents = contents._replace(source=checksums)
        try:
            reader = _reader_for(contents)
        except BaseException:
            contents.source.close()
            raise
        of_file = (name, file, identity, contents.format_name, contents.first)
        capture = Capture(*of_file, reader, checksums, contents.compression)
    finally:
        if capture is None:
            file.close()
    return capture


def first_packet_time_ns(capture: Capture) -> int | None:
    """Return the first packet's timestamp in ns since 1970; None if there is no good packet."""
    beginning = _beginning(capture)
    time_ns = _first_time_ns(beginning) if beginning is not None else None
    return _first_time_ns(capture) if time_ns is None else time_ns


def _beginning(capture: Capture) -> Reader | None:
    """Return a reader of only the first 16 KiB of the file; None if it is shorter, compressed or invalid."""
    if capture.identity.size_bytes <= _BEGINNING_BYTES:
        return None
    try:
        source = FileSource(capture.file, _BEGINNING_BYTES)
        first = source.window(0).data
        found = identify(first)
        if found.kind is Kind.COMPRESSED:  # opening has decompressed a window of it already
            return None
        return _reader_for(Contents(source, first, found, ""))
    except CaptureError:
        return None


def _first_time_ns(records: Capture | Reader) -> int | None:
    if records.native is None:
        return None
    try:
        return next((piece.totals.first_ts_ns for piece in records.pieces(records.native)), None)
    except CaptureError:
        return None


class Contents(NamedTuple):
    """The bytes of an open capture file, decompressed, and its format.

    Args:
        source: of the bytes; the receiver closes it.
        first: the first 64 KiB, or all of it.
        format: of the decompressed capture.
        compression: of the file; empty: it is not compressed.
    """

    source: Source
    first: bytes
    format: Format
    compression: str

    @property
    def format_name(self) -> str:
        """The name of the file's format."""
        return f"{self.format.name}, {self.compression}" if self.compression else self.format.name


def contents_of(file: OpenFile, size_bytes: int, stops: "Waits | None" = None) -> Contents:
    """Return the bytes of a file, of which the beginning was read.

    Args:
        file: open; still closed by the caller.
        size_bytes: of the file.
        stops: a stop signal ends reading.

    Raises:
        CaptureError: it is empty, or its beginning cannot be read.
        Stopped: a stop signal arrived.
    """
    if not size_bytes:
        raise CaptureError("is empty: 0 bytes")
    source: Source = FileSource(file, size_bytes, stops)
    first = first_bytes(source, FIRST_RECORDS_BYTES)
    found = identify(first)
    if found.kind is not Kind.COMPRESSED:
        return Contents(source, first, found, "")
    from pcapdj.capture.decompress import DecompressedSource

    source = DecompressedSource(file, size_bytes, found.name, stops)
    try:
        return _decompressed_contents(source, found.name)
    except BaseException:
        source.close()
        raise


def _decompressed_contents(source: Source, compression: str) -> Contents:
    first = first_bytes(source, FIRST_RECORDS_BYTES)
    if not first:
        raise CaptureError(f"is an empty {compression} file")
    inner = identify(first)
    if inner.kind is Kind.UNKNOWN and (fault := source.read_error_at(None)):
        raise fault
    return Contents(source, first, inner, compression)


@cache
def _keep_freed_memory() -> None:
    """Make the C library keep freed memory for the next window, instead of returning it after each.

    glibc keeps up to twice the size of the largest block that was ever freed. Measured on 400 MB of pcapng:
    0.14 s of system time instead of 0.34 s. No effect in other C libraries.
    """
    bytes(_KEPT_BYTES)  # its zeros are the kernel's; those of a bytearray are written: 2048 pages, 8 ms


def _reader_for(contents: Contents) -> Reader:
    source, first, found, _ = contents
    if found.kind is Kind.CLASSIC:
        return _classic_reader(source, first)
    if found.kind is Kind.PCAPNG:
        from pcapdj.capture.pcapng_reader import PcapngReader

        return PcapngReader(source)
    if found.kind is Kind.COMPRESSED:
        raise CaptureError(f"is compressed twice: {found.name} inside another compression")
    raise found.refusal


def _classic_reader(source: Source, first: bytes) -> Reader:
    """Return the reader of a classic pcap, unless its first records are those of a variant."""
    layout = parse_file_header(first)
    look = look_at_records(first, layout)
    if look.variant:
        raise Format(Kind.UNSUPPORTED, look.variant, CONVERT_PCAP).refusal
    has_packets = len(first) > FILE_HEADER_BYTES
    return ClassicReader(source, layout, has_packets=has_packets, hint=look.hint)
