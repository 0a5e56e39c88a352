"""Lists the capture files among paths, in the order in which they are fed, and why other files are refused.

A file is a capture file by its first bytes, whatever its name. Hidden names in folders are skipped: rotation
tools hide a file while they write it. Links to files are followed, links to folders are not (they may form a
circle).
"""

import errno
import os
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import NamedTuple

from pcapdj.capture.beginning import look_at
from pcapdj.capture.files import Identity, OpenFile, StillWritten, open_regular, refuse_if_written
from pcapdj.capture.identity import digest_of, looked_up_under
from pcapdj.capture.roots import root_of
from pcapdj.inbox.folder import Statuses, list_folder, open_to_look
from pcapdj.inbox.order import (
    Order,
    Times,
    given_order_note,
    in_natural_order,
    in_order_of_time,
    name_order_note,
)
from pcapdj.inbox.overlaps import Overlap, Span
from pcapdj.inbox.recent_captures import find_overlap
from pcapdj.inbox.skipped import Refusal, SkipReason
from pcapdj.runtime.errors import CaptureError, NotACapture
from pcapdj.runtime.numbers import counted
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.signals import Waits

Track = Callable[[Sequence[bytes]], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class CaptureFile:
    """A file that begins like a capture.

    Args:
        name: its absolute path.
        identity: that it had when it was looked at.
        first_time_ns: when its first packet is, since 1970; None: it has no good one.
        last_time_ns: when its last packet is; None: unknown.
        first_bytes: how many bytes of the decompressed capture `digest` is about; 0: it was not looked into.
        digest: of them.
        looked_up: digests of `capture.identity.looked_up_under`, separated by blanks: there are many files.
        root: the folder below which it is opened; None: wherever its name leads.
    """

    name: bytes
    identity: Identity
    first_time_ns: int | None = None
    last_time_ns: int | None = None
    first_bytes: int = 0
    digest: str = ""
    looked_up: str = ""
    root: bytes | None = None

    @property
    def span(self) -> Span | None:
        """When its packets are; None: it has no good one."""
        if self.first_time_ns is None:
            return None
        return Span(self.name, self.first_time_ns, self.last_time_ns, self.root)

    def opened(self) -> OpenFile:
        """Return the file of this name, opened again.

        Raises:
            CaptureError: it is gone, or does not lie below its root any more.
        """
        return OpenFile(open_regular(self.name, root=self.root))


class _Group(NamedTuple):
    """Files that stand next to each other: named ones, or those of a folder, in natural order."""

    names: list[bytes]
    is_folder: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """The captures of some paths.

    Args:
        files: in the order in which they are fed.
        refused: the files that are not fed.
        notes: what is unusual, in sentences.
        overlap: two files that overlap in time; None: none do.
    """

    files: tuple[CaptureFile, ...]
    refused: tuple[Refusal, ...]
    notes: tuple[str, ...] = ()
    overlap: Overlap | None = None

    @property
    def faults(self) -> list[Refusal]:
        """The refused files that make a command fail."""
        return [each for each in self.refused if each.is_fault]

    @property
    def skipped(self) -> list[Refusal]:
        """The refused files of folders that are no captures."""
        return [each for each in self.refused if not each.is_fault]


def list_captures(  # noqa: PLR0913 - what a command asks for
    paths: Sequence[bytes],
    *,
    recursive: bool,
    order: Order | None = None,
    track: Track = iter,
    leave_out: Callable[[Sequence[bytes]], Collection[bytes]] = lambda _: (),
    roots: Sequence[bytes] = (),
) -> Listing:
    """Return the captures among the paths, each file once.

    Args:
        paths: files and folders; made absolute, links in them stay.
        recursive: include folders inside folders.
        order: of all files together. None: the paths stay in the order given, and the files of each folder
            are in the order of their first packets.
        track: yields the names one by one while their files are read, for a progress bar.
        leave_out: gets all names, and returns those whose files are not looked into.
        roots: no other file is opened; empty: any.
    """
    groups, refused, skipped = _expand_folders(paths, recursive=recursive, roots=roots)
    named = set(map(os.path.abspath, paths))
    files: dict[bytes, CaptureFile] = {}
    names = [name for group in groups for name in group.names]
    left_out = set(leave_out(names))
    for name in track([name for name in names if name not in left_out]):
        try:
            files[name] = look_at_capture(name, roots=roots)
        except CaptureError as exc:
            is_gone = exc.error_number == errno.ENOENT  # it was listed: nobody knows what it was
            is_link = bool(roots) and _is_link(name, roots)  # it may be a capture
            is_fault = name in named or is_gone or is_link or not isinstance(exc, NotACapture)
            refused.append(Refusal(name, str(exc), is_fault=is_fault))
    times = {} if order is Order.NAME else {name: file.first_time_ns for name, file in files.items()}
    groups = [each._replace(names=[name for name in each.names if name in files]) for each in groups]
    names, notes = _ordered(groups, order, times)
    captures = tuple(files[name] for name in names)
    overlap = find_overlap([file.span for file in captures if file.span])
    notes += (overlap.sentence,) if overlap else ()
    return Listing(captures, tuple(refused), (*_repeated(paths, roots), *skipped, *notes), overlap)


def _repeated(paths: Sequence[bytes], roots: Sequence[bytes]) -> Iterator[str]:
    """Yield a sentence for each file that is named more than once."""
    for name, count in Counter(map(os.path.abspath, paths)).items():
        if count > 1 and not _is_folder(name, roots):
            yield f"{quoted(name)} is named {count} times: it is fed once."


def _ordered(
    groups: Sequence[_Group], order: Order | None, times: Times
) -> tuple[list[bytes], tuple[str, ...]]:
    """Return the names in the order in which they are fed, and what is unusual about it."""
    if order:
        by_name = in_natural_order(name for group in groups for name in group.names)
        if order is Order.NAME:
            return by_name, ()
        groups = [_Group(by_name, is_folder=True)]
    names = [
        name
        for group in groups
        for name in (in_order_of_time(group.names, times) if group.is_folder else group.names)
    ]
    given = [name for group in groups if not group.is_folder for name in group.names]
    by_time = [group.names for group in groups if group.is_folder]
    notes = [given_order_note(given, times), *(name_order_note(each, times) for each in by_time)]
    return names, tuple(filter(None, notes))


def sort_captures(files: Sequence[CaptureFile], order: Order) -> tuple[list[CaptureFile], str]:
    """Return the captures sorted by name, or by the time of their first packet, and what is unusual."""
    of_name = {file.name: file for file in files}
    by_name = in_natural_order(of_name)
    if order is Order.NAME or len(files) == 1:
        return [of_name[name] for name in by_name], ""
    times = {file.name: file.first_time_ns for file in files}
    return [of_name[name] for name in in_order_of_time(by_name, times)], name_order_note(by_name, times)


def look_at_capture(
    name: bytes,
    *,
    roots: Sequence[bytes] = (),
    refuse_written: bool = False,
    stops: Waits | None = None,
    is_suspect: bool = False,
) -> CaptureFile:
    """Return the capture file of this name.

    Args:
        name: absolute.
        roots: as the dispatcher has them: a file outside, or behind a link, is not opened.
        refuse_written: refuse a file that a process has open for writing.
        stops: shows stop signals.
        is_suspect: nothing of it is read. Else only its beginning is: the dispatcher finds and reports
            damage further on.

    Raises:
        StillWritten: `refuse_written`, and a process has it open for writing.
        CaptureError: it cannot be read, lies outside of the roots, or is not a supported capture.
        Stopped: `stops` saw a stop signal.
    """
    root = root_of(name, roots)
    file = OpenFile(open_regular(name, root=root))
    try:
        if refuse_written:
            _refuse_writer(file.descriptor)
        if is_suspect:
            return CaptureFile(name, file.identity(), root=root)
        identity, first, first_time_ns, last_time_ns = look_at(name, file, stops)
    finally:
        file.close()
    digests = looked_up_under(first)
    digest = digests[0].rpartition(":")[2] if digests else digest_of(first)
    looked_up = " ".join(digests)
    return CaptureFile(name, identity, first_time_ns, last_time_ns, len(first), digest, looked_up, root)


def _expand_folders(
    paths: Sequence[bytes], *, recursive: bool, roots: Sequence[bytes]
) -> tuple[list[_Group], list[Refusal], list[str]]:
    """Return the absolute names of the files, each once, what cannot be read, and what is skipped."""
    groups: list[_Group] = []
    refused: list[Refusal] = []
    notes: list[str] = []
    seen: set[bytes] = set()
    for path in map(os.path.abspath, paths):
        if not _is_folder(path, roots):
            if not groups or groups[-1].is_folder:
                groups.append(_Group([], is_folder=False))
            if path not in seen:
                groups[-1].names.append(path)
                seen.add(path)
            continue
        found = list_folder(path, recursive=recursive, roots=roots)
        names = [name for name in in_natural_order(found.names) if name not in seen]
        groups.append(_Group(names, is_folder=True))
        seen.update(found.names)
        refused += _refused_entries(found.skipped)
        notes += _skipped_note(path, found.skipped)
        for error in found.errors:
            folder = os.fsencode(error.filename) if error.filename else path
            reason = f"is a folder that cannot be read: {error.strerror}"
            refused.append(Refusal(folder, reason, is_fault=True))
    return groups, refused, notes


def _is_folder(path: bytes, roots: Sequence[bytes]) -> bool:
    """Report whether this is a folder that may be looked into; a look at any other path shows why not."""
    if not roots:
        return os.path.isdir(path)  # noqa: PTH112 - bytes
    try:
        os.close(open_to_look(path, roots))
    except OSError:
        return False
    return True


def _is_link(name: bytes, roots: Sequence[bytes]) -> bool:
    with closing(Statuses(roots)) as statuses, suppress(OSError):
        return stat.S_ISLNK(statuses.of(name).st_mode)
    return False


def _refused_entries(skipped: Mapping[bytes, SkipReason]) -> Iterator[Refusal]:
    """Yield those entries of a folder that may have been meant as captures."""
    for name, reason in skipped.items():
        if reason in {SkipReason.LINK, SkipReason.LINK_TO_NOTHING, SkipReason.SPECIAL}:
            yield Refusal(name, reason.sentence, is_fault=reason is SkipReason.LINK)


def _skipped_note(folder: bytes, skipped: Mapping[bytes, SkipReason]) -> Iterator[str]:
    """Yield a sentence about folders and hidden names in a folder, if it has some."""
    reasons = Counter(skipped.values())
    folders, hidden = (
        reasons[SkipReason.FOLDER] + reasons[SkipReason.FOLDER_LINK] + reasons[SkipReason.OUTSIDE],
        reasons[SkipReason.HIDDEN],
    )
    counts = [(folders, "folder"), (hidden, "hidden name")]
    words = [counted(count, noun) for count, noun in counts if count]
    if words:
        yield f"{quoted(folder)} has {' and '.join(words)} inside, skipped."


def _refuse_writer(fd: int) -> None:
    """Raise if a process certainly has the file open for writing; if that cannot be found out, accept it."""
    try:
        refuse_if_written(fd, clock=lambda: 0.0)  # as if it had just changed: its age proves nothing here
    except StillWritten as exc:
        if exc.settles_in_s is None:
            raise
