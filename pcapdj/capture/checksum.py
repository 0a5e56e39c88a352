"""The CRC-32 of a capture's bytes, decompressed: the proof that a file is a capture that was fed.

The function of isal takes 0.1 s of CPU per GB, that of zlib 0.4 s; both compute the same number.

While a capture is fed its reader gets windows of it, and the checksum is computed of the same bytes. Windows
overlap, since the rest of a record is read again, and a reader of pcapng jumps over long blocks:

    windows      |-----------------|
                              |-----------------|          |-------------|
    checksum     |============|===============|==xxxxxxxxxx|====>
                                              ^ a place      x: read for the checksum only
"""

from collections.abc import Collection
from typing import Final, NamedTuple

from pcapdj.capture.budget import Budget
from pcapdj.capture.pcap import Place
from pcapdj.capture.reader import WINDOW_BYTES, Source, Window
from pcapdj.capture.storage import is_gone
from pcapdj.runtime.errors import CaptureError

try:
    from isal.isal_zlib import crc32
except ImportError:
    from zlib import crc32

__all__ = ["ChecksummedSource", "ReadBytes", "crc32", "read_up_to"]

# What may be read for the checksum only, beside as much as the reader reads: a file may have holes of
# terabytes that its blocks lead around.
_MOST_GAPS_BYTES: Final = 64 << 20


class ChecksummedSource:
    """A capture's bytes, and the checksum of those up to any place that its reader reaches.

    Args:
        inner: the bytes.

    Attributes:
        budget: that of `inner`.
    """

    def __init__(self, inner: Source) -> None:
        self._inner = inner
        self._window, self._window_start = b"", 0
        self._crc32: int | None = None  # of the bytes before `_end`
        self._starts: dict[int, int | None] = {}  # the checksum where the latest two windows begin
        self._end = self._gaps_bytes = self._windows_bytes = 0

    @property
    def budget(self) -> Budget:
        """It counts what is read."""
        return self._inner.budget

    def begin(self, place: Place) -> None:
        """Begin at a place; if its checksum is unknown, so are all later ones."""
        self._crc32 = place.crc32 if place.offset else 0
        self._end = place.offset
        self._window = b""
        self._starts = {}
        self._gaps_bytes = self._windows_bytes = 0

    def crc32_at(self, offset: int) -> int | None:
        """Return the checksum of all bytes before an offset.

        None: the place where reading began has no checksum, or too much has to be read.

        Args:
            offset: where one of the latest two windows begins, or not smaller than in any call before.
        """
        if offset < self._end:
            return self._starts.get(offset) if offset else 0  # nothing is before the beginning
        self._add_window(offset)
        while self._crc32 is not None and self._end < offset:
            self._add_gap(min(WINDOW_BYTES, offset - self._end))
        return self._crc32

    def window(self, offset: int, size_bytes: int = WINDOW_BYTES) -> Window:
        """Return the bytes from `offset` on, as `Source`."""
        if self._crc32 is not None:
            latest = list(self._starts.items())[-1:]
            self._starts = dict([*latest, (offset, self.crc32_at(offset))])
        window = self._inner.window(offset, size_bytes)
        self._window, self._window_start = window.data, offset
        self._windows_bytes += len(window.data)
        return window

    def skipped_bytes(self, offset: int, size_bytes: int) -> bytes:
        """Return bytes that a reader jumps over, as `Source`."""
        return self._inner.skipped_bytes(offset, size_bytes)

    def read_error_at(self, offset: int | None) -> CaptureError | None:
        """Return why the latest window ends too early, as `Source`."""
        return self._inner.read_error_at(offset)

    def close(self) -> None:
        """Stop using the file."""
        self._inner.close()

    def _add_window(self, end: int) -> None:
        """Add what the latest window has of the bytes up to `end`."""
        start = self._end - self._window_start
        if self._crc32 is not None and self._end < end and 0 <= start < len(self._window):
            part = memoryview(self._window)[start : end - self._window_start]
            self._crc32 = crc32(part, self._crc32)
            self._end += len(part)

    def _add_gap(self, size_bytes: int) -> None:
        self._gaps_bytes += size_bytes
        is_too_much = self._gaps_bytes > self._windows_bytes + _MOST_GAPS_BYTES
        data = b"" if is_too_much else self._inner.skipped_bytes(self._end, size_bytes)
        if data:
            self._crc32 = crc32(data, self._crc32 or 0)
            self._end += len(data)
        else:
            self._crc32 = None


class ReadBytes(NamedTuple):
    """What one read of a capture found.

    Args:
        crc32s: of the first bytes of the capture, by their number; without those that it does not have.
        length_bytes: that could be read; one more than the largest number, if it is longer.
        is_damaged: it cannot be read further, or its data is damaged there.
    """

    crc32s: dict[int, int]
    length_bytes: int
    is_damaged: bool


def read_up_to(source: Source, lengths_bytes: Collection[int]) -> ReadBytes:
    """Read a capture from its beginning up to the largest of these lengths, and one byte more.

    Args:
        source: its bytes. Up to that length none has to be in a packet.
        lengths_bytes: at which the checksum is noted.

    Raises:
        CaptureError: the file gives too little data for its size, or its storage is gone.
        Stopped: a stop signal arrived.
    """
    source.budget.begin(max(lengths_bytes))
    crc32s, checksum, position = dict[int, int](), 0, 0
    for length in sorted(lengths_bytes):
        while position < length:
            data = source.window(position, min(WINDOW_BYTES, length - position)).data
            if not data:
                return _read_bytes(crc32s, position, source.read_error_at(position))
            checksum, position = crc32(data, checksum), position + len(data)
            source.budget.renew()
        crc32s[length] = checksum
    position += len(source.window(position, 1).data)
    return _read_bytes(crc32s, position, source.read_error_at(position))


def _read_bytes(crc32s: dict[int, int], length_bytes: int, fault: CaptureError | None) -> ReadBytes:
    if fault and is_gone(fault.error_number):
        raise fault
    return ReadBytes(crc32s, length_bytes, is_damaged=fault is not None)
