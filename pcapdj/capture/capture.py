"""An open capture file: its format, its records as pieces of a stream, and whether it changed since."""

from collections.abc import Generator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pcapdj.capture.files import Identity, OpenFile
from pcapdj.capture.pcap import BEGINNING, Place, StreamFormat
from pcapdj.capture.reader import Piece, Reader, size_change
from pcapdj.runtime.errors import CaptureError, CutOff

if TYPE_CHECKING:  # `pcapdj cat` starts without it
    from pcapdj.capture.checksum import ChecksummedSource

_DIGESTED_BYTES = 1 << 16


class Capture:
    """An open capture file; close it, or use it as a context manager.

    Attributes:
        first: its first 64 KiB, decompressed, or all of it.
        compression: of the file; empty: it is not compressed.
    """

    def __init__(  # noqa: PLR0913 - what a capture consists of
        self,
        name: bytes,
        file: OpenFile,
        identity: Identity,
        format_name: str,
        first: bytes,
        reader: Reader,
        checksums: "ChecksummedSource | None" = None,
        compression: str = "",
    ) -> None:
        self.name = name
        self.file = file
        self.identity = identity
        self.format_name = format_name
        self.first = first
        self.compression = compression
        self._reader = reader
        self._checksums = checksums
        self.rewrites = False
        self._digest = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._reader.close()
        self.file.close()

    @property
    def fd(self) -> int:
        """A descriptor of the file; -1 after `close`."""
        return self.file.descriptor

    @property
    def native(self) -> StreamFormat | None:
        """The file's own link type and resolution; None for a file without packets and interfaces."""
        return self._reader.native

    @property
    def has_packets(self) -> bool:
        """Whether the file has a packet, or bytes where one should be."""
        return self._reader.has_packets

    @property
    def skipped(self) -> Mapping[int, int]:
        """The number of packets that the latest `pieces` skipped, by link type."""
        return self._reader.skipped

    @property
    def snaplen(self) -> int | None:
        """The file's snaplen in bytes; None where each interface has its own."""
        return self._reader.snaplen

    @property
    def place(self) -> Place:
        """How far the latest `pieces` came: behind the last good record or block, at the end at best."""
        return self._with_checksum(self._reader.place)

    def pieces(self, stream: StreamFormat, start: Place = BEGINNING) -> Generator[Piece, None, None]:
        """Yield all good records from a place on, in order, as pieces.

        Raises:
            CaptureError: the stream accepts none of the packets (instead of the first piece), or the file is
                damaged or changed while it was read (after all good records; with the offset).
        """
        if self.native is None:
            return
        self.rewrites = stream.rewrites
        if self._checksums:
            self._checksums.begin(start)
        try:
            for piece in self._reader.pieces(stream, start):
                yield piece._replace(after=self._with_checksum(piece.after))
        except CaptureError as damage:
            if damage.offset is None:  # no damage of its content: it cannot be read, or does not fit
                raise
            raise self.change_since_opened() or damage from None
        if change := self.change_since_opened():
            raise change

    def _with_checksum(self, place: Place) -> Place:
        return place._replace(crc32=self._checksums.crc32_at(place.offset)) if self._checksums else place

    def digest(self) -> str:
        """Return a digest of the file's first 64 KiB on disk, read once; empty: they cannot be read."""
        from hashlib import sha256  # `pcapdj cat` starts without it

        length_bytes = min(_DIGESTED_BYTES, self.identity.size_bytes)  # it may have grown since
        if not self._digest:
            with suppress(OSError):
                self._digest = sha256(self.file.read(length_bytes, 0)).hexdigest()
        return self._digest

    def replace_by(self, other: "Capture") -> None:
        """Use the open file of another capture, which is the same one, from now on; that one is used up."""
        self.close()
        self.file, self.identity = other.file, other.identity
        self._reader, self._checksums = other._reader, other._checksums  # noqa: SLF001 - of the same class

    def change_since_opened(self) -> CaptureError | None:
        """Return the error if the file changed since it was opened; None if it did not."""
        return change_since(self.identity, self.file)


def change_since(before: Identity, file: OpenFile) -> CaptureError | None:
    """Return the error if an open file is not as it was; None if it is."""
    try:
        now = file.identity()
    except CaptureError as gone:
        return gone
    return None if now == before else _change(before, now)


def content_change(before: Identity, digest: str, capture: Capture) -> CaptureError | None:
    """Return the error if a capture that was opened again is another one; None: it is the same.

    Its file system may have been mounted again, so device and inode may have other numbers.

    Args:
        before: the identity that it had.
        digest: of its beginning then; empty: unknown.
        capture: as it is now.
    """
    now = capture.identity
    is_same = (now.size_bytes, now.mtime_ns) == (before.size_bytes, before.mtime_ns)
    if is_same and (not digest or digest == capture.digest()):
        return None
    return _change(before, now)


def _change(before: Identity, now: Identity) -> CaptureError:
    """Return the error of a file that changed while it was read.

    The checksum proves the part that was read: if the file still begins with it, it continues behind that.
    """
    return size_change(before.size_bytes, now.size_bytes) or CutOff("changed while it was read")
