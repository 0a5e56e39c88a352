"""What the beginning of a file shows: that it is a capture, its first bytes, the time of its first packet.

A file is opened once; of a classic pcap 64 KiB are read, at most. Only the beginning is checked: damage
further on is found when the file is fed.
"""

from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from pcapdj.capture.files import Identity, OpenFile
from pcapdj.capture.formats import Kind
from pcapdj.capture.identity import FIRST_BYTES
from pcapdj.capture.opening import capture_of, contents_of, first_packet_time_ns
from pcapdj.capture.pcap import FILE_HEADER_BYTES, parse_file_header
from pcapdj.capture.walk import record_bytes, walk
from pcapdj.runtime.errors import CaptureError

if TYPE_CHECKING:
    from pcapdj.runtime.signals import Waits


class Beginning(NamedTuple):
    """What the beginning of a capture file shows.

    Args:
        identity: of the file when it was opened.
        first: the first 64 KiB of the decompressed capture; all of a shorter one.
        first_time_ns: of its first packet, since 1970; None: it has no valid packet.
        last_time_ns: of its last packet; None: unknown, because the file is longer, or not a plain pcap.
    """

    identity: Identity
    first: bytes
    first_time_ns: int | None
    last_time_ns: int | None


def look_at(name: bytes, file: OpenFile, stops: "Waits | None" = None) -> Beginning:
    """Return what the beginning of an open file shows.

    Args:
        name: of the file.
        file: closed by the caller, or here.
        stops: a stop signal ends reading.

    Raises:
        CaptureError: it cannot be read, or is not a supported capture.
        Stopped: a stop signal arrived.
    """
    identity = file.identity()
    contents = contents_of(file, identity.size_bytes, stops)
    with closing(contents.source):
        if not contents.compression and contents.format.kind in {Kind.UNSUPPORTED, Kind.UNKNOWN}:
            raise contents.format.refusal
        is_classic = contents.format.kind is Kind.CLASSIC
        time_ns, last_time_ns = _times_of(contents.first) if is_classic else (None, None)
    if time_ns is None:
        time_ns = _time_by_reader(name, file, stops, is_compressed=bool(contents.compression))
    return Beginning(identity, contents.first, time_ns, last_time_ns)


def _times_of(first: bytes) -> tuple[int | None, int | None]:
    """Return the times of a classic pcap's first and last record; None: its beginning does not show them."""
    try:
        layout = parse_file_header(first)
    except CaptureError:
        return None, None
    records = memoryview(first)[FILE_HEADER_BYTES:]
    length_bytes = record_bytes(records, layout)
    if not layout.is_plain or not 0 < length_bytes <= len(records):
        return None, None
    is_whole = len(first) < FIRST_BYTES
    totals = walk(bytes(records if is_whole else records[:length_bytes]), layout, is_last=True).totals
    return totals.first_ts_ns, totals.last_ts_ns if is_whole else None


def _time_by_reader(name: bytes, file: OpenFile, stops: "Waits | None", *, is_compressed: bool) -> int | None:
    try:
        with capture_of(name, file, stops) as capture:
            return first_packet_time_ns(capture)
    except CaptureError:
        if is_compressed:
            raise
        return None
