"""Reads a pcapng file: its blocks' packets as converted pieces."""

from collections.abc import Iterator

from pcapdj.capture.capture import Piece
from pcapdj.capture.pcap import StreamFormat
from pcapdj.capture.pcapng import BlockWalk
from pcapdj.capture.sources import Source
from pcapdj.capture.walk import Damage
from pcapdj.runtime.errors import CaptureError


class PcapngReading:
    """The packets of a pcapng file.

    Opening walks up to the first packet, which decides the link type and time resolution.
    """

    is_spliceable = False

    def __init__(self, source: Source) -> None:
        self._source = source
        self._walk = BlockWalk()
        self.native = self._find_native()

    @property
    def skipped(self) -> dict[int, int]:
        """Packets of other link types that the latest `pieces` left out."""
        return self._walk.skipped

    @property
    def wrapped_times(self) -> int:
        """Timestamps of the latest `pieces` that did not fit into 32 bits of seconds."""
        return self._walk.wrapped_times

    def pieces(self, stream: StreamFormat) -> Iterator[Piece]:
        """Yield the packets of the stream's link type, window by window."""
        self._walk = BlockWalk(stream)
        yield from self._batches(self._walk)

    def close(self) -> None:
        """Stop using the file."""
        self._source.close()

    def _find_native(self) -> StreamFormat | None:
        """Return the first packet's format, else the first interface's; damage shows again in `pieces`."""
        try:
            for _ in self._batches(self._walk):
                pass
        except CaptureError:
            if self._walk.first is None:
                raise
        return self._walk.first.native if self._walk.first is not None else None

    def _batches(self, walk: BlockWalk) -> Iterator[Piece]:
        offset = 0
        while True:
            window = self._source.window(offset)
            batch = walk.batch(window.data)
            if batch.totals.packets:
                yield Piece(batch.totals, len(batch.data), None, batch.data, window.source_end)
            offset += batch.end
            if isinstance(batch.stop, Damage):
                raise CaptureError(batch.stop.reason, offset=offset)
            if not batch.end or walk.is_done:
                self._refuse_rest(walk, window.data[batch.end :], offset)
                return

    def _refuse_rest(self, walk: BlockWalk, rest: bytes, offset: int) -> None:
        if walk.is_done:
            return
        reason = self._source.fault or walk.cut_off(rest)
        if reason is not None:
            raise CaptureError(reason, offset=offset)
