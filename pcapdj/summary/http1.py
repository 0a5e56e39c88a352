"""The HTTP/1.x conversation of one connection: the bytes of both directions in, response bodies out. Pure.

Rules
- The bytes decide which direction has the requests, not who opened the connection.
- Responses are paired with requests in order (pipelining). After missing request bytes pairing ends for the
  rest of the connection: an unknown method is better than a wrong one.
- A body is hashed as it arrives and never kept. An incomplete head is kept, at most `HEAD_LIMIT_BYTES`.
- After a gap, or bytes that are not HTTP, a direction is `SEEKING` until a segment begins a message.
- A response without content (HEAD, 1xx, 204, 304, length 0) is not an object.
- A connection with more and smaller messages and chunks than `http_work` allows is not read further.
"""

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

from pcapdj.runtime.numbers import counted
from pcapdj.summary.http_message import (
    BEGINNING_BYTES,
    HEAD_END,
    HEAD_LIMIT_BYTES,
    Body,
    FramingError,
    Head,
    HttpRequest,
    begins_message,
    body_of,
    may_begin_message,
    parse_head,
    request_framing,
    response_framing,
    switches_protocol,
)
from pcapdj.summary.http_work import BODY_BYTES, HEAD_BYTES, LINE_BYTES, WorkBudget, WorkFund

if TYPE_CHECKING:
    from hashlib import _Hash

REQUESTS_LIMIT = 256  # unanswered on one connection; browsers with pipelining sent at most 8
REQUEST_COST_BYTES = 500  # measured: memory of an unanswered request in addition to its texts
WINDOW_BYTES = 1 << 16  # looked at together: each message copies those behind it
NOT_READ = "not read to its end: too many small messages and chunks"


class Mode(Enum):
    """How the next bytes of a direction are read."""

    MESSAGE = auto()  # inside a head or body, or between messages
    SEEKING = auto()  # ignored until a segment begins a message
    OPAQUE = auto()  # ignored: another protocol follows (CONNECT, 101), or the messages are too many


@dataclass(slots=True)
class ResponseBody:
    """One response body, with the fields of its head that are reported."""

    status: int
    content_type: str
    content_encoding: str
    request: HttpRequest | None
    server_side: int  # 0 or 1: its direction
    first_ns: int
    last_ns: int
    digest: "_Hash" = field(default_factory=hashlib.sha256)
    size_bytes: int = 0
    missing_bytes: int = 0
    reason: str = ""

    def add(self, content: list[bytes], time_ns: int) -> None:
        """Add the next bytes of content."""
        for piece in content:
            self.digest.update(piece)
            self.size_bytes += len(piece)
        self.last_ns = time_ns

    def end(self, reason: str) -> None:
        """Set why it is incomplete; with missing bytes it always is."""
        missing = counted(self.missing_bytes, "byte is", "bytes are")
        gap = f"{missing} missing in the capture" if self.missing_bytes else ""
        self.reason = self.reason or "; ".join(filter(None, (gap, reason)))


@dataclass(slots=True)
class _Direction:
    """One direction."""

    mode: Mode = Mode.MESSAGE
    head: bytes = b""  # still incomplete
    has_first_line: bool = False  # of that head
    body: Body | None = None  # where it ends
    response: ResponseBody | None = None  # None for the body of a request

    def reset(self) -> None:
        if self.mode is not Mode.OPAQUE:
            self.mode = Mode.SEEKING
        self.head, self.has_first_line, self.body, self.response = b"", False, None, None


