"""Where a walk gets its bytes from: a window of the capture at an offset that only grows.

The bytes of a window stay as they are, whatever is asked for next. Never mmap: a file that shrinks would then
end the process.
"""

import os
from typing import NamedTuple, Protocol

from pcapdj.runtime.errors import CaptureError

# Measured best between 256 KiB and 4 MiB for header walks; bounds the memory of every kind of reading.
WINDOW_BYTES = 1 << 20


class Window(NamedTuple):
    """Bytes of the (uncompressed) capture.

    Args:
        data: at least WINDOW_BYTES, or all there is from the offset on.
        room_bytes: how far records may reach: to the end of the file if that is known, else of `data`.
        is_last: `data` reaches the end.
        source_end: how far into the file on disk reading is, in bytes.
    """

    data: bytes
    room_bytes: int
    is_last: bool
    source_end: int


class Source(Protocol):
    """A capture's bytes."""

    def window(self, offset: int) -> Window:
        """Return the bytes from `offset` on; it grows from call to call, or starts again."""

    @property
    def fault(self) -> str | None:
        """Why there is nothing beyond the last window though there should be; None if that is the end."""

    def close(self) -> None:
        """Stop using the file."""


class FileSource:
    """An uncompressed file of the size it had when it was opened; its position is never moved."""

    def __init__(self, fd: int, size_bytes: int) -> None:
        self._fd = fd
        self._size_bytes = size_bytes
        self.fault: str | None = None

    def window(self, offset: int) -> Window:
        """Return up to WINDOW_BYTES from `offset` on; fewer than expected mean that the file shrank."""
        rest_bytes = max(self._size_bytes - offset, 0)
        data = read_at(self._fd, min(WINDOW_BYTES, rest_bytes), offset)
        if len(data) < min(WINDOW_BYTES, rest_bytes):
            self.fault = (
                f"became shorter while it was read: {offset + len(data)} of {self._size_bytes} bytes are left"
            )
            rest_bytes = len(data)
        return Window(data, rest_bytes, len(data) == rest_bytes, offset + len(data))

    def close(self) -> None:
        """Do nothing: the file is used only while a window is asked for."""


def read_at(fd: int, length_bytes: int, offset: int) -> bytes:
    """Return a file's bytes without moving its position.

    Raises:
        CaptureError: the disk or the network file system reports an error.
    """
    try:
        return os.pread(fd, length_bytes, offset)
    except OSError as exc:
        raise CaptureError(f"cannot be read: {exc.strerror}", offset=offset) from exc
