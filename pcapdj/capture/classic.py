"""Reads a classic pcap: as spans to splice where the stream has the same format, else converted.

All three ways walk the file once, a window at a time; none keeps more than a window.
"""

from collections.abc import Iterator

from pcapdj.capture.capture import Piece
from pcapdj.capture.convert import Batch, gather, needs_gathering, rewrite, rewritten
from pcapdj.capture.pcap import FILE_HEADER_BYTES, Layout, StreamFormat
from pcapdj.capture.sources import Source, Window
from pcapdj.capture.walk import Damage, Pause, Run, cut_off, walk
from pcapdj.runtime.errors import CaptureError


class ClassicReading:
    """The records of a classic pcap.

    Args:
        source: its bytes; is read from the start again by every `pieces`.
        layout: of its records.
        on_disk: the source's offsets are those of the file itself.
    """

    wrapped_times = 0

    def __init__(self, source: Source, layout: Layout, *, on_disk: bool) -> None:
        self._source = source
        self._layout = layout
        self.native: StreamFormat | None = layout.native
        self.is_spliceable = on_disk and layout.is_plain and not layout.big_endian
        self.skipped: dict[int, int] = {}

    def pieces(self, stream: StreamFormat) -> Iterator[Piece]:
        """Yield the records, window by window."""
        self.skipped = {}
        offset = FILE_HEADER_BYTES
        while True:
            window = self._source.window(offset)
            piece, end, stop = self._piece(window, offset, stream)
            if piece is not None:
                yield piece
            offset += end
            if isinstance(stop, Damage):
                raise CaptureError(stop.reason, offset=offset)
            if not end:
                self._refuse_rest(window.data[end:], offset)
                return

    def close(self) -> None:
        """Stop using the file."""
        self._source.close()

    def _piece(
        self, window: Window, offset: int, stream: StreamFormat
    ) -> tuple[Piece | None, int, Damage | Pause]:
        """Return the window's records, where they end in it, and why there."""
        if not needs_gathering(self._layout, stream):
            spliced = self.is_spliceable and stream.takes_unchanged(self.native)
            if not spliced and (batch := rewritten(window.data, self._layout, stream)).totals.packets:
                return _converted(batch, window), batch.end, batch.stop
            room_bytes = window.room_bytes if spliced else len(window.data)
            run = walk(window.data, self._layout, room_bytes=room_bytes, is_last=window.is_last)
            if run.totals.packets or run.stop is not Pause.NEEDS_CUTTING:
                piece = _spliced(run, window, offset) if spliced else self._rewritten(run, window, stream)
                return piece, run.end, run.stop
        batch = gather(window.data, self._layout, stream, is_last=window.is_last)
        self._count_skipped(batch.skipped)
        return _converted(batch, window) if batch.totals.packets else None, batch.end, batch.stop

    def _rewritten(self, run: Run, window: Window, stream: StreamFormat) -> Piece | None:
        if not run.totals.packets:
            return None
        data = rewrite(memoryview(window.data)[: run.end], self._layout, stream)
        return Piece(run.totals, run.end, None, data, window.source_end)

    def _count_skipped(self, packets: int) -> None:
        if packets:
            linktype = self._layout.linktype
            self.skipped[linktype] = self.skipped.get(linktype, 0) + packets

    def _refuse_rest(self, rest: bytes, offset: int) -> None:
        """Raise if the file should have gone on."""
        if self._source.fault is not None:
            raise CaptureError(self._source.fault, offset=offset)
        if rest:
            raise CaptureError(cut_off(rest, self._layout), offset=offset)


def _converted(batch: Batch, window: Window) -> Piece:
    return Piece(batch.totals, len(batch.data), None, batch.data, window.source_end)


def _spliced(run: Run, window: Window, offset: int) -> Piece | None:
    if not run.totals.packets:
        return None
    source_end = offset + run.end
    return Piece(run.totals, run.end, offset, None, source_end, window.data)