class Conversation:
    """Both directions of one connection.

    Args:
        report: gets each body at its end. None is kept: a segment of 32 bytes may have one.
        fund: of the stream's work; None: of this connection alone.
    """

    __slots__ = ("_budget", "_directions", "_report", "_requests", "queued_bytes")

    def __init__(self, report: Callable[[ResponseBody], None], fund: WorkFund | None = None) -> None:
        self._budget = WorkBudget(fund or WorkFund())
        self._directions = (_Direction(), _Direction())
        self._requests: deque[HttpRequest] | None = deque()  # None: no pairing any more
        self._report = report
        self.queued_bytes = 0

    @property
    def held_bytes(self) -> int:
        """The memory of incomplete heads and unanswered requests."""
        return len(self._directions[0].head) + len(self._directions[1].head) + self.queued_bytes

    def open(self) -> None:
        """Count a segment that opens the connection and has no bytes of it."""
        self._budget.earn(0)

    def data(self, side: int, data: bytes, time_ns: int) -> None:
        """Add the next bytes of one direction."""
        direction = self._directions[side]
        self._budget.earn(len(data))
        if direction.mode is Mode.SEEKING and begins_message(data):
            direction.mode = Mode.MESSAGE
        for at in range(0, len(data), WINDOW_BYTES):
            rest: bytes | None = data[at : at + WINDOW_BYTES]
            while rest and direction.mode is Mode.MESSAGE:
                rest = (
                    self._body(direction, rest, time_ns)
                    if direction.body
                    else self._head(side, direction, rest, time_ns)
                )

    def gap(self, side: int, missing_bytes: int) -> None:
        """Step over bytes of one direction that are missing in the capture."""
        direction = self._directions[side]
        if direction.response:
            direction.response.missing_bytes += missing_bytes
        if direction.body and direction.body.skip(missing_bytes):
            if direction.body.is_done:
                self._finish(direction, "")
            return
        self._finish(direction, "")
        self._end_pairing()  # the missing bytes may contain messages
        direction.reset()

    def end(self, side: int, reason: str) -> None:
        """Close one direction.

        Args:
            side: 0 or 1.
            reason: why, unless the connection was closed; else empty.
        """
        direction = self._directions[side]
        if direction.body:
            self._finish(direction, "; ".join(filter(None, (reason, direction.body.unfinished()))))
        direction.reset()

    def release(self) -> None:
        """Free all memory that `held_bytes` counts; unfinished bodies continue."""
        for direction in self._directions:
            if direction.head:
                direction.reset()
        self._end_pairing()

    def _pays(self, price_bytes: int) -> bool:
        """Pay for work; if the connection cannot, end its bodies, read it no further, and return False."""
        if self._budget.spend(price_bytes):
            return True
        for each in self._directions:
            self._finish(each, NOT_READ)
        self._ignore_all()
        self._end_pairing()
        return False

    def _ignore_all(self) -> None:
        for each in self._directions:
            each.reset()
            each.mode = Mode.OPAQUE

    def _end_pairing(self) -> None:
        self._requests = None
        self.queued_bytes = 0

    def _head(self, side: int, direction: _Direction, data: bytes, time_ns: int) -> bytes | None:
        """Read bytes of a head; return those after its end, None if it is incomplete."""
        known = len(direction.head)  # these bytes were looked at: a head may come in thousands of pieces
        held = direction.head + data if known else data.lstrip(b"\r\n")
        if not held:
            return None
        end = HEAD_END.search(held, max(0, known - 3))
        if end is None and len(held) <= HEAD_LIMIT_BYTES and self._may_continue(direction, held, known):
            direction.head = held
            return None
        if end is None or not begins_message(held):
            direction.reset()
            return None
        direction.head, direction.has_first_line = b"", False
        if not self._pays(HEAD_BYTES):
            return None
        head = parse_head(held[: end.start()])
        if head.is_response:
            self._response(side, direction, head, time_ns)
        else:
            self._request(direction, head)
        return held[end.end() :]

    @staticmethod
    def _may_continue(direction: _Direction, held: bytes, known: int) -> bool:
        """Report whether these bytes can be the beginning of a message."""
        if not direction.has_first_line and held.find(b"\n", known) < 0:
            return may_begin_message(held[:BEGINNING_BYTES])
        direction.has_first_line = direction.has_first_line or begins_message(held)
        return direction.has_first_line

    def _request(self, direction: _Direction, head: Head) -> None:
        framing = request_framing(head)
        direction.body = None if framing.length_bytes == 0 else body_of(framing)
        if self._requests is None:
            return
        request = head.request()
        self._requests.append(request)
        self.queued_bytes += _cost_bytes(request)
        if len(self._requests) > REQUESTS_LIMIT:
            self._end_pairing()

    def _response(self, side: int, direction: _Direction, head: Head, time_ns: int) -> None:
        is_interim = head.status < 200 and head.status != 101  # noqa: PLR2004 - RFC 9110, 15.2
        request = None if is_interim else self._next_request()
        method = request.method if request else None
        if switches_protocol(head, method):
            self._ignore_all()
            return
        framing = response_framing(head, method)
        if framing.length_bytes == 0 or not self._pays(BODY_BYTES):
            return
        direction.body = body_of(framing)
        direction.response = ResponseBody(
            status=head.status,
            content_type=head.field("content-type"),
            content_encoding=head.field("content-encoding"),
            request=request,
            server_side=side,
            first_ns=time_ns,
            last_ns=time_ns,
            reason=framing.fault,
        )

    def _next_request(self) -> HttpRequest | None:
        """Return the request of the next response; None if it is unknown."""
        if not self._requests:
            return None
        request = self._requests.popleft()
        self.queued_bytes -= _cost_bytes(request)
        return request

    def _body(self, direction: _Direction, data: bytes, time_ns: int) -> bytes | None:
        """Read bytes of a body; return those after its end, None if it continues."""
        body = direction.body
        if body is None:
            return data
        known, fault = body.lines, ""
        try:
            content, rest = body.feed(data)
        except FramingError as exc:
            content, rest, fault = exc.content, None, str(exc)
        if direction.response:
            direction.response.add(content, time_ns)
        if fault or rest is not None:
            self._finish(direction, fault)
        if fault:
            direction.reset()
        return rest if self._pays(LINE_BYTES * (body.lines - known)) else None

    def _finish(self, direction: _Direction, reason: str) -> None:
        if direction.response:
            direction.response.end(reason)
            self._report(direction.response)
        direction.body, direction.response = None, None


def _cost_bytes(request: HttpRequest) -> int:
    return len(request.method) + len(request.uri) + len(request.host) + REQUEST_COST_BYTES
