"""The reader of a pcapng file: its packets as classic records, window by window.

A section's interfaces are described in blocks at any place of it. A reader that goes on in the middle of a
file walks the section once more, up to the last of those blocks before the place.
"""

from collections.abc import Iterator

from pcapdj.capture.pcap import BEGINNING, Place, StreamFormat
from pcapdj.capture.pcapng import BlockWalk, Section
from pcapdj.capture.reader import REWRITE_WINDOW_BYTES, WINDOW_BYTES, Piece, Source, Window
from pcapdj.capture.stream_options import accepts, linktype_mismatch
from pcapdj.capture.walk import ConvertedRecords
from pcapdj.runtime.errors import CaptureError, CutOff

_LOOK_BYTES = 1 << 20  # of the file decide link type and resolution of a stream that it begins


class PcapngReader:
    """Reads the packets of a pcapng file.

    Opening walks through the first window with a packet, which decides link type and timestamp resolution.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._walk = BlockWalk()
        first = self._first_window()
        self.native, self.has_packets = first.native, first.is_done
        self.snaplen: int | None = None
        self.place = BEGINNING

    @property
    def skipped(self) -> dict[int, int]:
        """Packets that the latest `pieces` skipped, by link type."""
        return self._walk.skipped

    def pieces(self, stream: StreamFormat, start: Place = BEGINNING) -> Iterator[Piece]:
        """Yield the packets from a place on that the stream accepts, window by window."""
        self._source.budget.begin(start.offset)
        self.place = start
        section = self._section_at(start) if start.offset else None
        self._walk = walk = BlockWalk(stream, section=section, skipped=start.skipped)
        has_any = bool(start.offset)
        size_bytes = REWRITE_WINDOW_BYTES if stream.rewrites else WINDOW_BYTES
        for piece in self._read(walk, start.offset, size_bytes):
            has_any = True
            yield piece
        has_fitting = has_any or any(accepts(stream, linktype) for linktype in walk.skipped)
        if walk.skipped and not has_fitting and self.native is not None:
            raise CaptureError(linktype_mismatch(self.native.linktype, stream.linktype))

    def close(self) -> None:
        """Stop using the file."""
        self._source.close()

    def _first_window(self) -> BlockWalk:
        """Return a walk through the first window with a packet; `pieces` reports damage again."""
        walk = BlockWalk()
        try:
            for _ in self._read(walk, 0, _LOOK_BYTES):
                pass
        except CaptureError:
            if walk.native is None:
                raise
        return walk

    def _section_at(self, place: Place) -> Section:
        """Return the section that a place is in, with the interfaces before the place."""
        walk, offset = BlockWalk(), place.section
        while offset < place.interfaces_end:
            size_bytes = min(WINDOW_BYTES, place.interfaces_end - offset)
            window, found = self._next_records(walk, offset, size_bytes)
            if found.stop or not found.end:
                raise self._source.read_error_at(offset) or CaptureError(
                    "changed while it was read", offset=offset
                )
            offset += found.end
            if spent := self._spent(walk, window.source_end):
                raise CaptureError(spent, offset=offset)
        return walk.section

    def _read(self, walk: BlockWalk, offset: int, size_bytes: int) -> Iterator[Piece]:
        while True:
            window, found = self._next_records(walk, offset, size_bytes)
            offset += found.end
            spent = self._spent(walk, window.source_end)
            if not walk.is_inside_block:
                section = walk.section
                self.place = Place(offset, section.start, section.interfaces_end, dict(walk.skipped))
            if found.totals.packets:
                yield Piece(found.data, found.totals, self.place, window.source_end)
            if reason := found.stop.reason if found.stop else spent:
                raise CaptureError(reason, offset=offset)
            if not found.end or walk.is_done:
                self._check_end(walk, window.data[found.end :], offset)
                return

    def _next_records(self, walk: BlockWalk, offset: int, size_bytes: int) -> tuple[Window, ConvertedRecords]:
        """Return a window of the file, and its records; a longer block gets a window of its own."""
        window = self._source.window(offset, size_bytes)
        found = walk.records(window.data, offset)
        if not found.end and found.stop is None and walk.needed_bytes(window.data) > len(window.data):
            window = self._source.window(offset, walk.needed_bytes(window.data))
            found = walk.records(window.data, offset)
        return window, found

    def _spent(self, walk: BlockWalk, read_bytes: int) -> str | None:
        """Count the latest window in the budget; return why the file is given up behind it, if it is."""
        budget = self._source.budget
        return budget.spend_blocks(
            walk.other_blocks, read_bytes, has_packet=walk.has_packet
        ) or budget.spend_packets(walk.packets, read_bytes)

    def _check_end(self, walk: BlockWalk, rest: bytes, offset: int) -> None:
        if walk.is_done:
            return
        if fault := self._source.read_error_at(offset):
            raise fault
        if reason := walk.cut_off(rest):
            raise CutOff(reason, offset=offset)
