"""The head of an HTTP/1.x message: whether bytes begin one, what it says, how its body is delimited. Pure.

Source: RFC 9112, "Message Format", "Message Body Length".
"""

import re
from dataclasses import dataclass

HEAD_LIMIT_BYTES = 16_384  # twice what common servers accept
URI_LIMIT = 2_048  # characters kept of a request's target: what browsers and servers agree on
FIELD_LIMIT = 255  # characters kept of a field's value, a host name's longest
MAX_LENGTH_DIGITS = 18  # of a Content-Length; more than any body that can exist

HEAD_END = re.compile(rb"\r?\n\r?\n")
_FIRST_LINE = re.compile(rb"HTTP/1\.\d \d{3}[ \r\n]|[A-Z][A-Z-]{0,19} [^\s]{1,16000} HTTP/1\.\d\r?\n")
_BEGINNING = re.compile(rb"[A-Z][A-Z-]{0,19}(?:[ /]|\Z)")
_FOLDED = re.compile(r"\r?\n[ \t]+")


@dataclass(frozen=True, slots=True)
class Request:
    """What a response must know of its request."""

    method: str
    uri: str
    host: str


@dataclass(frozen=True, slots=True)
class Head:
    """First line and fields of a message.

    Args:
        words: the first line at its blanks: method, target, version or version, status, reason.
        fields: name in lower case to value; repeated fields are joined by a comma.
    """

    words: tuple[str, ...]
    fields: dict[str, str]

    @property
    def is_response(self) -> bool:
        """Report whether this is the head of a response."""
        return self.words[0].startswith("HTTP/")

    @property
    def status(self) -> int:
        """Return the status code of a response."""
        return int(self.words[1][:3])

    def request(self) -> Request:
        """Return the request that this head makes."""
        return Request(method=self.words[0], uri=self.words[1][:URI_LIMIT], host=self.field("host"))

    def field(self, name: str) -> str:
        """Return a field's value, shortened for reports; empty if it is absent."""
        return self.fields.get(name, "")[:FIELD_LIMIT]


@dataclass(frozen=True, slots=True)
class Framing:
    """How a body ends; neither length nor chunks means with the connection.

    Args:
        length_bytes: from Content-Length.
        is_chunked: the last transfer coding is chunked.
        fault: what is contradictory about the framing; empty if nothing.
    """

    length_bytes: int | None = None
    is_chunked: bool = False
    fault: str = ""


NO_BODY = Framing(length_bytes=0)


def begins_message(data: bytes) -> bool:
    """Report whether these bytes begin with the whole first line of a request or response."""
    return _FIRST_LINE.match(data) is not None


def may_begin_message(data: bytes) -> bool:
    """Report whether these bytes, perhaps cut short, can be the beginning of a message."""
    return begins_message(data) or (b"\n" not in data and _BEGINNING.match(data) is not None)


def parse_head(data: bytes) -> Head:
    """Return the head in these bytes, which `begins_message` has accepted."""
    first, _, rest = data.decode("latin-1").partition("\n")
    fields: dict[str, str] = {}
    for line in _FOLDED.sub(" ", rest).split("\n"):
        name, colon, value = line.partition(":")
        if colon:
            key = name.strip().lower()
            fields[key] = f"{fields[key]}, {value.strip()}" if key in fields else value.strip()
    return Head(words=tuple(first.rstrip("\r").split(" ", 2)), fields=fields)


def request_framing(head: Head) -> Framing:
    """Return how a request's body ends; without a field that says so there is none."""
    framing = _declared(head)
    return framing or NO_BODY


def response_framing(head: Head, method: str | None) -> Framing:
    """Return how a response's body ends.

    Args:
        head: of the response.
        method: of its request; None if unknown.
    """
    if method == "HEAD" or head.status < 200 or head.status in (204, 304):  # noqa: PLR2004 - RFC 9112, 6.3
        return NO_BODY
    return _declared(head) or Framing()


def switches_protocol(head: Head, method: str | None) -> bool:
    """Report whether what follows this response is no HTTP any more."""
    return head.status == 101 or (method == "CONNECT" and 200 <= head.status < 300)  # noqa: PLR2004 - RFC 9110


def _declared(head: Head) -> Framing | None:
    """Return what the fields say; Transfer-Encoding overrides Content-Length."""
    coding = head.fields.get("transfer-encoding")
    if coding is not None:
        return Framing(is_chunked=coding.rsplit(",", 1)[-1].strip().lower() == "chunked")
    length = head.fields.get("content-length")
    if length is None:
        return None
    values = {value.strip() for value in length.split(",")}
    value = values.pop()
    if values or not (value.isascii() and value.isdigit()) or len(value) > MAX_LENGTH_DIGITS:
        return Framing(fault=f"Content-Length {length[:40]!r} is no length")
    return Framing(length_bytes=int(value))
