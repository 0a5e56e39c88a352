"""The reader of a classic pcap: records as they are, with changed headers, or built anew.

All three ways walk the file once, window by window.
"""

from collections.abc import Iterator

from pcapdj.capture.convert import needs_rebuilding, rebuild_records, rewrite_headers, rewrite_window
from pcapdj.capture.pcap import BEGINNING, FILE_HEADER_BYTES, Layout, Place, StreamFormat
from pcapdj.capture.reader import REWRITE_WINDOW_BYTES, WINDOW_BYTES, Piece, Source, Window
from pcapdj.capture.stream_options import accepts, linktype_mismatch
from pcapdj.capture.walk import ConvertedRecords, cut_off, record_bytes, walk
from pcapdj.runtime.errors import CaptureError, CutOff


class ClassicReader:
    """Reads the records of a classic pcap.

    Args:
        source: the file's bytes.
        layout: of its records.
        has_packets: bytes follow its file header.
        hint: what may have damaged the file, if it is damaged.
    """

    def __init__(self, source: Source, layout: Layout, *, has_packets: bool, hint: str = "") -> None:
        self._source = source
        self.has_packets = has_packets
        self._hint = f"; {hint}" if hint else ""
        self._layout = layout
        self.native: StreamFormat | None = layout.native
        self.skipped: dict[int, int] = {}
        self.snaplen: int | None = layout.snaplen
        self.place = BEGINNING

    def pieces(self, stream: StreamFormat, start: Place = BEGINNING) -> Iterator[Piece]:
        """Yield the records from a place on, window by window."""
        self.skipped = dict(start.skipped)
        self._source.budget.begin(start.offset)
        if self.has_packets and not accepts(stream, self._layout.linktype):
            raise CaptureError(linktype_mismatch(self._layout.linktype, stream.linktype))
        offset = start.offset or FILE_HEADER_BYTES
        self.place = Place(offset, skipped=start.skipped)
        while True:
            window, found = self._next_records(offset, stream)
            offset += found.end
            self._source.budget.renew()
            packets = found.totals.packets + found.skipped
            spent = self._source.budget.spend_packets(packets, window.source_end)
            self.place = Place(offset, skipped=dict(self.skipped))
            if found.totals.packets:
                yield Piece(found.data, found.totals, self.place, window.source_end)
            if found.stop is not None:
                raise CaptureError(found.stop.reason + self._hint, offset=offset)
            if spent:
                raise CaptureError(spent, offset=offset)
            if not found.end:
                self._check_end(window.data, offset)
                return

    def close(self) -> None:
        """Stop using the file."""
        self._source.close()

    def _next_records(self, offset: int, stream: StreamFormat) -> tuple[Window, ConvertedRecords]:
        """Return a window of the file, and its records for the stream."""
        is_rebuilt = needs_rebuilding(self._layout, stream)
        window = self._source.window(offset, REWRITE_WINDOW_BYTES if is_rebuilt else WINDOW_BYTES)
        found = self._records(window, stream, is_rebuilt=is_rebuilt)
        needed_bytes = record_bytes(window.data, self._layout)
        if not found.end and found.stop is None and needed_bytes > len(window.data):
            window = self._source.window(offset, needed_bytes)
            found = self._records(window, stream, is_rebuilt=is_rebuilt)
        if found.skipped:
            linktype = self._layout.linktype
            self.skipped[linktype] = self.skipped.get(linktype, 0) + found.skipped
        return window, found

    def _records(self, window: Window, stream: StreamFormat, *, is_rebuilt: bool) -> ConvertedRecords:
        if is_rebuilt:
            return rebuild_records(window.data, self._layout, stream, is_last=window.is_last)
        if (fast := rewrite_window(window.data, self._layout, stream)).totals.packets:
            return fast
        walked = walk(window.data, self._layout, is_last=window.is_last)
        data, wrapped_times = rewrite_headers(memoryview(window.data)[: walked.end], self._layout, stream)
        totals = walked.totals._replace(wrapped_times=wrapped_times)
        return ConvertedRecords(walked.end, totals, walked.stop, data)

    def _check_end(self, rest: bytes, offset: int) -> None:
        if fault := self._source.read_error_at(offset):
            raise fault
        if rest:
            raise CutOff(cut_off(rest, self._layout) + self._hint, offset=offset)
