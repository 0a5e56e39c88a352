"""One TCP connection: each direction put back in order, and the HTTP in it. Pure.

Rules
- Sequence numbers are modulo 2^32; internally every position is an offset from the first byte, without wrap.
- A direction begins with its SYN, or with the first segment in the capture if that does not have the SYN.
- Bytes that were delivered never change. Of overlapping segments the one that begins first in the stream is
  used, and of segments that begin at the same byte the one captured first.
- Segments after a gap are held, at most `limit_bytes` with `SEGMENT_COST_BYTES` for each. Beyond that the gap
  is delivered as a `Gap`, and the stream continues after it.
- A FIN ends its direction when all bytes before it have arrived. A RST, an eviction or the end of the stream
  ends both directions at once, with their gaps.

Source: RFC 9293, "Sequence Numbers".
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from pcapdj.summary.http1 import Conversation, ResponseBody
from pcapdj.summary.http_work import WorkFund
from pcapdj.summary.packets import ACK, FIN, RST, SYN, Packet

SEQUENCE_SPACE = 1 << 32
SEGMENT_COST_BYTES = 150  # measured: memory of a held segment in addition to its bytes (CPython 3.11)
HELD_LIMIT_BYTES = 4 << 20  # per direction: more than a receiver's window of data after one lost segment


@dataclass(frozen=True, slots=True)
class Gap:
    """Bytes of the stream that the capture does not have."""

    missing_bytes: int


BytesOrGap = bytes | Gap


class TcpDirection:
    """One direction of a connection, put back in order; after a gap at most `limit_bytes` are held."""

    __slots__ = ("_arrivals", "_delivered", "_fin_at", "_first_seq", "_held", "_limit_bytes", "held_bytes")

    def __init__(self, limit_bytes: int = HELD_LIMIT_BYTES) -> None:
        self.held_bytes = 0
        self._limit_bytes = limit_bytes
        self._first_seq: int | None = None  # sequence number of offset 0
        self._delivered = 0
        self._fin_at: int | None = None
        self._held: list[tuple[int, int, bytes]] = []  # heap of (offset, arrival, payload)
        self._arrivals = 0

    @property
    def is_finished(self) -> bool:
        """Whether the FIN and all bytes before it have arrived."""
        return self._fin_at is not None and self._delivered >= self._fin_at

    def is_other_connection(self, syn_seq: int) -> bool:
        """Report whether a SYN with this sequence number opens another connection."""
        return self._first_seq is not None and (syn_seq + 1) % SEQUENCE_SPACE != self._first_seq

    def open(self, syn_seq: int) -> None:
        """Set the SYN's sequence number; later calls change nothing."""
        if self._first_seq is None:
            self._first_seq = (syn_seq + 1) % SEQUENCE_SPACE

    def add(self, seq: int, payload: bytes, *, fin: bool = False) -> list[BytesOrGap]:
        """Add a segment; return the bytes and gaps that can be delivered now.

        Args:
            seq: sequence number of the payload's first byte.
            payload: may be empty.
            fin: the segment has the FIN flag.
        """
        if self._first_seq is None:
            self._first_seq = seq
        distance = (seq - self._first_seq - self._delivered) % SEQUENCE_SPACE
        if distance >= SEQUENCE_SPACE >> 1:
            distance -= SEQUENCE_SPACE
        if fin and self._fin_at is None:
            self._fin_at = self._delivered + distance + len(payload)
        if distance > 0:
            return self._hold(self._delivered + distance, payload) if payload else []
        fresh = payload[-distance:] if distance else payload
        if not fresh:
            return []
        self._delivered += len(fresh)
        return [fresh, *self._contiguous()] if self._held else [fresh]

    def give_up(self) -> list[BytesOrGap]:
        """Return all held bytes, with their gaps."""
        pieces: list[BytesOrGap] = []
        while self._held:
            pieces += self._skip_gap()
        return pieces

    def _hold(self, offset: int, payload: bytes) -> list[BytesOrGap]:
        heapq.heappush(self._held, (offset, self._arrivals, payload))
        self._arrivals += 1
        self.held_bytes += len(payload) + SEGMENT_COST_BYTES
        pieces: list[BytesOrGap] = []
        while self.held_bytes > self._limit_bytes:
            pieces += self._skip_gap()
        return pieces

    def _skip_gap(self) -> list[BytesOrGap]:
        missing_bytes = self._held[0][0] - self._delivered
        self._delivered += missing_bytes
        return [Gap(missing_bytes), *self._contiguous()]

    def _contiguous(self) -> list[BytesOrGap]:
        """Return the held bytes that now follow without a gap."""
        pieces: list[BytesOrGap] = []
        while self._held and self._held[0][0] <= self._delivered:
            offset, _, payload = heapq.heappop(self._held)
            self.held_bytes -= len(payload) + SEGMENT_COST_BYTES
            fresh = payload[self._delivered - offset :]
            if fresh:
                self._delivered += len(fresh)
                pieces.append(fresh)
        return pieces


