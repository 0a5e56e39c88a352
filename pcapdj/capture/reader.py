"""What readers of all formats share: windows of the capture as input, pieces of the stream as output.

A window is the bytes of the capture at an offset, read with pread(2) into memory that only this process has.
Never mmap: if the file became shorter, the kernel would end the process. A piece is whole, validated records
in the stream's format, made from one window. Exactly these bytes are sent, even if the file changes
afterwards. A piece fits into a batch (`feed.batches`).

With each piece comes the place behind it. A reader can continue there, also in another process.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from pcapdj.capture.budget import Budget
from pcapdj.capture.files import OpenFile
from pcapdj.capture.pcap import BEGINNING, Bytes, Place, StreamFormat, Totals
from pcapdj.runtime.errors import CaptureError, CutOff
from pcapdj.runtime.numbers import counted

if TYPE_CHECKING:  # `pcapdj cat` starts without it
    from pcapdj.runtime.signals import Waits

# What a pipe gets that the longest record, of 262,160 bytes, fits into: a power of two.
PIECE_BYTES: Final = 1 << 19
# Records of the usual size become no longer by conversion, so a window's records fit into a piece. It is no
# multiple of a page: else two buffers of this size often lie so that a copy from one to the other takes ten
# times as long (AMD Zen 3: where the target begins 1 to 63 bytes behind the source, modulo a page).
WINDOW_BYTES: Final = PIECE_BYTES - 1024
# A rewritten record grows from 17 bytes to 31 at most. The window may hold one longer record instead.
REWRITE_WINDOW_BYTES: Final = PIECE_BYTES // 2
_PAGE_BYTES: Final = 4096


class Window(NamedTuple):
    """Bytes of the (uncompressed) capture.

    Args:
        data: as many as requested, or all that can be read from the offset on.
        is_last: `data` reaches the end of the capture.
        source_end: how many bytes of the file on disk were read so far.
    """

    data: bytes
    is_last: bool
    source_end: int


class Source(Protocol):
    """The bytes of an open capture file, decompressed."""

    @property
    def budget(self) -> Budget:
        """What is read is counted in it; the reader renews it for each window with a packet."""

    def window(self, offset: int, size_bytes: int = WINDOW_BYTES) -> Window:
        """Return the bytes from `offset` on; it grows with each call, or starts at 0 again."""

    def skipped_bytes(self, offset: int, size_bytes: int) -> bytes:
        """Return bytes that a reader jumps over, in front of the next window; fewer at a fault.

        They are not counted in the budget if jumping over them costs nothing.
        """

    def read_error_at(self, offset: int | None) -> CaptureError | None:
        """Return why the latest window ends too early; None if the capture ends there.

        Args:
            offset: of the first record that is not whole, for faults that do not name a place themselves.
        """

    def close(self) -> None:
        """Stop using the file."""


class FileBytes:
    """Reads an open file up to the size that it had when it was opened.

    A read that fails is a fault, never an exception: the bytes before it are returned.

    Attributes:
        fault: why the file cannot be read any further.
    """

    def __init__(self, file: OpenFile, size_bytes: int) -> None:
        self._file = file
        self._size_bytes = size_bytes
        self._end = size_bytes  # of what can be read
        self.fault: CaptureError | None = None

    def read(self, offset: int, length_bytes: int) -> bytes:
        """Return the file's bytes; fewer at its end, or where a fault is."""
        data = b""
        while wanted_bytes := min(length_bytes, self._end - offset) - len(data):
            if wanted_bytes < 0:
                break
            part = self._read_some(offset + len(data), wanted_bytes)
            if not part and self.fault is None:
                self._end_at(offset + len(data))
            data = data + part if data else part
        return data

    def is_end(self, offset: int) -> bool:
        """Report whether the file ends at this offset, as it did when it was opened."""
        return offset >= self._size_bytes

    def _read_some(self, offset: int, length_bytes: int) -> bytes:
        try:
            return self._file.read(length_bytes, offset)
        except OSError:
            return self._read_pages(offset, length_bytes)

    def _read_pages(self, offset: int, length_bytes: int) -> bytes:
        """Read again what failed, page by page, up to the first one that fails."""
        data, position = b"", offset
        while position < offset + length_bytes:
            rest_of_page = _PAGE_BYTES - position % _PAGE_BYTES
            try:
                part = self._file.read(min(rest_of_page, offset + length_bytes - position), position)
            except OSError as exc:
                self._end = position
                self.fault = _read_error(position, exc)
                break
            if not part:
                break
            data, position = data + part, position + len(part)
        return data

    def _end_at(self, offset: int) -> None:
        """Set the fault of a file that gives no bytes before its end."""
        self._end = offset
        try:
            size_bytes = self._file.status().st_size
        except OSError as exc:
            self.fault = _read_error(offset, exc)
            return
        self.fault = size_change(self._size_bytes, size_bytes) or CaptureError(
            f"cannot be read at byte {offset}: its file system returns no bytes there"
        )


