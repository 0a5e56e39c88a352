"""Messages of HTTP/1.x: the head, how it delimits the body, and the body as its bytes arrive. Pure.

The three kinds of body have one contract: `feed` takes bytes and returns (content, rest). Content belongs to
the body. `rest` is None until the body ends; then it is the bytes after the end, which may be empty. `skip`
steps over bytes that the capture does not have, and reports whether the framing is still known. `unfinished`
returns what is missing at the end. `lines` counts the lines of framing.

Source: RFC 9112, "Message Format", "Message Body Length", "Message Body" and "Chunked Transfer Coding".
"""

import re
from typing import NamedTuple

from pcapdj.runtime.numbers import counted

HEAD_LIMIT_BYTES = 16_384  # twice the limit of common servers
URI_LIMIT_CHARS = 2_048  # kept of a request's target: the usual limit of browsers and servers
FIELD_LIMIT_CHARS = 255  # kept of a field's value: the longest host name
MAX_LENGTH_DIGITS = 18  # of a Content-Length; longer bodies do not exist

HEAD_END = re.compile(rb"\r?\n\r?\n")
_FIRST_LINE = re.compile(rb"HTTP/1\.\d \d{3}[ \r\n]|[A-Z][A-Z-]{0,19} [^\s]{1,16000} HTTP/1\.\d\r?\n")
_BEGINNING = re.compile(rb"[A-Z][A-Z-]{0,19}(?:[ /]|\Z)")
BEGINNING_BYTES = 22  # of a first line that has no end yet: more of them change nothing
_FOLDED = re.compile(r"\r?\n[ \t]+")
FIELDS = ("host", "content-type", "content-encoding", "content-length", "transfer-encoding")  # those read
_FIELD = re.compile(rf"\n[^\S\n]*({'|'.join(FIELDS)})[^\S\n]*:(.*)", re.IGNORECASE)
LINE_LIMIT_BYTES = 4096  # of a chunk-size line with extensions, or of one trailer field
_KEPT_BYTES = 64  # of such a line while it is incomplete: the size is at its begin, and thousands may be open
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\Z")


class HttpRequest(NamedTuple):
    """The parts of a request that are reported with its response."""

    method: str
    uri: str
    host: str


class Head(NamedTuple):
    """First line and fields of a message.

    Args:
        words: the first line, split at blanks: method, target, version; or version, status, reason.
        fields: name in lower case to value, of `FIELDS`; repeated fields are joined by a comma.
        status: the status code of a response; 0 of a request.
    """

    words: list[str]
    fields: dict[str, str]
    status: int

    @property
    def is_response(self) -> bool:
        """Report whether this is the head of a response."""
        return self.words[0].startswith("HTTP/")

    def request(self) -> HttpRequest:
        """Return the request that has this head."""
        return HttpRequest(method=self.words[0], uri=self.words[1][:URI_LIMIT_CHARS], host=self.field("host"))

    def field(self, name: str) -> str:
        """Return a field's value, shortened for reports; empty if it is absent."""
        return self.fields.get(name, "")[:FIELD_LIMIT_CHARS]


class Framing(NamedTuple):
    """How a body ends; without length and chunks it ends with the connection.

    Args:
        length_bytes: from Content-Length.
        is_chunked: the last transfer coding is chunked.
        fault: what is wrong with the framing; empty if nothing.
    """

    length_bytes: int | None = None
    is_chunked: bool = False
    fault: str = ""


NO_BODY = Framing(length_bytes=0)


def begins_message(data: bytes) -> bool:
    """Report whether these bytes begin with the whole first line of a request or response."""
    return _FIRST_LINE.match(data) is not None


def may_begin_message(data: bytes) -> bool:
    """Report whether these bytes, which may be cut off, can be the beginning of a message."""
    return begins_message(data) or (b"\n" not in data and _BEGINNING.match(data) is not None)


def parse_head(data: bytes) -> Head:
    """Return the head in these bytes; `begins_message` must be true for them."""
    first, newline, rest = data.decode("latin-1").partition("\n")
    values: dict[str, list[str]] = {}
    for name, value in _FIELD.findall(newline + _FOLDED.sub(" ", rest)):
        values.setdefault(name.lower(), []).append(value.strip())
    words = first.rstrip("\r").split(" ", 2)
    status = int(words[1][:3]) if words[0].startswith("HTTP/") else 0
    return Head(words, {name: ", ".join(each) for name, each in values.items()}, status)


def request_framing(head: Head) -> Framing:
    """Return how a request's body ends; without a field that declares its length there is no body."""
    return _declared(head) or NO_BODY


def response_framing(head: Head, method: str | None) -> Framing:
    """Return how a response's body ends; `method` is None if its request is unknown."""
    if method == "HEAD" or head.status < 200 or head.status in (204, 304):  # noqa: PLR2004 - RFC 9112, 6.3
        return NO_BODY
    return _declared(head) or Framing()


