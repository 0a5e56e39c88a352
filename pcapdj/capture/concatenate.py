"""Writes several captures as one stream to a descriptor: the engine of `pcapdj cat`.

The file's own bytes are moved by the fastest call that the output allows: splice(2) into a pipe,
copy_file_range(2) into a file, sendfile(2) elsewhere. If the kernel refuses a call, the next is tried;
write(2) always works.
"""

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Final, Literal

from pcapdj.capture.anomalies import TIMES_AFTER_2038, Anomaly, anomalies_of
from pcapdj.capture.opening import Capture, Piece, open_capture
from pcapdj.capture.pcap import StreamFormat, Totals
from pcapdj.capture.stream_options import StreamOptions
from pcapdj.runtime.errors import CaptureError, ReaderGone

Precision = Literal["us", "ns"] | None
PRECISIONS: Final[Mapping[str, Precision]] = {"": None, "us": "us", "ns": "ns"}
Report = Callable[[bytes, CaptureError | None, Totals, Sequence[Anomaly]], None]
Mover = Callable[[int, int, int, int], int]

_PIPE_BYTES = 1 << 20  # the most that an ordinary user may set
# For shorter files a thread gains nothing; a piece is about 1 MiB.
_LONG_BYTES, _PREFETCHED_PIECES = 4 << 20, 4
_REFUSALS = {errno.EINVAL, errno.ENOSYS, errno.EXDEV, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM}


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
            anomalies; times after 2038 once in all.
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
        report(name, damage, copy.totals, anomalies)
        has_late_times |= copy.totals.has_times_after_2038
        all_whole = all_whole and damage is None and not any(each.is_loss for each in anomalies)
    if stream is None and empty is not None:
        out.write(empty.header())
    return all_whole


class Output:
    """The output of the stream, and the calls that can move a file's bytes into it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._movers = _movers_for(fd)

    def write(self, data: bytes | bytearray | memoryview) -> None:
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

    def move(self, fd: int, offset: int, length_bytes: int) -> int:
        """Move bytes of a file; return how many: fewer only if the file became shorter.

        Raises:
            ReaderGone: the reader closed the output.
        """
        moved = 0
        while moved < length_bytes:
            count = self._move_some(fd, offset + moved, length_bytes - moved)
            if not count:
                break
            moved += count
        return moved

    def _move_some(self, fd: int, offset: int, length_bytes: int) -> int:
        while True:
            try:
                return self._movers[0](fd, self._fd, offset, length_bytes)
            except BrokenPipeError as exc:
                raise ReaderGone("the reader closed the output") from exc
            except OSError as exc:
                if exc.errno not in _REFUSALS or len(self._movers) == 1:
                    raise
                self._movers = self._movers[1:]


def _movers_for(fd: int) -> list[Mover]:
    """Return the calls that may work with this output, fastest first."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISFIFO(mode):
        _grow_pipe(fd)
        return [_splice, _write]
    return [_copy_range, _sendfile, _write] if stat.S_ISREG(mode) else [_sendfile, _write]


def _splice(source: int, out: int, offset: int, length_bytes: int) -> int:
    return os.splice(source, out, length_bytes, offset_src=offset)


def _copy_range(source: int, out: int, offset: int, length_bytes: int) -> int:
    return os.copy_file_range(source, out, length_bytes, offset_src=offset)


def _sendfile(source: int, out: int, offset: int, length_bytes: int) -> int:
    return os.sendfile(out, source, offset, length_bytes)


def _write(source: int, out: int, offset: int, length_bytes: int) -> int:
    return os.write(out, os.pread(source, length_bytes, offset))


def _grow_pipe(fd: int) -> None:
    """Make the pipe larger; if that fails, it is only slower."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


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
            with contextlib.closing(_pieces(capture, stream)) as pieces:
                for piece in pieces:
                    self._write_piece(capture, piece)
                    self.totals += piece.totals
        finally:
            self.anomalies = anomalies_of(self.totals, capture)
        if change := capture.change_since_opened():
            raise change

    def _write_piece(self, capture: Capture, piece: Piece) -> None:
        """Write a piece; if the file became shorter meanwhile, complete its last record with zeros."""
        if piece.offset is None:
            self._out.write(piece.data or b"")
            return
        moved = self._out.move(capture.fd, piece.offset, piece.length_bytes)
        if moved < piece.length_bytes:
            self._out.write(bytes(piece.missing_to_record_end(moved)))
            raise CaptureError("became shorter while it was read", offset=piece.offset + moved)


def _pieces(capture: Capture, stream: StreamFormat) -> Generator[Piece, None, None]:
    """Return the capture's pieces; for a long file the next pieces are made while one is written."""
    pieces = capture.pieces(stream)
    if capture.identity.size_bytes < _LONG_BYTES:
        return pieces
    from pcapdj.capture.prefetch import prefetched

    return prefetched(pieces, _PREFETCHED_PIECES)
