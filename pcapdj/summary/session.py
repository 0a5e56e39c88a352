"""One TCP connection: two directions put in order, and the HTTP that they carry. Pure."""

from pcapdj.summary.http1 import Conversation, Transfer
from pcapdj.summary.packets import ACK, FIN, RST, SYN, Packet
from pcapdj.summary.tcp import Direction, Gap, Piece


class TcpSession:
    """State of a connection from the first packet seen to its end.

    Rules: a FIN ends its direction once all bytes before it are there; a RST, an eviction or the end of the
    stream ends both at once, holes and all.
    """

    __slots__ = ("_conversation", "_directions", "end_reason")

    def __init__(self) -> None:
        self._directions = (Direction(), Direction())
        self._conversation = Conversation()
        self.end_reason = ""  # empty while it lives

    @property
    def held_bytes(self) -> int:
        """Return what segments behind holes, unfinished heads and waiting requests occupy."""
        first, second = self._directions
        return first.held_bytes + second.held_bytes + self._conversation.held_bytes

    def is_reused_by(self, side: int, packet: Packet) -> bool:
        """Report whether this packet opens another connection between the same ports."""
        if packet.flags & (SYN | ACK) != SYN:
            return False
        return bool(self.end_reason) or self._directions[side].contradicts(packet.seq)

    def add(self, side: int, packet: Packet, time_ns: int) -> None:
        """Take the next packet of one side, 0 or 1."""
        flags = packet.flags
        if self.end_reason or not (packet.payload or flags & (SYN | FIN | RST)):
            return
        direction = self._directions[side]
        seq = packet.seq
        if flags & SYN:
            direction.open(seq)
            seq += 1
        if packet.payload or flags & FIN:
            self._take(side, direction.add(seq, packet.payload, fin=bool(flags & FIN)), time_ns)
        if flags & RST:
            self.finish("connection reset", time_ns)
            self.end_reason = "reset"
        elif direction.is_finished:
            self._close(side)

    def release(self, time_ns: int) -> None:
        """Let go of all that `held_bytes` counts: holes become gaps, unfinished heads are given up."""
        for side in (0, 1):
            self._take(side, self._directions[side].give_up(), time_ns)
        self._conversation.release()

    def finish(self, reason: str, time_ns: int) -> None:
        """End both directions where they are.

        Args:
            reason: why they do not go on; stands with each body that is cut by it.
            time_ns: of the last packet.
        """
        if self.end_reason:
            return
        self.release(time_ns)
        for side in (0, 1):
            self._conversation.end(side, reason)
        self.end_reason = reason

    def take_transfers(self) -> list[Transfer]:
        """Return the bodies that have ended since the last call."""
        finished = self._conversation.finished
        if finished:
            self._conversation.finished = []
        return finished

    def _take(self, side: int, pieces: list[Piece], time_ns: int) -> None:
        for piece in pieces:
            if isinstance(piece, Gap):
                self._conversation.gap(side, piece.missing_bytes)
            else:
                self._conversation.data(side, piece, time_ns)

    def _close(self, side: int) -> None:
        self._conversation.end(side, "")
        if self._directions[1 - side].is_finished:
            self._directions = (Direction(), Direction())  # frees what they held
            self._conversation.release()
            self.end_reason = "closed"