def switches_protocol(head: Head, method: str | None) -> bool:
    """Report whether another protocol follows this response."""
    return head.status == 101 or (method == "CONNECT" and 200 <= head.status < 300)  # noqa: PLR2004 - RFC 9110


def _declared(head: Head) -> Framing | None:
    """Return the framing that the fields declare; Transfer-Encoding overrides Content-Length."""
    coding = head.fields.get("transfer-encoding")
    if coding is not None:
        return Framing(is_chunked=coding.rsplit(",", 1)[-1].strip().lower() == "chunked")
    length = head.fields.get("content-length")
    if length is None:
        return None
    values = {value.strip() for value in length.split(",")}
    value = values.pop()
    if values or not (value.isascii() and value.isdigit()) or len(value) > MAX_LENGTH_DIGITS:
        return Framing(fault=f"Content-Length {length[:40]!r} is not a number")
    return Framing(length_bytes=int(value))


class FramingError(ValueError):
    """The chunk framing is broken: the end of the body is unknown.

    Args:
        message: what is wrong.
        content: those of the bytes just fed that still belong to the body.
    """

    def __init__(self, message: str, content: list[bytes]) -> None:
        super().__init__(message)
        self.content = content


class LengthBody:
    """A body of known length."""

    __slots__ = ("_length_bytes", "_remaining")
    lines = 0

    def __init__(self, length_bytes: int) -> None:
        self._length_bytes = length_bytes
        self._remaining = length_bytes

    @property
    def is_done(self) -> bool:
        """Report whether all bytes have arrived."""
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
        """Count the gap as part of the body, unless it is longer than the rest of the body."""
        if missing_bytes > self._remaining:
            return False
        self._remaining -= missing_bytes
        return True

    def unfinished(self) -> str:
        """Return how much is missing."""
        if self.is_done:
            return ""
        return f"ended {counted(self._remaining, 'byte')} before its Content-Length of {self._length_bytes}"


class CloseBody:
    """A body that lasts until the connection closes."""

    __slots__ = ()
    is_done = False
    lines = 0

    def feed(self, data: bytes) -> tuple[list[bytes], bytes | None]:
        """Return everything as content."""
        return [data], None

    def skip(self, missing_bytes: int) -> bool:
        """Accept any gap: there is no framing."""
        del missing_bytes
        return True

    def unfinished(self) -> str:
        """Return nothing: the body ends when the connection closes."""
        return ""


class ChunkedBody:
    """A body in chunks, each after a line with its size; a trailer follows the last chunk."""

    __slots__ = ("_in_trailer", "_line", "_line_bytes", "_remaining", "is_done", "lines")

    def __init__(self) -> None:
        self._remaining = 0  # bytes of the present chunk still to come, without the CRLF after it
        self._line = b""  # the begin of a size or trailer line that is still incomplete
        self._line_bytes = 0  # how long it is so far
        self._in_trailer = False
        self.is_done = False
        self.lines = 0

    def feed(self, data: bytes) -> tuple[list[bytes], bytes | None]:
        """Return (content, rest).

        Raises:
            FramingError: a chunk size is not a number, or a line is too long.
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
            end = len(data) if newline < 0 else newline
            self._line += data[at : min(end, at + _KEPT_BYTES - len(self._line))]
            self._line_bytes += end - at
            if self._line_bytes > LINE_LIMIT_BYTES:
                raise FramingError("the line with a chunk's size is too long", content)
            if newline < 0:
                return content, None
            at = newline + 1
            if not self._end_line():
                raise FramingError("a chunk's size is not a number", content)
            if self.is_done:
                return content, data[at:]
        return content, None

    def skip(self, missing_bytes: int) -> bool:
        """Step over a gap inside one chunk; a longer gap loses the framing."""
        if self._line_bytes or missing_bytes > self._remaining:
            return False
        self._remaining -= missing_bytes
        return True

    def unfinished(self) -> str:
        """Return that the last chunk is missing."""
        return "" if self.is_done else "ended before its last chunk"

    def _end_line(self) -> bool:
        """Parse the line as size, blank or trailer line, whichever is due; report whether it is valid."""
        self.lines += 1
        line, self._line, self._line_bytes = self._line, b"", 0
        is_blank = not line.rstrip(b"\r")
        if self._in_trailer:
            self.is_done = is_blank
        elif not is_blank:  # a blank line ends the content of a chunk
            size = _CHUNK_SIZE.match(line)
            if size is None:
                return False
            self._remaining = int(size[1], 16)
            self._in_trailer = self._remaining == 0
        return True


Body = LengthBody | CloseBody | ChunkedBody


def body_of(framing: Framing) -> Body:
    """Return a new body with this framing."""
    if framing.is_chunked:
        return ChunkedBody()
    if framing.length_bytes is None:
        return CloseBody()
    return LengthBody(framing.length_bytes)
