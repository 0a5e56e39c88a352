"""The order that people expect of rotated names: `cap2` before `cap10`. Rules only.

- Folders are compared part by part, so that what lies in one folder stays together.
- Runs of digits count as numbers, of any length; all other bytes as bytes, whatever their encoding.
- What stands before the extension is compared first, then the extension; an extension of compression counts
  for neither. So `x.pcap.gz` comes before `x.pcap1.gz` and that before `x.pcap10.gz`, as tcpdump rotates
  them.
- Names that are equal in this sense (`01` and `1`) are told apart by their bytes: the order is total.

Which files of the given paths are captures, and in which order they are fed.

A file is a capture by its first bytes, whatever its name. Hidden names in folders are left alone: rotation
tools hide a file while they write it. Links to files are followed, links to folders are not (they may lead in
a circle).
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from pcapdj.capture.files import Identity, StillWritten, identity_of, open_regular, refuse_if_written
from pcapdj.capture.formats import IDENTIFY_BYTES, Kind, identify
from pcapdj.capture.opening import first_packet_time_ns, identify_file, open_capture
from pcapdj.capture.reader import read_at
from pcapdj.runtime.errors import CaptureError
from pcapdj.runtime.safe_text import quoted

_DIGITS = re.compile(rb"([0-9]+)")
_COMPRESSIONS = (b".gz", b".bz2", b".xz", b".zst")

Chunk = bytes | tuple[int, bytes]
PartKey = tuple[tuple[Chunk, ...], tuple[Chunk, ...], bytes]


def natural_key(name: bytes) -> tuple[PartKey, ...]:
    """Return what to sort a path by."""
    return tuple(_part_key(part) for part in name.split(b"/"))


@lru_cache(maxsize=1024)  # the folders of ten thousand names are the same few
def _part_key(part: bytes) -> PartKey:
    stem, extension = _stem_and_extension(_without_compression(part))
    return _chunks(stem), _chunks(extension), part


def _without_compression(part: bytes) -> bytes:
    for compression in _COMPRESSIONS:
        if part.endswith(compression):
            return part.removesuffix(compression)
    return part


def _stem_and_extension(part: bytes) -> tuple[bytes, bytes]:
    stem, dot, extension = part.rpartition(b".")
    return (stem, extension) if dot else (part, b"")


def _chunks(text: bytes) -> tuple[Chunk, ...]:
    """Return text and numbers in turn, text first; a number as length and digits: int() has a limit."""
    pieces: list[Chunk] = list(_DIGITS.split(text))
    for index in range(1, len(pieces), 2):
        digits = bytes(pieces[index]).lstrip(b"0")  # type: ignore[arg-type]  # still bytes here
        pieces[index] = (len(digits), digits)
    return tuple(pieces)


_NAMED = 5  # refused files named at a time; the others are counted

Tracked = Callable[[Sequence[bytes]], Iterable[bytes]]


class Order(StrEnum):
    """By what captures are sorted."""

    NAME = "name"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class CaptureFile:
    """A file that begins like a capture, as it was when it was looked at."""

    name: bytes
    identity: Identity


@dataclass(frozen=True, slots=True)
class Refusal:
    """A file that is not taken.

    Args:
        name: its absolute path.
        reason: the rest of a sentence that begins with the name.
        is_asked_for: it was given by its name, rather than found in a folder.
    """

    name: bytes
    reason: str
    is_asked_for: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """What was found: the captures in order, and what is not taken."""

    files: tuple[CaptureFile, ...]
    refused: tuple[Refusal, ...]


def capture_files(
    paths: Sequence[bytes], *, recursive: bool, order: Order | None = None, tracked: Tracked = iter
) -> Listing:
    """Return the captures among the paths; each file once.

    Args:
        paths: files and folders; made absolute, links in them stay.
        recursive: look into folders within folders, too.
        order: of all files together; None keeps the paths in the order given, each folder in natural order.
        tracked: gets the names and yields them while they are looked at: a progress bar.
    """
    refused: list[Refusal] = []
    asked_for = _expanded(paths, refused, recursive=recursive)
    files = []
    for name in tracked(list(asked_for)):
        try:
            files.append(look_at(name))
        except CaptureError as exc:
            refused.append(Refusal(name, str(exc), asked_for[name]))
    return Listing(tuple(in_order(files, order, tracked) if order else files), tuple(refused))


def refusal_sentences(refused: Sequence[Refusal]) -> list[str]:
    """Return a sentence for each file that was asked for, and for a few of the others."""
    asked_for = [refusal for refusal in refused if refusal.is_asked_for]
    found = [refusal for refusal in refused if not refusal.is_asked_for]
    sentences = [f"{quoted(refusal.name)} {refusal.reason}." for refusal in asked_for + found[:_NAMED]]
    more = len(found) - _NAMED
    return (
        [*sentences, f"Nor are {more} more files captures that can be read here."] if more > 0 else sentences
    )


def in_order(files: Iterable[CaptureFile], order: Order, tracked: Tracked = iter) -> list[CaptureFile]:
    """Return the captures sorted by name, or by the time of their first packet.

    Captures without a readable packet have no time: they come last, in natural order.
    """
    by_name = sorted(files, key=lambda file: natural_key(file.name))
    if order is Order.NAME:
        return by_name
    times = {name: _first_time_ns(name) for name in tracked([file.name for file in by_name])}
    return sorted(by_name, key=lambda file: (times[file.name] is None, times[file.name] or 0))


def look_at(name: bytes, *, refuse_written: bool = False) -> CaptureFile:
    """Return the capture file that the name stands for.

    Only its beginning counts: what is damaged further on is the dispatcher's to tell.

    Raises:
        StillWritten: `refuse_written`, and a process has it open for writing.
        CaptureError: it cannot be read, or is no capture that is read here.
    """
    fd = open_regular(name)
    try:
        if refuse_written:
            _refuse_writer(fd)
        identity, first = identity_of(fd), read_at(fd, IDENTIFY_BYTES, 0)
    finally:
        os.close(fd)
    _refuse_content(name, first)
    return CaptureFile(name, identity)


def files_below(
    folder: bytes, *, recursive: bool, unreadable: Callable[[OSError], None] | None = None
) -> Iterator[bytes]:
    """Yield the names in a folder that are not hidden, in no order; if `recursive`, of its folders too."""
    for base, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = [inner for inner in folders if recursive and not is_hidden(inner)]
        yield from (os.path.join(base, name) for name in names if not is_hidden(name))  # noqa: PTH118 - bytes


def is_hidden(name: bytes) -> bool:
    """Report whether the last part of a path begins with a dot."""
    return os.path.basename(name).startswith(b".")  # noqa: PTH119 - bytes


def _expanded(paths: Sequence[bytes], refused: list[Refusal], *, recursive: bool) -> dict[bytes, bool]:
    """Return the absolute names of all files, and whether each was given by its name."""
    names: dict[bytes, bool] = {}
    for path in map(os.path.abspath, paths):
        if os.path.isdir(path):  # noqa: PTH112 - bytes
            found = files_below(path, recursive=recursive, unreadable=_noting(path, refused))
            names |= {name: names.get(name, False) for name in sorted(found, key=natural_key)}
        else:
            names[path] = True
    return names


def _noting(top: bytes, refused: list[Refusal]) -> Callable[[OSError], None]:
    def note(exc: OSError) -> None:
        folder = os.fsencode(exc.filename) if exc.filename else top
        reason = f"is a folder that cannot be read: {exc.strerror}"
        refused.append(Refusal(folder, reason, is_asked_for=folder == top))

    return note


def _refuse_writer(fd: int) -> None:
    """Raise if a process certainly has the file open for writing; where one cannot ask, the file passes."""
    try:
        refuse_if_written(fd, clock=lambda: 0.0)  # as if it had changed just now: age proves nothing here
    except StillWritten as exc:
        if exc.settles_in_s is None:
            raise


def _refuse_content(name: bytes, first: bytes) -> None:
    found = identify(first)
    if not first:
        raise CaptureError("is empty: 0 bytes")
    if found.kind is Kind.COMPRESSED:
        identify_file(name)
    elif found.kind is Kind.UNSUPPORTED:
        raise CaptureError(f"is {found.name}, which is not a supported format")
    elif found.kind is Kind.UNKNOWN:
        raise CaptureError("is not a supported capture format")


def _first_time_ns(name: bytes) -> int | None:
    try:
        with open_capture(name, refuse_written=False) as capture:
            return first_packet_time_ns(capture)
    except CaptureError:
        return None
