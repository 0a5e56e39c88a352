"""The three ways an HTTP/1.x body is delimited, as bytes come. Pure.

Contract of all three: `feed` takes bytes, returns (content, rest). Content belongs to the body; `rest` is
None while the body goes on, else the bytes behind its end, perhaps none. `skip` steps over bytes the capture
does not have and says whether the framing survives it. `unfinished` says what is missing at the end.

Source: RFC 9112, "Message Body" and "Chunked Transfer Coding".
"""

import re
from typing import Protocol

from pcapdj.summary.message_head import Framing

LINE_LIMIT_BYTES = 4096  # of a chunk-size line with extensions, or of one trailer field
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\Z")


class FramingError(ValueError):
    """The chunk framing is broken; where the body ends can no longer be known.

    Args:
        message: what is wrong.
        content: the bytes fed last that still belong to the body.
    """

    def __init__(self, message: str, content: list[bytes]) -> None:
        super().__init__(message)
        self.content = content


class Body(Protocol):
    """What the three have in common."""

    def feed(self, data: bytes) -> tuple[list[bytes], bytes | None]:
        """Return (content, rest); see the module's contract."""
        ...

    def skip(self, missing_bytes: int) -> bool:
        """Step over a gap; report whether what follows can still be understood."""
        ...

    @property
    def is_done(self) -> bool:
        """Report whether the body's end has been reached."""
        ...

    def unfinished(self) -> str:
        """Return why the body is not whole if the connection closes now; empty if it is."""
        ...


class LengthBody:
    """A body of known length."""

    __slots__ = ("_length_bytes", "_remaining")

    def __init__(self, length_bytes: int) -> None:
        self._length_bytes = length_bytes
        self._remaining = length_bytes

    @property
    def is_done(self) -> bool:
        """Report whether all bytes have come."""
        return self._remaining == 0

    def feed(self, data: bytes) -> tuple[list[bytes], bytes | None]:
        """Return (content, rest)."""
        if len(data) < self._remaining:
            self._remaining -= len(data)
            return [data], None
        content, rest = data[: self._remaining], data[self._remaining :]
        self._remaining = 0
        return [content], rest

    def skip(self, missing_bytes: int) -> bool:
        """Count the gap as part of the body, unless it is longer than what was still to come."""
        if missing_bytes > self._remaining:
            return False
        self._remaining -= missing_bytes
        return True

    def unfinished(self) -> str:
        """Return how much had come."""
        if self.is_done:
            return ""
        return f"ended {self._remaining} bytes before its Content-Length of {self._length_bytes}"


class CloseBody:
    """A body that lasts until the connection closes."""

    __slots__ = ()
    is_done = False

    def feed(self, data: bytes) -> tuple[list[bytes], bytes | None]:
        """Return everything as content."""
        return [data], None

    def skip(self, missing_bytes: int) -> bool:
        """Survive any gap: there is no framing to lose."""
        del missing_bytes
        return True

    def unfinished(self) -> str:
        """Return nothing: closing is how it ends."""
        return ""


class ChunkedBody:
    """A body in chunks, each with its size in front, with a trailer after the last one."""

    __slots__ = ("_in_trailer", "_line", "_remaining", "is_done")

    def __init__(self) -> None:
        self._remaining = 0  # bytes of the present chunk still to come, CRLF behind it not counted
        self._line = b""  # a size or trailer line that is not whole yet
        self._in_trailer = False
        self.is_done = False

    def feed(self, data: bytes) -> tuple[list[bytes], bytes | None]:
        """Return (content, rest).

        Raises:
            FramingError: a chunk size that is none, or a line that does not end.
        """
        content: list[bytes] = []
        at = 0
        while at < len(data):
            if self._remaining:
                piece = data[at : at + self._remaining]
                content.append(piece)
                self._remaining -= len(piece)
                at += len(piece)
                continue
            newline = data.find(b"\n", at)
            self._line += data[at:] if newline < 0 else data[at:newline]
            if len(self._line) > LINE_LIMIT_BYTES:
                raise FramingError("a chunk's size line does not end", content)
            if newline < 0:
                return content, None
            at = newline + 1
            if not self._end_line():
                raise FramingError("a chunk's size is no number", content)
            if self.is_done:
                return content, data[at:]
        return content, None

    def skip(self, missing_bytes: int) -> bool:
        """Step over a gap inside one chunk; beyond it the sizes are lost."""
        if self._line or missing_bytes > self._remaining:
            return False
        self._remaining -= missing_bytes
        return True

    def unfinished(self) -> str:
        """Return that the last chunk never came."""
        return "" if self.is_done else "ended before its last chunk"

    def _end_line(self) -> bool:
        """Take the line as what must stand here; report whether it could be."""
        line, self._line = self._line, b""
        is_blank = not line.rstrip(b"\r")
        if self._in_trailer:
            self.is_done = is_blank
        elif not is_blank:  # a blank one is the end of line behind a chunk's content
            size = _CHUNK_SIZE.match(line)
            if size is None:
                return False
            self._remaining = int(size[1], 16)
            self._in_trailer = self._remaining == 0
        return True


def body_of(framing: Framing) -> Body:
    """Return the body that this framing describes, at its beginning."""
    if framing.is_chunked:
        return ChunkedBody()
    if framing.length_bytes is None:
        return CloseBody()
    return LengthBody(framing.length_bytes)