class TcpSession:
    """A connection from its first packet in the capture to its end.

    Args:
        report: gets the body of each HTTP response at its end.
        fund: of the stream's work; None: of this connection alone.
    """

    __slots__ = ("_conversation", "_directions", "end_reason")

    def __init__(self, report: Callable[[ResponseBody], None], fund: WorkFund | None = None) -> None:
        self._directions = (TcpDirection(), TcpDirection())
        self._conversation = Conversation(report, fund)
        self.end_reason = ""  # empty until it ends

    @property
    def held_bytes(self) -> int:
        """The memory of segments after gaps, incomplete heads and unanswered requests."""
        first, second = self._directions
        return first.held_bytes + second.held_bytes + self._conversation.held_bytes

    def is_reused_by(self, side: int, packet: Packet) -> bool:
        """Report whether this packet opens a new connection between the same ports."""
        if packet.flags & (SYN | ACK) != SYN:
            return False
        return bool(self.end_reason) or self._directions[side].is_other_connection(packet.seq)

    def add(self, side: int, packet: Packet, time_ns: int) -> None:
        """Add the next packet of one side, 0 or 1."""
        flags = packet.flags
        if self.end_reason or not (packet.payload or flags & (SYN | FIN | RST)):
            return
        direction = self._directions[side]
        seq = packet.seq
        if flags & SYN:
            direction.open(seq)
            seq += 1
            if not packet.payload:
                self._conversation.open()
        if packet.payload or flags & FIN:
            self._deliver(side, direction.add(seq, packet.payload, fin=bool(flags & FIN)), time_ns)
        if flags & RST:
            self.finish("connection reset", time_ns)
            self.end_reason = "reset"
        elif direction.is_finished:
            self._close(side)

    def release(self, time_ns: int) -> None:
        """Free all memory that `held_bytes` counts: gaps are delivered, incomplete heads dropped."""
        for side in (0, 1):
            self._deliver(side, self._directions[side].give_up(), time_ns)
        self._conversation.release()

    def finish(self, reason: str, time_ns: int) -> None:
        """End both directions.

        Args:
            reason: reported with each body that is incomplete because of it.
            time_ns: of the last packet.
        """
        if self.end_reason:
            return
        self.release(time_ns)
        for side in (0, 1):
            self._conversation.end(side, reason)
        self.end_reason = reason

    def _deliver(self, side: int, pieces: list[BytesOrGap], time_ns: int) -> None:
        for piece in pieces:
            if isinstance(piece, Gap):
                self._conversation.gap(side, piece.missing_bytes)
            else:
                self._conversation.data(side, piece, time_ns)

    def _close(self, side: int) -> None:
        self._conversation.end(side, "")
        if self._directions[1 - side].is_finished:
            self._directions = (TcpDirection(), TcpDirection())  # frees the held segments
            self._conversation.release()
            self.end_reason = "closed"
