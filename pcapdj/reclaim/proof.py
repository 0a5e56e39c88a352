"""Proves that a file is the capture that was fed: by the checksum of all its bytes, decompressed.

Inode, size and time only suspect it. A file may be written through a mapping long before its time changes, a
disk may return other bytes than were written, and a copy may have failed without an error.
"""

from contextlib import closing

from pcapdj.capture.checksum import read_up_to
from pcapdj.capture.files import OpenFile
from pcapdj.capture.opening import contents_of
from pcapdj.reclaim.folder import DAMAGED, UNREADABLE, Withheld
from pcapdj.reclaim.selection import FedRecord
from pcapdj.runtime.errors import CaptureError
from pcapdj.runtime.signals import Waits


def check_is_fed(file: OpenFile, fed: FedRecord, stops: Waits) -> None:
    """Read a whole file, and compare length and checksum with those of what was fed.

    Args:
        file: the capture or its copy, open.
        fed: what was fed.
        stops: a stop signal ends reading.

    Raises:
        Withheld: it is another one, has more, or cannot be read.
        Stopped: a stop signal arrived.
    """
    length_bytes = fed.length_bytes
    try:
        contents = contents_of(file, file.identity().size_bytes, stops)
        with closing(contents.source):
            read = read_up_to(contents.source, {length_bytes})
    except CaptureError as exc:
        raise Withheld(UNREADABLE) from exc
    if read.length_bytes != length_bytes or read.is_damaged or read.crc32s.get(length_bytes) != fed.crc32:
        raise Withheld(DAMAGED)


def is_compressed(file: OpenFile, stops: Waits) -> bool:
    """Report whether a capture is compressed.

    Args:
        file: the capture, open.
        stops: a stop signal ends reading.

    Raises:
        Withheld: it cannot be read.
        Stopped: a stop signal arrived.
    """
    try:
        contents = contents_of(file, file.identity().size_bytes, stops)
        contents.source.close()
    except CaptureError as exc:
        raise Withheld(UNREADABLE) from exc
    return bool(contents.compression)
