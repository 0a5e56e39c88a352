"""Lists the capture files among paths, in the order in which they are fed, and why other files are refused.

A file is a capture file by its first bytes, whatever its name. Hidden names in folders are skipped: rotation
tools hide a file while they write it. Links to files are followed, links to folders are not (they may form a
circle).

Natural order is the order that people expect of rotated names, `cap2` before `cap10`:

- Folders are compared part by part, so the files of one folder stay together.
- Runs of digits compare as numbers of any length, all other bytes as bytes, whatever their encoding.
- The part before the extension is compared first, then the extension. The extension of a compression counts
  for neither: `x.pcap.gz` comes before `x.pcap1.gz` and that before `x.pcap10.gz`, as tcpdump rotates them.
- Names that are equal by these rules (`01` and `1`) are ordered by their bytes: the order is total.
"""

import errno
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from pcapdj.capture.files import Identity, OpenFile, StillWritten, open_regular, refuse_if_written
from pcapdj.capture.formats import IDENTIFY_BYTES, Kind, identify
from pcapdj.capture.opening import first_packet_time_ns, identify_file, open_capture
from pcapdj.capture.reader import FileSource, first_bytes
from pcapdj.runtime.errors import CaptureError
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.signals import Waits

_DIGITS = re.compile(rb"([0-9]+)")
_COMPRESSIONS = (b".gz", b".bz2", b".xz", b".zst")
MOST_LEVELS = 200  # of folders inside folders: watchdog recurses, and Python's limit is a thousand
_MOST_NAMED = 5  # refused files of folders that are named in one message; the others are counted

Track = Callable[[Sequence[bytes]], Iterable[bytes]]
Chunk = bytes | tuple[int, bytes]
PartKey = tuple[tuple[Chunk, ...], tuple[Chunk, ...], bytes]


class Order(StrEnum):
    """What captures are sorted by."""

    NAME = "name"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class CaptureFile:
    """A file that begins like a capture, and the identity that it had then."""

    name: bytes
    identity: Identity


@dataclass(frozen=True, slots=True)
class Refusal:
    """A file that is not a supported capture, or a folder that cannot be read.

    Args:
        name: its absolute path.
        reason: the rest of a sentence that begins with the name.
        is_named: the user named this path; else it was found in a folder.
    """

    name: bytes
    reason: str
    is_named: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """The captures, in order, and the refused files."""

    files: tuple[CaptureFile, ...]
    refused: tuple[Refusal, ...]


def list_captures(
    paths: Sequence[bytes], *, recursive: bool, order: Order | None = None, track: Track = iter
) -> Listing:
    """Return the captures among the paths, each file once.

    Args:
        paths: files and folders; made absolute, links in them stay.
        recursive: include folders inside folders.
        order: of all files together; None keeps the paths in the order given, each folder in natural order.
        track: yields the names one by one while their files are read, for a progress bar.
    """
    names, refused = _expand_folders(paths, recursive=recursive)
    files = []
    for name in track(list(names)):
        try:
            files.append(identify_capture(name))
        except CaptureError as exc:
            refused.append(Refusal(name, str(exc), is_named=names[name]))
    return Listing(tuple(sort_captures(files, order, track) if order else files), tuple(refused))


def refusal_sentences(refused: Sequence[Refusal]) -> list[str]:
    """Return a sentence for each named file, for a few of the others, and how many more there are."""
    named = [refusal for refusal in refused if refusal.is_named]
    found = [refusal for refusal in refused if not refusal.is_named]
    sentences = [f"{quoted(refusal.name)} {refusal.reason}." for refusal in named + found[:_MOST_NAMED]]
    if (more := len(found) - _MOST_NAMED) > 0:
        files = "1 more file was" if more == 1 else f"{more:,} more files were"
        sentences.append(f"{files} skipped: not supported captures.")
    return sentences


def sort_captures(
    files: Iterable[CaptureFile], order: Order, track: Track = iter, *, stops: Waits | None = None
) -> list[CaptureFile]:
    """Return the captures sorted by name, or by the time of their first packet.

    Captures without a readable packet have no time: they come last, in natural order.

    Raises:
        Stopped: `stops` saw a stop signal.
    """
    by_name = sorted(files, key=lambda file: natural_key(file.name))
    if order is Order.NAME:
        return by_name
    times = {name: _first_time_ns(name, stops) for name in track([file.name for file in by_name])}
    return sorted(by_name, key=lambda file: (times[file.name] is None, times[file.name] or 0))


