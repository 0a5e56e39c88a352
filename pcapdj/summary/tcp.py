"""One direction of a TCP connection, put back in order. Pure: segments in, bytes and gaps out.

Rules
- Sequence numbers live modulo 2^32; inside, everything is an offset from the first byte, which never wraps.
- A direction begins with its SYN, or, where the capture came too late for that, with the first segment seen.
- Bytes once handed out stay: of overlapping segments the one that comes first in the stream wins, and among
  those that begin at the same byte the one captured first.
- Segments behind a hole are held, at most `limit_bytes` with `SEGMENT_COST_BYTES` for each. Beyond that
  the hole is handed out as a `Gap`, and the stream goes on behind it.
- A FIN counts when all bytes before it are there.

Source: RFC 9293, "Sequence Numbers".
"""

import heapq
from dataclasses import dataclass

SEQUENCE_SPACE = 1 << 32
SEGMENT_COST_BYTES = 150  # measured: what holding one segment costs beside its bytes (CPython 3.11)
HELD_LIMIT_BYTES = 4 << 20  # per direction: more than a receiver's window of data behind one lost segment


@dataclass(frozen=True, slots=True)
class Gap:
    """Bytes of the stream that the capture does not have."""

    missing_bytes: int


Piece = bytes | Gap


class Direction:
    """Where one direction stands.

    Args:
        limit_bytes: how much may be held behind a hole.
    """

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
        """Report whether the FIN and all bytes before it have been handed out."""
        return self._fin_at is not None and self._delivered >= self._fin_at

    def contradicts(self, syn_seq: int) -> bool:
        """Report whether a SYN with this sequence number begins another connection than this one."""
        return self._first_seq is not None and (syn_seq + 1) % SEQUENCE_SPACE != self._first_seq

    def open(self, syn_seq: int) -> None:
        """Take the SYN's sequence number; later ones change nothing."""
        if self._first_seq is None:
            self._first_seq = (syn_seq + 1) % SEQUENCE_SPACE

    def add(self, seq: int, payload: bytes, *, fin: bool = False) -> list[Piece]:
        """Return what can be handed out now that this segment is there.

        Args:
            seq: sequence number of the payload's first byte.
            payload: may be empty.
            fin: the segment ends the direction behind its payload.
        """
        if self._first_seq is None:
            self._first_seq = seq
        ahead = (seq - self._first_seq - self._delivered) % SEQUENCE_SPACE
        if ahead >= SEQUENCE_SPACE >> 1:
            ahead -= SEQUENCE_SPACE
        if fin and self._fin_at is None:
            self._fin_at = self._delivered + ahead + len(payload)
        if ahead > 0:
            return self._hold(self._delivered + ahead, payload) if payload else []
        fresh = payload[-ahead:] if ahead else payload
        if not fresh:
            return []
        self._delivered += len(fresh)
        return [fresh, *self._closed_up()] if self._held else [fresh]

    def give_up(self) -> list[Piece]:
        """Return all that is held, with a gap for each hole."""
        pieces: list[Piece] = []
        while self._held:
            pieces += self._skip_hole()
        return pieces

    def _hold(self, offset: int, payload: bytes) -> list[Piece]:
        heapq.heappush(self._held, (offset, self._arrivals, payload))
        self._arrivals += 1
        self.held_bytes += len(payload) + SEGMENT_COST_BYTES
        pieces: list[Piece] = []
        while self.held_bytes > self._limit_bytes:
            pieces += self._skip_hole()
        return pieces

    def _skip_hole(self) -> list[Piece]:
        missing_bytes = self._held[0][0] - self._delivered
        self._delivered += missing_bytes
        return [Gap(missing_bytes), *self._closed_up()]

    def _closed_up(self) -> list[Piece]:
        """Return the held bytes that now follow without a hole."""
        pieces: list[Piece] = []
        while self._held and self._held[0][0] <= self._delivered:
            offset, _, payload = heapq.heappop(self._held)
            self.held_bytes -= len(payload) + SEGMENT_COST_BYTES
            fresh = payload[self._delivered - offset :]
            if fresh:
                self._delivered += len(fresh)
                pieces.append(fresh)
        return pieces
