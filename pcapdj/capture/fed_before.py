"""Finds out whether a file is a capture that was fed: proven by the checksum of all its bytes.

What is suspected comes from `identity`: fed captures that begin like the file. Each of them was fed up to a
length. The file is read once, up to the largest of these lengths, and the checksum of its first bytes is
compared at each:

    fed A   |-------------|            checksum agrees: the file begins with A
    fed B   |----------------------|   does not agree: another capture, which only begins like this one
    file    |--------------------|

A file that cannot be read, or not decompressed, up to such a length is not proven to be a fed capture, and is
fed whole.
"""

from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Final, NamedTuple

from pcapdj.capture.checksum import ReadBytes, read_up_to
from pcapdj.capture.files import Identity, OpenFile
from pcapdj.capture.identity import FedCapture
from pcapdj.capture.opening import contents_of
from pcapdj.capture.storage import is_gone
from pcapdj.runtime.errors import CaptureError

if TYPE_CHECKING:
    from pcapdj.runtime.signals import Waits

_NO_BYTES: Final = ReadBytes({}, 0, is_damaged=False)


class SameCapture(NamedTuple):
    """The file is this capture, which was fed whole."""

    capture: FedCapture


class GrownCapture(NamedTuple):
    """The file begins with this capture; only what follows it is to be fed.

    It may be nothing: then the capture was cut off, and still is.
    """

    capture: FedCapture


class ShorterCapture(NamedTuple):
    """The file begins like this capture, which was fed, and is shorter; it is to be fed whole.

    That is only suspected, by the digest of the capture's beginning.
    """

    capture: FedCapture


Found = SameCapture | GrownCapture | ShorterCapture | None


def first_bytes_of(file: OpenFile, stops: "Waits | None" = None) -> bytes:
    """Return the first 64 KiB of a capture, decompressed; all of a shorter one.

    Args:
        file: open; still closed by the caller.
        stops: a stop signal ends reading.

    Raises:
        CaptureError: they cannot be read.
        Stopped: a stop signal arrived.
    """
    contents = contents_of(file, file.identity().size_bytes, stops)
    contents.source.close()
    return contents.first


def find_fed_capture(file: OpenFile, candidates: Sequence[FedCapture], stops: "Waits | None" = None) -> Found:
    """Return which of the candidates the file is, or begins with; None: none of them.

    The file is read, unless it has inode, size and time of a candidate.

    Args:
        file: open; still closed by the caller.
        candidates: fed captures that are kept under a digest of the file's beginning.
        stops: a stop signal ends reading.

    Raises:
        CaptureError: its storage is gone.
        Stopped: a stop signal arrived.
    """
    if not candidates:
        return None
    try:
        identity = file.identity()
        return unchanged(identity, candidates) or judge(candidates, _read(file, identity, candidates, stops))
    except CaptureError as exc:
        if is_gone(exc.error_number):  # once it is back, the file may be known
            raise
        return None


def unchanged(identity: Identity, candidates: Iterable[FedCapture]) -> SameCapture | GrownCapture | None:
    """Return the candidate that was fed from this very file, if the file has not changed since. Pure.

    The device is not compared: it may have another number after a restart of the machine.
    """
    found = [each for each in candidates if each.identity[1:] == identity[1:]]
    return _as_result(_longest(found), has_more=False) if found else None


def judge(candidates: Sequence[FedCapture], read: ReadBytes) -> Found:
    """Return which of the candidates a file is that was read up to the length of the longest. Pure."""
    proven = [each for each in candidates if read.crc32s.get(each.length_bytes) == each.crc32]
    if proven:
        longest = _longest(proven)
        has_more = read.length_bytes > longest.length_bytes or read.is_damaged
        return _as_result(longest, has_more=has_more)
    longer = [each for each in candidates if each.length_bytes > read.length_bytes]
    return ShorterCapture(_longest(longer)) if longer and not read.is_damaged else None


def _longest(captures: Sequence[FedCapture]) -> FedCapture:
    """Return the longest; of equally long ones a whole one, then the newest."""
    return max(captures, key=lambda each: (each.length_bytes, each.is_whole, each.time_s))


def _as_result(capture: FedCapture, *, has_more: bool) -> SameCapture | GrownCapture:
    return GrownCapture(capture) if has_more or not capture.is_whole else SameCapture(capture)


def _read(
    file: OpenFile, identity: Identity, candidates: Sequence[FedCapture], stops: "Waits | None"
) -> ReadBytes:
    contents = contents_of(file, identity.size_bytes, stops)
    with closing(contents.source):
        lengths = {each.length_bytes for each in candidates}
        if not contents.compression:  # its length is known: greater lengths are not compared
            lengths = {length for length in lengths if length <= identity.size_bytes}
        if not lengths:
            return _NO_BYTES._replace(length_bytes=identity.size_bytes)
        return read_up_to(contents.source, lengths)
