"""The HTTP/1.x conversation of one connection: two byte directions in, finished response bodies out. Pure.

Rules
- Which direction asks and which answers is decided by what the bytes are, not by who opened the connection.
- Responses meet requests in order (pipelining). Where request bytes are missing the pairing is given up for
  the rest of the connection: no method is better than a wrong one.
- A body is hashed as it comes and never kept. An unfinished head is kept, at most `HEAD_LIMIT_BYTES`.
- After a gap, or bytes that are no HTTP, a direction is `SEEKING`, until a segment begins a message.
- A response without content (HEAD, 1xx, 204, 304, length 0) is no object.
"""

import hashlib
from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

from pcapdj.summary.body import Body, FramingError, body_of
from pcapdj.summary.message_head import (
    HEAD_END,
    HEAD_LIMIT_BYTES,
    Head,
    Request,
    begins_message,
    may_begin_message,
    parse_head,
    request_framing,
    response_framing,
    switches_protocol,
)

if TYPE_CHECKING:
    from hashlib import _Hash

REQUESTS_LIMIT = 256  # unanswered on one connection; browsers of the pipelining age kept to 8
REQUEST_COST_BYTES = 500  # measured: what a waiting request costs beside its texts


class Mode(Enum):
    """What a direction's next bytes are taken for."""

    MESSAGE = auto()  # inside a head or body, or between messages
    SEEKING = auto()  # until a segment begins a message
    OPAQUE = auto()  # another protocol took over (CONNECT, 101)


@dataclass(slots=True)
class Transfer:
    """One response body on its way; of its head only what is reported."""

    status: int
    content_type: str
    content_encoding: str
    request: Request | None
    server_side: int  # 0 or 1: which direction carries it
    first_ns: int
    last_ns: int
    digest: "_Hash" = field(default_factory=hashlib.sha256)
    size_bytes: int = 0
    missing_bytes: int = 0
    reason: str = ""

    def add(self, content: list[bytes], time_ns: int) -> None:
        """Take content as it comes."""
        for piece in content:
            self.digest.update(piece)
            self.size_bytes += len(piece)
        self.last_ns = time_ns

    def end(self, reason: str) -> None:
        """Say how it ended; missing bytes outweigh a regular end."""
        gap = f"{self.missing_bytes} bytes are missing in the capture" if self.missing_bytes else ""
        self.reason = self.reason or "; ".join(filter(None, (gap, reason)))


@dataclass(slots=True)
class _Lane:
    """One direction."""

    mode: Mode = Mode.MESSAGE
    head: bytes = b""  # not whole yet
    body: Body | None = None
    transfer: Transfer | None = None  # of responses only

    def lose(self) -> None:
        if self.mode is not Mode.OPAQUE:
            self.mode = Mode.SEEKING
        self.head, self.body, self.transfer = b"", None, None


