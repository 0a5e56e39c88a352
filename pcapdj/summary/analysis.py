"""The whole analysis: the bytes of a stream as input; flows, objects and a summary as output. Pure."""

from pcapdj.runtime.errors import CaptureError
from pcapdj.summary.flows import FlowLimits, FlowTable
from pcapdj.summary.packets import UndecodableError, decode
from pcapdj.summary.results import Ended, FlowSummary, HttpObject, StreamSummary, iso_time
from pcapdj.summary.stream import Record, RecordCutter


class Analysis:
    """The analysis of one stream.

    Results before damage are kept: after `feed` raises, `finish` returns the summary.
    """

    def __init__(self, limits: FlowLimits | None = None) -> None:
        self._cutter = RecordCutter()
        self._table = FlowTable(limits)
        self._packets = self._captured_bytes = self._original_bytes = 0
        self._other_packets = self._undecodable_packets = self._fragments = 0
        self._first_ns: int | None = None
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
        self._table.finish("end of stream")
        return self._summary(ended, error)

    def take(self) -> tuple[list[FlowSummary], list[HttpObject]]:
        """Return the flows and objects that ended since the last call."""
        flows, objects = self._table.flows, self._table.objects
        self._table.flows, self._table.objects = [], []
        return flows, objects

    def _add(self, record: Record) -> None:
        time_ns, frame, original_bytes = record
        self._packets += 1
        self._captured_bytes += len(frame)
        self._original_bytes += original_bytes
        if self._first_ns is None:
            self._first_ns = time_ns
        self._last_ns = time_ns
        try:
            packet = decode(self._cutter.linktype or 0, frame)
        except UndecodableError:
            self._undecodable_packets += 1
            return
        if packet is None:
            self._other_packets += 1
            return
        self._fragments += packet.is_fragment
        self._table.add(packet, time_ns, original_bytes)

    def _summary(self, ended: Ended, error: str) -> StreamSummary:
        has_packets = self._first_ns is not None
        return StreamSummary(
            packets=self._packets,
            captured_bytes=self._captured_bytes,
            original_bytes=self._original_bytes,
            flows=self._table.ended_flows,
            objects=self._table.ended_objects,
            complete_objects=self._table.complete_objects,
            other_packets=self._other_packets,
            fragments=self._fragments,
            undecodable_packets=self._undecodable_packets,
            linktype=self._cutter.linktype,
            first_time=iso_time(self._first_ns or 0) if has_packets else None,
            last_time=iso_time(self._last_ns) if has_packets else None,
            ended=ended,
            error=error,
        )
