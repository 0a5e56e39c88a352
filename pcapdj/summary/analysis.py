"""The whole analysis: the bytes of a stream as input; flows, objects and a summary as output. Pure."""

from pcapdj.runtime.errors import CaptureError
from pcapdj.summary.flows import FlowLimits, FlowTable
from pcapdj.summary.packets import UndecodableError, decode
from pcapdj.summary.results import Ended, Results, StreamSummary, iso_time
from pcapdj.summary.stream import Record, RecordCutter


class Analysis:
    """The analysis of one stream.

    Results before damage are reported: after `feed` raises, `finish` returns the summary.

    Args:
        results: gets each flow and object when it ends.
        limits: of memory and work.
    """

    def __init__(self, results: Results, limits: FlowLimits | None = None) -> None:
        self._cutter = RecordCutter()
        self._table = FlowTable(results, limits)
        self._summary = StreamSummary()
        self._last_ns = 0

    def feed(self, chunk: bytes) -> None:
        """Analyze the next bytes of the stream.

        Raises:
            CaptureError: the stream is not a classic capture, or is damaged here.
        """
        for record in self._cutter.feed(chunk):
            self._add(record)

    def finish(self, ended: Ended, error: str = "") -> StreamSummary:
        """End all flows and return the summary.

        Args:
            ended: how the stream ended; `CLEAN` becomes `TORN` if the stream ends inside a record.
            error: the error of a torn stream.
        """
        if ended is Ended.CLEAN:
            try:
                self._cutter.close()
            except CaptureError as exc:
                ended, error = Ended.TORN, str(exc)
        table, summary = self._table, self._summary
        table.finish()
        summary.flows, summary.objects = table.ended_flows, table.ended_objects
        summary.complete_objects = table.complete_objects
        summary.unread_connections = table.unread_connections
        summary.linktype, summary.ended, summary.error = self._cutter.linktype, ended, error
        if summary.packets:
            summary.last_time = iso_time(self._last_ns)
        return summary

    def _add(self, record: Record) -> None:
        time_ns, frame, original_bytes = record
        summary, self._last_ns = self._summary, time_ns
        if not summary.packets:
            summary.first_time = iso_time(time_ns)
        summary.packets += 1
        summary.captured_bytes += len(frame)
        summary.original_bytes += original_bytes
        try:
            packet = decode(self._cutter.linktype or 0, frame)
        except UndecodableError:
            summary.undecodable_packets += 1
            return
        if packet is None:
            summary.other_packets += 1
            return
        summary.fragments += packet.is_fragment
        self._table.add(packet, time_ns, original_bytes)
