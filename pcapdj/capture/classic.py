"""The reader of a classic pcap: spans to splice where the stream has the same format, else converted records.

There are three ways: splice, change the record headers of a window, or rebuild every record. All of them walk
the file once, window by window, and keep only one window in memory.
"""

from collections.abc import Iterator

from pcapdj.capture.convert import needs_rebuilding, rebuild_records, rewrite_headers, rewrite_window
from pcapdj.capture.pcap import FILE_HEADER_BYTES, Layout, StreamFormat
from pcapdj.capture.reader import Piece, Source, Window
from pcapdj.capture.stream_options import accepts, linktype_mismatch
from pcapdj.capture.walk import Batch, Damage, WalkResult, cut_off, walk
from pcapdj.runtime.errors import CaptureError


class ClassicReader:
    """Reads the records of a classic pcap.

    Args:
        source: the file's bytes; every call of `pieces` reads them from the start.
        layout: of its records.
        on_disk: offsets in the source are offsets in the file: it is not compressed.
        has_packets: bytes follow its file header.
        hint: what may have damaged the file, if it is damaged.
    """

    def __init__(
        self, source: Source, layout: Layout, *, on_disk: bool, has_packets: bool, hint: str = ""
    ) -> None:
        self._source = source
        self.has_packets = has_packets
        self._hint = f"; {hint}" if hint else ""
        self._layout = layout
        self.native: StreamFormat | None = layout.native
        self._is_spliceable = on_disk and layout.is_plain and not layout.big_endian
        self.skipped: dict[int, int] = {}
        self.snaplen: int | None = layout.snaplen

    def pieces(self, stream: StreamFormat) -> Iterator[Piece]:
        """Yield the records, window by window."""
        self.skipped = {}
        if self.has_packets and not accepts(stream, self._layout.linktype):
            raise CaptureError(linktype_mismatch(self._layout.linktype, stream.linktype))
        offset = FILE_HEADER_BYTES
        while True:
            window = self._source.window(offset)
            piece, end, damage = self._piece(window, offset, stream)
            if piece is not None:
                yield piece
            offset += end
            if damage is not None:
                raise CaptureError(damage.reason + self._hint, offset=offset)
            if not end:
                self._check_end(window.data[end:], offset)
                return

    def close(self) -> None:
        """Stop using the file."""
        self._source.close()

    def _piece(
        self, window: Window, offset: int, stream: StreamFormat
    ) -> tuple[Piece | None, int, Damage | None]:
        """Return the window's records, where they end in the window, and the damage there."""
        if needs_rebuilding(self._layout, stream):
            batch = rebuild_records(window.data, self._layout, stream, is_last=window.is_last)
            if batch.skipped:
                self.skipped[self._layout.linktype] = (
                    self.skipped.get(self._layout.linktype, 0) + batch.skipped
                )
            return self._converted(batch, window)
        spliced = self._is_spliceable and stream.takes_unchanged(self.native)
        if not spliced and (batch := rewrite_window(window.data, self._layout, stream)).totals.packets:
            return self._converted(batch, window)
        room_bytes = window.room_bytes if spliced else len(window.data)
        walked = walk(window.data, self._layout, room_bytes=room_bytes, is_last=window.is_last)
        piece = _spliced(walked, window, offset) if spliced else self._rewritten(walked, window, stream)
        return piece, walked.end, walked.stop

    def _converted(self, batch: Batch, window: Window) -> tuple[Piece | None, int, Damage | None]:
        piece = Piece(batch.totals, len(batch.data), None, batch.data, window.source_end)
        return piece if batch.totals.packets else None, batch.end, batch.stop

    def _rewritten(self, walked: WalkResult, window: Window, stream: StreamFormat) -> Piece | None:
        if not walked.totals.packets:
            return None
        data, wrapped_times = rewrite_headers(memoryview(window.data)[: walked.end], self._layout, stream)
        totals = walked.totals._replace(wrapped_times=wrapped_times)
        return Piece(totals, walked.end, None, data, window.source_end)

    def _check_end(self, rest: bytes, offset: int) -> None:
        if self._source.fault is not None:
            raise CaptureError(self._source.fault, offset=offset)
        if rest:
            raise CaptureError(cut_off(rest, self._layout) + self._hint, offset=offset)


def _spliced(walked: WalkResult, window: Window, offset: int) -> Piece | None:
    if not walked.totals.packets:
        return None
    source_end = offset + walked.end
    return Piece(walked.totals, walked.end, offset, None, source_end, window.data)