def _read_error(position: int, error: OSError) -> CaptureError:
    reason = f"cannot be read at byte {position}: {error.strerror}"
    return CaptureError(reason, error_number=error.errno or 0)


def size_change(before_bytes: int, now_bytes: int) -> CaptureError | None:
    """Return the error of a file whose size changed while it was read."""
    if before_bytes == now_bytes:
        return None
    error = CutOff if now_bytes > before_bytes else CaptureError
    return error(f"changed while it was read: {counted(before_bytes, 'byte')} became {now_bytes:,}")


class FileSource:
    """An uncompressed file.

    It looks for a stop signal before each window: a file may have many gigabytes without a packet for the
    stream.
    """

    def __init__(self, file: OpenFile, size_bytes: int, stops: "Waits | None" = None) -> None:
        self.budget = Budget()
        self._file = FileBytes(file, size_bytes)
        self._stops = stops

    def window(self, offset: int, size_bytes: int = WINDOW_BYTES) -> Window:
        """Return up to `size_bytes` from `offset` on.

        Raises:
            CaptureError: the budget is spent.
        """
        if self._stops:
            self._stops.wait(0)
        data = self._file.read(offset, size_bytes)
        if fault := self.budget.spend(read_bytes=len(data)):
            raise CaptureError(fault, offset=offset)
        end = offset + len(data)
        return Window(data, self._file.is_end(end), end)

    def skipped_bytes(self, offset: int, size_bytes: int) -> bytes:
        """Return up to `size_bytes` from `offset` on."""
        if self._stops:
            self._stops.wait(0)
        return self._file.read(offset, size_bytes)

    def read_error_at(self, offset: int | None) -> CaptureError | None:  # noqa: ARG002 - names its own place
        """Return why the file cannot be read any further."""
        return self._file.fault

    def close(self) -> None:
        """Do nothing: the descriptor belongs to the caller."""


def first_bytes(source: Source, size_bytes: int) -> bytes:
    """Return the beginning of a capture; shorter if no more can be read.

    Raises:
        CaptureError: nothing can be read.
    """
    first = source.window(0, size_bytes).data
    if not first and (fault := source.read_error_at(None)):
        raise fault
    return first


class Piece(NamedTuple):
    """Whole, validated records in the stream's format.

    Args:
        data: 1 to PIECE_BYTES.
        totals: of these records.
        after: where the next piece begins.
        source_end: how many bytes of the file on disk were read for it and all pieces before, for progress.
    """

    data: Bytes
    totals: Totals
    after: Place
    source_end: int


class Reader(Protocol):
    """Reads the records of a file in one format."""

    @property
    def native(self) -> StreamFormat | None:
        """The stream format that keeps the file without loss; None without packets and interfaces."""

    @property
    def has_packets(self) -> bool:
        """Whether the file has a packet, or bytes where one should be."""

    @property
    def skipped(self) -> Mapping[int, int]:
        """Packets skipped so far, by link type: not accepted by the stream, or impossible to rewrite."""

    @property
    def snaplen(self) -> int | None:
        """The file's snaplen in bytes; None where each interface has its own."""

    @property
    def place(self) -> Place:
        """How far the latest `pieces` came: behind the last good record or block."""

    def pieces(self, stream: StreamFormat, start: Place = BEGINNING) -> Iterator[Piece]:
        """Yield the records from a place on that the stream accepts.

        Raises:
            CaptureError: the stream accepts none of them, or the file is damaged behind the last piece.
        """

    def close(self) -> None:
        """Stop using the file."""