class Conversation:
    """Both directions of one connection; finished bodies gather in `finished` until they are taken."""

    __slots__ = ("_lanes", "_requests", "finished", "queued_bytes")

    def __init__(self) -> None:
        self._lanes = (_Lane(), _Lane())
        self._requests: deque[Request] | None = deque()  # None: pairing was given up
        self.finished: list[Transfer] = []
        self.queued_bytes = 0

    @property
    def held_bytes(self) -> int:
        """Return what unfinished heads and waiting requests occupy."""
        return len(self._lanes[0].head) + len(self._lanes[1].head) + self.queued_bytes

    def data(self, side: int, data: bytes, time_ns: int) -> None:
        """Take the next bytes of one direction."""
        lane = self._lanes[side]
        if lane.mode is Mode.SEEKING and begins_message(data):
            lane.mode = Mode.MESSAGE
        rest: bytes | None = data
        while rest and lane.mode is Mode.MESSAGE:
            rest = self._body(lane, rest, time_ns) if lane.body else self._head(side, lane, rest, time_ns)

    def gap(self, side: int, missing_bytes: int) -> None:
        """Take note that bytes of one direction are missing in the capture."""
        lane = self._lanes[side]
        if lane.transfer:
            lane.transfer.missing_bytes += missing_bytes
        if lane.body and lane.body.skip(missing_bytes):
            if lane.body.is_done:
                self._finish(lane, "")
            return
        self._finish(lane, "")
        self._give_up_pairing()  # messages may be among what is missing
        lane.lose()

    def end(self, side: int, reason: str) -> None:
        """Close one direction.

        Args:
            side: 0 or 1.
            reason: why, if it is not the regular end of the connection; else empty.
        """
        lane = self._lanes[side]
        if lane.body:
            self._finish(lane, "; ".join(filter(None, (reason, lane.body.unfinished()))))
        lane.lose()

    def release(self) -> None:
        """Let go of all that `held_bytes` counts; bodies under way go on."""
        for lane in self._lanes:
            if lane.head:
                lane.lose()
        self._give_up_pairing()

    def _give_up_pairing(self) -> None:
        self._requests = None
        self.queued_bytes = 0

    def _head(self, side: int, lane: _Lane, data: bytes, time_ns: int) -> bytes | None:
        """Take bytes of a head; return those behind its end, None if it has not come."""
        held = lane.head + data if lane.head else data.lstrip(b"\r\n")
        if not held:
            return None
        end = HEAD_END.search(held)
        if end is None and may_begin_message(held) and len(held) <= HEAD_LIMIT_BYTES:
            lane.head = held
            return None
        if end is None or not begins_message(held):
            lane.lose()
            return None
        lane.head = b""
        head = parse_head(held[: end.start()])
        if head.is_response:
            self._response(side, lane, head, time_ns)
        else:
            self._request(lane, head)
        return held[end.end() :]

    def _request(self, lane: _Lane, head: Head) -> None:
        framing = request_framing(head)
        lane.body = None if framing.length_bytes == 0 else body_of(framing)
        if self._requests is None:
            return
        request = head.request()
        self._requests.append(request)
        self.queued_bytes += _cost_bytes(request)
        if len(self._requests) > REQUESTS_LIMIT:
            self._give_up_pairing()

    def _response(self, side: int, lane: _Lane, head: Head, time_ns: int) -> None:
        is_interim = head.status < 200 and head.status != 101  # noqa: PLR2004 - RFC 9110, 15.2
        request = None if is_interim else self._answered()
        method = request.method if request else None
        if switches_protocol(head, method):
            for each in self._lanes:
                each.lose()
                each.mode = Mode.OPAQUE
            return
        framing = response_framing(head, method)
        if framing.length_bytes == 0:
            return
        lane.body = body_of(framing)
        lane.transfer = Transfer(
            status=head.status,
            content_type=head.field("content-type"),
            content_encoding=head.field("content-encoding"),
            request=request,
            server_side=side,
            first_ns=time_ns,
            last_ns=time_ns,
            reason=framing.fault,
        )

    def _answered(self) -> Request | None:
        """Return the request that the next response answers, if it was seen."""
        if not self._requests:
            return None
        request = self._requests.popleft()
        self.queued_bytes -= _cost_bytes(request)
        return request

    def _body(self, lane: _Lane, data: bytes, time_ns: int) -> bytes | None:
        """Take bytes of a body; return those behind its end, None if it goes on."""
        if lane.body is None:
            return data
        try:
            content, rest = lane.body.feed(data)
        except FramingError as exc:
            if lane.transfer:
                lane.transfer.add(exc.content, time_ns)
            self._finish(lane, str(exc))
            lane.lose()
            return None
        if lane.transfer:
            lane.transfer.add(content, time_ns)
        if rest is not None:
            self._finish(lane, "")
        return rest

    def _finish(self, lane: _Lane, reason: str) -> None:
        if lane.transfer:
            lane.transfer.end(reason)
            self.finished.append(lane.transfer)
        lane.body, lane.transfer = None, None


def _cost_bytes(request: Request) -> int:
    return len(request.method) + len(request.uri) + len(request.host) + REQUEST_COST_BYTES
