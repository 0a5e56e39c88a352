"""Writes several captures as one stream to a descriptor: the engine of `pcapdj cat`.

What is written was validated in memory first. write(2) is right for every output: pipes, files, sockets, and
readers of pipes that pass the pages on.
"""

import contextlib
import fcntl
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

from pcapdj.capture.anomalies import TIMES_AFTER_2038, Anomaly, anomalies_of
from pcapdj.capture.opening import Capture, open_capture
from pcapdj.capture.pcap import Bytes, StreamFormat, Totals
from pcapdj.capture.stream_options import StreamOptions
from pcapdj.capture.timestamps import DEFAULT_MAX_GAP_NS, find_jump, gap_ns
from pcapdj.runtime.errors import CaptureError, ReaderGone

Precision = Literal["us", "ns"] | None
PRECISIONS: Final[Mapping[str, Precision]] = {"": None, "us": "us", "ns": "ns"}
Report = Callable[[bytes, CaptureError | None, Totals, Sequence[Anomaly]], None]

_PIPE_BYTES = 1 << 20  # the most that an ordinary user may set


def concatenate(
    names: Sequence[bytes],
    out_fd: int,
    *,
    precision: Precision,
    report: Report,
    rewrites: bool = False,
) -> bool:
    """Write the records of all files, in this order, as one classic pcap.

    The first file with a packet decides the link type and, without `precision`, the timestamp resolution; if
    no file has one, the first that can be read. Of a damaged file all good records are written, of a file
    whose link type the stream does not accept none.

    Args:
        names: paths.
        out_fd: a pipe, a file, a socket or a device; blocking.
        precision: force microseconds or nanoseconds.
        report: called once per file with its fault, if it has one, the totals written of it, and its
            anomalies, a jump of the time since the previous file included; times after 2038 once in all.
        rewrites: rewrite packets of other link types to Ethernet; also a file that starts the stream.

    Returns:
        True if every file was written completely, with all packets and times; False also if the reader of
        `out_fd` closed it.
    """
    out = Output(out_fd)
    options = StreamOptions(precision or "first", "ethernet" if rewrites else "fail")
    stream: StreamFormat | None = None
    empty: StreamFormat | None = None  # of the first file without packets
    all_whole, has_late_times = True, False
    last_ts_ns: int | None = None
    for name in names:
        copy = _FileCopy(out, stream, options)
        try:
            damage = copy.run(name)
        except ReaderGone:
            return False
        stream, empty = copy.stream, empty or copy.empty
        anomalies = [
            each for each in copy.anomalies if not (has_late_times and each.event == TIMES_AFTER_2038)
        ]
        if jump := find_jump(gap_ns(last_ts_ns, copy.totals.first_ts_ns), DEFAULT_MAX_GAP_NS):
            anomalies = [Anomaly("timestamps_jump", jump.description), *anomalies]
        last_ts_ns = last_ts_ns if copy.totals.last_ts_ns is None else copy.totals.last_ts_ns
        report(name, damage, copy.totals, anomalies)
        has_late_times |= copy.totals.has_times_after_2038
        all_whole = all_whole and damage is None and not any(each.is_loss for each in anomalies)
    if stream is None and empty is not None:
        out.write(empty.header())
    return all_whole


class Output:
    """The output of the stream."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        with contextlib.suppress(OSError):  # no pipe, or no larger one: it is only slower
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def write(self, data: Bytes) -> None:
        """Write all of it.

        Raises:
            ReaderGone: the reader closed the output.
        """
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BrokenPipeError as exc:
                raise ReaderGone("the reader closed the output") from exc


class _FileCopy:
    """Writes the records of one file to the output."""

    def __init__(self, out: Output, stream: StreamFormat | None, options: StreamOptions) -> None:
        self._out = out
        self._options = options
        self.stream = stream
        self.empty: StreamFormat | None = None  # the stream that this file would begin, if it had a packet
        self.totals = Totals()
        self.anomalies: list[Anomaly] = []

    def run(self, name: bytes) -> CaptureError | None:
        """Write the file's records; return the file's fault, if it has one."""
        try:
            with open_capture(name, refuse_written=False) as capture:
                self._start_stream(capture)
                if self.stream is not None:
                    self._copy(capture, self.stream)
        except CaptureError as damage:
            return damage
        return None

    def _start_stream(self, capture: Capture) -> None:
        native = capture.native
        if self.stream is not None or native is None:
            return
        self.empty = self._options.format_of_first(native)
        if not capture.has_packets:
            return
        self.stream = self.empty
        self._out.write(self.stream.header())

    def _copy(self, capture: Capture, stream: StreamFormat) -> None:
        try:
            with contextlib.closing(capture.pieces(stream)) as pieces:
                for piece in pieces:
                    self._out.write(piece.data)
                    self.totals += piece.totals
        finally:
            self.anomalies = anomalies_of(self.totals, capture)