def identify_capture(name: bytes, *, refuse_written: bool = False, stops: Waits | None = None) -> CaptureFile:
    """Return the capture file of this name.

    Only its beginning is read: the dispatcher finds and reports damage further on.

    Raises:
        StillWritten: `refuse_written`, and a process has it open for writing.
        CaptureError: it cannot be read, or is not a supported capture.
        Stopped: `stops` saw a stop signal.
    """
    file = OpenFile(open_regular(name))
    try:
        if refuse_written:
            _refuse_writer(file.descriptor)
        identity = file.identity()
        first = first_bytes(FileSource(file, identity.size_bytes), IDENTIFY_BYTES)
    finally:
        file.close()
    _refuse_content(name, first, stops)
    return CaptureFile(name, identity)


def list_folder(
    folder: bytes, *, recursive: bool, with_hidden: bool = False
) -> tuple[list[bytes], list[OSError]]:
    """Return the paths of the files in a folder that are not hidden, unsorted, and the errors met.

    A folder that is too deep is an error, and what is below it is not listed. Folders are looked into one
    after another, not inside one another: a program that recurses ends in a tree of a thousand folders.

    Args:
        folder: its path.
        recursive: include folders inside it that are not hidden, down to `MOST_LEVELS`.
        with_hidden: include what is hidden.
    """
    names: list[bytes] = []
    errors: list[OSError] = []
    waiting = [(folder, 0)]
    while waiting:
        path, level = waiting.pop()
        if level > MOST_LEVELS:
            errors.append(OSError(errno.ENAMETOOLONG, f"it is more than {MOST_LEVELS} levels deep", path))
            continue
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if is_hidden(entry.path) and not with_hidden:
                        continue
                    if not _is_folder(entry):
                        names.append(entry.path)
                    elif recursive and not entry.is_symlink():
                        waiting.append((entry.path, level + 1))
        except OSError as exc:
            errors.append(exc)
    return names, errors


def _is_folder(entry: "os.DirEntry[bytes]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads nowhere: opening it shows why
        return False


def is_hidden(name: bytes) -> bool:
    """Report whether the last part of a path begins with a dot."""
    return os.path.basename(name).startswith(b".")  # noqa: PTH119 - bytes


def _expand_folders(paths: Sequence[bytes], *, recursive: bool) -> tuple[dict[bytes, bool], list[Refusal]]:
    """Return the absolute name of each file to whether the user named it, and the unreadable folders."""
    names: dict[bytes, bool] = {}
    refused: list[Refusal] = []
    for path in map(os.path.abspath, paths):
        if not os.path.isdir(path):  # noqa: PTH112 - bytes
            names[path] = True
            continue
        found, errors = list_folder(path, recursive=recursive)
        names |= {name: names.get(name, False) for name in sorted(found, key=natural_key)}
        for error in errors:
            folder = os.fsencode(error.filename) if error.filename else path
            reason = f"is a folder that cannot be read: {error.strerror}"
            refused.append(Refusal(folder, reason, is_named=folder == path))
    return names, refused


def _refuse_writer(fd: int) -> None:
    """Raise if a process certainly has the file open for writing; if that cannot be found out, accept it."""
    try:
        refuse_if_written(fd, clock=lambda: 0.0)  # as if it had just changed: its age proves nothing here
    except StillWritten as exc:
        if exc.settles_in_s is None:
            raise


def _refuse_content(name: bytes, first: bytes, stops: Waits | None) -> None:
    found = identify(first)
    if not first:
        raise CaptureError("is empty: 0 bytes")
    if found.kind is Kind.COMPRESSED:
        identify_file(name, stops=stops)
    elif found.kind in {Kind.UNSUPPORTED, Kind.UNKNOWN}:
        raise CaptureError(found.refusal)


def _first_time_ns(name: bytes, stops: Waits | None) -> int | None:
    try:
        with open_capture(name, refuse_written=False, stops=stops) as capture:
            return first_packet_time_ns(capture)
    except CaptureError:
        return None


def natural_key(name: bytes) -> tuple[PartKey, ...]:
    """Return the key that sorts paths in natural order."""
    return tuple(_part_key(part) for part in name.split(b"/"))


@lru_cache(maxsize=1024)  # the folders of ten thousand names are the same few
def _part_key(part: bytes) -> PartKey:
    compression = next((each for each in _COMPRESSIONS if part.endswith(each)), b"")
    name = part.removesuffix(compression)
    stem, dot, extension = name.rpartition(b".")
    return _chunks(stem if dot else name), _chunks(extension if dot else b""), part


def _chunks(text: bytes) -> tuple[Chunk, ...]:
    """Return text and numbers in turn, text first; a number is (length, digits), as int() has a limit."""
    pieces: list[Chunk] = list(_DIGITS.split(text))
    for index in range(1, len(pieces), 2):
        digits = bytes(pieces[index]).lstrip(b"0")  # type: ignore[arg-type]  # still bytes here
        pieces[index] = (len(digits), digits)
    return tuple(pieces)
